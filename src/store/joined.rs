//! Reads tables and segments as one.
//!
//! A table is read first, for the list of segments that is held; what it has is then of that list, and what
//! was archived is in the segments of it. If the table has nothing, it is asked of which list it is.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::allowance::Allowance;
use super::derived;
use super::error::StoreError;
use super::read::{Asked, PageQuery, Place, Tables};
use super::rows::{Columns, Reading};
use super::segments::{Ask, Catalog, Found, NO_PARENT, generation_of};
use crate::event::{Event, Instant};
use crate::kinds::{Kind, Operand};

/// How often it is read again when the list of segments has changed meanwhile: each time an archive has
/// ended, which takes longer than a reading.
pub(super) const TRIES: usize = 8;

/// A list of segments, and what it is of.
type Held = (Arc<Catalog>, Option<i64>);

/// What one reading came to: `None` when it is to be read again.
type Tried<T> = Result<Option<T>, StoreError>;

/// Of each parent a page, as it was read of a table.
type Pages = HashMap<i64, Vec<Event>>;

impl Tables {
    /// A page of one kind.
    pub(crate) async fn page(
        &self,
        query: &PageQuery,
        allowance: &Allowance,
    ) -> Result<Vec<Event>, StoreError> {
        for _ in 0..TRIES {
            if let Some(page) = self.try_page(query, allowance).await? {
                return Ok(page);
            }
        }
        Err(StoreError::SegmentsMoved)
    }

    async fn try_page(&self, query: &PageQuery, allowance: &Allowance) -> Tried<Vec<Event>> {
        let (catalog, generation) = self.held(query.kind);
        let asked = Asked {
            query: query.clone(),
            generation,
        };
        let hot = self.page_of_table(&asked, allowance).await?;
        if hot.is_empty() && !self.is_of(generation).await? {
            return Ok(None);
        }
        if catalog.of(query.kind).is_empty() {
            return Ok(Some(hot));
        }
        let hot = HashMap::from([(NO_PARENT, hot)]);
        let joined = self.joined((&catalog, Ask::page(query)), hot, allowance);
        let joined = joined.await;
        let joined = self.settled(&catalog, joined).await?;
        Ok(joined.map(|mut pages| pages.remove(&NO_PARENT).unwrap_or_default()))
    }

    /// How many events a page would have without a limit.
    pub(crate) async fn count(&self, query: &PageQuery) -> Result<i64, StoreError> {
        for _ in 0..TRIES {
            let (catalog, generation) = self.held(query.kind);
            let asked = Asked {
                query: query.clone(),
                generation,
            };
            let hot = self.count_of_table(&asked).await?;
            if hot == 0 && !self.is_of(generation).await? {
                continue;
            }
            let archived = self.segments.count(&catalog, Ask::page(query), self);
            let archived = archived.await;
            if let Some(archived) = self.settled(&catalog, archived).await? {
                return Ok(hot + archived.values().sum::<i64>());
            }
        }
        Err(StoreError::SegmentsMoved)
    }

    /// The same page for each of some devices or sites.
    pub(crate) async fn pages(
        &self,
        query: &PageQuery,
        (parent, keys): (Operand, &[i64]),
        allowance: &Allowance,
    ) -> Result<HashMap<i64, Vec<Event>>, StoreError> {
        for _ in 0..TRIES {
            let (catalog, generation) = self.held(query.kind);
            let asked = Asked {
                query: query.clone(),
                generation,
            };
            let (small, large) = self.by_size(&asked, (parent, keys));
            let hot = self.pages_of_table(&asked, (parent, &small, &large), allowance);
            let hot = hot.await?;
            let is_of_one_statement = small.is_empty() || large.is_empty();
            let is_sure = !hot.is_empty() && is_of_one_statement;
            if !is_sure && !self.is_of(generation).await? {
                continue;
            }
            if catalog.of(query.kind).is_empty() {
                return Ok(hot);
            }
            let ask = Ask::pages(query, (parent, keys));
            let joined = self.joined((&catalog, ask), hot, allowance).await;
            if let Some(pages) = self.settled(&catalog, joined).await? {
                return Ok(pages);
            }
        }
        Err(StoreError::SegmentsMoved)
    }

    /// How many events the same page would have for each of some devices or sites, without a limit.
    pub(crate) async fn counts(
        &self,
        query: &PageQuery,
        (parent, keys): (Operand, &[i64]),
    ) -> Result<HashMap<i64, i64>, StoreError> {
        for _ in 0..TRIES {
            let (catalog, generation) = self.held(query.kind);
            let asked = Asked {
                query: query.clone(),
                generation,
            };
            let mut counts = self.counts_of_table(&asked, (parent, keys)).await?;
            if counts.values().all(|count| *count == 0) && !self.is_of(generation).await? {
                continue;
            }
            let ask = Ask::pages(query, (parent, keys));
            let archived = self.segments.count(&catalog, ask, self).await;
            if let Some(archived) = self.settled(&catalog, archived).await? {
                for (key, count) in archived {
                    *counts.entry(key).or_default() += count;
                }
                return Ok(counts);
            }
        }
        Err(StoreError::SegmentsMoved)
    }

