//! How good a model is, and whether it takes the place of the one before it.
//!
//! No model can be tried on the time that it has learned from. So each is trained twice: on all that is known, which is
//! the one that answers, and without the last part of that time. This trial model stands for the other: what it
//! says of the time that was held out gives the back-test, and is tried against what the trial model says of the
//! model in force, which has not seen that time either. Where it says less well what came, the model in force stays.
//!
//! The first rival is the rate of the fleet alone: where the trial model says no better what came than the rate as it was
//! when that time began, the rate is answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::Instant;
use crate::insights::input::DAY;
use crate::insights::number::float;
use crate::insights::risk::backtest::{Backtest, Scored};
use crate::insights::risk::features::days;
use crate::insights::risk::fleet::Fleet;
use crate::insights::risk::learning::{Failures, Learned};
use crate::insights::risk::model::{Example, Horizon, Model, Settings, rows_per_horizon, train};
use crate::insights::risk::newton::log_likelihood;

/// Of the time of the examples this part is held out: a quarter, but not less than a week nor more than a quarter of a
/// year.
const HELD_PART: i64 = 4;
const HELD_LEAST: i64 = 7 * DAY;
const HELD_MOST: i64 = 91 * DAY;
/// The sum of losses by which a candidate may be worse without being so: one unit of log-likelihood, at which a
/// likelihood ratio is no evidence worth mentioning.
const LOSS_TOLERANCE: f64 = 1.0;
/// The loss of one answer at most, which is that of a chance beyond all numbers.
const LOSS_MAX: f64 = 700.0;

/// What a trial of a candidate found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The time that neither has seen begins after this instant.
    pub from: Instant,
    /// Mean loss (minus log-likelihood) of the model in force.
    pub old_loss: f64,
    /// That of the candidate.
    pub new_loss: f64,
    /// Independent observations in that time.
    pub observations: f64,
}

impl Trial {
    /// Whether the candidate is not worse, by more than chance explains.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.new_loss <= self.old_loss + LOSS_TOLERANCE / self.observations.max(1.0)
    }
}

/// What is told of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What it learned from.
    pub learned: Learned,
    /// The devices of its examples.
    pub devices: usize,
    /// When the first of its examples was taken.
    pub from: Option<Instant>,
    /// After which instant time was held out, for the back-tests; nothing where there is too little.
    pub held_from: Option<Instant>,
    /// Failures that the trial model has learned from.
    pub tried_failures: u32,
    /// The back-test of the risk of a day.
    pub day: Option<Backtest>,
    /// That of three days.
    pub three_days: Option<Backtest>,
    /// The trial against the model in force, where there was one.
    pub trial: Option<Trial>,
}

impl Report {
    /// What a back-test of a horizon found.
    #[must_use]
    pub const fn backtest(&self, horizon: Horizon) -> Option<&Backtest> {
        match horizon {
            Horizon::Day => self.day.as_ref(),
            Horizon::ThreeDays => self.three_days.as_ref(),
        }
    }
}

/// All that a training comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// The model, trained on all that was known.
    pub model: Model,
    /// The one that stands for it in trials, trained without the time that was held out.
    pub tried: Option<Model>,
    /// What is told of it.
    pub report: Report,
}

impl Training {
    /// Whether the model takes the place of the one in force.
    #[must_use]
    pub fn succeeds(&self) -> bool {
        self.report.trial.is_none_or(|trial| trial.is_passed())
    }
}

/// A model with the one that stands for it in trials, and what that one said of the time that was held out.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The model, trained on all that was known.
    pub model: Model,
    /// The one that stands for it, trained without the time that was held out.
    pub tried: Option<Model>,
    /// After which instant time was held out.
    pub held_from: Option<Instant>,
    /// The back-tests of the horizons, of what was learned, be it answered with or not.
    pub backtests: [Option<Backtest>; 2],
}

/// Trains a model on examples of which it is told what came, in order of time. Of a horizon of which it tells no better
/// what comes than the rate of the fleet, it answers with the rate.
#[must_use]
pub fn train_and_try(
    (examples, failures): (&[Example], &Failures),
    fleet: &Fleet,
    known_to: Instant,
) -> Trained {
    let settings = Settings::default();
    let mut model = train(examples, fleet, known_to, settings);
    let held_from = held_from(examples, known_to);
    let mut tried = held_from.map(|from| {
        let fleet = rate_until(examples, failures, from);
        train(examples, &fleet, from, settings)
    });
    let mut backtests = [None, None];
    if let Some(new) = &tried {
        backtests = Horizon::ALL.map(|horizon| back_test(new, examples, known_to, horizon));
        let each = Horizon::ALL.into_iter().zip(&backtests);
        let refused = each.filter(|(horizon, found)| {
            is_no_better(new, (examples, known_to), *horizon, found.as_ref())
        });
        model.refused = refused.map(|(horizon, _)| horizon).collect();
    }
    if let Some(tried) = &mut tried {
        tried.refused.clone_from(&model.refused);
    }
    Trained {
        model,
        tried,
        held_from,
        backtests,
    }
}

fn back_test(
    tried: &Model,
    examples: &[Example],
    known_to: Instant,
    horizon: Horizon,
) -> Option<Backtest> {
    let answers = answers(tried, examples, (tried.trained_to, known_to), horizon);
    let tested = (!answers.is_empty()).then(|| Backtest::of(&answers));
    tested.filter(|tested| tested.brier.is_finite())
}

