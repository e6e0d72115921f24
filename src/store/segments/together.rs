//! Puts small segments together, as events leave them behind that come late: those of a kind and of one span become one
//! segment, which takes their place in one transaction. So there are no more small ones than there are spans.
//!
//! Whatever ends it on the way leaves each event in one segment of the list, and at most files that no list names.
//! Whoever reads by the list before finds a file gone and the list changed, and reads again. Who reads the files of
//! all segments of one list claims that nothing is put together meanwhile (`MERGE`).
//!
//! No more than so many are read at once, and for no longer than a while: whoever claims the same waits for that. What
//! comes of them may be small again, and goes together with the others of its span the next time.
//!
//! An erasure looks through the segments that there were when it began with them, by their ids. The new one would
//! be none of those, so nothing is put together until such an erasure is done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use tokio::time::Instant as Moment;

use super::archive::{BYTES, EVENTS_MAX, list, lock, raise};
use super::scan::blocking;
use super::spans::Span;
use super::{Catalog, Segment, Segments};
use crate::columnar::{File, Form, Layout, Table};
use crate::event::Instant;
use crate::kinds::Kind;
use crate::store::Store;
use crate::store::error::{Cause, Doing, StoreError};
use crate::store::lists::List;
use crate::store::sql::Sql;
use crate::telemetry::chain;

/// A segment with fewer events is small. An event is written anew until its segment has as many.
const EVENTS_MIN: i64 = 5_000;
/// A segment with a file of as many bytes is not small, however few events it has.
const BYTES_MIN: i64 = 4 * 1024 * 1024;
/// Bytes in memory at which no more segments are looked at for one: some of those that have few events and little of a
/// file do not go into one.
const LOOKED_BYTES: usize = 2 * BYTES;
/// Segments at most that are looked at for one.
const LOOKED_MAX: usize = 256;
/// After how long no more of them are looked at, once some go together: each is read by itself, from wherever it lies.
const LOOKED_WITHIN: Duration = Duration::from_secs(2);

/// Small segments that may go into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Small {
    /// Of which kind.
    pub kind: Kind,
    /// Their ids, in order.
    ids: Vec<i64>,
}

impl Small {
    /// Those of them that a list has.
    fn listed<'c>(&self, catalog: &'c Catalog) -> Vec<&'c Segment> {
        let of_kind = catalog.of(self.kind).iter().map(|segment| &**segment);
        let listed = of_kind.filter(|segment| self.ids.binary_search(&segment.id).is_ok());
        listed.collect()
    }
}

impl Store {
    /// The small segments of a kind that may be put together. Those of which everything happened before an instant are
    /// not put together with others: they are deleted when that may be.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub async fn small_segments(
        &self,
        kind: Kind,
        apart_before: Option<Instant>,
    ) -> Result<Vec<Small>, StoreError> {
        let catalog = self.segments().renew(self.readers()).await?;
        if is_looked_through(self.readers()).await? {
            return Ok(Vec::new());
        }
        let now = self.clock().now();
        let mut groups: BTreeMap<(Instant, bool), Vec<&Segment>> = BTreeMap::new();
        for segment in catalog.of(kind).iter().filter(|segment| is_small(segment)) {
            let (first, last) = (Instant(segment.times.0), Instant(segment.times.1));
            let span = Span::of(first, now);
            if span.has(last) {
                let is_apart = apart_before.is_some_and(|before| last < before);
                groups
                    .entry((span.from, is_apart))
                    .or_default()
                    .push(segment);
            }
        }
        let ids = groups.values().flat_map(|group| parts(group));
        Ok(ids.map(|ids| Small { kind, ids }).collect())
    }

    /// Puts small segments together, as many of them as go into one; answers how many. Only one process may do so at a
    /// time, while no other archives or erases, or reads the files of all segments ([`Store::claim`], [`MERGE`]).
    ///
    /// [`MERGE`]: crate::store::MERGE
    ///
    /// # Errors
    /// When the list or a file cannot be read, or the new one cannot be written. Nothing has changed then. A file that
    /// is damaged or not there is told in the log, and its segment stays as it is.
    pub async fn put_together(&self, small: &Small) -> Result<usize, StoreError> {
        let segments = self.segments();
        let catalog = segments.renew(self.readers()).await?;
        // one that begins after this raises the generation
        if is_looked_through(self.readers()).await? {
            return Ok(0);
        }
        let (table, taken) = segments
            .gathered(small.kind, &small.listed(&catalog))
            .await?;
        if taken.len() < 2 {
            return Ok(0);
        }
        let made = segments.make(&catalog.home, table).await?;
        let ids: Vec<i64> = taken.iter().map(|segment| segment.id).collect();
        let (generation, now) = (catalog.generation, self.clock().now());
        self.transact_durably(move |tx| {
            Box::pin(async move {
                lock(tx).await?;
                // first, so that its id is none that there was
                list(tx, &made, now).await?;
                unlist(tx, ids).await?;
                raise(tx, generation).await
            })
        })
        .await?;
        segments.renew(self.readers()).await?;
        for segment in &taken {
            segments.let_go(&segment.path).await;
        }
        Ok(taken.len())
    }
}

fn is_small(segment: &Segment) -> bool {
    segment.events < EVENTS_MIN && segment.bytes < BYTES_MIN
}

