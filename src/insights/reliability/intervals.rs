//! The time of one device by its state: up, in error, offline, in maintenance, and not observed.
//!
//! Silence while a device is thought to be up is not observed and never counted as up. Failures are
//! kept by the watched time at which they came, so that what follows sees one clock without holes.

use crate::event::Instant;
use crate::insights::input::State as DeviceState;
use crate::insights::input::{DAY, HOUR, MINUTE, SECOND};
use crate::insights::number::{float, whole};
use serde::{Deserialize, Serialize};

use crate::insights::reliability::cadence::{Cadence, GAP_FLOOR};

/// So many failures are kept; of an older one only that it is past.
pub const KEPT: usize = 256;
/// For so long after a sign of life the recorded state is vouched for: a change would be recorded.
pub const VOUCHED: i64 = DAY;

/// Which changes count as a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failures {
    /// Changes to ERROR.
    Error,
    /// Changes to OFFLINE.
    Offline,
    /// Changes from a state that is neither to one that is either: an outage.
    #[default]
    Any,
}

/// A failure: the watched minute, and of which kind it is, in 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark(u32);

impl Mark {
    const OPENS: u32 = 1;
    const OFFLINE: u32 = 2;

    fn new(watched: i64, is_offline: bool, opens: bool) -> Self {
        let minute = u32::try_from(watched / MINUTE)
            .unwrap_or(u32::MAX)
            .min(u32::MAX >> 2);
        let kind = if is_offline { Self::OFFLINE } else { 0 };
        Self((minute << 2) | kind | if opens { Self::OPENS } else { 0 })
    }

    fn hours(self) -> f64 {
        f64::from(self.0 >> 2) / 60.0
    }

    fn is(self, failures: Failures) -> bool {
        match failures {
            Failures::Error => self.0 & Self::OFFLINE == 0,
            Failures::Offline => self.0 & Self::OFFLINE != 0,
            Failures::Any => self.0 & Self::OPENS != 0,
        }
    }
}

/// Times to repair, as sums of the logarithms of hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Repairs {
    /// How many.
    pub count: f64,
    /// The sum of the logarithms.
    pub sum: f64,
    /// The sum of their squares.
    pub squares: f64,
}

impl Repairs {
    /// One more repair; less than a second counts as a second.
    pub fn add(&mut self, microseconds: i64) {
        let log = (float(microseconds.max(SECOND)) / float(HOUR)).ln();
        self.count += 1.0;
        self.sum += log;
        self.squares += log * log;
    }

    /// The sum of squares about the mean.
    #[must_use]
    pub fn deviations(&self) -> f64 {
        if self.count < 1.0 {
            return 0.0;
        }
        (self.squares - self.sum * self.sum / self.count).max(0.0)
    }
}

/// How much time was spent in what, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// Seen to be up.
    pub up: i64,
    /// In ERROR.
    pub error: i64,
    /// OFFLINE.
    pub offline: i64,
    /// In MAINTENANCE: planned, neither up nor down.
    pub maintenance: i64,
    /// Silent, or in state UNKNOWN: neither up nor down.
    pub unobserved: i64,
    /// In which a failure would have been recorded.
    pub watched: i64,
}

impl Times {
    /// All but the watched time, which overlaps the others.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.up + self.error + self.offline + self.maintenance + self.unobserved
    }

    /// In which its state was seen: up, down or in maintenance.
    #[must_use]
    pub fn seen(&self) -> i64 {
        self.total() - self.unobserved
    }

    /// Of the time not observed, that so soon after a sign of life that a failure would have been recorded.
    #[must_use]
    pub fn vouched(&self) -> i64 {
        (self.watched - self.seen()).max(0)
    }

    /// These and those of another device.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        Self {
            up: self.up + other.up,
            error: self.error + other.error,
            offline: self.offline + other.offline,
            maintenance: self.maintenance + other.maintenance,
            unobserved: self.unobserved + other.unobserved,
            watched: self.watched + other.watched,
        }
    }

    /// Of the time in which the device should have been up, the part that was observed.
    #[must_use]
    pub fn coverage(&self) -> f64 {
        let due = self.total() - self.maintenance;
        if due == 0 {
            0.0
        } else {
            1.0 - float(self.unobserved) / float(due)
        }
    }
}

/// What is kept of one device. A function of its reports and state changes in order of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The device's own interval.
    pub cadence: Cadence,
    /// The first sign of life.
    pub since: Option<Instant>,
    /// The last sign of life.
    pub last: Option<Instant>,
    current: Current,
    /// When the present outage began, and the present spell of ERROR or OFFLINE.
    down_since: Option<Instant>,
    spell_since: Option<Instant>,
    /// Time by state.
    pub times: Times,
    marks: Vec<Mark>,
    /// The watched hours at the last mark that was dropped.
    dropped: f64,
    /// Of outages, of spells in ERROR, of spells OFFLINE.
    outages: Repairs,
    errors: Repairs,
    offlines: Repairs,
}

