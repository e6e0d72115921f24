//! What is told of a deed in the audit.

use entity::audit_log::Column;

use super::Caller;
use crate::event::{Cell, Instant, NewEvent, Provenance};
use crate::kinds::{Draft, Kind, Refusal};

/// Who gives the commands of the program.
pub const COMMAND_LINE: &str = "command line";

/// Something that somebody does, or is refused.
#[derive(Debug)]
pub struct Deed(Draft);

impl Deed {
    /// Somebody does something of a sort.
    pub(super) fn new(action: &str, actor: &str, now: Instant) -> Self {
        let draft = Draft::new(Kind::AuditEntry, now, Provenance::Real)
            .set(Column::Action, action)
            .set(Column::Outcome, "DONE")
            .set(Column::Actor, actor);
        Self(draft)
    }

    /// A caller gives a command.
    #[must_use]
    pub fn command(caller: &Caller, operation: &str, now: Instant) -> Self {
        Self::new("COMMAND", &caller.name, now).by(operation)
    }

    /// Whoever has the log gives a command of the program.
    #[must_use]
    pub fn of_program(operation: &str, now: Instant) -> Self {
        Self::new("COMMAND", COMMAND_LINE, now).by(operation)
    }

    /// By which mutation or command it is done.
    #[must_use]
    pub fn by(self, operation: &str) -> Self {
        Self(self.0.set(Column::Operation, operation))
    }

    /// To what it is done.
    #[must_use]
    pub fn to(self, target: &str) -> Self {
        Self(self.0.set(Column::Target, target))
    }

    /// From where it is done, if that is known.
    #[must_use]
    pub fn from(self, network: Option<&str>) -> Self {
        Self(self.0.set(Column::IpAddress, network))
    }

    /// Why it is done.
    #[must_use]
    pub fn because(self, reason: Option<&str>) -> Self {
        Self(self.0.set(Column::Reason, reason))
    }

    /// That it is refused, and why.
    #[must_use]
    pub fn refused(self, why: &str) -> Self {
        Self(self.0.set(Column::Outcome, "REFUSED")).because(Some(why))
    }

    /// That it is done so many times.
    pub(super) fn times(self, times: u32) -> Self {
        Self(self.0.set(Column::Occurrences, i64::from(times)))
    }

    /// Which key it is about, and what that gives.
    pub(super) fn of_key(self, key_id: &str, grant: impl Into<Cell>) -> Self {
        let draft = self.0.set(Column::KeyId, key_id);
        Self(draft.set(Column::KeyGrant, grant))
    }

    /// The entry of the audit.
    ///
    /// # Errors
    /// When what a key is to give is too much for it; all else is cut until it fits.
    pub fn entry(self) -> Result<NewEvent, Refusal> {
        self.0.finish()
    }
}
