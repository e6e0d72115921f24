//! An operation that may answer more than once: it runs apart from the connection, and hands over one
//! item at a time.
//!
//! What it holds while it reads, such as a connection to the database, does not wait for a client; and
//! what it has rendered is counted until the client has it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Request, Response as Answer};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Web;
use super::answer::{coded, is_unexecuted, timed_out};
use super::room::Taken;
use crate::graphql;
use crate::identity::Caller;
use crate::store::Allowance;

/// An operation that lives; when it is dropped it ends.
#[derive(Debug)]
pub(super) struct Operation {
    /// Its number on the connection: another may have its name when it has ended.
    pub(super) number: u64,
    /// Whether it follows something, and so ends when the server stops; what is executed is let end.
    pub(super) is_following: bool,
    _stop: DropGuard,
    _room: Taken,
}

/// What an operation hands over.
pub(super) struct Item {
    /// The name of the operation.
    pub(super) id: Arc<str>,
    /// Its number.
    pub(super) number: u64,
    /// How it is told, unless it cannot be written.
    pub(super) text: Option<String>,
    /// Whether the operation has ended with it.
    pub(super) is_last: bool,
    /// What it holds until it has been sent: its turn, and its part of the room of readers.
    _held: (Option<OwnedSemaphorePermit>, Arc<Allowance>),
}

/// What comes of an operation.
pub(super) enum Output<'a> {
    /// An item, and its place in the log if it has one.
    Next(&'a Answer, Option<&'a str>),
    /// It cannot be executed, and has ended.
    Refused(&'a Answer),
    /// It has ended.
    Complete,
}

/// How the output of an operation with a name is told.
pub(super) type Write = fn(&str, &Output<'_>) -> Option<String>;

/// Begins an operation whose items go to a connection.
pub(super) fn begin(
    web: &Web,
    (id, number): (Arc<str>, u64),
    (mut request, caller, room): (Result<Request, Box<Answer>>, Caller, Taken),
    (items, write, execution): (mpsc::Sender<Item>, Write, Arc<Semaphore>),
) -> Operation {
    let is_following = request.as_mut().is_ok_and(graphql::is_subscription);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let web = web.clone();
    let tracked = web.sockets.clone();
    tracked.spawn(async move {
        let counted = web.monitor.operation();
        let running = Running {
            id,
            number,
            items,
            write,
            execution,
            turn: Arc::new(Semaphore::new(1)),
            room: Arc::new(web.api.store().allowance()),
        };
        let ran = AssertUnwindSafe(running.run(&web, (request, caller))).catch_unwind();
        tokio::select! {
            () = stopped.cancelled() => {}
            ran = ran => if ran.is_err() {
                let panicked = graphql::panicked(&web.api);
                running.hand(&Output::Refused(&panicked), None).await;
            },
        }
        drop(counted);
    });
    Operation {
        number,
        is_following,
        _stop: stop.drop_guard(),
        _room: room,
    }
}

struct Running {
    id: Arc<str>,
    number: u64,
    items: mpsc::Sender<Item>,
    write: Write,
    /// Those of a connection that are executed at once, save those that follow something.
    execution: Arc<Semaphore>,
    /// One item at a time: the next is asked for when the last has been sent.
    turn: Arc<Semaphore>,
    room: Arc<Allowance>,
}

impl Running {
    async fn run(&self, web: &Web, (request, caller): (Result<Request, Box<Answer>>, Caller)) {
        let mut request = match request {
            Ok(request) => request,
            Err(refused) => return self.hand(&Output::Refused(&refused), None).await,
        };
        let mut executed = None;
        if !graphql::is_subscription(&mut request) {
            executed = Arc::clone(&self.execution).acquire_owned().await.ok();
        }
        let Web { schema, api, .. } = web;
        let room = Arc::clone(&self.room);
        let mut answers = graphql::execute_stream(schema, api, request, (caller, room));
        let mut is_first = true;
        loop {
            let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else {
                return;
            };
            let executing = executed.take();
            let within = if executing.is_some() {
                web.request_within
            } else {
                // it follows something
                Duration::MAX
            };
            let next = timeout(within, answers.next()).await;
            drop(executing);
            let turn = Some(turn);
            let Ok(next) = next else {
                return self.hand(&Output::Refused(&timed_out(web)), turn).await;
            };
            let (answer, cursor) = match next {
                Some((answer, cursor)) => (coded(answer), cursor),
                None => return self.hand(&Output::Complete, turn).await,
            };
            if is_first && is_unexecuted(&answer) {
                return self.hand(&Output::Refused(&answer), turn).await;
            }
            is_first = false;
            let next = Output::Next(&answer, cursor.as_deref());
            self.hand(&next, turn).await;
        }
    }

    /// Hands over, with its turn if another item comes after it.
    async fn hand(&self, output: &Output<'_>, turn: Option<OwnedSemaphorePermit>) {
        let item = Item {
            id: Arc::clone(&self.id),
            number: self.number,
            text: (self.write)(&self.id, output),
            is_last: !matches!(output, Output::Next(..)),
            _held: (turn, Arc::clone(&self.room)),
        };
        // a connection that is gone takes nothing any more
        let _ = self.items.send(item).await;
    }
}
