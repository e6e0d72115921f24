//! The best start of a job in the next seven days, with alternatives, as an insight.

use crate::event::Instant;
use crate::insights::input::{DAY, HOUR};
use crate::insights::shape::{Evidence, Insight, Interval, Reason, Recommendation, Status};

use crate::insights::jobs::cost::{Scales, Start, Terms, quarters};
use crate::insights::jobs::demand::State;
use crate::insights::jobs::rates::{CELL_STRENGTH, CELLS};
use crate::insights::jobs::schedule::Schedule;
use crate::insights::jobs::success::{BLOCKS, FleetJobs, SiteJobs, Success};
use crate::insights::jobs::told;
use crate::insights::jobs::window::{DURATION_MINUTES_MAX, Hours, Limits, Quarter, grid};

/// Predictive intervals of counts hold at this level.
pub const LEVEL: f64 = 0.9;
/// Alternatives are at least so far from the best start and from each other.
const APART: i64 = 2 * HOUR;
const ALTERNATIVES: usize = 3;
/// Without a reading for so long, what was learned may no longer hold.
const STALE_AFTER: i64 = 14 * DAY;

/// The job that is to run.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// As jobs of its kind are named.
    pub job_type: &'a str,
    /// How long the device cannot sell, up to a day.
    pub duration_minutes: u32,
    /// What it may not break.
    pub limits: &'a Limits,
    /// What lost time, failure and lateness cost.
    pub terms: Terms,
}

/// What is known of the device, its site and the fleet at the time asked for, and nothing later.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The hours as filed by then.
    pub schedule: &'a Schedule,
    /// Of the device.
    pub demand: &'a State,
    /// How jobs at its site ended.
    pub site_jobs: &'a SiteJobs,
    /// How jobs of the fleet ended, for the job's type.
    pub fleet_jobs: FleetJobs,
}

/// A time to run the job.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// A quarter of an hour by the site's clock.
    pub start: Instant,
    /// When the job has ended.
    pub end: Instant,
    /// Transactions that are expected to be lost.
    pub lost: f64,
    /// How many will be counted.
    pub counted: Interval,
    /// Transactions that a retry costs, by how likely it is.
    pub retry: f64,
    /// Transactions that the delay is worth.
    pub lateness: f64,
    /// The sum of these.
    pub cost: f64,
    /// How likely the job succeeds; `None` while no job has ended.
    pub success: Option<(f64, Interval)>,
    /// Why, in the site's time.
    pub sentence: String,
}

/// When to run a job. `insight.value` is what the best start is expected to lose, in transactions.
#[derive(Clone, Debug)]
pub struct Recommended {
    /// The reading; its reasons are the parts of the cost.
    pub insight: Insight,
    /// `None` when it is insufficient.
    pub best: Option<Window>,
    /// The next best ones, the cheapest first.
    pub alternatives: Vec<Window>,
    /// The probability that the best start costs at most 5 % more than the best there is.
    pub confidence: Option<f64>,
}

/// Weighs every start of the next seven days. An hour that is not closed yet is not read: demand is of closed ones.
#[must_use]
pub fn recommend(known: &Known<'_>, job: &Job<'_>, as_of: Instant) -> Recommended {
    let duration_minutes = job.duration_minutes.clamp(1, DURATION_MINUTES_MAX);
    if !known.schedule.is_filed() && known.demand.folded() == 0 {
        return insufficient(known, as_of, nothing_known(known.schedule, as_of));
    }
    if !known.schedule.is_filed() && job.limits.hours != Hours::Any {
        return insufficient(
            known,
            as_of,
            "No opening hours are filed, so that no time is known to be allowed; \
            they suffice as soon as they are filed."
                .to_owned(),
        );
    }
    let demand = known.demand.demand(known.schedule, as_of);
    let grid = grid(
        known.schedule,
        job.limits,
        as_of,
        quarters(duration_minutes),
    );
    let has_jobs = known.fleet_jobs.all.and(known.site_jobs.all()).jobs() > 0;
    let of = |block| Success::of(&known.fleet_jobs, known.site_jobs, job.job_type, block);
    let success: Option<[Success; BLOCKS]> = has_jobs.then(|| std::array::from_fn(of));
    let scales = Scales {
        grid: &grid,
        demand: &demand,
        success,
        terms: job.terms,
        duration_minutes,
        as_of,
    };
    let starts = scales.starts();
    let Some(best) = starts.iter().min_by(|a, b| a.cost().total_cmp(&b.cost())) else {
        return insufficient(
            known,
            as_of,
            nothing_allowed(known.schedule, as_of, duration_minutes),
        );
    };
    let tell = |start: &Start| window(known, &scales, start);
    let window = tell(best);
    Recommended {
        insight: insight(known, grid.get(best.quarter), &window, as_of),
        best: Some(window),
        alternatives: alternatives(&starts, best).iter().map(tell).collect(),
        confidence: Some(scales.confidence(best, &starts)),
    }
}

