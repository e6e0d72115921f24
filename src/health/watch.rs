//! Which devices are silent: one timer for each, ordered by when it is due; no scan.
//!
//! It does no I/O and reads no clock. What it decides stands in a queue until it is recorded, so
//! nothing is lost while the log cannot be written; a device has at most two changes in it, that it
//! fell silent and that it returned.

use std::collections::{BTreeSet, HashMap, VecDeque};

use entity::{device_metrics, device_state_history as states};
use uuid::Uuid;

use crate::event::{Event, Instant, NewEvent, Provenance};
use crate::kinds::{Draft, Kind, Refusal};

/// A report this much older than its recording is history, not a sign of life.
const LIVE_MS: i64 = 10 * 60 * 1_000;
/// Intervals of a device that may pass in silence.
const INTERVALS_MAX: i64 = 3;
/// A clock that goes back by more than this has been set.
const CLOCK_SET_MS: i64 = 1_000;

#[derive(Clone, Debug)]
struct Watched {
    device_id: String,
    heard_at: Instant,
    due_at: Instant,
    provenance: Provenance,
    offline: bool,
    /// When the state that it is in began.
    state_at: Instant,
    /// Changes of it that are not recorded yet.
    unrecorded: u32,
}

/// What is known of a device when the watch over it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) heard_at: Instant,
    pub(super) offline: bool,
    pub(super) state_at: Instant,
}

#[derive(Clone, Debug)]
struct Change {
    device: i64,
    event: NewEvent,
}

/// The devices that are watched.
#[derive(Debug)]
pub(super) struct Watch {
    silence_ms: i64,
    devices: HashMap<i64, Watched>,
    due: BTreeSet<(Instant, i64)>,
    unrecorded: VecDeque<Change>,
    clock_at: Instant,
}

impl Watch {
    /// Nobody is watched yet; a device is silent after this time at least.
    pub(super) fn new(silence_ms: i64) -> Self {
        Self {
            silence_ms,
            devices: HashMap::new(),
            due: BTreeSet::new(),
            unrecorded: VecDeque::new(),
            clock_at: Instant::OLDEST,
        }
    }

    /// Begins with a device that was alive not long ago: it has its whole time from now.
    pub(super) fn remember(&mut self, event: &Event, known: Known, now: Instant) {
        self.follow_clock(now);
        let Some(key) = event.fact.cell(device_metrics::Column::DeviceKey).int() else {
            return;
        };
        let mut watched = self.watched(event, now);
        watched.heard_at = known.heard_at.min(now);
        watched.offline = known.offline;
        watched.state_at = known.state_at;
        self.put(key, watched);
    }

    /// Takes a sign of life, or a state that somebody has reported.
    pub(super) fn hear(&mut self, event: &Event, now: Instant) {
        self.follow_clock(now);
        if event.fact.kind == Kind::DeviceStateChange {
            self.take_state(event);
            return;
        }
        // of a log that was written by a wrong clock, the times of recording may be ahead of all
        let heard = event.recorded_at.min(now);
        let at = event.fact.occurred_at;
        let key = event.fact.cell(device_metrics::Column::DeviceKey).int();
        let Some(key) = key.filter(|_| at >= heard.plus_ms(-LIVE_MS)) else {
            return;
        };
        let mut watched = self.watched(event, heard);
        if let Some(before) = self.devices.get(&key) {
            watched.state_at = before.state_at;
            watched.unrecorded = before.unrecorded;
            if before.offline {
                let back_at = if at > before.state_at {
                    at.min(heard)
                } else {
                    heard
                };
                watched.state_at = back_at;
                self.change(key, &mut watched, ("ONLINE", back_at), "heard of again");
            }
        }
        self.put(key, watched);
    }

    fn watched(&self, event: &Event, heard: Instant) -> Watched {
        let cell = |column: device_metrics::Column| event.fact.cell(column);
        let interval = cell(device_metrics::Column::CollectionIntervalSeconds).int();
        let own_ms = interval.unwrap_or(0).saturating_mul(INTERVALS_MAX * 1_000);
        let id = cell(device_metrics::Column::DeviceKey).text();
        Watched {
            device_id: id.unwrap_or_default().to_owned(),
            heard_at: heard,
            due_at: heard.plus_ms(own_ms.max(self.silence_ms)),
            provenance: event.fact.provenance,
            offline: false,
            state_at: Instant::OLDEST,
            unrecorded: 0,
        }
    }

    fn put(&mut self, key: i64, watched: Watched) {
        let (due_at, offline) = (watched.due_at, watched.offline);
        if let Some(before) = self.devices.insert(key, watched) {
            self.due.remove(&(before.due_at, key));
        }
        if !offline {
            self.due.insert((due_at, key));
        }
    }

