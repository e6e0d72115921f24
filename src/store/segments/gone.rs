//! What is kept of segments that were deleted: how many events there were, between which positions and until when. It
//! is read whenever the list is, so no more rows are kept of a kind than a limit.
//!
//! Rows whose positions overlap or are next to each other become one. If there are too many all the same, so do those
//! that have the fewest positions between them: what is missing there counts as deleted then, and not as lost.

use sea_orm::{ConnectionTrait, DatabaseTransaction};

use crate::kinds::Kind;
use crate::store::error::{Doing, StoreError};
use crate::store::lists::List;
use crate::store::sql::Sql;

/// Rows at most of the deleted segments of a kind.
const ROWS_MAX: usize = 256;

/// A deleted segment, or several of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    id: i64,
    events: i64,
    bytes: i64,
    positions: (i64, i64),
    times: (i64, i64),
    /// The last position of what was recorded in time.
    timely: i64,
}

impl Row {
    /// Positions from its last one to the first of a row behind it.
    const fn to(&self, next: &Self) -> i64 {
        next.positions.0 - self.positions.1
    }

    /// Takes a row in that is behind it, and has the greater id of both from then on: a new segment gets one that is
    /// greater than all there are, which must be none that there was. Answers the other id.
    fn take(&mut self, next: &Self) -> i64 {
        let other = self.id.min(next.id);
        self.id = self.id.max(next.id);
        self.events += next.events;
        self.bytes += next.bytes;
        self.positions.1 = self.positions.1.max(next.positions.1);
        self.times.0 = self.times.0.min(next.times.0);
        self.times.1 = self.times.1.max(next.times.1);
        self.timely = self.timely.max(next.timely);
        other
    }
}

/// Rows in the order of their positions, and what becomes of others that were put into them.
#[derive(Debug, Default)]
struct Folded {
    /// The rows, each with whether it was changed.
    rows: Vec<(Row, bool)>,
    /// The ids that are not needed any more.
    others: Vec<i64>,
}

impl Folded {
    fn of(mut rows: Vec<Row>, rows_max: usize) -> Self {
        rows.sort_unstable_by_key(|row| row.positions);
        let mut folded = Self::default();
        for row in rows {
            folded.add((row, false), |between| between <= 1);
        }
        folded.within(rows_max)
    }

    /// Adds a row that begins behind all others, to the last one if it is near.
    fn add(&mut self, (row, is_changed): (Row, bool), mut is_near: impl FnMut(i64) -> bool) {
        match self.rows.last_mut() {
            Some((last, is_last_changed)) if is_near(last.to(&row)) => {
                self.others.push(last.take(&row));
                *is_last_changed = true;
            }
            _ => self.rows.push((row, is_changed)),
        }
    }

    /// No more rows than so many, of those that are nearest to each other made one.
    fn within(self, rows_max: usize) -> Self {
        let mut surplus = self.rows.len().saturating_sub(rows_max);
        let nexts = self.rows.iter().skip(1);
        let between = self.rows.iter().zip(nexts);
        let mut between: Vec<i64> = between.map(|(row, next)| row.0.to(&next.0)).collect();
        between.sort_unstable();
        let Some(near) = surplus.checked_sub(1).and_then(|last| between.get(last)) else {
            return self;
        };
        let mut folded = Self {
            rows: Vec::with_capacity(rows_max),
            others: self.others,
        };
        for row in self.rows {
            folded.add(row, |between| {
                let is_near = surplus > 0 && between <= *near;
                surplus -= usize::from(is_near);
                is_near
            });
        }
        folded
    }
}

/// Makes fewer rows of those of the deleted segments of a kind, where that is due.
pub(super) async fn fold_gone(tx: &DatabaseTransaction, kind: Kind) -> Result<(), StoreError> {
    let folded = Folded::of(read(tx, kind).await?, ROWS_MAX);
    if folded.others.is_empty() {
        return Ok(());
    }
    let mut sql = Sql::new("DELETE FROM segments WHERE ");
    sql.among("id", List::Int(folded.others));
    run(tx, sql).await?;
    for (row, _) in folded.rows.iter().filter(|(_, is_changed)| *is_changed) {
        keep(tx, row).await?;
    }
    Ok(())
}

