//! An event as it is now, to be told where an erasure must find it: what is in memory may be from before one.

use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::archive::lock;
use crate::event::{Event, Position};
use crate::store::Store;
use crate::store::error::{Doing, StoreError};
use crate::store::sql::Sql;

const DOING: &str = "read of which generation the segments are";

/// Of which generation the list of segments was when something was read. Each step of an erasure raises it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Present(i64);

impl Present {
    /// Makes sure that nothing was erased since, and nothing is until the transaction ends: who erases later finds
    /// what is written in it.
    ///
    /// # Errors
    /// [`StoreError::SegmentsMoved`] when something may have been: it is to be read again.
    pub(crate) async fn hold(self, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        lock(tx).await?;
        if generation(tx).await? == self.0 {
            Ok(())
        } else {
            Err(StoreError::SegmentsMoved)
        }
    }
}

impl Store {
    /// The event at a position as the tables and the segments have it now; `None` if it was deleted for good.
    ///
    /// # Errors
    /// When the tables or segments cannot be read.
    pub(crate) async fn present(
        &self,
        position: Position,
    ) -> Result<(Option<Event>, Present), StoreError> {
        // the generation first: what is read after it is at least as new
        let generation = generation(self.readers()).await?;
        let segments = self.segments();
        segments.of_generation(self.readers(), generation).await?;
        Ok((self.event(position).await?, Present(generation)))
    }
}

async fn generation(db: &impl ConnectionTrait) -> Result<i64, StoreError> {
    let sql = Sql::new("SELECT segments FROM log_head WHERE id = 1");
    let row = db.query_one_raw(sql.statement(db.get_database_backend()));
    let generation = row.await.doing(DOING)?.map(|row| row.try_get_by_index(0));
    let generation = generation.transpose().doing(DOING)?;
    Ok(generation.unwrap_or_default())
}
