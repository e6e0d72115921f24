//! Training, trials and figures.

use crate::event::Instant;
use crate::insights::input::Measure;
use crate::insights::input::{DAY, HOUR};

use super::{Dice, START};
use crate::insights::risk::backtest::{Backtest, Scored};
use crate::insights::risk::fleet::Fleet;
use crate::insights::risk::learning::Failures;
use crate::insights::risk::model::{Example, Horizon, Model, Settings, train};
use crate::insights::risk::signs::Signs;
use crate::insights::risk::succession::{Report, Training, learn};

/// Examples in which a device fails within a day, most of the times that it has errors of group 1.
fn examples(count: i64, group: u32, from: i64) -> Vec<Example> {
    let mut dice = Dice(3);
    let each = (0..count).map(|n| {
        let has_error = n % 5 == 0;
        let fails = dice.roll() < if has_error { 0.7 } else { 0.02 };
        let at = Instant(from + n * DAY);
        let errors = if has_error {
            vec![(group, 1.0, 0.0)]
        } else {
            Vec::new()
        };
        let signs = Signs {
            errors,
            drifts: vec![(Measure::CpuPercent, dice.roll() - 0.5, 0.0)],
            ..Signs::default()
        };
        Example {
            device: 1,
            at,
            signs,
            next_failure: fails.then_some(Instant(at.0 + HOUR)),
        }
    });
    each.collect()
}

fn fleet_with(failures: f64, days: f64) -> Fleet {
    Fleet {
        failures,
        days,
        devices: 10,
        ..Fleet::default()
    }
}

#[test]
fn until_ten_failures_only_the_rate_of_the_fleet_is_told() {
    let known_to = Instant(START + 400 * DAY);
    let model = train(
        &examples(300, 1, START),
        &fleet_with(9.0, 600.0),
        known_to,
        Settings::default(),
    );
    assert!(!model.is_fitted());
    let calm = model.risk(&Signs::default(), Horizon::Day);
    let bad = model.risk(
        &Signs {
            errors: vec![(1, 2.0, 0.0)],
            ..Signs::default()
        },
        Horizon::Day,
    );
    assert_eq!(calm, bad);
    assert!((calm.chance - (1.0 - (-9.5_f64 / 630.0).exp())).abs() < 1e-12);
    assert!(calm.low < calm.chance && calm.chance < calm.high);
}

#[test]
fn contributions_sum_up_to_the_log_odds_and_the_group_that_matters_is_learned() {
    let known_to = Instant(START + 400 * DAY);
    let model = train(
        &examples(300, 77, START),
        &fleet_with(40.0, 300.0),
        known_to,
        Settings::default(),
    );
    let risk = model.risk(
        &Signs {
            errors: vec![(77, 1.0, 0.0)],
            flaps: 1.0,
            ..Signs::default()
        },
        Horizon::Day,
    );
    let sum: f64 = risk.parts.iter().map(|(_, part)| part).sum();
    assert!(
        (sum - risk.odds).abs() < 1e-9
            && risk.chance > 0.4
            && risk.low < risk.chance
            && risk.chance < risk.high
    );
    assert!(model.risk(&Signs::default(), Horizon::Day).chance < 0.1);
}

#[test]
fn an_example_has_no_label_before_its_horizon_has_passed() {
    let example = Example {
        device: 1,
        at: Instant(START),
        signs: Signs::default(),
        next_failure: Some(Instant(START + HOUR)),
    };
    assert_eq!(example.label(Horizon::Day, Instant(START + DAY - 1)), None);
    assert_eq!(
        example.label(Horizon::Day, Instant(START + DAY)),
        Some(true)
    );
    let later = Example {
        next_failure: Some(Instant(START + DAY + 1)),
        ..example
    };
    assert_eq!(later.label(Horizon::Day, Instant(START + DAY)), Some(false));
}

#[test]
fn a_model_survives_being_stored() {
    let known_to = Instant(START + 400 * DAY);
    let model = train(
        &examples(300, 1, START),
        &fleet_with(40.0, 300.0),
        known_to,
        Settings::default(),
    );
    let again: Model = serde_json::from_str(&serde_json::to_string(&model).unwrap()).unwrap();
    let signs = Signs {
        errors: vec![(1, 1.0, 0.0)],
        ..Signs::default()
    };
    let gap = model.risk(&signs, Horizon::Day).odds - again.risk(&signs, Horizon::Day).odds;
    assert!(gap.abs() < 1e-9);
}

/// What came of examples, as failures.
fn failures_of(examples: &[Example]) -> Failures {
    let mut failures = Failures::default();
    for example in examples {
        if let Some(at) = example.next_failure {
            failures.add(example.device, at);
        }
    }
    failures
}

fn training(examples: &[Example], in_force: Option<&Model>, days: i64) -> Training {
    let failures = failures_of(examples);
    let fleet = fleet_with(80.0, 400.0);
    let known_to = Instant(START + days * DAY);
    learn((examples.to_vec(), &failures), &fleet, in_force, known_to)
}

#[test]
fn a_worse_model_does_not_take_the_place_of_the_one_in_force() {
    let honest = examples(400, 1, START);
    let old = training(&honest[..300], None, 300);
    assert!(old.succeeds() && old.report.trial.is_none());
    // what came of most that it learns from is told the wrong way round
    let mut wrong = honest.clone();
    for example in &mut wrong[..300] {
        let failed = example.next_failure.is_some();
        example.next_failure = (!failed).then_some(Instant(example.at.0 + HOUR));
    }
    let worse = training(&wrong, old.tried.as_ref(), 401);
    let trial = worse.report.trial.unwrap();
    assert!(
        !worse.succeeds() && trial.new_loss > trial.old_loss,
        "{trial:?}"
    );
    let better = training(&honest, old.tried.as_ref(), 401);
    let trial = better.report.trial.unwrap();
    assert!(better.succeeds(), "{trial:?}");
    assert!(trial.observations > 50.0, "{trial:?}");
    assert_eq!(better.model.trained_to, Instant(START + 401 * DAY));
}

