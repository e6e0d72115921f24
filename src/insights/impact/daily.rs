//! Daily levels of a device's measures, made from closed hourly rollups as they come.
//!
//! A level is the mean of a gauge, or the total of a counter, of one day of the site. Hours that are
//! missing are allowed for by the shape of the device's days (its profile by hour). The shape has a
//! mean of one: it moves no level, so that learning it after a change cannot hide what the change did.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveTime, Timelike};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::event::Instant;
use crate::insights::input::{Hour, Measure};
use crate::insights::number::{Short, float};
use crate::rollups::days::instant_of;

/// Days kept: 28 before a change, its day, 14 after, and the two left out before it.
pub const KEPT_DAYS: usize = 45;
/// The slowest rate at which the shape of a day follows: a month.
const SHAPE_DAYS: f64 = 28.0;
/// As many days of a flat shape are assumed beforehand.
const SHAPE_PRIOR: f64 = 3.0;
/// A counter's shape is used from so many days on.
const COUNTER_SHAPE_DAYS: u16 = 7;
/// A counter whose day was cut before this share of its usual day gives no level.
const LEAST_SHARE: f64 = 0.5;

/// The level of one day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Day {
    /// Days since 1970-01-01 in the site's time.
    pub day: i32,
    /// Mean of a gauge, total of a counter, in the measure's unit.
    pub level: f64,
    /// How many hours of the day were seen.
    pub hours: u8,
}

/// The day that is not over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Open {
    day: i32,
    /// By hour of the day; those not seen are zero.
    values: [Short; 24],
    /// Bit h is set when hour h was seen.
    seen: u32,
}

impl Open {
    fn has(&self, hour: usize) -> bool {
        self.seen >> hour & 1 == 1
    }

    fn by_hour(&self) -> impl Iterator<Item = (usize, f64)> {
        self.values
            .iter()
            .map(|&value| f64::from(value))
            .enumerate()
    }
}

/// The daily levels of one measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Series {
    open: Open,
    /// Value of each hour relative to the day's level.
    shape: [Short; 24],
    days_folded: u16,
    first_day: i32,
    levels: Vec<Short>,
    hours: Vec<u8>,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            open: Open::default(),
            shape: [1.0; 24].map(Short::of),
            days_folded: 0,
            first_day: 0,
            levels: Vec::new(),
            hours: Vec::new(),
        }
    }
}

/// The daily levels of a device and its errors by day.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    measures: BTreeMap<Measure, Series>,
    /// Errors by day, of the days kept.
    errors: BTreeMap<i32, u16>,
}

impl State {
    /// Takes a closed hour of a measure. Hours come in order of time. Uptime says nothing here.
    pub fn fold(&mut self, zone: Tz, measure: Measure, hour: &Hour) {
        if measure == Measure::UptimeSeconds
            || hour.count == 0
            || !hour.sum.is_finite()
            || !hour.increase.is_finite()
        {
            return;
        }
        let (day, of_day) = local(zone, hour.start);
        let value = if measure.is_counter() {
            hour.increase
        } else {
            hour.mean()
        };
        let series = self.measures.entry(measure).or_default();
        if series.open.seen != 0 && series.open.day < day {
            series.close(measure);
        }
        series.open.day = day;
        if let Some(slot) = series.open.values.get_mut(of_day) {
            // In autumn one hour of the day comes twice: a counter adds, a gauge averages.
            *slot = Short::of(
                match (series.open.seen >> of_day & 1, measure.is_counter()) {
                    (0, _) => value,
                    (_, true) => f64::from(*slot) + value,
                    (_, false) => f64::midpoint(f64::from(*slot), value),
                },
            );
        }
        series.open.seen |= 1 << of_day;
    }

    /// Takes an error of the device. Errors come in order of time.
    pub fn fold_error(&mut self, zone: Tz, at: Instant) {
        let (day, _) = local(zone, at);
        let count = self.errors.entry(day).or_default();
        *count = count.saturating_add(1);
        while self.errors.len() > KEPT_DAYS {
            self.errors.pop_first();
        }
    }

