//! How good the risk would have been: each answer from a model that was trained on the past alone.

use serde::{Deserialize, Serialize};

use crate::event::Instant;
use crate::insights::input::HOUR;
use crate::insights::number::float;

use crate::insights::risk::newton::{Observation, Prior, fit};

/// An answer and what came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// The hash of the device.
    pub device: u32,
    /// When it was asked.
    pub at: Instant,
    /// The chance that was answered.
    pub chance: f64,
    /// Whether it failed within the horizon.
    pub failed: bool,
    /// When it did.
    pub failure: Option<Instant>,
}

/// The figures of a back-test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backtest {
    /// Answers.
    pub answers: usize,
    /// Answers before a failure.
    pub positives: usize,
    /// The area under precision and recall (average precision; ties count as one step).
    pub pr_auc: Option<f64>,
    /// The area under the receiver operating characteristic.
    pub roc_auc: Option<f64>,
    /// The mean squared error of the chance (Brier 1950).
    pub brier: f64,
    /// What the rate of the sample itself would have had.
    pub brier_of_rate: f64,
    /// The slope of the log-odds in a logistic regression of what came (Cox 1958); 1 is calibrated.
    pub slope: Option<f64>,
    /// The intercept with that slope.
    pub intercept: Option<f64>,
    /// By tenths of the answers: mean chance, the part that failed, answers.
    pub deciles: Vec<(f64, f64, usize)>,
    /// Of the failures, how many hours before an answer of one half or more held until it; the median.
    pub lead_hours: Option<f64>,
    /// The part of failures with such an answer before.
    pub caught: Option<f64>,
}

/// The chance from which on a device counts as warned of.
pub const WARNING: f64 = 0.5;

impl Backtest {
    /// Of answers in any order.
    #[must_use]
    pub fn of(answers: &[Scored]) -> Self {
        let mut sorted = answers.to_vec();
        sorted.sort_by(|one, other| other.chance.total_cmp(&one.chance));
        let positives = sorted.iter().filter(|one| one.failed).count();
        let rate = float(positives) / float(answers.len().max(1));
        let calibration = calibrate(&sorted);
        let (lead_hours, caught) = lead(answers);
        let square = |one: &Scored| (one.chance - f64::from(u8::from(one.failed))).powi(2);
        Self {
            answers: answers.len(),
            positives,
            pr_auc: average_precision(&sorted),
            roc_auc: roc_auc(&sorted),
            brier: sorted.iter().map(square).sum::<f64>() / float(answers.len().max(1)),
            brier_of_rate: rate * (1.0 - rate),
            slope: calibration.map(|(_, slope)| slope),
            intercept: calibration.map(|(intercept, _)| intercept),
            deciles: deciles(&sorted),
            lead_hours,
            caught,
        }
    }
}

/// Average precision of answers sorted from the highest chance.
fn average_precision(sorted: &[Scored]) -> Option<f64> {
    let positives = float(sorted.iter().filter(|one| one.failed).count());
    let (mut hits, mut seen, mut area) = (0.0, 0.0, 0.0);
    for tied in sorted.chunk_by(|one, next| one.chance.total_cmp(&next.chance).is_eq()) {
        let new = float(tied.iter().filter(|one| one.failed).count());
        hits += new;
        seen += float(tied.len());
        area += new / positives * hits / seen;
    }
    (positives > 0.0).then_some(area)
}

/// The chance that a failing one ranks above another, ties by half.
fn roc_auc(sorted: &[Scored]) -> Option<f64> {
    let positives = float(sorted.iter().filter(|one| one.failed).count());
    let negatives = float(sorted.len()) - positives;
    let (mut below, mut wins) = (negatives, 0.0);
    for tied in sorted.chunk_by(|one, next| one.chance.total_cmp(&next.chance).is_eq()) {
        let hits = float(tied.iter().filter(|one| one.failed).count());
        let misses = float(tied.len()) - hits;
        below -= misses;
        wins += hits * (below + 0.5 * misses);
    }
    (positives > 0.0 && negatives > 0.0).then(|| wins / (positives * negatives))
}

fn calibrate(sorted: &[Scored]) -> Option<(f64, f64)> {
    let both = sorted.iter().any(|one| one.failed) && sorted.iter().any(|one| !one.failed);
    let spread = sorted
        .first()
        .zip(sorted.last())
        .is_some_and(|(most, least)| most.chance > least.chance);
    if !both || !spread {
        return None;
    }
    let observations: Vec<Observation> = sorted
        .iter()
        .map(|one| {
            let chance = one.chance.clamp(1e-9, 1.0 - 1e-9);
            let odds = crate::insights::risk::model::odds(chance);
            Observation {
                row: vec![(0, 1.0), (1, odds)],
                happened: one.failed,
                weight: 1.0,
            }
        })
        .collect();
    let fit = fit(
        &observations,
        &[
            Prior {
                mean: 0.0,
                precision: 1e-6,
            },
            Prior {
                mean: 1.0,
                precision: 1e-6,
            },
        ],
    );
    let (intercept, slope) = (fit.beta.first().copied()?, fit.beta.get(1).copied()?);
    (intercept.is_finite() && slope.is_finite()).then_some((intercept, slope))
}

fn deciles(sorted: &[Scored]) -> Vec<(f64, f64, usize)> {
    let size = sorted.len().div_ceil(10).max(1);
    let each = sorted.rchunks(size);
    each.map(|part| {
        let count = float(part.len());
        let chance = part.iter().map(|one| one.chance).sum::<f64>() / count;
        let failed = float(part.iter().filter(|one| one.failed).count()) / count;
        (chance, failed, part.len())
    })
    .collect()
}

/// For each failure, the hours before it from which on each answer warned.
fn lead(answers: &[Scored]) -> (Option<f64>, Option<f64>) {
    let mut before: Vec<&Scored> = answers.iter().filter(|one| one.failed).collect();
    before.sort_by_key(|one| (one.device, one.failure, one.at));
    let mut leads = Vec::new();
    let mut failures = 0.0;
    for one in before.chunk_by(|one, next| (one.device, one.failure) == (next.device, next.failure))
    {
        failures += 1.0;
        let held = one
            .iter()
            .rev()
            .take_while(|answer| answer.chance >= WARNING)
            .last();
        let hours = held.and_then(|answer| {
            answer
                .failure
                .map(|failure| float(failure.0 - answer.at.0) / float(HOUR))
        });
        leads.extend(hours);
    }
    let caught = (failures > 0.0).then(|| float(leads.len()) / failures);
    (crate::insights::risk::fleet::median(&mut leads), caught)
}
