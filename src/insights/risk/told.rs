//! How far a model of failures can be relied on, in plain sentences.

use crate::event::Instant;
use crate::insights::input::DAY;
use crate::insights::risk::backtest::{Backtest, WARNING};
use crate::insights::risk::features::days;
use crate::insights::risk::fleet::Fleet;
use crate::insights::risk::model::{FAILURES_ENOUGH, FAILURES_NEEDED, Model};
use crate::insights::risk::succession::{Report, Trial};
use crate::insights::risk::words::plural;
use crate::insights::shape::Status;

/// From so long on after the last night a fleet is not followed any more.
const OLD: i64 = 3 * DAY;

/// How far a model can be relied on as of an instant, before which the fleet was summed up last.
#[must_use]
pub fn status(model: &Model, summed_at: Option<Instant>, as_of: Instant) -> Status {
    let is_followed = summed_at.is_none_or(|at| as_of.0 - at.0 < OLD);
    if !is_followed {
        Status::Stale
    } else if model.is_fitted() && model.failures >= FAILURES_ENOUGH {
        Status::Ok
    } else {
        Status::Learning
    }
}

/// Whether nothing is known of a fleet yet, so that its failures are not none but unknown.
#[must_use]
pub const fn is_unknown(model: &Model, fleet: &Fleet) -> bool {
    fleet.devices == 0 && model.failures == 0
}

/// What a model of a fleet rests on.
#[must_use]
pub fn basis(model: &Model, fleet: &Fleet) -> String {
    let failures = plural(f64::from(model.failures), "failure");
    let (of_fleet, device_days) = model.rate;
    let monthly = of_fleet / device_days * 30.0;
    if is_unknown(model, fleet) {
        return format!(
            "The fleet has not been summed up yet, so that its failures are not known. Until then each device has the \
             rate that is thought beforehand, {monthly:.2} failures a device and month."
        );
    }
    if let [first, rest @ ..] = model.refused.as_slice() {
        let hours = first.hours();
        let of_which = if rest.is_empty() {
            format!("of {hours} hours")
        } else {
            "of any horizon".to_owned()
        };
        return format!(
            "It has learned from {failures} of the fleet ({monthly:.2} a device and month), but on time that it had not \
             seen that told no better what came than this rate. So the risk {of_which} is the rate of the fleet, for \
             every device alike, until something better is learned."
        );
    }
    if model.is_fitted() {
        return format!(
            "It has learned from {failures} of the fleet ({monthly:.2} a device and month)."
        );
    }
    if model.failures >= FAILURES_NEEDED {
        return format!(
            "The fleet has had {failures} ({monthly:.2} a device and month), and nothing was learned from them yet."
        );
    }
    let more = FAILURES_NEEDED.saturating_sub(model.failures).max(1);
    let verb = if more == 1 { "is" } else { "are" };
    format!(
        "The fleet has had {failures}: {} more {verb} needed before signs are weighed. Until then \
         each device has the rate of the fleet, {monthly:.2} failures a device and month, which is mostly what is \
         thought beforehand.",
        plural(f64::from(more), "failure")
    )
}

/// What a back-test found, on time that the model tried had not seen.
#[must_use]
pub fn tested(report: &Report, backtest: &Backtest, known_to: Instant, is_refused: bool) -> String {
    let held = report.held_from.map_or(0.0, |from| days(from, known_to));
    let answers = backtest.answers;
    let warned = if is_refused {
        format!(
            "What was learned told no better what came than the rate of the fleet (a Brier score of {:.4}, against \
             {:.4} of the part that failed): the rate is answered in its place.",
            backtest.brier, backtest.brier_of_rate
        )
    } else {
        warned(backtest)
    };
    format!(
        "On the last {held:.0} days, which the model tried had not seen, {answers} answers were compared with what \
         came. {warned}"
    )
}

fn warned(backtest: &Backtest) -> String {
    match (backtest.caught, backtest.lead_hours) {
        (None, _) => {
            "No device failed in that time, so that it is not known how well it warns.".to_owned()
        }
        (Some(caught), None) => format!(
            "It warned of {:.0} % of the failures before they came.",
            caught * 100.0
        ),
        (Some(caught), Some(hours)) => format!(
            "It warned of {:.0} % of the failures before they came (a risk of {:.0} % or more that held), half \
             of the times {hours:.0} h before or earlier.",
            caught * 100.0,
            WARNING * 100.0
        ),
    }
}

/// What the trial of a model against the rate of the fleet came to, where it was no better.
#[must_use]
pub fn tried_against_rate(model: &Model) -> Option<String> {
    let refused = model.refused.iter();
    let hours: Vec<String> = refused.map(|horizon| horizon.hours().to_string()).collect();
    let hours = (!hours.is_empty()).then(|| hours.join(" and "))?;
    Some(format!(
        "Within {hours} hours it says what came no better than the rate of the fleet, which is answered in its place."
    ))
}

/// What the trial of a model against the one in force came to.
#[must_use]
pub fn tried(trial: &Trial) -> String {
    let (new, old) = (trial.new_loss, trial.old_loss);
    if trial.is_passed() {
        format!(
            "It says what came no less well than the one before it: a loss of {new:.4} against {old:.4}."
        )
    } else {
        format!(
            "It says less well what came than the one before it, which stays in force: a loss of {new:.4} against \
             {old:.4}."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::risk::fleet::Fleet;
    use crate::insights::risk::model::{Horizon, Settings, train};

    const NOW: Instant = Instant(20_000 * DAY);

    fn model(failures: f64) -> Model {
        let fleet = Fleet {
            failures,
            days: 300.0,
            ..Fleet::default()
        };
        train(&[], &fleet, NOW, Settings::default())
    }

    #[test]
    fn a_fleet_that_just_started_is_learning_and_says_what_is_missing() {
        let none = model(0.0);
        assert_eq!(status(&none, None, NOW), Status::Learning);
        let fleet = Fleet {
            devices: 12,
            ..Fleet::default()
        };
        let told = basis(&none, &fleet);
        assert!(
            told.starts_with("The fleet has had 0 failures: 10 failures more are needed"),
            "{told}"
        );
        let told = basis(&model(9.0), &fleet);
        assert!(told.contains("1 failure more is needed"), "{told}");
    }

    #[test]
    fn a_fleet_that_was_not_summed_up_is_not_said_to_have_had_no_failure() {
        let told = basis(&model(0.0), &Fleet::default());
        assert!(
            told.starts_with("The fleet has not been summed up yet"),
            "{told}"
        );
    }

    #[test]
    fn a_model_that_is_no_better_than_the_rate_says_so() {
        let refused = model(107.0).rate_alone();
        let told = basis(&refused, &Fleet::default());
        assert!(
            told.contains("no better what came than this rate"),
            "{told}"
        );
        assert!(
            told.contains("the risk of any horizon is the rate"),
            "{told}"
        );
        assert_eq!(status(&refused, None, NOW), Status::Learning);
        let mut one = model(107.0);
        one.refused.push(Horizon::ThreeDays);
        assert!(basis(&one, &Fleet::default()).contains("the risk of 72 hours is"));
    }

    #[test]
    fn a_fleet_that_is_not_summed_up_any_more_is_stale() {
        let at = |days: i64| Some(Instant(NOW.0 - days * DAY));
        assert_eq!(status(&model(0.0), at(1), NOW), Status::Learning);
        assert_eq!(status(&model(0.0), at(4), NOW), Status::Stale);
    }
}
