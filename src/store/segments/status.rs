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
}

/// What a run would do with a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Events that would be archived.
    pub archive_events: i64,
    /// Events in segments that would be deleted.
    pub delete_events: i64,
    /// Events that would be, but for what follows the log and has not come so far.
    pub held_events: i64,
}

/// Which of the segments that are old enough may be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletable {
    /// Those of which everything happened before this instant.
    pub before: Instant,
    /// Events in the others.
    pub held_events: i64,
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

    /// Whether all segments that there are can be read and written: none can be where it is not known where they
    /// lie.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub(crate) async fn can_erase(&self) -> Result<bool, StoreError> {
        let catalog = self.segments().renew(self.readers()).await?;
        Ok(self.can_archive() || catalog.is_empty())
    }

    /// Whether something is archived, as far as this process knows.
    #[must_use]
    pub(crate) fn has_archived(&self) -> bool {
        !self.segments().catalog().is_empty()
    }

    /// What there is of a kind in segments.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub async fn archived(&self, kind: Kind) -> Result<KindStatus, StoreError> {
        let catalog = self.segments().renew(self.readers()).await?;
        let of_kind = catalog.of(kind);
        let sum = |of: fn(&super::Segment) -> i64| of_kind.iter().map(|s| of(s)).sum();
        Ok(KindStatus {
            segments: i64::try_from(of_kind.len()).unwrap_or(i64::MAX),
            events: sum(|segment| segment.events),
            bytes: sum(|segment| segment.bytes),
            first_at: of_kind.iter().map(|s| Instant(s.times.0)).min(),
            last_at: of_kind.iter().map(|s| Instant(s.times.1)).max(),
            deleted_events: catalog.deleted_events(kind),
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

    /// Which segments of a kind may be deleted of those of which everything happened before an instant, when what
    /// is after a position is to stay: none that ends behind one that has some of that.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub async fn deletable(
        &self,
        kind: Kind,
        before: Instant,
        upto: Option<Position>,
    ) -> Result<Deletable, StoreError> {
        let catalog = self.segments().renew(self.readers()).await?;
        let old = || catalog.of(kind).iter().filter(|s| s.times.1 < before.0);
        let held = old().filter(|s| upto.is_some_and(|upto| s.positions.1 > upto.0));
        let first = held.map(|segment| Instant(segment.times.1)).min();
        let first = first.unwrap_or(before);
        let held = old().filter(|s| s.times.1 >= first.0);
        Ok(Deletable {
            before: first,
            held_events: held.map(|segment| segment.events).sum(),
        })
    }

    async fn older(&self, kind: Kind, before: Instant, upto: Position) -> Result<i64, StoreError> {
        self.old(kind, before, (" AND position <= ", upto)).await
    }

    /// How many events of a table happened before an instant and were recorded after a position.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub(crate) async fn older_after(
        &self,
        kind: Kind,
        before: Instant,
        after: Position,
    ) -> Result<i64, StoreError> {
        self.old(kind, before, (" AND position > ", after)).await
    }

    async fn old(
        &self,
        kind: Kind,
        before: Instant,
        (beside, position): (&str, Position),
    ) -> Result<i64, StoreError> {
        let doing = "count old events";
        let table = kind.spec().table;
        let mut sql = Sql::new(format!("SELECT count(*) FROM {table} WHERE occurred_at < "));
        sql.bind(before.0).push(beside).bind(position.0);
        let row = self.readers().query_one_raw(sql.statement(self.backend()));
        let row = row.await.doing(doing)?;
        let count = row.map(|row| row.try_get_by_index(0)).transpose();
        Ok(count.doing(doing)?.unwrap_or_default())
    }

    /// Whether events of those kinds have been deleted for good.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub async fn has_deleted(&self, kinds: &[Kind]) -> Result<bool, StoreError> {
        let catalog = self.segments().renew(self.readers()).await?;
        Ok(kinds.iter().any(|kind| catalog.deleted_events(*kind) > 0))
    }

    /// Whether all events of a kind that happened at an instant or later are still in the log, archived or not.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub(crate) async fn is_whole_since(&self, kind: Kind, at: Instant) -> Result<bool, StoreError> {
        let catalog = self.segments().renew(self.readers()).await?;
        let whole_since = catalog.whole_since();
        Ok(whole_since.get(&kind).is_none_or(|since| *since <= at))
    }

    /// Whether who follows those kinds from a position was away for longer than events are kept, and so would
    /// miss some that were deleted for good.
    ///
    /// What was too old already when it was recorded does not count: it is deleted at once, on purpose, and
    /// nobody is to begin anew for want of it.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub async fn is_lost_after(
        &self,
        position: Position,
        kinds: Option<&[Kind]>,
    ) -> Result<bool, StoreError> {
        let catalog = self.segments().renew(self.readers()).await?;
        let mut kinds = Kind::all().filter(|kind| kinds.is_none_or(|kinds| kinds.contains(kind)));
        Ok(kinds.any(|kind| catalog.has_lost_after(kind, position)))
    }
}
