//! From which state on a device is folded, up to when at once, and what is kept then.

use std::collections::BTreeMap;

use super::days::{Day, midnight_after};
use super::due::EVER;
use super::facts::Whose;
use super::rows::{Base, Head, InUse, encode};
use crate::event::{Event, Instant};
use crate::insights::device::{DeviceState, Encoded};
use crate::insights::kept::Kept;
use crate::insights::replay::hour_of;
use crate::insights::sites::Sites;
use crate::store::StoreError;

/// What there is of a device that is due.
#[derive(Clone, Debug)]
pub(super) struct Due {
    pub(super) whose: Whose,
    /// From which hour on.
    pub(super) from: i64,
    /// The state in use.
    pub(super) head: Option<Head>,
    /// What is kept beside it, in order.
    pub(super) days: Vec<Day>,
}

/// From where on a device is folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// The state with which it begins; `None` where nothing is known before.
    pub(super) base: Option<Base>,
    /// The hour with which it begins.
    pub(super) at: i64,
    /// From which hour on what is kept is not what happened.
    pub(super) from: i64,
}

impl Due {
    /// Where it begins: with the newest state that has nothing of what is folded anew. Where events were deleted for
    /// good until an instant, it is one that has all of them.
    pub(super) fn start(&self, whole_since: i64) -> Start {
        let is_whole = self.head.is_some_and(|head| head.first_at >= whole_since);
        let whole_since = if is_whole { i64::MIN } else { whole_since };
        let days = self
            .days
            .iter()
            .map(|day| (day.until, Base::Day(self.whose, day.until)));
        let in_use = self.head.map(|head| (head.upto, Base::InUse(self.whose)));
        let mut bases: Vec<(i64, Base)> = days.chain(in_use).collect();
        bases.sort_by_key(|(until, _)| *until);
        let before = bases.iter().rev().find(|(until, _)| *until <= self.from);
        let chosen = match before {
            Some(base) if base.0 >= whole_since => Some(base),
            None if whole_since == i64::MIN => None,
            _ => {
                let whole = bases.iter().find(|(until, _)| *until >= whole_since);
                whole.or(bases.last())
            }
        };
        let Some((until, base)) = chosen else {
            return self.first();
        };
        let from = self.from.max(*until);
        // what is in use has all that happened before it is due
        let at = match base {
            Base::InUse(_) => from,
            Base::Day(..) => *until,
        };
        Start {
            base: Some(*base),
            at,
            from,
        }
    }
}

impl Due {
    /// Where it begins where no state is of before it is due: with its first event.
    fn first(&self) -> Start {
        let first = match self.head {
            Some(head) => self.from.min(hour_of(Instant(head.first_at)).0),
            None if self.days.is_empty() => self.from,
            // it was folded in part, and what it began with is not known
            None => EVER,
        };
        Start {
            base: None,
            at: first,
            from: if first == EVER { EVER } else { self.from },
        }
    }
}

/// A device with what is folded of it at once.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) due: Due,
    pub(super) start: Start,
    /// The state with which it begins, as it is kept.
    pub(super) base: Option<Encoded>,
    pub(super) events: Vec<Event>,
    /// When something happens to it next, after the hours that are folded at once; `None` if nothing does in an hour
    /// that is over.
    pub(super) next: Option<i64>,
}

/// What becomes of a device.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) whose: Whose,
    /// The state that is in use from now on, if it is another one.
    pub(super) in_use: Option<InUse>,
    /// What is kept beside it from now on and was not yet.
    pub(super) days: BTreeMap<Day, Encoded>,
    /// Until when those are that are kept no more.
    pub(super) gone: Vec<i64>,
    /// From which hour on it is due still.
    pub(super) due: Option<i64>,
}

/// The states that are met on the way and are kept.
#[derive(Default)]
struct Met {
    /// The one with which it begins, as it is kept.
    base: Option<Encoded>,
    /// The hour that is folded last.
    last: Option<Instant>,
    days: BTreeMap<Day, Encoded>,
    failed: Option<StoreError>,
}

impl Met {
    /// Notes the state before an hour.
    fn note(&mut self, state: &DeviceState, hour: Instant) {
        // before the first hour it is as it was kept
        let base = self.base.take();
        let upto = state.upto.0;
        let midnight = midnight_after(upto);
        let (is_over, is_last) = (midnight <= hour.0, self.last == Some(hour));
        if state.first.is_none() || !(is_over || is_last) {
            return;
        }
        let encoded = match base.map_or_else(|| encode(state), Ok) {
            Ok(encoded) => encoded,
            Err(error) => {
                self.failed = Some(error);
                return;
            }
        };
        if is_last {
            let until = hour.0;
            self.days.insert(Day { until, upto }, encoded.clone());
        }
        if is_over {
            let until = midnight;
            self.days.insert(Day { until, upto }, encoded);
        }
    }
}