    /// The levels of the days of a measure that are over at a time, in order.
    #[must_use]
    pub fn days(&self, zone: Tz, measure: Measure, as_of: Instant) -> Vec<Day> {
        let Some(series) = self.measures.get(&measure) else {
            return Vec::new();
        };
        let (today, _) = local(zone, as_of);
        let open = (series.open.seen != 0)
            .then(|| series.level(measure))
            .flatten();
        let days = series.closed().chain(open);
        days.filter(|day| day.day < today && day.hours > 0)
            .collect()
    }

    /// Errors by day, of the days that are over and on which any measure was seen.
    #[must_use]
    pub fn error_days(&self, zone: Tz, as_of: Instant) -> Vec<Day> {
        let mut seen: BTreeMap<i32, u8> = BTreeMap::new();
        for measure in self.measures.keys() {
            for day in self.days(zone, *measure, as_of) {
                let hours = seen.entry(day.day).or_default();
                *hours = day.hours.max(*hours);
            }
        }
        let count = |day: i32| f64::from(self.errors.get(&day).copied().unwrap_or_default());
        seen.into_iter()
            .map(|(day, hours)| Day {
                day,
                level: count(day),
                hours,
            })
            .collect()
    }

    /// The measures seen so far.
    pub fn measures(&self) -> impl Iterator<Item = Measure> {
        self.measures.keys().copied()
    }
}

impl Series {
    fn closed(&self) -> impl Iterator<Item = Day> {
        let rows = (self.first_day..).zip(self.levels.iter().zip(&self.hours));
        rows.map(|(day, (&level, &hours))| Day {
            day,
            level: f64::from(level),
            hours,
        })
    }

    /// The level of the open day, if enough of the day was seen.
    fn level(&self, measure: Measure) -> Option<Day> {
        let shape = |hour: usize| self.shape.get(hour).map_or(1.0, |&shape| f64::from(shape));
        let total: f64 = self.open.by_hour().map(|(_, value)| value).sum();
        let hours = u8::try_from(self.open.seen.count_ones()).ok()?;
        let level = if measure.is_counter() {
            // A counter runs since midnight: all is covered up to the last hour seen.
            let last = usize::try_from(self.open.seen.checked_ilog2()?).ok()?;
            let whole: f64 = (0..24).map(shape).sum();
            let covered = (0..=last).map(shape).sum::<f64>() / whole;
            let part = if self.days_folded < COUNTER_SHAPE_DAYS {
                1.0
            } else {
                covered
            };
            (part >= LEAST_SHARE).then(|| total / part)?
        } else {
            let expected: f64 = (0..24).filter(|&hour| self.open.has(hour)).map(shape).sum();
            total / expected.max(0.05 * f64::from(hours))
        };
        // As precise as it is kept, so that a day reads the same before and after it is closed.
        Some(Day {
            day: self.open.day,
            level: f64::from(Short::of(level)),
            hours,
        })
    }

    /// Puts the open day among the days kept, learns from its shape and clears it.
    fn close(&mut self, measure: Measure) {
        if let Some(day) = self.level(measure) {
            self.keep(day);
            self.learn(measure, day.level);
        }
        self.open = Open::default();
    }

    fn keep(&mut self, day: Day) {
        if self.levels.is_empty() {
            self.first_day = day.day;
        }
        let next = |series: &Self| usize::try_from(day.day - series.first_day).unwrap_or(0);
        if next(self) >= self.levels.len() + KEPT_DAYS {
            self.levels.clear();
            self.hours.clear();
            self.first_day = day.day;
        }
        self.levels.resize(next(self), Short::default());
        self.hours.resize(next(self), 0);
        self.levels.push(Short::of(day.level));
        self.hours.push(day.hours);
        let surplus = self.levels.len().saturating_sub(KEPT_DAYS);
        self.levels.drain(..surplus);
        self.hours.drain(..surplus);
        self.first_day += i32::try_from(surplus).unwrap_or(0);
    }

