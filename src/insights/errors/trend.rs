//! How often a group is seen now against before, and when it came in a burst.

use crate::event::Instant;
use crate::insights::input::{HOUR, SECOND};
use crate::insights::number::float;
use statrs::function::beta::beta_reg;

use crate::insights::errors::group::{Group, hour_of};

const WEEK_HOURS: i32 = 7 * 24;
/// The level of all intervals here.
pub const LEVEL: f64 = 0.9;
/// Shape of the gamma prior of a rate (Jeffreys): half an event.
const PRIOR_EVENTS: f64 = 0.5;
/// By how much an estimated dispersion widens a 90 % interval, over its degrees of freedom: the square of Student's
/// quantile over the normal one is about 1 + (z² + 1) / 2 / freedom.
const WIDENING: f64 = 1.85;
/// How unlikely an hour's count must be to be called a burst: one false alarm in 14 months of hours.
const BURST_TAIL: f64 = 1e-4;
/// Fewer events in an hour are no burst, however rare the group is.
const BURST_MIN_EVENTS: u32 = 5;
/// Hours after which a burst counts as usual: what lasts longer is a new level.
const LEARN_AFTER_HOURS: i32 = 24;
/// Bursts that are told, the latest.
const BURSTS_MAX: usize = 8;

/// A ratio of two rates with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The median.
    pub value: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

/// The ratio of two rates of which `counts` events were seen in `exposures`: gamma-Poisson, so that the share of the first
/// is beta distributed. Counts may be fractions (divided by a dispersion).
#[must_use]
pub fn ratio(counts: (f64, f64), exposures: (f64, f64), level: f64) -> Option<Ratio> {
    let (now, before) = (
        counts.0.max(0.0) + PRIOR_EVENTS,
        counts.1.max(0.0) + PRIOR_EVENTS,
    );
    let scale = exposures.1 / exposures.0;
    if !(exposures.0 > 0.0
        && exposures.1 > 0.0
        && scale.is_finite()
        && now.is_finite()
        && before.is_finite())
    {
        return None;
    }
    let at = |probability: f64| {
        let share = share_quantile(now, before, probability);
        share / (1.0 - share).max(f64::MIN_POSITIVE) * scale
    };
    Some(Ratio {
        value: at(0.5),
        low: at(0.5 - level / 2.0),
        high: at(0.5 + level / 2.0),
    })
}

/// A quantile of the beta distribution by halving.
fn share_quantile(a: f64, b: f64, probability: f64) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if beta_reg(a, b, middle) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high).clamp(1e-12, 1.0 - 1e-12)
}

/// The last 7 days against the 7 before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// The rate now over the rate before.
    pub ratio: Ratio,
    /// Events of the last 7 days.
    pub now: u64,
    /// Events of the 7 days before.
    pub before: u64,
    /// Hours of the week before that were observed.
    pub hours_before: i32,
}

/// Compares the last 7 days with the 7 before, of which at least one must have been observed (`from` on).
///
/// Errors come in clusters: counts are divided by their dispersion, the variance over the mean of the daily counts within
/// each week (quasi-Poisson; Wedderburn 1974), at least 1, so that the interval is as wide as what happened asks.
#[must_use]
pub fn trend(group: &Group, from: Instant, as_of: Instant) -> Option<Trend> {
    let end = hour_of(as_of) + 1;
    let middle = end - WEEK_HOURS;
    let start = (middle - WEEK_HOURS).max(hour_of(from));
    let hours_before = middle - start;
    if hours_before < 24 {
        return None;
    }
    let (now, before) = (
        group.count_between(middle, end),
        group.count_between(start, middle),
    );
    let dispersion = dispersion(group, start, middle, end);
    let spent = float(as_of.0.rem_euclid(HOUR)) / float(HOUR);
    let exposures = (
        f64::from(WEEK_HOURS - 1) + spent.max(1.0 / 60.0),
        f64::from(hours_before),
    );
    let ratio = ratio(
        (float(now) / dispersion, float(before) / dispersion),
        exposures,
        LEVEL,
    )?;
    Some(Trend {
        ratio,
        now,
        before,
        hours_before,
    })
}