fn nothing_allowed(schedule: &Schedule, as_of: Instant, duration_minutes: u32) -> String {
    format!(
        "No start within 7 days is allowed for a job of {duration_minutes} minutes: the limits \
        leave no time. Move a limit, or ask again on {}.",
        told::day(schedule, Instant(as_of.0 + DAY))
    )
}

fn nothing_known(schedule: &Schedule, as_of: Instant) -> String {
    format!(
        "Neither opening hours are filed nor transactions counted; filed hours suffice at once, readings from {} on.",
        told::day(schedule, Instant(as_of.0 + 7 * DAY))
    )
}

/// The cheapest starts that are apart from the best and from each other.
fn alternatives(starts: &[Start], best: &Start) -> Vec<Start> {
    let mut cheapest: Vec<&Start> = starts.iter().collect();
    cheapest.sort_by(|a, b| a.cost().total_cmp(&b.cost()));
    let mut chosen = vec![*best];
    for start in cheapest {
        if chosen.len() > ALTERNATIVES {
            break;
        }
        if chosen
            .iter()
            .all(|other| (other.at.0 - start.at.0).abs() >= APART)
        {
            chosen.push(*start);
        }
    }
    chosen.split_off(1)
}

fn window(known: &Known<'_>, scales: &Scales<'_>, start: &Start) -> Window {
    let count = scales.count(start.quarter);
    let counted = count.interval(LEVEL);
    let success = scales
        .success
        .and_then(|success| success.get(start.block).copied());
    let sentence = scales
        .grid
        .get(start.quarter)
        .map_or_else(String::new, |quarter| {
            let basis = if known.demand.folded() == 0 {
                ", by the filed hours only, as no sale was counted yet"
            } else {
                ""
            };
            format!(
                "{}: {}, {}{basis}.",
                told::moment(quarter.local),
                told::sales(count, counted),
                told::hours(known.schedule, quarter)
            )
        });
    Window {
        start: start.at,
        end: Instant(start.at.0 + i64::from(scales.duration_minutes) * HOUR / 60),
        lost: start.lost,
        counted,
        retry: start.retry,
        lateness: start.lateness,
        cost: start.cost(),
        success: success.map(|success| (success.mean(), success.interval())),
        sentence,
    }
}

fn evidence(known: &Known<'_>) -> Evidence {
    Evidence {
        events: known.demand.folded() + i64::from(known.site_jobs.all().jobs()),
        from: known.demand.first(),
        to: known.demand.last(),
        coverage: known.demand.coverage(),
    }
}

fn insufficient(known: &Known<'_>, as_of: Instant, sentence: String) -> Recommended {
    let reason = Reason {
        factor: "missing",
        contribution: 0.0,
        observed: None,
        expected: None,
        unit: None,
        sentence,
    };
    let insight = Insight {
        value: None,
        interval: None,
        evidence: evidence(known),
        status: Status::Insufficient,
        reasons: vec![reason],
        recommendations: Vec::new(),
        as_of,
    };
    Recommended {
        insight,
        best: None,
        alternatives: Vec::new(),
        confidence: None,
    }
}

fn insight(known: &Known<'_>, start: Option<&Quarter>, best: &Window, as_of: Instant) -> Insight {
    let (status, basis) = status(known, start, as_of);
    let mut reasons = parts(best);
    reasons.extend(basis.map(|sentence| reason("evidence", 0.0, sentence)));
    let action = Recommendation {
        action: "run_job",
        sentence: best.sentence.clone(),
        mutation: None,
    };
    Insight {
        value: Some(best.lost),
        interval: Some(best.counted),
        evidence: evidence(known),
        status,
        reasons,
        recommendations: vec![action],
        as_of,
    }
}

fn reason(factor: &'static str, contribution: f64, sentence: String) -> Reason {
    Reason {
        factor,
        contribution,
        observed: None,
        expected: Some(contribution),
        unit: Some("transactions"),
        sentence,
    }
}

/// The parts of the cost; they add up to it.
fn parts(best: &Window) -> Vec<Reason> {
    let retry = best.success.map_or_else(
        || "No job has ended yet, so that success is not known and no retry is counted.".to_owned(),
        |(mean, interval)| format!("The job succeeds in {:.0} % of cases ({:.0} to {:.0} %); a retry is worth {:.2} sales.",
            100.0 * mean, 100.0 * interval.low, 100.0 * interval.high, best.retry),
    );
    vec![
        reason("demand", best.lost, best.sentence.clone()),
        reason("retry", best.retry, retry),
        reason(
            "lateness",
            best.lateness,
            format!("Waiting until then is worth {:.2} sales.", best.lateness),
        ),
    ]
}

