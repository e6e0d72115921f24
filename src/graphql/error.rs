//! The one table of error codes, and the only place where errors of ours become codes.

use async_graphql::{Error, ErrorExtensionValues, ErrorExtensions, ServerError, Value};
use uuid::Uuid;

use crate::ingest::{Background, internal_error};
use crate::store::{Absent, AppendError, Cause, FilesError, StoreError, Trouble};
use crate::telemetry;

/// How long a caller is asked to wait for room.
const RETRY_AFTER_MS: u64 = 250;

/// Code of an error, in `extensions.code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// The request is no GraphQL request.
    BadRequest,
    /// The document has a syntax error.
    ParseFailed,
    /// The document does not fit the schema.
    ValidationFailed,
    /// A value given is wrong, however little is asked for.
    BadInput,
    /// The caller has not proved who they are.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// A document that is named by its hash is not known here; it is to be sent along once.
    PersistedQueryNotFound,
    /// There is no such thing.
    NotFound,
    /// What was decided on has changed.
    Conflict,
    /// The cursor is of another log, or its events are gone.
    CursorExpired,
    /// A number, a list, a range or a document is above the most that may be asked for at once.
    LimitExceeded,
    /// The caller has spent what it may for now.
    RateLimited,
    /// The queue is full.
    Overloaded,
    /// It took longer than a request may.
    Timeout,
    /// The database cannot be used at the moment.
    Unavailable,
    /// What was archived is not where it is looked for, or cannot be read there until somebody has mended that.
    ArchiveMissing,
    /// A fault of ours.
    Internal,
}

impl ErrorCode {
    /// The word of the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::BadRequest => "BAD_REQUEST",
            Self::ParseFailed => "PARSE_FAILED",
            Self::ValidationFailed => "VALIDATION_FAILED",
            Self::BadInput => "BAD_INPUT",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::PersistedQueryNotFound => "PERSISTED_QUERY_NOT_FOUND",
            Self::NotFound => "NOT_FOUND",
            Self::Conflict => "CONFLICT",
            Self::CursorExpired => "CURSOR_EXPIRED",
            Self::LimitExceeded => "LIMIT_EXCEEDED",
            Self::RateLimited => "RATE_LIMITED",
            Self::Overloaded => "OVERLOADED",
            Self::Timeout => "TIMEOUT",
            Self::Unavailable => "UNAVAILABLE",
            Self::ArchiveMissing => "ARCHIVE_MISSING",
            Self::Internal => "INTERNAL",
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimited | Self::Overloaded | Self::Unavailable | Self::Timeout
        )
    }
}

impl ErrorCode {
    /// Puts the code on an error.
    pub fn mark(self, error: &mut ServerError) {
        self.set(error.extensions.get_or_insert_default());
    }

    fn set(self, extensions: &mut ErrorExtensionValues) {
        extensions.set("code", self.word());
        extensions.set("retryable", self.is_retryable());
    }

    /// Whether an error has this code.
    #[must_use]
    pub fn is_of(self, error: &ServerError) -> bool {
        code_of(error) == Some(&Value::from(self.word()))
    }

    /// Whether an error that has no place yet has this code.
    pub(super) fn is_that_of(self, error: &Error) -> bool {
        let extensions = error.extensions.as_ref();
        let code = extensions.and_then(|extensions| extensions.get("code"));
        code == Some(&Value::from(self.word()))
    }
}

/// The code of an error, if it has one.
#[must_use]
pub fn code_of(error: &ServerError) -> Option<&Value> {
    error.extensions.as_ref()?.get("code")
}

/// An error with a code.
pub(super) fn error(code: ErrorCode, message: impl Into<String>) -> Error {
    Error::new(message).extend_with(|_, extensions| code.set(extensions))
}

/// Others take what there is, for a moment.
pub(super) fn overloaded(message: &str) -> Error {
    error(ErrorCode::Overloaded, message)
        .extend_with(|_, extensions| extensions.set("retryAfterMs", RETRY_AFTER_MS))
}

