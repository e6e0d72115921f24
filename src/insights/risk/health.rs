//! Health from 0 to 100: the product of four survival factors, each between 0 and 1.
//!
//! Worse evidence never raises it: each factor falls, or stays, with each of its own signs, and shares none.

use crate::event::Instant;
use crate::insights::input::{DAY, State as Reported};
use crate::insights::shape::{Insight, Interval, Reason, Status, weightiest_first};

use crate::insights::reliability::bounds::gamma_quantile;
use crate::insights::risk::answer::{Context, evidence, stale, unknown};
use crate::insights::risk::columns::hinge;
use crate::insights::risk::entries::weighted;
use crate::insights::risk::features::{Facts, State, days};
use crate::insights::risk::fleet::Fleet;
use crate::insights::risk::forecast::days_to_full;
use crate::insights::risk::points::{
    Down, Errors, Told, Worst, errors_told, freshness_told, resources_told, stability_told,
};
use crate::insights::risk::shut::Shut;
use crate::insights::risk::track::{Track, is_percent};

/// What a drift of five spreads leaves: half, so that it alone is a warning and no verdict.
const DRIFT_LEAVES: f64 = 0.5;
/// Percent from which a part that can be full is near its limit, and what a full one leaves.
const NEAR_LIMIT: f64 = 85.0;
const LIMIT: f64 = 100.0;
const LIMIT_LEAVES: f64 = 0.3;
/// Days to full from which a disk counts, and what one that is full tomorrow leaves.
const FULL_DAYS: f64 = 14.0;
const FULL_LEAVES: f64 = 0.3;
/// What one error above what is usual takes where errors are rare, or one spread where they are not: 1/(1 + it).
const ERROR_TAKES: f64 = 0.7;
/// What an error of the 24 hours before counts: they fade.
pub(crate) const ERROR_BEFORE: f64 = 0.3;
/// Device days that the expectation of errors is shrunk to the fleet with, where the fleet has so many.
const SHRINK_DAYS: f64 = 10.0;
/// Errors come in bursts, one trouble telling of itself again and again: their sum over a day scatters with so many
/// times the variance of single ones.
const BURST: f64 = 4.0;
/// The standard normal quantile of the days of which the errors are usual: four of five.
const USUAL_QUANTILE: f64 = 0.841_621_2;
/// What being down leaves, and what each time leaves.
const ERROR_LEAVES: f64 = 0.3;
const OFFLINE_LEAVES: f64 = 0.5;
const FLAP_LEAVES: f64 = 0.9;
/// What a day without any data leaves.
const SILENT_LEAVES: f64 = 0.4;
/// Days in which a device is learned to be known, and how far what is not known yet may move either end of the interval
/// towards nothing, or towards full health: half.
const DAYS_TO_KNOW: f64 = 3.0;
const DOUBT: f64 = 0.5;
/// The level of the interval, as the standard normal quantile and the tail.
const QUANTILE: f64 = 1.644_853_6;
const TAIL: f64 = 0.05;

/// The four factors and what they come of.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// Drift, limits, days to full.
    pub resources: f64,
    /// Errors against expectation.
    pub errors: f64,
    /// Downtime and flapping.
    pub stability: f64,
    /// Coverage.
    pub freshness: f64,
    /// What the sentences tell.
    pub told: Told,
}

/// How the doubt of the evidence is taken: at its middle, or at an end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum View {
    Middle,
    Dark,
    Bright,
}

impl Factors {
    /// Their product as health.
    #[must_use]
    pub fn health(&self) -> f64 {
        100.0 * self.resources * self.errors * self.stability * self.freshness
    }
}

/// The factors as they are now.
#[must_use]
pub fn factors(state: &State, fleet: &Fleet, shut: &Shut, as_of: Instant) -> Factors {
    view(state, (fleet, shut), as_of, View::Middle)
}

