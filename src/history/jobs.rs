//! Jobs as they stand.

use std::collections::HashMap;

use entity::{device_status, job_outcomes, job_targets, job_transitions, jobs, sites};
use futures_util::TryStreamExt;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, Order, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Select,
};

use super::{Part, Within, first_of_each, gathered};
use crate::event::{Event, Position};
use crate::kinds::Kind;
use crate::store::{Allowance, Columns, Doing, List, Store, StoreError, is_among};

/// A job.
pub type JobRow = jobs::Model;
/// A device that a job is meant for.
pub type TargetRow = job_targets::Model;

/// Devices at most that are read of the outcomes of a job: as many as a job may have.
pub const REPORTED_MAX: u64 = 10_000;

/// A job by its id.
///
/// # Errors
/// When the tables cannot be read.
pub async fn job(store: &Store, job_id: &str) -> Result<Option<JobRow>, StoreError> {
    jobs::Entity::find_by_id(job_id)
        .one(store.readers())
        .await
        .doing("read a job")
}

/// Jobs by their ids; those that there are.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn by_ids(
    store: &Store,
    job_ids: Vec<String>,
    allowance: &Allowance,
) -> Result<Vec<JobRow>, StoreError> {
    if job_ids.is_empty() {
        return Ok(Vec::new());
    }
    let among = is_among(jobs::Column::JobId, List::Text(job_ids), store.backend());
    let query = jobs::Entity::find().filter(among);
    let rows = query.stream(store.readers()).await.doing("read jobs")?;
    gathered(rows, (allowance, job_bytes), "read jobs").await
}

fn job_bytes(row: &JobRow) -> usize {
    let texts = [&row.payload, &row.plan, &row.created_by];
    let texts = texts.into_iter().flatten().map(String::len);
    size_of::<JobRow>() + row.job_id.len() + texts.sum::<usize>()
}

/// Those of some ids that are of jobs.
///
/// # Errors
/// When the tables cannot be read.
pub async fn known_among(store: &Store, job_ids: &[String]) -> Result<Vec<String>, StoreError> {
    let ids = List::Text(job_ids.to_vec());
    let query = jobs::Entity::find()
        .select_only()
        .column(jobs::Column::JobId)
        .filter(is_among(jobs::Column::JobId, ids, store.backend()))
        .into_tuple();
    query.all(store.readers()).await.doing("read jobs")
}

/// Looks at the plans of some jobs, one after another, by the ids of these.
///
/// # Errors
/// When the tables cannot be read.
pub async fn each_plan(
    store: &Store,
    job_ids: Vec<String>,
    mut look: impl FnMut(String, Option<&str>),
) -> Result<(), StoreError> {
    let doing = "read the plans of jobs";
    let ids = List::Text(job_ids);
    let query = jobs::Entity::find()
        .select_only()
        .column(jobs::Column::JobId)
        .column(jobs::Column::Plan)
        .filter(is_among(jobs::Column::JobId, ids, store.backend()))
        .into_tuple::<(String, Option<String>)>();
    let mut rows = std::pin::pin!(query.stream(store.readers()).await.doing(doing)?);
    while let Some((job_id, plan)) = rows.try_next().await.doing(doing)? {
        look(job_id, plan.as_deref());
    }
    Ok(())
}

/// Outcomes by their positions, archived or not, in no order; those that were deleted for good are absent. Of what
/// they say it is read how long the job ran.
///
/// # Errors
/// When the tables or segments cannot be read, or the allowance does not suffice.
pub async fn outcomes(
    store: &Store,
    positions: &[Position],
    allowance: &Allowance,
) -> Result<Vec<Event>, StoreError> {
    if positions.is_empty() {
        return Ok(Vec::new());
    }
    let kind = Kind::JobOutcome;
    let duration = kind.spec().index_of("durationMs");
    let columns = Columns::NONE.with_source();
    let columns = duration.into_iter().fold(columns, Columns::with);
    let kind = (kind, columns);
    store.of_positions(kind, positions, allowance).await
}

/// What of the list of jobs, the newest first.
#[derive(Clone, Debug, Default)]
pub struct JobsPage {
    /// Of this part of the fleet.
    pub within: Within,
    /// For a device of this part of it.
    pub devices_within: Vec<Within>,
    /// In one of these states.
    pub states: Option<Vec<String>>,
    /// Of this type; of a CUSTOM one its name.
    pub job_type: Option<String>,
    /// That come from this job.
    pub parent_job_id: Option<String>,
    /// Which part of them.
    pub part: Part,
}

/// Jobs, the newest first; those of a page from the end too.
///
/// # Errors
/// When the tables cannot be read.
pub async fn jobs_page(
    store: &Store,
    page: &JobsPage,
    limit: u64,
    allowance: &Allowance,
) -> Result<Vec<JobRow>, StoreError> {
    let columns = (jobs::Column::CreatedAt, jobs::Column::JobId);
    let query = page.part.of(meant(store, page), columns).limit(limit);
    let rows = query.stream(store.readers()).await.doing("read jobs")?;
    let rows = gathered(rows, (allowance, job_bytes), "read jobs").await?;
    Ok(page.part.in_order(rows))
}

