//! What an effect means: better, worse, no material change, or not yet known.

use crate::insights::input::Measure;
use crate::insights::number::float;

use crate::insights::impact::effect::{AFTER_DAYS, Estimate};

/// Effects within this share are of no consequence.
pub const MATERIAL: f64 = 0.05;
/// Of changes without effect at most this share is claimed to have one, over all measures together.
pub const SIGNIFICANCE: f64 = 0.05;

/// What is compared before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Series {
    /// The daily level of a measure.
    Measure(Measure),
    /// Errors a day.
    Errors,
}

impl Series {
    /// As the API names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Measure(measure) => measure.name(),
            Self::Errors => "errorCount",
        }
    }

    /// The unit of its daily level.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Measure(
                Measure::CpuPercent
                | Measure::MemoryPercent
                | Measure::DiskPercent
                | Measure::ErrorRatePercent,
            ) => "percent points",
            Self::Measure(Measure::NetworkLatencyMs) => "ms",
            Self::Measure(Measure::TransactionCount) => "transactions a day",
            Self::Measure(Measure::TransactionVolume) => "of volume a day",
            Self::Measure(Measure::ActiveConnections) => "connections",
            Self::Measure(Measure::QueueDepth) => "waiting",
            Self::Measure(Measure::UptimeSeconds) => "s",
            Self::Errors => "errors a day",
        }
    }

    /// Which way is better.
    #[must_use]
    pub const fn better(self) -> Better {
        match self {
            Self::Errors => Better::Lower,
            Self::Measure(measure) => match measure {
                Measure::TransactionCount | Measure::TransactionVolume => Better::Higher,
                Measure::ActiveConnections | Measure::UptimeSeconds => Better::Neither,
                Measure::CpuPercent
                | Measure::MemoryPercent
                | Measure::DiskPercent
                | Measure::NetworkLatencyMs
                | Measure::ErrorRatePercent
                | Measure::QueueDepth => Better::Lower,
            },
        }
    }
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Less is better.
    Lower,
    /// More is better.
    Higher,
    /// It is neither good nor bad: it is told, but not judged.
    Neither,
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It made the measure better.
    Improved,
    /// It made the measure worse.
    Worse,
    /// The whole interval lies within ±5 %.
    NoMaterialChange,
    /// Neither is known.
    Unclear,
}

impl Verdict {
    /// The word of the API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Improved => "IMPROVED",
            Self::Worse => "WORSE",
            Self::NoMaterialChange => "NO_MATERIAL_CHANGE",
            Self::Unclear => "UNCLEAR",
        }
    }
}

/// Holm's p-values (1979): adjusted for how many were looked at, in the order given.
#[must_use]
pub fn holm(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<(usize, f64)> = values.iter().copied().enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut highest = 0.0_f64;
    let mut adjusted: Vec<(usize, f64)> = order
        .iter()
        .zip((1..=values.len()).rev())
        .map(|(&(index, p), left)| {
            highest = highest.max((p * float(left)).min(1.0));
            (index, highest)
        })
        .collect();
    adjusted.sort_by_key(|(index, _)| *index);
    adjusted.into_iter().map(|(_, p)| p).collect()
}

/// The verdict on one measure, by Holm's p-value. `None` where neither way is better.
#[must_use]
pub fn verdict(series: Series, estimate: &Estimate, adjusted: f64) -> Option<Verdict> {
    let sign = match series.better() {
        Better::Neither => return None,
        Better::Lower => -1.0,
        Better::Higher => 1.0,
    };
    Some(if is_immaterial(estimate) {
        Verdict::NoMaterialChange
    } else if adjusted >= SIGNIFICANCE {
        Verdict::Unclear
    } else if sign * estimate.relative > 0.0 {
        Verdict::Improved
    } else {
        Verdict::Worse
    })
}

fn is_immaterial(estimate: &Estimate) -> bool {
    estimate.low > -MATERIAL && estimate.high < MATERIAL
}

/// The verdict on the change as a whole. What got worse is said before what got better.
#[must_use]
pub fn overall(verdicts: &[Verdict]) -> Verdict {
    let has = |wanted| verdicts.contains(&wanted);
    if has(Verdict::Worse) {
        Verdict::Worse
    } else if has(Verdict::Improved) {
        Verdict::Improved
    } else if verdicts.is_empty() || has(Verdict::Unclear) {
        Verdict::Unclear
    } else {
        Verdict::NoMaterialChange
    }
}

/// After how many days an unclear effect is expected to be known: when the interval, which narrows
/// as days come, leaves zero or lies within ±5 %; at the latest when the last day is in.
/// `None` when all days are in.
#[must_use]
pub fn days_until_known(estimate: &Estimate) -> Option<i32> {
    let have = i32::try_from(estimate.days_after).unwrap_or(AFTER_DAYS);
    let noise = |after: i32| (1.0 / float(estimate.days_before) + 1.0 / f64::from(after)).sqrt();
    let value = estimate.relative.abs();
    let is_known = |after: &i32| {
        let half_width = estimate.half_width() * noise(*after) / noise(have.max(1));
        value > half_width || value + half_width < MATERIAL
    };
    let further = (have + 1)..=AFTER_DAYS;
    further.clone().find(is_known).or(further.last())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::impact::effect::Method;

    fn estimate(relative: f64, half_width: f64, days_after: usize) -> Estimate {
        Estimate {
            relative,
            low: relative - half_width,
            high: relative + half_width,
            p: 0.5,
            level_before: 10.0,
            days_before: 28,
            days_after,
            controls: 3,
            method: Method::Logarithms,
        }
    }

    #[test]
    fn holm_adjusts_in_steps_and_keeps_the_order() {
        let adjusted = holm(&[0.04, 0.01, 0.03]);
        let expected = [0.06, 0.03, 0.06];
        assert!(
            adjusted
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-12)
        );
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn less_latency_is_better_and_fewer_transactions_are_worse() {
        let less = estimate(-0.2, 0.1, 14);
        let latency = Series::Measure(Measure::NetworkLatencyMs);
        let sales = Series::Measure(Measure::TransactionCount);
        assert_eq!(verdict(latency, &less, 0.01), Some(Verdict::Improved));
        assert_eq!(verdict(sales, &less, 0.01), Some(Verdict::Worse));
        assert_eq!(verdict(sales, &less, 0.2), Some(Verdict::Unclear));
        assert_eq!(
            verdict(Series::Measure(Measure::ActiveConnections), &less, 0.01),
            None
        );
    }

    #[test]
    fn a_small_effect_is_immaterial_even_when_it_is_sure() {
        let cpu = Series::Measure(Measure::CpuPercent);
        assert_eq!(
            verdict(cpu, &estimate(0.02, 0.01, 14), 0.001),
            Some(Verdict::NoMaterialChange)
        );
    }

    #[test]
    fn what_got_worse_decides() {
        assert_eq!(
            overall(&[Verdict::Improved, Verdict::Worse]),
            Verdict::Worse
        );
        assert_eq!(
            overall(&[Verdict::NoMaterialChange, Verdict::Unclear]),
            Verdict::Unclear
        );
        assert_eq!(overall(&[]), Verdict::Unclear);
    }

    #[test]
    fn an_unclear_effect_is_known_at_the_latest_when_all_days_are_in() {
        assert_eq!(days_until_known(&estimate(0.1, 0.11, 5)), Some(7));
        assert_eq!(days_until_known(&estimate(0.06, 0.5, 5)), Some(14));
        assert_eq!(days_until_known(&estimate(0.06, 0.5, 14)), None);
    }
}