impl Task {
    /// Folds the hours before an instant.
    pub(super) fn fold(
        mut self,
        (id, sites): (&str, &Sites),
        until: i64,
    ) -> Result<Change, StoreError> {
        let base = self.base.as_ref().map(super::rows::decoded).transpose()?;
        let mut kept = Kept::new(id, base.unwrap_or_default(), sites);
        let last = self.events.last();
        let mut met = Met {
            base: self.base.take(),
            last: last.map(|event| hour_of(event.fact.occurred_at)),
            ..Met::default()
        };
        for event in &self.events {
            kept.take(&event.fact, event.recorded_at, |state, hour| {
                met.note(state, hour);
            });
        }
        kept.close(Instant(until), |state, hour| met.note(state, hour));
        if let Some(failed) = met.failed {
            return Err(failed);
        }
        self.change(kept.state(), met, until)
    }

    fn change(self, state: &DeviceState, met: Met, until: i64) -> Result<Change, StoreError> {
        let (upto, start, whose) = (state.upto.0, self.start, self.due.whose);
        let known = self.due.head.map(|head| head.upto);
        let is_moved = !self.events.is_empty() || start.base != Some(Base::InUse(whose));
        // until all is folded again that is in use, that stays
        let is_left = |known: i64| until < known && self.next.is_some_and(|next| next < known);
        let is_again = until > start.from && known.is_none_or(|known| !is_left(known));
        let is_ahead = is_again || self.next.is_none();
        let mut days = met.days;
        let encoded = if is_moved && state.first.is_some() {
            Some(encode(state)?)
        } else {
            None
        };
        let mut in_use = None;
        let mut progress = None;
        if let (Some(state_bytes), Some(first)) = (encoded, state.first) {
            if is_ahead {
                in_use = Some(InUse {
                    whose,
                    upto,
                    first_at: first.0,
                    measured_at: state.risk.last_measured.map_or(0, |at| at.0),
                    state: state_bytes,
                });
            } else {
                let day = Day { until, upto };
                progress = Some(day);
                days.insert(day, state_bytes);
            }
        }
        let stays = |day: &Day| Some(*day) == progress || day.is_kept(upto);
        days.retain(|day, _| stays(day));
        let held = |of: &&Day| of.until > start.from || !stays(of);
        let gone = self.due.days.iter().filter(held);
        let made = |until: &i64| days.keys().any(|day| day.until == *until);
        let gone = gone.map(|day| day.until).filter(|until| !made(until));
        Ok(Change {
            whose,
            in_use,
            gone: gone.collect(),
            days,
            due: self
                .next
                .map(|next| hour_of(Instant(next)).0.max(start.from)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Provenance;
    use crate::insights::input::{DAY, HOUR};

    const WHOSE: Whose = (1, Provenance::Real);

    /// Due from an hour on, with states in use and beside it that have hours up to some.
    fn due(from: i64, head: Option<i64>, days: &[i64]) -> Due {
        let head = head.map(|upto| Head {
            whose: WHOSE,
            upto,
            first_at: DAY,
            measured_at: upto,
            mark: 0,
        });
        let days = days.iter().map(|until| Day {
            until: *until,
            upto: *until,
        });
        Due {
            whose: WHOSE,
            from,
            head,
            days: days.collect(),
        }
    }

    const WHOLE: i64 = i64::MIN;

    #[test]
    fn what_is_new_begins_with_the_state_in_use() {
        let start = due(9 * DAY, Some(8 * DAY), &[7 * DAY, 8 * DAY - HOUR]).start(WHOLE);
        assert_eq!(start.base, Some(Base::InUse(WHOSE)));
        assert_eq!(
            (start.at, start.from),
            (9 * DAY, 9 * DAY),
            "it was silent between"
        );
        let first = due(9 * DAY, None, &[]).start(WHOLE);
        assert_eq!((first.base, first.at), (None, 9 * DAY));
    }

    #[test]
    fn what_is_late_begins_with_the_newest_state_before_it() {
        let late =
            |from| due(from, Some(8 * DAY), &[5 * DAY, 7 * DAY, 8 * DAY - HOUR]).start(WHOLE);
        let last_hour = late(8 * DAY - HOUR);
        assert_eq!(last_hour.base, Some(Base::Day(WHOSE, 8 * DAY - HOUR)));
        let start = late(6 * DAY);
        assert_eq!(start.base, Some(Base::Day(WHOSE, 5 * DAY)));
        assert_eq!((start.at, start.from), (5 * DAY, 6 * DAY));
        let before_all = late(2 * DAY);
        assert_eq!((before_all.base, before_all.at), (None, DAY));
        assert_eq!(before_all.from, 2 * DAY);
    }

    #[test]
    fn what_lacks_events_that_were_deleted_is_not_begun_with() {
        let days = [5 * DAY, 7 * DAY];
        let start = due(6 * DAY, Some(8 * DAY), &days).start(6 * DAY + HOUR);
        assert_eq!(start.base, Some(Base::Day(WHOSE, 7 * DAY)));
        assert_eq!(
            (start.at, start.from),
            (7 * DAY, 7 * DAY),
            "what is late is not taken"
        );
        let all_older = due(6 * DAY, Some(8 * DAY), &days).start(9 * DAY);
        assert_eq!(all_older.base, Some(Base::InUse(WHOSE)));
        assert_eq!(all_older.from, 8 * DAY);
        // a device that began later lacks nothing
        let later = due(6 * DAY, Some(8 * DAY), &days).start(DAY);
        assert_eq!(later.base, Some(Base::Day(WHOSE, 5 * DAY)));
    }
}
