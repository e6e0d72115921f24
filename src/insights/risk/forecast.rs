//! Health in 1 to 14 days: what became of days like today, the trend of its resources, and the hazard of a failure.

use std::ops::RangeInclusive;

use crate::event::Instant;
use crate::insights::input::DAY;
use crate::insights::input::Measure;
use crate::insights::shape::{Insight, Reason};

use crate::insights::risk::answer::{Context, evidence, stale, unknown};
use crate::insights::risk::features::{Facts, State};
use crate::insights::risk::fleet::Fleet;
use crate::insights::risk::health::{View, doubted, status, view};
use crate::insights::risk::model::{Horizon, Model};
use crate::insights::risk::signs::{Signs, signs};
use crate::insights::risk::slope::{Slope, slope};
use crate::insights::risk::track::is_percent;
use crate::insights::risk::turns::{Turn, own};
use crate::insights::risk::words::clock;

/// The furthest day.
pub const DAYS: u8 = 14;
/// What the health of a device is taken to be at most at the end of a day on which it failed: it is down, or was and has
/// lost a part of the day. After the failures from which this was learned it was 57 by the median.
const FAILED_LEAVES: f64 = 50.0;
/// Percent from which a part of a whole is near its limit.
const NEAR_LIMIT: f64 = 85.0;
/// What a full one leaves.
const FULL_LEAVES: f64 = 0.3;
/// Days like today of the device's own that those of its fleet count as much as.
const SHRINK_DAYS: f64 = 14.0;
/// Points by which a day may differ from today to be like it (a standard deviation).
const ALIKE: f64 = 5.0;
/// What a day counts that is nothing like it.
const UNLIKE: f64 = 1e-4;
/// The tail beyond each end of the interval.
const TAIL: f64 = 0.05;

/// Health in `days` days (1 to 14).
#[must_use]
pub fn read(
    state: &State,
    context: &Context<'_>,
    open: &Facts<'_>,
    as_of: Instant,
    days: u8,
) -> Insight {
    let mut all = ahead(state, context, open, as_of, days..=days);
    all.pop()
        .unwrap_or_else(|| unknown(evidence(state, as_of), as_of))
}

/// Health in each of some days.
#[must_use]
pub fn ahead(
    state: &State,
    context: &Context<'_>,
    open: &Facts<'_>,
    as_of: Instant,
    days: RangeInclusive<u8>,
) -> Vec<Insight> {
    let mut state = state.clone();
    // of one that is silent nothing was folded since
    state.note_healths(Some(context.schedule), as_of);
    let state = state.with_open(open, as_of);
    if !state.is_known(as_of) {
        let none = |_| unknown(evidence(&state, as_of), as_of);
        return days.map(none).collect();
    }
    let shut = state.shut(Some(context.schedule), as_of);
    let now = view(&state, (context.fleet, &shut), as_of, View::Middle).health();
    let known = Known {
        state: &state,
        context,
        signs: signs(&state, context.device, context.fleet, as_of),
        now,
        as_of,
    };
    days.map(|day| known.on(day.clamp(1, DAYS))).collect()
}

/// What is known of a device of which it is foretold.
struct Known<'a> {
    state: &'a State,
    context: &'a Context<'a>,
    signs: Signs,
    now: f64,
    as_of: Instant,
}