    /// Moves the shape towards the day's. A counter's hours without a reading count as empty: what
    /// is usual for the device decides when its day is over.
    fn learn(&mut self, measure: Measure, level: f64) {
        if level <= 0.0 {
            return;
        }
        let is_counter = measure.is_counter();
        let prior = if is_counter { 0.0 } else { SHAPE_PRIOR };
        let rate = (1.0 / (prior + 1.0 + f64::from(self.days_folded))).max(1.0 / SHAPE_DAYS);
        let scale = if is_counter { 24.0 } else { 1.0 };
        for ((hour, value), shape) in self.open.by_hour().zip(&mut self.shape) {
            if is_counter || self.open.has(hour) {
                let ratio = (scale * value / level).clamp(0.0, 24.0);
                *shape = Short::of(f64::from(*shape) + rate * (ratio - f64::from(*shape)));
            }
        }
        let mean = self
            .shape
            .iter()
            .map(|&shape| f64::from(shape))
            .sum::<f64>()
            / 24.0;
        if mean > 0.0 {
            for shape in &mut self.shape {
                *shape = Short::of(f64::from(*shape) / mean);
            }
        }
        self.days_folded = self.days_folded.saturating_add(1);
    }
}

/// The day (since 1970-01-01) and the hour of the day in the site's time.
#[must_use]
pub fn local(zone: Tz, at: Instant) -> (i32, usize) {
    let Some(utc) = DateTime::from_timestamp_micros(at.0) else {
        return (0, 0);
    };
    let time = utc.with_timezone(&zone);
    let days = time
        .date_naive()
        .signed_duration_since(NaiveDate::default())
        .num_days();
    let hour = usize::try_from(time.hour()).unwrap_or(0);
    (i32::try_from(days).unwrap_or(0), hour)
}

/// When a day of the site begins.
#[must_use]
pub fn begin(zone: Tz, day: i32) -> Instant {
    let date = NaiveDate::default() + chrono::Days::new(u64::try_from(day).unwrap_or(0));
    Instant(instant_of(date, NaiveTime::MIN, zone))
}

/// Those days of which at least half as many hours were seen as usual.
#[must_use]
pub fn well_seen(days: &[Day]) -> Vec<Day> {
    let usual = median(days.iter().map(|day| f64::from(day.hours)).collect()).unwrap_or(0.0);
    days.iter()
        .filter(|day| f64::from(day.hours) >= 0.5 * usual)
        .copied()
        .collect()
}

/// The middle of some values.
#[must_use]
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    let half = values.len() / 2;
    let is_odd = values.len() % 2 == 1;
    let (below, &mut middle, _) =
        (!values.is_empty()).then(|| values.select_nth_unstable_by(half, f64::total_cmp))?;
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(if is_odd {
        middle
    } else {
        f64::midpoint(lower, middle)
    })
}

/// The spread of residuals as a standard deviation that ignores outliers (1.4826 × their median size).
#[must_use]
pub fn robust_deviation(residuals: impl Iterator<Item = f64>) -> f64 {
    1.4826 * median(residuals.map(f64::abs).collect()).unwrap_or(0.0)
}