fn status(known: &Known<'_>, start: Option<&Quarter>, as_of: Instant) -> (Status, Option<String>) {
    let Some(last) = known.demand.last() else {
        return (
            Status::Learning,
            Some("No sale has been counted yet: this rests on the filed hours only.".to_owned()),
        );
    };
    if as_of.0 - last.0 > STALE_AFTER {
        let day = told::day(known.schedule, last);
        return (
            Status::Stale,
            Some(format!(
                "The last reading is of {day}, more than 14 days ago."
            )),
        );
    }
    let seen = start
        .filter(|start| start.rate < CELLS)
        .map_or(0.0, |start| known.demand.seen(start.rate));
    if seen < CELL_STRENGTH {
        let sentence = format!(
            "This hour of the week has been seen {seen:.1} times, so that other hours still count \
            more; about 5 weeks of readings suffice."
        );
        return (Status::Learning, Some(sentence));
    }
    (Status::Ok, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::input::{Hour, JobSeen};
    use crate::insights::jobs::demand::fold;
    use crate::insights::jobs::schedule::{Day, DayPlan, Opening};
    use crate::insights::jobs::success;
    use crate::insights::jobs::window::{Maintenance, Stretch};
    use chrono_tz::Tz;

    /// Monday 2018-01-01, 00:00 UTC.
    const MONDAY: i64 = 1_514_764_800_000_000;

    fn shop() -> Schedule {
        let mut schedule = Schedule::new(Tz::UTC);
        (0..7).for_each(|day| schedule.file(Day::Weekday(day), DayPlan::open(8 * 60, 18 * 60)));
        schedule
    }

    /// A shop that is quiet on Wednesday at 15:00.
    fn learned(schedule: &Schedule) -> State {
        let mut state = State::default();
        for (day, at) in (0..70).flat_map(|day| (8..18).map(move |at| (day, at))) {
            let increase = if day % 7 == 2 && at == 15 { 1.0 } else { 10.0 };
            let start = Instant(MONDAY + day * DAY + at * HOUR);
            let hour = Hour {
                start,
                count: 1,
                sum: 0.0,
                sum_squares: 0.0,
                min: 0.0,
                max: 0.0,
                increase,
            };
            fold(&mut state, &hour, schedule, 3600.0);
        }
        state
    }

    fn ask(
        schedule: &Schedule,
        demand: &State,
        jobs: &SiteJobs,
        limits: &Limits,
        at: i64,
    ) -> Recommended {
        let fleet_jobs = FleetJobs::sum([jobs], "RESTART");
        let known = Known {
            schedule,
            demand,
            site_jobs: jobs,
            fleet_jobs,
        };
        let job = Job {
            job_type: "RESTART",
            duration_minutes: 60,
            limits,
            terms: Terms::default(),
        };
        recommend(&known, &job, Instant(MONDAY + at))
    }

    fn open_only() -> Limits {
        Limits {
            hours: Hours::OpenOnly,
            ..Limits::default()
        }
    }

    #[test]
    fn the_quiet_hour_is_found() {
        let schedule = shop();
        let answer = ask(
            &schedule,
            &learned(&schedule),
            &SiteJobs::default(),
            &open_only(),
            70 * DAY,
        );
        let best = answer.best.unwrap();
        assert_eq!(best.start.0, MONDAY + 72 * DAY + 15 * HOUR);
        assert!(
            best.sentence.starts_with("Wednesday 15:00: "),
            "{}",
            best.sentence
        );
        assert_eq!(answer.insight.status, Status::Ok);
        assert!(answer.confidence.unwrap() > 0.9);
        assert_eq!(answer.alternatives.len(), 3);
        let interval = answer.insight.interval.unwrap();
        assert!(interval.low <= 1.0 && interval.high < 10.0, "{interval:?}");
    }

    #[test]
    fn at_any_hour_it_is_a_closed_one() {
        let schedule = shop();
        let answer = ask(
            &schedule,
            &learned(&schedule),
            &SiteJobs::default(),
            &Limits::default(),
            70 * DAY,
        );
        let best = answer.best.unwrap();
        assert_eq!(
            schedule.opening(schedule.local(best.start)),
            Opening::Closed
        );
        assert_eq!(
            best.sentence,
            "Monday 00:00: no sale is expected then (0 to 0), the shop is closed until 08:00."
        );
    }

    #[test]
    fn starts_are_two_hours_apart_and_parts_add_up() {
        let schedule = shop();
        let answer = ask(
            &schedule,
            &learned(&schedule),
            &SiteJobs::default(),
            &open_only(),
            70 * DAY,
        );
        let best = answer.best.unwrap();
        let parts: f64 = answer
            .insight
            .reasons
            .iter()
            .map(|reason| reason.contribution)
            .sum();
        assert!((parts - best.cost).abs() < 1e-9);
        let mut starts: Vec<i64> = answer
            .alternatives
            .iter()
            .map(|window| window.start.0)
            .collect();
        assert!(
            answer
                .alternatives
                .iter()
                .all(|window| window.cost >= best.cost)
        );
        starts.push(best.start.0);
        starts.sort_unstable();
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= 2 * HOUR));
    }

    #[test]
    fn without_readings_it_rests_on_the_filed_hours_and_says_so() {
        let schedule = shop();
        let answer = ask(
            &schedule,
            &State::default(),
            &SiteJobs::default(),
            &Limits::default(),
            14 * HOUR,
        );
        assert_eq!(answer.insight.status, Status::Learning);
        let best = answer.best.unwrap();
        assert_eq!(
            schedule.opening(schedule.local(best.start)),
            Opening::Closed
        );
        assert!(
            best.sentence.contains("by the filed hours only"),
            "{}",
            best.sentence
        );
    }

    #[test]
    fn a_guessed_open_hour_has_a_wide_interval() {
        let schedule = shop();
        let answer = ask(
            &schedule,
            &State::default(),
            &SiteJobs::default(),
            &open_only(),
            0,
        );
        let interval = answer.insight.interval.unwrap();
        assert!(interval.low == 0.0 && interval.high >= 5.0, "{interval:?}");
    }

    #[test]
    fn with_nothing_it_is_insufficient_and_says_what_is_missing() {
        let answer = ask(
            &Schedule::new(Tz::UTC),
            &State::default(),
            &SiteJobs::default(),
            &Limits::default(),
            0,
        );
        assert_eq!(
            (answer.insight.status, answer.insight.value),
            (Status::Insufficient, None)
        );
        assert!(answer.insight.reasons[0].sentence.contains("2018-01-08"));
        let answer = ask(
            &Schedule::new(Tz::UTC),
            &learned(&shop()),
            &SiteJobs::default(),
            &open_only(),
            70 * DAY,
        );
        assert_eq!(answer.insight.status, Status::Insufficient);
    }

    #[test]
    fn limits_that_leave_no_time_are_told() {
        let schedule = shop();
        let always = Stretch {
            from: Instant(0),
            to: Instant(i64::MAX),
        };
        for limits in [
            Limits {
                blackouts: vec![always],
                ..Limits::default()
            },
            Limits {
                busy: vec![always],
                ..Limits::default()
            },
            Limits {
                maintenance: Maintenance::Inside,
                ..Limits::default()
            },
            Limits {
                deadline: Some(Instant(MONDAY)),
                ..Limits::default()
            },
        ] {
            let answer = ask(
                &schedule,
                &State::default(),
                &SiteJobs::default(),
                &limits,
                0,
            );
            assert_eq!(answer.insight.status, Status::Insufficient);
            assert!(
                answer.insight.reasons[0]
                    .sentence
                    .starts_with("No start within 7 days")
            );
        }
    }

    #[test]
    fn old_readings_are_stale() {
        let schedule = shop();
        let answer = ask(
            &schedule,
            &learned(&schedule),
            &SiteJobs::default(),
            &Limits::default(),
            90 * DAY,
        );
        assert_eq!(answer.insight.status, Status::Stale);
    }

    #[test]
    fn jobs_that_fail_at_night_move_the_start() {
        let schedule = shop();
        let mut jobs = SiteJobs::default();
        for day in 0..40 {
            for (at, is_success) in [(3, false), (20, true)] {
                let at = Instant(MONDAY + day * DAY + at * HOUR);
                let job = JobSeen {
                    at,
                    job_type: "RESTART".to_owned(),
                    is_success,
                    duration_ms: None,
                };
                success::fold(&mut jobs, &job, &schedule);
            }
        }
        let answer = ask(
            &schedule,
            &learned(&schedule),
            &jobs,
            &Limits::default(),
            70 * DAY,
        );
        let best = answer.best.unwrap();
        assert!(schedule.local(best.start).minute >= 18 * 60);
        assert!(best.success.unwrap().0 > 0.8);
    }

    #[test]
    fn the_same_question_has_the_same_answer() {
        let schedule = shop();
        let state = learned(&schedule);
        let ask = || {
            ask(
                &schedule,
                &state,
                &SiteJobs::default(),
                &open_only(),
                70 * DAY + 7 * HOUR + 1,
            )
        };
        let (one, other) = (ask(), ask());
        assert_eq!(
            (one.insight, one.confidence),
            (other.insight, other.confidence)
        );
        assert_eq!(one.best, other.best);
    }
}
