//! Whether the log can do its work, as far as its tasks have seen: for those who ask whether the
//! server is ready.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use super::Store;
use super::schema::SCHEMA;
use crate::event::Position;

/// Whether the log can do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As far as is known.
    Sound,
    /// The last append failed, and not through the fault of a request.
    AppendsFail,
    /// The database has lost commits that this process has seen. Nothing is appended any more: it
    /// would get positions that others know events by.
    WentBack,
    /// A newer version has changed how the log is appended to: this one appends nothing any more.
    Superseded,
}

impl Store {
    /// Whether the log can do its work.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.shared.seen.standing()
    }

    /// The newest position that this process knows to be committed: of its own commits it knows before its
    /// followers are told.
    #[must_use]
    pub fn known_head(&self) -> Position {
        let committed = self.shared.seen.committed.load(Ordering::Acquire);
        self.head().max(Position(committed))
    }
}

/// What the tasks of the log have seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    append_failed: AtomicBool,
    went_back: AtomicBool,
    superseded: AtomicBool,
    /// The last position that this process has committed.
    committed: AtomicI64,
}

impl Seen {
    pub(crate) fn standing(&self) -> Standing {
        if self.went_back.load(Ordering::Relaxed) {
            Standing::WentBack
        } else if self.superseded.load(Ordering::Relaxed) {
            Standing::Superseded
        } else if self.append_failed.load(Ordering::Relaxed) {
            Standing::AppendsFail
        } else {
            Standing::Sound
        }
    }

    pub(crate) fn appended(&self, upto: Option<Position>) {
        self.append_failed.store(false, Ordering::Relaxed);
        if let Some(upto) = upto {
            self.committed.fetch_max(upto.0, Ordering::Release);
        }
    }

    pub(crate) fn append_failed(&self) {
        self.append_failed.store(true, Ordering::Relaxed);
    }

    /// Notes that the head lies before one that was seen, which nothing but a restart mends.
    pub(crate) fn went_back(&self, head: Position, known: Position) {
        if !self.went_back.swap(true, Ordering::Relaxed) {
            tracing::error!(
                event.position = head.0,
                event.position_known = known.0,
                "the database has lost commits: its head lies before one that was seen; nothing is \
                 appended until the server is started again"
            );
        }
    }

    /// Notes that the log is of a newer schema, for which this server has to be started with a newer version.
    pub(crate) fn superseded(&self, schema: i64) {
        if !self.superseded.swap(true, Ordering::Relaxed) {
            tracing::error!(
                store.schema = schema,
                store.schema_known = SCHEMA,
                "a newer version has taken the log over: nothing is appended until this server is started again with \
                 it"
            );
        }
    }
}
