//! What changed in one series of daily levels when a device was changed, against devices that were not.

use std::collections::BTreeMap;

use crate::insights::number::float;

use crate::insights::impact::daily::{Day, median, robust_deviation, robust_mean, well_seen};
use crate::insights::impact::posterior::{Drift, Point, Posterior};
use crate::insights::impact::rate::{self, Ratio, Side};

/// Days looked at before and after a change.
pub const BEFORE_DAYS: i32 = 28;
/// See `BEFORE_DAYS`.
pub const AFTER_DAYS: i32 = 14;
/// The fewest days that can be judged before and after.
pub const LEAST_BEFORE: usize = 5;
/// See `LEAST_BEFORE`.
pub const LEAST_AFTER: usize = 3;
/// The level of all intervals.
pub const LEVEL: f64 = 0.95;
/// Added to each level before its logarithm, as a share of the mean before.
const OFFSET: f64 = 0.005;
/// With more zeros than this share of the days, rates are compared instead of logarithms.
const MOST_ZEROS: f64 = 0.1;
/// Values further from their usual than this many deviations are brought back to it.
const REACH: f64 = 3.5;
/// A control must have this share of the device's days on each side.
const CONTROL_DAYS: f64 = 0.8;
/// Controls are left out when the difference to them varies more than this times the device alone.
const CONTROL_NOISE: f64 = 1.5;
/// From so many days on the weekdays are told apart when outliers are sought.
const WEEKDAY_DAYS: usize = 21;

/// Which days are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first day before.
    pub from: i32,
    /// The last day before.
    pub until: i32,
    /// The first day after.
    pub after: i32,
    /// The last day after.
    pub to: i32,
}

impl Window {
    /// Around a change on a day. That day and `left_out` days before it are not compared: a change
    /// is often made because something was wrong, and going back to normal is no effect.
    #[must_use]
    pub fn around(day: i32, left_out: i32) -> Self {
        let until = day - 1 - left_out;
        Self {
            from: until - BEFORE_DAYS + 1,
            until,
            after: day + 1,
            to: day + AFTER_DAYS,
        }
    }

    fn is_before(&self, day: &Day) -> bool {
        (self.from..=self.until).contains(&day.day)
    }

    fn is_after(&self, day: &Day) -> bool {
        (self.after..=self.to).contains(&day.day)
    }
}

/// How an effect was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Mean difference of logarithms of daily levels.
    Logarithms,
    /// Ratio of overdispersed rates.
    Rates,
}

/// An effect as a relative change, with what it rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Such as -0.12 for 12 % less.
    pub relative: f64,
    /// Of 95 %.
    pub low: f64,
    /// Of 95 %.
    pub high: f64,
    /// Two-sided.
    pub p: f64,
    /// Mean daily level before, in the measure's unit.
    pub level_before: f64,
    /// Days compared before.
    pub days_before: usize,
    /// Days compared after.
    pub days_after: usize,
    /// Devices compared with.
    pub controls: usize,
    /// How it was found.
    pub method: Method,
}

impl Estimate {
    /// The effect in the measure's unit.
    #[must_use]
    pub fn points(&self) -> f64 {
        self.relative * self.level_before
    }

    /// The width of the interval to either side of the value, as a mean.
    #[must_use]
    pub fn half_width(&self) -> f64 {
        0.5 * (self.high - self.low)
    }

    /// The smallest effect that would be found with a probability of 80 %.
    #[must_use]
    pub fn smallest_found(&self) -> f64 {
        // Half-width is 1.96 standard errors; 80 % power needs 1.96 + 0.84 of them.
        self.half_width() * (1.96 + 0.84) / 1.96
    }
}

/// Why there is no estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// So many days before the change were seen, too few.
    Before(usize),
    /// So many days after the change were seen, too few.
    After(usize),
}

