//! How jobs end: by type, by site and by hours of the day (`jobPatterns`).

use crate::event::Instant;
use crate::insights::input::DAY;
use crate::insights::number::float;
use crate::insights::shape::{
    Evidence, Insight, Interval, Reason, Recommendation, Status, weightiest_first,
};

use crate::insights::jobs::draw::Draws;
use crate::insights::jobs::schedule::Schedule;
use crate::insights::jobs::success::{BLOCKS, SiteJobs, Success, Tally};
use crate::insights::jobs::told;

const BLOCK_NAMES: [&str; BLOCKS] = [
    "00:00 to 06:00",
    "06:00 to 12:00",
    "12:00 to 18:00",
    "18:00 to 24:00",
];
/// Two groups differ when it is so probable that one is better.
const DIFFERENT: f64 = 0.95;
const DRAWS: u32 = 400;
/// Until so many jobs the answer is mostly prior.
const JOBS_MIN: u32 = 20;
const STALE_AFTER: i64 = 90 * DAY;

/// What jobs are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The type of the job.
    Type,
    /// Where it ran.
    Site,
    /// Six hours of the site's day.
    Block,
}

/// Jobs that have something in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// What they have in common.
    pub by: By,
    /// Its value.
    pub name: String,
    /// How they ended.
    pub tally: Tally,
    /// Drawn to the other groups: they count as a few jobs.
    pub success: f64,
    /// Of the success.
    pub interval: Interval,
    posterior: Success,
}

/// How jobs end. `insight.value` is how likely a job succeeds.
#[derive(Clone, Debug)]
pub struct Patterns {
    /// The reading; its reasons are the groups.
    pub insight: Insight,
    /// By type, then by site, then by block; in each the most reliable first.
    pub groups: Vec<Group>,
}

/// Compares the jobs of the sites, each with its name. The last day is told in the time of `schedule`.
#[must_use]
pub fn patterns(sites: &[(&str, &SiteJobs)], schedule: &Schedule, as_of: Instant) -> Patterns {
    let all = sites
        .iter()
        .fold(Tally::default(), |sum, (_, site)| sum.and(site.all()));
    if all.jobs() == 0 {
        return Patterns {
            insight: none(as_of),
            groups: Vec::new(),
        };
    }
    let kinds = [
        (By::Type, types(sites)),
        (By::Site, by_site(sites)),
        (By::Block, blocks(sites)),
    ];
    let mut groups = Vec::new();
    let mut reasons = Vec::new();
    let mut recommendations = Vec::new();
    for (by, tallies) in kinds {
        let ranked = rank(by, tallies, all);
        let (sentence, is_told) = compare(by, &ranked, as_of);
        reasons.extend(ranked.iter().map(|group| reason(group, all)));
        if is_told {
            recommendations.push(Recommendation {
                action: "review_jobs",
                sentence,
                mutation: None,
            });
        } else {
            reasons.push(Reason::plain(factor(by), sentence));
        }
        groups.extend(ranked);
    }
    let last = sites.iter().filter_map(|(_, site)| site.last()).max();
    let status = status(all, last, as_of);
    reasons.extend(basis(status, all, last, schedule));
    let success = Success::pooled(&[all]);
    let evidence = Evidence {
        events: i64::from(all.jobs()),
        from: sites.iter().filter_map(|(_, site)| site.first()).min(),
        to: last,
        coverage: None,
    };
    let insight = Insight {
        value: Some(success.mean()),
        interval: Some(success.interval()),
        evidence,
        status,
        reasons: weightiest_first(reasons),
        recommendations,
        as_of,
    };
    Patterns { insight, groups }
}

fn types(sites: &[(&str, &SiteJobs)]) -> Vec<(String, Tally)> {
    let mut names: Vec<&str> = sites.iter().flat_map(|(_, site)| site.types()).collect();
    names.sort_unstable();
    names.dedup();
    // A site that knows too many types counts this one as another, where it would be counted twice.
    let of = |site: &SiteJobs, name: &str| {
        if site.types().any(|known| known == name) {
            site.of_type(name)
        } else {
            Tally::default()
        }
    };
    let sum = |name: &str| {
        sites
            .iter()
            .fold(Tally::default(), |sum, (_, site)| sum.and(of(site, name)))
    };
    names
        .into_iter()
        .map(|name| (name.to_owned(), sum(name)))
        .collect()
}

