//! Failure risk as an insight: the chance, its interval, and what it comes of in plain sentences.

use crate::event::Instant;
use crate::insights::input::DAY;
use crate::insights::input::Device;
use crate::insights::jobs::schedule::Schedule;
use crate::insights::shape::{Evidence, Insight, Interval, Reason, Recommendation, Status};

use crate::insights::risk::columns::{Part, hinge};
use crate::insights::risk::features::{Facts, State, days};
use crate::insights::risk::fleet::Fleet;
use crate::insights::risk::model::{FAILURES_ENOUGH, FAILURES_NEEDED, Horizon, LEVEL, Model, Risk};
use crate::insights::risk::signs::{Signs, signs};
use crate::insights::risk::told;
use crate::insights::risk::words::{clock, plural};

/// Days of measures from which on a device has a level of its own.
const DAYS_OF_OWN: f64 = 3.0;
/// The chance from which on something should be done.
const ACT_FROM: f64 = 0.3;

/// What is known around a device when it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Who it is.
    pub device: &'a Device,
    /// The zone of its site.
    pub zone: chrono_tz::Tz,
    /// The hours that its site filed.
    pub schedule: &'a Schedule,
    /// Its fleet.
    pub fleet: &'a Fleet,
    /// The model in use.
    pub model: &'a Model,
}

/// The chance that the device goes to ERROR within the horizon.
#[must_use]
pub fn read(
    state: &State,
    context: &Context<'_>,
    open: &Facts<'_>,
    as_of: Instant,
    horizon: Horizon,
) -> Insight {
    let state = state.with_open(open, as_of);
    let evidence = evidence(&state, as_of);
    if !state.is_known(as_of) {
        return unknown(evidence, as_of);
    }
    let signs = signs(&state, context.device, context.fleet, as_of);
    let risk = context.model.risk(&signs, horizon);
    Insight {
        value: Some(risk.chance),
        interval: Some(Interval {
            low: risk.low,
            high: risk.high,
            level: LEVEL,
        }),
        evidence,
        status: status(&state, (context.model, horizon), as_of),
        reasons: stale(&state, context.zone, as_of)
            .into_iter()
            .chain(reasons(&risk, &signs, &state, context, (as_of, horizon)))
            .collect(),
        recommendations: recommendations(&risk, &signs),
        as_of,
    }
}

/// The chance alone, for lists over a whole fleet; `None` of a device of which nothing is known.
#[must_use]
pub fn chance(
    state: &State,
    context: &Context<'_>,
    open: &Facts<'_>,
    as_of: Instant,
    horizon: Horizon,
) -> Option<f64> {
    // to take what is open copies the state, and of most devices there is nothing
    let is_quiet = open.errors.is_empty() && open.states.is_empty() && open.configs.is_empty();
    let with = (!is_quiet).then(|| state.with_open(open, as_of));
    let state = with.as_ref().unwrap_or(state);
    state.first.filter(|first| *first <= as_of)?;
    let signs = signs(state, context.device, context.fleet, as_of);
    Some(context.model.chance(&signs, horizon))
}

pub(crate) fn evidence(state: &State, as_of: Instant) -> Evidence {
    let coverage = state.last_measured.map(|_| state.coverage(as_of));
    let last = state
        .last_measured
        .max(state.current().map(|entered| entered.at));
    Evidence {
        events: state.events,
        from: state.first,
        to: last,
        coverage,
    }
}

/// The answer for a device of which nothing is known.
pub(crate) fn unknown(evidence: Evidence, as_of: Instant) -> Insight {
    let sentence =
        "No metrics and no change of state have come from this device yet. The first one suffices.";
    let reason = Reason {
        factor: "evidence",
        contribution: 0.0,
        observed: Some(0.0),
        expected: Some(1.0),
        unit: Some("events"),
        sentence: sentence.to_owned(),
    };
    Insight::insufficient(evidence, reason, as_of)
}

/// Since when nothing has come, where that is over a day; it adds nothing to the value.
pub(crate) fn stale(state: &State, zone: chrono_tz::Tz, as_of: Instant) -> Option<Reason> {
    let last = state.last_measured.filter(|last| as_of.0 - last.0 > DAY)?;
    let silent = days(last, as_of);
    Some(Reason {
        factor: "evidence.age",
        contribution: 0.0,
        observed: Some(silent),
        expected: Some(1.0),
        unit: Some("days"),
        sentence: format!(
            "The last metrics came on {}, {silent:.1} days ago: what is told rests on them.",
            clock(last, zone)
        ),
    })
}

