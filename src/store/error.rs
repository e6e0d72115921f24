//! What can fail in the log. Database errors are told apart here, by their codes, and nowhere else.

use sea_orm::{DbErr, RuntimeErr, sqlx};
use thiserror::Error;

use super::segments::FilesError;
use crate::columnar::ColumnarError;
use crate::event::Position;

/// What a database error means for the one who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Somebody else holds a lock; try again.
    Busy,
    /// The disk is full.
    Full,
    /// The database may not be written.
    ReadOnly,
    /// The file is damaged or is no database.
    Corrupt,
    /// The database cannot be reached.
    Unreachable,
    /// The file of the database cannot be opened.
    Unopened,
    /// The disk does not read or write.
    Io,
    /// The server has no database of that name.
    NoDatabase,
    /// The server does not let this user in.
    Denied,
    /// A constraint of a table does not hold.
    Constraint,
    /// Anything else.
    Other,
}

/// A statement that failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A statement failed; `doing` names it.
    #[error("cannot {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What it means.
        cause: Cause,
        /// What the database said.
        source: DbErr,
    },
    /// A row does not hold what its table promises.
    #[error("cannot read column {column} of {table}")]
    Row {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// Events that must be there are not.
    #[error("the log has a hole: position {missing} is not in its table")]
    Hole {
        /// The position.
        missing: Position,
    },
    /// The database has lost commits that this process has seen.
    #[error("the database has gone back from position {known} to {head}; nothing is appended")]
    WentBack {
        /// Its head.
        head: Position,
        /// A position that was committed before.
        known: Position,
    },
    /// A newer version has changed how the log is appended to.
    #[error(
        "a newer version has taken the log over: it is appended to by schema {schema}, and this version knows {known}"
    )]
    Superseded {
        /// The schema of the log.
        schema: i64,
        /// That of this version.
        known: i64,
    },
    /// What was asked for is larger than one reader may take.
    #[error("what is asked for takes more than {} MiB", bytes_max >> 20)]
    TooLarge {
        /// Bytes that it may take.
        bytes_max: usize,
    },
    /// More events would have to be looked at one by one than are for one answer.
    #[error("more than {events_max} events would have to be looked at")]
    TooMany {
        /// Events that are looked at, at most.
        events_max: usize,
    },
    /// Other readers take all the room there is.
    #[error("other readers take all the room")]
    Crowded,
    /// Another process has folded the same events meanwhile.
    #[error("another process has moved the checkpoint of {projection}")]
    Overtaken {
        /// What they were folded into.
        projection: &'static str,
    },
    /// A file of a segment cannot be read or written.
    #[error("cannot use the files of segments")]
    Files(#[from] FilesError),
    /// A segment cannot be made or does not hold what it must.
    #[error("cannot use a segment")]
    Columnar(#[from] ColumnarError),
    /// Events were archived meanwhile, again and again.
    #[error("the list of segments has changed meanwhile")]
    SegmentsMoved,
    /// Events are not deleted as long as something is still to be made of them.
    #[error("what was put off is still to be made of these events")]
    StillNeeded,
    /// Events are not deleted as long as somebody who asked for them has not read them.
    #[error("an export that was asked for is still to read these events")]
    StillAwaited,
    /// Another server does the work by now for which this was written.
    #[error("the work {work} is another server's by now")]
    Fenced {
        /// The work.
        work: &'static str,
    },
    /// What is to be a replica is of another log.
    #[error("it is a replica of another log, {found}, or of this one before it was restored")]
    OtherLog {
        /// The id of that.
        found: uuid::Uuid,
    },
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// The code that wrote panicked; the panic is in the log of the process.
    #[error("a fault in the program stopped what was being written")]
    Panicked,
    /// A fold cannot be made of what the log holds.
    #[error("cannot fold {what}")]
    Fold {
        /// What was being folded.
        what: &'static str,
    },
}

impl StoreError {
    /// What the error means for the one who waits.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match self {
            Self::Database { cause, .. } => *cause,
            Self::Row { .. } | Self::Hole { .. } | Self::Fold { .. } => Cause::Corrupt,
            Self::Panicked | Self::TooLarge { .. } | Self::TooMany { .. } => Cause::Other,
            Self::Files(error) if error.is_full() => Cause::Full,
            Self::Files(FilesError::Damaged { .. }) | Self::Columnar(_) => Cause::Corrupt,
            Self::Files(_) => Cause::Io,
            Self::Overtaken { .. } | Self::Fenced { .. } | Self::Crowded => Cause::Busy,
            Self::SegmentsMoved | Self::StillNeeded | Self::StillAwaited => Cause::Busy,
            Self::Closed | Self::WentBack { .. } => Cause::Unreachable,
            Self::OtherLog { .. } | Self::Superseded { .. } => Cause::Unreachable,
        }
    }
}

