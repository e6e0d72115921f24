//! Jobs that recur: each time is a job of its own, at an instant of each time zone in which there are
//! devices of it.
//!
//! What its times are on days on which clocks change, [`super::cron`] says. A time that was missed, since no
//! server ran, is made up for an hour; what is older is not.

use std::collections::{HashMap, HashSet};

use chrono_tz::Tz;
use uuid::Uuid;

use super::create::create_on;
use super::cron::{next_after, read_cron, times};
use super::orchestrator::SOURCE;
use super::standing::Standing;
use super::{JobError, NewJob, Plan, Selection, Start};
use crate::event::Instant;
use crate::history::{Within, jobs};
use crate::ingest::Ingest;
use crate::store::{EntityType, Store, StoreError};
use crate::telemetry::chain;

/// How long a time that was missed is made up for.
const MISSED_MS_MAX: i64 = 3_600_000;
/// How often it is looked whether there are zones that were not there before.
const LOOK_EVERY_MS: i64 = 60_000;
/// Namespace of the ids of the jobs that a job recurs as.
const TIMES: Uuid = Uuid::from_u128(0x7d2e_0f6b_3f0c_4c8e_8a52_19e4_5b64_02a1);

/// The first time of a job that recurs, in the zones of the sites of some devices.
///
/// # Errors
/// When it never comes, or the tables cannot be read.
pub async fn first_time(
    store: &Store,
    cron: &str,
    device_ids: &[String],
    now: Instant,
) -> Result<Instant, JobError> {
    let never = |why: String| JobError::NeverStarts { why };
    let cron = read_cron(cron).map_err(never)?;
    let names = store.names();
    let keys = device_ids.iter();
    let keys = keys.filter_map(|id| names.key(EntityType::Device, id));
    let sites: HashSet<i64> = keys.filter_map(|key| names.site_of_device(key)).collect();
    let mut first: Option<Instant> = None;
    for (zone, of_zone) in zones(store).await? {
        if of_zone.is_disjoint(&sites) {
            continue;
        }
        if let Some(next) = next_after(&cron, zone, now) {
            first = Some(first.map_or(next, |first| first.min(next)));
        }
    }
    first.ok_or_else(|| never("its time does not come any more".to_owned()))
}

/// Makes the jobs of a job that recurs whose times have come, and tells when to look again.
pub(super) async fn recur(
    ingest: &Ingest,
    standing: &Standing,
    now: Instant,
) -> Result<Instant, JobError> {
    let plan = &standing.machine.plan;
    let mut look_at = now.plus_ms(LOOK_EVERY_MS);
    let (Start::Recurring(text), Some(selection)) = (&plan.start, &plan.selection) else {
        return Ok(look_at);
    };
    // it was read when it was given
    let Ok(cron) = read_cron(text) else {
        return Ok(look_at);
    };
    let made_up = now
        .plus_ms(-MISSED_MS_MAX)
        .max(Instant(standing.job.created_at));
    let store = ingest.store();
    let within = plan.within(store).await?;
    for (zone, sites) in zones(store).await? {
        let (last, next) = times(&cron, zone, (made_up, now));
        if let Some(next) = next {
            look_at = look_at.min(next);
        }
        let Some(last) = last else {
            continue;
        };
        let name = format!("{}/{zone}/{}", standing.job.job_id, last.0);
        let job_id = Uuid::new_v5(&TIMES, name.as_bytes());
        if jobs::job(store, &job_id.to_string()).await?.is_some() {
            continue;
        }
        let targets = devices(store, (selection, &within), &sites).await?;
        let payload = standing.job.payload.as_deref();
        let job = NewJob {
            job_id,
            job_type: standing.job.job_type.clone(),
            payload: payload.and_then(|text| serde_json::from_str(text).ok()),
            plan: Plan {
                start: Start::Now,
                ..plan.clone()
            },
            targets,
            created_by: standing.job.created_by.clone().unwrap_or_default(),
            parent_job_id: Some(standing.job.job_id.clone()),
        };
        // unless it was stopped meanwhile
        match create_on(ingest, job, Some(standing.unmoved())).await {
            // none of its devices is there; or another node was faster
            Ok(()) | Err(JobError::NoTarget | JobError::OtherRepeat) => {}
            Err(error @ (JobError::Store(_) | JobError::Append(_) | JobError::Contended)) => {
                return Err(error);
            }
            // neither the other zones nor the next time wait for that
            Err(error) => {
                let (job_id, error) = (&standing.job.job_id, chain(&error).to_string());
                tracing::error!(job.id = job_id, error, "a recurring job is not carried out");
                let message = format!("job {job_id} is not carried out in {zone}: {error}");
                store.faults().tell(SOURCE, now, message);
            }
        }
    }
    Ok(look_at)
}

/// The zones of all sites, each with its sites.
async fn zones(store: &Store) -> Result<HashMap<Tz, HashSet<i64>>, StoreError> {
    let mut zones: HashMap<Tz, HashSet<i64>> = HashMap::new();
    for (site_key, zone) in jobs::time_zones(store).await? {
        let zone = zone.parse().unwrap_or(Tz::UTC);
        zones.entry(zone).or_default().insert(site_key);
    }
    Ok(zones)
}

/// The devices of a selection at some sites. What it names and is not there any more is passed over.
async fn devices(
    store: &Store,
    (selection, within): (&Selection, &Within),
    sites: &HashSet<i64>,
) -> Result<Vec<String>, StoreError> {
    let mut devices = Vec::new();
    for id in selection.resolve_what_is_there(store, within).await? {
        let key = store.key(EntityType::Device, &id).await?;
        let site = key.and_then(|key| store.names().site_of_device(key));
        if site.is_some_and(|site| sites.contains(&site)) {
            devices.push(id);
        }
    }
    Ok(devices)
}