pub(crate) fn view(
    state: &State,
    (fleet, shut): (&Fleet, &Shut),
    as_of: Instant,
    view: View,
) -> Factors {
    let mut told = Told {
        is_measured: state.coverage(as_of) > 0.0,
        ..Told::default()
    };
    let worst = state.tracks.iter();
    let worst = worst.map(|track| track_left(track, fleet, as_of, view));
    told.worst = worst
        .filter(|worst| worst.left < 1.0)
        .min_by(|one, other| one.left.total_cmp(&other.left));
    let mut resources = told.worst.map_or(1.0, |worst| worst.left);
    let surely = days_to_full(state).filter(|(_, _, latest)| latest.is_some());
    told.full_days = surely.map(|(days, _, _)| days);
    resources *= told
        .full_days
        .map_or(1.0, |days| left(FULL_LEAVES, 1.0 - days / FULL_DAYS));
    let errors = errors_left(state, fleet, as_of, view, &mut told);
    let stability = stability_left(state, shut, as_of, &mut told);
    (told.coverage, told.hours_off) = state.coverage_but(as_of, shut);
    let measured = state.last_measured.is_some();
    let freshness = if measured {
        left(SILENT_LEAVES, 1.0 - told.coverage)
    } else {
        SILENT_LEAVES
    };
    Factors {
        resources,
        errors,
        stability,
        freshness,
        told,
    }
}

/// From 1 to `leaves` as `part` goes from 0 to 1.
fn left(leaves: f64, part: f64) -> f64 {
    1.0 - (1.0 - leaves) * part.clamp(0.0, 1.0)
}

/// What one measure leaves: by its drift from the own level and, for a part of a whole, by its nearness to the limit.
fn track_left(track: &Track, fleet: &Fleet, as_of: Instant, view: View) -> Worst {
    let norm = fleet.norm(track.measure);
    let shift = match view {
        View::Middle => 0.0,
        View::Dark => QUANTILE,
        View::Bright => -QUANTILE,
    };
    let drift = track.drift(as_of, None, norm).map(|drift| drift.day);
    let drifted = drift.map_or(0.0, |drift| hinge((drift.abs() + shift).max(0.0)));
    let drift_left = left(DRIFT_LEAVES, drifted);
    let mut worst = Worst {
        measure: track.measure,
        spreads: drift.unwrap_or(0.0),
        drift_left,
        peak: 0.0,
        left: drift_left,
    };
    if is_percent(track.measure) {
        worst.peak = track.peak(as_of).unwrap_or(0.0);
        let own = track
            .own_p95(norm)
            .unwrap_or(NEAR_LIMIT)
            .clamp(NEAR_LIMIT, LIMIT - 1.0);
        let near = (worst.peak - NEAR_LIMIT) / (LIMIT - NEAR_LIMIT);
        let over = (worst.peak - own) / (LIMIT - own);
        worst.left *= left(
            LIMIT_LEAVES,
            f64::midpoint(near.clamp(0.0, 1.0), over.clamp(0.0, 1.0)),
        );
    }
    worst
}

fn errors_left(state: &State, fleet: &Fleet, as_of: Instant, view: View, told: &mut Told) -> f64 {
    let day = Instant(as_of.0 - DAY);
    let new: f64 = state.errors_between(day, as_of).map(weighted).sum();
    let before: f64 = state
        .errors_between(Instant(day.0 - DAY), day)
        .map(weighted)
        .sum();
    let shrink = SHRINK_DAYS.min(fleet.error_trust());
    let shape = state.error_weight + fleet.error_rate() * shrink;
    let rate = state.error_days + shrink;
    let expected = match view {
        View::Middle => shape / rate,
        View::Dark => gamma_quantile(shape, rate, TAIL),
        View::Bright => gamma_quantile(shape, rate, 1.0 - TAIL),
    };
    // a sum of nothing is less than zero by its sign
    let errors = Errors {
        new: new + 0.0,
        before: before + 0.0,
        expected,
        usual_most: usual_most(expected),
    };
    told.errors = errors;
    errors_factor(expected, errors.new, errors.before)
}

/// The most errors that are usual on a day, by how many are expected: the upper end of four days of five, by Wilson and
/// Hilferty (1931) for a gamma distribution whose variance is `BURST` times its mean, and no less than expected. It grows
/// with what is expected.
fn usual_most(expected: f64) -> f64 {
    let step = BURST / (9.0 * expected.max(f64::MIN_POSITIVE));
    let cube_root = 1.0 - step + USUAL_QUANTILE * step.sqrt();
    expected * cube_root.powi(3).max(1.0)
}

/// What errors beyond what is usual leave: of the last 24 hours, and of the 24 hours before them. Where more than one in
/// some days is expected, it is counted in spreads of days: twice as many as usual say more where they are rare.
pub(crate) fn errors_factor(expected: f64, new: f64, before: f64) -> f64 {
    let usual = usual_most(expected);
    let spread = (BURST * expected).sqrt().max(1.0);
    let beyond = |errors: f64| (errors - usual).max(0.0) / spread;
    1.0 / (1.0 + ERROR_TAKES * (beyond(new) + ERROR_BEFORE * beyond(before)))
}