/// Estimates the effect on one series. `unit` is what one event adds to a level that counts events,
/// `None` for a level that does not.
///
/// # Errors
/// When too few days were seen on a side.
pub fn estimate(
    device: &[Day],
    controls: &[Vec<Day>],
    window: Window,
    unit: Option<f64>,
) -> Result<Estimate, Missing> {
    let in_window = |days: &[Day]| -> Vec<Day> {
        let days = days
            .iter()
            .filter(|day| window.is_before(day) || window.is_after(day));
        well_seen(&days.copied().collect::<Vec<_>>())
    };
    let device = in_window(device);
    let before = device.iter().filter(|day| window.is_before(day)).count();
    let after = device.len() - before;
    if before < LEAST_BEFORE {
        return Err(Missing::Before(before));
    }
    if after < LEAST_AFTER {
        return Err(Missing::After(after));
    }
    let controls: Vec<Vec<Day>> = controls
        .iter()
        .map(|days| in_window(days))
        .filter(|days| covers(days, &window, before, after))
        .collect();
    let zeros = device.iter().filter(|day| day.level <= 0.0).count();
    let found = if unit.is_some() || float(zeros) > MOST_ZEROS * float(device.len()) {
        by_rates(&device, &controls, &window, unit)
    } else {
        by_logarithms(&device, &controls, &window)
    };
    found.ok_or(Missing::After(after))
}

/// Whether a control was seen on nearly as many days as the device.
fn covers(days: &[Day], window: &Window, before: usize, after: usize) -> bool {
    let own_before = days.iter().filter(|day| window.is_before(day)).count();
    let own_after = days.len() - own_before;
    float(own_before) >= CONTROL_DAYS * float(before)
        && float(own_after) >= CONTROL_DAYS * float(after)
}

fn mean_before(days: &[Day], window: &Window) -> f64 {
    let levels: Vec<f64> = days
        .iter()
        .filter(|day| window.is_before(day))
        .map(|day| day.level)
        .collect();
    levels.iter().sum::<f64>() / float(levels.len().max(1))
}

/// Logarithms of the levels relative to the mean before, by day; their median before is zero.
fn logarithms(days: &[Day], window: &Window) -> Vec<(i32, f64)> {
    let mean = mean_before(days, window).max(f64::MIN_POSITIVE);
    let logarithm = |day: &Day| (day.level.max(0.0) / mean + OFFSET).ln();
    let before = days
        .iter()
        .filter(|day| window.is_before(day))
        .map(logarithm)
        .collect();
    let centre = median(before).unwrap_or(0.0);
    days.iter()
        .map(|day| (day.day, logarithm(day) - centre))
        .collect()
}

fn by_logarithms(device: &[Day], controls: &[Vec<Day>], window: &Window) -> Option<Estimate> {
    let own = logarithms(device, window);
    let mut others: BTreeMap<i32, Vec<f64>> = BTreeMap::new();
    for control in controls {
        for (day, value) in logarithms(control, window) {
            others.entry(day).or_default().push(value);
        }
    }
    let differences: Vec<(i32, f64)> = own
        .iter()
        .filter_map(|&(day, value)| Some((day, value - robust_mean(others.get(&day)?)?)))
        .collect();
    let spread = |series: &[(i32, f64)]| {
        let before = series.iter().filter(|(day, _)| *day <= window.until);
        robust_deviation(before.map(|(_, value)| *value)).powi(2)
    };
    let is_compared = !differences.is_empty()
        && differences.len() * 10 >= own.len() * 8
        && spread(&differences) <= CONTROL_NOISE * spread(&own);
    let series = if is_compared { differences } else { own };
    let points = without_outliers(&series, window);
    let posterior = Posterior::fit(&points, Drift::Possible)?;
    // The offset makes ratios smaller by its share of the level, which is known.
    let relative = |logarithm: f64| (logarithm.exp() - 1.0).max(-1.0) * (1.0 + OFFSET);
    let after = points.iter().filter(|point| point.column > 0.0).count();
    Some(Estimate {
        relative: relative(posterior.mean()).max(-1.0),
        low: relative(posterior.quantile(0.5 - 0.5 * LEVEL)).max(-1.0),
        high: relative(posterior.quantile(0.5 + 0.5 * LEVEL)),
        p: posterior.two_sided(),
        level_before: mean_before(device, window),
        days_before: points.len() - after,
        days_after: after,
        controls: if is_compared { controls.len() } else { 0 },
        method: Method::Logarithms,
    })
}

