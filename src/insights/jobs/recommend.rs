//! The best start of a job in the next seven days, with alternatives, as an insight.

use std::cmp::Reverse;

use crate::event::Instant;
use crate::insights::input::{DAY, HOUR};
use crate::insights::shape::{
    Evidence, Insight, Interval, Reason, Recommendation, Status, weightiest_first,
};

use crate::insights::jobs::cost::{Scales, Start, Terms, quarters};
use crate::insights::jobs::rates::{CELL_STRENGTH, CELLS};
use crate::insights::jobs::schedule::Schedule;
use crate::insights::jobs::success::{BLOCKS, FleetJobs, SiteJobs, Success};
use crate::insights::jobs::tills::Tills;
use crate::insights::jobs::told;
use crate::insights::jobs::window::{DURATION_MINUTES_MAX, Hours, Limits, Quarter, allows, grid};

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
    /// Of the devices that the job takes out of use.
    pub demand: Tills<'a>,
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
        return insufficient(known, as_of, nothing_allowed(known.schedule, job, as_of));
    };
    let tell = |start: &Start| window(known, &scales, start);
    let window = tell(best);
    Recommended {
        insight: insight(known, job, (grid.get(best.quarter), &window), as_of),
        best: Some(window),
        alternatives: alternatives(&starts, best).iter().map(tell).collect(),
        confidence: Some(scales.confidence(best, &starts)),
    }
}

fn nothing_allowed(schedule: &Schedule, job: &Job<'_>, as_of: Instant) -> String {
    let duration_minutes = job.duration_minutes.clamp(1, DURATION_MINUTES_MAX);
    let length = quarters(duration_minutes);
    let allowed = |limits: &Limits| {
        let grid = grid(schedule, limits, as_of, length);
        let starts = grid.windows(length);
        starts
            .filter(|taken| allows(taken, duration_minutes))
            .count()
    };
    let all = allowed(&Limits::default());
    let alone = job.limits.apart().into_iter();
    let mut takes: Vec<(usize, &str)> = alone
        .map(|(name, limits)| (all.saturating_sub(allowed(&limits)), name))
        .filter(|(taken, _)| *taken > 0)
        .collect();
    takes.sort_by_key(|(taken, _)| Reverse(*taken));
    let told: Vec<String> = takes
        .iter()
        .map(|(taken, name)| format!("{name} {taken}"))
        .collect();
    let which = if told.len() > 1 { "the first" } else { "it" };
    format!(
        "No start within 7 days is allowed for a job of {duration_minutes} minutes: the limits leave no time. So many of \
         {all} starts each limit takes alone: {}. Move {which}, or ask again on {}.",
        told.join(", "),
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
    let reason = Reason::plain("missing", sentence);
    let insight = Insight::insufficient(evidence(known), reason, as_of);
    Recommended {
        insight,
        best: None,
        alternatives: Vec::new(),
        confidence: None,
    }
}

/// What is expected lies in the interval too, where it is less than one transaction and none will be counted.
fn insight(
    known: &Known<'_>,
    job: &Job<'_>,
    (start, best): (Option<&Quarter>, &Window),
    as_of: Instant,
) -> Insight {
    let (status, basis) = status(known, start, as_of);
    let is_first = !job.job_type.is_empty() && known.fleet_jobs.of_type.jobs() == 0;
    let whose = if is_first {
        "No job of this type has ended yet, so that those of all types count. "
    } else {
        ""
    };
    let mut reasons = weightiest_first(parts(best, whose));
    reasons.extend(basis.map(|sentence| reason("evidence", 0.0, sentence)));
    let action = Recommendation {
        action: "run_job",
        sentence: best.sentence.clone(),
        mutation: None,
    };
    Insight {
        value: Some(best.lost),
        interval: Some(Interval {
            low: best.counted.low.min(best.lost),
            high: best.counted.high.max(best.lost),
            ..best.counted
        }),
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
fn parts(best: &Window, whose: &str) -> Vec<Reason> {
    let retry = best.success.map_or_else(
        || "No job has ended yet, so that success is not known and no retry is counted.".to_owned(),
        |(mean, interval)| format!("{whose}The job succeeds in {:.0} % of cases ({:.0} to {:.0} %); a retry is worth {:.2} sales.",
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
#[path = "recommend_tests.rs"]
mod tests;
