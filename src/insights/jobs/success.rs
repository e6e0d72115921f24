//! How likely a job succeeds: beta posteriors from the fleet over the job type and the site to the hours of day.
//!
//! The prior is Jeffreys' (Beta(½, ½)). Jobs farther away (of other types, at other sites, in other hours) are
//! added to it before the nearer ones, and weigh together at most as much as [`BORROWED_MAX`] jobs: a power prior
//! (Ibrahim and Chen 2000). A job is counted at one level only, so that four of four jobs of a new fleet give
//! exactly what Jeffreys' prior gives them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::event::Instant;
use crate::insights::input::JobSeen;
use crate::insights::number::float;
use crate::insights::shape::Interval;
use statrs::distribution::{Beta, ContinuousCDF};

use crate::insights::jobs::schedule::Schedule;

/// The day has four blocks of six hours: from 00:00, 06:00, 12:00 and 18:00.
pub const BLOCKS: usize = 4;
/// Jobs farther away weigh together at most as so many.
pub const BORROWED_MAX: f64 = 8.0;
/// A level of probability for intervals of a success.
pub const LEVEL: f64 = 0.95;

const JEFFREYS: f64 = 0.5;
/// A count that has reached this many jobs is halved, so that the newest weigh most.
const COUNT_MAX: u32 = 400;
/// At most so many job types are told apart, further ones are counted together.
const TYPES_MAX: usize = 24;
const OTHER_TYPES: &str = "other";

/// How many jobs ended well and badly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tally {
    /// Jobs that did what they should.
    pub succeeded: u32,
    /// Jobs that did not.
    pub failed: u32,
}

impl Tally {
    /// All of them.
    #[must_use]
    pub fn jobs(self) -> u32 {
        self.succeeded.saturating_add(self.failed)
    }

    /// The sum of two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            succeeded: self.succeeded.saturating_add(other.succeeded),
            failed: self.failed.saturating_add(other.failed),
        }
    }

    /// The jobs that are not in the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self {
            succeeded: self.succeeded.saturating_sub(other.succeeded),
            failed: self.failed.saturating_sub(other.failed),
        }
    }

    fn add(&mut self, is_success: bool) {
        let count = if is_success {
            &mut self.succeeded
        } else {
            &mut self.failed
        };
        *count = count.saturating_add(1);
        if self.jobs() >= COUNT_MAX {
            self.succeeded = self.succeeded.div_ceil(2);
            self.failed = self.failed.div_ceil(2);
        }
    }
}

/// The outcomes of jobs at one site.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SiteJobs {
    types: BTreeMap<String, [Tally; BLOCKS]>,
    first: Option<Instant>,
    last: Option<Instant>,
}

/// Whether a job did what it should that ended with a status of `jobOutcome`; `None` of one that was stopped: nobody
/// knows how it would have ended.
#[must_use]
pub fn is_success(status: &str) -> Option<bool> {
    (status != "CANCELLED").then_some(status == "COMPLETED")
}

/// How often jobs of a type ended well and badly in a block of hours, over some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What kind of job.
    pub job_type: String,
    /// The block of hours.
    pub block: usize,
    /// How often.
    pub tally: Tally,
    /// When the first of them ended.
    pub first: Instant,
    /// When the last of them ended.
    pub last: Instant,
}

/// The six hours of the site's day that an instant lies in.
#[must_use]
pub fn block(schedule: &Schedule, at: Instant) -> usize {
    usize::from(schedule.local(at).minute / 360).min(BLOCKS - 1)
}

/// Takes the next job that ended at the site.
pub fn fold(jobs: &mut SiteJobs, job: &JobSeen, schedule: &Schedule) {
    let is_known = jobs.types.contains_key(&job.job_type) || jobs.types.len() < TYPES_MAX;
    let job_type = if is_known {
        job.job_type.as_str()
    } else {
        OTHER_TYPES
    };
    let tallies = jobs.types.entry(job_type.to_owned()).or_default();
    if let Some(tally) = tallies.get_mut(block(schedule, job.at)) {
        tally.add(job.is_success);
    }
    jobs.first.get_or_insert(job.at);
    jobs.last = jobs.last.max(Some(job.at));
}

