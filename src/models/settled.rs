//! Whether all that happened before a midnight is folded into what is kept of devices.
//!
//! What is not is folded in memory by whoever reads it, which takes longer: so it is waited for, but not for ever.

use std::time::Duration;

use sea_orm::ConnectionTrait;
use tokio::time::Instant as Time;

use crate::event::{Instant, Position};
use crate::projections::checkpoint;
use crate::store::{Doing, Sql, Store, StoreError};

/// How long it is waited for.
const PATIENCE: Duration = Duration::from_mins(30);
const DOING: &str = "read what is to be folded of devices";
/// Name of the projection that keeps it.
const PROJECTION: &str = "insights";

/// What is waited for.
#[derive(Debug, Default)]
pub(super) struct Settling {
    of: Option<Waiting>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    midnight: Instant,
    /// The head when it was waited for first.
    head: Position,
    since: Time,
}

impl Settling {
    /// What is recorded from now on is waited for as well, if it is asked again.
    pub(super) const fn renew(&mut self) {
        self.of = None;
    }

    /// Whether what was recorded until it was asked first is folded, as far as it happened before a midnight.
    pub(super) async fn is_settled(
        &mut self,
        store: &Store,
        midnight: Instant,
    ) -> Result<bool, StoreError> {
        let waiting = match self.of {
            Some(waiting) if waiting.midnight == midnight => waiting,
            _ => Waiting {
                midnight,
                head: store.committed_head().await?,
                since: Time::now(),
            },
        };
        self.of = Some(waiting);
        if waiting.since.elapsed() > PATIENCE {
            return Ok(true);
        }
        let folded = checkpoint::position(store, PROJECTION).await?;
        Ok(folded >= waiting.head && !is_any_due(store, midnight).await?)
    }
}

/// Whether a device is to be folded anew from an hour before a midnight.
async fn is_any_due(store: &Store, midnight: Instant) -> Result<bool, StoreError> {
    let mut sql = Sql::new("SELECT 1 FROM insight_due WHERE from_at < ");
    sql.bind(midnight.0).push(" LIMIT 1");
    let row = store
        .readers()
        .query_one_raw(sql.statement(store.backend()));
    Ok(row.await.doing(DOING)?.is_some())
}
