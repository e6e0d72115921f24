//! The demand of a till, learned from closed hours in order of time.
//!
//! An hour of the site's week has the transactions counted in it and the hours it was seen, both halved every
//! `HALF_LIFE_WEEKS`. Days that are exceptions teach nothing. Each week the rates are frozen, so that the week
//! is compared with what was known before it: that gives the recent level and the noise beyond chance.

use crate::event::Instant;
use crate::insights::input::HOUR;
use crate::insights::input::Hour;
use crate::insights::number::{Short, float, whole};

use crate::insights::jobs::rates::{CELL_STRENGTH, CELLS, Gamma, rates};
use crate::insights::jobs::schedule::{DAY_MINUTES, Local, Opening, Schedule};

/// A week weighs half after so many weeks.
const HALF_LIFE_WEEKS: f64 = 8.0;
/// The recent level follows faster.
const LEVEL_HALF_LIFE_WEEKS: f64 = 2.0;
/// And is drawn to 1 by so many transactions.
const LEVEL_STRENGTH: f64 = 50.0;
/// Relative variance of an hour beyond chance, before it is measured, and how many hours it counts for.
const NOISE_PRIOR: f64 = 0.1;
const NOISE_STRENGTH: f64 = 50.0;
/// A residual counts up to so many standard deviations.
const RESIDUAL_MAX: f64 = 4.0;
/// Over a longer silence, closed hours are not taken as seen without a transaction.
const SILENCE_HOURS_MAX: i64 = 48;
/// Silent hours that are looked at one by one.
const WALK_HOURS_MAX: i64 = 14 * 24;

/// What is known of the demand of a till.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct State {
    week: i64,
    /// By hour of week.
    sales: Vec<Short>,
    hours: Vec<Short>,
    /// The rates as the week began; empty until a week has been seen.
    frozen: Vec<Short>,
    frozen_level: f64,
    level_sales: f64,
    level_expected: f64,
    noise_excess: f64,
    noise_square: f64,
    noise_hours: f64,
    seen: f64,
    missed: f64,
    folded: i64,
    first: Option<Instant>,
    last: Option<Instant>,
}

/// The demand as it can be expected at one time.
#[derive(Clone, Debug)]
pub struct Demand {
    /// As [`rates`] orders them, at the recent level.
    pub rates: Vec<Gamma>,
    /// Relative variance of an hour beyond chance and beyond what is not known of its rate.
    pub noise: f64,
}

impl State {
    /// Hours that were folded.
    #[must_use]
    pub fn folded(&self) -> i64 {
        self.folded
    }

    /// When the first hour began that was folded.
    #[must_use]
    pub fn first(&self) -> Option<Instant> {
        self.first
    }

    /// When the last hour ends that was folded.
    #[must_use]
    pub fn last(&self) -> Option<Instant> {
        self.last
    }

    /// Of the hours that the site was open, the part that was seen.
    #[must_use]
    pub fn coverage(&self) -> Option<f64> {
        let all = self.seen + self.missed;
        (all > 0.0).then(|| self.seen / all)
    }

    /// How many hours an hour of the week was seen, older ones weighing less.
    #[must_use]
    pub fn seen(&self, hour_of_week: usize) -> f64 {
        self.hours.get(hour_of_week).copied().map_or(0.0, f64::from)
    }

    /// The demand that can be expected in the week of `at`.
    #[must_use]
    pub fn demand(&self, schedule: &Schedule, at: Instant) -> Demand {
        let mut state = self.clone();
        state.reach(schedule.local(at).week());
        state.now(schedule)
    }

    fn now(&self, schedule: &Schedule) -> Demand {
        let level = self.level();
        let mut rates = rates(
            &schedule.week(),
            &self.sales,
            &self.hours,
            schedule.hourly(),
        );
        for rate in rates.iter_mut().filter(|rate| rate.is_open) {
            rate.rate /= level;
        }
        Demand {
            rates,
            noise: self.noise(),
        }
    }