fn status(state: &State, (model, horizon): (&Model, Horizon), as_of: Instant) -> Status {
    let silent = state
        .last_measured
        .is_some_and(|last| as_of.0 - last.0 > DAY);
    let is_new = state
        .first
        .is_none_or(|first| days(first, as_of) < DAYS_OF_OWN);
    match (
        silent,
        is_new || !model.is_fitted_to(horizon) || model.failures < FAILURES_ENOUGH,
    ) {
        (true, _) => Status::Stale,
        (false, true) => Status::Learning,
        (false, false) => Status::Ok,
    }
}

fn reasons(
    risk: &Risk,
    signs: &Signs,
    state: &State,
    context: &Context<'_>,
    (as_of, horizon): (Instant, Horizon),
) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = risk
        .parts
        .iter()
        .map(|(part, sum)| Reason {
            contribution: *sum,
            ..reason(*part, signs, state, context, (as_of, horizon))
        })
        .collect();
    reasons.sort_by(|one, other| other.contribution.abs().total_cmp(&one.contribution.abs()));
    reasons
}

fn reason(
    part: Part,
    signs: &Signs,
    state: &State,
    context: &Context<'_>,
    (as_of, horizon): (Instant, Horizon),
) -> Reason {
    let of = |factor, observed, expected, unit, sentence| Reason {
        factor,
        contribution: 0.0,
        observed,
        expected,
        unit,
        sentence,
    };
    let errors: f64 = signs.errors.iter().map(|(_, new, _)| new).sum();
    let usual = context.fleet.error_rate();
    match part {
        Part::Base => {
            let (failures, days) = context.model.rate;
            of(
                "base.rate",
                Some(failures / days * 30.0),
                None,
                Some("failures a month"),
                base(context, horizon),
            )
        }
        Part::Errors => of(
            "errors.24h",
            Some(errors),
            Some(usual),
            Some("errors"),
            errors_told(state, context, as_of),
        ),
        Part::Resources => {
            let (drift, sentence) = drift_told(signs);
            of(
                "resources.drift",
                Some(drift),
                Some(0.0),
                Some("usual spreads"),
                sentence,
            )
        }
        Part::Both => {
            let sentence = "Errors came while a measure is away from its level: both at once weigh more than each alone.";
            of(
                "errors.with.resources",
                Some(errors),
                None,
                Some("errors"),
                sentence.to_owned(),
            )
        }
        Part::Stability => of(
            "stability.wear",
            signs.oldest_days,
            None,
            Some("days"),
            wear_told(signs),
        ),
        Part::History => {
            let ratio = signs.device_ratio.exp();
            let sentence = format!(
                "It has failed {} so far; against the fleet its rate is {ratio:.1} times, shrunk for few failures.",
                plural(f64::from(state.failures), "time")
            );
            of(
                "history.rate",
                Some(ratio),
                Some(1.0),
                Some("times the fleet's rate"),
                sentence,
            )
        }
    }
}

fn base(context: &Context<'_>, horizon: Horizon) -> String {
    let model = context.model;
    let (failures, days) = model.rate;
    let rate = failures / days * 30.0;
    let seen = plural(f64::from(model.failures), "failure");
    if model.is_fitted_to(horizon) {
        return format!(
            "A device without any sign starts from what {seen} of the fleet teach ({rate:.2} a device and month)."
        );
    }
    if told::is_unknown(model, context.fleet) {
        return format!(
            "The fleet has not been summed up yet: {rate:.2} failures a device and month is what is thought beforehand."
        );
    }
    if model.refused.contains(&horizon) {
        return format!(
            "Only the rate of the fleet ({rate:.2} failures a device and month): what was learned from its {seen} told \
             no better what came."
        );
    }
    if model.failures >= FAILURES_NEEDED {
        return format!(
            "Only the rate of the fleet so far ({rate:.2} failures a device and month): nothing was learned from its \
             {seen} yet."
        );
    }
    let more = FAILURES_NEEDED.saturating_sub(model.failures);
    format!(
        "Only the rate of the fleet so far ({rate:.2} failures a device and month): {} needed before signs can be weighed.",
        if more == 1 {
            "1 more failure is".to_owned()
        } else {
            format!("{more} more failures are")
        }
    )
}