/// The mean of some values; each is first brought within three deviations of the median.
#[must_use]
pub fn robust_mean(values: &[f64]) -> Option<f64> {
    let middle = median(values.to_vec())?;
    let reach = 3.0 * robust_deviation(values.iter().map(|value| value - middle));
    let near = |value: &f64| {
        if values.len() < 3 {
            *value
        } else {
            value.clamp(middle - reach, middle + reach)
        }
    };
    Some(values.iter().map(near).sum::<f64>() / float(values.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::input::{DAY, HOUR};

    fn hour(index: i64, value: f64) -> Hour {
        Hour {
            start: Instant(index * HOUR),
            count: 2,
            sum: 2.0 * value,
            sum_squares: 0.0,
            min: value,
            max: value,
            increase: value,
        }
    }

    fn folded(measure: Measure, hours: impl Iterator<Item = (i64, f64)>) -> State {
        let mut state = State::default();
        hours.for_each(|(index, value)| state.fold(chrono_tz::UTC, measure, &hour(index, value)));
        state
    }

    fn at(day: i64) -> Instant {
        Instant(day * DAY)
    }

    fn by_day(index: i64) -> f64 {
        if index.rem_euclid(24) < 12 {
            10.0
        } else {
            30.0
        }
    }

    #[test]
    fn a_whole_day_has_its_mean_and_a_counter_its_total() {
        let hours = || (0..48).map(|index| (index, by_day(index)));
        let gauge =
            folded(Measure::CpuPercent, hours()).days(chrono_tz::UTC, Measure::CpuPercent, at(2));
        assert!((gauge[0].level - 20.0).abs() < 1e-6 && gauge.len() == 2);
        let counter = Measure::TransactionCount;
        let total = folded(counter, hours()).days(chrono_tz::UTC, counter, at(2));
        assert!((total[0].level - 480.0).abs() < 1e-6, "{total:?}");
    }

    #[test]
    fn missing_hours_are_allowed_for_by_the_shape() {
        // From the 20th day on the dear half of each day is hardly seen.
        let seen = |index: &i64| *index < 20 * 24 || index.rem_euclid(24) < 14;
        let hours = (0..22 * 24)
            .filter(seen)
            .map(|index| (index, by_day(index)));
        let days =
            folded(Measure::CpuPercent, hours).days(chrono_tz::UTC, Measure::CpuPercent, at(22));
        let last = days.last().unwrap();
        assert!(
            (last.level - 20.0).abs() < 1.5 && last.hours == 14,
            "{last:?}"
        );
    }

    #[test]
    fn the_day_that_is_not_over_is_not_read() {
        let state = folded(Measure::CpuPercent, (0..30).map(|index| (index, 1.0)));
        let days = state.days(chrono_tz::UTC, Measure::CpuPercent, Instant(30 * HOUR));
        assert_eq!(days.iter().map(|day| day.day).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn a_long_silence_leaves_no_days_and_the_ring_is_bounded() {
        let far = 4000 * 24;
        let hours = (0..24 * 100)
            .chain(far..far + 24 * 100)
            .map(|index| (index, 1.0));
        let state = folded(Measure::CpuPercent, hours);
        let days = state.days(chrono_tz::UTC, Measure::CpuPercent, at(5000));
        assert!(days.len() <= KEPT_DAYS + 1 && days[0].day >= 4000);
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    }

    #[test]
    fn an_empty_state_and_odd_values_give_no_days_and_no_nan() {
        let mut state = State::default();
        assert!(
            state
                .days(chrono_tz::UTC, Measure::CpuPercent, at(9))
                .is_empty()
        );
        state.fold(chrono_tz::UTC, Measure::CpuPercent, &hour(1, f64::NAN));
        assert!(
            state
                .days(chrono_tz::UTC, Measure::CpuPercent, at(9))
                .is_empty()
        );
        state.fold(chrono_tz::UTC, Measure::CpuPercent, &hour(1, 0.0));
        let days = state.days(chrono_tz::UTC, Measure::CpuPercent, at(9));
        assert!(days[0].level == 0.0 && days.len() == 1);
    }

    #[test]
    fn days_without_errors_count_as_zero_when_the_device_was_seen() {
        let mut state = folded(Measure::CpuPercent, (0..72).map(|index| (index, 1.0)));
        state.fold_error(chrono_tz::UTC, Instant(30 * HOUR));
        let days = state.error_days(chrono_tz::UTC, at(3));
        assert_eq!(
            days.iter().map(|day| day.level).collect::<Vec<_>>(),
            [0.0, 1.0, 0.0]
        );
    }

    #[test]
    fn days_are_those_of_the_site() {
        assert_eq!(local(chrono_tz::Asia::Tokyo, Instant(16 * HOUR)), (1, 1));
        assert_eq!(begin(chrono_tz::Asia::Tokyo, 1), Instant(15 * HOUR));
    }
}
