//! What events say to the groups of their provenance.

use entity::error_group_changes as change;
use entity::error_logs as errors;

use super::NO_DEVICE;
use super::changed::Changed;
use crate::event::{Event, Provenance};
use crate::insights::errors::fingerprint::Fingerprint;
use crate::insights::errors::group::Status;
use crate::insights::errors::state::{Fact, Seen, State};
use crate::insights::input::ErrorSeen;
use crate::insights::replay::error as error_of;
use crate::kinds::Kind;

/// The id of a group as people have it: of a provenance, since the same messages make the same group in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupId {
    /// The provenance of its errors.
    pub(crate) provenance: Provenance,
    /// What tells it from the others of that.
    pub(crate) id: Fingerprint,
}

impl std::fmt::Display for GroupId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}-{}",
            self.provenance.word().to_ascii_lowercase(),
            self.id
        )
    }
}

impl GroupId {
    /// Reads an id; `None` where it is none.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (word, id) = text.split_once('-')?;
        let is_plain = id.len() == 16 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
        let read = Self {
            provenance: Provenance::of_word(&word.to_ascii_uppercase())?,
            id: id.parse().ok().filter(|_| is_plain)?,
        };
        (read.to_string() == text).then_some(read)
    }
}

/// An error of the log, as groups see it.
#[derive(Debug)]
pub(crate) struct Failed<'e> {
    error: ErrorSeen,
    event: &'e Event,
    /// Devices are known by their keys here, which are the same in whatever order they are met.
    device: Option<String>,
}

impl<'e> Failed<'e> {
    /// An event as an error.
    pub(crate) fn of(event: &'e Event) -> Self {
        let device = event.fact.cell(errors::Column::DeviceKey).int();
        Self {
            error: error_of(&event.fact),
            event,
            device: device.map(|key| key.to_string()),
        }
    }

    /// What groups look at.
    pub(crate) fn seen(&self) -> Seen<'_> {
        Seen {
            error: &self.error,
            stack: self.event.fact.cell(errors::Column::StackTrace).text(),
            device: self.device.as_deref(),
            site: None,
        }
    }
}

/// Takes what an event says, and notes what is to be written of it.
pub(crate) fn take(state: &mut State, event: &Event, changed: &mut Changed) {
    if event.fact.kind == Kind::ErrorGroupChange {
        decide(state, event, changed);
    } else {
        let failed = Failed::of(event);
        let done = state.take(&Fact::Error(failed.seen()));
        let device = event.fact.cell(errors::Column::DeviceKey).int();
        changed.note(&done);
        changed.count(
            &done,
            (device.unwrap_or(NO_DEVICE), failed.error.severity),
            event,
        );
    }
}

fn decide(state: &mut State, event: &Event, changed: &mut Changed) {
    let text = |column: change::Column| event.fact.cell(column).text();
    let id = |column: change::Column| {
        let id = GroupId::read(text(column)?)?;
        (id.provenance == event.fact.provenance).then_some(id.id)
    };
    let Some(group) = id(change::Column::GroupId) else {
        return;
    };
    let group = known(state, event, group);
    let at = event.fact.occurred_at;
    let decision = |status| Fact::Decision { at, group, status };
    let fact = match text(change::Column::Change) {
        Some("RESOLVED") => decision(Status::Resolved),
        Some("IGNORED") => decision(Status::Ignored),
        Some("REOPENED") => decision(Status::Open),
        Some("MERGED") => {
            let Some(into) = id(change::Column::IntoGroupId) else {
                return;
            };
            Fact::Join {
                groups: (group, into),
            }
        }
        _ => return,
    };
    changed.note(&state.take(&fact));
}

/// The id of the group that was meant: of a version that makes other ids, by what its messages have in common.
fn known(state: &State, event: &Event, group: Fingerprint) -> Fingerprint {
    if state.label(group).is_some() {
        return group;
    }
    let text = |column: change::Column| event.fact.cell(column).text();
    let template = text(change::Column::Template).unwrap_or_default();
    let category = text(change::Column::Category).unwrap_or_default();
    let like = state.like((category, text(change::Column::ErrorCode)), template);
    like.unwrap_or(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_what_is_none_does_not() {
        let id = GroupId {
            provenance: Provenance::Simulated,
            id: Fingerprint(0xab),
        };
        assert_eq!(id.to_string(), "simulated-00000000000000ab");
        assert_eq!(GroupId::read(&id.to_string()), Some(id));
        for text in [
            "",
            "real",
            "real-",
            "real-ab",
            "REAL-00000000000000ab",
            "real-+0000000000000ab",
            "x-00000000000000ab",
            "real-00000000000000AB",
        ] {
            assert_eq!(GroupId::read(text), None, "{text}");
        }
    }
}
