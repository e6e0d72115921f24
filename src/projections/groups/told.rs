//! What events say to the groups of their provenance.

use entity::error_group_changes as change;
use entity::error_logs as errors;

use super::NO_DEVICE;
use crate::event::{Cell, Event, Instant, Position, Provenance};
use crate::insights::errors::fingerprint::{Fingerprint, hash};
use crate::insights::errors::group::Status;
use crate::insights::errors::state::{Fact, Seen, State};
use crate::insights::errors::whole::Done;
use crate::insights::input::{ErrorSeen, Severity};
use crate::insights::replay::error as error_of;
use crate::kinds::Kind;

/// The id of a group as people have it: of a provenance, since the same messages make the same group in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// What an event has done to the groups of its provenance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The event.
    pub(crate) position: Position,
    /// What tells the events up to it from others.
    pub(crate) chain: u64,
    pub(super) done: Done,
    /// Of an error: its device, when it was, and how severe it is.
    pub(super) error: Option<(i64, Instant, Severity)>,
}

/// Takes what an event says, after events that are told from others by a number.
pub(crate) fn take(state: &mut State, (before, event): (u64, &Event)) -> Taken {
    let (done, error) = if event.fact.kind == Kind::ErrorGroupChange {
        (decide(state, event).unwrap_or_default(), None)
    } else {
        let failed = Failed::of(event);
        let done = state.take(&Fact::Error(failed.seen()));
        let at = event.fact.occurred_at;
        (done, Some((device(event), at, failed.error.severity)))
    };
    Taken {
        position: event.position,
        chain: chain(before, event),
        done,
        error,
    }
}

fn device(event: &Event) -> i64 {
    let device = event.fact.cell(errors::Column::DeviceKey).int();
    device.unwrap_or(NO_DEVICE)
}

/// What tells events up to one from others, by what does so up to the one before: all of them that groups look at. An
/// event of which something was erased is another.
pub(crate) fn chain(before: u64, event: &Event) -> u64 {
    let fact = &event.fact;
    let cells = if fact.kind == Kind::ErrorGroupChange {
        let cell = |column: change::Column| fact.cell(column);
        [
            cell(change::Column::Change),
            cell(change::Column::GroupId),
            cell(change::Column::IntoGroupId),
            cell(change::Column::Category),
            cell(change::Column::ErrorCode),
            cell(change::Column::Template),
        ]
    } else {
        let cell = |column: errors::Column| fact.cell(column);
        [
            cell(errors::Column::Severity),
            cell(errors::Column::Category),
            cell(errors::Column::ErrorCode),
            cell(errors::Column::ErrorMessage),
            cell(errors::Column::StackTrace),
            &Cell::Null,
        ]
    };
    let (position, at, device) = (event.position.0, fact.occurred_at.0, device(event));
    let place = format!("{before} {position} {at} {device}");
    let mut texts = vec![place.as_str()];
    for cell in cells {
        let text = cell.text();
        texts.push(text.map_or("", |_| "given"));
        texts.push(text.unwrap_or_default());
    }
    hash(&texts)
}

fn decide(state: &mut State, event: &Event) -> Option<Done> {
    let text = |column: change::Column| event.fact.cell(column).text();
    let id = |column: change::Column| {
        let id = GroupId::read(text(column)?)?;
        (id.provenance == event.fact.provenance).then_some(id.id)
    };
    let group = known(state, event, id(change::Column::GroupId)?);
    let at = event.fact.occurred_at;
    let decision = |status| Fact::Decision { at, group, status };
    let fact = match text(change::Column::Change) {
        Some("RESOLVED") => decision(Status::Resolved),
        Some("IGNORED") => decision(Status::Ignored),
        Some("REOPENED") => decision(Status::Open),
        Some("MERGED") => Fact::Join {
            groups: (group, id(change::Column::IntoGroupId)?),
        },
        _ => return None,
    };
    Some(state.take(&fact))
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
