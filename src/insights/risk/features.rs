//! The state of a device that failure risk and health read, folded from closed hours in order of time.
//!
//! It is bounded: rings of three-hour means for two days, 64 entries of errors, 24 state changes, 12 parameters.

use crate::event::Instant;
use crate::insights::input::{ConfigSeen, ErrorSeen, Hour, Measure, State as Reported, StateSeen};
use crate::insights::input::{DAY, HOUR};
use crate::insights::jobs::schedule::Schedule;
use crate::insights::number::{float, whole};
use serde::{Deserialize, Serialize};

use crate::insights::risk::entries::{self, OTHERS, Seen, weighted};
use crate::insights::risk::fleet::Fleet;
use crate::insights::risk::health::factors;
use crate::insights::risk::track::Track;

/// State changes kept.
const STATES_KEPT: usize = 24;
/// Parameters of which the last change is kept.
const PARAMETERS_KEPT: usize = 12;
/// Names of error groups kept, for sentences.
const NAMES_KEPT: usize = 12;
/// Letters kept of a name.
const NAME_LETTERS: usize = 40;
/// Days of health kept.
const HEALTHS_KEPT: usize = 28;
/// Days until a device has a level of its own.
const DAYS_TO_LEVEL: f64 = 4.0;
/// Half-life of the usual error rate: long enough to hold several errors, short enough to forget a repaired fault.
const RATE_HALF_LIFE_DAYS: f64 = 30.0;

/// What is known of one hour of a device.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// When the hour begins.
    pub start: Instant,
    /// Its rollups.
    pub measures: &'a [(Measure, Hour)],
    /// Errors in order of time.
    pub errors: &'a [ErrorSeen],
    /// State changes in order of time.
    pub states: &'a [StateSeen],
    /// Configuration changes in order of time.
    pub configs: &'a [ConfigSeen],
    /// The hours that its site filed, if any.
    pub schedule: Option<&'a Schedule>,
    /// How often it means to report, in seconds, if it told so.
    pub interval_seconds: Option<f64>,
}

/// The last change of one parameter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// The parameter, by the hash of its name.
    pub parameter: u32,
    /// Whether it names a component that was replaced.
    pub is_component: bool,
    /// When it changed last.
    pub at: Instant,
}

/// A device is in a state from now on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entered {
    /// Since when.
    pub at: Instant,
    /// The state.
    pub to: Reported,
}

/// All that failure risk and health keep of a device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// One track for each measure that the device reports.
    pub tracks: Vec<Track>,
    /// Errors of the last two days.
    pub errors: Vec<Seen>,
    /// Names of error groups by hash, the latest last.
    pub names: Vec<(u32, String)>,
    /// The last changes of state.
    pub states: Vec<Entered>,
    /// The last change of each of the latest parameters.
    pub parameters: Vec<Changed>,
    /// Failures so far.
    pub failures: u32,
    /// Failures by the hour of the day (UTC), for hours with any.
    pub failure_hours: Vec<(u8, u32)>,
    /// When it failed last.
    pub last_failure: Option<Instant>,
    /// When it restarted last, by its uptime.
    pub last_restart: Option<Instant>,
    /// The highest uptime since then, in seconds.
    pub uptime: f64,
    /// Errors that are older than two days, weighted by severity and fading.
    pub error_weight: f64,
    /// The days over which they came, fading alike.
    pub error_days: f64,
    /// To when that sum has been brought.
    pub error_clock: Option<Instant>,
    /// The first hour with measures or a state change.
    pub first: Option<Instant>,
    /// The end of the last hour with measures.
    pub last_measured: Option<Instant>,
    /// The hours with measures among the last 64, as bits, the latest lowest.
    pub hours_seen: u64,
    /// The start of the latest hour in `hours_seen`.
    pub hours_head: Option<Instant>,
    /// How many hours may pass from one with measures to the next, by how often it means to report: 0 and 1 are each.
    pub interval_hours: u8,
    /// Its health at the last midnights (UTC), against itself alone, the latest last: what the forecast draws from.
    pub healths: Vec<u8>,
    /// The day of the last of them.
    pub health_day: Option<i64>,
    /// Events so far.
    pub events: i64,
}

/// The group of an error: its code, or its category where it has none.
#[must_use]
pub fn group(error: &ErrorSeen) -> &str {
    error.code.as_deref().unwrap_or(&error.category)
}

/// A name as 32 bits (FNV-1a by Fowler, Noll and Vo).
#[must_use]
pub fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// The hour of the day (UTC).
#[must_use]
pub fn hour_of_day(at: Instant) -> u8 {
    u8::try_from(at.0.rem_euclid(DAY) / HOUR).unwrap_or(0)
}

