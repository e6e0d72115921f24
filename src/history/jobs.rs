//! Jobs as they stand.

use entity::{job_outcomes, job_targets, jobs};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, ExprTrait, Order, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Select,
};

use super::{Within, gathered};
use crate::store::{Allowance, Doing, List, Store, StoreError, is_among};

/// A job.
pub type JobRow = jobs::Model;
/// A device that a job is meant for.
pub type TargetRow = job_targets::Model;

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
/// When the tables cannot be read.
pub async fn by_ids(store: &Store, job_ids: &[String]) -> Result<Vec<JobRow>, StoreError> {
    if job_ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids = List::Text(job_ids.to_vec());
    let among = is_among(jobs::Column::JobId, ids, store.backend());
    let query = jobs::Entity::find().filter(among);
    query.all(store.readers()).await.doing("read jobs")
}

/// Outcomes by their positions, in the order of these.
///
/// # Errors
/// When the tables cannot be read.
pub async fn outcomes(
    store: &Store,
    positions: &[i64],
) -> Result<Vec<job_outcomes::Model>, StoreError> {
    if positions.is_empty() {
        return Ok(Vec::new());
    }
    let position = job_outcomes::Column::Position;
    let among = is_among(position, List::Int(positions.to_vec()), store.backend());
    let query = job_outcomes::Entity::find()
        .filter(among)
        .order_by_asc(position);
    query.all(store.readers()).await.doing("read outcomes")
}

/// Place of a job in their list: when it was made, and its id.
pub type JobPlace = (i64, String);

/// Which part of the list of jobs, the newest first.
#[derive(Clone, Debug, Default)]
pub struct JobsPage {
    /// Of this part of the fleet.
    pub within: Within,
    /// In one of these states.
    pub states: Option<Vec<String>>,
    /// After this place.
    pub after: Option<JobPlace>,
    /// Before this place.
    pub before: Option<JobPlace>,
    /// Taken from the end of the list.
    pub from_end: bool,
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
    let order = if page.from_end {
        Order::Asc
    } else {
        Order::Desc
    };
    let (at, id) = (jobs::Column::CreatedAt, jobs::Column::JobId);
    let after = page.after.as_ref().map(|(created_at, job_id)| {
        let same = at.eq(*created_at).and(id.lt(job_id.as_str()));
        at.lt(*created_at).or(same)
    });
    let before = page.before.as_ref().map(|(created_at, job_id)| {
        let same = at.eq(*created_at).and(id.gt(job_id.as_str()));
        at.gt(*created_at).or(same)
    });
    let query = in_states(store, page)
        .filter(Condition::all().add_option(after).add_option(before))
        .order_by(at, order.clone())
        .order_by(id, order)
        .limit(limit);
    let weight_bytes = |row: &JobRow| {
        let payload_bytes = row.payload.as_ref().map_or(0, String::len);
        size_of::<JobRow>() + row.job_id.len() + payload_bytes
    };
    let rows = query.stream(store.readers()).await.doing("read jobs")?;
    let mut rows = gathered(rows, (allowance, weight_bytes), "read jobs").await?;
    if page.from_end {
        rows.reverse();
    }
    Ok(rows)
}

/// How many jobs there are on all pages.
///
/// # Errors
/// When the tables cannot be read.
pub async fn jobs_count(store: &Store, page: &JobsPage) -> Result<u64, StoreError> {
    let count = in_states(store, page).count(store.readers()).await;
    count.doing("count jobs")
}

fn in_states(store: &Store, page: &JobsPage) -> Select<jobs::Entity> {
    let query = jobs::Entity::find().filter(page.within.of_jobs(store.backend()));
    match &page.states {
        Some(states) => query.filter(jobs::Column::State.is_in(states.clone())),
        None => query,
    }
}

/// The devices of a job.
///
/// # Errors
/// When the tables cannot be read.
pub async fn targets(store: &Store, job_id: &str) -> Result<Vec<TargetRow>, StoreError> {
    targets_of(store, &[job_id], &Store::own_allowance()).await
}

/// The devices of some jobs.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn targets_of(
    store: &Store,
    job_ids: &[&str],
    allowance: &Allowance,
) -> Result<Vec<TargetRow>, StoreError> {
    let query = job_targets::Entity::find()
        .filter(is_among(
            job_targets::Column::JobId,
            List::Text(job_ids.iter().map(ToString::to_string).collect()),
            store.backend(),
        ))
        .order_by_asc(job_targets::Column::DeviceKey);
    let weight_bytes = |row: &TargetRow| {
        let status_bytes = row.status.as_ref().map_or(0, String::len);
        size_of::<TargetRow>() + row.job_id.len() + status_bytes
    };
    let doing = "read the devices of jobs";
    let rows = query.stream(store.readers()).await.doing(doing)?;
    gathered(rows, (allowance, weight_bytes), doing).await
}

/// Jobs that are not done: what an executor that starts has to go on with.
///
/// # Errors
/// When the tables cannot be read.
pub async fn unfinished(store: &Store) -> Result<Vec<JobRow>, StoreError> {
    let query = jobs::Entity::find()
        .filter(jobs::Column::State.is_in(["QUEUED", "RUNNING"]))
        .order_by_asc(jobs::Column::CreatedAt);
    query.all(store.readers()).await.doing("read jobs")
}