/// Variance over mean of daily counts around the mean of their week, at least 1. Where it is more, it is taken to be as
/// much more as an estimate of so few days may be off.
fn dispersion(group: &Group, start: i32, middle: i32, end: i32) -> f64 {
    let days = |from: i32, to: i32| -> Vec<f64> {
        let days = (to - from) / 24;
        (0..days)
            .map(|day| float(group.count_between(to - 24 * (day + 1), to - 24 * day)))
            .collect()
    };
    let (mut squares, mut free) = (0.0, 0.0);
    for week in [days(start, middle), days(middle, end)] {
        let mean = week.iter().sum::<f64>() / float(week.len().max(1));
        if mean > 0.0 && week.len() >= 2 {
            squares += week
                .iter()
                .map(|count| (count - mean).powi(2) / mean)
                .sum::<f64>();
            free += float(week.len() - 1);
        }
    }
    let found = if free > 0.0 { squares / free } else { 1.0 };
    if found > 1.0 {
        found * (1.0 + WIDENING / free)
    } else {
        1.0
    }
}

/// Hours in a row with far more events than the week before them lets expect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// When its first hour begins.
    pub from: Instant,
    /// The end of its last hour, or the time asked for.
    pub to: Instant,
    /// Events within it.
    pub count: u64,
    /// Events that its hours let expect.
    pub expected: f64,
}

/// An hour as it teaches what is usual.
#[derive(Clone, Copy, Debug)]
struct Usual {
    hour: i32,
    count: f64,
    /// What stands for the count within a day, so that a burst does not teach itself.
    fresh: f64,
}

impl Burst {
    /// How many times what was to be expected came.
    #[must_use]
    pub fn times(&self) -> f64 {
        float(self.count) / self.expected.max(f64::MIN_POSITIVE)
    }
}

/// The bursts of the last 7 days, in order, the latest eight.
#[must_use]
pub fn bursts(group: &Group, from: Instant, as_of: Instant) -> Vec<Burst> {
    let end = hour_of(as_of);
    let mut bursts: Vec<Burst> = Vec::new();
    // Events of a burst teach only after a day: until then, what they let expect takes their place.
    let mut usual: Vec<Usual> = Vec::with_capacity(group.hours.len());
    for (hour, count) in group.hours.iter().filter(|(hour, _)| *hour <= end) {
        if *count < BURST_MIN_EVENTS {
            usual.push(Usual {
                hour: *hour,
                count: f64::from(*count),
                fresh: f64::from(*count),
            });
            continue;
        }
        let start = (hour - WEEK_HOURS).max(hour_of(from)).min(*hour);
        let first = usual.partition_point(|known| known.hour < start);
        let counts = usual.iter().skip(first).map(|known| {
            if hour - known.hour > LEARN_AFTER_HOURS {
                known.count
            } else {
                known.fresh
            }
        });
        let (sum, squares) = counts.fold((0.0, 0.0), |(sum, squares), count| {
            (sum + count, squares + count * count)
        });
        let observed = f64::from((hour - start).max(24));
        let mean = (sum + PRIOR_EVENTS) / observed;
        let clustering = (squares / (sum + PRIOR_EVENTS) - sum / observed).max(1.0);
        let is_burst = tail(*count, sum, observed, clustering) < BURST_TAIL;
        usual.push(Usual {
            hour: *hour,
            count: f64::from(*count),
            fresh: if is_burst { mean } else { f64::from(*count) },
        });
        if is_burst && *hour > end - WEEK_HOURS {
            extend(&mut bursts, *hour, *count, mean, as_of);
        }
    }
    let extra = bursts.len().saturating_sub(BURSTS_MAX);
    bursts.drain(..extra);
    bursts
}

/// The probability of so many or more in an hour, after `sum` in so many hours: negative binomial (gamma-Poisson), in units
/// of clusters.
fn tail(count: u32, sum: f64, hours: f64, clustering: f64) -> f64 {
    let (count, shape) = (
        f64::from(count) / clustering,
        sum / clustering + PRIOR_EVENTS,
    );
    // P(X >= x) = I_p(x, shape), p = 1 / (1 + hours): one hour among hours + 1.
    beta_reg(count.max(f64::MIN_POSITIVE), shape, 1.0 / (1.0 + hours))
}

