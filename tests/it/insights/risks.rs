//! How likely a device is to fail: examples of a logistic model that is known, learned from, and asked for devices with
//! other signs.

use homepot_analytics::event::Instant;
use homepot_analytics::insights::input::{DAY, HOUR, Measure};
use homepot_analytics::insights::number::float;
use homepot_analytics::insights::risk::columns::{Key, columns, row};
use homepot_analytics::insights::risk::features::hash;
use homepot_analytics::insights::risk::fleet::Fleet;
use homepot_analytics::insights::risk::model::{
    Example, FAILURES_NEEDED, Horizon, LEVEL, Model, Risk, Settings, train,
};
use homepot_analytics::insights::risk::newton::{dot, logistic};
use homepot_analytics::insights::risk::signs::Signs;
use homepot_analytics::insights::shape::Interval;

use super::{Dice, MONDAY, Tries};

const DEVICES: u32 = 20;
const DAYS: i32 = 40;

/// The signs of a device on a day: mostly none.
pub(super) fn signs(dice: &mut Dice) -> Signs {
    let mut errors = Vec::new();
    for group in ["E1", "E2", "E3"].map(hash) {
        if dice.is(0.1) {
            errors.push((
                group,
                f64::from(1 + dice.poisson(0.7)),
                f64::from(dice.poisson(0.3)),
            ));
        }
    }
    let mut drift = || {
        if dice.is(0.15) {
            4.0 * dice.normal()
        } else {
            dice.normal()
        }
    };
    let drifts = vec![
        (Measure::CpuPercent, drift(), drift()),
        (Measure::QueueDepth, drift(), drift()),
    ];
    Signs {
        severe: f64::from(dice.poisson(0.1)),
        kinds_at_once: float(errors.len()),
        errors,
        drifts,
        flaps: f64::from(dice.poisson(0.1)),
        restart_days: Some(dice.between(0.0, 60.0)),
        config_days: dice.is(0.5).then(|| dice.between(0.0, 60.0)),
        device_ratio: 0.5 * dice.normal(),
        age_years: 2.0 * dice.normal(),
        ..Signs::default()
    }
}

/// What is true of a fleet: how much each sign says, drawn from what is thought beforehand.
struct Truth {
    keys: Vec<Key>,
    beta: Vec<f64>,
}

impl Truth {
    fn chance(&self, signs: &Signs) -> f64 {
        logistic(dot(&row(&self.keys, signs), &self.beta))
    }

    /// One example of each device on each day.
    fn new(base: f64, dice: &mut Dice) -> (Self, Vec<Vec<Signs>>) {
        let all: Vec<Vec<Signs>> = (0..DEVICES)
            .map(|_| (0..DAYS).map(|_| signs(dice)).collect())
            .collect();
        let keys = columns(all.iter().flatten());
        let draw = |key: &Key| {
            let prior = key.prior(base);
            let deviation = if *key == Key::Base {
                0.5
            } else {
                prior.precision.sqrt().recip()
            };
            prior.mean + deviation * dice.normal()
        };
        let beta = keys.iter().map(draw).collect();
        (Self { keys, beta }, all)
    }
}

/// Examples of what came of signs, four of each day as almost the same, and how many failures there were.
fn examples(truth: &Truth, all: &[Vec<Signs>], dice: &mut Dice) -> (Vec<Example>, f64) {
    let (mut examples, mut failures) = (Vec::new(), 0.0);
    for (device, of_days) in (0..).zip(all) {
        let mut next_failure = None;
        for (day, signs) in (0..DAYS).zip(of_days).rev() {
            let midnight = i64::from(MONDAY + day) * DAY;
            if dice.is(truth.chance(signs)) {
                next_failure = Some(Instant(midnight + 4 * HOUR));
                failures += 1.0;
            }
            examples.extend((0..4).map(|hour| Example {
                device,
                at: Instant(midnight + hour * HOUR),
                signs: signs.clone(),
                next_failure,
            }));
        }
    }
    examples.sort_by_key(|example| example.at);
    (examples, failures)
}

/// A fleet with so many failures in so many device days.
pub(super) fn fleet(failures: f64, days: f64) -> Fleet {
    Fleet {
        devices: 20,
        failures,
        days,
        ..Fleet::default()
    }
}

/// Examples and the fleet that they are of: the first has not failed yet, others fail more and more often.
pub(super) fn made(number: u32) -> (Vec<Example>, Fleet) {
    let mut dice = Dice::new(u64::from(number));
    let (truth, all) = Truth::new(f64::from(number) - 5.0, &mut dice);
    let (examples, failures) = examples(&truth, &all, &mut dice);
    let failures = if number == 0 { 0.0 } else { failures };
    let fleet = fleet(failures, f64::from(DEVICES) * f64::from(DAYS));
    (examples, fleet)
}

/// The same fleet, and what was learned of them.
pub(super) fn trained(number: u32) -> (Fleet, Model) {
    let (examples, fleet) = made(number);
    let known_to = Instant(i64::from(MONDAY + DAYS + 3) * DAY);
    let model = train(&examples, &fleet, known_to, Settings::default());
    (fleet, model)
}

fn look(had: &mut Tries, said: &Risk, truth: f64) {
    let interval = Interval {
        low: said.low,
        high: said.high,
        level: LEVEL,
    };
    had.look(interval, truth);
}

#[test]
fn the_chance_of_a_failure_lies_in_its_interval() {
    let mut dice = Dice::new(9);
    let known_to = Instant(i64::from(MONDAY + DAYS + 3) * DAY);
    let mut had = Tries::default();
    for _ in 0..42 {
        let (truth, all) = Truth::new((0.03_f64 / 0.97).ln(), &mut dice);
        let (examples, failures) = examples(&truth, &all, &mut dice);
        let fleet = fleet(failures, f64::from(DEVICES) * f64::from(DAYS));
        let model = train(&examples, &fleet, known_to, Settings::default());
        for _ in 0..10 {
            let signs = signs(&mut dice);
            let said = model.risk(&signs, Horizon::Day);
            look(&mut had, &said, truth.chance(&signs));
        }
    }
    had.hold_ninety("chance of a failure by a model");
}

#[test]
fn the_chance_of_a_failure_lies_in_its_interval_before_there_are_ten() {
    let mut dice = Dice::new(10);
    for days in [10.0, 100.0, 400.0] {
        let mut had = Tries::default();
        while had.all < 1_000 {
            // as is thought beforehand: as sure as half a failure in 30 days
            let rate = dice.gamma(0.5) / 30.0;
            let failures = dice.poisson(rate * days);
            if failures < FAILURES_NEEDED {
                let fleet = fleet(f64::from(failures), days);
                let model = train(&[], &fleet, Instant(0), Settings::default());
                for (horizon, ahead) in [(Horizon::Day, 1.0), (Horizon::ThreeDays, 3.0)] {
                    let said = model.risk(&Signs::default(), horizon);
                    look(&mut had, &said, -(-rate * ahead).exp_m1());
                }
            }
        }
        had.hold_ninety(&format!("chance of a failure by the rate of {days} days"));
    }
}