impl Known<'_> {
    fn on(&self, days: u8) -> Insight {
        let (state, as_of) = (self.state, self.as_of);
        let [middle, dark, bright] =
            [View::Middle, View::Dark, View::Bright].map(|side| self.outlook(days, side));
        let expected = middle.quantile(0.5);
        let low = dark.low().min(expected);
        let high = bright.high().max(expected);
        let usual = Outlook {
            fails: 0.0,
            ..middle
        };
        Insight {
            value: Some(expected),
            interval: Some(doubted(state, as_of, (low, high))),
            evidence: evidence(state, as_of),
            status: status(state, as_of),
            reasons: stale(state, self.context.zone, as_of)
                .into_iter()
                .chain(self.reasons(days, expected, usual.quantile(0.5)))
                .collect(),
            recommendations: Vec::new(),
            as_of,
        }
    }

    fn outlook(&self, days: u8, side: View) -> Outlook {
        let usual = usual_hazard(self.context.model);
        let hazard = hazard_on(self.context.model, &self.signs, days, side);
        Outlook {
            // what days came to has the failures in it that are usual
            fails: ((hazard - usual) / (1.0 - usual)).max(0.0),
            ..Outlook::usual(self.state, self.context.fleet, self.now, (days, side))
        }
    }

    fn reasons(&self, days: u8, expected: f64, usual: f64) -> [Reason; 2] {
        let until = Instant(self.as_of.0 + i64::from(days) * DAY);
        let on = clock(until, self.context.zone);
        let model = self.context.model;
        let hazard = 100.0 * hazard_on(model, &self.signs, days, View::Middle);
        let told = [
            (
                "trend",
                usual - 100.0,
                format!(
                    "On {on} it would be {usual:.0}: what its own days and those of its fleet came to that began like \
                     today, with the trend of its resources."
                ),
            ),
            (
                "hazard",
                expected - usual,
                format!(
                    "The chance that it fails on that day is {hazard:.1} %, where {:.1} % is usual in its fleet.",
                    100.0 * usual_hazard(model)
                ),
            ),
        ];
        told.map(|(factor, contribution, sentence)| Reason {
            factor,
            contribution,
            observed: None,
            expected: None,
            unit: Some("points"),
            sentence,
        })
    }
}

/// What may come: healths with their weights, which sum up to 1, and the chance of a failure beyond what is usual.
#[derive(Clone, Debug)]
struct Outlook {
    healths: Vec<(f64, f64)>,
    fails: f64,
    /// The weight of half a day, as one more that is yet to be seen may lie beyond either end of those that were.
    unseen: f64,
}

impl Outlook {
    /// The healths to which days came that began with one like this: those of the device itself, with those of its
    /// fleet, less what its resources take then. Where none is known it stays as it is.
    fn usual(state: &State, fleet: &Fleet, now: f64, (days, side): (u8, View)) -> Self {
        let alike = |turn: &Turn| {
            let apart = (turn.from - now) / ALIKE;
            (-0.5 * apart * apart).exp()
        };
        let own = own(&state.healths, days).map(|turn| (turn, alike(&turn)));
        // of a health that nobody had the fleet tells what is usual
        let of_fleet = fleet.turns.after(days);
        let of_fleet: Vec<(Turn, f64)> =
            of_fleet.map(|turn| (turn, alike(&turn) + UNLIKE)).collect();
        let sum = |turns: &[(Turn, f64)]| {
            turns
                .iter()
                .map(|(turn, of_one)| turn.count * of_one)
                .sum::<f64>()
        };
        let shrunk = SHRINK_DAYS / sum(&of_fleet);
        let of_fleet = of_fleet
            .into_iter()
            .map(|(turn, of_one)| (turn, of_one * shrunk));
        let turns: Vec<(Turn, f64)> = own.chain(of_fleet).collect();
        let all = sum(&turns);
        let left = resources_then(state, f64::from(days), side);
        if all < UNLIKE {
            return Self {
                healths: vec![(now * left, 1.0)],
                fails: 0.0,
                unseen: 0.5,
            };
        }
        let weights = turns
            .iter()
            .map(|(turn, of_one)| (turn.to * left, turn.count * of_one / all));
        let squares = turns
            .iter()
            .map(|(turn, of_one)| turn.count * (of_one / all).powi(2));
        Self {
            healths: weights.collect(),
            fails: 0.0,
            unseen: squares.sum::<f64>() / 2.0,
        }
    }

    fn quantile(&self, part: f64) -> f64 {
        quantile(self.all(), part)
    }

