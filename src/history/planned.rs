//! Jobs that devices had not ended by an instant, as far as they say when these are given them.

use entity::{job_targets, jobs};
use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, FromQueryResult, JoinType, QueryFilter, QuerySelect,
    RelationTrait,
};

use super::gathered;
use crate::event::Instant;
use crate::store::{Allowance, Doing, List, Store, StoreError, is_among};

/// A job that a device had not ended.
#[derive(Clone, Debug, FromQueryResult)]
pub struct OnDevice {
    /// Key of the device.
    pub device_key: i64,
    /// How far its command is.
    pub step: String,
    /// Since when: microseconds since 1970, UTC.
    pub step_at: i64,
    /// The state of the job.
    pub state: String,
    /// How it is to be carried out, as JSON.
    pub plan: Option<String>,
}

/// Jobs that some devices had not ended by an instant that is past, or have not ended now.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub fn on_devices<'a>(
    store: &'a Store,
    device_keys: &'a [i64],
    past: Option<Instant>,
    allowance: &'a Allowance,
) -> BoxFuture<'a, Result<Vec<OnDevice>, StoreError>> {
    Box::pin(async move {
        let doing = "read jobs that are planned";
        let keys = List::Int(device_keys.to_vec());
        let among = is_among(job_targets::Column::DeviceKey, keys, store.backend());
        let not_ended = Condition::any()
            .add(job_targets::Column::Status.is_null())
            .add_option(past.map(|at| job_targets::Column::StepAt.gt(at.0)));
        let made = past.map(|at| jobs::Column::CreatedAt.lte(at.0));
        let query = job_targets::Entity::find()
            .select_only()
            .column(job_targets::Column::DeviceKey)
            .column(job_targets::Column::Step)
            .column(job_targets::Column::StepAt)
            .column(jobs::Column::State)
            .column(jobs::Column::Plan)
            .join(JoinType::InnerJoin, job_targets::Relation::Job.def())
            .filter(among)
            .filter(not_ended)
            .filter(Condition::all().add_option(made))
            .into_model::<OnDevice>();
        let rows = query.stream(store.readers()).await.doing(doing)?;
        let weight_bytes = |row: &OnDevice| {
            let plan = row.plan.as_ref().map_or(0, String::len);
            size_of::<OnDevice>() + row.step.len() + row.state.len() + plan
        };
        gathered(rows, (allowance, weight_bytes), doing).await
    })
}

/// Looks at the plans of all jobs that wait for their time, one after another; or of those that recur and had been made
/// by an instant that is past. Of these one that waits no more counts if it waited until after that: whether it was held
/// for a while in between is not looked up.
///
/// # Errors
/// When the tables cannot be read.
pub async fn each_scheduled(
    store: &Store,
    past: Option<Instant>,
    mut look: impl FnMut(Option<&str>),
) -> Result<(), StoreError> {
    let doing = "read jobs that are planned";
    let query = jobs::Entity::find()
        .select_only()
        .column(jobs::Column::Plan)
        .filter(waited(past))
        .into_tuple::<Option<String>>();
    let mut rows = std::pin::pin!(query.stream(store.readers()).await.doing(doing)?);
    while let Some(plan) = rows.try_next().await.doing(doing)? {
        look(plan.as_deref());
    }
    Ok(())
}

/// The condition on jobs that wait for their time, or that recur and waited at an instant that is past.
fn waited(past: Option<Instant>) -> Condition {
    let waits = jobs::Column::State.eq("SCHEDULED");
    let Some(at) = past else {
        return Condition::all().add(waits);
    };
    let ended_later = jobs::Column::ChangedAt.gt(at.0);
    Condition::all()
        .add(jobs::Column::CreatedAt.lte(at.0))
        .add(jobs::Column::Plan.like("%\"recurring\"%"))
        .add(Condition::any().add(waits).add(ended_later))
}