#[test]
fn a_model_that_tells_no_better_what_comes_than_the_rate_answers_with_the_rate() {
    let honest = examples(400, 1, START);
    let good = training(&honest, None, 400);
    assert!(!good.model.refused.contains(&Horizon::Day), "{good:?}");
    assert!(good.model.is_fitted_to(Horizon::Day));
    // of late errors tell of nothing
    let mut other = honest.clone();
    for example in &mut other[300..] {
        example.next_failure = None;
    }
    let refused = training(&other, None, 400);
    let model = &refused.model;
    assert!(model.refused.contains(&Horizon::Day), "{refused:?}");
    assert_eq!(refused.tried.unwrap().refused, model.refused);
    let with_errors = Signs {
        errors: vec![(1, 1.0, 0.0)],
        ..Signs::default()
    };
    let [calm, bad] = [Signs::default(), with_errors].map(|signs| model.risk(&signs, Horizon::Day));
    assert_eq!(calm, bad);
    assert!(!model.is_fitted_to(Horizon::Day));
    // and it is told how bad it was
    let found = refused.report.day.unwrap();
    assert!(found.brier > found.brier_of_rate, "{found:?}");
    let stored = postcard::to_stdvec(model).unwrap();
    let again: Model = postcard::from_bytes(&stored).unwrap();
    assert_eq!(again.refused, model.refused);
}

#[test]
fn what_a_back_test_is_of_was_not_learned_from() {
    let all = examples(400, 1, START);
    let known_to = Instant(START + 400 * DAY);
    let first = training(&all, None, 400);
    let held_from = first.report.held_from.unwrap();
    let tried = first.tried.as_ref().unwrap();
    assert_eq!(tried.trained_to, held_from);
    let held = |example: &&Example| example.at > held_from;
    let told = held_from.0 + DAY;
    let answers = all.iter().filter(held);
    let answers = answers.filter(|example| example.label(Horizon::Day, known_to).is_some());
    let report = first.report.day.as_ref().unwrap();
    assert_eq!(report.answers, answers.count());
    assert!(report.pr_auc.unwrap() > 0.4, "{report:?}");
    // whatever comes in that time, it is the same model that is tried
    let mut other = all.clone();
    for example in other.iter_mut().filter(|example| example.at.0 > told) {
        example.next_failure = None;
    }
    let other = training(&other, None, 400);
    // but for whether it is answered with, which that time decides
    let learned = |tried: &Model| {
        let mut learned = tried.clone();
        learned.refused.clear();
        learned
    };
    assert_eq!(learned(&other.tried.unwrap()), learned(tried));
    assert_ne!(other.report.day, first.report.day);
}

#[test]
fn of_a_fleet_that_is_not_two_weeks_old_nothing_is_held_out() {
    let young = training(&examples(13, 1, START), None, 13);
    assert!(young.tried.is_none() && young.report.day.is_none());
    assert!(young.succeeds());
    let older = training(&examples(60, 1, START), None, 60);
    let held_from = older.report.held_from.unwrap();
    assert_eq!(held_from, Instant(START + 45 * DAY));
    let text = serde_json::to_string(&older.report).unwrap();
    let report: Report = serde_json::from_str(&text).unwrap();
    assert_eq!(report.held_from, Some(held_from));
}

#[test]
fn figures_of_a_back_test_are_the_known_ones() {
    let scored = |chance: f64, failed: bool| Scored {
        device: 1,
        at: Instant(0),
        chance,
        failed,
        failure: failed.then_some(Instant(HOUR)),
    };
    let perfect = Backtest::of(&[
        scored(0.9, true),
        scored(0.8, true),
        scored(0.2, false),
        scored(0.1, false),
    ]);
    assert_eq!((perfect.pr_auc, perfect.roc_auc), (Some(1.0), Some(1.0)));
    assert!((perfect.brier - 0.025).abs() < 1e-12 && perfect.lead_hours == Some(1.0));
    let tied = Backtest::of(&[
        scored(0.5, true),
        scored(0.5, false),
        scored(0.5, false),
        scored(0.5, false),
    ]);
    assert_eq!((tied.pr_auc, tied.roc_auc), (Some(0.25), Some(0.5)));
    let mixed = Backtest::of(&[
        scored(0.9, true),
        scored(0.8, false),
        scored(0.7, true),
        scored(0.1, false),
    ]);
    assert!((mixed.pr_auc.unwrap() - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-12);
    let mut calibrated = Vec::new();
    for (chance, of) in [(0.1, 10), (0.5, 10), (0.8, 10)] {
        calibrated
            .extend((0..of).map(|n| scored(chance, f64::from(n) < chance * f64::from(of) - 1e-9)));
    }
    let calibrated = Backtest::of(&calibrated);
    assert!(
        (calibrated.slope.unwrap() - 1.0).abs() < 1e-4
            && calibrated.intercept.unwrap().abs() < 1e-4
    );
    let none = Backtest::of(&[]);
    assert!(none.pr_auc.is_none() && none.slope.is_none() && none.brier.is_finite());
}