    /// Where a twentieth is below, if half a day more comes to nothing.
    fn low(&self) -> f64 {
        let whole = 1.0 + self.unseen;
        quantile(self.all().chain([(0.0, self.unseen)]), TAIL * whole)
    }

    /// Where a twentieth is above, if half a day more comes to all.
    fn high(&self) -> f64 {
        let whole = 1.0 + self.unseen;
        let unseen = [(100.0, self.unseen)];
        quantile(self.all().chain(unseen), (1.0 - TAIL) * whole)
    }

    fn all(&self) -> impl Iterator<Item = (f64, f64)> {
        let whole = self.healths.iter();
        let whole = whole.map(|(health, weight)| (*health, weight * (1.0 - self.fails)));
        let failed = self.healths.iter();
        let failed =
            failed.map(|(health, weight)| (health.min(FAILED_LEAVES), weight * self.fails));
        whole.chain(failed)
    }
}

/// The health below which, or at which, so much of the weight is.
fn quantile(healths: impl Iterator<Item = (f64, f64)>, weight: f64) -> f64 {
    let mut all: Vec<(f64, f64)> = healths.collect();
    all.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut below = 0.0;
    let reached = all.iter().find(|(_, weight_of_one)| {
        below += weight_of_one;
        below >= weight
    });
    reached.or(all.last()).map_or(0.0, |(health, _)| *health)
}

/// The chance of failing on the n-th day from now: of the first by the 24 h hazard, of the next two by the 72 h hazard, alike
/// on each, and later what is usual: what is the device's own is in what its days came to.
fn hazard_on(model: &Model, signs: &Signs, days: u8, side: View) -> f64 {
    let pick = |horizon| {
        let risk = model.risk(signs, horizon);
        match side {
            View::Middle => risk.chance,
            View::Dark => risk.high,
            View::Bright => risk.low,
        }
    };
    match days {
        0 | 1 => pick(Horizon::Day),
        2 | 3 => {
            let (one, three) = (pick(Horizon::Day), pick(Horizon::ThreeDays));
            let left = (1.0 - three.max(one)) / (1.0 - one).max(1e-9);
            (1.0 - left.sqrt()).clamp(0.0, 1.0)
        }
        _ => usual_hazard(model),
    }
}

/// What is left then of what resources leave now: what grows towards its limit goes on.
fn resources_then(state: &State, ahead: f64, side: View) -> f64 {
    let percents = state
        .tracks
        .iter()
        .filter(|track| is_percent(track.measure));
    let limits = percents.filter_map(|track| {
        let slope = slope(&track.daily_means())?;
        let left = |percent: f64| {
            let near = ((percent - NEAR_LIMIT) / (100.0 - NEAR_LIMIT)).clamp(0.0, 1.0);
            1.0 - (1.0 - FULL_LEAVES) * near
        };
        Some(left(line(&slope, ahead, side)) / left(slope.now))
    });
    limits.fold(1.0, f64::min)
}

/// The chance of a failure on any day of any device of the fleet.
fn usual_hazard(model: &Model) -> f64 {
    let (failures, exposure) = model.rate;
    -(-failures / exposure).exp_m1()
}

fn line(slope: &Slope, ahead: f64, side: View) -> f64 {
    let change = match side {
        View::Middle => slope.middle,
        View::Dark => slope.high,
        View::Bright => slope.low,
    };
    slope.now + change * ahead
}

