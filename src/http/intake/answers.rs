//! Answers that go out while more is taken in.
//!
//! Most clients read nothing before they have sent all, and a server that waits for them would wait for ever.
//! So what is answered is held for a while, counted with the bodies that are being received, and only then
//! is no more taken until it is read.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc;

use super::super::bodies::Bodies;

/// How many answers to batches are held.
const HELD_MAX: usize = 64;

/// Whoever answers.
pub(super) struct Answers {
    sender: mpsc::Sender<(Bytes, Option<OwnedSemaphorePermit>)>,
    bodies: Bodies,
}

/// Answers, and the body in which they go.
pub(super) fn answers(bodies: &Bodies) -> (Answers, Body) {
    let (sender, receiver) = mpsc::channel(HELD_MAX);
    let bodies = bodies.clone();
    let sent = stream::unfold(receiver, async |mut receiver| {
        let (lines, _room) = receiver.recv().await?;
        Some((Ok::<_, Infallible>(lines), receiver))
    });
    (Answers { sender, bodies }, Body::from_stream(sent))
}

impl Answers {
    /// Sends lines; `false` when nobody waits for them any more.
    pub(super) async fn send(&self, lines: Bytes) -> bool {
        let bytes = lines.len();
        let mut room = self.bodies.reserve(bytes);
        if room.is_none() {
            // what is held already takes the room, or others do: it goes first
            let all = self.sender.reserve_many(self.sender.max_capacity()).await;
            if all.is_err() {
                return false;
            }
            drop(all);
            room = self.bodies.reserve(bytes);
        }
        self.sender.send((lines, room)).await.is_ok()
    }
}