    /// A state that somebody else has reported, or the echo of one of ours.
    fn take_state(&mut self, event: &Event) {
        let key = event.fact.cell(states::Column::DeviceKey).int();
        let Some((key, watched)) = key.and_then(|key| Some((key, self.devices.get_mut(&key)?)))
        else {
            return;
        };
        if event.fact.occurred_at < watched.state_at {
            return;
        }
        watched.state_at = event.fact.occurred_at;
        watched.offline = event.fact.cell(states::Column::NewState).text() == Some("OFFLINE");
        if watched.offline {
            self.due.remove(&(watched.due_at, key));
        } else {
            self.due.insert((watched.due_at, key));
        }
    }

    /// Finds the devices whose time has passed. One with changes that are not recorded yet has to
    /// wait: they come first.
    pub(super) fn look(&mut self, now: Instant) {
        self.follow_clock(now);
        let due = self.due.iter().take_while(|(due_at, _)| *due_at <= now);
        for (due_at, key) in due.copied().collect::<Vec<_>>() {
            let Some(mut watched) = self.devices.get(&key).cloned() else {
                continue;
            };
            if watched.unrecorded > 0 {
                continue;
            }
            let seconds = (due_at.0 - watched.heard_at.0) / 1_000_000;
            let reason = format!("not heard of for {seconds} s");
            watched.offline = true;
            watched.state_at = due_at;
            self.change(key, &mut watched, ("OFFLINE", due_at), &reason);
            self.put(key, watched);
        }
    }

    fn change(&mut self, device: i64, of: &mut Watched, to: (&str, Instant), reason: &str) {
        match change(of, to, reason) {
            Ok(event) => {
                of.unrecorded += 1;
                self.unrecorded.push_back(Change { device, event });
            }
            Err(refusal) => tracing::error!(refusal.message, "a change of state is not in order"),
        }
    }

    /// When the clock is set back, the timers go with it: else they were due when it comes to where
    /// it was.
    fn follow_clock(&mut self, now: Instant) {
        let set_back = now < self.clock_at.plus_ms(-CLOCK_SET_MS);
        let back = self.clock_at.0.saturating_sub(now.0);
        self.clock_at = now;
        if !set_back {
            return;
        }
        self.due.clear();
        for (key, watched) in &mut self.devices {
            watched.due_at.0 -= back;
            watched.heard_at = watched.heard_at.min(now);
            if !watched.offline {
                self.due.insert((watched.due_at, *key));
            }
        }
    }

    /// The changes that have waited longest to be recorded.
    pub(super) fn unrecorded(&self, events_max: usize) -> Vec<NewEvent> {
        let first = self.unrecorded.iter().take(events_max);
        first.map(|change| change.event.clone()).collect()
    }

    /// So many of the changes that have waited longest are recorded.
    pub(super) fn recorded(&mut self, count: usize) {
        for change in self.unrecorded.drain(..count.min(self.unrecorded.len())) {
            if let Some(watched) = self.devices.get_mut(&change.device) {
                watched.unrecorded = watched.unrecorded.saturating_sub(1);
            }
        }
    }

    /// Lets all others go before the change that has waited longest.
    pub(super) fn put_first_last(&mut self) {
        if let Some(change) = self.unrecorded.pop_front() {
            self.unrecorded.push_back(change);
        }
    }
}

/// Namespace of the ids of these changes: two nodes that see the same silence record it once, and
/// so does one that tries again.
const CHANGES: Uuid = Uuid::from_u128(0x7b1d_35a2_90f4_4c86_b6a4_1ad0_59e3_5f13);