/// Days from one instant to a later one.
#[must_use]
pub fn days(from: Instant, to: Instant) -> f64 {
    float(to.0 - from.0) / float(DAY)
}

impl State {
    /// Takes one closed hour. Hours come in order of time; hours without anything may be left out.
    pub fn fold(&mut self, facts: &Facts<'_>) {
        let end = Instant(facts.start.0 + HOUR);
        self.note_healths(facts.schedule, facts.start);
        self.interval_hours = facts
            .interval_seconds
            .map_or(self.interval_hours, hours_between);
        if !facts.measures.is_empty() {
            self.see_hour(facts.start);
            self.first.get_or_insert(facts.start);
            self.last_measured = Some(end);
        }
        // a reading has several measures
        let counts = facts.measures.iter().map(|(_, hour)| hour.count);
        self.events += i64::from(counts.max().unwrap_or_default());
        for (measure, hour) in facts.measures.iter().filter(|(_, hour)| hour.count > 0) {
            if *measure == Measure::UptimeSeconds {
                self.see_uptime(hour);
                continue;
            }
            if self.tracks.iter().all(|track| track.measure != *measure) {
                self.tracks.push(Track::new(*measure));
            }
            let own = self
                .tracks
                .iter_mut()
                .filter(|track| track.measure == *measure);
            own.for_each(|track| track.take(facts.start, hour));
        }
        self.see(facts, end);
        self.forget(end);
    }

    /// Notes its health at each midnight until an instant that is not noted yet, once its level is known. Until then
    /// nothing else has happened than is folded.
    pub fn note_healths(&mut self, schedule: Option<&Schedule>, until: Instant) {
        let Some(first) = self.first else { return };
        let kept = i64::try_from(HEALTHS_KEPT).unwrap_or(i64::MAX);
        let last = until.0.div_euclid(DAY);
        let next = self.health_day.map_or(i64::MIN, |noted| noted + 1);
        for day in next.max(last + 1 - kept)..=last {
            let midnight = Instant(day * DAY);
            if days(first, midnight) < DAYS_TO_LEVEL {
                continue;
            }
            let shut = self.shut(schedule, midnight);
            let health = factors(self, &Fleet::default(), &shut, midnight).health();
            if self.healths.len() >= HEALTHS_KEPT {
                self.healths.remove(0);
            }
            self.healths.push(u8::try_from(whole(health)).unwrap_or(0));
            self.health_day = Some(day);
        }
    }

    /// The same state with what the open hour has brought until `as_of`; measures of the open hour are left out.
    #[must_use]
    pub fn with_open(&self, open: &Facts<'_>, as_of: Instant) -> Self {
        let mut state = self.clone();
        state.see(open, as_of);
        state
    }

    /// The same state of a device of which readings came in each hour since, until the one that begins at an instant;
    /// what was measured in them is not known yet. It is known from another instant on, and no hour is taken that was
    /// over by then.
    #[must_use]
    pub fn heard(&self, until: Instant, known_from: Instant) -> Self {
        let mut state = self.clone();
        let since = state.hours_head.map_or(until.0, |head| head.0 + HOUR);
        let from = since.max(until.0 - DAY).max(known_from.0);
        let mut start = from.div_euclid(HOUR) * HOUR;
        while start < until.0 {
            state.see_hour(Instant(start));
            start += HOUR;
            state.last_measured = Some(Instant(start));
        }
        state
    }

    fn see(&mut self, facts: &Facts<'_>, until: Instant) {
        for error in facts.errors.iter().filter(|error| error.at <= until) {
            self.see_error(error);
        }
        for change in facts.states.iter().filter(|change| change.at <= until) {
            self.see_state(change);
        }
        for change in facts.configs.iter().filter(|change| change.at <= until) {
            self.see_config(change);
        }
    }

    fn see_hour(&mut self, start: Instant) {
        let passed = self
            .hours_head
            .map_or(64, |head| (start.0 - head.0).div_euclid(HOUR));
        let shift = u32::try_from(passed).unwrap_or(64);
        self.hours_seen = self.hours_seen.checked_shl(shift).unwrap_or(0) | 1;
        self.hours_head = Some(start);
    }

    fn see_uptime(&mut self, hour: &Hour) {
        if hour.min < self.uptime {
            self.last_restart = Some(Instant(
                hour.start.0.max(hour.start.0 + HOUR - micros(hour.min)),
            ));
            self.uptime = hour.min;
        }
        self.uptime = self.uptime.max(hour.max);
    }