/// The present state; up until it is told otherwise, for a device that reports works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Current {
    #[default]
    Up,
    Error,
    Offline,
    Maintenance,
    Unknown,
}

impl Current {
    fn is_down(self) -> bool {
        matches!(self, Self::Error | Self::Offline)
    }
}

impl From<DeviceState> for Current {
    fn from(state: DeviceState) -> Self {
        match state {
            DeviceState::Online => Self::Up,
            DeviceState::Offline => Self::Offline,
            DeviceState::Error => Self::Error,
            DeviceState::Maintenance => Self::Maintenance,
            DeviceState::Unknown => Self::Unknown,
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            cadence: Cadence::default(),
            since: None,
            last: None,
            current: Current::Up,
            down_since: None,
            spell_since: None,
            times: Times::default(),
            marks: Vec::new(),
            dropped: 0.0,
            outages: Repairs::default(),
            errors: Repairs::default(),
            offlines: Repairs::default(),
        }
    }
}

impl State {
    /// Metrics came: a sign of life, which also teaches the device's interval.
    pub fn report(&mut self, at: Instant) {
        self.sign(at);
        self.cadence.report(at);
    }

    /// Anything else came of the device. What is older than the last sign changes nothing.
    pub fn sign(&mut self, at: Instant) {
        if let Some(last) = self.last {
            self.times = self.times_until(at);
            self.last = Some(last.max(at));
        } else {
            self.since = Some(at);
            self.last = Some(at);
        }
    }

    /// The device is in another state, or the same again, from `at` on.
    pub fn change(&mut self, at: Instant, to: DeviceState) {
        self.sign(at);
        let (from, to) = (self.current, Current::from(to));
        if from == to {
            return;
        }
        self.current = to;
        self.end_spell(at, from, to);
        if to.is_down() {
            self.spell_since = Some(at);
            self.mark(to == Current::Offline, self.down_since.is_none());
            self.down_since.get_or_insert(at);
        }
    }

    /// A spell ends with any change, an outage when the device is up again. One that ends in
    /// maintenance or in a state that is not known teaches nothing of repair times.
    fn end_spell(&mut self, at: Instant, from: Current, to: Current) {
        let is_repaired = to == Current::Up;
        if let Some(since) = self.spell_since.take()
            && (is_repaired || to.is_down())
        {
            let spells = if from == Current::Error {
                &mut self.errors
            } else {
                &mut self.offlines
            };
            spells.add(at.0 - since.0);
        }
        if to.is_down() {
            return;
        }
        if let Some(since) = self.down_since.take()
            && is_repaired
        {
            self.outages.add(at.0 - since.0);
        }
    }

    fn mark(&mut self, is_offline: bool, opens: bool) {
        if self.marks.len() == KEPT {
            self.dropped = self.marks.remove(0).hours();
        }
        self.marks
            .push(Mark::new(self.times.watched, is_offline, opens));
    }

    /// The times until `at`, the silence since the last sign included.
    #[must_use]
    pub fn times_until(&self, at: Instant) -> Times {
        let mut times = self.times;
        let span = self.last.map_or(0, |last| (at.0 - last.0).max(0));
        let is_silent = span > self.cadence.limit().unwrap_or(VOUCHED.max(GAP_FLOOR));
        let (watched, part) = match self.current {
            Current::Error => (span, &mut times.error),
            Current::Offline => (span, &mut times.offline),
            Current::Maintenance => (span, &mut times.maintenance),
            Current::Unknown => (span.min(VOUCHED), &mut times.unobserved),
            Current::Up if is_silent => (span.min(self.vouched()), &mut times.unobserved),
            Current::Up => (span, &mut times.up),
        };
        *part += span;
        times.watched += watched;
        times
    }

    /// For how long after a sign of life a failure would still be recorded.
    #[must_use]
    pub fn vouched(&self) -> i64 {
        self.cadence.limit().unwrap_or(0).max(VOUCHED)
    }

    /// Since when the device is down, if it is.
    #[must_use]
    pub fn down_since(&self) -> Option<Instant> {
        self.down_since
    }

    /// The repair times of outages, or of spells in ERROR or OFFLINE.
    #[must_use]
    pub fn repairs(&self, failures: Failures) -> &Repairs {
        match failures {
            Failures::Any => &self.outages,
            Failures::Error => &self.errors,
            Failures::Offline => &self.offlines,
        }
    }

    /// The failures that are kept, as a process on the clock of watched hours.
    #[must_use]
    pub fn process(&self, failures: Failures, as_of: Instant) -> Process {
        let hours = float(self.times_until(as_of).watched) / float(HOUR);
        let at = self.marks.iter().filter(|mark| mark.is(failures));
        Process {
            hours: (hours - self.dropped).max(0.0),
            at: at
                .map(|mark| (mark.hours() - self.dropped).max(0.0))
                .collect(),
        }
    }

