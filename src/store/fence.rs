//! Fences: what is written for a work that only one server may do is written only while that server
//! has it.
//!
//! A server may stall for longer than its lease, wake up and go on as if nothing had happened. So each
//! transaction of such a work asks the row of its lease first, and holds that until it ends: whoever
//! takes the work over does so before or after, and what comes too late is not kept.

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use tokio_util::sync::CancellationToken;

use super::Store;
use super::error::{Doing, StoreError};
use super::sql::Sql;

/// The right to write for a work, as long as nobody else has taken that.
#[derive(Clone, Debug)]
pub struct Fence {
    work: &'static str,
    token: i64,
    lost: CancellationToken,
}

impl Fence {
    /// The fence of a work that was taken with a token. When it turns out that somebody else has taken it
    /// since, that is told by `lost`.
    #[must_use]
    pub(crate) const fn new(work: &'static str, token: i64, lost: CancellationToken) -> Self {
        Self { work, token, lost }
    }

    /// Makes sure that the work is nobody else's, also while the transaction lasts.
    pub(crate) async fn check(&self, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        let doing = "look whose work it is";
        let mut sql = Sql::new("SELECT token FROM leases WHERE work = ");
        sql.bind(self.work).push(" FOR SHARE");
        let row = tx
            .query_one_raw(sql.statement(tx.get_database_backend()))
            .await;
        let token: Option<i64> = row
            .doing(doing)?
            .map(|row| row.try_get_by_index(0))
            .transpose()
            .doing(doing)?;
        if token == Some(self.token) {
            return Ok(());
        }
        self.lost.cancel();
        Err(StoreError::Fenced { work: self.work })
    }
}

impl Store {
    /// The same log for one who does a work: what is written through it is kept only as long as nobody else
    /// has taken that. Without a fence it is as it was.
    #[must_use]
    pub fn fenced(&self, fence: Option<Fence>) -> Self {
        Self {
            fence,
            ..self.clone()
        }
    }
}
