//! Health in 1 to 14 days: the trend of its resources, errors that fade, and the hazard of a failure.

use crate::event::Instant;
use crate::insights::input::DAY;
use crate::insights::input::Measure;
use crate::insights::number::float;
use crate::insights::shape::{Insight, Reason};

use crate::insights::risk::answer::{Context, evidence, stale, unknown};
use crate::insights::risk::features::{Facts, State};
use crate::insights::risk::fleet::Fleet;
use crate::insights::risk::health::{Factors, View, doubted, errors_factor, status, view};
use crate::insights::risk::model::{Horizon, Model};
use crate::insights::risk::signs::{Signs, signs};
use crate::insights::risk::slope::{Slope, slope};
use crate::insights::risk::track::is_percent;

/// The furthest day.
pub const DAYS: u8 = 14;
/// What a failed device's health is of its usual: the factor of ERROR with a part of a day down.
const FAILED_LEAVES: f64 = 0.3;
/// Percent from which a part of a whole is near its limit.
const NEAR_LIMIT: f64 = 85.0;
/// What a full one leaves.
const FULL_LEAVES: f64 = 0.3;
/// Days that the own healths are shrunk to the fleet's with.
const SHRINK_DAYS: f64 = 14.0;
/// The tail beyond each end of the interval.
const TAIL: f64 = 0.05;
/// How much of a drift is still there a day later: drifts last about two days.
const DRIFT_STAYS: f64 = 0.5;

/// Health in `days` days (1 to 14).
#[must_use]
pub fn read(
    state: &State,
    context: &Context<'_>,
    open: &Facts<'_>,
    as_of: Instant,
    days: u8,
) -> Insight {
    let state = state.with_open(open, as_of);
    let evidence = evidence(&state, as_of);
    if state.first.is_none_or(|first| first > as_of) {
        return unknown(evidence, as_of);
    }
    let days = days.clamp(1, DAYS);
    let signs = signs(&state, context.device, context.fleet, as_of);
    let shut = state.shut(Some(context.schedule), as_of);
    let [middle, dark, bright] = [View::Middle, View::Dark, View::Bright].map(|side| {
        let now = view(&state, (context.fleet, &shut), as_of, side);
        at(&state, context, &signs, &now, (days, side))
    });
    let expected = middle.mean();
    let low = dark.quantile(TAIL).min(expected);
    let high = bright.quantile(1.0 - TAIL).max(expected);
    let unfailed = Outlook {
        fails: 0.0,
        ..middle.clone()
    }
    .mean();
    let until = Instant(as_of.0 + i64::from(days) * DAY);
    let told = [
        (
            "trend",
            unfailed - 100.0,
            format!(
                "Without a failure its health on {} would be {:.0}, as its own last weeks and its fleet were, with the trend of its resources.",
                crate::insights::risk::words::clock(until, context.zone),
                unfailed
            ),
        ),
        (
            "hazard",
            expected - unfailed,
            format!(
                "The chance that it fails on that day is {:.1} %.",
                middle.fails * 100.0
            ),
        ),
    ];
    let reasons = told
        .into_iter()
        .map(|(factor, contribution, sentence)| Reason {
            factor,
            contribution,
            observed: None,
            expected: None,
            unit: Some("points"),
            sentence,
        });
    Insight {
        value: Some(expected),
        interval: Some(doubted(&state, as_of, (low, high))),
        evidence,
        status: status(&state, as_of),
        reasons: stale(&state, context.zone, as_of)
            .into_iter()
            .chain(reasons)
            .collect(),
        recommendations: Vec::new(),
        as_of,
    }
}

/// What may come: healths without a failure with their weights, which sum up to 1, and the chance of a failure.
#[derive(Clone, Debug)]
struct Outlook {
    usual: Vec<(f64, f64)>,
    fails: f64,
}

impl Outlook {
    fn mean(&self) -> f64 {
        let usual: f64 = self
            .usual
            .iter()
            .map(|(health, weight)| health * weight)
            .sum();
        usual * (1.0 - self.fails * (1.0 - FAILED_LEAVES))
    }

    fn quantile(&self, part: f64) -> f64 {
        let whole = self
            .usual
            .iter()
            .map(|(health, weight)| (*health, weight * (1.0 - self.fails)));
        let failed = self
            .usual
            .iter()
            .map(|(health, weight)| (health * FAILED_LEAVES, weight * self.fails));
        let mut all: Vec<(f64, f64)> = whole.chain(failed).collect();
        all.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut below = 0.0;
        let reached = all.iter().find(|(_, weight)| {
            below += weight;
            below >= part
        });
        reached.or(all.last()).map_or(0.0, |(health, _)| *health)
    }
}