impl SiteJobs {
    /// The jobs of sums. The types of which there are most are told apart.
    #[must_use]
    pub fn of(ended: &[Ended]) -> Self {
        let mut of_types: BTreeMap<&str, u32> = BTreeMap::new();
        for sum in ended {
            let jobs = of_types.entry(sum.job_type.as_str()).or_default();
            *jobs = jobs.saturating_add(sum.tally.jobs());
        }
        let mut by_jobs: Vec<(&str, u32)> = of_types.into_iter().collect();
        by_jobs.sort_by_key(|(_, jobs)| Reverse(*jobs));
        let known: BTreeSet<&str> = by_jobs.iter().take(TYPES_MAX).map(|(ty, _)| *ty).collect();
        let mut site = Self::default();
        for sum in ended {
            let ty = sum.job_type.as_str();
            let ty = if known.contains(ty) { ty } else { OTHER_TYPES };
            let tallies = site.types.entry(ty.to_owned()).or_default();
            if let Some(tally) = tallies.get_mut(sum.block) {
                *tally = tally.and(sum.tally);
            }
            site.first = Some(site.first.map_or(sum.first, |first| first.min(sum.first)));
            site.last = site.last.max(Some(sum.last));
        }
        site
    }

    /// When the first job ended.
    #[must_use]
    pub fn first(&self) -> Option<Instant> {
        self.first
    }

    /// When the last job ended.
    #[must_use]
    pub fn last(&self) -> Option<Instant> {
        self.last
    }

    /// The types of jobs that ended here.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.types.keys().map(String::as_str)
    }

    /// Jobs of a type in a block of hours.
    #[must_use]
    pub fn tally(&self, job_type: &str, block: usize) -> Tally {
        let key = if self.types.contains_key(job_type) {
            job_type
        } else {
            OTHER_TYPES
        };
        self.types
            .get(key)
            .and_then(|tallies| tallies.get(block))
            .copied()
            .unwrap_or_default()
    }

    /// Jobs of a type.
    #[must_use]
    pub fn of_type(&self, job_type: &str) -> Tally {
        (0..BLOCKS).fold(Tally::default(), |sum, block| {
            sum.and(self.tally(job_type, block))
        })
    }

    /// Jobs in a block of hours, of every type.
    #[must_use]
    pub fn of_block(&self, block: usize) -> Tally {
        self.types().fold(Tally::default(), |sum, job_type| {
            sum.and(self.tally(job_type, block))
        })
    }

    /// All jobs.
    #[must_use]
    pub fn all(&self) -> Tally {
        self.types().fold(Tally::default(), |sum, job_type| {
            sum.and(self.of_type(job_type))
        })
    }
}

/// How many jobs of a type ended in the whole fleet, and of all types. Sums of [`SiteJobs`], this site's with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FleetJobs {
    /// Jobs of the type, the site's own with them.
    pub of_type: Tally,
    /// Jobs of every type.
    pub all: Tally,
}

impl FleetJobs {
    /// The sums over the sites of a fleet for a job type.
    pub fn sum<'a>(sites: impl IntoIterator<Item = &'a SiteJobs>, job_type: &str) -> Self {
        sites.into_iter().fold(Self::default(), |sum, site| Self {
            of_type: sum.of_type.and(site.of_type(job_type)),
            all: sum.all.and(site.all()),
        })
    }
}

/// How likely a job succeeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Success {
    /// Of a beta distribution.
    pub a: f64,
    /// The second shape.
    pub b: f64,
    /// Jobs that were counted as they are, not as borrowed.
    pub own: u32,
}

impl Success {
    /// From tallies that share no job, the farthest first; the last is counted as it is.
    #[must_use]
    pub fn pooled(tallies: &[Tally]) -> Self {
        let (mut well, mut badly, mut own) = (0.0, 0.0, 0);
        for tally in tallies {
            let borrowed: f64 = well + badly;
            let weight = if borrowed > BORROWED_MAX {
                BORROWED_MAX / borrowed
            } else {
                1.0
            };
            well = well * weight + float::<u32>(tally.succeeded);
            badly = badly * weight + float::<u32>(tally.failed);
            own = tally.jobs();
        }
        Self {
            a: JEFFREYS + well,
            b: JEFFREYS + badly,
            own,
        }
    }

    /// Of a job of a type at a site in a block of hours.
    #[must_use]
    pub fn of(fleet: &FleetJobs, site: &SiteJobs, job_type: &str, block: usize) -> Self {
        let here = site.of_type(job_type);
        let now = site.tally(job_type, block);
        Self::pooled(&[
            fleet.all.without(fleet.of_type),
            fleet.of_type.without(here),
            here.without(now),
            now,
        ])
    }

    /// The probability to expect.
    #[must_use]
    pub fn mean(self) -> f64 {
        self.a / (self.a + self.b)
    }

