//! Where a measure is going: its slope a day, and the days until it reaches a limit.
//!
//! The slope is that of Theil (1950) and Sen (1968): the median of the slopes between all pairs of
//! days, of levels without their weekdays. Its interval has the width that a regression with
//! correlated noise gives it.

use crate::event::Instant;
use crate::insights::input::Measure;
use crate::insights::number::float;
use crate::insights::shape::{Evidence, Insight, Interval, Reason, Status};
use chrono_tz::Tz;

use crate::insights::impact::daily::{Day, begin, local, median, robust_deviation, well_seen};
use crate::insights::impact::posterior::{Drift, Point, Posterior};
use crate::insights::impact::verdict::Series;
use crate::insights::risk::words::plural;

/// The fewest days that show a trend.
pub const LEAST_DAYS: usize = 5;
/// With fewer days a trend is still learning.
const SETTLED_DAYS: usize = 21;
/// Longer series are averaged over runs of days until no more points are left.
const MOST_POINTS: usize = 120;
/// A limit further away than this is not foreseen.
pub const HORIZON_DAYS: f64 = 365.0;
/// A trend without a day as new as this is stale.
const STALE_DAYS: i32 = 3;
/// The level of the intervals.
const LEVEL: f64 = 0.95;
/// Days further from the line than this many deviations are brought back to it.
const REACH: f64 = 3.5;

/// Where a measure is going.
#[derive(Clone, Debug)]
pub struct Trend {
    /// The change of the daily level a day, in the measure's unit.
    pub slope: Insight,
    /// The days until the limit is reached. `None` without a limit, or when the slope does not lead
    /// to it within a year.
    pub days_to_limit: Option<Insight>,
}

/// A line through daily levels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// A day.
    pub slope: f64,
    /// Of 95 %.
    pub low: f64,
    /// Of 95 %.
    pub high: f64,
    /// The middle of the days.
    pub centre: f64,
    /// The level there.
    pub level: f64,
}

/// Where a measure must not come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// Such as 90 % of a disk.
    Above(f64),
    /// Such as a least number of transactions.
    Below(f64),
}

impl Limit {
    const fn value(self) -> f64 {
        match self {
            Self::Above(value) | Self::Below(value) => value,
        }
    }
}

impl Line {
    /// Days from a day on until a slope through the centre passes a limit, at most the horizon.
    fn days_until(&self, limit: Limit, slope: f64, today: f64) -> f64 {
        let sign = if matches!(limit, Limit::Above(_)) {
            1.0
        } else {
            -1.0
        };
        let (slope, left) = (sign * slope, sign * (limit.value() - self.level));
        let days = left / slope - (today - self.centre);
        let is_passed = slope * (today - self.centre) >= left;
        if is_passed {
            0.0
        } else if slope > 0.0 {
            days.clamp(0.0, HORIZON_DAYS)
        } else {
            HORIZON_DAYS
        }
    }
}

/// The trend of the daily levels of a measure (as `State::days` gives them, or from daily rollups of
/// a longer time) up to a time, and when it reaches a limit.
#[must_use]
pub fn trend(
    days: &[Day],
    measure: Measure,
    limit: Option<Limit>,
    zone: Tz,
    as_of: Instant,
) -> Trend {
    let (today, _) = local(zone, as_of);
    let past: Vec<Day> = days.iter().filter(|day| day.day < today).copied().collect();
    let seen = well_seen(&past);
    let evidence = evidence(&seen, zone);
    let Some(line) = line(&seen) else {
        return Trend {
            slope: insufficient(seen.len(), evidence, today, as_of),
            days_to_limit: None,
        };
    };
    let newest = seen.last().map_or(today, |day| day.day);
    let status = if today - 1 - newest >= STALE_DAYS {
        Status::Stale
    } else if seen.len() < SETTLED_DAYS {
        Status::Learning
    } else {
        Status::Ok
    };
    let unit = Series::Measure(measure).unit();
    let reading = |value: f64, (low, high): (f64, f64), reason: Reason| Insight {
        value: Some(value),
        interval: Some(Interval {
            low,
            high,
            level: LEVEL,
        }),
        evidence,
        status,
        reasons: vec![reason],
        recommendations: Vec::new(),
        as_of,
    };
    let reason = slope_reason(measure, unit, &line, seen.len());
    let slope = reading(line.slope, (line.low, line.high), reason);
    let days_to_limit = limit.and_then(|limit| {
        let (value, ends) = days_to(&line, limit, f64::from(today))?;
        Some(reading(
            value,
            ends,
            limit_reason(measure, limit.value(), value, ends),
        ))
    });
    Trend {
        slope,
        days_to_limit,
    }
}

