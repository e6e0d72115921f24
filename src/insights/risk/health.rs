//! Health from 0 to 100: the product of four survival factors, each between 0 and 1.
//!
//! Worse evidence never raises it: each factor falls, or stays, with each of its own signs, and shares none.

use crate::event::Instant;
use crate::insights::input::{DAY, HOUR};
use crate::insights::input::{Measure, State as Reported};
use crate::insights::number::float;
use crate::insights::shape::{Insight, Interval, Reason, Status, weightiest_first};

use crate::insights::reliability::bounds::gamma_quantile;
use crate::insights::risk::answer::{Context, evidence, stale, unknown};
use crate::insights::risk::columns::hinge;
use crate::insights::risk::entries::weighted;
use crate::insights::risk::features::{Facts, State};
use crate::insights::risk::fleet::Fleet;
use crate::insights::risk::forecast::days_to_full;
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
/// What one error above expectation takes: 1/(1 + it).
const ERROR_TAKES: f64 = 0.7;
/// What an error of the 24 hours before counts: they fade.
const ERROR_BEFORE: f64 = 0.3;
/// Device days that the expectation of errors is shrunk to the fleet with.
const SHRINK_DAYS: f64 = 10.0;
/// What being down leaves, and what each time leaves.
const ERROR_LEAVES: f64 = 0.3;
const OFFLINE_LEAVES: f64 = 0.5;
const FLAP_LEAVES: f64 = 0.9;
/// What a day without any data leaves.
const SILENT_LEAVES: f64 = 0.4;
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

/// What the sentences tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Told {
    /// The measure that takes most, with what is left.
    pub worst: Option<(Measure, f64)>,
    /// Days until the disk is full.
    pub full_days: Option<f64>,
    /// Weighted errors, and how many were expected.
    pub errors: (f64, f64),
    /// The part of the day down, and how often.
    pub down: (f64, u32),
    /// The part of the day with data.
    pub coverage: f64,
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
pub fn factors(state: &State, fleet: &Fleet, as_of: Instant) -> Factors {
    view(state, fleet, as_of, View::Middle)
}