    fn see_error(&mut self, error: &ErrorSeen) {
        self.events += 1;
        let group = self.name(group(error));
        let new = Seen {
            at: error.at,
            group,
            severity: error.severity,
            count: 1,
        };
        if let Some(gone) = entries::take(&mut self.errors, new) {
            self.error_weight += weighted(&gone);
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        let hash = hash(name);
        let known = self.names.iter().position(|(known, _)| *known == hash);
        let entry = match known {
            Some(place) => self.names.remove(place),
            None => (hash, name.chars().take(NAME_LETTERS).collect()),
        };
        if self.names.len() >= NAMES_KEPT {
            self.names.remove(0);
        }
        self.names.push(entry);
        hash
    }

    fn see_state(&mut self, change: &StateSeen) {
        self.events += 1;
        self.first.get_or_insert(change.at);
        if self.states.last().is_some_and(|last| last.to == change.to) {
            return;
        }
        if change.to == Reported::Error {
            self.failures += 1;
            let hour = hour_of_day(change.at);
            match self
                .failure_hours
                .iter_mut()
                .find(|(known, _)| *known == hour)
            {
                Some((_, count)) => *count += 1,
                None => self.failure_hours.push((hour, 1)),
            }
            self.last_failure = Some(change.at);
        }
        if self.states.len() >= STATES_KEPT {
            self.states.remove(0);
        }
        self.states.push(Entered {
            at: change.at,
            to: change.to,
        });
    }

    fn see_config(&mut self, change: &ConfigSeen) {
        self.events += 1;
        let parameter = hash(&change.parameter);
        self.parameters.retain(|known| known.parameter != parameter);
        if self.parameters.len() >= PARAMETERS_KEPT {
            self.parameters.remove(0);
        }
        let is_component = change.parameter.starts_with("component.");
        self.parameters.push(Changed {
            parameter,
            is_component,
            at: change.at,
        });
    }

    /// Moves errors that are older than two days into the usual rate.
    fn forget(&mut self, now: Instant) {
        let clock = Instant(now.0 - 2 * DAY);
        let from = self.error_clock.or(self.first).unwrap_or(clock);
        if clock > from {
            let passed = days(from, clock);
            let kept = 0.5_f64.powf(passed / RATE_HALF_LIFE_DAYS);
            self.error_weight *= kept;
            self.error_days = self.error_days * kept + passed;
            self.error_clock = Some(clock);
        }
        let old: f64 = self
            .errors
            .iter()
            .filter(|seen| seen.at <= clock)
            .map(weighted)
            .sum();
        self.error_weight += old;
        self.errors.retain(|seen| seen.at > clock);
    }

    /// The days in which a failure of it would have been heard of: until a day after something was measured last.
    #[must_use]
    pub fn watched_days(&self, as_of: Instant) -> f64 {
        let last = self.last_measured;
        let until = last.map_or(as_of, |last| as_of.min(Instant(last.0 + DAY)));
        self.first.map_or(0.0, |first| days(first, until).max(0.0))
    }

    /// Weighted errors until an instant, those of the last two days as well, and the days over which they came.
    #[must_use]
    pub fn all_errors(&self, as_of: Instant) -> (f64, f64) {
        let late = self.errors.iter().filter(|seen| seen.at <= as_of);
        let late: f64 = late.map(weighted).sum();
        let since = self.error_clock.or(self.first);
        let late_days = since.map_or(0.0, |since| days(since, as_of).max(0.0));
        (self.error_weight + late, self.error_days + late_days)
    }

    /// Errors after `from` and until `to`.
    pub fn errors_between(&self, from: Instant, to: Instant) -> impl Iterator<Item = &Seen> {
        self.errors
            .iter()
            .filter(move |seen| seen.at > from && seen.at <= to)
    }

    /// The name of an error group.
    #[must_use]
    pub fn name_of(&self, group: u32) -> Option<&str> {
        if group == OTHERS {
            return Some("others");
        }
        self.names
            .iter()
            .find(|(known, _)| *known == group)
            .map(|(_, name)| name.as_str())
    }
}

fn micros(seconds: f64) -> i64 {
    whole(seconds * 1e6)
}

/// The hours in which a device that means to report so often reports at least once, with one more where that is more
/// than one: reports do not come to the second.
fn hours_between(seconds: f64) -> u8 {
    let hours = (seconds / 3_600.0).ceil();
    if hours <= 1.0 {
        return 1;
    }
    u8::try_from(whole(hours.min(f64::from(u8::MAX - 1)) + 1.0)).unwrap_or(u8::MAX)
}