/// How many jobs there are on all pages.
///
/// # Errors
/// When the tables cannot be read.
pub async fn jobs_count(store: &Store, page: &JobsPage) -> Result<u64, StoreError> {
    let count = meant(store, page).count(store.readers()).await;
    count.doing("count jobs")
}

fn meant(store: &Store, page: &JobsPage) -> Select<jobs::Entity> {
    let backend = store.backend();
    // of what the filter names too only what is within reach: one device for all
    let parts: Vec<&Within> = [&page.within]
        .into_iter()
        .chain(&page.devices_within)
        .collect();
    let states = page.states.clone();
    let (ty, parent) = (page.job_type.as_deref(), page.parent_job_id.as_deref());
    let named = Condition::all()
        .add_option(states.map(|states| jobs::Column::State.is_in(states)))
        .add_option(ty.map(|ty| jobs::Column::JobType.eq(ty)))
        .add_option(parent.map(|parent| jobs::Column::ParentJobId.eq(parent)));
    jobs::Entity::find()
        .filter(Within::jobs_of(&parts, backend))
        .filter(named)
}

/// Position of the step with which a job was made.
///
/// # Errors
/// When the tables cannot be read.
pub async fn first_step(store: &Store, job_id: &str) -> Result<Option<Position>, StoreError> {
    let first: Option<Option<i64>> = job_transitions::Entity::find()
        .select_only()
        .column_as(job_transitions::Column::Position.min(), "first")
        .filter(job_transitions::Column::JobId.eq(job_id))
        .into_tuple()
        .one(store.readers())
        .await
        .doing("read the first step of a job")?;
    Ok(first.flatten().map(Position))
}

/// The devices of a job, in their order.
///
/// # Errors
/// When the tables cannot be read.
pub async fn targets(store: &Store, job_id: &str) -> Result<Vec<TargetRow>, StoreError> {
    job_targets::Entity::find()
        .filter(job_targets::Column::JobId.eq(job_id))
        .order_by_asc(job_targets::Column::Ordinal)
        .all(store.readers())
        .await
        .doing("read the devices of a job")
}

/// The devices, [`REPORTED_MAX`] at most, of which an outcome of a job is in its table: of a job that was made
/// elsewhere nothing else tells them.
///
/// # Errors
/// When the table cannot be read.
pub async fn reported(store: &Store, job_id: &str) -> Result<Vec<i64>, StoreError> {
    job_outcomes::Entity::find()
        .select_only()
        .column(job_outcomes::Column::DeviceKey)
        .distinct()
        .filter(job_outcomes::Column::JobId.eq(job_id))
        .filter(job_outcomes::Column::DeviceKey.is_not_null())
        .limit(REPORTED_MAX)
        .into_tuple()
        .all(store.readers())
        .await
        .doing("read of which devices a job was reported")
}

/// Which devices of jobs are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TargetsPage {
    /// Of this part of the fleet.
    pub within: Within,
    /// On which they ended so, or, for none, on which they have not.
    pub ended: Option<Vec<Option<String>>>,
    /// Behind this place.
    pub after: Option<i64>,
    /// Devices of each job at most.
    pub limit: u64,
}

/// The same page of the devices of each of some jobs, in one statement, in their order.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn targets_pages(
    store: &Store,
    job_ids: &[String],
    page: &TargetsPage,
    allowance: &Allowance,
) -> Result<HashMap<String, Vec<TargetRow>>, StoreError> {
    let doing = "read the devices of jobs";
    let number = "row_number() OVER (PARTITION BY job_targets.job_id ORDER BY job_targets.ordinal)";
    let ended = page.ended.as_ref().map(|ends| {
        ends.iter().fold(Condition::any(), |any, end| match end {
            Some(status) => any.add(job_targets::Column::Status.eq(status.as_str())),
            None => any.add(job_targets::Column::Status.is_null()),
        })
    });
    let after = page
        .after
        .map(|after| job_targets::Column::Ordinal.gt(after));
    let query = job_targets::Entity::find()
        .filter(of_jobs(store, job_ids))
        .filter(page.within.of_targets(store.backend()))
        .filter(Condition::all().add_option(ended).add_option(after));
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
    let (first, order) = ((query, number, limit), [("ordinal", Order::Asc)]);
    let rows = first_of_each(store, first, &order, (allowance, target_bytes), doing).await?;
    let mut pages: HashMap<String, Vec<TargetRow>> = HashMap::new();
    for row in rows {
        pages.entry(row.job_id.clone()).or_default().push(row);
    }
    Ok(pages)
}

fn target_bytes(row: &TargetRow) -> usize {
    let texts = row.status.as_ref().map_or(0, String::len) + row.step.len();
    size_of::<TargetRow>() + row.job_id.len() + texts
}

