//! What there is in tables and segments, kind by kind.

use std::sync::Arc;

use sea_orm::ConnectionTrait;

use super::Archive;
use crate::event::{Instant, Position};
use crate::kinds::Kind;
use crate::store::Store;
use crate::store::error::{Doing, StoreError};
use crate::store::sql::Sql;

/// The segments of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindStatus {
    /// How many there are.
    pub segments: i64,
    /// Events in them.
    pub events: i64,
    /// Bytes of their files.
    pub bytes: i64,
    /// The first instant in them.
    pub first_at: Option<Instant>,
    /// The last instant in them.
    pub last_at: Option<Instant>,
    /// Events that were deleted for good.
    pub deleted_events: i64,
    /// The last position of these: what is after it is whole.
    pub deleted_upto: Position,
}

/// What a run would do with a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Events that would be archived.
    pub archive_events: i64,
    /// Events in segments that would be deleted.
    pub delete_events: i64,
}

impl Store {
    /// What was archived.
    pub(crate) fn archive_of(&self) -> Archive {
        Archive::of(Arc::clone(&self.shared.connections.segments))
    }

    /// Whether it is known where segments lie.
    #[must_use]
    pub fn can_archive(&self) -> bool {
        self.segments().files.is_some()
    }

    /// What there is of a kind in segments.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub async fn archived(&self, kind: Kind) -> Result<KindStatus, StoreError> {
        let catalog = self.segments().renew(self.readers()).await?;
        let of_kind = catalog.of(kind);
        let floor = catalog.floor(kind);
        let sum = |of: fn(&super::Segment) -> i64| of_kind.iter().map(|s| of(s)).sum();
        Ok(KindStatus {
            segments: i64::try_from(of_kind.len()).unwrap_or(i64::MAX),
            events: sum(|segment| segment.events),
            bytes: sum(|segment| segment.bytes),
            first_at: of_kind.iter().map(|s| Instant(s.times.0)).min(),
            last_at: of_kind.iter().map(|s| Instant(s.times.1)).max(),
            deleted_events: floor.events,
            deleted_upto: floor.position,
        })
    }

    /// What a run would archive and delete of a kind. What it would archive and then delete is counted as
    /// both.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub async fn waiting(
        &self,
        kind: Kind,
        (archive_before, delete_before): (Option<Instant>, Option<Instant>),
        upto: Position,
    ) -> Result<Waiting, StoreError> {
        let catalog = self.segments().renew(self.readers()).await?;
        let mut waiting = Waiting::default();
        if let Some(before) = archive_before {
            waiting.archive_events = self.older(kind, before, upto).await?;
        }
        if let Some(before) = delete_before {
            let of_kind = catalog.of(kind).iter().filter(|s| s.times.1 < before.0);
            waiting.delete_events = of_kind.map(|segment| segment.events).sum();
            waiting.delete_events += self.older(kind, before, upto).await?;
        }
        Ok(waiting)
    }

    async fn older(&self, kind: Kind, before: Instant, upto: Position) -> Result<i64, StoreError> {
        let doing = "count old events";
        let table = kind.spec().table;
        let mut sql = Sql::new(format!("SELECT count(*) FROM {table} WHERE occurred_at < "));
        sql.bind(before.0).push(" AND position <= ").bind(upto.0);
        let row = self.readers().query_one_raw(sql.statement(self.backend()));
        let row = row.await.doing(doing)?;
        let count = row.map(|row| row.try_get_by_index(0)).transpose();
        Ok(count.doing(doing)?.unwrap_or_default())
    }

    /// The last position of those kinds that was deleted for good: who follows them from before it would
    /// miss events.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub async fn deleted_upto(&self, kinds: Option<&[Kind]>) -> Result<Position, StoreError> {
        let catalog = self.segments().renew(self.readers()).await?;
        let kinds = Kind::all().filter(|kind| kinds.is_none_or(|kinds| kinds.contains(kind)));
        let floors = kinds.map(|kind| catalog.floor(kind).position);
        Ok(floors.max().unwrap_or_default())
    }
}