/// Segments by as many as have the events of one and may be looked at, by their ids, without one that is alone.
fn parts(segments: &[&Segment]) -> Vec<Vec<i64>> {
    let events_max = i64::try_from(EVENTS_MAX).unwrap_or(i64::MAX);
    let mut parts: Vec<(i64, Vec<i64>)> = Vec::new();
    for segment in segments {
        match parts.last_mut() {
            Some((events, ids))
                if *events + segment.events <= events_max && ids.len() < LOOKED_MAX =>
            {
                *events += segment.events;
                ids.push(segment.id);
            }
            _ => parts.push((segment.events, vec![segment.id])),
        }
    }
    let ids = parts.into_iter().map(|(_, ids)| ids);
    ids.filter(|ids| ids.len() > 1).collect()
}

/// Whether an erasure has begun with the segments and is not done.
async fn is_looked_through(db: &impl ConnectionTrait) -> Result<bool, StoreError> {
    let sql = Sql::new(
        "SELECT 1 FROM person_erasures WHERE state <> 'DONE' AND segments_upto IS NOT NULL LIMIT 1",
    );
    let row = db.query_one_raw(sql.statement(db.get_database_backend()));
    let found = row.await.doing("look for erasures that are not done")?;
    Ok(found.is_some())
}

/// Takes segments from the list whose events are in another one.
async fn unlist(tx: &DatabaseTransaction, ids: Vec<i64>) -> Result<(), StoreError> {
    let listed = u64::try_from(ids.len()).unwrap_or(u64::MAX);
    let mut sql = Sql::new("DELETE FROM segments WHERE dropped_at IS NULL AND ");
    sql.among("id", List::Int(ids));
    let unlisted = tx.execute_raw(sql.statement(tx.get_database_backend()));
    let unlisted = unlisted.await.doing("put segments together")?;
    if unlisted.rows_affected() == listed {
        Ok(())
    } else {
        Err(StoreError::SegmentsMoved)
    }
}

impl Segments {
    /// The events of some segments, of as many as go into one, and which those are.
    async fn gathered<'s>(
        &self,
        kind: Kind,
        segments: &[&'s Segment],
    ) -> Result<(Table, Vec<&'s Segment>), StoreError> {
        let layout = Arc::new(Layout::of(kind, Form::Archive));
        let (mut table, mut taken) = (Table::new(Arc::clone(&layout)), Vec::new());
        let (mut looked_bytes, until) = (0, Moment::now() + LOOKED_WITHIN);
        for segment in segments.iter().copied() {
            let is_late = taken.len() > 1 && Moment::now() >= until;
            if is_late || looked_bytes >= LOOKED_BYTES {
                break;
            }
            let Some(groups) = self.groups_of(segment, &layout).await? else {
                continue;
            };
            let bytes: usize = groups.iter().map(Table::weight_bytes).sum();
            looked_bytes += bytes;
            if table.weight_bytes() + bytes > BYTES {
                continue;
            }
            let put_in = move || {
                for group in &groups {
                    for row in 0..group.len() {
                        table.push(&group.event(row)?);
                    }
                }
                Ok(table)
            };
            table = blocking(put_in).await?;
            taken.push(segment);
        }
        Ok((table, taken))
    }

    /// All that is in a segment, as it lies there; `None` if it is not what was written, which is told.
    async fn groups_of(
        &self,
        segment: &Segment,
        layout: &Arc<Layout>,
    ) -> Result<Option<Vec<Table>>, StoreError> {
        let why = match self.read_whole(segment, Arc::clone(layout)).await {
            Ok(groups) => {
                let events: usize = groups.iter().map(Table::len).sum();
                if i64::try_from(events) == Ok(segment.events) {
                    return Ok(Some(groups));
                }
                "it does not hold what its row says".to_owned()
            }
            Err(error) if error.cause() == Cause::Corrupt || error.is_of_missing_segment() => {
                self.sight.missed(&error);
                chain(&error).to_string()
            }
            Err(error) => return Err(error),
        };
        tracing::warn!(
            segment = segment.path,
            error = why,
            "a segment cannot be read, and is put together with none"
        );
        Ok(None)
    }

    async fn read_whole(
        &self,
        segment: &Segment,
        layout: Arc<Layout>,
    ) -> Result<Vec<Table>, StoreError> {
        let bytes = self.bytes_of(segment).await?;
        let read = move || {
            let file = File::open(bytes, layout)?;
            let groups = (0..file.groups()).map(|group| file.table(group));
            groups.collect::<Result<Vec<_>, _>>()
        };
        blocking(read).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(id: i64, events: i64) -> Segment {
        Segment {
            id,
            kind: Kind::ErrorLog,
            name: String::new(),
            path: String::new(),
            events,
            bytes: 1,
            sha256: String::new(),
            positions: (id, id),
            times: (0, 0),
            devices: None,
        }
    }

    #[test]
    fn no_more_go_together_at_once_than_may_be_looked_at_and_go_into_one() {
        let lengths = |segments: &[Segment]| {
            let all: Vec<&Segment> = segments.iter().collect();
            let parts = parts(&all).into_iter();
            parts.map(|ids| ids.len()).collect::<Vec<_>>()
        };
        let few: Vec<Segment> = (0..600).map(|id| segment(id, 1)).collect();
        assert_eq!(lengths(&few), [256, 256, 88]);
        // the last one is alone, and goes with what comes of the others
        assert_eq!(lengths(&few[..257]), [256]);
        let many: Vec<Segment> = (0..50).map(|id| segment(id, 4_000)).collect();
        assert_eq!(lengths(&many), [25, 25]);
        assert_eq!(lengths(&few[..1]), Vec::<usize>::new());
    }
}
