//! How often devices fail, for how long, and how much of the time they are up: devices of which the true rates are drawn
//! from a gamma distribution, and the true repair times from a lognormal one.

use chrono_tz::Tz;
use homepot_analytics::event::Instant;
use homepot_analytics::insights::input::{DAY, HOUR, State as Reported};
use homepot_analytics::insights::number::{float, whole};
use homepot_analytics::insights::reliability::figures::{Estimate, LEVEL};
use homepot_analytics::insights::reliability::fleet::{Fleet, Prior};
use homepot_analytics::insights::reliability::insight::{Ask, add, reliability};
use homepot_analytics::insights::reliability::intervals::{Failures, State};
use homepot_analytics::insights::reliability::summary::{Group, device};
use homepot_analytics::insights::shape::Interval;

use super::{Dice, Tries};

const START: i64 = 20_000 * DAY;
/// A sign of life comes so often, in hours.
const EVERY: f64 = 6.0;
/// How far ahead failures are asked for, in hours.
const AHEAD: f64 = 720.0;
/// The deviation of the logarithms of repair times: of those of a device, and of the means of devices.
const WITHIN: f64 = 0.8;
const BETWEEN: f64 = 0.4;
const DEVICES: usize = 40;

fn at(hours: f64) -> Instant {
    Instant(START + whole(hours * float(HOUR)))
}

/// A device, its history until a time, and what came of it later.
struct Made {
    state: State,
    /// Hours up until a failure, on average.
    up: f64,
    /// Hours to repair one, on average.
    repair: f64,
    /// How often it fails after the time asked for.
    later: f64,
}

impl Made {
    /// One that fails about every so many hours that it is up.
    fn new(usual: f64, hours: f64, dice: &mut Dice) -> Self {
        let rate = dice.gamma(3.0) / 3.0 / usual;
        let log = 2.0_f64.ln() + BETWEEN * dice.normal();
        let (mut state, mut now, mut signed) = (State::default(), 0.0, 0.0);
        let mut later = 0.0;
        state.cadence.tell(EVERY * 3_600.0);
        state.report(at(0.0));
        while now < hours + AHEAD {
            let failure = now + dice.exponential(rate);
            let repaired = failure + (log + WITHIN * dice.normal()).exp();
            later += f64::from(u8::from((hours..hours + AHEAD).contains(&failure)));
            let mut sign = |until: f64, state: &mut State| {
                while signed + EVERY < until.min(hours) {
                    signed += EVERY;
                    state.report(at(signed));
                }
            };
            sign(failure, &mut state);
            if failure < hours {
                state.change(at(failure), Reported::Error);
            }
            sign(repaired, &mut state);
            if repaired < hours {
                state.change(at(repaired), Reported::Online);
            }
            now = repaired;
        }
        Self {
            state,
            up: 1.0 / rate,
            repair: (log + WITHIN * WITHIN / 2.0).exp(),
            later,
        }
    }
}

/// How often each figure lay in its interval.
#[derive(Default)]
struct Found {
    between: Tries,
    repair: Tries,
    up: Tries,
    later: Tries,
}

impl Found {
    /// Looks at a device.
    fn look(&mut self, made: &Made, prior: &Prior, as_of: Instant) {
        let ask = |horizon| Ask {
            site: "site",
            zone: Tz::UTC,
            failures: Failures::Any,
            horizon,
        };
        let cycle = made.up + made.repair;
        let now = reliability(&made.state, prior, &ask(None), as_of);
        self.between.look(now.interval.unwrap(), cycle);
        let summary = device(&made.state, prior, &ask(None), as_of);
        self.repair.look(interval(summary.mttr), made.repair);
        let up = interval(summary.availability);
        self.up.look(up, made.up / cycle);
        let ahead = reliability(&made.state, prior, &ask(Some(AHEAD)), as_of);
        self.later.look(ahead.interval.unwrap(), made.later);
    }

    /// Of fleets whose devices fail about every so many hours, after so many days.
    fn of(usual: f64, days: f64, fleets: usize, dice: &mut Dice) -> Self {
        let (mut found, hours) = (Self::default(), days * 24.0);
        for _ in 0..fleets {
            let made: Vec<Made> = (0..DEVICES)
                .map(|_| Made::new(usual, hours, dice))
                .collect();
            let mut fleet = Fleet::new(AHEAD);
            for made in &made {
                add(&mut fleet, &made.state, "site", Failures::Any, at(hours));
            }
            let prior = fleet.prior();
            for made in &made {
                found.look(made, &prior, at(hours));
            }
        }
        found
    }
}

fn interval(estimate: Estimate) -> Interval {
    Interval {
        low: estimate.low,
        high: estimate.high.unwrap_or(f64::INFINITY),
        level: LEVEL,
    }
}

#[test]
fn figures_of_reliability_lie_in_their_intervals() {
    let mut dice = Dice::new(3);
    for (usual, days) in [(96.0, 6.0), (96.0, 30.0), (192.0, 90.0), (192.0, 240.0)] {
        let found = Found::of(usual, days, 16, &mut dice);
        let of = |figure: &str| format!("{figure} after {days} days");
        found
            .between
            .hold_ninety_five(&of("hours between failures"));
        found.repair.hold_ninety_five(&of("hours to repair"));
        found.up.hold_ninety_five(&of("availability"));
        found.later.hold_ninety(&of("failures ahead"));
    }
}

/// The page says so: counts are whole numbers.
#[test]
fn rare_failures_ahead_lie_a_little_more_often_in_their_interval() {
    let found = Found::of(960.0, 30.0, 16, &mut Dice::new(16));
    found.later.hold("rare failures ahead", (0.9, 1.0));
    found
        .between
        .hold_ninety_five("hours between rare failures");
}

#[test]
fn the_hours_between_failures_of_a_group_lie_in_their_interval() {
    let mut dice = Dice::new(17);
    let mut had = Tries::default();
    for _ in 0..400 {
        let usual = dice.between(96.0, 960.0);
        let mut group = Group::new(Failures::Any);
        let (mut failures, mut hours) = (0.0, 0.0);
        for _ in 0..5 {
            let made = Made::new(usual, 240.0, &mut dice);
            group.add(&made.state, "site", at(240.0));
            hours += 1.0;
            failures += 1.0 / (made.up + made.repair);
        }
        if let Some(said) = group.insight(at(240.0)).interval {
            had.look(said, hours / failures);
        } else {
            let bound = group.summary().mtbf;
            had.count(bound.low <= hours / failures && bound.high.is_none());
        }
    }
    had.hold_ninety_five("hours between failures of a group");
}
