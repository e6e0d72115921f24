//! The bounded reads that the log offers: by position, by time with a filter, for many parents at once. What a
//! replica cannot answer that is behind the list of segments, the primary does.

use std::collections::HashMap;

use super::options::READ_BYTES_MAX;
use super::slice::Extent;
use super::{Allowance, Columns, PageQuery, Place, Slice, Store, StoreError, commit};
use crate::event::{Event, Instant, Position};
use crate::kinds::{Kind, Operand};

impl Store {
    /// Commits after a position, until there are at least so many events or some mebibytes; of one that
    /// is larger, a part.
    ///
    /// # Errors
    /// When the tables cannot be read or lack an event.
    pub async fn after(&self, position: Position, events_min: usize) -> Result<Slice, StoreError> {
        let extent = Extent::of_events(events_min);
        let read = self.tables().after(position, extent, None).await;
        if self.is_behind(&read) {
            return self.shared.tables.after(position, extent, None).await;
        }
        read
    }

    /// The event at a position; `None` beyond the head.
    ///
    /// # Errors
    /// When the tables cannot be read or lack it.
    pub async fn event(&self, position: Position) -> Result<Option<Event>, StoreError> {
        let read = self.tables().event(position).await;
        if self.is_behind(&read) {
            return self.shared.tables.event(position).await;
        }
        read
    }

    /// An allowance for what is read to answer one request.
    #[must_use]
    pub fn allowance(&self) -> Allowance {
        self.shared.room.allow(READ_BYTES_MAX)
    }

    /// An allowance for what this server itself has to read, whatever its clients do.
    #[must_use]
    pub(crate) fn own_allowance() -> Allowance {
        Allowance::of(READ_BYTES_MAX)
    }

    /// A page of one kind.
    ///
    /// # Errors
    /// When the tables cannot be read, or the allowance does not suffice.
    pub async fn page(
        &self,
        query: &PageQuery,
        allowance: &Allowance,
    ) -> Result<Vec<Event>, StoreError> {
        let read = self.tables().page(query, allowance).await;
        if self.is_behind(&read) {
            return self.shared.tables.page(query, allowance).await;
        }
        read
    }

    /// How many events a page would have without a limit.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub async fn count(&self, query: &PageQuery) -> Result<i64, StoreError> {
        let read = self.tables().count(query).await;
        if self.is_behind(&read) {
            return self.shared.tables.count(query).await;
        }
        read
    }

    /// The same page for each of some devices or sites.
    ///
    /// # Errors
    /// When the tables cannot be read, or the allowance does not suffice.
    pub async fn pages(
        &self,
        query: &PageQuery,
        parents: (Operand, &[i64]),
        allowance: &Allowance,
    ) -> Result<HashMap<i64, Vec<Event>>, StoreError> {
        let read = self.tables().pages(query, parents, allowance).await;
        if self.is_behind(&read) {
            return self.shared.tables.pages(query, parents, allowance).await;
        }
        read
    }

    /// How many events the same page would have for each of some devices or sites.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub async fn counts(
        &self,
        query: &PageQuery,
        parents: (Operand, &[i64]),
    ) -> Result<HashMap<i64, i64>, StoreError> {
        let read = self.tables().counts(query, parents).await;
        if self.is_behind(&read) {
            return self.shared.tables.counts(query, parents).await;
        }
        read
    }

    /// How often a thing that is changed with an expected version has changed.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub async fn version(&self, entity: &str) -> Result<i64, StoreError> {
        commit::version(self.readers(), entity).await
    }

    /// How often things have changed; one that never has is absent.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub async fn versions(
        &self,
        entities: Vec<String>,
    ) -> Result<HashMap<String, i64>, StoreError> {
        commit::versions(self.readers(), entities).await
    }

    /// Events of a kind by their positions, in no order. Of kinds whose tables have partitions it looks into
    /// all of them.
    ///
    /// # Errors
    /// When the tables cannot be read, or the allowance does not suffice.
    pub async fn of_positions(
        &self,
        kind: (Kind, Columns),
        positions: &[Position],
        allowance: &Allowance,
    ) -> Result<Vec<Event>, StoreError> {
        let place = |position: &Position, occurred_at: Instant| Place {
            position: *position,
            occurred_at,
        };
        let oldest = positions.iter().map(|p| place(p, Instant(i64::MIN)));
        let newest = positions.iter().map(|p| place(p, Instant(i64::MAX)));
        let places: Vec<Place> = oldest.chain(newest.take(1)).collect();
        self.at(kind, &places, allowance).await
    }

    /// Events by their places.
    ///
    /// # Errors
    /// When the tables cannot be read, or the allowance does not suffice.
    pub async fn at(
        &self,
        kind: (Kind, Columns),
        places: &[Place],
        allowance: &Allowance,
    ) -> Result<Vec<Event>, StoreError> {
        let read = self.tables().at(kind, places, allowance).await;
        if self.is_behind(&read) {
            return self.shared.tables.at(kind, places, allowance).await;
        }
        read
    }

    /// The events of some devices, by key, at an instant of each: readings that came in parts. One may come
    /// twice, and their order is none.
    ///
    /// # Errors
    /// When the tables cannot be read, or the allowance does not suffice.
    pub async fn together(
        &self,
        kind: (Kind, Columns),
        readings: &[(i64, Instant)],
        allowance: &Allowance,
    ) -> Result<Vec<Event>, StoreError> {
        let read = self.tables().together(kind, readings, allowance).await;
        if self.is_behind(&read) {
            let tables = &self.shared.tables;
            return tables.together(kind, readings, allowance).await;
        }
        read
    }
}