/// Brings single days that are far from the usual of their side (and weekday) back to its edge, so
/// that an incident on one day is no effect.
fn without_outliers(series: &[(i32, f64)], window: &Window) -> Vec<Point> {
    let side = |day: i32| day >= window.after;
    let middle = |is_after: bool| {
        let values = series.iter().filter(|(day, _)| side(*day) == is_after);
        median(values.map(|(_, value)| *value).collect()).unwrap_or(0.0)
    };
    let (before, after) = (middle(false), middle(true));
    let mut usual: Vec<f64> = series
        .iter()
        .map(|(day, _)| if side(*day) { after } else { before })
        .collect();
    if series.len() >= WEEKDAY_DAYS {
        let rest: Vec<(i32, f64)> = series
            .iter()
            .zip(&usual)
            .map(|((day, value), usual)| (*day, value - usual))
            .collect();
        let weekdays: Vec<f64> = (0..7)
            .map(|weekday| {
                let same = rest.iter().filter(|(day, _)| day.rem_euclid(7) == weekday);
                median(same.map(|(_, value)| *value).collect()).unwrap_or(0.0)
            })
            .collect();
        for ((day, _), usual) in series.iter().zip(&mut usual) {
            let weekday = usize::try_from(day.rem_euclid(7)).unwrap_or(0);
            *usual += weekdays.get(weekday).copied().unwrap_or(0.0);
        }
    }
    let residuals = series
        .iter()
        .zip(&usual)
        .map(|((_, value), usual)| value - usual);
    let spread = robust_deviation(residuals);
    let reach = if spread > 0.0 {
        REACH * spread
    } else {
        f64::INFINITY
    };
    series
        .iter()
        .zip(&usual)
        .map(|(&(day, value), usual)| Point {
            day,
            value: value.clamp(usual - reach, usual + reach),
            column: f64::from(u8::from(side(day))),
        })
        .collect()
}

fn by_rates(
    device: &[Day],
    controls: &[Vec<Day>],
    window: &Window,
    unit: Option<f64>,
) -> Option<Estimate> {
    let split = |days: &[Day]| -> (Vec<f64>, Vec<f64>) {
        let (before, after): (Vec<Day>, Vec<Day>) =
            days.iter().partition(|day| window.is_before(day));
        let levels = |days: Vec<Day>| days.iter().map(|day| day.level).collect();
        (levels(before), levels(after))
    };
    let (before, after) = split(device);
    let comparison = pooled_controls(controls, window, unit);
    let (sides, count) = (
        (Side { values: &before }, Side { values: &after }),
        controls.len(),
    );
    // Controls that know less than the device would only add noise.
    let own = rate::pooled(sides.0, sides.1, unit).1;
    let (comparison, count) = comparison
        .filter(|(_, variance)| own + variance <= CONTROL_NOISE * own)
        .map_or(((1.0, 0.0), 0), |comparison| (comparison, count));
    let ratio = Ratio::new(sides.0, sides.1, unit, comparison)?;
    Some(Estimate {
        relative: ratio.quantile(0.5) - 1.0,
        low: ratio.quantile(0.5 - 0.5 * LEVEL) - 1.0,
        high: ratio.quantile(0.5 + 0.5 * LEVEL) - 1.0,
        p: ratio.two_sided(),
        level_before: mean_before(device, window),
        days_before: before.len(),
        days_after: after.len(),
        controls: count,
        method: Method::Rates,
    })
}