/// Days until the disk is full, by the middle of its slope and the ends of its interval; nothing where it does not grow.
#[must_use]
pub fn days_to_full(state: &State) -> Option<(f64, f64, Option<f64>)> {
    let disk = state
        .tracks
        .iter()
        .find(|track| track.measure == Measure::DiskPercent)?;
    let slope = slope(&disk.daily_means())?;
    let reach = |change: f64| (change > 0.0).then(|| ((100.0 - slope.now) / change).max(0.0));
    Some((reach(slope.middle)?, reach(slope.high)?, reach(slope.low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(healths: &[u8]) -> State {
        State {
            healths: healths.to_vec(),
            ..State::default()
        }
    }

    fn fleet(healths: &[&[u8]]) -> Fleet {
        let mut fleet = Fleet::default();
        for of in healths {
            fleet.turns.add(of);
        }
        fleet
    }

    /// The ends and the middle of what comes after so many days with a chance to fail.
    fn ahead(state: &State, fleet: &Fleet, now: f64, (days, fails): (u8, f64)) -> [f64; 3] {
        let outlook = Outlook {
            fails,
            ..Outlook::usual(state, fleet, now, (days, View::Middle))
        };
        let whole: f64 = outlook.healths.iter().map(|(_, weight)| weight).sum();
        assert!((whole - 1.0).abs() < 1e-9, "{whole}");
        [outlook.low(), outlook.quantile(0.5), outlook.high()]
    }

    fn is_near(told: [f64; 3], expected: [f64; 3]) {
        let apart = told
            .iter()
            .zip(expected)
            .map(|(one, other)| (one - other).abs());
        assert!(apart.fold(0.0, f64::max) <= 1.0, "{told:?} {expected:?}");
    }

    #[test]
    fn of_which_nothing_became_yet_it_stays_as_it_is_or_comes_to_anything() {
        let told = ahead(&state(&[]), &fleet(&[]), 73.0, (1, 0.0));
        is_near(told, [0.0, 73.0, 100.0]);
        let told = ahead(&state(&[73]), &fleet(&[]), 73.0, (14, 0.0));
        is_near(told, [0.0, 73.0, 100.0]);
        // what two days came to says little
        let told = ahead(&state(&[73; 3]), &fleet(&[]), 73.0, (1, 0.0));
        is_near(told, [0.0, 73.0, 100.0]);
        let told = ahead(&state(&[73; 28]), &fleet(&[]), 73.0, (1, 0.0));
        is_near(told, [73.0; 3]);
    }

    #[test]
    fn a_bad_day_is_followed_by_what_followed_such_days_of_the_fleet() {
        let recovers: &[u8] = &[95, 30, 95, 30, 95, 30, 95, 30, 95, 30, 95, 30];
        let fleet = fleet(&[recovers; 4]);
        let of_none = state(&[]);
        is_near(ahead(&of_none, &fleet, 30.0, (1, 0.0)), [95.0; 3]);
        is_near(ahead(&of_none, &fleet, 30.0, (2, 0.0)), [30.0; 3]);
        // one that nobody had: whatever there was
        is_near(ahead(&of_none, &fleet, 62.0, (1, 0.0)), [30.0, 30.0, 95.0]);
    }

    #[test]
    fn a_device_that_stays_ill_is_not_expected_to_recover_as_others_do() {
        let recovers: &[u8] = &[95, 60, 95, 60, 95, 60, 95, 60, 95, 60, 95];
        let fleet = fleet(&[recovers; 4]);
        let long = ahead(&state(&[60; 28]), &fleet, 60.0, (1, 0.0));
        is_near(long, [60.0, 60.0, 95.0]);
        let briefly = ahead(&state(&[60; 4]), &fleet, 60.0, (1, 0.0));
        is_near(briefly, [60.0, 95.0, 95.0]);
    }

    #[test]
    fn one_that_is_likely_to_fail_has_a_low_end_and_then_a_low_middle() {
        let well: &[u8] = &[95; 28];
        let fleet = fleet(&[well; 9]);
        let told = |fails| ahead(&state(&[95; 28]), &fleet, 95.0, (1, fails));
        is_near(told(0.0), [95.0; 3]);
        is_near(told(0.1), [50.0, 95.0, 95.0]);
        is_near(told(0.6), [50.0, 50.0, 95.0]);
    }
}
