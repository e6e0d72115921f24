//! Which devices are silent: one timer for each, ordered by when it is due; no scan.
//!
//! It does no I/O and reads no clock. What it decides stands in a queue until it is recorded, so
//! nothing is lost while the log cannot be written; a device has at most two changes in it, that it
//! fell silent and that it returned.
//!
//! Of a device that is heard of for the first time it does not know the state: it asks for that
//! after a while, in which the device may say itself what state it is in.

use std::collections::{HashMap, VecDeque};

use entity::{device_metrics, device_state_history as states};
use uuid::Uuid;

use crate::event::{Event, Instant, NewEvent, Position, Provenance, own_id};
use crate::kinds::{Draft, Kind, Refusal};
use crate::store::Stated;
use crate::timers::Timers;

/// A report this much older than its recording is history, not a sign of life.
const LIVE_MS: i64 = 10 * 60 * 1_000;
/// Intervals of a device that may pass in silence.
const INTERVALS_MAX: i64 = 3;
/// A clock that goes back by more than this has been set.
const CLOCK_SET_MS: i64 = 1_000;

/// How long a device that is new has to say itself what state it is in.
const OWN_WORD_MS: i64 = 5_000;

/// What is known of the state of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It was heard of for the first time, since this instant; its state is yet to be read.
    New(Instant),
    /// None was ever reported.
    Never,
    Offline,
    /// Somebody works on it: neither its silence nor its return says anything.
    Maintenance,
    /// Any other.
    Other,
}

impl State {
    fn of(word: Option<&str>) -> Self {
        match word {
            None => Self::Never,
            Some("OFFLINE") => Self::Offline,
            Some("MAINTENANCE") => Self::Maintenance,
            Some(_) => Self::Other,
        }
    }

    /// Whether its silence is waited for.
    const fn is_timed(self) -> bool {
        !matches!(self, Self::Offline | Self::Maintenance)
    }
}

#[derive(Clone, Debug)]
struct Watched {
    device_id: String,
    /// The last sign of life: where it is recorded, when it happened, and when it was heard.
    position: Position,
    occurred_at: Instant,
    heard_at: Instant,
    due_at: Instant,
    provenance: Provenance,
    state: State,
    /// When the state that it is in began.
    state_at: Instant,
    /// Changes of it that are not recorded yet.
    unrecorded: u32,
}

/// What is known of a device when the watch over it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) heard_at: Instant,
    pub(super) state: Option<&'a str>,
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
    due: Timers<i64>,
    /// Devices that are new, with when they were heard of first.
    new: VecDeque<(Instant, i64)>,
    unrecorded: VecDeque<Change>,
    clock_at: Instant,
}

impl Watch {
    /// Nobody is watched yet; a device is silent after this time at least.
    pub(super) fn new(silence_ms: i64) -> Self {
        Self {
            silence_ms,
            devices: HashMap::new(),
            due: Timers::default(),
            new: VecDeque::new(),
            unrecorded: VecDeque::new(),
            clock_at: Instant::OLDEST,
        }
    }

    /// Begins with a device that was alive when it was last heard of: it has its whole time from now.
    pub(super) fn remember(&mut self, event: &Event, known: Known<'_>, now: Instant) {
        self.follow_clock(now);
        let Some(key) = key_of(event).filter(|_| is_live(event, event.recorded_at)) else {
            return;
        };
        let mut watched = self.watched(event, now);
        watched.heard_at = known.heard_at.min(now);
        watched.state = State::of(known.state);
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
        let Some(key) = key_of(event).filter(|_| is_live(event, heard)) else {
            return;
        };
        let mut watched = self.watched(event, heard);
        let mut state = State::Never;
        if let Some(before) = self.devices.get(&key) {
            state = before.state;
            watched.state_at = before.state_at;
            watched.unrecorded = before.unrecorded;
        }
        match state {
            State::Never => {
                watched.state = State::New(watched.occurred_at.min(heard));
                self.new.push_back((heard, key));
            }
            State::Offline => self.come_back(key, &mut watched),
            State::New(_) | State::Maintenance | State::Other => watched.state = state,
        }
        self.put(key, watched);
    }

    /// A device that was OFFLINE is heard of again: since its last sign of life, unless that is
    /// older than its silence.
    fn come_back(&mut self, key: i64, watched: &mut Watched) {
        let back_at = if watched.occurred_at > watched.state_at {
            watched.occurred_at.min(watched.heard_at)
        } else {
            watched.heard_at
        };
        watched.state = State::Other;
        watched.state_at = back_at;
        self.change(key, watched, ("ONLINE", back_at), "heard of again");
    }

    /// The devices that are new and had their time to say what state they are in.
    pub(super) fn new_ones(&self, now: Instant, max: usize) -> Vec<i64> {
        let first = self.new.iter().take(max);
        let due = first.take_while(|(heard_at, _)| heard_at.plus_ms(OWN_WORD_MS) <= now);
        due.map(|(_, key)| *key).collect()
    }

