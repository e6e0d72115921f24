//! Reads of folded state for the API: sites, devices, schedules, counts, jobs; and what people
//! do, counted from the log.

use futures_util::{Stream, TryStreamExt};
use sea_orm::DbErr;

use crate::store::{Allowance, Doing, StoreError};

pub mod activity;
pub mod alerts;
pub mod collection;
pub mod configuration;
pub mod fleet;
pub mod jobs;
pub mod keys;
pub mod measures;
pub mod readings;
pub mod schedules;
pub mod states;
pub mod webhooks;
mod within;

pub use within::Within;

/// The rows of a query as they arrive, as long as the allowance lasts.
async fn gathered<R>(
    rows: impl Stream<Item = Result<R, DbErr>>,
    (allowance, weight_bytes): (&Allowance, impl Fn(&R) -> usize),
    doing: &'static str,
) -> Result<Vec<R>, StoreError> {
    let mut rows = std::pin::pin!(rows);
    let mut gathered = Vec::new();
    while let Some(row) = rows.try_next().await.doing(doing)? {
        allowance.take(weight_bytes(&row))?;
        gathered.push(row);
    }
    Ok(gathered)
}
