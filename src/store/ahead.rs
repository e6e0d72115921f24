//! Makes the partitions of the large tables on PostgreSQL before they are needed: those of this month and
//! the next, so that no append has to.

use std::time::Duration;

use sea_orm::DbBackend;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::error::StoreError;
use super::partitions::{Partitions, month_after};
use super::{Failing, Store};
use crate::kinds::Kind;

/// How often it is looked whether the next month has its partitions. Several servers may look at once: who
/// makes them holds a lock, and the others find them there.
const LOOK_EVERY: Duration = Duration::from_hours(1);
/// How it goes on after a failure. Until it has succeeded, the first append of a month makes them.
const FAILING: Failing = Failing {
    source: "the partitions",
    effect: "the partitions of the next month are not made yet, will try again",
    waits: Duration::from_mins(1),
};

impl Store {
    /// Makes the partitions of this month and the next, where there are any.
    ///
    /// # Errors
    /// When they cannot be made.
    pub async fn make_partitions_ahead(&self) -> Result<(), StoreError> {
        if self.backend() != DbBackend::Postgres {
            return Ok(());
        }
        let now = self.clock().now();
        let db = &self.shared.connections.writer;
        let months = [now, month_after(now)];
        let times = Kind::all().flat_map(|kind| months.map(|at| (kind, at)));
        let mut partitions = Partitions::load(db).await?;
        partitions.ensure(db, times, now).await
    }

    /// Makes them again and again, until it is told to stop.
    pub async fn keep_partitions_ahead(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.make_partitions_ahead().await {
                Ok(()) => {
                    stop.run_until_cancelled(sleep(LOOK_EVERY)).await;
                }
                Err(error) => FAILING.failed(&self, &error, &stop).await,
            }
        }
    }
}