/// More is asked for than may be at once.
pub(super) fn too_much(message: impl Into<String>) -> Error {
    error(ErrorCode::LimitExceeded, message)
}

/// A value given is wrong.
pub(super) fn bad_input(message: impl Into<String>) -> Error {
    error(ErrorCode::BadInput, message)
}

/// A document that cannot be read: what was expected, and where.
#[must_use]
pub fn of_syntax(mut error: ServerError) -> ServerError {
    // the parser draws the place over several lines and ends with the reason
    let reason = error.message.lines().next_back().unwrap_or_default();
    let reason = reason.trim().trim_start_matches("= ");
    error.message = match error.locations.first() {
        Some(place) => format!("{reason}, at {}:{}", place.line, place.column),
        None => reason.to_owned(),
    };
    ErrorCode::ParseFailed.mark(&mut error);
    error
}

/// Scalars with the form of their values.
const FORMS: [(&str, &str); 11] = [
    (
        "DateTime",
        "an RFC 3339 time such as \"2026-11-23T20:01:56Z\"",
    ),
    ("Date", "a date such as \"2026-12-25\""),
    ("LocalTime", "a time of day such as \"08:30\" or \"24:00\""),
    (
        "TimeZone",
        "the name of an IANA time zone such as \"Europe/London\"",
    ),
    ("UUID", "such as \"01931a9f-4d5c-7c3e-9b1a-2f6d8e0c4b7a\""),
    (
        "Decimal",
        "a decimal with at most four places such as \"1249.90\"",
    ),
    ("Long", "a whole number of 64 bits such as \"12\""),
    ("Int", "a whole number of 32 bits such as 12"),
    ("Float", "a number such as 12.5"),
    ("Boolean", "true or false"),
    ("String", "a text"),
];

/// The form of the values of a scalar.
pub(super) fn form_of(scalar: &str) -> Option<&'static str> {
    let mut forms = FORMS.iter();
    let (_, form) = forms.find(|(name, _)| *name == scalar)?;
    Some(*form)
}

/// Tells of values that have not the form of their scalar what that is. The library names the place
/// and the type.
pub(super) fn with_forms(errors: &mut [ServerError]) {
    for error in errors {
        let expected = error.message.strip_suffix('"');
        let name = expected.and_then(|text| Some(text.rsplit_once("expected type \"")?.1));
        if let Some(form) = name.and_then(form_of) {
            error.message.push_str(": ");
            error.message.push_str(form);
        }
    }
}

/// What a failed read is to the caller. A fault of ours is recorded with an id that both can name.
pub(super) fn of_store(
    background: &Background,
    at: crate::event::Instant,
    failed: &StoreError,
) -> Error {
    match failed {
        StoreError::TooLarge { bytes_max } => {
            let message = format!(
                "the answer takes more than the {} MiB that one may; give smaller pages by \
                 `first`, or ask for fewer of the large fields",
                bytes_max >> 20
            );
            return error(ErrorCode::LimitExceeded, message);
        }
        StoreError::TooMany { events_max } => {
            let message = format!(
                "more than {events_max} errors were recorded in the hour of `asOf`, or more of different forms and \
                 devices than are counted at once; ask as of the beginning of an hour"
            );
            return error(ErrorCode::LimitExceeded, message);
        }
        StoreError::Superseded { .. } => {
            let message = "a newer version has taken the log over, and this server takes nothing any more; nothing \
                           was recorded, try again at another";
            return error(ErrorCode::Unavailable, message);
        }
        StoreError::Crowded => {
            let message = "too many large answers are being made at once; try again";
            return overloaded(message);
        }
        StoreError::Database { .. } | StoreError::Row { .. } | StoreError::Hole { .. } => {}
        StoreError::WentBack { .. } | StoreError::Overtaken { .. } | StoreError::Closed => {}
        StoreError::Fenced { .. } | StoreError::OtherLog { .. } => {}
        StoreError::Panicked | StoreError::Fold { .. } => {}
        StoreError::Files(files) if failed.cause() == Cause::Io => return of_archive(files),
        StoreError::Files(_) | StoreError::Columnar(_) | StoreError::SegmentsMoved => {}
        StoreError::StillNeeded | StoreError::StillAwaited => {}
    }
    match failed.cause() {
        Cause::Busy
        | Cause::Unreachable
        | Cause::Unopened
        | Cause::Io
        | Cause::NoDatabase
        | Cause::Denied
        | Cause::Full
        | Cause::ReadOnly => {
            tracing::warn!(error = %telemetry::chain(failed), "the database cannot be used");
            let message = match failed.cause() {
                Cause::Full => "the disk of the database is full; nothing was recorded",
                Cause::ReadOnly => "the database is read-only; nothing was recorded",
                Cause::Busy
                | Cause::Unreachable
                | Cause::Unopened
                | Cause::Io
                | Cause::NoDatabase
                | Cause::Denied
                | Cause::Corrupt
                | Cause::Constraint
                | Cause::Other => "the database cannot be used at the moment; try again",
            };
            error(ErrorCode::Unavailable, message)
        }
        Cause::Corrupt | Cause::Constraint | Cause::Other => {
            let cause = telemetry::chain(failed).to_string();
            internal(background, at, ("DATABASE", &cause))
        }
    }
}

