//! When a job is best run: at each site of its devices the window in which it disturbs least there, as far as its
//! limits leave one.
//!
//! The devices of a site have one window, in which none of them sells. Nothing is decided here that cannot be told:
//! which limits were read out of what is known is said beside the reasons of the cost.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Priority;
use super::planned::planned;
use crate::event::{Instant, Provenance};
use crate::held::{Ask, DeviceRead, Held, JobsRead};
use crate::history::Within;
use crate::insights::input::{DAY, HOUR};
use crate::insights::jobs::cost::Terms;
use crate::insights::jobs::demand;
use crate::insights::jobs::recommend::{Job, Known, Recommended, recommend};
use crate::insights::jobs::schedule::Schedule;
use crate::insights::jobs::tills::Tills;
use crate::insights::jobs::window::{
    DURATION_MINUTES_MAX, Hours, Limits, Maintenance, Stretch, has_maintenance,
};
use crate::insights::shape::Reason;
use crate::store::{Store, StoreError};

/// Devices at most of which it is asked at once.
pub const BEST_DEVICES_MAX: usize = 1_000;
/// Sites at most.
pub const BEST_SITES_MAX: usize = 50;
/// Times at most at which no job may run.
const BLACKOUTS_MAX: usize = 100;
/// Transactions at most that a retry is worth.
const RETRY_COST_MAX: f64 = 1e6;
/// So far ahead a start is looked for.
const AHEAD: i64 = 7 * DAY;
/// Devices that are read at once.
const DEVICES_AT_ONCE: usize = 100;
/// An open hour of the week must have been seen so often until a silent closed one says that the device is off.
const SEEN_MIN: f64 = 2.0;

/// At which hours a job may run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunHours {
    /// At any hour at which its devices are on: not while their site is closed if one of them was never heard of then.
    #[default]
    WhenOn,
    /// At any hour.
    Any,
    /// While the site is open.
    OpenOnly,
    /// While it is closed.
    ClosedOnly,
}

/// What the maintenance windows of its site are to a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunMaintenance {
    /// It runs inside of them where any is filed.
    #[default]
    WhereFiled,
    /// It runs inside of them, and else not at all.
    Inside,
    /// They are for others.
    Avoid,
    /// They do not matter.
    Ignore,
}

/// A job of which it is asked when it is best run.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// What kind of job; empty if any.
    pub job_type: String,
    /// How long its devices cannot sell.
    pub duration_minutes: u32,
    /// How much it hastens.
    pub priority: Priority,
    /// Transactions that a retry is worth.
    pub retry_cost: f64,
    /// At which hours it may run.
    pub hours: RunHours,
    /// What maintenance windows are to it.
    pub maintenance: RunMaintenance,
    /// When it may not run.
    pub blackouts: Vec<Stretch>,
    /// It must not start earlier.
    pub not_before: Option<Instant>,
    /// It must have ended by then.
    pub deadline: Option<Instant>,
}

impl Wanted {
    /// The first value that makes no sense as of an instant, by the name of its field, and why.
    #[must_use]
    pub fn fault(&self, as_of: Instant) -> Option<(&'static str, String)> {
        let told = |field, message: &str| Some((field, message.to_owned()));
        if !(1..=DURATION_MINUTES_MAX).contains(&self.duration_minutes) {
            let message = format!("durationMinutes is not between 1 and {DURATION_MINUTES_MAX}");
            return Some(("durationMinutes", message));
        }
        if !(0.0..=RETRY_COST_MAX).contains(&self.retry_cost) {
            let message = format!("retryCost is not between 0 and {RETRY_COST_MAX}");
            return Some(("retryCost", message));
        }
        if self
            .not_before
            .is_some_and(|from| from.0 >= as_of.0 + AHEAD)
        {
            let message = "notBefore is not within the 7 days in which a start is looked for";
            return told("notBefore", message);
        }
        if self.deadline.is_some_and(|to| to <= as_of) {
            let message = format!("deadline is past: it is {as_of} now");
            return told("deadline", &message);
        }
        if let (Some(from), Some(to)) = (self.not_before, self.deadline)
            && to <= from
        {
            return told("deadline", "deadline is not after notBefore");
        }
        if self.blackouts.len() > BLACKOUTS_MAX {
            let message = format!("there are at most {BLACKOUTS_MAX} blackouts");
            return Some(("blackouts", message));
        }
        if self
            .blackouts
            .iter()
            .any(|stretch| stretch.to <= stretch.from)
        {
            return told("blackouts", "a blackout ends when it begins, or before");
        }
        None
    }

