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
use crate::insights::risk::shut::Shut;
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
    /// The hours with measures among the last 24 folded, as bits, the latest lowest.
    pub hours_seen: u64,
    /// The start of the latest hour in `hours_seen`.
    pub hours_head: Option<Instant>,
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
        if !facts.measures.is_empty() {
            self.see_hour(facts.start);
            self.first.get_or_insert(facts.start);
            self.last_measured = Some(end);
        }
        for (measure, hour) in facts.measures.iter().filter(|(_, hour)| hour.count > 0) {
            self.events += i64::from(hour.count);
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
        self.note_health(facts);
    }

    /// Once a day, when its level is known.
    fn note_health(&mut self, facts: &Facts<'_>) {
        let start = facts.start;
        let day = start.0.div_euclid(DAY);
        let is_new = self.health_day.is_none_or(|noted| noted < day);
        if !is_new
            || self
                .first
                .is_none_or(|first| days(first, start) < DAYS_TO_LEVEL)
        {
            return;
        }
        self.health_day = Some(day);
        let shut = self.shut(facts.schedule, start);
        let health = factors(self, &Fleet::default(), &shut, start).health();
        if self.healths.len() >= HEALTHS_KEPT {
            self.healths.remove(0);
        }
        self.healths.push(u8::try_from(whole(health)).unwrap_or(0));
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

    /// The state that the device is in, where it told one.
    #[must_use]
    pub fn current(&self) -> Option<Entered> {
        self.states.last().copied()
    }

    /// When its site was closed, as far as that matters: never where the device was always there.
    #[must_use]
    pub fn shut(&self, schedule: Option<&Schedule>, as_of: Instant) -> Shut {
        let week = Instant(as_of.0 - 7 * DAY);
        let was_there = self.coverage(as_of) >= 1.0 && self.down(week, as_of) == (0.0, 0);
        let schedule = schedule.filter(|_| !was_there);
        schedule.map_or_else(Shut::default, |schedule| Shut::until(schedule, as_of))
    }

    /// The part of the time from `from` to `to` that it was in ERROR or OFFLINE, and how often it went there.
    #[must_use]
    pub fn down(&self, from: Instant, to: Instant) -> (f64, u32) {
        self.down_but((from, to), &Shut::default())
    }

    /// The same, but for the time in which it was OFFLINE while its site was closed.
    #[must_use]
    pub fn down_but(&self, (from, to): (Instant, Instant), shut: &Shut) -> (f64, u32) {
        let ends = self.states.iter().skip(1).map(|next| next.at).chain([to]);
        let (mut down, mut off, mut times) = (0.0, 0, 0);
        for (entered, end) in self.states.iter().zip(ends) {
            if !matches!(entered.to, Reported::Error | Reported::Offline) {
                continue;
            }
            let (start, end) = (entered.at.max(from), end.min(to));
            let is_off = entered.to == Reported::Offline;
            let of_it = if is_off { shut.overlap(start, end) } else { 0 };
            down += float((end.0 - start.0).max(0) - of_it);
            off += of_it;
            let is_shut = is_off && shut.since(entered.at).is_some();
            times += u32::from(entered.at > from && entered.at <= to && !is_shut);
        }
        (down / float((to.0 - from.0 - off).max(1)), times)
    }

    /// Of the last 24 hours that are closed at `as_of`, the part with measures; of fewer where it began later.
    #[must_use]
    pub fn coverage(&self, as_of: Instant) -> f64 {
        self.coverage_but(as_of, &Shut::default()).0
    }

    /// The same, but for hours without measures in which its site was closed, and how many these are.
    #[must_use]
    pub fn coverage_but(&self, as_of: Instant, shut: &Shut) -> (f64, u32) {
        let Some(head) = self.hours_head else {
            return (0.0, 0);
        };
        let closed = as_of.0.div_euclid(HOUR) - 1;
        let lag = u32::try_from(closed - head.0.div_euclid(HOUR)).unwrap_or(0);
        let seen = self.hours_seen.checked_shl(lag).unwrap_or(0) & 0x00ff_ffff;
        let known = self
            .first
            .map_or(24.0, |first| float(closed + 1 - first.0.div_euclid(HOUR)));
        let known = known.clamp(1.0, 24.0);
        let is_off = |back: &i64| {
            let start = (closed - back) * HOUR;
            seen >> back & 1 == 0 && shut.holds(Instant(start), Instant(start + HOUR))
        };
        let off = (0..whole(known)).filter(is_off).count();
        let off = u32::try_from(off).unwrap_or(24);
        let expected = known - f64::from(off);
        if expected <= 0.0 {
            return (1.0, off);
        }
        ((float(seen.count_ones()) / expected).min(1.0), off)
    }
}

fn micros(seconds: f64) -> i64 {
    whole(seconds * 1e6)
}
