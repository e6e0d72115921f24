//! How likely a job succeeds, and how many transactions will be counted while one runs.

use chrono_tz::Tz;
use homepot_analytics::event::Instant;
use homepot_analytics::insights::input::{DAY, HOUR, Hour, JobSeen};
use homepot_analytics::insights::jobs::cost::{Scales, Terms, quarters};
use homepot_analytics::insights::jobs::demand::{State, fold};
use homepot_analytics::insights::jobs::patterns::patterns;
use homepot_analytics::insights::jobs::recommend::LEVEL;
use homepot_analytics::insights::jobs::schedule::{Day, DayPlan, Schedule};
use homepot_analytics::insights::jobs::success::{self, FleetJobs, SiteJobs, Success};
use homepot_analytics::insights::jobs::window::{Hours, Limits, grid};

use super::{Dice, MONDAY, Tries};

const TYPES: [&str; 4] = ["RESTART", "FIRMWARE_UPDATE", "BACKUP", "SYNC"];

/// So many jobs of a type, each with a chance, ended at night.
fn run(jobs: &mut SiteJobs, job_type: &str, (count, chance): (u16, f64), dice: &mut Dice) {
    let schedule = Schedule::new(Tz::UTC);
    for number in 0..count {
        let job = JobSeen {
            at: Instant(i64::from(number) * DAY + HOUR),
            job_type: job_type.to_owned(),
            is_success: dice.is(chance),
            duration_ms: None,
        };
        success::fold(jobs, &job, &schedule);
    }
}

#[test]
fn the_success_of_jobs_lies_in_its_interval() {
    let (mut dice, schedule) = (Dice::new(1), Schedule::new(Tz::UTC));
    for count in [3, 10, 30, 120] {
        let mut had = Tries::default();
        for _ in 0..800 {
            let chance = dice.uniform();
            let mut jobs = SiteJobs::default();
            run(&mut jobs, "RESTART", (count, chance), &mut dice);
            let said = patterns(&[("site", &jobs)], &schedule, Instant(DAY)).insight;
            had.look(said.interval.unwrap(), chance);
        }
        had.hold_ninety_five(&format!("success of {count} jobs"));
    }
}

/// Of one type among others, which are as much alike as so many jobs of one tell of another.
fn among(alike: f64, own: u16, dice: &mut Dice) -> Tries {
    let mut had = Tries::default();
    for _ in 0..800 {
        let common = dice.between(0.5, 0.95);
        let chances = TYPES.map(|_| dice.beta(alike * common, alike * (1.0 - common)));
        let mut jobs = SiteJobs::default();
        for (job_type, chance) in TYPES.into_iter().zip(chances) {
            let count = if job_type == TYPES[0] { own } else { 20 };
            run(&mut jobs, job_type, (count, chance), dice);
        }
        let fleet = FleetJobs::sum([&jobs], TYPES[0]);
        let success = Success::of(&fleet, &jobs, TYPES[0], 0);
        had.look(success.interval(), chances[0]);
    }
    had
}

#[test]
fn the_success_of_a_job_lies_in_its_interval_where_types_are_alike() {
    let mut dice = Dice::new(14);
    for own in [0, 3, 10, 30] {
        let of = format!("success of {own} jobs among those of other types");
        among(20.0, own, &mut dice).hold_ninety_five(&of);
    }
}

/// The page says so: what is borrowed weighs as eight jobs, however much types differ.
#[test]
fn the_success_of_a_job_is_a_little_surer_than_it_should_be_where_types_differ() {
    let mut dice = Dice::new(15);
    let few = among(8.0, 3, &mut dice);
    few.hold(
        "success of 3 jobs among those of types that differ",
        (0.86, 0.95),
    );
    let more = among(8.0, 60, &mut dice);
    more.hold_ninety_five("success of 60 jobs among those of types that differ");
}

/// What a till sells in an hour of the week, with the noise of each hour beyond chance.
struct Shop {
    rates: Vec<f64>,
    noise: f64,
}

impl Shop {
    fn new(dice: &mut Dice, noise: f64) -> Self {
        let size = dice.between(1.0, 8.0);
        let by_hour: Vec<f64> = (0..24).map(|_| size * dice.gamma(4.0) / 4.0).collect();
        let by_day: Vec<f64> = (0..7).map(|_| dice.gamma(16.0) / 16.0).collect();
        let rate = |cell: usize| by_hour[cell % 24] * by_day[cell / 24];
        Self {
            rates: (0..168).map(rate).collect(),
            noise,
        }
    }

    fn sold(&self, cell: usize, dice: &mut Dice) -> f64 {
        let unsteady = if self.noise > 0.0 {
            dice.gamma(1.0 / self.noise) * self.noise
        } else {
            1.0
        };
        f64::from(dice.poisson(self.rates[cell] * unsteady))
    }
}

/// What was learned of the shop in so many weeks, when it was open.
fn learned(shop: &Shop, schedule: &Schedule, weeks: i64, dice: &mut Dice) -> State {
    let mut state = State::default();
    for (day, at) in (0..7 * weeks).flat_map(|day| (8..18).map(move |at| (day, at))) {
        let cell = usize::try_from(day % 7 * 24 + at).unwrap();
        let hour = Hour {
            start: Instant(i64::from(MONDAY) * DAY + day * DAY + at * HOUR),
            count: 1,
            sum: 0.0,
            sum_squares: 0.0,
            min: 0.0,
            max: 0.0,
            increase: shop.sold(cell, dice),
        };
        fold(&mut state, &hour, schedule, 3_600.0);
    }
    state
}

#[test]
fn what_is_counted_while_a_job_runs_lies_in_its_interval() {
    let mut schedule = Schedule::new(Tz::UTC);
    (0..7).for_each(|day| schedule.file(Day::Weekday(day), DayPlan::open(8 * 60, 18 * 60)));
    let limits = Limits {
        hours: Hours::OpenOnly,
        ..Limits::default()
    };
    let mut dice = Dice::new(2);
    for (weeks, noise) in [(2, 0.1), (10, 0.0), (10, 0.3)] {
        let (mut best, mut any) = (Tries::default(), Tries::default());
        for _ in 0..60 {
            let shop = Shop::new(&mut dice, noise);
            let state = learned(&shop, &schedule, weeks, &mut dice);
            let as_of = Instant(i64::from(MONDAY) * DAY + weeks * 7 * DAY);
            let grid = grid(&schedule, &limits, as_of, quarters(60));
            let scales = Scales {
                grid: &grid,
                demand: &state.demand(&schedule, as_of),
                success: None,
                terms: Terms::default(),
                duration_minutes: 60,
                as_of,
            };
            // an hour of the clock has one rate
            let mut starts = scales.starts();
            starts.retain(|start| grid[start.quarter].local.minute.is_multiple_of(60));
            starts.sort_by(|one, other| one.cost().total_cmp(&other.cost()));
            for (place, start) in starts.iter().enumerate() {
                let interval = scales.count(start.quarter).interval(LEVEL);
                let cell = grid[start.quarter].local.hour_of_week();
                let mut sold = || shop.sold(cell, &mut dice);
                if place == 0 {
                    (0..10).for_each(|_| best.look(interval, sold()));
                } else if place % 4 == 0 {
                    any.look(interval, sold());
                }
            }
        }
        best.hold_ninety(&format!(
            "sold at the best start, {weeks} weeks, noise {noise}"
        ));
        any.hold_ninety(&format!("sold at any start, {weeks} weeks, noise {noise}"));
    }
}
