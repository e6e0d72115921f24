//! Where events of a kind are kept as they grow old, and what of them is personal.

/// What is personal in the events of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    /// Name of the field that says of whom it is.
    pub id: &'static str,
    /// Names of the fields that are blanked when a person is erased.
    pub blanks: &'static [&'static str],
}

/// Where events of a kind are kept as they grow old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// In their table for ever: what holds is made of them, or what is derived for one is looked for in the table
    /// among the others.
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