/// Some devices of some jobs.
///
/// # Errors
/// When the tables cannot be read.
pub async fn targets_among(
    store: &Store,
    job_ids: &[String],
    device_keys: &[i64],
) -> Result<Vec<TargetRow>, StoreError> {
    let keys = List::Int(device_keys.to_vec());
    let among = is_among(job_targets::Column::DeviceKey, keys, store.backend());
    let query = job_targets::Entity::find()
        .filter(of_jobs(store, job_ids))
        .filter(among)
        .order_by_asc(job_targets::Column::Ordinal);
    query
        .all(store.readers())
        .await
        .doing("read devices of jobs")
}

/// How many devices of a job have ended it how, and how far the others are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(Vec<(Option<String>, String, i64)>);

impl Counts {
    /// Devices of which what they have ended with, and how far they are, is as asked.
    pub fn of(&self, is_meant: impl Fn(Option<&str>, &str) -> bool) -> i64 {
        let meant = self.0.iter();
        let meant = meant.filter(|(status, step, _)| is_meant(status.as_deref(), step));
        meant.map(|(_, _, count)| count).sum()
    }
}

/// The counts of jobs, of their devices within a part of the fleet.
///
/// # Errors
/// When the tables cannot be read.
pub async fn counts_of(
    store: &Store,
    job_ids: &[String],
    within: &Within,
) -> Result<HashMap<String, Counts>, StoreError> {
    let query = job_targets::Entity::find()
        .select_only()
        .column(job_targets::Column::JobId)
        .column(job_targets::Column::Status)
        .column(job_targets::Column::Step)
        .column_as(job_targets::Column::DeviceKey.count(), "devices")
        .filter(of_jobs(store, job_ids))
        .filter(within.of_targets(store.backend()))
        .group_by(job_targets::Column::JobId)
        .group_by(job_targets::Column::Status)
        .group_by(job_targets::Column::Step)
        .into_tuple::<(String, Option<String>, String, i64)>();
    let rows = query
        .all(store.readers())
        .await
        .doing("count devices of jobs")?;
    let mut counts: HashMap<String, Counts> = HashMap::new();
    for (job_id, status, step, count) in rows {
        counts
            .entry(job_id)
            .or_default()
            .0
            .push((status, step, count));
    }
    Ok(counts)
}

fn of_jobs(store: &Store, job_ids: &[String]) -> Expr {
    let ids = List::Text(job_ids.to_vec());
    is_among(job_targets::Column::JobId, ids, store.backend())
}

/// The devices that have been given open jobs and have not ended them, in the order in which they moved last
/// and behind a position: one device, or all within a part of the fleet.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn commanded(
    store: &Store,
    (within, device_key): (&Within, Option<i64>),
    (after, limit): (Position, u64),
    allowance: &Allowance,
) -> Result<Vec<TargetRow>, StoreError> {
    let query = job_targets::Entity::find()
        .filter(job_targets::Column::Status.is_null())
        .filter(job_targets::Column::Step.is_in(["ISSUED", "ACKNOWLEDGED"]))
        .filter(job_targets::Column::StepPosition.gt(after.0))
        .filter(within.of_targets(store.backend()))
        .filter(
            Condition::all()
                .add_option(device_key.map(|key| job_targets::Column::DeviceKey.eq(key))),
        )
        .order_by_asc(job_targets::Column::StepPosition)
        .limit(limit);
    let rows = query.stream(store.readers()).await.doing(COMMANDS)?;
    gathered(rows, (allowance, target_bytes), COMMANDS).await
}

const COMMANDS: &str = "read commands";

/// Jobs that have not ended.
///
/// # Errors
/// When the tables cannot be read.
pub async fn open(store: &Store) -> Result<Vec<JobRow>, StoreError> {
    let query = jobs::Entity::find()
        .filter(jobs::Column::State.is_in(["SCHEDULED", "QUEUED", "RUNNING", "PAUSED"]))
        .order_by_asc(jobs::Column::CreatedAt);
    query.all(store.readers()).await.doing("read jobs")
}

/// The keys of the devices that were last seen OFFLINE.
///
/// # Errors
/// When the tables cannot be read.
pub async fn offline(store: &Store) -> Result<Vec<i64>, StoreError> {
    let query = device_status::Entity::find()
        .select_only()
        .column(device_status::Column::DeviceKey)
        .filter(device_status::Column::State.eq("OFFLINE"))
        .into_tuple();
    query.all(store.readers()).await.doing("read devices")
}

/// The time zones of all sites, by the keys of these.
///
/// # Errors
/// When the tables cannot be read.
pub async fn time_zones(store: &Store) -> Result<Vec<(i64, String)>, StoreError> {
    let query = sites::Entity::find()
        .select_only()
        .column(sites::Column::SiteKey)
        .column(sites::Column::TimeZone)
        .into_tuple();
    query.all(store.readers()).await.doing("read time zones")
}