    fn level(&self) -> f64 {
        (LEVEL_STRENGTH + self.level_sales) / (LEVEL_STRENGTH + self.level_expected)
    }

    fn noise(&self) -> f64 {
        let measured = if self.noise_square > 0.0 {
            self.noise_excess / self.noise_square
        } else {
            0.0
        };
        let noise = (self.noise_hours * measured + NOISE_STRENGTH * NOISE_PRIOR)
            / (self.noise_hours + NOISE_STRENGTH);
        noise.clamp(0.0, 2.0)
    }

    /// Lets the past weigh less when a week has begun.
    fn reach(&mut self, week: i64) {
        self.sales.resize(CELLS, Short::default());
        self.hours.resize(CELLS, Short::default());
        if self.week == week {
            return;
        }
        let weeks: f64 = if self.folded == 0 {
            0.0
        } else {
            float((week - self.week).max(0))
        };
        self.week = week;
        let decay = 0.5_f64.powf(weeks / HALF_LIFE_WEEKS);
        for kept in self.sales.iter_mut().chain(&mut self.hours) {
            *kept = Short::of(f64::from(*kept) * decay);
        }
        for kept in [
            &mut self.noise_excess,
            &mut self.noise_square,
            &mut self.noise_hours,
        ] {
            *kept *= decay;
        }
        let decay = 0.5_f64.powf(weeks / LEVEL_HALF_LIFE_WEEKS);
        self.level_sales *= decay;
        self.level_expected *= decay;
    }

    /// Freezes the rates of the week that begins.
    fn freeze(&mut self, schedule: &Schedule) {
        let level = self.level();
        let now = self.now(schedule);
        self.frozen_level = level;
        self.frozen = now
            .rates
            .iter()
            .take(CELLS)
            .map(|rate| {
                if rate.is_open {
                    Short::of(rate.mean() / level)
                } else {
                    Short::default()
                }
            })
            .collect();
    }

    fn add(&mut self, part: Part, sales: f64, hours: f64) {
        if let Some(kept) = self.sales.get_mut(part.cell) {
            *kept = Short::of(f64::from(*kept) + sales * part.share);
        }
        if let Some(kept) = self.hours.get_mut(part.cell) {
            *kept = Short::of(f64::from(*kept) + hours * part.share);
        }
    }

    /// Compares an open hour with what was expected of it as its week began.
    fn compare(&mut self, parts: [Part; 2], sales: f64) {
        let rate =
            |part: Part| self.frozen.get(part.cell).copied().map_or(0.0, f64::from) * part.share;
        let expected: f64 = parts.into_iter().map(rate).sum();
        if expected <= 0.0 {
            return;
        }
        self.level_sales += sales;
        self.level_expected += expected;
        let mean = expected * self.frozen_level;
        let hours = CELL_STRENGTH + parts.first().map_or(0.0, |part| self.seen(part.cell));
        let chance = mean + mean * self.frozen_level / hours;
        let usual = chance + self.noise() * mean * mean;
        let residual = (sales - mean).powi(2).min(RESIDUAL_MAX.powi(2) * usual);
        self.noise_excess += residual - chance;
        self.noise_square += mean * mean;
        self.noise_hours += 1.0;
    }
}

/// The part of an hour (UTC) that lies in an hour of the site's week.
#[derive(Clone, Copy, Debug)]
struct Part {
    cell: usize,
    share: f64,
}

/// Where zones differ by part of an hour, an hour lies in two of the site's.
fn parts(local: Local) -> [Part; 2] {
    let cell = local.hour_of_week();
    let later = f64::from(local.minute % 60) / 60.0;
    [
        Part {
            cell,
            share: 1.0 - later,
        },
        Part {
            cell: (cell + 1) % CELLS,
            share: later,
        },
    ]
}

