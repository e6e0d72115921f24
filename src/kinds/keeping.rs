//! Where events of a kind are kept as they grow old, and what of them is personal.

/// What a text says that must be there and is no more, since it was erased.
pub const ERASED: &str = "erased";

/// By whom it says that something was done what this server does by itself, what devices do, who is on its machine, and
/// who is not known: none is the id of a person, and what follows from events is read from some of them.
const OWN_NAMES: [&str; 7] = [
    "alerts",
    "device",
    "health-check",
    "local",
    "nobody",
    "server",
    "several",
];

/// Whether a text that says who did something may be the id of a person.
#[must_use]
pub fn may_be_person(id: &str) -> bool {
    !OWN_NAMES.contains(&id)
}

/// What is personal in the events of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    /// Name of the field that says of whom it is, or by whom.
    pub id: &'static str,
    /// Names of the fields that are blanked when a person is erased.
    pub blanks: &'static [&'static str],
    /// Whether the field says who did something. That somebody did is still told then: it is said that their id was
    /// erased.
    pub is_doer: bool,
}

impl Person {
    /// Events that are of a person.
    pub(super) const fn of(id: &'static str, blanks: &'static [&'static str]) -> Self {
        Self {
            id,
            blanks,
            is_doer: false,
        }
    }

    /// Events of something else, which say who did it.
    pub(super) const fn by(id: &'static str, blanks: &'static [&'static str]) -> Self {
        Self {
            id,
            blanks,
            is_doer: true,
        }
    }

    /// Whether a text may be the id of a person here.
    #[must_use]
    pub fn may_be(&self, id: &str) -> bool {
        !self.is_doer || may_be_person(id)
    }
}

/// Where events of a kind are kept as they grow old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// In their table for ever: what holds is made of them.
    Here,
    /// In segments, once they are old.
    Archived {
        /// How old, in days, unless somebody has said otherwise.
        after_days: u32,
    },
}

impl Keeping {
    /// Whether old events are archived.
    #[must_use]
    pub const fn archives(self) -> bool {
        matches!(self, Self::Archived { .. })
    }
}