fn change(of: &Watched, (state, at): (&str, Instant), reason: &str) -> Result<NewEvent, Refusal> {
    let id = of.device_id.as_str();
    let event_id = Uuid::new_v5(&CHANGES, format!("{id}/{state}/{}", at.0).as_bytes());
    Draft::new(Kind::DeviceStateChange, at, of.provenance)
        .event_id(event_id)
        .set(states::Column::DeviceKey, id)
        .set(states::Column::NewState, state)
        .set(states::Column::ChangedBy, "health-check")
        .set(states::Column::Reason, reason)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Cell, Fact, Position, Reference};

    const NOON: Instant = Instant(1_800_000_000_000_000);
    const SILENCE_MS: i64 = 90_000;

    fn at(seconds: i64) -> Instant {
        NOON.plus_ms(seconds * 1_000)
    }

    fn event(kind: Kind, device: i64, occurred: i64, recorded: i64) -> Event {
        let draft = Draft::new(kind, at(occurred), Provenance::Real);
        let draft = if kind == Kind::DeviceStateChange {
            draft
                .set(states::Column::DeviceKey, "till")
                .set(states::Column::NewState, "OFFLINE")
        } else {
            draft.set(device_metrics::Column::DeviceKey, "till")
        };
        let mut fact = draft.finish().unwrap().fact;
        let index = fact.spec().device_index().unwrap();
        fact.cells[index] = Cell::Reference(Reference {
            key: device,
            id: format!("till-{device}").into(),
        });
        Event {
            position: Position(1),
            recorded_at: at(recorded),
            fact,
        }
    }

    fn heard(watch: &mut Watch, device: i64, seconds: i64) {
        let metrics = event(Kind::DeviceMetrics, device, seconds, seconds);
        watch.hear(&metrics, at(seconds));
    }

    /// States that wait to be recorded, with the seconds after noon at which they began.
    fn waiting(watch: &Watch) -> Vec<(String, i64)> {
        let shown = |event: NewEvent| {
            let state = event.fact.cell(states::Column::NewState).text();
            let seconds = (event.fact.occurred_at.0 - NOON.0) / 1_000_000;
            (state.unwrap().to_owned(), seconds)
        };
        watch
            .unrecorded(usize::MAX)
            .into_iter()
            .map(shown)
            .collect()
    }

    fn recorded(watch: &mut Watch) -> Vec<(String, i64)> {
        let shown = waiting(watch);
        watch.recorded(shown.len());
        shown
    }

    fn states_of(pairs: &[(&str, i64)]) -> Vec<(String, i64)> {
        let owned = |(state, at): &(&str, i64)| ((*state).to_owned(), *at);
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn what_is_not_recorded_waits_and_is_the_same_when_tried_again() {
        let mut watch = Watch::new(SILENCE_MS);
        heard(&mut watch, 1, 0);
        watch.look(at(91));
        let facts = |watch: &Watch| -> Vec<Fact> {
            let first = watch.unrecorded(1).into_iter();
            first.map(|event| event.fact).collect()
        };
        let first = facts(&watch);
        watch.look(at(95));
        heard(&mut watch, 1, 100);
        assert_eq!(facts(&watch), first);
        // silent again, which waits until the two before it are recorded
        watch.look(at(300));
        assert_eq!(
            recorded(&mut watch),
            states_of(&[("OFFLINE", 90), ("ONLINE", 100)])
        );
        watch.look(at(301));
        assert_eq!(recorded(&mut watch), states_of(&[("OFFLINE", 190)]));
        watch.look(at(999));
        assert_eq!(recorded(&mut watch), []);
    }

    #[test]
    fn a_log_whose_times_are_ahead_does_not_hide_signs_of_life() {
        let mut watch = Watch::new(SILENCE_MS);
        let day = 86_400;
        watch.hear(&event(Kind::DeviceMetrics, 1, 0, day), at(0));
        watch.look(at(89));
        assert_eq!(recorded(&mut watch), []);
        watch.look(at(90));
        assert_eq!(recorded(&mut watch), states_of(&[("OFFLINE", 90)]));
        watch.hear(&event(Kind::DeviceMetrics, 1, 120, day), at(120));
        assert_eq!(recorded(&mut watch), states_of(&[("ONLINE", 120)]));
    }

    #[test]
    fn timers_go_back_with_a_clock_that_is_set_back() {
        let mut watch = Watch::new(SILENCE_MS);
        let day = 86_400;
        heard(&mut watch, 1, day);
        heard(&mut watch, 2, day);
        watch.hear(&event(Kind::DeviceMetrics, 2, 10, day), at(10));
        watch.look(at(99));
        assert_eq!(recorded(&mut watch), []);
        watch.look(at(100));
        assert_eq!(
            recorded(&mut watch),
            states_of(&[("OFFLINE", 100), ("OFFLINE", 100)])
        );
    }

    #[test]
    fn a_late_report_of_a_silent_device_is_a_sign_of_life_from_when_it_came() {
        let mut watch = Watch::new(SILENCE_MS);
        heard(&mut watch, 1, 0);
        watch.look(at(90));
        watch.hear(&event(Kind::DeviceMetrics, 1, 30, 200), at(200));
        assert_eq!(
            recorded(&mut watch),
            states_of(&[("OFFLINE", 90), ("ONLINE", 200)])
        );
        // what is older than ten minutes is history
        watch.look(at(290));
        watch.hear(&event(Kind::DeviceMetrics, 1, 299, 900), at(900));
        assert_eq!(recorded(&mut watch), states_of(&[("OFFLINE", 290)]));
    }

    #[test]
    fn the_echo_of_an_older_state_changes_nothing() {
        let mut watch = Watch::new(SILENCE_MS);
        heard(&mut watch, 1, 0);
        watch.look(at(90));
        heard(&mut watch, 1, 100);
        watch.hear(&event(Kind::DeviceStateChange, 1, 90, 91), at(101));
        recorded(&mut watch);
        heard(&mut watch, 1, 130);
        assert_eq!(recorded(&mut watch), []);
        // but a newer one from somebody else holds until the device is heard of again
        watch.hear(&event(Kind::DeviceStateChange, 1, 140, 140), at(140));
        watch.look(at(500));
        assert_eq!(recorded(&mut watch), []);
        heard(&mut watch, 1, 510);
        assert_eq!(recorded(&mut watch), states_of(&[("ONLINE", 510)]));
    }

    #[test]
    fn one_that_cannot_be_recorded_lets_the_others_go_first() {
        let mut watch = Watch::new(SILENCE_MS);
        heard(&mut watch, 1, 0);
        heard(&mut watch, 2, 1);
        watch.look(at(100));
        watch.put_first_last();
        assert_eq!(
            waiting(&watch),
            states_of(&[("OFFLINE", 91), ("OFFLINE", 90)])
        );
    }
}