    /// How many failures came in the last `hours` of watched time.
    #[must_use]
    pub fn recent(&self, failures: Failures, as_of: Instant, hours: f64) -> u32 {
        let now = float(self.times_until(as_of).watched) / float(HOUR);
        let recent = self
            .marks
            .iter()
            .rev()
            .take_while(|mark| mark.hours() >= now - hours);
        u32::try_from(recent.filter(|mark| mark.is(failures)).count()).unwrap_or(u32::MAX)
    }
}

/// Failures of one device on its clock of watched hours, from 0 on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    /// For how long it was watched.
    pub hours: f64,
    /// When it failed, in order.
    pub at: Vec<f64>,
}

impl Process {
    /// How many failures.
    #[must_use]
    pub fn count(&self) -> f64 {
        float(self.at.len())
    }

    /// How many failures in each of the last `windows` windows of `width` hours.
    #[must_use]
    pub fn windows(&self, width: f64, windows: usize) -> Vec<f64> {
        let mut counts = vec![0.0; windows];
        for at in &self.at {
            let back = whole(((self.hours - at) / width).max(0.0));
            if let Some(count) = usize::try_from(back)
                .ok()
                .and_then(|back| counts.get_mut(back))
            {
                *count += 1.0;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_000 * DAY;

    fn at(hours: i64) -> Instant {
        Instant(START + hours * HOUR)
    }

    /// Reports every hour from `from` to `to`.
    fn hourly(state: &mut State, from: i64, to: i64) {
        for hour in from..=to {
            state.report(at(hour));
        }
    }

    fn told() -> State {
        let mut state = State::default();
        state.cadence.tell(3_600.0);
        state
    }

    #[test]
    fn silence_is_not_observed_and_never_up() {
        let mut state = told();
        hourly(&mut state, 0, 10);
        hourly(&mut state, 100, 110);
        let times = state.times_until(at(110));
        assert_eq!((times.up, times.unobserved), (20 * HOUR, 90 * HOUR));
        assert_eq!(times.watched, 20 * HOUR + VOUCHED);
        assert_eq!(times.total(), 110 * HOUR);
    }

    #[test]
    fn what_is_offline_and_silent_is_down_and_not_unobserved() {
        let mut state = told();
        hourly(&mut state, 0, 10);
        state.change(at(11), DeviceState::Offline);
        state.change(at(61), DeviceState::Online);
        let times = state.times_until(at(61));
        assert_eq!(
            (times.up, times.offline, times.unobserved),
            (11 * HOUR, 50 * HOUR, 0)
        );
        let repairs = state.repairs(Failures::Any);
        assert!((repairs.sum.exp() - 50.0).abs() < 1e-9);
    }

    #[test]
    fn error_and_offline_are_told_apart_and_one_outage_together() {
        let mut state = told();
        hourly(&mut state, 0, 2);
        state.change(at(3), DeviceState::Error);
        state.change(at(4), DeviceState::Error);
        state.change(at(5), DeviceState::Offline);
        state.change(at(9), DeviceState::Online);
        state.change(at(20), DeviceState::Offline);
        state.change(at(21), DeviceState::Maintenance);
        let count = |failures| state.process(failures, at(30)).count();
        assert!((count(Failures::Any) - 2.0).abs() < f64::EPSILON);
        assert!((count(Failures::Error) - 1.0).abs() < f64::EPSILON);
        assert!((count(Failures::Offline) - 2.0).abs() < f64::EPSILON);
        // What ends in maintenance teaches nothing of repair times.
        assert!((state.repairs(Failures::Any).count - 1.0).abs() < f64::EPSILON);
        assert!((state.repairs(Failures::Any).sum.exp() - 6.0).abs() < 1e-9);
        assert!((state.repairs(Failures::Error).sum.exp() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn the_state_stays_small_and_keeps_the_newest() {
        let mut state = State::default();
        for index in 0..5_000 {
            state.change(at(20 * index), DeviceState::Error);
            state.change(at(20 * index + 4), DeviceState::Online);
        }
        let process = state.process(Failures::Any, at(100_000));
        assert_eq!(process.at.len(), KEPT);
        assert!((process.hours / process.count() - 20.0).abs() < 0.1);
        assert!(serde_json::to_string(&state).is_ok_and(|text| text.len() < 4_000));
    }

    #[test]
    fn reading_in_between_changes_nothing_and_state_survives_storage() {
        let mut state = told();
        hourly(&mut state, 0, 5);
        state.change(at(6), DeviceState::Error);
        let text = serde_json::to_string(&state).unwrap();
        let mut stored: State = serde_json::from_str(&text).unwrap();
        let _ = state.process(Failures::Any, at(500));
        for state in [&mut state, &mut stored] {
            state.change(at(8), DeviceState::Online);
        }
        assert_eq!(state, stored);
    }

    #[test]
    fn nothing_and_one_event_give_no_time() {
        assert_eq!(State::default().times_until(at(5)), Times::default());
        let mut state = State::default();
        state.change(at(5), DeviceState::Online);
        assert_eq!(state.times_until(at(5)).total(), 0);
        assert_eq!(state.times_until(at(3)).total(), 0);
    }
}
