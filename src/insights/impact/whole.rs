//! What a change did as one insight: the effect that its verdict rests on.

use crate::insights::impact::change::{Effect, Impact};
use crate::insights::impact::verdict::Verdict;
use crate::insights::shape::{Evidence, Insight, Reason, Status};

use crate::event::Instant;

/// The effect that the verdict rests on: the clearest of those with the same verdict, else the clearest of those that
/// are judged. It has a value, if any has one.
#[must_use]
pub fn leading(impact: &Impact) -> Option<&Effect> {
    let clearest = |of: &dyn Fn(&&Effect) -> bool| {
        let known = impact.effects.iter().filter(|one| one.estimate.is_some());
        let p = |one: &Effect| one.estimate.map_or(1.0, |estimate| estimate.p);
        known
            .filter(of)
            .min_by(|one, other| p(one).total_cmp(&p(other)))
    };
    clearest(&|one| one.verdict == Some(impact.verdict))
        .or_else(|| clearest(&|one| one.verdict.is_some()))
        .or_else(|| clearest(&|_| true))
}

/// The same as an insight: its value is the relative change of the measure that the verdict rests on; its reasons are
/// those of all measures, that one first.
#[must_use]
pub fn whole(impact: &Impact, as_of: Instant) -> Insight {
    let lead = leading(impact);
    let Some(lead) = lead else {
        return unknown(impact, as_of);
    };
    let of_others = impact
        .effects
        .iter()
        .filter(|one| one.series != lead.series);
    let others = of_others.filter_map(|one| one.insight.reasons.first().cloned());
    let mut insight = lead.insight.clone();
    insight.reasons.extend(others);
    if impact.verdict == Verdict::Unclear && insight.status == Status::Ok {
        // it holds, and is not known well enough to say which way
        insight.status = Status::Learning;
    }
    insight
}

/// Of no measure is there enough.
fn unknown(impact: &Impact, as_of: Instant) -> Insight {
    let first = impact.effects.first().map(|one| &one.insight);
    let reason = first.and_then(|insight| insight.reasons.first().cloned());
    let missing = reason.unwrap_or_else(|| Reason {
        factor: "days",
        contribution: 0.0,
        observed: Some(0.0),
        expected: None,
        unit: Some("days"),
        sentence:
            "No measure was seen for a full day before the change. This change cannot be judged."
                .to_owned(),
    });
    let evidence = first.map_or_else(Evidence::default, |insight| insight.evidence);
    Insight::insufficient(evidence, missing, as_of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::impact::change::{Peers, Subject, configuration_impact};
    use crate::insights::impact::daily::State;
    use crate::insights::input::{ConfigSeen, DAY, HOUR, Hour, Measure};
    use chrono_tz::Tz;

    fn impact(until_day: i64) -> Impact {
        let mut state = State::default();
        for index in 1_000 * 24..until_day * 24 {
            let value = if index >= 1_030 * 24 { 30.0 } else { 40.0 }
                + crate::insights::number::float(index % 3);
            let hour = Hour {
                start: Instant(index * HOUR),
                count: 1,
                sum: value,
                sum_squares: value * value,
                min: value,
                max: value,
                increase: 0.0,
            };
            for measure in [Measure::NetworkLatencyMs, Measure::QueueDepth] {
                state.fold(Tz::UTC, measure, &hour);
            }
        }
        let subject = Subject {
            zone: Tz::UTC,
            state: &state,
            changes: &[],
            states: &[],
        };
        let change = ConfigSeen {
            at: Instant(1_030 * DAY),
            parameter: "retry.limit".to_owned(),
        };
        let as_of = Instant(until_day * DAY);
        configuration_impact(&change, subject, Peers::default(), as_of)
    }

    #[test]
    fn a_change_has_the_value_of_what_its_verdict_rests_on() {
        let known = impact(1_045);
        let told = whole(&known, Instant(1_045 * DAY));
        assert!(told.value.is_some_and(|value| value < -0.2), "{told:?}");
        assert!(told.reasons.len() >= 2);
    }

    #[test]
    fn too_early_it_has_none_and_says_when() {
        let early = impact(1_031);
        let told = whole(&early, Instant(1_031 * DAY));
        assert_eq!((told.status, told.value), (Status::Insufficient, None));
        assert!(told.reasons[0].sentence.contains("possible on"), "{told:?}");
    }
}
