//! Why one event is not taken: a field, a code, a sentence. It is data, not an error.

use std::borrow::Cow;

/// Code of a refusal; part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// A field that must be given is not.
    Missing,
    /// A text that must be given has no character.
    Empty,
    /// A number outside its bounds.
    OutOfRange,
    /// A text, list or JSON longer than its limit.
    TooLong,
    /// Not of the form that the field has.
    Invalid,
    /// No such device is registered.
    UnknownDevice,
    /// No such site is registered.
    UnknownSite,
    /// More than five minutes in the future.
    InFuture,
    /// Before the year 2000.
    TooOld,
    /// The kind has no such field.
    UnknownField,
    /// There is no such kind, or sources may not record it.
    UnknownKind,
    /// Whoever records it may not record this, or nobody may.
    NotAllowed,
    /// The device is not registered, and no more are registered by what is recorded of them.
    TooManyDevices,
    /// The same key was recorded with another body, or an expected version is stale.
    Conflict,
}

impl Code {
    /// All codes, each with what it means.
    pub const ALL: [(Self, &'static str); 14] = [
        (Self::Missing, "A field that must be given is not."),
        (Self::Empty, "A text that must be given has no character."),
        (Self::OutOfRange, "A number is outside its bounds."),
        (
            Self::TooLong,
            "A text, list or JSON is longer than its limit.",
        ),
        (
            Self::Invalid,
            "A value is not of the form that the field has.",
        ),
        (Self::UnknownDevice, "No such device is registered."),
        (Self::UnknownSite, "No such site is registered."),
        (
            Self::InFuture,
            "`occurredAt` is more than five minutes in the future.",
        ),
        (Self::TooOld, "`occurredAt` is before the year 2000."),
        (Self::UnknownField, "The kind has no such field."),
        (
            Self::UnknownKind,
            "There is no such kind, or sources may not record it.",
        ),
        (
            Self::NotAllowed,
            "The caller may not record this: it is of no site or device that it reaches, or of a \
             kind that it does not report; or nobody may, since it has a value of a sensitive \
             parameter that can be read, or says of itself that it was erased.",
        ),
        (
            Self::TooManyDevices,
            "The device is not registered, and the site has as many as are registered by what is \
             recorded of them, in an hour or in all.",
        ),
        (Self::Conflict, "The key was recorded with another body."),
    ];

    /// The word of the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Missing => "MISSING",
            Self::Empty => "EMPTY",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::TooLong => "TOO_LONG",
            Self::Invalid => "INVALID",
            Self::UnknownDevice => "UNKNOWN_DEVICE",
            Self::UnknownSite => "UNKNOWN_SITE",
            Self::InFuture => "IN_FUTURE",
            Self::TooOld => "TOO_OLD",
            Self::UnknownField => "UNKNOWN_FIELD",
            Self::UnknownKind => "UNKNOWN_KIND",
            Self::NotAllowed => "NOT_ALLOWED",
            Self::TooManyDevices => "TOO_MANY_DEVICES",
            Self::Conflict => "CONFLICT",
        }
    }
}

/// Why one event is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The field at fault; absent when it is the event as a whole.
    pub field: Option<Cow<'static, str>>,
    /// What is wrong, for programs.
    pub code: Code,
    /// What is wrong, for people: it names the limit, and shows the beginning of a value that has not
    /// the form of its field.
    pub message: String,
}

impl Refusal {
    /// A refusal of a field.
    pub fn of(field: impl Into<Cow<'static, str>>, code: Code, message: impl Into<String>) -> Self {
        Self {
            field: Some(field.into()),
            code,
            message: message.into(),
        }
    }

    /// A refusal of the event as a whole.
    pub fn of_event(code: Code, message: impl Into<String>) -> Self {
        Self {
            field: None,
            code,
            message: message.into(),
        }
    }
}
