//! Segments whose files are lost: they are not there, or are not what was written. Such a one is deleted when its time
//! has come, as any other is, and whoever runs the log may give it up before that, so that nothing waits for it.
//!
//! What was in it is not known any more. What its events were counted as stays, and their positions count as those of
//! events that were deleted.

use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use uuid::Uuid;

use super::removal::{Awaits, Leaving, Parting, Removing};
use super::{Catalog, Segment};
use crate::columnar::Layout;
use crate::event::{Instant, Position};
use crate::kinds::{Identity, Kind};
use crate::store::Store;
use crate::store::error::{Doing, StoreError};
use crate::store::sql::Sql;
use crate::telemetry::chain;

/// Ids at most that are read at once.
const READ_MAX: usize = 5_000;

/// What came of a segment that was to be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivingUp {
    /// None is called so.
    Unknown,
    /// Its file is what was written, and it stays.
    Readable,
    /// It is gone for good.
    Done {
        /// The kind of its events.
        kind: Kind,
        /// How many it had.
        events: i64,
    },
}

/// Which positions other segments have.
#[derive(Debug)]
struct Others {
    /// In order, each once.
    positions: Vec<i64>,
    /// Between the ends of those whose files are lost as well: any may be of them.
    ends: Vec<(i64, i64)>,
}

impl Others {
    fn of(mut positions: Vec<i64>, ends: Vec<(i64, i64)>) -> Self {
        positions.sort_unstable();
        positions.dedup();
        Self { positions, ends }
    }

    fn has(&self, position: i64) -> bool {
        let is_within = |(first, last): &(i64, i64)| (*first..=*last).contains(&position);
        self.positions.binary_search(&position).is_ok() || self.ends.iter().any(is_within)
    }
}

impl Store {
    /// Gives a segment up whose file is lost: it is deleted as if its time had come, with the ids that were in it, and
    /// with what is left of its file. Nobody who asked for its events is waited for. It is called as its file is. Only
    /// one process may do so at a time, and none may archive or erase meanwhile ([`Store::claim`]).
    ///
    /// # Errors
    /// When its file may be there and cannot be read, or the list cannot be read or changed. Nothing has changed then.
    pub async fn give_up_segment(
        &self,
        name: &str,
        awaits: Awaits,
    ) -> Result<GivingUp, StoreError> {
        let segments = self.segments();
        let catalog = segments.renew(self.readers()).await?;
        let mut all = catalog.all();
        let Some(segment) = all.find(|segment| segment.name == name || segment.path == name) else {
            return Ok(GivingUp::Unknown);
        };
        match segments.bytes_of(segment).await {
            Ok(_) => return Ok(GivingUp::Readable),
            Err(error) if error.is_of_lost_segment() => {
                let error = chain(&error).to_string();
                tracing::warn!(error, "a segment is given up whose file is lost");
            }
            Err(error) => return Err(error),
        }
        let (kind, events) = (segment.kind, segment.events);
        self.remove_segment(Removing {
            segment,
            generation: catalog.generation,
            parting: self.parting_of_lost(segment, &catalog).await?,
            leaving: Leaving {
                kind,
                times: (Instant(segment.times.0), Instant(segment.times.1)),
                first: Position(segment.positions.0),
                is_overdue: true,
                now: self.clock().now(),
            },
            // nothing can be made of them any more
            needed: Vec::new(),
            awaits: Some(awaits),
        })
        .await?;
        Ok(GivingUp::Done { kind, events })
    }

    /// What is known of the events of a segment whose file is lost. The ids of its kind between its ends were in it,
    /// but for those that stand in the table or in another segment.
    pub(super) async fn parting_of_lost(
        &self,
        segment: &Segment,
        catalog: &Catalog,
    ) -> Result<Parting, StoreError> {
        let mut parting = Parting {
            ids: Vec::new(),
            // what is not known counts as in time
            timely: segment.positions.1,
        };
        if segment.kind.spec().identity != Identity::EventId {
            return Ok(parting);
        }
        let others = self.positions_beside(segment, catalog).await?;
        let mut after = None;
        loop {
            let read = self.ids_between(segment, after).await?;
            let Some((last, _)) = read.last() else {
                return Ok(parting);
            };
            after = Some(*last);
            let theirs = read.iter().filter(|(_, at)| !others.has(*at));
            parting.ids.extend(theirs.map(|(id, _)| *id));
        }
    }

    /// The next ids of a kind between the ends of a segment whose events are not in the table, each with its position:
    /// there may be as many as of all that is archived.
    async fn ids_between(
        &self,
        segment: &Segment,
        after: Option<Uuid>,
    ) -> Result<Vec<(Uuid, i64)>, StoreError> {
        let doing = "look for the ids of a segment";
        let (table, (first, last)) = (segment.kind.spec().table, segment.positions);
        let mut sql = Sql::new("SELECT event_id, position FROM event_keys WHERE kind = ");
        sql.bind(segment.kind.code());
        sql.push(" AND position >= ").bind(first);
        sql.push(" AND position <= ").bind(last);
        if let Some(after) = after {
            sql.push(" AND event_id > ").bind(after);
        }
        sql.push(&format!(
            " AND NOT EXISTS (SELECT 1 FROM {table} WHERE {table}.position = event_keys.position) \
             ORDER BY event_id LIMIT {READ_MAX}"
        ));
        let rows = self.readers().query_all_raw(sql.statement(self.backend()));
        let rows = rows.await.doing(doing)?;
        let id = |row: &QueryResult| -> Result<(Uuid, i64), DbErr> {
            Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))
        };
        rows.iter().map(id).collect::<Result<_, _>>().doing(doing)
    }

    /// The positions between the ends of a segment that others of its kind have.
    async fn positions_beside(
        &self,
        segment: &Segment,
        catalog: &Catalog,
    ) -> Result<Others, StoreError> {
        let (first, last) = segment.positions;
        let (mut positions, mut ends) = (Vec::new(), Vec::new());
        let of_kind = catalog.of(segment.kind).iter();
        let beside = of_kind.filter(|other| {
            other.id != segment.id && other.positions.0 <= last && first <= other.positions.1
        });
        for other in beside {
            match self.positions_of(other, (first, last)).await {
                Err(error) if error.is_of_lost_segment() => ends.push(other.positions),
                read => positions.extend(read?),
            }
        }
        Ok(Others::of(positions, ends))
    }

    /// The positions in a segment between two ends.
    async fn positions_of(
        &self,
        segment: &Segment,
        (first, last): (i64, i64),
    ) -> Result<Vec<i64>, StoreError> {
        let segments = self.segments();
        let mut positions = Vec::new();
        for group in 0..segments.file(segment).await?.groups() {
            let table = segments
                .table((segment, group), &[Layout::POSITION])
                .await?;
            let column = table.column(Layout::POSITION);
            let read = (0..table.len()).filter_map(|row| column?.int(row));
            positions.extend(read.filter(|position| (first..=last).contains(position)));
        }
        Ok(positions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_have_what_was_read_of_them_and_what_may_be_in_those_that_are_lost() {
        let others = Others::of(vec![9, 2, 5, 2, 9, 40], vec![(20, 22), (21, 25)]);
        assert_eq!(others.positions, [2, 5, 9, 40]);
        let has: Vec<i64> = (0..=41).filter(|at| others.has(*at)).collect();
        assert_eq!(has, [2, 5, 9, 20, 21, 22, 23, 24, 25, 40]);
    }
}