fn by_site(sites: &[(&str, &SiteJobs)]) -> Vec<(String, Tally)> {
    sites
        .iter()
        .map(|(name, site)| ((*name).to_owned(), site.all()))
        .collect()
}

fn blocks(sites: &[(&str, &SiteJobs)]) -> Vec<(String, Tally)> {
    let sum = |block| {
        sites.iter().fold(Tally::default(), |sum, (_, site)| {
            sum.and(site.of_block(block))
        })
    };
    BLOCK_NAMES
        .iter()
        .enumerate()
        .map(|(block, name)| ((*name).to_owned(), sum(block)))
        .collect()
}

fn rank(by: By, tallies: Vec<(String, Tally)>, all: Tally) -> Vec<Group> {
    let mut groups: Vec<Group> = tallies
        .into_iter()
        .filter(|(_, tally)| tally.jobs() > 0)
        .map(|(name, tally)| {
            let posterior = Success::pooled(&[all.without(tally), tally]);
            Group {
                by,
                name,
                tally,
                success: posterior.mean(),
                interval: posterior.interval(),
                posterior,
            }
        })
        .collect();
    groups.sort_by(|a, b| b.success.total_cmp(&a.success));
    groups
}

const fn factor(by: By) -> &'static str {
    match by {
        By::Type => "jobs.type",
        By::Site => "jobs.site",
        By::Block => "jobs.hours",
    }
}

const fn noun(by: By) -> &'static str {
    match by {
        By::Type => "job type",
        By::Site => "site",
        By::Block => "time of day",
    }
}

fn percent(group: &Group) -> String {
    let Interval { low, high, .. } = group.interval;
    format!(
        "{:.0} % ({:.0} to {:.0} %)",
        100.0 * group.success,
        100.0 * low,
        100.0 * high
    )
}