/// Whether the site is open in an hour, or in a part of it.
fn opening(schedule: &Schedule, from: Local) -> Opening {
    let to = Local {
        minute: (from.minute + 45).min(DAY_MINUTES - 1),
        ..from
    };
    match schedule.opening(from) {
        Opening::Closed => schedule.opening(to),
        opening @ (Opening::Open | Opening::Unknown) => opening,
    }
}

/// Takes the next closed hour of `transactionCount`. `interval_seconds` is how often the till reports.
/// Hours that are not after the last one, or are not numbers, are left out.
pub fn fold(state: &mut State, hour: &Hour, schedule: &Schedule, interval_seconds: f64) {
    let end = Instant(hour.start.0 + HOUR);
    if state.last.is_some_and(|last| hour.start < last)
        || !hour.increase.is_finite()
        || hour.increase < 0.0
    {
        return;
    }
    let local = schedule.local(hour.start);
    if state.folded == 0 || local.week() != state.week {
        state.reach(local.week());
        if state.folded > 0 {
            state.freeze(schedule);
        }
    }
    let silent = walk(state, hour.start, local, schedule, interval_seconds);
    state.first.get_or_insert(hour.start);
    state.last = Some(end);
    state.folded += 1;
    if schedule.is_exception(local.date) {
        return;
    }
    let opening = opening(schedule, local);
    if opening == Opening::Open {
        state.seen += 1.0;
    }
    spread(state, local, &silent, hour.increase);
    if silent.is_empty() && opening != Opening::Closed {
        state.compare(parts(local), hour.increase);
    }
}

/// Goes through the silent hours before an hour. Answers those whose transactions its increase holds as well:
/// hours of the same day in which the site was open, or that one report covers.
fn walk(
    state: &mut State,
    start: Instant,
    local: Local,
    schedule: &Schedule,
    interval_seconds: f64,
) -> Vec<Local> {
    let mut silent = Vec::new();
    let covered = if interval_seconds.is_finite() {
        interval_seconds.clamp(0.0, 86_400.0)
    } else {
        0.0
    };
    let covered = whole((covered / 3600.0).ceil()) - 1;
    let since = state
        .last
        .unwrap_or(Instant(start.0 - covered.max(0) * HOUR));
    let hours = (start.0 - since.0) / HOUR;
    let mut missed = 0.0;
    for back in 1..=hours.min(WALK_HOURS_MAX) {
        let at = schedule.local(Instant(start.0 - back * HOUR));
        if schedule.is_exception(at.date) {
            continue;
        }
        let opening = opening(schedule, at);
        let is_covered = back <= covered;
        missed += f64::from(u8::from(opening == Opening::Open && !is_covered));
        if at.date == local.date
            && opening != Opening::Closed
            && (is_covered || opening == Opening::Open)
        {
            silent.push(at);
        } else if opening == Opening::Closed && hours <= SILENCE_HOURS_MAX {
            for part in parts(at) {
                state.add(part, 0.0, 1.0);
            }
        }
    }
    let walked: f64 = float(hours.clamp(1, WALK_HOURS_MAX));
    state.missed += missed * (float(hours.max(1)) / walked).max(1.0);
    silent
}

/// Adds the increase of an hour. What holds several hours is shared out as they are expected, and says as much
/// as one hour.
fn spread(state: &mut State, local: Local, silent: &[Local], increase: f64) {
    if silent.is_empty() {
        for part in parts(local) {
            state.add(part, increase, 1.0);
        }
        return;
    }
    let held = || silent.iter().copied().chain([local]);
    let expected = |at: Local| {
        state
            .frozen
            .get(at.hour_of_week())
            .copied()
            .map_or(1.0, f64::from)
            + 1e-3
    };
    let hours = float(silent.len() + 1);
    let all: f64 = held().map(expected).sum();
    let shares: Vec<(Local, f64)> = held().map(|at| (at, expected(at) / all)).collect();
    for (at, share) in shares {
        for part in parts(at) {
            state.add(part, increase * share / hours, 1.0 / hours);
        }
    }
}

#[cfg(test)]
#[path = "demand_tests.rs"]
mod tests;