    /// Takes the newest states that were reported of the devices that have waited longest to be
    /// known. One of which none was is ONLINE since it was heard of.
    pub(super) fn know(&mut self, count: usize, reported: &HashMap<i64, Stated>) {
        let known: Vec<(Instant, i64)> = self.new.drain(..count.min(self.new.len())).collect();
        for (_, key) in known {
            let Some(mut watched) = self.devices.get(&key).cloned() else {
                continue;
            };
            let State::New(since) = watched.state else {
                continue;
            };
            if let Some(stated) = reported.get(&key) {
                watched.state = State::of(Some(&stated.state));
                watched.state_at = stated.place.occurred_at;
                if watched.state == State::Offline && stated.place.position < watched.position {
                    self.come_back(key, &mut watched);
                }
            } else {
                watched.state = State::Other;
                watched.state_at = since;
                self.change(key, &mut watched, ("ONLINE", since), "first heard of");
            }
            self.put(key, watched);
        }
    }

    fn watched(&self, event: &Event, heard: Instant) -> Watched {
        let cell = |column: device_metrics::Column| event.fact.cell(column);
        let interval = cell(device_metrics::Column::CollectionIntervalSeconds).int();
        let own_ms = interval.unwrap_or(0).saturating_mul(INTERVALS_MAX * 1_000);
        let id = cell(device_metrics::Column::DeviceKey).text();
        Watched {
            device_id: id.unwrap_or_default().to_owned(),
            position: event.position,
            occurred_at: event.fact.occurred_at,
            heard_at: heard,
            due_at: heard.plus_ms(own_ms.max(self.silence_ms)),
            provenance: event.fact.provenance,
            state: State::Other,
            state_at: Instant::OLDEST,
            unrecorded: 0,
        }
    }

    fn put(&mut self, key: i64, watched: Watched) {
        let (due_at, is_timed) = (watched.due_at, watched.state.is_timed());
        self.devices.insert(key, watched);
        if is_timed {
            self.due.set(key, due_at);
        } else {
            self.due.clear(&key);
        }
    }

    /// A state that somebody else has reported, or the echo of one of ours.
    fn take_state(&mut self, event: &Event) {
        let key = event.fact.cell(states::Column::DeviceKey).int();
        let Some((key, watched)) = key.and_then(|key| Some((key, self.devices.get_mut(&key)?)))
        else {
            return;
        };
        // of one that is new, the newest is yet to be read
        if matches!(watched.state, State::New(_)) || event.fact.occurred_at < watched.state_at {
            return;
        }
        let before = watched.state;
        watched.state_at = event.fact.occurred_at;
        watched.state = State::of(event.fact.cell(states::Column::NewState).text());
        if before == State::Maintenance {
            // it has its whole time from when it is given back
            let whole = watched.due_at.0.saturating_sub(watched.heard_at.0);
            let given_back = Instant(watched.state_at.0.saturating_add(whole));
            watched.due_at = watched.due_at.max(given_back);
        }
        if watched.state.is_timed() {
            self.due.set(key, watched.due_at);
        } else {
            self.due.clear(&key);
        }
    }

    /// Finds the devices whose time has passed. One with changes that are not recorded yet has to
    /// wait: they come first. So has one whose state is not known yet.
    pub(super) fn look(&mut self, now: Instant) {
        self.follow_clock(now);
        for (due_at, key) in self.due.due(now) {
            let Some(mut watched) = self.devices.get(&key).cloned() else {
                continue;
            };
            if watched.unrecorded > 0 || matches!(watched.state, State::New(_)) {
                continue;
            }
            let seconds = (due_at.0 - watched.heard_at.0) / 1_000_000;
            let reason = format!("not heard of for {seconds} s");
            watched.state = State::Offline;
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
        for (heard_at, _) in &mut self.new {
            *heard_at = (*heard_at).min(now);
        }
        self.due.set_back(back);
        for watched in self.devices.values_mut() {
            watched.due_at.0 -= back;
            watched.heard_at = watched.heard_at.min(now);
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

fn key_of(event: &Event) -> Option<i64> {
    event.fact.cell(device_metrics::Column::DeviceKey).int()
}

/// Whether a report was a sign of life when it was heard, and not history.
fn is_live(event: &Event, heard: Instant) -> bool {
    event.fact.occurred_at >= heard.plus_ms(-LIVE_MS)
}

/// Namespace of the ids of these changes: two nodes that see the same silence record it once, and
/// so does one that tries again.
const CHANGES: Uuid = Uuid::from_u128(0x7b1d_35a2_90f4_4c86_b6a4_1ad0_59e3_5f13);

fn change(of: &Watched, (state, at): (&str, Instant), reason: &str) -> Result<NewEvent, Refusal> {
    let id = of.device_id.as_str();
    let event_id = own_id(&CHANGES, format!("{id}/{state}/{}", at.0).as_bytes());
    Draft::new(Kind::DeviceStateChange, at, of.provenance)
        .event_id(event_id)
        .set(states::Column::DeviceKey, id)
        .set(states::Column::NewState, state)
        .set(states::Column::ChangedBy, "health-check")
        .set(states::Column::Reason, reason)
        .finish()
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
