//! On PostgreSQL the large tables are partitioned by month of `occurred_at`: makes the months that a
//! batch needs, apart and before its transaction, so that no append waits for a table lock.

use std::collections::HashSet;

use chrono::{Datelike, NaiveDate};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};

use super::commit::begin;
use super::error::{Doing, StoreError};
use super::sql::Sql;
use crate::event::Instant;
use crate::kinds::Kind;

/// The partitions that are known to exist.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    partitioned: HashSet<Kind>,
    known: HashSet<(Kind, i32, u32)>,
}

/// Serialises those who make partitions (an arbitrary number of our own).
const LOCK: i64 = 0x484F_4D45_504F_5401;

impl Partitions {
    /// Finds out which tables are partitioned.
    pub(crate) async fn load(db: &DatabaseConnection) -> Result<Self, StoreError> {
        let mut partitions = Self::default();
        if db.get_database_backend() != DbBackend::Postgres {
            return Ok(partitions);
        }
        let sql = "SELECT c.relname::text FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid \
                   WHERE c.relnamespace = current_schema()::regnamespace";
        let statement = Sql::new(sql).statement(DbBackend::Postgres);
        for row in db
            .query_all_raw(statement)
            .await
            .doing("list the partitioned tables")?
        {
            let table: String = row
                .try_get_by_index(0)
                .doing("list the partitioned tables")?;
            let kind = Kind::all().find(|kind| kind.spec().table == table);
            partitions.partitioned.extend(kind);
        }
        Ok(partitions)
    }

    /// Makes the partitions that are missing for events of some kinds at some instants.
    pub(crate) async fn ensure(
        &mut self,
        db: &DatabaseConnection,
        times: impl Iterator<Item = (Kind, Instant)>,
    ) -> Result<(), StoreError> {
        if self.partitioned.is_empty() {
            return Ok(());
        }
        let mut missing = HashSet::new();
        for (kind, occurred_at) in times {
            if self.partitioned.contains(&kind) {
                let (year, month) = month_of(occurred_at);
                let partition = (kind, year, month);
                if !self.known.contains(&partition) {
                    missing.insert(partition);
                }
            }
        }
        for (kind, year, month) in missing {
            create(db, kind, year, month).await?;
            self.known.insert((kind, year, month));
        }
        Ok(())
    }
}

fn month_of(at: Instant) -> (i32, u32) {
    let date = at.date_time().date_naive();
    (date.year(), date.month())
}

fn start_of(year: i32, month: u32) -> i64 {
    let first = NaiveDate::from_ymd_opt(year, month, 1).unwrap_or_default();
    Instant::of(first.and_time(chrono::NaiveTime::MIN).and_utc()).0
}

async fn create(
    db: &DatabaseConnection,
    kind: Kind,
    year: i32,
    month: u32,
) -> Result<(), StoreError> {
    let doing = "make a partition";
    let table = kind.spec().table;
    let name = format!("{table}_y{year:04}m{month:02}");
    let (next_year, next_month) = if month == 12 {
        (year + 1, 1)
    } else {
        (year, month + 1)
    };
    let (from, to) = (start_of(year, month), start_of(next_year, next_month));
    let tx = begin(db).await?;
    tx.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({LOCK})"))
        .await
        .doing(doing)?;
    let mut sql = Sql::new("SELECT to_regclass(");
    sql.bind(name.as_str()).push(") IS NOT NULL");
    let row = tx
        .query_one_raw(sql.statement(DbBackend::Postgres))
        .await
        .doing(doing)?;
    let exists = row
        .map(|row| row.try_get_by_index(0))
        .transpose()
        .doing(doing)?;
    if exists != Some(true) {
        for sql in [
            format!("CREATE TABLE {name} (LIKE {table} INCLUDING ALL)"),
            format!(
                "ALTER TABLE {name} ADD CONSTRAINT {name}_range \
                 CHECK (occurred_at >= {from} AND occurred_at < {to})"
            ),
            format!(
                "ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to})"
            ),
        ] {
            tx.execute_unprepared(&sql).await.doing(doing)?;
        }
    }
    tx.commit().await.doing(doing)
}
