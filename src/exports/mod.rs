//! Exports that are asked for over the API: made one after the other by the server that holds their lease,
//! kept for some days, and taken from there by whoever asked.
//!
//! What is asked for is a row of a table that tells how far it is. An export is of one moment, that at which
//! it was asked for: what it has is not deleted before it is made, unless that is overdue; then it fails. If the server ends that makes it, its half file is removed and it is begun again, which
//! is told. Those that are made at once know nothing of each other: what fails one leaves the other alone. A file has
//! its name when it is whole, and one that no row names is removed.

mod args;
mod ask;
mod awaited;
mod commands;
mod files;
mod forget;
mod making;
mod metrics;
mod rows;
mod upload;
mod worker;

use std::time::Duration;

use futures_util::future::BoxFuture;
use thiserror::Error;

pub use args::{Bounds, ExportsArgs};
pub use ask::{Ask, Reached, Source, reach_text};
pub(crate) use awaited::awaits;
pub use commands::{NewExport, cancel, create, delete};
pub use files::{Files, FilesError, of_log};
pub(crate) use forget::forget;
pub use metrics::ExportsMetrics;
pub use worker::Exporter;

use crate::identity::Reach;
use crate::kinds::{Filter, Kind};
use crate::store::{Failing, Store, StoreError};

/// Exports at most of an account that are not done.
pub const UNFINISHED_MAX: i64 = 10;
/// How often an export is begun again at most.
const RESTARTS_MAX: i64 = 5;
/// Bytes of a MiB.
const MIB: i64 = 1024 * 1024;
/// What those call themselves where faults are told who make exports.
pub(crate) const SOURCE: &str = "exports";
/// How it goes on after a failure.
const FAILING: Failing = Failing {
    source: SOURCE,
    effect: "what becomes of exports cannot be read or kept, will try again",
    waits: Duration::from_secs(1),
};

/// How far an export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits.
    Queued,
    /// It is being written.
    Running,
    /// It is whole.
    Done,
    /// It cannot be made.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// Its file was removed.
    Expired,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Done => "DONE",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Expired => "EXPIRED",
        }
    }

    /// That of a word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// That of what is kept, at an instant: a file whose time is over is not given out, also when it is not
    /// removed yet.
    #[must_use]
    pub fn of_row(row: &crate::history::exports::ExportRow, now: crate::event::Instant) -> Self {
        let state = Self::of_word(&row.state).unwrap_or(Self::Failed);
        let is_over = row.expires_at.is_some_and(|end| end <= now.0);
        if state == Self::Done && is_over {
            return Self::Expired;
        }
        state
    }
}

/// Why an export has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// There is no room for the file: on the disk, or in what its account may have.
    NoRoom,
    /// It has more bytes than one may have, or takes longer to be made than one may.
    TooLarge,
    /// The place of files cannot be written.
    Unwritable,
    /// The log cannot be read.
    Unreadable,
    /// What is asked for is not understood any more.
    NotUnderstood,
    /// The server that made it ended, and it was begun again too often already.
    BrokenOff,
    /// It names a person whose events were erased before it was made.
    PersonErased,
    /// Events that it asks for were deleted before it was made.
    EventsDeleted,
    /// A fault of the server.
    Internal,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::NoRoom,
        Self::TooLarge,
        Self::Unwritable,
        Self::Unreadable,
        Self::NotUnderstood,
        Self::BrokenOff,
        Self::PersonErased,
        Self::EventsDeleted,
        Self::Internal,
    ];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoRoom => "NO_ROOM",
            Self::TooLarge => "TOO_LARGE",
            Self::Unwritable => "UNWRITABLE",
            Self::Unreadable => "UNREADABLE",
            Self::NotUnderstood => "NOT_UNDERSTOOD",
            Self::BrokenOff => "BROKEN_OFF",
            Self::PersonErased => "PERSON_ERASED",
            Self::EventsDeleted => "EVENTS_DELETED",
            Self::Internal => "INTERNAL",
        }
    }
}

/// How much of an export is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Written {
    events: i64,
    bytes: i64,
}

/// Why an export is not made, or not cancelled.
#[derive(Debug, Error)]
pub enum ExportsError {
    /// There is no such export.
    #[error("there is no such export")]
    NotFound,
    /// Nobody has said where files lie.
    #[error("this server has nowhere to keep files: start it with --exports")]
    Nowhere,
    /// It would have nothing.
    #[error(
        "no source is named: name one, or leave sources out for all that are recorded by sources"
    )]
    NoSource,
    /// A format of columns has those of one source.
    #[error("CSV and Parquet have the columns of one source: name one, or take JSON lines")]
    Sources,
    /// A source is named twice.
    #[error("{0} is named twice")]
    Twice(String),
    /// What is compressed is compressed once.
    #[error("Parquet is compressed as it is")]
    Compressed,
    /// Spreadsheets read the one format for which something is to be done.
    #[error("spreadsheet is for CSV")]
    Spreadsheet,
    /// It would have nothing.
    #[error("from is not before to")]
    Range,
    /// Whoever asks may not read it.
    #[error("{0} is for administrators alone")]
    NotAllowed(String),
    /// Others are not done.
    #[error("{UNFINISHED_MAX} exports of yours are not done: wait for one, or cancel it")]
    TooMany,
    /// The files of those that are done have as many bytes as they may.
    #[error(
        "your exports have {mib} MiB, and those of an account may have {mib_max}: delete one (deleteExport), or wait until one expires"
    )]
    NoRoom {
        /// MiB that they have.
        mib: i64,
        /// MiB that they may have.
        mib_max: i64,
    },
    /// The same key was given with something else.
    #[error("another export was asked for with this idempotencyKey")]
    OtherRepeat,
    /// It is not in a state for that.
    #[error("the export is {0}")]
    Over(&'static str),
    /// The tables cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why it is not known which events are asked for.
#[derive(Debug, Error)]
pub enum AskError {
    /// What was asked for is not understood.
    #[error("{0}")]
    NotUnderstood(String),
    /// A filter asks for more than may be asked for at once.
    #[error("{0}")]
    TooMuch(String),
    /// What it names cannot be looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The events that are asked for, of those that somebody reaches.
pub type Events = Vec<(Kind, Filter)>;

/// Says which events are asked for, of those that somebody reaches. What filters mean is known where they are
/// given.
pub type Reader = fn(Store, Ask, Reach) -> BoxFuture<'static, Result<Events, AskError>>;