async fn read(tx: &DatabaseTransaction, kind: Kind) -> Result<Vec<Row>, StoreError> {
    let doing = "read which segments were deleted";
    // of one that was deleted before that was known all counts as recorded in time
    let mut sql = Sql::new(
        "SELECT id, events, bytes, first_position, last_position, first_at, last_at, \
         coalesce(timely_position, last_position) FROM segments \
         WHERE dropped_at IS NOT NULL AND kind = ",
    );
    sql.bind(kind.code());
    let rows = tx.query_all_raw(sql.statement(tx.get_database_backend()));
    let mut read = Vec::new();
    for row in rows.await.doing(doing)? {
        let number = |index| row.try_get_by_index::<i64>(index).doing(doing);
        read.push(Row {
            id: number(0)?,
            events: number(1)?,
            bytes: number(2)?,
            positions: (number(3)?, number(4)?),
            times: (number(5)?, number(6)?),
            timely: number(7)?,
        });
    }
    Ok(read)
}

async fn keep(tx: &DatabaseTransaction, row: &Row) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE segments SET events = ");
    sql.bind(row.events).push(", bytes = ").bind(row.bytes);
    sql.push(", first_position = ").bind(row.positions.0);
    sql.push(", last_position = ").bind(row.positions.1);
    sql.push(", first_at = ").bind(row.times.0);
    sql.push(", last_at = ").bind(row.times.1);
    sql.push(", timely_position = ").bind(row.timely);
    sql.push(" WHERE id = ").bind(row.id);
    run(tx, sql).await
}

async fn run(tx: &DatabaseTransaction, sql: Sql) -> Result<(), StoreError> {
    let done = tx.execute_raw(sql.statement(tx.get_database_backend()));
    done.await.doing("keep what was deleted").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of as many events as there are positions.
    fn row(id: i64, first: i64, last: i64) -> Row {
        Row {
            id,
            events: last - first + 1,
            bytes: 1,
            positions: (first, last),
            times: (-last, -first),
            timely: first,
        }
    }

    fn folded(rows: &[Row], rows_max: usize) -> (Vec<Row>, Vec<i64>) {
        let folded = Folded::of(rows.to_vec(), rows_max);
        let rows = folded.rows.into_iter().map(|(row, _)| row);
        (rows.collect(), folded.others)
    }

    #[test]
    fn rows_that_meet_become_one() {
        let rows = [row(3, 1, 4), row(1, 5, 9), row(2, 7, 8), row(4, 11, 12)];
        let (rows, others) = folded(&rows, 10);
        let one = Row {
            id: 3,
            events: 11,
            bytes: 3,
            positions: (1, 9),
            times: (-9, -1),
            timely: 7,
        };
        assert_eq!((rows, others), (vec![one, row(4, 11, 12)], vec![1, 2]));
    }

    #[test]
    fn of_too_many_the_nearest_become_one() {
        let rows = [
            row(1, 1, 1),
            row(2, 10, 10),
            row(3, 12, 12),
            row(4, 30, 30),
            row(5, 33, 33),
        ];
        let (rows, others) = folded(&rows, 3);
        let positions: Vec<(i64, i64)> = rows.iter().map(|row| row.positions).collect();
        assert_eq!(positions, [(1, 1), (10, 12), (30, 33)]);
        assert_eq!(others, [2, 4]);
    }

    #[test]
    fn there_are_as_many_as_may_be_though_all_are_as_near() {
        for rows_max in [1, 2, 50, 99] {
            let rows: Vec<Row> = (1..=100).map(|id| row(id, 2 * id, 2 * id)).collect();
            let (rows, others) = folded(&rows, rows_max);
            assert_eq!((rows.len(), others.len()), (rows_max, 100 - rows_max));
            assert_eq!(rows.iter().map(|row| row.events).sum::<i64>(), 100);
            assert!(rows.iter().any(|row| row.id == 100) && !others.contains(&100));
        }
    }
}
