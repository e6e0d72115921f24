//! Ids of events that were recorded without one: under these they go out of the log, and by these the log knows them
//! again when they come back.
//!
//! Such an id says where its event stands, where it is looked for then, and has a checksum of what never changes of it.
//! So it is that of no other event, also where the log was set back and has given the position anew. It is of version
//! 8, as are all ids that servers give, and a log that takes the event in keeps it as it is.

use uuid::{Builder, Uuid, Variant, Version};

use super::Store;
use crate::event::{Event, Position, is_own_id};
use crate::kinds::{Identity, Kind};

/// Bits of the position. Above them stands the kind.
const POSITION_BITS: u32 = 54;
const POSITION_MAX: u64 = (1 << POSITION_BITS) - 1;
/// The greatest number of a kind that has room.
const KIND_MAX: u64 = 0xff;
/// What is left of an id without its variant: a kind and a position.
const PLACE: u64 = u64::MAX >> 2;
/// What of the id of a log is in the ids of its events, so that those of others are told apart without a look.
const MARK: u64 = 0xfff;
/// Where the checksum stands.
const CHECKSUM: u64 = !0xffff;

impl Store {
    /// The id under which an event goes out that was recorded without one; `None` if it has one, is known by something
    /// else, or is of a kind that nobody brings back.
    #[must_use]
    pub(crate) fn id_of_nameless(&self, event: &Event) -> Option<Uuid> {
        id_of(self.identity().log_id, event).filter(|_| event.fact.spec().recordable)
    }
}

/// The id by which a log knows an event again that was recorded without one.
pub(super) fn id_of(log: Uuid, event: &Event) -> Option<Uuid> {
    let fact = &event.fact;
    if fact.event_id.is_some() || fact.spec().identity != Identity::EventId {
        return None;
    }
    let kind = u64::try_from(fact.kind.code()).ok();
    let kind = kind.filter(|kind| *kind <= KIND_MAX)?;
    let position = u64::try_from(event.position.0).ok();
    let position = position.filter(|position| *position <= POSITION_MAX)?;
    let fixed = [
        fact.kind.code(),
        event.position.0,
        event.recorded_at.0,
        fact.occurred_at.0,
    ];
    let fixed = fixed.map(i64::to_be_bytes).concat();
    let (checksum, _) = Uuid::new_v5(&log, &fixed).as_u64_pair();
    let high = (checksum & CHECKSUM) | mark_of(log);
    let id = Uuid::from_u64_pair(high, (kind << POSITION_BITS) | position);
    let id = Builder::from_bytes(id.into_bytes()).with_variant(Variant::RFC4122);
    Some(id.with_version(Version::Custom).into_uuid())
}

/// Where the event stands that a log knows by an id, if it is one that it may have given.
pub(super) fn place_of(log: Uuid, id: Uuid) -> Option<(Kind, Position)> {
    let (high, low) = id.as_u64_pair();
    if !is_own_id(id) || high & MARK != mark_of(log) {
        return None;
    }
    let place = low & PLACE;
    let kind = i64::try_from(place >> POSITION_BITS).ok()?;
    let position = i64::try_from(place & POSITION_MAX).ok()?;
    Some((Kind::of_code(kind)?, Position(position)))
}

fn mark_of(log: Uuid) -> u64 {
    let (_, low) = log.as_u64_pair();
    low & MARK
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Cell, Fact, Instant, Provenance};

    const LOG: Uuid = Uuid::from_u128(0x0193_1a9f_4d5c_7c3e_9b1a_2f6d_8e0c_4b7a);

    fn event(kind: Kind, position: i64) -> Event {
        let fact = Fact {
            kind,
            event_id: None,
            occurred_at: Instant::OLDEST,
            provenance: Provenance::Real,
            cells: vec![Cell::Null; kind.spec().fields.len()].into_boxed_slice(),
            extra: Cell::Null,
        };
        Event {
            position: Position(position),
            recorded_at: Instant::NEWEST,
            fact,
        }
    }

    #[test]
    fn an_id_says_where_its_event_stands() {
        let other = Uuid::from_u128(LOG.as_u128() ^ 1);
        for kind in Kind::all() {
            for position in [1, 2, 1_000_000_007, (1 << POSITION_BITS) - 1] {
                let id = id_of(LOG, &event(kind, position));
                if kind.spec().identity != Identity::EventId {
                    assert_eq!(id, None);
                    continue;
                }
                let id = id.unwrap();
                assert!(is_own_id(id) && id.get_variant() == Variant::RFC4122);
                assert_eq!(place_of(LOG, id), Some((kind, Position(position))));
                assert_eq!(place_of(other, id), None);
            }
        }
        assert_eq!(id_of(LOG, &event(Kind::ErrorLog, 1 << POSITION_BITS)), None);
    }

    #[test]
    fn an_id_is_that_of_one_event() {
        let first = event(Kind::ErrorLog, 7);
        let id = id_of(LOG, &first);
        let mut erased = first.clone();
        erased.fact.extra = Cell::from("erased");
        assert_eq!(id_of(LOG, &erased), id);
        let mut anew = first.clone();
        anew.recorded_at = Instant::OLDEST;
        assert_ne!(id_of(LOG, &anew), id);
        let mut named = first;
        named.fact.event_id = Some(LOG);
        assert_eq!(id_of(LOG, &named), None);
    }
}