fn reason(group: &Group, all: Tally) -> Reason {
    let expected = Success::pooled(&[all.without(group.tally)]).mean();
    Reason {
        factor: factor(group.by),
        contribution: group.success - Success::pooled(&[all]).mean(),
        observed: Some(
            float::<u32>(group.tally.succeeded) / float::<u32>(group.tally.jobs().max(1)),
        ),
        expected: (all.jobs() > group.tally.jobs()).then_some(expected),
        unit: Some("probability"),
        sentence: format!(
            "{} {}: {} of {} jobs succeeded, {}.",
            capital(noun(group.by)),
            group.name,
            group.tally.succeeded,
            group.tally.jobs(),
            percent(group)
        ),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// Whether the best and the worst group differ, as a sentence. The best and worst were picked among several, so
/// the probability that they do not differ is counted once for each pair that could have been picked.
fn compare(by: By, groups: &[Group], as_of: Instant) -> (String, bool) {
    let (Some(best), Some(worst), true) = (groups.first(), groups.last(), groups.len() > 1) else {
        return (
            format!(
                "There is only one {}, so that none can be compared.",
                noun(by)
            ),
            false,
        );
    };
    let mut draws = Draws::new(as_of.0);
    let reversed = (0..DRAWS)
        .filter(|_| {
            let (a, b) = (best.posterior, worst.posterior);
            draws.beta(a.a, a.b) <= draws.beta(b.a, b.b)
        })
        .count();
    let pairs = float::<usize>(groups.len() * (groups.len() - 1) / 2);
    if float::<usize>(reversed) / f64::from(DRAWS) * pairs > 1.0 - DIFFERENT {
        return (
            format!("No {} differs from the others beyond chance.", noun(by)),
            false,
        );
    }
    (
        format!(
            "By {}, jobs are most reliable for {}, {}, and least for {}, {}.",
            noun(by),
            best.name,
            percent(best),
            worst.name,
            percent(worst)
        ),
        true,
    )
}

fn status(all: Tally, last: Option<Instant>, as_of: Instant) -> Status {
    if last.is_some_and(|last| as_of.0 - last.0 > STALE_AFTER) {
        Status::Stale
    } else if all.jobs() < JOBS_MIN {
        Status::Learning
    } else {
        Status::Ok
    }
}

fn basis(status: Status, all: Tally, last: Option<Instant>, schedule: &Schedule) -> Option<Reason> {
    let sentence = match status {
        Status::Learning => format!(
            "Only {} jobs have ended; {} more make it firm.",
            all.jobs(),
            JOBS_MIN.saturating_sub(all.jobs())
        ),
        Status::Stale => {
            format!(
                "The last job ended on {}, more than 90 days ago.",
                told::day(schedule, last?)
            )
        }
        Status::Ok | Status::Insufficient => return None,
    };
    Some(Reason {
        factor: "evidence",
        contribution: 0.0,
        observed: Some(f64::from(all.jobs())),
        expected: Some(f64::from(JOBS_MIN)),
        unit: Some("jobs"),
        sentence,
    })
}

fn none(as_of: Instant) -> Insight {
    let reason = Reason {
        factor: "missing",
        contribution: 0.0,
        observed: Some(0.0),
        expected: Some(1.0),
        unit: Some("jobs"),
        sentence: "No job has ended yet; 1 more job suffices for a first answer.".to_owned(),
    };
    Insight::insufficient(Evidence::default(), reason, as_of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::input::HOUR;
    use crate::insights::input::JobSeen;
    use crate::insights::jobs::success::fold;
    use chrono_tz::Tz;

    fn site(schedule: &Schedule, jobs: &[(&str, i64, bool, u32)]) -> SiteJobs {
        let mut site = SiteJobs::default();
        for (job_type, hour, is_success, times) in jobs {
            for _ in 0..*times {
                let at = Instant(hour * HOUR);
                let job_type = (*job_type).to_owned();
                let job = JobSeen {
                    at,
                    job_type,
                    is_success: *is_success,
                    duration_ms: None,
                };
                fold(&mut site, &job, schedule);
            }
        }
        site
    }

    #[test]
    fn without_jobs_it_is_insufficient() {
        let schedule = Schedule::new(Tz::UTC);
        let answer = patterns(&[("a", &SiteJobs::default())], &schedule, Instant(0));
        assert_eq!(
            (answer.insight.status, answer.insight.value),
            (Status::Insufficient, None)
        );
        assert!(answer.groups.is_empty());
    }

    #[test]
    fn four_of_four_are_learning_and_no_group_differs() {
        let schedule = Schedule::new(Tz::UTC);
        let site = site(&schedule, &[("RESTART", 3, true, 4)]);
        let answer = patterns(&[("a", &site)], &schedule, Instant(4 * HOUR));
        assert_eq!(answer.insight.status, Status::Learning);
        assert!((answer.insight.value.unwrap() - 0.9).abs() < 1e-9);
        assert!(answer.insight.recommendations.is_empty());
        assert_eq!(answer.groups.len(), 3);
    }

    #[test]
    fn a_type_that_fails_is_told_and_counts_agree() {
        let schedule = Schedule::new(Tz::UTC);
        let one = site(
            &schedule,
            &[
                ("RESTART", 3, true, 60),
                ("UPDATE", 3, false, 20),
                ("UPDATE", 9, true, 10),
            ],
        );
        let other = site(&schedule, &[("RESTART", 3, true, 30)]);
        let answer = patterns(
            &[("one", &one), ("other", &other)],
            &schedule,
            Instant(24 * HOUR),
        );
        assert_eq!(answer.insight.status, Status::Ok);
        let told = &answer.insight.recommendations[0].sentence;
        assert!(
            told.contains("most reliable for RESTART") && told.contains("least for UPDATE"),
            "{told}"
        );
        for by in [By::Type, By::Site, By::Block] {
            let jobs: u32 = answer
                .groups
                .iter()
                .filter(|group| group.by == by)
                .map(|group| group.tally.jobs())
                .sum();
            assert_eq!(jobs, 120);
        }
    }

    #[test]
    fn groups_that_are_alike_are_not_told_apart() {
        let schedule = Schedule::new(Tz::UTC);
        let one = site(
            &schedule,
            &[
                ("A", 3, true, 30),
                ("A", 3, false, 3),
                ("B", 9, true, 28),
                ("B", 9, false, 4),
            ],
        );
        let answer = patterns(&[("one", &one)], &schedule, Instant(24 * HOUR));
        assert!(answer.insight.recommendations.is_empty());
    }

    #[test]
    fn old_jobs_are_stale() {
        let schedule = Schedule::new(Tz::UTC);
        let one = site(&schedule, &[("A", 3, true, 30)]);
        assert_eq!(
            patterns(&[("one", &one)], &schedule, Instant(100 * DAY))
                .insight
                .status,
            Status::Stale
        );
    }
}
