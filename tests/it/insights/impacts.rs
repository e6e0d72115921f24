//! What a change of the configuration did: nothing, or what is known, to levels with noise that is alike from day to day.

use homepot_analytics::insights::impact::daily::Day;
use homepot_analytics::insights::impact::effect::{Estimate, LEVEL, Window, estimate};
use homepot_analytics::insights::impact::verdict::{SIGNIFICANCE, Series, Verdict, holm, verdict};
use homepot_analytics::insights::input::Measure;
use homepot_analytics::insights::shape::Interval;

use super::{Dice, MONDAY, Tries};

/// The day of the change.
const CHANGED: i32 = MONDAY + 30;

/// What the devices of a site have in common.
struct Site {
    week: Vec<f64>,
    shocks: Vec<f64>,
}

impl Site {
    fn new(days: usize, dice: &mut Dice) -> Self {
        let mut shock = 0.0;
        let week = (0..7).map(|_| 0.1 * dice.normal()).collect();
        let shocks = (0..days).map(|_| {
            shock = 0.6 * shock + 0.04 * dice.normal();
            shock
        });
        Self {
            week,
            shocks: shocks.collect(),
        }
    }

    /// Daily levels of a device that was changed by a factor, of which the logarithms have a noise.
    fn levels(&self, factor: f64, (likeness, noise): (f64, f64), dice: &mut Dice) -> Vec<Day> {
        let (size, mut own) = (dice.between(10.0, 100.0), noise * dice.normal());
        let level = |(day, shock): (i32, &f64)| {
            own = likeness * own + noise * (1.0 - likeness * likeness).sqrt() * dice.normal();
            let weekday = usize::try_from(day.rem_euclid(7)).unwrap();
            let after = if day > CHANGED { factor } else { 1.0 };
            Day {
                day,
                level: size * after * (self.week[weekday] + shock + own).exp(),
                hours: 24,
            }
        };
        (MONDAY..).zip(&self.shocks).map(level).collect()
    }
}

/// How often the effect lay in its interval, and how often there was said to be one.
#[derive(Default)]
struct Found {
    had: Tries,
    claimed: Tries,
}

impl Found {
    fn look(&mut self, found: &Estimate, truth: f64) {
        let interval = Interval {
            low: found.low,
            high: found.high,
            level: LEVEL,
        };
        self.had.look(interval, truth);
        self.claimed.count(found.p < SIGNIFICANCE);
    }
}

/// What is said of a change by a factor, with so many days after it and so many other devices to compare with.
fn said(factor: f64, (days, others): (usize, usize), dice: &mut Dice) -> Estimate {
    let noise = (dice.between(0.0, 0.6), 0.1);
    let site = Site::new(31 + days, dice);
    let device = site.levels(factor, noise, dice);
    let others: Vec<_> = (0..others).map(|_| site.levels(1.0, noise, dice)).collect();
    estimate(&device, &others, Window::around(CHANGED, 1), None).unwrap()
}

#[test]
fn no_effect_is_seldom_taken_for_one() {
    let mut dice = Dice::new(5);
    let measures = [
        Series::Measure(Measure::CpuPercent),
        Series::Measure(Measure::NetworkLatencyMs),
        Series::Measure(Measure::TransactionCount),
    ];
    let mut any = Tries::default();
    for (days, others) in [(14, 4), (4, 2)] {
        let mut found = Found::default();
        for _ in 0..200 {
            let all = measures.map(|_| said(1.0, (days, others), &mut dice));
            for one in &all {
                found.look(one, 0.0);
            }
            let adjusted = holm(&all.map(|one| one.p));
            let each = measures.iter().zip(&all).zip(adjusted);
            let mut verdicts = each.filter_map(|((series, one), p)| verdict(*series, one, p));
            any.count(verdicts.any(|it| matches!(it, Verdict::Improved | Verdict::Worse)));
        }
        let of = format!("no effect, {days} days, {others} others");
        found.had.hold_ninety_five(&of);
        found.claimed.hold(&of, (0.0, 0.08));
    }
    any.hold("no effect on any of three measures", (0.0, 0.08));
}

#[test]
fn an_effect_lies_in_its_interval_and_is_mostly_found() {
    let mut dice = Dice::new(13);
    let (mut less, mut more) = (Found::default(), Found::default());
    for _ in 0..400 {
        less.look(&said(0.8, (14, 4), &mut dice), -0.2);
        more.look(&said(1.3, (7, 2), &mut dice), 0.3);
    }
    less.had.hold_ninety_five("a fifth less");
    less.claimed.hold("a fifth less is found", (0.75, 1.0));
    more.had.hold_ninety_five("three tenths more");
}

/// Counts of each day, of which some come together.
fn counts(mean: f64, factor: f64, together: f64, dice: &mut Dice) -> Vec<Day> {
    let count = |day: i32| {
        let after = if day > CHANGED { factor } else { 1.0 };
        let unsteady = dice.gamma(1.0 / together) * together;
        Day {
            day,
            level: f64::from(dice.poisson(mean * after * unsteady)),
            hours: 24,
        }
    };
    (MONDAY..).take(45).map(count).collect()
}

#[test]
fn an_effect_on_errors_lies_in_its_interval() {
    let mut dice = Dice::new(6);
    for (mean, together) in [(0.3, 0.01), (2.0, 0.01), (2.0, 0.5)] {
        let (mut none, mut twice) = (Found::default(), Found::default());
        for _ in 0..1_000 {
            for (factor, found) in [(1.0, &mut none), (2.0, &mut twice)] {
                let device = counts(mean, factor, together, &mut dice);
                let other = counts(mean, 1.0, together, &mut dice);
                let window = Window::around(CHANGED, 1);
                let said = estimate(&device, &[other], window, Some(1.0)).unwrap();
                found.look(&said, factor - 1.0);
            }
        }
        let of = format!("{mean} errors a day, {together} together");
        none.had.with(twice.had).hold_ninety_five(&of);
        none.claimed.hold(&of, (0.0, 0.08));
    }
}