    /// Events by their places.
    pub(crate) async fn at(
        &self,
        kind: (Kind, Columns),
        places: &[Place],
        allowance: &Allowance,
    ) -> Result<Vec<Event>, StoreError> {
        for _ in 0..TRIES {
            let (catalog, generation) = self.held(kind.0);
            let hot = self.at_in_table(kind, (places, generation), allowance);
            let mut events = hot.await?;
            let mut missing: HashSet<i64> = places.iter().map(|p| p.position.0).collect();
            for event in &events {
                missing.remove(&event.position.0);
            }
            if missing.is_empty() {
                return Ok(events);
            }
            if events.is_empty() && !self.is_of(generation).await? {
                continue;
            }
            let ask = Ask::at(
                &PageQuery::all_of(kind.0, kind.1),
                missing.into_iter().collect(),
            );
            let reading = (Reading::Whole, allowance);
            let archived = self.archived((&catalog, ask), reading).await;
            if let Some(archived) = self.settled(&catalog, archived).await? {
                events.extend(archived);
                return Ok(events);
            }
        }
        Err(StoreError::SegmentsMoved)
    }

    /// The events of some devices at an instant of each: the parts of their readings. One may come twice.
    pub(crate) async fn together(
        &self,
        kind: (Kind, Columns),
        readings: &[(i64, Instant)],
        allowance: &Allowance,
    ) -> Result<Vec<Event>, StoreError> {
        // by their device it is told which of them belong together
        let kind = (kind.0, kind.1.with_subject(kind.0.spec()));
        for _ in 0..TRIES {
            let (catalog, generation) = self.held(kind.0);
            let hot = self.together_in_table(kind, (readings, generation), allowance);
            let mut events = hot.await?;
            if events.is_empty() && !self.is_of(generation).await? {
                continue;
            }
            let readings = readings
                .iter()
                .map(|(device, at)| (*device, at.0))
                .collect();
            let ask = Ask::together(&PageQuery::all_of(kind.0, kind.1), readings);
            let reading = (Reading::Whole, allowance);
            let archived = self.archived((&catalog, ask), reading).await;
            if let Some(archived) = self.settled(&catalog, archived).await? {
                events.extend(archived);
                return Ok(events);
            }
        }
        Err(StoreError::SegmentsMoved)
    }

    /// What is in segments of a list, in the order in which it is asked for.
    pub(super) async fn archived(
        &self,
        (catalog, ask): (&Catalog, Ask),
        reading: (Reading, &Allowance),
    ) -> Result<Vec<Event>, StoreError> {
        let kind = (ask.kind(), ask.columns());
        if catalog.of(kind.0).is_empty() {
            return Ok(Vec::new());
        }
        let none = HashMap::new();
        let found = self.segments.find(catalog, ask, (self, &none));
        let found = found.await?.remove(&NO_PARENT).unwrap_or_default();
        self.rows_of_segments((kind, catalog), &found, reading)
            .await
    }

    /// Rows that were found in segments, with what is derived for them.
    async fn rows_of_segments(
        &self,
        (kind, catalog): ((Kind, Columns), &Catalog),
        found: &[Found],
        (reading, allowance): (Reading, &Allowance),
    ) -> Result<Vec<Event>, StoreError> {
        let read = (kind.0, derived::needed(kind.0.spec(), kind.1));
        let of = (read, catalog);
        let rows = self
            .segments
            .rows(&self.db, &self.names, of, (found, allowance));
        let mut events = rows.await?;
        derived::fill(&self.db, kind, (&mut events, reading)).await?;
        Ok(events)
    }

    /// Pages of a table, joined by what is in segments.
    async fn joined(
        &self,
        (catalog, ask): (&Catalog, Ask),
        mut hot: Pages,
        allowance: &Allowance,
    ) -> Result<Pages, StoreError> {
        let (kind, order, limit) = ((ask.kind(), ask.columns()), ask.order(), ask.limit());
        let reading = (ask.reading(), allowance);
        let places = |page: &Vec<Event>| page.iter().map(Place::of).collect();
        let known = hot.iter().map(|(key, page)| (*key, places(page))).collect();
        let found = self.segments.find(catalog, ask, (self, &known)).await?;
        for (key, mut rows) in found {
            let page = hot.entry(key).or_default();
            let mut all: Vec<Place> = page.iter().map(Place::of).collect();
            all.extend(rows.iter().map(|row| row.place));
            all.sort_by(|left, right| order.compare(left, right));
            if let Some(last) = limit.checked_sub(1).and_then(|last| all.get(last)) {
                let is_in = |place: &Place| order.compare(place, last).is_le();
                page.retain(|event| is_in(&Place::of(event)));
                rows.retain(|row: &Found| is_in(&row.place));
            }
            let read = self.rows_of_segments((kind, catalog), &rows, reading);
            page.extend(read.await?);
            page.sort_by(|left, right| order.compare(&Place::of(left), &Place::of(right)));
        }
        Ok(hot)
    }

    /// The list of segments that is held, and the generation that a table of a kind must be of.
    pub(super) fn held(&self, kind: Kind) -> Held {
        let catalog = self.segments.catalog();
        let generation = kind.spec().keeping.archives().then_some(catalog.generation);
        (catalog, generation)
    }

    /// Whether the tables are of a generation of the list; if not, the list is read anew. Tables that are of an older
    /// one are those of a replica: they are not read again.
    pub(super) async fn is_of(&self, generation: Option<i64>) -> Result<bool, StoreError> {
        let Some(generation) = generation else {
            return Ok(true);
        };
        let now = generation_of(&self.db).await?;
        if now == generation {
            return Ok(true);
        }
        if now < generation {
            return Err(StoreError::SegmentsMoved);
        }
        self.segments.renew(&self.db).await?;
        Ok(false)
    }

    /// What was read with a list of segments; `None` if one was replaced or deleted meanwhile, so that it is
    /// to be read again with the list that is held by then.
    pub(super) async fn settled<T>(
        &self,
        catalog: &Catalog,
        read: Result<T, StoreError>,
    ) -> Tried<T> {
        self.segments.settled(&self.db, (catalog, read)).await
    }
}
