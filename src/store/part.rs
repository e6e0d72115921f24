//! Cuts what is read from the oldest on into parts by how many events lie in them, whether they are asked for or
//! not: then no statement looks at more than so many, however few of them it finds.

use sea_orm::ConnectionTrait;

use super::Store;
use super::error::{Doing, StoreError};
use super::read::{PageQuery, Place, Tables};
use super::segments::Ask;
use super::sql::Sql;
use crate::event::{Instant, Position};

const READ: &str = "find out how far to look";

impl Store {
    /// The last place of the next part of what a page asks for, which is in order of time, the oldest first: in
    /// it are at most so many events of the table, and of segments the rest of one and what overlaps with that.
    /// Nothing if all the rest is one part. Before which place it is asked does not count: that is the end of the
    /// part before.
    ///
    /// # Errors
    /// When the table or the list of segments cannot be read.
    pub async fn part_end(
        &self,
        query: &PageQuery,
        events_max: usize,
    ) -> Result<Option<Place>, StoreError> {
        let query = &PageQuery {
            before: None,
            ..query.clone()
        };
        let catalog = self.segments().renew(self.readers()).await?;
        let (from, to) = Ask::page(query).times();
        let after = query.after.map_or(i64::MIN, |after| after.occurred_at.0);
        let of_kind = catalog.of(query.kind).iter().map(|segment| segment.times);
        let ahead = of_kind.filter(|(first, last)| *first <= to && *last >= from && *last > after);
        let archived = ahead.map(|(_, last)| Place {
            occurred_at: Instant(last),
            position: Position(i64::MAX),
        });
        let of_table = self.tables().part_end_of_table(query, events_max).await?;
        let ends = archived.chain(of_table);
        Ok(ends.min_by_key(|end| (end.occurred_at, end.position)))
    }
}

impl Tables {
    /// The place of the event that comes so many later, of all of the kind within the time that is asked for.
    async fn part_end_of_table(
        &self,
        query: &PageQuery,
        events_max: usize,
    ) -> Result<Option<Place>, StoreError> {
        let (from, to) = Ask::page(query).times();
        let table = query.kind.spec().table;
        let mut sql = Sql::new(format!(
            "SELECT t.occurred_at, t.position FROM {table} t WHERE t.occurred_at >= "
        ));
        sql.bind(from).push(" AND t.occurred_at <= ").bind(to);
        if let Some(after) = query.after {
            sql.push(" AND (t.occurred_at, t.position) > (");
            sql.bind(after.occurred_at.0).push(", ");
            sql.bind(after.position.0).push(")");
        }
        let before = events_max.saturating_sub(1);
        sql.push(" ORDER BY t.occurred_at, t.position LIMIT 1");
        sql.push(&format!(" OFFSET {before}"));
        let row = self
            .db
            .query_one_raw(sql.statement(self.db.get_database_backend()));
        let Some(row) = row.await.doing(READ)? else {
            return Ok(None);
        };
        Ok(Some(Place {
            occurred_at: Instant(row.try_get_by_index(0).doing(READ)?),
            position: Position(row.try_get_by_index(1).doing(READ)?),
        }))
    }
}

impl Place {
    /// The first place after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self {
            occurred_at: self.occurred_at,
            position: Position(self.position.0.saturating_add(1)),
        }
    }
}