pub(crate) fn view(state: &State, fleet: &Fleet, as_of: Instant, view: View) -> Factors {
    let mut told = Told::default();
    let mut resources = 1.0;
    let mut least = 1.0;
    for track in &state.tracks {
        let left = track_left(track, fleet, as_of, view);
        if left < least {
            told.worst = Some((track.measure, left));
        }
        least = f64::min(least, left);
    }
    resources *= least;
    let surely = days_to_full(state).filter(|(_, _, latest)| latest.is_some());
    told.full_days = surely.map(|(days, _, _)| days);
    resources *= told
        .full_days
        .map_or(1.0, |days| left(FULL_LEAVES, 1.0 - days / FULL_DAYS));
    let errors = errors_left(state, fleet, as_of, view, &mut told);
    let stability = stability_left(state, as_of, &mut told);
    told.coverage = state.coverage(as_of);
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
fn track_left(track: &Track, fleet: &Fleet, as_of: Instant, view: View) -> f64 {
    let norm = fleet.norm(track.measure);
    let shift = match view {
        View::Middle => 0.0,
        View::Dark => QUANTILE,
        View::Bright => -QUANTILE,
    };
    let drift = track
        .drift(as_of, None, norm)
        .map_or(0.0, |drift| hinge((drift.day.abs() + shift).max(0.0)));
    let mut all = left(DRIFT_LEAVES, drift);
    if is_percent(track.measure) {
        let peak = track.peak(as_of).unwrap_or(0.0);
        let own = track
            .own_p95(norm)
            .unwrap_or(NEAR_LIMIT)
            .clamp(NEAR_LIMIT, LIMIT - 1.0);
        let near = (peak - NEAR_LIMIT) / (LIMIT - NEAR_LIMIT);
        let over = (peak - own) / (LIMIT - own);
        all *= left(
            LIMIT_LEAVES,
            f64::midpoint(near.clamp(0.0, 1.0), over.clamp(0.0, 1.0)),
        );
    }
    all
}

fn errors_left(state: &State, fleet: &Fleet, as_of: Instant, view: View, told: &mut Told) -> f64 {
    let day = Instant(as_of.0 - DAY);
    let new: f64 = state.errors_between(day, as_of).map(weighted).sum();
    let old: f64 = state
        .errors_between(Instant(day.0 - DAY), day)
        .map(weighted)
        .sum();
    let shape = state.error_weight + fleet.error_rate() * SHRINK_DAYS;
    let rate = state.error_days + SHRINK_DAYS;
    let expected = match view {
        View::Middle => shape / rate,
        View::Dark => gamma_quantile(shape, rate, TAIL),
        View::Bright => gamma_quantile(shape, rate, 1.0 - TAIL),
    };
    told.errors = (new, expected);
    errors_factor((new - expected).max(0.0), (old - expected).max(0.0))
}

/// What errors above expectation leave: of the last 24 hours, and of the 24 hours before them.
pub(crate) fn errors_factor(new: f64, before: f64) -> f64 {
    1.0 / (1.0 + ERROR_TAKES * (new + ERROR_BEFORE * before))
}

fn stability_left(state: &State, as_of: Instant, told: &mut Told) -> f64 {
    told.down = state.down(Instant(as_of.0 - DAY), as_of);
    let (week, _) = state.down(Instant(as_of.0 - 7 * DAY), as_of);
    let now = match state.current().map(|entered| entered.to) {
        Some(Reported::Error) => ERROR_LEAVES,
        Some(Reported::Offline) => OFFLINE_LEAVES,
        Some(Reported::Online | Reported::Maintenance | Reported::Unknown) | None => 1.0,
    };
    let flaps = FLAP_LEAVES.powf(f64::from(told.down.1));
    now * flaps * left(OFFLINE_LEAVES, told.down.0) * left(OFFLINE_LEAVES, week)
}

/// Health at `as_of`.
#[must_use]
pub fn read(state: &State, context: &Context<'_>, open: &Facts<'_>, as_of: Instant) -> Insight {
    let state = state.with_open(open, as_of);
    let evidence = evidence(&state, as_of);
    if state.first.is_none_or(|first| first > as_of) {
        return unknown(evidence, as_of);
    }
    let middle = factors(&state, context.fleet, as_of);
    let dark = view(&state, context.fleet, as_of, View::Dark).health();
    let bright = view(&state, context.fleet, as_of, View::Bright).health();
    let value = middle.health();
    Insight {
        value: Some(value),
        interval: Some(Interval {
            low: dark.min(value),
            high: bright.max(value),
            level: 0.9,
        }),
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
        ("resources", factors.resources, resources_told(told)),
        ("errors", factors.errors, errors_told(told)),
        ("stability", factors.stability, stability_told(told)),
        ("freshness", factors.freshness, freshness_told(told)),
    ];
    let mut rest = 100.0;
    let reasons = each.into_iter().map(|(factor, part, sentence)| {
        let before = rest;
        rest *= part;
        Reason {
            factor,
            contribution: rest - before,
            observed: Some(part),
            expected: Some(1.0),
            unit: Some("survival factor"),
            sentence,
        }
    });
    weightiest_first(reasons.collect())
}

fn resources_told(told: &Told) -> String {
    let full = told.full_days.filter(|days| *days < FULL_DAYS);
    let full =
        full.map(|days| format!(" The disk is full in {days:.0} days if it goes on like this."));
    let worst = told.worst.map_or(
        "All measures are near their own level.".to_owned(),
        |(measure, left)| {
            format!(
                "{} is away from its own level or near its limit and leaves {:.0} %.",
                measure.name(),
                left * 100.0
            )
        },
    );
    worst + full.as_deref().unwrap_or("")
}

fn errors_told(told: &Told) -> String {
    let (seen, expected) = told.errors;
    format!(
        "Errors of the last 24 hours weigh {seen:.1}, expected were {expected:.1} (an INFO weighs 0, a WARNING 0.5, an \
         ERROR 1, a CRITICAL 2)."
    )
}

fn stability_told(told: &Told) -> String {
    let (part, times) = told.down;
    format!(
        "Down {:.1} of the last 24 hours, {}.",
        part * float(DAY) / float(HOUR),
        crate::insights::risk::words::plural(f64::from(times), "time")
    )
}

fn freshness_told(told: &Told) -> String {
    format!(
        "Metrics came in {:.0} % of the last 24 hours.",
        told.coverage * 100.0
    )
}
