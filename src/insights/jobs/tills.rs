//! What several tills sell together: those that one job takes out of use at the same time.

use crate::event::Instant;
use crate::insights::jobs::demand::{Demand, State};
use crate::insights::jobs::rates::Gamma;
use crate::insights::jobs::schedule::Schedule;
use crate::insights::number::float;

/// The tills that cannot sell while a job runs, at one site.
#[derive(Clone, Copy, Debug)]
pub struct Tills<'a>(&'a [&'a State]);

impl<'a> Tills<'a> {
    /// Some tills.
    #[must_use]
    pub const fn of(states: &'a [&'a State]) -> Self {
        Self(states)
    }

    /// Those of which anything was counted. Without any, one stands for all of them: what the site expects is filed
    /// for all of its tills together.
    fn counted(self) -> impl Iterator<Item = &'a State> {
        let counted = self.0.iter().copied().filter(|state| state.folded() > 0);
        let is_any = self.0.iter().any(|state| state.folded() > 0);
        let one = self.0.first().copied().filter(|_| !is_any);
        counted.chain(one)
    }

    /// Hours that were folded, of all of them.
    #[must_use]
    pub fn folded(self) -> i64 {
        self.counted().map(State::folded).sum()
    }

    /// When the first hour began that was folded.
    #[must_use]
    pub fn first(self) -> Option<Instant> {
        self.counted().filter_map(State::first).min()
    }

    /// When the last hour ends that was folded.
    #[must_use]
    pub fn last(self) -> Option<Instant> {
        self.counted().filter_map(State::last).max()
    }

    /// Of the hours that the site was open, the part that was seen, on average.
    #[must_use]
    pub fn coverage(self) -> Option<f64> {
        let parts: Vec<f64> = self.counted().filter_map(State::coverage).collect();
        (!parts.is_empty()).then(|| parts.iter().sum::<f64>() / float::<usize>(parts.len()))
    }

    /// How many hours an hour of the week was seen, of the till of which it was seen least.
    #[must_use]
    pub fn seen(self, hour_of_week: usize) -> f64 {
        let seen = self.counted().map(|state| state.seen(hour_of_week));
        seen.min_by(f64::total_cmp).unwrap_or_default()
    }

    /// The demand that can be expected of all of them in the week of `at`.
    #[must_use]
    pub fn demand(self, schedule: &Schedule, at: Instant) -> Demand {
        let of = |state: &State| state.demand(schedule, at);
        let mut demands: Vec<Demand> = self.counted().map(of).collect();
        match demands.len() {
            0 => of(&State::default()),
            1 => demands.remove(0),
            _ => together(&demands),
        }
    }
}

/// The sum of demands. What is not known of each is not known apart from the others; what moves a site's day moves all
/// of its tills.
fn together(demands: &[Demand]) -> Demand {
    let cells = demands.iter().map(|demand| demand.rates.len()).min();
    let rates = (0..cells.unwrap_or_default()).map(|cell| {
        let rates = demands.iter().filter_map(|demand| demand.rates.get(cell));
        sum(rates.copied())
    });
    let sold = |demand: &Demand| demand.rates.iter().map(|rate| rate.mean()).sum::<f64>();
    let (noise, all) = demands.iter().fold((0.0, 0.0), |(noise, all), demand| {
        let sold = sold(demand);
        (noise + demand.noise * sold, all + sold)
    });
    Demand {
        rates: rates.collect(),
        noise: if all > 0.0 { noise / all } else { 0.0 },
    }
}

/// The gamma distribution with the mean and the variance of a sum.
fn sum(rates: impl Iterator<Item = Gamma>) -> Gamma {
    let (mut mean, mut variance, mut shared, mut is_open) = (0.0, 0.0, 0.0, false);
    for rate in rates {
        let of = rate.mean();
        mean += of;
        variance += of / rate.rate;
        shared += of * of * rate.shared;
        is_open |= rate.is_open;
    }
    if mean <= 0.0 || variance <= 0.0 {
        return Gamma {
            rate: 1.0,
            is_open,
            ..Gamma::default()
        };
    }
    Gamma {
        shape: mean * mean / variance,
        rate: mean / variance,
        shared: shared / (mean * mean),
        is_open,
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;
    use crate::insights::input::{DAY, HOUR, Hour};
    use crate::insights::jobs::demand::fold;
    use crate::insights::jobs::schedule::{Day, DayPlan};

    fn shop() -> Schedule {
        let mut schedule = Schedule::new(Tz::UTC);
        (0..7).for_each(|day| schedule.file(Day::Weekday(day), DayPlan::open(8 * 60, 18 * 60)));
        schedule
    }

    fn sold(schedule: &Schedule, hourly: f64) -> State {
        let mut state = State::default();
        for (day, hour) in (0..28).flat_map(|day| (8..18).map(move |hour| (day, hour))) {
            let hour = Hour {
                start: Instant(19_000 * DAY + day * DAY + hour * HOUR),
                count: 1,
                sum: 0.0,
                sum_squares: 0.0,
                min: 0.0,
                max: 0.0,
                increase: hourly,
            };
            fold(&mut state, &hour, schedule, 3_600.0);
        }
        state
    }

    #[test]
    fn one_till_is_as_it_is_alone() {
        let (schedule, at) = (shop(), Instant(19_028 * DAY));
        let state = sold(&schedule, 7.0);
        let (alone, one) = (state.demand(&schedule, at), [&state]);
        let told = Tills::of(&one).demand(&schedule, at);
        assert_eq!((told.rates, told.noise), (alone.rates, alone.noise));
    }

    #[test]
    fn tills_sell_together_what_each_sells_and_one_that_sells_nothing_adds_nothing() {
        let (schedule, at) = (shop(), Instant(19_028 * DAY));
        let (busy, quiet) = (sold(&schedule, 20.0), sold(&schedule, 4.0));
        let sensor = State::default();
        let all = [&busy, &sensor, &quiet];
        let told = Tills::of(&all).demand(&schedule, at);
        let noon = |demand: &Demand| demand.rates[12].mean();
        let each = noon(&busy.demand(&schedule, at)) + noon(&quiet.demand(&schedule, at));
        assert!((noon(&told) - each).abs() < 1e-9);
        assert_eq!(Tills::of(&all).folded(), busy.folded() + quiet.folded());
    }

    #[test]
    fn tills_of_which_nothing_was_counted_are_one() {
        let (schedule, at) = (shop(), Instant(19_028 * DAY));
        let state = State::default();
        let all = [&state, &state, &state];
        let told = Tills::of(&all).demand(&schedule, at);
        assert_eq!(told.rates, state.demand(&schedule, at).rates);
        assert_eq!(Tills::of(&[]).demand(&schedule, at).rates, told.rates);
    }
}