/// The ratio of the controls' rates and the variance of its logarithm; days are summed over them.
fn pooled_controls(
    controls: &[Vec<Day>],
    window: &Window,
    unit: Option<f64>,
) -> Option<(f64, f64)> {
    let mut sums: BTreeMap<i32, (f64, f64)> = BTreeMap::new();
    for day in controls.iter().flatten() {
        let (sum, count) = sums.entry(day.day).or_default();
        *sum += day.level;
        *count += 1.0;
    }
    let scale = float(controls.len());
    let sum = |(day, (sum, count)): (&i32, &(f64, f64))| (*day, sum * scale / count);
    let side = |is_before: bool| -> Vec<f64> {
        let days = sums
            .iter()
            .map(sum)
            .filter(|(day, _)| (*day <= window.until) == is_before);
        days.map(|(_, sum)| sum).collect()
    };
    let (before, after) = (side(true), side(false));
    (!before.is_empty() && !after.is_empty())
        .then(|| rate::pooled(Side { values: &before }, Side { values: &after }, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(levels: impl Iterator<Item = f64>) -> Vec<Day> {
        (1000..)
            .zip(levels)
            .map(|(day, level)| Day {
                day,
                level,
                hours: 24,
            })
            .collect()
    }

    fn noise(index: usize, salt: usize) -> f64 {
        let mixed = (index * 7919 + salt * 104_729).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        1.0 + 0.03 * (float(mixed % 101) / 50.0 - 1.0)
    }

    fn window() -> Window {
        Window::around(1030, 1)
    }

    #[test]
    fn a_known_effect_is_recovered_against_a_shared_shock() {
        let shock = |i: usize| if i > 30 { 1.5 } else { 1.0 };
        let device =
            days((0..45).map(|i| 50.0 * noise(i, 1) * shock(i) * if i > 30 { 0.8 } else { 1.0 }));
        let controls: Vec<_> = (2..6)
            .map(|s| days((0..45).map(|i| 9.0 * noise(i, s) * shock(i))))
            .collect();
        let found = estimate(&device, &controls, window(), None).unwrap();
        assert!(found.low < -0.2 && -0.2 < found.high, "{found:?}");
        assert_eq!(
            (found.controls, found.days_before, found.days_after),
            (4, 28, 14)
        );
    }

    #[test]
    fn one_bad_day_after_is_no_effect() {
        let device = days((0..45).map(|i| 50.0 * noise(i, 1) * if i == 35 { 9.0 } else { 1.0 }));
        let found = estimate(&device, &[], window(), None).unwrap();
        assert!(found.p > 0.05 && found.relative.abs() < 0.05, "{found:?}");
    }

    #[test]
    fn the_day_before_the_change_does_not_count() {
        let device = days((0..45).map(|i| 50.0 * noise(i, 1) * if i == 29 { 9.0 } else { 1.0 }));
        let calm = days((0..45).map(|i| 50.0 * noise(i, 1)));
        assert_eq!(
            estimate(&device, &[], window(), None),
            estimate(&calm, &[], window(), None)
        );
    }

    #[test]
    fn too_few_days_are_told_by_side() {
        let all = days((0..45).map(|i| noise(i, 1)));
        assert_eq!(estimate(&[], &[], window(), None), Err(Missing::Before(0)));
        assert_eq!(
            estimate(&all[..32], &[], window(), None),
            Err(Missing::After(1))
        );
        assert_eq!(
            estimate(&all[26..], &[], window(), None),
            Err(Missing::Before(3))
        );
    }

    #[test]
    fn days_hardly_seen_are_left_out() {
        let mut device = days((0..45).map(|i| 50.0 * noise(i, 1)));
        device[40] = Day {
            day: 1040,
            level: 1.0,
            hours: 2,
        };
        assert_eq!(
            estimate(&device, &[], window(), None).unwrap().days_after,
            13
        );
    }

    #[test]
    fn constant_and_zero_levels_are_no_nan() {
        for level in [0.0, 7.0] {
            let device = days((0..45).map(|_| level));
            let found = estimate(&device, std::slice::from_ref(&device), window(), None).unwrap();
            assert!(found.relative.is_finite() && found.low.is_finite() && found.high.is_finite());
            assert!(found.p > 0.5);
        }
    }

    #[test]
    fn errors_are_compared_as_rates() {
        let device = days((0..45).map(|i| float(i % 3) * if i > 30 { 4.0 } else { 1.0 }));
        let found = estimate(&device, &[], window(), Some(1.0)).unwrap();
        assert_eq!(found.method, Method::Rates);
        assert!(found.low > 0.3 && found.high < 12.0, "{found:?}");
    }
}
