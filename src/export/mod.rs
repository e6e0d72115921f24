//! Takes the log out: events as files that other tools read.
//!
//! An export is of one moment: it has what was appended up to a position and nothing after it, in the order in
//! which it happened. [`Events`] reads it page by page, [`Format`] says as what it is written, and a [`Sink`]
//! writes it. Whatever is written to a file is written beside it under another name, and gets its own when it
//! is whole and on the disk, so that there is never half a file. Devices and pipes are written into as they are.
//!
//! [`lake`] does the same without end, for a data lake, which a [`Filler`] brings up to date every minute.

mod args;
mod csv;
mod events;
mod file;
mod filler;
pub mod lake;
mod lines;
mod parquet;
mod patience;
mod reached;
mod sink;

use std::path::PathBuf;

use thiserror::Error;

pub use args::{ExportArgs, LakeArgs};
pub use events::{Asked, Events};
pub use file::{FileTarget, Target, write};
pub use filler::{Filler, LakeMetrics};
pub use reached::reached;
pub use sink::{Format, Out, Readers, Sink, Written};

use crate::columnar::ColumnarError;
use crate::event::Position;
use crate::places::PlaceError;
use crate::store::{ClaimError, StoreError};

/// Why nothing is exported.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The log cannot be read.
    #[error("cannot read the log")]
    Store(#[from] StoreError),
    /// The file cannot be written.
    #[error("cannot write")]
    Write(#[from] std::io::Error),
    /// The file of Parquet cannot be written.
    #[error("cannot write as Parquet")]
    Columnar(#[from] ColumnarError),
    /// A format of columns has those of one kind.
    #[error(
        "{format} has the columns of one kind, and {kinds} are asked for: name one, or take JSON lines"
    )]
    Kinds {
        /// What it was to be written as.
        format: &'static str,
        /// How many kinds were asked for.
        kinds: usize,
    },
    /// Only CSV is written for spreadsheets.
    #[error("what is for spreadsheets is written as CSV, and this is to be {format}")]
    Spreadsheet {
        /// What it was to be written as.
        format: &'static str,
    },
    /// A file is to be written, and this is a folder.
    #[error("it is a folder: name a file in it, such as {}", .0.join("events.jsonl").display())]
    Folder(PathBuf),
    /// Nothing is written with such an ending.
    #[error(
        "nothing is written as .{ending}: let the file end in .jsonl, .csv or .parquet, with .gz behind it or not, or \
         say as what it is written by --format jsonl, csv or parquet"
    )]
    Ending {
        /// The ending.
        ending: String,
    },
    /// It was told to end.
    #[error("the export was cancelled")]
    Cancelled,
    /// It was told to end before a data lake had all.
    #[error(
        "it was interrupted when it was whole up to position {} of {}: the same command goes on from there",
        position.0,
        head.0
    )]
    Interrupted {
        /// Up to where the lake is whole.
        position: Position,
        /// Where the log ended when it was begun.
        head: Position,
    },
    /// The place of the data lake cannot be used.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Another process fills a data lake.
    #[error("another process fills a data lake from this log just now")]
    Busy,
    /// It cannot be found out whether another process fills one.
    #[error("cannot claim the data lake")]
    Claim(#[source] ClaimError),
    /// The data lake cannot be reached.
    #[error("cannot reach the data lake")]
    Lake(#[from] object_store::Error),
    /// What the data lake says of itself is not understood.
    #[error("{file} of the data lake is not understood")]
    State {
        /// Which file.
        file: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A file of the data lake is damaged.
    #[error("{file} of the data lake is damaged: remove it, and it is made anew")]
    Damaged {
        /// Which file.
        file: String,
        /// Why.
        source: ColumnarError,
    },
    /// The place of the data lake does not know how to write a file only if it is not there.
    #[error(
        "the place of the data lake cannot be told to write a file only if it is not there, without which two who \
         fill it would write over each other: a bucket has to know If-None-Match, and AWS_CONDITIONAL_PUT is not \
         to disable it"
    )]
    Unconditional,
    /// The place of the data lake has written over a file that it was to leave as it is.
    #[error(
        "the place of the data lake writes over a file that it was told to leave if it is there, so two who fill \
         it would write over each other: take a bucket that knows If-None-Match, as S3 does, or a folder"
    )]
    Overwritten,
    /// A file cannot be written into the data lake that is not there yet.
    #[error(
        "cannot write a file into the data lake that is to be written only if it is not there: a folder has to take \
         hard links, which SMB, exFAT and some of FUSE do not, and a bucket has to know If-None-Match"
    )]
    Probe(#[source] object_store::Error),
    /// The data lake has what the log has not.
    #[error(
        "the data lake has the log up to position {}, and this log ends at {}: the database has lost what is in the \
         lake, by a failover, or since it was set back. Nothing is added to it; fill another in an empty folder, and \
         keep this one for what was lost",
        lake.0,
        log.0
    )]
    Ahead {
        /// Up to where the lake was begun.
        lake: Position,
        /// Where the log ends.
        log: Position,
    },
    /// The log has other events than the lake at the same positions.
    #[error(
        "the data lake was filled up to position {} with a commit that this log does not have: the database has lost \
         what is in the lake, by a failover, or since it was set back, and has given its positions to other events. \
         Nothing is added to it; fill another in an empty folder, and keep this one for what was lost",
        position.0
    )]
    Diverged {
        /// Up to where it was filled.
        position: Position,
    },
    /// The data lake was filled from another log.
    #[error(
        "the data lake was filled from log {lake}, and this is log {log}: give an empty folder, or restore \
         what belongs to it"
    )]
    OtherLog {
        /// The log in the lake.
        lake: String,
        /// This log.
        log: String,
    },
}
