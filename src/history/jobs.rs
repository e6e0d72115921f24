//! Jobs as they stand.

use entity::{job_targets, jobs};
use sea_orm::{ColumnTrait, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::event::Position;
use crate::store::{Doing, Store, StoreError};

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

/// Jobs in one of some states, the newest first; those made before an instant if one is given.
///
/// # Errors
/// When the tables cannot be read.
pub async fn jobs_page(
    store: &Store,
    states: Option<&[String]>,
    before: Option<(i64, String)>,
    limit: u64,
) -> Result<Vec<JobRow>, StoreError> {
    let mut query = jobs::Entity::find()
        .order_by_desc(jobs::Column::CreatedAt)
        .order_by_desc(jobs::Column::JobId)
        .limit(limit);
    if let Some(states) = states {
        query = query.filter(jobs::Column::State.is_in(states.iter().map(String::as_str)));
    }
    if let Some((at, id)) = before {
        let same = jobs::Column::CreatedAt
            .eq(at)
            .and(jobs::Column::JobId.lt(id));
        query = query.filter(jobs::Column::CreatedAt.lt(at).or(same));
    }
    query.all(store.readers()).await.doing("read jobs")
}

/// The devices of a job.
///
/// # Errors
/// When the tables cannot be read.
pub async fn targets(store: &Store, job_id: &str) -> Result<Vec<TargetRow>, StoreError> {
    targets_of(store, &[job_id]).await
}

/// The devices of some jobs.
///
/// # Errors
/// When the tables cannot be read.
pub async fn targets_of(store: &Store, job_ids: &[&str]) -> Result<Vec<TargetRow>, StoreError> {
    let query = job_targets::Entity::find()
        .filter(job_targets::Column::JobId.is_in(job_ids.iter().copied()))
        .order_by_asc(job_targets::Column::DeviceKey);
    query
        .all(store.readers())
        .await
        .doing("read the devices of jobs")
}

/// Jobs that are not done, whose last transition is not after a position: what an executor that
/// starts has to go on with.
///
/// # Errors
/// When the tables cannot be read.
pub async fn unfinished(store: &Store, upto: Position) -> Result<Vec<JobRow>, StoreError> {
    let query = jobs::Entity::find()
        .filter(jobs::Column::State.is_in(["QUEUED", "RUNNING"]))
        .filter(jobs::Column::Position.lte(upto.0))
        .order_by_asc(jobs::Column::CreatedAt);
    query.all(store.readers()).await.doing("read jobs")
}