/// The Theil–Sen line with its interval. `None` with fewer than five days.
#[must_use]
pub fn line(days: &[Day]) -> Option<Line> {
    if days.len() < LEAST_DAYS {
        return None;
    }
    let weekdays = weekdays(days)?;
    let usual = |day: i32| {
        let weekday = usize::try_from(day.rem_euclid(7)).unwrap_or(0);
        weekdays.get(weekday).copied().unwrap_or(0.0)
    };
    // Weekdays are removed only where each was seen three times.
    let is_weekly = days.len() >= 21;
    let adjusted: Vec<(f64, f64)> = days
        .iter()
        .map(|day| {
            (
                f64::from(day.day),
                day.level - if is_weekly { usual(day.day) } else { 0.0 },
            )
        })
        .collect();
    let run = adjusted.len().div_ceil(MOST_POINTS);
    let thinned: Vec<(f64, f64)> = adjusted.chunks(run).map(mean_point).collect();
    let (slope, centre, level) = theil_sen(&thinned)?;
    let residuals: Vec<f64> = thinned
        .iter()
        .map(|(day, value)| value - level - slope * (day - centre))
        .collect();
    let spread = robust_deviation(residuals.iter().copied());
    let reach = if spread > 0.0 {
        REACH * spread
    } else {
        f64::INFINITY
    };
    let points: Vec<Point> = thinned
        .iter()
        .zip(&residuals)
        .map(|((day, _), residual)| Point {
            day: i32::try_from(crate::insights::number::whole(day / float(run))).unwrap_or(0),
            value: residual.clamp(-reach, reach),
            column: day - centre,
        })
        .collect();
    let posterior = Posterior::fit(&points, Drift::Excluded)?;
    let around = |probability| slope + posterior.quantile(probability);
    Some(Line {
        slope,
        low: around(0.5 - 0.5 * LEVEL).min(slope),
        high: around(0.5 + 0.5 * LEVEL).max(slope),
        centre,
        level,
    })
}

fn mean_point(chunk: &[(f64, f64)]) -> (f64, f64) {
    let count = float(chunk.len().max(1));
    let sum = chunk
        .iter()
        .fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
    (sum.0 / count, sum.1 / count)
}

/// What each weekday usually lies above or below the line.
fn weekdays(days: &[Day]) -> Option<Vec<f64>> {
    let run = days.len().div_ceil(MOST_POINTS);
    let points: Vec<(f64, f64)> = days
        .iter()
        .map(|day| (f64::from(day.day), day.level))
        .collect();
    let thinned: Vec<(f64, f64)> = points.chunks(run).map(mean_point).collect();
    let (slope, centre, level) = theil_sen(&thinned)?;
    let of = |weekday: i32| {
        let same = days.iter().filter(|day| day.day.rem_euclid(7) == weekday);
        let above = same.map(|day| day.level - level - slope * (f64::from(day.day) - centre));
        median(above.collect()).unwrap_or(0.0)
    };
    Some((0..7).map(of).collect())
}

/// The median slope of all pairs, the middle day, and the median level there.
fn theil_sen(points: &[(f64, f64)]) -> Option<(f64, f64, f64)> {
    let pairs = points.iter().enumerate().flat_map(|(index, a)| {
        points
            .iter()
            .skip(index + 1)
            .map(move |b| (b.1 - a.1) / (b.0 - a.0))
    });
    let slope = median(pairs.filter(|slope| slope.is_finite()).collect())?;
    let centre = points.iter().map(|(day, _)| day).sum::<f64>() / float(points.len());
    let level = median(
        points
            .iter()
            .map(|(day, v)| v - slope * (day - centre))
            .collect(),
    )?;
    Some((slope, centre, level))
}

