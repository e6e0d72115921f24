//! Gathers the events of a body into batches for the log: as much as fits into a commit, or what has come
//! within a moment.

use std::ops::Range;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::Error as JsonError;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant as Moment, timeout_at};

use super::super::Web;
use super::super::bodies::TakeError;
use super::pieces::{FormError, PIECE_BYTES_MAX, Piece, Pieces};
use super::told::Told;
use super::unpacked::{READ_BYTES, ReadError, Unpacked};
use crate::event::{Instant, NewEvent};
use crate::graphql::ErrorCode;
use crate::ingest::Given;
use crate::kinds::{Code, Kind, Refusal, Tree, WireValue, parse_any};
use crate::store::EVENTS_MAX;

/// Bytes in memory from which on a batch is full.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How long a batch is gathered: then what has come is recorded.
const GATHER_FOR: Duration = Duration::from_millis(200);
/// Bytes that a refused event takes, about.
const REFUSED_BYTES: usize = 256;

/// Why no more events come.
#[derive(Debug)]
pub(super) enum End {
    /// That was all.
    Whole,
    /// The rest is not read.
    Failed(Told),
}

/// Events that are recorded together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) given: Vec<Given>,
    /// Whether more may come, and if not, why.
    pub(super) end: Option<End>,
    weight: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.given.len() >= EVENTS_MAX || self.weight >= BATCH_BYTES
    }

    fn push(&mut self, piece: Piece<'_>, now: Instant) {
        let given = match piece {
            Piece::Text(text) => given(text, now),
            Piece::TooLong => {
                let message = format!("the event is longer than {PIECE_BYTES_MAX} bytes");
                (None, Err(Refusal::of_event(Code::TooLong, message)))
            }
        };
        let weight = |event: &NewEvent| event.fact.weight_bytes();
        self.weight += given.1.as_ref().map_or(REFUSED_BYTES, weight);
        self.given.push(given);
    }
}

/// The event that a text of JSON is, or how it is refused.
pub(super) fn given(text: &[u8], now: Instant) -> Given {
    let invalid = |error: JsonError| {
        let message = format!("it is no event in JSON: {error}");
        (None, Err(Refusal::of_event(Code::Invalid, message)))
    };
    let tree: Tree<'_> = match serde_json::from_slice(text) {
        Ok(tree) => tree,
        Err(error) => return invalid(error),
    };
    let kind = tree
        .entries()
        .and_then(|mut of| Kind::of_wire(of.next()?.0));
    (kind, parse_any(&tree, now))
}

fn malformed(error: FormError) -> End {
    let message = error.to_string();
    let status = StatusCode::BAD_REQUEST;
    End::Failed(Told::new(status, ErrorCode::BadRequest, &message))
}

/// A body of which events are made.
pub(super) struct Gathered {
    web: Web,
    body: Unpacked,
    pieces: Pieces,
    chunk: Box<[u8]>,
    /// What of the chunk is yet to be cut.
    rest: Range<usize>,
    room: Option<OwnedSemaphorePermit>,
}

impl Gathered {
    pub(super) fn new(web: &Web, body: Unpacked, pieces: Pieces) -> Self {
        Self {
            web: web.clone(),
            body,
            pieces,
            chunk: vec![0; READ_BYTES].into_boxed_slice(),
            rest: 0..0,
            room: None,
        }
    }

    /// The next events.
    pub(super) async fn batch(&mut self) -> Batch {
        let mut batch = Batch {
            given: Vec::new(),
            end: None,
            weight: 0,
        };
        // the room of the batch before is free again
        self.room = None;
        let now = self.web.api.ingest.clock().now();
        let until = Moment::now() + GATHER_FOR;
        while !batch.is_full() && batch.end.is_none() {
            if let Err(error) = self.cut(&mut batch, now) {
                batch.end = Some(malformed(error));
            }
            if batch.is_full() || batch.end.is_some() {
                break;
            }
            if !self.has_room(batch.weight) {
                if batch.given.is_empty() {
                    let full = ReadError::Take(TakeError::Full);
                    batch.end = Some(End::Failed(Told::unread(&full)));
                }
                break;
            }
            let read = self.body.read(&mut self.chunk);
            let read = if batch.given.is_empty() {
                read.await
            } else {
                match timeout_at(until, read).await {
                    Ok(read) => read,
                    Err(_) => break,
                }
            };
            match read {
                Ok(0) => self.last(&mut batch, now),
                Ok(bytes) => self.rest = 0..bytes,
                Err(error) => batch.end = Some(End::Failed(Told::unread(&error))),
            }
        }
        batch
    }

    /// Cuts what has come, until the batch is full.
    fn cut(&mut self, batch: &mut Batch, now: Instant) -> Result<(), FormError> {
        while !self.rest.is_empty() && !batch.is_full() {
            let rest = self.chunk.get(self.rest.clone()).unwrap_or_default();
            let (done, piece) = self.pieces.next(rest)?;
            self.rest.start += done;
            if let Some(piece) = piece {
                batch.push(piece, now);
            }
        }
        Ok(())
    }

    fn last(&mut self, batch: &mut Batch, now: Instant) {
        let end = match self.pieces.end() {
            Ok(piece) => {
                if let Some(piece) = piece {
                    batch.push(piece, now);
                }
                End::Whole
            }
            Err(error) => malformed(error),
        };
        batch.end = Some(end);
    }

    /// Takes room for what is held in memory, if there is any.
    fn has_room(&mut self, bytes: usize) -> bool {
        let needed = READ_BYTES + self.pieces.kept_bytes() + bytes;
        let held = self
            .room
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        if needed <= held {
            return true;
        }
        let Some(more) = self.web.bodies.reserve(needed - held) else {
            return false;
        };
        match &mut self.room {
            Some(room) => room.merge(more),
            None => self.room = Some(more),
        }
        true
    }
}