impl StoreError {
    /// Whether what could not be read may be read a little later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        if let Self::Files(error) = self {
            return error.may_pass();
        }
        matches!(self.cause(), Cause::Busy | Cause::Unreachable | Cause::Io)
    }

    /// Whether it is the place of what was archived that cannot be used.
    pub(crate) fn is_of_archive(&self) -> bool {
        matches!(self, Self::Files(_)) && self.cause() == Cause::Io
    }

    /// Whether a segment is gone that a list named which is no longer the newest.
    pub(crate) fn is_of_missing_segment(&self) -> bool {
        matches!(self, Self::Files(error) if error.is_missing())
    }

    /// Whether it tells of a segment whose file is lost: it is not there, or is not what was written.
    pub(super) fn is_of_lost_segment(&self) -> bool {
        self.is_of_missing_segment() || matches!(self, Self::Files(FilesError::Damaged { .. }))
    }
}

/// Names what was being done when a statement failed.
pub(crate) trait Doing<T> {
    /// Turns the error of the library into ours.
    fn doing(self, doing: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for Result<T, DbErr> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Database {
            doing,
            cause: cause_of(&source),
            source,
        })
    }
}

/// Tells what an error of the library means.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an enum of a library, whose other values are one case"
)]
pub(crate) fn cause_of(error: &DbErr) -> Cause {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(inner))
        | DbErr::Exec(RuntimeErr::SqlxError(inner))
        | DbErr::Query(RuntimeErr::SqlxError(inner)) => cause_of_sqlx(inner),
        DbErr::ConnectionAcquire(_) => Cause::Busy,
        DbErr::Conn(_) => Cause::Unreachable,
        _ => Cause::Other,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an enum of a library, whose other values are one case"
)]
pub(crate) fn cause_of_sqlx(error: &sqlx::Error) -> Cause {
    match error {
        sqlx::Error::Database(database) => match database.code().as_deref() {
            Some(code) if code.len() == 5 => cause_of_postgres(code),
            Some(code) => code.parse().map_or(Cause::Other, cause_of_sqlite),
            None => Cause::Other,
        },
        sqlx::Error::PoolTimedOut => Cause::Busy,
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed => Cause::Unreachable,
        _ => Cause::Other,
    }
}

/// Whether a statement was stopped since it stood in the way of what the database had to do, so that
/// another may answer it.
pub(crate) fn is_conflict(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(inner)) | DbErr::Query(RuntimeErr::SqlxError(inner))) =
        error
    else {
        return false;
    };
    let database = inner.as_database_error();
    database.is_some_and(|database| database.code().as_deref() == Some("40001"))
}

/// Whether the connection was lost on which a statement was run, so that another may answer it.
pub(crate) fn is_lost(error: &DbErr) -> bool {
    let (DbErr::Conn(RuntimeErr::SqlxError(inner))
    | DbErr::Exec(RuntimeErr::SqlxError(inner))
    | DbErr::Query(RuntimeErr::SqlxError(inner))) = error
    else {
        return false;
    };
    if let sqlx::Error::Database(database) = &**inner {
        let code = database.code().unwrap_or_default();
        // the session was ended, by whom or what ever
        return matches!(&*code, "57P01" | "57P02" | "57P03" | "57P05" | "25P03")
            || code.len() == 5 && code.starts_with("08");
    }
    matches!(&**inner, sqlx::Error::Io(_))
}

/// By class of SQLSTATE (PostgreSQL manual, appendix A).
fn cause_of_postgres(code: &str) -> Cause {
    match code {
        "55P03" | "40001" | "40P01" | "57014" => Cause::Busy,
        "53100" => Cause::Full,
        // a statement would take more than it may, such as what it unpacks of compressed chunks
        "53400" => Cause::Other,
        "25006" => Cause::ReadOnly,
        "3D000" => Cause::NoDatabase,
        // it lets nobody in at the moment
        "55000" => Cause::Unreachable,
        _ if code.starts_with("28") => Cause::Denied,
        "XX001" | "XX002" => Cause::Corrupt,
        _ if code.starts_with("23") => Cause::Constraint,
        _ if code.starts_with("08")
            || code.starts_with("57P")
            || code == "25P03"
            || code.starts_with("53") =>
        {
            Cause::Unreachable
        }
        _ => Cause::Other,
    }
}

/// Shared memory beside the file cannot be made larger: there is no room for it.
const SQLITE_IOERR_SHMSIZE: u32 = 4_874;

/// By primary result code, the low byte of an extended one (sqlite.org/rescode.html).
fn cause_of_sqlite(code: u32) -> Cause {
    match code & 0xff {
        _ if code == SQLITE_IOERR_SHMSIZE => Cause::Full,
        // locked, or stopped since it took too long
        5 | 6 | 9 => Cause::Busy,
        8 => Cause::ReadOnly,
        11 | 26 => Cause::Corrupt,
        13 => Cause::Full,
        10 => Cause::Io,
        14 => Cause::Unopened,
        19 => Cause::Constraint,
        _ => Cause::Other,
    }
}