/// Days from today until the limit, likely, earliest and latest. `None` when not within the horizon.
fn days_to(line: &Line, limit: Limit, today: f64) -> Option<(f64, (f64, f64))> {
    let left = |slope: f64| line.days_until(limit, slope, today);
    let value = left(line.slope);
    let ends = (left(line.low), left(line.high));
    (value < HORIZON_DAYS).then_some((value, (ends.0.min(ends.1), ends.0.max(ends.1))))
}

fn evidence(days: &[Day], zone: Tz) -> Evidence {
    let span = days
        .first()
        .zip(days.last())
        .map(|(first, last)| last.day - first.day + 1);
    Evidence {
        events: i64::try_from(days.len()).unwrap_or(0),
        from: days.first().map(|day| begin(zone, day.day)),
        to: days.last().map(|day| begin(zone, day.day + 1)),
        coverage: span.map(|span| float(days.len()) / f64::from(span)),
    }
}

fn insufficient(seen: usize, evidence: Evidence, today: i32, as_of: Instant) -> Insight {
    let left = LEAST_DAYS.saturating_sub(seen);
    let day = today + i32::try_from(left).unwrap_or(0);
    let date = chrono::NaiveDate::default() + chrono::Days::new(u64::try_from(day).unwrap_or(0));
    let were = if seen == 1 { "was" } else { "were" };
    let sentence = format!(
        "{} {were} seen; {LEAST_DAYS} are needed for a trend. With a reading every day \
         that is on {}.",
        plural(float(seen), "full day"),
        date.format("%Y-%m-%d")
    );
    let reason = Reason {
        factor: "days",
        contribution: 0.0,
        observed: Some(float(seen)),
        expected: Some(float(LEAST_DAYS)),
        unit: Some("days"),
        sentence,
    };
    Insight::insufficient(evidence, reason, as_of)
}

fn slope_reason(measure: Measure, unit: &'static str, line: &Line, days: usize) -> Reason {
    let way = if line.low > 0.0 {
        "rises"
    } else if line.high < 0.0 {
        "falls"
    } else {
        "shows no sure trend: it changes"
    };
    Reason {
        factor: "slope",
        contribution: line.slope,
        observed: Some(line.level),
        expected: None,
        unit: Some(unit),
        sentence: format!(
            "{} {way} each day by {:.4} {unit} ({:.4} to {:.4} with 95 % probability), from {days} days.",
            measure.name(),
            line.slope,
            line.low,
            line.high
        ),
    }
}