fn at(
    state: &State,
    context: &Context<'_>,
    signs: &Signs,
    now: &Factors,
    (days, side): (u8, View),
) -> Outlook {
    let ahead = f64::from(days);
    let carried = resources_then(state, now, ahead, side)
        * fading(now.stability, ahead)
        * errors_then(now, days);
    let usual = usual(state, context.fleet)
        .into_iter()
        .map(|(health, weight)| (health * carried, weight));
    Outlook {
        usual: usual.collect(),
        fails: hazard_on(context.model, signs, days, side),
    }
}

/// The healths of the last weeks, the device's own with those of the fleet; 100 where there are none.
fn usual(state: &State, fleet: &Fleet) -> Vec<(f64, f64)> {
    let of_fleet = fleet.healths.iter().sum::<f64>();
    let own = float(state.healths.len());
    let shrink = if of_fleet > 0.0 { SHRINK_DAYS } else { 0.0 };
    let total = own + shrink;
    if total == 0.0 {
        return vec![(100.0, 1.0)];
    }
    let theirs = fleet
        .healths
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0.0);
    let theirs = theirs.map(|(health, count)| (float(health), shrink * count / of_fleet / total));
    state
        .healths
        .iter()
        .map(|health| (f64::from(*health), 1.0 / total))
        .chain(theirs)
        .collect()
}

/// The chance of failing on the n-th day from now: of the first by the 24 h hazard, of the next two by the 72 h hazard,
/// later by the rate of the fleet and the device.
fn hazard_on(model: &Model, signs: &Signs, days: u8, side: View) -> f64 {
    let pick = |horizon| {
        let risk = model.risk(signs, horizon);
        match side {
            View::Middle => risk.chance,
            View::Dark => risk.high,
            View::Bright => risk.low,
        }
    };
    match days {
        0 | 1 => pick(Horizon::Day),
        2 | 3 => {
            let (one, three) = (pick(Horizon::Day), pick(Horizon::ThreeDays));
            (1.0 - (1.0 - three.max(one)) / (1.0 - one).max(1e-9)).clamp(0.0, 1.0) / 2.0
        }
        _ => {
            let (failures, exposure) = model.rate;
            let shape = match side {
                View::Middle => failures,
                View::Dark => failures + 1.645 * failures.sqrt(),
                View::Bright => (failures - 1.645 * failures.sqrt()).max(0.0),
            };
            -(-shape / exposure * signs.device_ratio.exp()).exp_m1()
        }
    }
}

/// What the errors of today leave then: by the definition of health they count less on the next day, and no more later.
fn errors_then(now: &Factors, days: u8) -> f64 {
    let errors = &now.told.errors;
    if days > 1 {
        1.0
    } else {
        errors_factor(errors.expected, 0.0, errors.new)
    }
}

/// A factor that recovers by half a day.
fn fading(factor: f64, ahead: f64) -> f64 {
    1.0 - (1.0 - factor) * DRIFT_STAYS.powf(ahead)
}

/// What resources leave then: drifts fade, and what grows towards its limit goes on.
fn resources_then(state: &State, now: &Factors, ahead: f64, side: View) -> f64 {
    let limits = state
        .tracks
        .iter()
        .filter(|track| is_percent(track.measure))
        .map(|track| {
            let Some(slope) = slope(&track.daily_means()) else {
                return 1.0;
            };
            let then = line(&slope, ahead, side);
            1.0 - (1.0 - FULL_LEAVES) * ((then - NEAR_LIMIT) / (100.0 - NEAR_LIMIT)).clamp(0.0, 1.0)
        });
    fading(now.resources, ahead).min(limits.fold(1.0, f64::min))
}

fn line(slope: &Slope, ahead: f64, side: View) -> f64 {
    let change = match side {
        View::Middle => slope.middle,
        View::Dark => slope.high,
        View::Bright => slope.low,
    };
    slope.now + change * ahead
}

/// Days until the disk is full, by the middle of its slope and the ends of its interval; nothing where it does not grow.
#[must_use]
pub fn days_to_full(state: &State) -> Option<(f64, f64, Option<f64>)> {
    let disk = state
        .tracks
        .iter()
        .find(|track| track.measure == Measure::DiskPercent)?;
    let slope = slope(&disk.daily_means())?;
    let reach = |change: f64| (change > 0.0).then(|| ((100.0 - slope.now) / change).max(0.0));
    Some((reach(slope.middle)?, reach(slope.high)?, reach(slope.low)))
}

/// The mean squared error of forecasts and of a forecast that nothing changes, for the back-test.
#[must_use]
pub fn errors(pairs: &[(f64, f64, f64)]) -> Option<(f64, f64)> {
    let count = float(pairs.len());
    let of = |each: &dyn Fn(&(f64, f64, f64)) -> f64| pairs.iter().map(each).sum::<f64>() / count;
    (count > 0.0).then(|| {
        (
            of(&|(said, _, came)| (said - came).powi(2)),
            of(&|(_, now, came)| (now - came).powi(2)),
        )
    })
}