fn stability_left(state: &State, shut: &Shut, as_of: Instant, told: &mut Told) -> f64 {
    let day = state.down_but((Instant(as_of.0 - DAY), as_of), shut);
    let week = state.down_but((Instant(as_of.0 - 7 * DAY), as_of), shut);
    let current = state.current().map(|entered| entered.to);
    let is_off = state.is_off(shut, as_of);
    told.down = Down {
        day: day.days,
        week: week.days,
        times: day.times,
        now: current,
        is_off,
    };
    let now = match current {
        Some(Reported::Error) => ERROR_LEAVES,
        Some(Reported::Offline) if !is_off => OFFLINE_LEAVES,
        Some(_) | None => 1.0,
    };
    let flaps = FLAP_LEAVES.powf(f64::from(day.times));
    now * flaps * left(OFFLINE_LEAVES, day.share) * left(OFFLINE_LEAVES, week.share)
}

/// Health at `as_of`.
#[must_use]
pub fn read(state: &State, context: &Context<'_>, open: &Facts<'_>, as_of: Instant) -> Insight {
    let state = state.with_open(open, as_of);
    let evidence = evidence(&state, as_of);
    if !state.is_known(as_of) {
        return unknown(evidence, as_of);
    }
    let shut = state.shut(Some(context.schedule), as_of);
    let around = (context.fleet, &shut);
    let middle = view(&state, around, as_of, View::Middle);
    let dark = view(&state, around, as_of, View::Dark).health();
    let bright = view(&state, around, as_of, View::Bright).health();
    let value = middle.health();
    Insight {
        value: Some(value),
        interval: Some(doubted(&state, as_of, (dark.min(value), bright.max(value)))),
        evidence,
        status: status(&state, as_of),
        reasons: stale(&state, context.zone, as_of)
            .into_iter()
            .chain(reasons(&middle))
            .collect(),
        recommendations: Vec::new(),
        as_of,
    }
}

/// The interval about what is known, wider the less time there was to see, and the longer nothing was seen: what did not
/// happen in an hour says little, and what was last week as little of today.
pub(crate) fn doubted(state: &State, as_of: Instant, (low, high): (f64, f64)) -> Interval {
    let known = state.first.map_or(0.0, |first| days(first, as_of).max(0.0));
    let known = if state.last_measured.is_some() {
        known
    } else {
        0.0
    };
    let silent = state
        .last_measured
        .map_or(0.0, |last| (days(last, as_of) - 1.0).max(0.0));
    let unknown = (1.0 - known / DAYS_TO_KNOW).max(0.0) + silent / DAYS_TO_KNOW;
    let doubt = DOUBT * unknown.min(1.0);
    Interval {
        low: low * (1.0 - doubt),
        high: high + (100.0 - high).max(0.0) * doubt,
        level: 0.9,
    }
}

pub(crate) fn status(state: &State, as_of: Instant) -> Status {
    match (state.last_measured, state.first) {
        (Some(last), _) if as_of.0 - last.0 > DAY => Status::Stale,
        (Some(_), Some(first)) if as_of.0 - first.0 >= 3 * DAY => Status::Ok,
        _ => Status::Learning,
    }
}

/// Points that each factor takes of what the ones before it left; they sum up to 100 minus health.
fn reasons(factors: &Factors) -> Vec<Reason> {
    let told = &factors.told;
    let each = [
        (
            "resources",
            factors.resources,
            resources_told(told, factors.resources),
        ),
        (
            "errors",
            factors.errors,
            errors_told(&told.errors, factors.errors),
        ),
        (
            "stability",
            factors.stability,
            stability_told(&told.down, factors.stability),
        ),
        (
            "freshness",
            factors.freshness,
            freshness_told(told, factors.freshness),
        ),
    ];
    let mut rest = 100.0;
    let reasons = each.into_iter().map(|(factor, part, sentence)| {
        let before = rest;
        rest *= part;
        Reason {
            factor,
            // nothing is not less than nothing
            contribution: rest - before + 0.0,
            observed: Some(part),
            expected: Some(1.0),
            unit: Some("survival factor"),
            sentence,
        }
    });
    weightiest_first(reasons.collect())
}
