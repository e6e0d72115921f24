//! Takes segments away: those whose events are to be deleted, and files that no list names.

use std::collections::HashSet;
use std::sync::Arc;

use sea_orm::{ConnectionTrait, DatabaseTransaction, Value};
use uuid::Uuid;

use super::Segment;
use super::archive::{lock, raise};
use crate::columnar::Layout;
use crate::event::Instant;
use crate::kinds::{Identity, Kind};
use crate::store::Store;
use crate::store::error::{Doing, StoreError};
use crate::store::sql::Sql;

/// Ids at most in one statement.
const IDS_MAX: usize = 500;

impl Store {
    /// Deletes for good the oldest segment of a kind of which everything happened before an instant, and
    /// answers how many events it had; `None` when there is none. What they were counted as stays.
    ///
    /// # Errors
    /// When it cannot be read, or the list cannot be changed. Nothing has changed then.
    pub async fn drop_segment(
        &self,
        kind: Kind,
        before: Instant,
    ) -> Result<Option<i64>, StoreError> {
        let segments = self.segments();
        let catalog = segments.renew(self.readers()).await?;
        let mut old = catalog.of(kind).iter().filter(|s| s.times.1 < before.0);
        let Some(segment) = old.next().map(Arc::clone) else {
            return Ok(None);
        };
        let ids = self.ids_of(&segment).await?;
        let (generation, now) = (catalog.generation, self.clock().now());
        let (id, events, path) = (segment.id, segment.events, segment.path.clone());
        self.transact_durably(move |tx| {
            Box::pin(async move {
                lock(tx).await?;
                mark(tx, id, now).await?;
                forget(tx, &ids).await?;
                raise(tx, generation).await
            })
        })
        .await?;
        segments.renew(self.readers()).await?;
        if let Some(files) = &segments.files {
            // if it stays it is swept later: no list names it any more
            let removed = files.remove(&path).await;
            if let Err(error) = removed {
                let error = crate::telemetry::chain(&error).to_string();
                tracing::warn!(error, "a segment that was deleted could not be removed");
            }
        }
        Ok(Some(events))
    }

    /// The ids by which events of a segment are known.
    async fn ids_of(&self, segment: &Segment) -> Result<Vec<Uuid>, StoreError> {
        if segment.kind.spec().identity != Identity::EventId {
            return Ok(Vec::new());
        }
        let segments = self.segments();
        let file = segments.file(segment).await?;
        let mut ids = Vec::new();
        for group in 0..file.groups() {
            let table = segments
                .table((segment, group), &[Layout::EVENT_ID])
                .await?;
            let column = table.column(Layout::EVENT_ID);
            ids.extend((0..table.len()).filter_map(|row| column?.id(row)));
        }
        Ok(ids)
    }

    /// Removes the files of segments that no list names: what a process had written when it ended. Only
    /// one process may do so at a time ([`Store::claim`]). Answers how many.
    ///
    /// # Errors
    /// When the files cannot be listed or removed.
    pub async fn sweep_segments(&self) -> Result<usize, StoreError> {
        let segments = self.segments();
        let Some(files) = &segments.files else {
            return Ok(0);
        };
        let catalog = segments.renew(self.readers()).await?;
        let mut swept = files.sweep(&catalog.home).await?;
        let listed: HashSet<&str> = catalog.all().map(|s| s.path.as_str()).collect();
        let mut orphans = files.names(&catalog.home).await?;
        orphans.retain(|path| !listed.contains(path.as_str()));
        if orphans.is_empty() {
            return Ok(swept);
        }
        // whoever still means to list one of them is told that it was overtaken
        let generation = catalog.generation;
        self.transact_durably(move |tx| {
            Box::pin(async move {
                lock(tx).await?;
                raise(tx, generation).await
            })
        })
        .await?;
        for orphan in &orphans {
            files.remove(orphan).await?;
            swept += 1;
        }
        Ok(swept)
    }
}

async fn mark(tx: &DatabaseTransaction, id: i64, now: Instant) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE segments SET dropped_at = ");
    sql.bind(now.0).push(" WHERE id = ").bind(id);
    let marked = tx.execute_raw(sql.statement(tx.get_database_backend()));
    marked.await.doing("delete a segment").map(drop)
}

async fn forget(tx: &DatabaseTransaction, ids: &[Uuid]) -> Result<(), StoreError> {
    for ids in ids.chunks(IDS_MAX) {
        let mut sql = Sql::new("DELETE FROM event_keys WHERE event_id IN ");
        sql.bind_list(ids.iter().map(|id| Value::Uuid(Some(*id))));
        let forgotten = tx.execute_raw(sql.statement(tx.get_database_backend()));
        forgotten.await.doing("delete the ids of a segment")?;
    }
    Ok(())
}