/// What was archived cannot be read. Where it lies is nothing to the caller.
fn of_archive(files: &FilesError) -> Error {
    // that it cannot be is told when that begins
    tracing::debug!(error = %telemetry::chain(files), "what was archived cannot be read");
    let what = Trouble::from(files).words();
    if files.may_pass() {
        let message = format!("what was archived cannot be read at the moment: {what}; try again");
        return error(ErrorCode::Unavailable, message);
    }
    let message = format!(
        "what was archived cannot be read: {what}. That has to be mended by whoever runs the server; what is newer \
         is answered, so ask for a later time meanwhile"
    );
    error(ErrorCode::ArchiveMissing, message)
}

/// What was archived is not found by a command on it, which does nothing then.
pub(super) fn of_absent(absent: &Absent) -> Error {
    let code = if absent.may_pass() {
        ErrorCode::Unavailable
    } else {
        ErrorCode::ArchiveMissing
    };
    error(code, absent.to_string())
}

/// A fault of ours, with its category and cause: it is recorded with an id that both can name, and the
/// caller is told no more than that.
pub(super) fn internal(
    background: &Background,
    at: crate::event::Instant,
    what: (&'static str, &str),
) -> Error {
    let incident = Uuid::now_v7();
    tracing::error!(%incident, error = what.1, "a request failed");
    internal_error(background, at, incident, what, None);
    let message = format!("internal error, incident {incident}");
    error(ErrorCode::Internal, message)
        .extend_with(|_, extensions| extensions.set("incident", incident.to_string()))
}

/// What a failed append is to the caller.
pub(super) fn of_append(
    background: &Background,
    at: crate::event::Instant,
    failed: &AppendError,
) -> Error {
    match failed {
        AppendError::Overloaded => {
            let message = "the queue of the log is full; nothing was recorded, try again";
            overloaded(message)
        }
        AppendError::TooLarge { .. } => error(ErrorCode::LimitExceeded, failed.to_string()),
        AppendError::Stale { .. } => error(ErrorCode::Conflict, failed.to_string()),
        AppendError::Store(failed) => {
            if let StoreError::Files(files) = &**failed
                && failed.cause() == Cause::Io
            {
                return of_unseen(files);
            }
            of_store(background, at, failed)
        }
    }
}

/// It cannot be found out whether what was sent repeats what was archived. Whoever sent it is to keep it, whatever has
/// to be mended meanwhile.
fn of_unseen(files: &FilesError) -> Error {
    tracing::debug!(error = %telemetry::chain(files), "what may repeat what was archived is not taken");
    let what = Trouble::from(files).words();
    let message = format!(
        "this may repeat what was archived, which cannot be read: {what}; nothing was recorded, try again"
    );
    error(ErrorCode::Unavailable, message)
}