fn limit_reason(measure: Measure, limit: f64, value: f64, (low, high): (f64, f64)) -> Reason {
    let latest = if high >= HORIZON_DAYS {
        "perhaps not within a year".to_owned()
    } else {
        format!("at the latest in {}", plural(high, "day"))
    };
    Reason {
        factor: "limit",
        contribution: value,
        observed: None,
        expected: Some(limit),
        unit: Some("days"),
        sentence: format!(
            "{} reaches {limit} in {} if it goes on like this: at the earliest in {}, {latest}.",
            measure.name(),
            plural(value, "day"),
            plural(low, "day")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::input::DAY;

    fn days(count: i32, level: impl Fn(i32) -> f64) -> Vec<Day> {
        (0..count)
            .map(|i| Day {
                day: 1000 + i,
                level: level(i),
                hours: 24,
            })
            .collect()
    }

    fn noise(i: i32) -> f64 {
        f64::from(i * 37 % 11) / 5.0 - 1.0
    }

    fn read(days: &[Day], limit: Option<Limit>, today: i32) -> Trend {
        let as_of = Instant(i64::from(today) * DAY);
        trend(days, Measure::DiskPercent, limit, chrono_tz::UTC, as_of)
    }

    #[test]
    fn a_filling_disk_has_its_slope_and_its_day() {
        let days = days(40, |i| 50.0 + 0.5 * f64::from(i) + 0.3 * noise(i));
        let trend = read(&days, Some(Limit::Above(90.0)), 1040);
        let interval = trend.slope.interval.unwrap();
        assert!(interval.low < 0.5 && 0.5 < interval.high && interval.high - interval.low < 0.1);
        let left = trend.days_to_limit.unwrap();
        assert!((left.value.unwrap() - 40.0).abs() < 2.0, "{left:?}");
        assert!(left.interval.unwrap().low < 40.5 && left.interval.unwrap().high > 39.5);
    }

    #[test]
    fn the_slope_of_a_count_of_a_day_is_told_without_saying_a_day_twice() {
        let days = days(40, |i| 50.0 + f64::from(i) + 0.1 * noise(i));
        let as_of = Instant(1040 * DAY);
        let trend = trend(
            &days,
            Measure::TransactionCount,
            None,
            chrono_tz::UTC,
            as_of,
        );
        let sentence = &trend.slope.reasons[0].sentence;
        assert!(
            sentence.starts_with("transactionCount rises each day by ")
                && sentence.contains(" transactions a day ("),
            "{sentence}"
        );
    }

    #[test]
    fn a_week_with_seasons_is_no_trend() {
        let days = days(42, |i| 50.0 + if i % 7 > 4 { 20.0 } else { 0.0 } + noise(i));
        let interval = read(&days, None, 1042).slope.interval.unwrap();
        assert!(
            interval.low < 0.0 && 0.0 < interval.high && interval.high < 0.2,
            "{interval:?}"
        );
    }

    #[test]
    fn outliers_do_not_bend_the_line() {
        let days = days(40, |i| {
            50.0 + 0.1 * noise(i) + if i > 36 { 40.0 } else { 0.0 }
        });
        assert!(read(&days, None, 1040).slope.value.unwrap().abs() < 0.05);
    }

    #[test]
    fn fewer_than_five_days_are_not_enough_and_it_says_when_they_are() {
        let trend = read(&days(4, f64::from), Some(Limit::Above(90.0)), 1004);
        assert_eq!(trend.slope.status, Status::Insufficient);
        assert!(trend.slope.value.is_none() && trend.days_to_limit.is_none());
        assert!(
            trend.slope.reasons[0]
                .sentence
                .starts_with("4 full days were seen; 5 are needed")
        );
        let one = read(&days(1, f64::from), None, 1001).slope;
        assert!(one.reasons[0].sentence.starts_with("1 full day was seen;"));
        assert!(
            trend.slope.reasons[0].sentence.contains("1972-10-02"),
            "{:?}",
            trend.slope.reasons
        );
        assert_eq!(read(&[], None, 1000).slope.status, Status::Insufficient);
    }

    #[test]
    fn constant_levels_have_no_slope_and_reach_nothing() {
        let trend = read(&days(30, |_| 7.0), Some(Limit::Above(90.0)), 1030);
        assert!(trend.slope.value.unwrap().abs() < 1e-9 && trend.days_to_limit.is_none());
        assert!(trend.slope.interval.unwrap().high.is_finite());
    }

    #[test]
    fn a_limit_already_passed_is_reached_in_no_days() {
        let trend = read(
            &days(30, |i| 80.0 + f64::from(i)),
            Some(Limit::Above(90.0)),
            1030,
        );
        assert_eq!(trend.days_to_limit.unwrap().value, Some(0.0));
    }

    #[test]
    fn days_of_the_future_are_not_read_and_old_ones_are_stale() {
        let all = days(40, |i| noise(i) + f64::from(i * i));
        let known = read(&all, None, 1020).slope;
        assert_eq!(known.value, read(&all[..20], None, 1020).slope.value);
        assert_eq!(read(&all, None, 1050).slope.status, Status::Stale);
    }

    #[test]
    fn three_years_are_thinned() {
        let line = line(&days(1100, |i| 20.0 + 0.02 * f64::from(i) + noise(i))).unwrap();
        assert!(
            (line.slope - 0.02).abs() < 0.001 && line.low < 0.02 && line.high > 0.02,
            "{line:?}"
        );
    }
}