    /// With equal chances on both sides, at [`LEVEL`].
    #[must_use]
    pub fn interval(self) -> Interval {
        let tail = (1.0 - LEVEL) / 2.0;
        let at =
            |chance: f64| Beta::new(self.a, self.b).map_or(chance, |beta| beta.inverse_cdf(chance));
        Interval {
            low: at(tail),
            high: at(1.0 - tail),
            level: LEVEL,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Tz;

    fn job(is_success: bool, hour: i64) -> JobSeen {
        let at = Instant(hour * crate::insights::input::HOUR);
        JobSeen {
            at,
            job_type: "RESTART".to_owned(),
            is_success,
            duration_ms: None,
        }
    }

    fn told(outcomes: &[bool]) -> (String, String, String) {
        let schedule = Schedule::new(Tz::UTC);
        let mut site = SiteJobs::default();
        for is_success in outcomes {
            fold(&mut site, &job(*is_success, 3), &schedule);
        }
        let fleet = FleetJobs::sum([&site], "RESTART");
        let success = Success::of(&fleet, &site, "RESTART", 0);
        let interval = success.interval();
        (
            format!("{:.2}", success.mean()),
            format!("{:.2}", interval.low),
            format!("{:.2}", interval.high),
        )
    }

    fn text(mean: &str, low: &str, high: &str) -> (String, String, String) {
        (mean.to_owned(), low.to_owned(), high.to_owned())
    }

    #[test]
    fn few_jobs_give_what_the_brief_says() {
        assert_eq!(told(&[true; 4]), text("0.90", "0.56", "1.00"));
        assert_eq!(
            told(&[true, true, false, true]),
            text("0.70", "0.28", "0.97")
        );
    }

    #[test]
    fn without_jobs_nothing_is_known() {
        let success = Success::pooled(&[]);
        assert!((success.mean() - 0.5).abs() < 1e-12);
        assert!(success.interval().low < 0.01 && success.interval().high > 0.99);
    }

    #[test]
    fn far_jobs_weigh_less_than_near_ones() {
        let far = Tally {
            succeeded: 1_000,
            failed: 0,
        };
        let near = Tally {
            succeeded: 0,
            failed: 40,
        };
        assert!(Success::pooled(&[far, near]).mean() < 0.2);
        assert!(Success::pooled(&[far, Tally::default()]).mean() > 0.9);
    }

    #[test]
    fn one_more_success_never_lowers_the_chance() {
        for (succeeded, failed) in [(0, 0), (3, 1), (50, 7)] {
            let more = Success::pooled(&[Tally {
                succeeded: succeeded + 1,
                failed,
            }])
            .mean();
            assert!(more > Success::pooled(&[Tally { succeeded, failed }]).mean());
        }
    }

    #[test]
    fn sums_say_what_the_jobs_say_that_they_are_of() {
        let schedule = Schedule::new(Tz::UTC);
        let mut site = SiteJobs::default();
        let mut sums = Vec::new();
        for (is_success, hour) in [(true, 3), (false, 3), (true, 30), (true, 9)] {
            let job = job(is_success, hour);
            fold(&mut site, &job, &schedule);
            let tally = Tally {
                succeeded: u32::from(is_success),
                failed: u32::from(!is_success),
            };
            sums.push(Ended {
                job_type: job.job_type,
                block: block(&schedule, job.at),
                tally,
                first: job.at,
                last: job.at,
            });
        }
        sums.reverse();
        assert_eq!(SiteJobs::of(&sums), site);
    }

    #[test]
    fn the_rarest_types_are_counted_together() {
        let sum = |number: u32| Ended {
            job_type: format!("type-{number}"),
            block: 0,
            tally: Tally {
                succeeded: number + 1,
                failed: 0,
            },
            first: Instant(0),
            last: Instant(0),
        };
        let sums: Vec<Ended> = (0..40).map(sum).collect();
        let site = SiteJobs::of(&sums);
        assert_eq!(site.types().count(), TYPES_MAX + 1);
        assert_eq!(site.of_type("type-39").jobs(), 40);
        assert_eq!(site.of_type("type-0").jobs(), (1..=16).sum::<u32>());
        assert_eq!(site.all().jobs(), (1..=40).sum::<u32>());
    }

    #[test]
    fn a_job_that_was_stopped_tells_nothing() {
        assert_eq!(is_success("COMPLETED"), Some(true));
        for status in ["FAILED", "ERROR", "TIMEOUT"] {
            assert_eq!(is_success(status), Some(false), "{status}");
        }
        assert_eq!(is_success("CANCELLED"), None);
    }

    #[test]
    fn the_state_is_bounded() {
        let schedule = Schedule::new(Tz::UTC);
        let mut site = SiteJobs::default();
        for number in 0..2_000 {
            let mut job = job(true, number);
            job.job_type = format!("type-{}", number % 100);
            fold(&mut site, &job, &schedule);
        }
        assert!(site.types().count() <= TYPES_MAX + 1);
        assert!(site.all().jobs() <= COUNT_MAX * u32::try_from((TYPES_MAX + 1) * BLOCKS).unwrap());
    }
}