    fn terms(&self) -> Terms {
        let usual = Terms::default();
        Terms {
            retry_cost: self.retry_cost,
            hourly_lateness: match self.priority {
                Priority::Low => 0.0,
                Priority::Normal => usual.hourly_lateness,
                Priority::High => 0.05,
                Priority::Urgent => 1.0,
            },
        }
    }
}

/// When a job is best run on the devices of a site.
#[derive(Clone, Debug)]
pub struct AtSite {
    /// The site at which they stood.
    pub site_key: i64,
    /// The hours of the site.
    pub schedule: Arc<Schedule>,
    /// How many devices they are.
    pub devices: usize,
    /// From where what was read of them comes; what is measured of others is not looked at.
    pub provenance: Provenance,
    /// The answer.
    pub recommended: Recommended,
}

/// What is known of the devices of a site.
struct Standing {
    schedule: Arc<Schedule>,
    /// Whose demand is looked at: of devices of one provenance.
    whose: Whose,
    keys: Vec<i64>,
    demands: Vec<demand::State>,
    /// Whether one of these was never heard of while the site was closed.
    is_off: bool,
}

/// Devices of which nothing was measured come after those of which anything was, and then what is real before what is
/// made up: these are never added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Whose {
    is_silent: bool,
    provenance: Provenance,
}

impl Whose {
    fn of(read: &DeviceRead) -> Self {
        let kept = &read.state;
        let is_measured = kept.demand.folded() > 0
            || !kept.anomalies.is_empty()
            || !read.open.readings.is_empty();
        Self {
            is_silent: !is_measured,
            provenance: read.provenance,
        }
    }
}

/// When a job is best run on devices, by their keys, at each site at which they stand, in the order of the keys of the
/// sites. It may be asked of [`BEST_DEVICES_MAX`] devices. Those that stood then where whoever asks does not reach are left
/// out: what is known of a site is for those who reach it.
///
/// # Errors
/// When the tables or what was archived cannot be read.
#[must_use]
pub fn best_windows<'a>(
    (held, store): (&'a Held, &'a Store),
    device_keys: &'a [i64],
    wanted: &'a Wanted,
    (ask, within): (Ask, &'a Within),
) -> BoxFuture<'a, Result<Vec<AtSite>, StoreError>> {
    Box::pin(async move {
        let mut sites: BTreeMap<i64, Standing> = BTreeMap::new();
        for keys in device_keys.chunks(DEVICES_AT_ONCE) {
            let reads = held.devices(keys, ask).await?;
            let reads = reads.iter().flatten();
            reads
                .filter(|read| within.has_site(read.site_key))
                .for_each(|read| stand(&mut sites, read));
        }
        let taken = planned(store, device_keys, ask.as_of).await?;
        let jobs = jobs_of(held, &sites, ask.as_of).await?;
        let mut answers = Vec::with_capacity(sites.len());
        for (site_key, standing) in sites {
            let recommended = weigh((site_key, &standing), (&taken, &jobs), (wanted, ask.as_of));
            answers.push(AtSite {
                site_key,
                devices: standing.keys.len(),
                schedule: standing.schedule,
                provenance: standing.whose.provenance,
                recommended,
            });
            // each takes milliseconds
            tokio::task::yield_now().await;
        }
        Ok(answers)
    })
}

fn stand(sites: &mut BTreeMap<i64, Standing>, read: &DeviceRead) {
    let whose = Whose::of(read);
    let standing = sites.entry(read.site_key).or_insert_with(|| Standing {
        schedule: Arc::clone(&read.schedule),
        whose,
        keys: Vec::new(),
        demands: Vec::new(),
        is_off: false,
    });
    standing.keys.push(read.key);
    if whose < standing.whose {
        standing.whose = whose;
        standing.demands.clear();
        standing.is_off = false;
    }
    if whose == standing.whose {
        standing.demands.push(read.state.demand.clone());
        standing.is_off |= is_off_when_closed(read);
    }
}

/// Whether a device was never heard of at any hour of the week at which its site is closed, and again and again when
/// it is open.
fn is_off_when_closed(read: &DeviceRead) -> bool {
    let seen = |hour: usize| {
        let measures = read.state.anomalies.values();
        let seen = measures.map(|state| state.profile().cell(hour).seen);
        seen.fold(0.0, f64::max)
    };
    let week = read.schedule.week();
    let (open, closed): (Vec<_>, Vec<_>) = (0..)
        .zip(&week)
        .partition(|(_, cell)| cell.open_quarters > 0);
    let is_known = open.iter().all(|(hour, _)| seen(*hour) >= SEEN_MIN);
    is_known && !open.is_empty() && !closed.is_empty() && {
        let mut closed = closed.iter();
        closed.all(|(hour, _)| seen(*hour) <= 0.0)
    }
}