/// Whether what was learned says less well what came than the rate of the fleet as it was known then, by more than chance
/// explains; or no better, while what it takes for likelier is not.
fn is_no_better(
    tried: &Model,
    (examples, known_to): (&[Example], Instant),
    horizon: Horizon,
    backtest: Option<&Backtest>,
) -> bool {
    if !tried.is_fitted_to(horizon) {
        return false;
    }
    let trial = compare_in(&tried.rate_alone(), tried, (examples, known_to), horizon);
    let is_upside_down = backtest.is_some_and(|backtest| {
        let is_worse = backtest.brier >= backtest.brier_of_rate;
        is_worse && backtest.slope.is_some_and(|slope| slope <= 0.0)
    });
    trial.observations > 0.0 && (!trial.is_passed() || is_upside_down)
}

/// Trains a model on what was known at an instant, and tries it against the rate of the fleet, and against the trial
/// model of the one in force.
///
/// Of the examples each is told what came of it first; they are in order of time.
#[must_use]
pub fn learn(
    (mut examples, failures): (Vec<Example>, &Failures),
    fleet: &Fleet,
    in_force: Option<&Model>,
    known_to: Instant,
) -> Training {
    failures.tell(&mut examples);
    let Trained {
        model,
        tried,
        held_from,
        backtests: [day, three_days],
    } = train_and_try((&examples, failures), fleet, known_to);
    let trial = in_force.zip(tried.as_ref());
    let trial = trial.map(|(old, new)| compare(old, new, &examples, known_to));
    let report = Report {
        learned: Learned {
            examples: examples.len(),
            failures: failures.count(),
        },
        devices: watched(examples.iter()).len(),
        from: examples.first().map(|example| example.at),
        held_from,
        tried_failures: tried.as_ref().map_or(0, |tried| tried.failures),
        day,
        three_days,
        // where nothing can be compared, nothing was tried
        trial: trial.filter(|trial| trial.observations > 0.0),
    };
    Training {
        model,
        tried,
        report,
    }
}

/// The midnight after which time is held out; nothing where half of the time would not be left to learn from.
fn held_from(examples: &[Example], known_to: Instant) -> Option<Instant> {
    let first = examples.first()?.at;
    let span = known_to.0 - first.0;
    let held = (span / HELD_PART).clamp(HELD_LEAST, HELD_MOST);
    let from = (known_to.0 - held).div_euclid(DAY) * DAY;
    (held * 2 <= span).then_some(Instant(from))
}

/// From the first example of each device to its last.
fn watched<'a>(examples: impl Iterator<Item = &'a Example>) -> BTreeMap<u32, (Instant, Instant)> {
    let mut watched = BTreeMap::new();
    for example in examples {
        let (_, last) = watched
            .entry(example.device)
            .or_insert((example.at, example.at));
        *last = example.at;
    }
    watched
}

/// How many failures came until an instant, and in which time: all that a training reads of the fleet.
fn rate_until(examples: &[Example], failures: &Failures, until: Instant) -> Fleet {
    let known = examples.iter().filter(|example| example.at <= until);
    let device_days = watched(known)
        .into_values()
        .map(|(first, last)| days(first, until.min(Instant(last.0 + DAY))));
    Fleet {
        failures: float(failures.count_until(until)),
        days: device_days.sum(),
        ..Fleet::default()
    }
}

/// What a model says of examples of a time, of which it is known what came.
fn answers(
    model: &Model,
    examples: &[Example],
    (after, known_to): (Instant, Instant),
    horizon: Horizon,
) -> Vec<Scored> {
    let unseen = examples.iter().filter(|example| example.at > after);
    let answers = unseen.filter_map(|example| {
        let failed = example.label(horizon, known_to)?;
        Some(Scored {
            device: example.device,
            at: example.at,
            chance: model.chance(&example.signs, horizon),
            failed,
            failure: example.next_failure.filter(|_| failed),
        })
    });
    answers.collect()
}

/// Tries two models on the examples that neither has seen, by what they say of a day.
#[must_use]
pub fn compare(old: &Model, new: &Model, examples: &[Example], known_to: Instant) -> Trial {
    compare_in(old, new, (examples, known_to), Horizon::Day)
}

fn compare_in(
    old: &Model,
    new: &Model,
    (examples, known_to): (&[Example], Instant),
    horizon: Horizon,
) -> Trial {
    let known: Vec<&Example> = examples
        .iter()
        .filter(|example| example.at <= known_to)
        .collect();
    let share = 1.0 / rows_per_horizon(&known, horizon);
    let mut trial = Trial {
        from: new.trained_to.max(old.trained_to),
        old_loss: 0.0,
        new_loss: 0.0,
        observations: 0.0,
    };
    for example in known.iter().filter(|example| example.at > trial.from) {
        let Some(happened) = example.label(horizon, known_to) else {
            continue;
        };
        let loss = |model: &Model| {
            let odds = model.risk(&example.signs, horizon).odds;
            (-log_likelihood(odds, happened)).min(LOSS_MAX)
        };
        trial.old_loss += share * loss(old);
        trial.new_loss += share * loss(new);
        trial.observations += share;
    }
    let count = trial.observations.max(share);
    trial.old_loss /= count;
    trial.new_loss /= count;
    trial
}