fn errors_told(state: &State, context: &Context<'_>, as_of: Instant) -> String {
    let spent = state.last_failure.unwrap_or(Instant(i64::MIN));
    let recent: Vec<_> = state
        .errors_between(Instant(as_of.0 - DAY).max(spent), as_of)
        .collect();
    let Some(last) = recent.iter().max_by_key(|seen| seen.at) else {
        return "No error in the last 24 hours.".to_owned();
    };
    let count: f64 = recent.iter().map(|seen| f64::from(seen.count)).sum();
    let mut names: Vec<&str> = recent
        .iter()
        .filter_map(|seen| state.name_of(seen.group))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.truncate(3);
    format!(
        "{} in the last 24 hours ({}), the last one on {}; the fleet usually has {:.2} a device and day.",
        plural(count, "error"),
        names.join(", "),
        clock(last.at, context.zone),
        context.fleet.error_rate()
    )
}

fn drift_told(signs: &Signs) -> (f64, String) {
    let most = signs
        .drifts
        .iter()
        .max_by(|one, other| one.1.abs().total_cmp(&other.1.abs()));
    let Some((measure, day, before)) = most else {
        return (
            0.0,
            "Its measures have no level of their own yet.".to_owned(),
        );
    };
    let way = if *day > 0.0 { "above" } else { "below" };
    let running = if hinge(*day).min(hinge(*before)) > 0.0 && day * before > 0.0 {
        ", for the second day"
    } else {
        ""
    };
    let sentence = format!(
        "{} was {:.1} usual spreads {way} its own level over the last day{running}.",
        measure.name(),
        day.abs()
    );
    (*day, sentence)
}

fn wear_told(signs: &Signs) -> String {
    let mut said = Vec::new();
    if signs.flaps > 0.0 {
        said.push(format!(
            "it went down {} in the last 24 hours",
            plural(signs.flaps, "time")
        ));
    }
    let ages = [
        (signs.restart_days, "the last restart"),
        (signs.config_days, "the last change of configuration"),
        (signs.replaced_days, "the last replacement of a component"),
        (signs.oldest_days, "the replacement of its oldest component"),
    ];
    said.extend(
        ages.into_iter()
            .filter_map(|(days, what)| days.map(|days| format!("{days:.0} days since {what}"))),
    );
    if said.is_empty() {
        "Nothing is known of its wear.".to_owned()
    } else {
        format!("Stability and wear: {}.", said.join(", "))
    }
}

fn recommendations(risk: &Risk, signs: &Signs) -> Vec<Recommendation> {
    // the rate of the fleet alone says nothing of this device
    let is_own = risk.parts.iter().any(|(part, _)| *part != Part::Base);
    if risk.chance < ACT_FROM || !is_own {
        return Vec::new();
    }
    // what lowers the risk is nothing to look at
    let raises = |asked: Part| {
        let mut parts = risk.parts.iter();
        parts.any(|(part, sum)| *part == asked && *sum > 0.0)
    };
    let has_errors = signs.errors.iter().any(|(_, new, _)| *new > 0.0);
    let what = if has_errors && (raises(Part::Errors) || raises(Part::Both)) {
        "its errors of the last day"
    } else if raises(Part::Resources) || raises(Part::Both) {
        "the measure that drifts"
    } else {
        "what raises its risk, by the reasons,"
    };
    vec![Recommendation {
        action: "inspect",
        sentence: format!("Look at {what} and plan a repair before it fails."),
        mutation: None,
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lowers_the_risk_is_not_what_to_look_at() {
        let signs = Signs {
            errors: vec![(1, 4.0, 0.0)],
            ..Signs::default()
        };
        let sentence = |parts: &[(Part, f64)]| {
            let risk = Risk {
                chance: 0.5,
                low: 0.4,
                high: 0.6,
                odds: 0.0,
                parts: parts.to_vec(),
            };
            let told = recommendations(&risk, &signs);
            told.first().map(|one| one.sentence.clone()).unwrap()
        };
        let of_errors = sentence(&[(Part::Base, -1.0), (Part::Errors, 1.0)]);
        assert!(of_errors.contains("errors"), "{of_errors}");
        let of_measures = sentence(&[(Part::Errors, -1.4), (Part::Resources, 1.0)]);
        assert!(of_measures.contains("drifts"), "{of_measures}");
        let of_neither = sentence(&[(Part::Errors, -1.4), (Part::Stability, 2.0)]);
        assert!(of_neither.contains("by the reasons"), "{of_neither}");
    }
}