/// How jobs ended at the sites, by the provenance of these.
async fn jobs_of(
    held: &Held,
    sites: &BTreeMap<i64, Standing>,
    as_of: Instant,
) -> Result<HashMap<Provenance, JobsRead>, StoreError> {
    let mut jobs = HashMap::new();
    for provenance in Provenance::ALL {
        let of = sites
            .iter()
            .filter(|(_, site)| site.whose.provenance == provenance);
        let keys: Vec<i64> = of.map(|(key, _)| *key).collect();
        if !keys.is_empty() {
            let read = held.jobs(&keys, (provenance, as_of), None).await?;
            jobs.insert(provenance, read);
        }
    }
    Ok(jobs)
}

fn weigh(
    (site_key, standing): (i64, &Standing),
    (taken, jobs): (&HashMap<i64, Vec<Stretch>>, &HashMap<Provenance, JobsRead>),
    (wanted, as_of): (&Wanted, Instant),
) -> Recommended {
    let schedule = &*standing.schedule;
    let busy = standing.keys.iter().filter_map(|key| taken.get(key));
    let mut busy: Vec<Stretch> = busy.flatten().copied().collect();
    // a job that recurs takes all of them at once
    busy.sort_unstable_by_key(|stretch| (stretch.from, stretch.to));
    busy.dedup();
    let (hours, of_hours) = hours(wanted, standing);
    let (maintenance, of_maintenance) = maintenance(wanted, schedule, as_of);
    let of_jobs = of_jobs(&busy, as_of);
    let limits = Limits {
        hours,
        maintenance,
        blackouts: wanted.blackouts.clone(),
        busy,
        not_before: wanted.not_before,
        deadline: wanted.deadline,
    };
    let none = JobsRead::default();
    let jobs = jobs.get(&standing.whose.provenance).unwrap_or(&none);
    let (site_jobs, demands): (_, Vec<&demand::State>) =
        (jobs.at(site_key), standing.demands.iter().collect());
    let known = Known {
        schedule,
        demand: Tills::of(&demands),
        site_jobs: &site_jobs,
        fleet_jobs: jobs.fleet(&wanted.job_type),
    };
    let job = Job {
        job_type: &wanted.job_type,
        duration_minutes: wanted.duration_minutes,
        limits: &limits,
        terms: wanted.terms(),
    };
    let mut recommended = recommend(&known, &job, as_of);
    let told = [of_hours, of_maintenance, of_jobs].into_iter().flatten();
    recommended.insight.reasons.extend(told);
    recommended
}

fn hours(wanted: &Wanted, standing: &Standing) -> (Hours, Option<Reason>) {
    let sentence = "A device is never heard of while its site is closed, so that only opening hours are looked at.";
    match wanted.hours {
        RunHours::WhenOn if standing.is_off => (
            Hours::OpenOnly,
            Some(Reason::plain("limit.hours", sentence.to_owned())),
        ),
        RunHours::WhenOn | RunHours::Any => (Hours::Any, None),
        RunHours::OpenOnly => (Hours::OpenOnly, None),
        RunHours::ClosedOnly => (Hours::ClosedOnly, None),
    }
}

fn maintenance(
    wanted: &Wanted,
    schedule: &Schedule,
    as_of: Instant,
) -> (Maintenance, Option<Reason>) {
    let is_filed = || has_maintenance(schedule, as_of);
    let sentence = "The site has filed maintenance windows, so that only these are looked at.";
    match wanted.maintenance {
        RunMaintenance::WhereFiled if is_filed() => (
            Maintenance::Inside,
            Some(Reason::plain("limit.maintenance", sentence.to_owned())),
        ),
        RunMaintenance::WhereFiled | RunMaintenance::Ignore => (Maintenance::Ignore, None),
        RunMaintenance::Inside => (Maintenance::Inside, None),
        RunMaintenance::Avoid => (Maintenance::Avoid, None),
    }
}

fn of_jobs(busy: &[Stretch], as_of: Instant) -> Option<Reason> {
    let end = Instant(as_of.0 + AHEAD);
    let ahead = busy.iter().filter(|stretch| stretch.from < end);
    let ahead = ahead.map(|of| (of.from.max(as_of), of.to.min(end)));
    let mut times: Vec<(Instant, Instant)> = ahead.collect();
    times.sort_unstable();
    times.dedup();
    let sentence = match times.as_slice() {
        [] => return None,
        [(from, to)] => {
            let minutes = (to.0 - from.0) * 60 / HOUR;
            format!(
                "Another job takes a device for up to {minutes} minutes within the 7 days, and no start meets it."
            )
        }
        times => format!(
            "Other jobs take a device {} times within the 7 days, and no start meets one.",
            times.len()
        ),
    };
    Some(Reason::plain("limit.jobs", sentence))
}