fn extend(bursts: &mut Vec<Burst>, hour: i32, count: u32, expected: f64, as_of: Instant) {
    let from = Instant(i64::from(hour) * HOUR);
    let to = Instant((from.0 + HOUR).min(as_of.0 + SECOND));
    match bursts.last_mut().filter(|burst| burst.to == from) {
        Some(burst) => {
            burst.to = to;
            burst.count += u64::from(count);
            burst.expected += expected;
        }
        None => bursts.push(Burst {
            from,
            to,
            count: u64::from(count),
            expected,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::errors::group::Event;
    use crate::insights::input::DAY;
    use crate::insights::input::Severity;

    const NOW: Instant = Instant(30 * DAY);

    fn group(hours_ago: impl Iterator<Item = (i64, u32)>) -> Group {
        let event = |ago: i64| Event {
            at: Instant(NOW.0 - ago * HOUR),
            variant: 1,
            severity: Severity::Error,
            device: None,
        };
        let mut group = Group::new("DEVICE", None, &event(0));
        for (ago, count) in hours_ago {
            (0..count).for_each(|_| group.add(&event(ago)));
        }
        group
    }

    #[test]
    fn three_times_as_often_is_told() {
        let group = group((0..336).map(|ago| (ago, if ago < 168 { 3 } else { 1 })));
        let trend = trend(&group, Instant(0), NOW).unwrap();
        assert!(trend.ratio.low > 2.4 && trend.ratio.high < 3.7, "{trend:?}");
        assert!((trend.ratio.value - 3.0).abs() < 0.1);
    }

    #[test]
    fn clusters_widen_the_interval() {
        let even = trend(&group((0..336).map(|ago| (ago, 1))), Instant(0), NOW).unwrap();
        let clustered = trend(
            &group([(10, 84), (60, 84), (200, 84), (300, 84)].into_iter()),
            Instant(0),
            NOW,
        )
        .unwrap();
        assert!(
            clustered.ratio.high / clustered.ratio.low > 3.0 * even.ratio.high / even.ratio.low
        );
    }

    #[test]
    fn there_is_no_trend_without_a_day_before() {
        let group = group([(1, 5)].into_iter());
        assert_eq!(trend(&group, Instant(NOW.0 - 7 * DAY), NOW), None);
        assert!(trend(&group, Instant(NOW.0 - 9 * DAY), NOW).is_some());
    }

    #[test]
    fn nothing_is_not_a_number() {
        for group in [
            group(std::iter::empty()),
            group([(0, 1)].into_iter()),
            group([(200, 9_999)].into_iter()),
        ] {
            let ratio = trend(&group, Instant(0), NOW).unwrap().ratio;
            assert!(
                ratio.low.is_finite()
                    && ratio.high.is_finite()
                    && ratio.low <= ratio.value
                    && ratio.value <= ratio.high
            );
        }
        assert_eq!(ratio((1.0, 1.0), (0.0, 1.0), LEVEL), None);
        assert_eq!(
            ratio((f64::NAN, 1.0), (1.0, 1.0), LEVEL).map(|ratio| ratio.value.is_finite()),
            Some(true)
        );
    }

    #[test]
    fn a_burst_is_found_and_joined() {
        let found = bursts(
            &group((0..336).map(|ago| (ago, if (20..22).contains(&ago) { 30 } else { 1 }))),
            Instant(0),
            NOW,
        );
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].count, found[0].to.0 - found[0].from.0),
            (60, 2 * HOUR)
        );
    }

    #[test]
    fn a_steady_stream_has_no_bursts() {
        assert!(bursts(&group((0..336).map(|ago| (ago, 6))), Instant(0), NOW).is_empty());
        assert!(
            bursts(
                &group((0..336).filter(|ago| ago % 12 == 0).map(|ago| (ago, 40))),
                Instant(0),
                NOW
            )
            .is_empty()
        );
    }
}
