//! On PostgreSQL the large tables are partitioned by `occurred_at`: makes the partitions that a batch
//! needs, apart and before its transaction, so that no append waits for a table lock.
//!
//! Recent months have a partition each. What is older lies in one, so that a request with old events
//! never makes more than a few: each table in each partition costs time whenever one is made, and
//! whenever a statement is planned.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use chrono::{Datelike, NaiveDate};
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend};

use super::error::{Doing, StoreError};
use super::sql::Sql;
use super::transactions::begin;
use crate::event::Instant;
use crate::kinds::Kind;

/// Months up to now that have a partition each.
const MONTHS_APART: i32 = 24;

/// Serialises those who make partitions (an arbitrary number of our own).
const LOCK: i64 = 0x484F_4D45_504F_5401;

/// Months since the year 0.
type Month = i32;

/// The partitions of a table that are known: where each begins, and where it ends.
type Ranges = BTreeMap<i64, i64>;

/// The partitions that are known to exist; of tables that are not partitioned, none.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    known: HashMap<Kind, Ranges>,
}

impl Partitions {
    /// Finds out again which partitions there are, and whether others are there than were known: one that was
    /// empty may have been dropped by another node.
    pub(crate) async fn renew(&mut self, db: &impl ConnectionTrait) -> Result<bool, StoreError> {
        let found = Self::load(db).await?;
        let is_other = found.known != self.known;
        *self = found;
        Ok(is_other)
    }

    /// Finds out which tables are partitioned, and how.
    pub(crate) async fn load(db: &impl ConnectionTrait) -> Result<Self, StoreError> {
        let doing = "list the partitions";
        let mut known: HashMap<Kind, Ranges> = HashMap::new();
        if db.get_database_backend() != DbBackend::Postgres {
            return Ok(Self { known });
        }
        let sql = "SELECT t.relname::text, \
             substring(pg_get_expr(c.relpartbound, c.oid) from 'FROM \\(''([0-9]+)''\\)')::bigint, \
             substring(pg_get_expr(c.relpartbound, c.oid) from 'TO \\(''([0-9]+)''\\)')::bigint \
             FROM pg_partitioned_table p JOIN pg_class t ON t.oid = p.partrelid \
             LEFT JOIN pg_inherits i ON i.inhparent = t.oid \
             LEFT JOIN pg_class c ON c.oid = i.inhrelid \
             WHERE t.relnamespace = current_schema()::regnamespace";
        let statement = Sql::new(sql).statement(DbBackend::Postgres);
        for row in db.query_all_raw(statement).await.doing(doing)? {
            let table: String = row.try_get_by_index(0).doing(doing)?;
            let from: Option<i64> = row.try_get_by_index(1).doing(doing)?;
            let to: Option<i64> = row.try_get_by_index(2).doing(doing)?;
            let Some(kind) = Kind::all().find(|kind| kind.spec().table == table) else {
                continue;
            };
            let ranges = known.entry(kind).or_default();
            ranges.extend(from.zip(to));
        }
        Ok(Self { known })
    }

    /// The tables that are partitioned.
    pub(crate) fn tables(&self) -> Vec<&'static str> {
        self.known.keys().map(|kind| kind.spec().table).collect()
    }

    /// Makes the partitions that are missing for events of some kinds at some instants.
    pub(crate) async fn ensure(
        &mut self,
        db: &DatabaseConnection,
        times: impl Iterator<Item = (Kind, Instant)>,
        now: Instant,
    ) -> Result<(), StoreError> {
        let missing = self.missing(times);
        if missing.is_empty() {
            return Ok(());
        }
        let tx = begin(db).await?;
        let found = Self::make(&tx, missing, now).await?;
        tx.commit().await.doing("make a partition")?;
        *self = found;
        Ok(())
    }

    /// The same within a transaction that has written to the tables: it would not see what another
    /// attaches to them meanwhile.
    pub(crate) async fn ensure_within(
        &mut self,
        tx: &DatabaseTransaction,
        times: impl Iterator<Item = (Kind, Instant)>,
        now: Instant,
    ) -> Result<(), StoreError> {
        let missing = self.missing(times);
        if missing.is_empty() {
            return Ok(());
        }
        *self = Self::make(tx, missing, now).await?;
        Ok(())
    }

    fn missing(&self, times: impl Iterator<Item = (Kind, Instant)>) -> Vec<(Kind, i64)> {
        if self.known.is_empty() {
            return Vec::new();
        }
        times
            .map(|(kind, occurred_at)| (kind, occurred_at.0))
            .filter(|(kind, at)| self.lacks(*kind, *at))
            .collect()
    }

    /// Makes partitions, and tells which there are then.
    async fn make(
        tx: &DatabaseTransaction,
        missing: Vec<(Kind, i64)>,
        now: Instant,
    ) -> Result<Self, StoreError> {
        tx.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({LOCK})"))
            .await
            .doing("make a partition")?;
        // another may have made some meanwhile
        let mut found = Self::load(tx).await?;
        for (kind, at) in missing {
            if found.lacks(kind, at) {
                let range = found.range_for(kind, at, month_of(now));
                create(tx, kind.spec().table, &range).await?;
                let ranges = found.known.entry(kind).or_default();
                ranges.insert(start_of(range.start), start_of(range.end));
            }
        }
        Ok(found)
    }

    /// Whether a table is partitioned and has no partition for an instant.
    fn lacks(&self, kind: Kind, at: i64) -> bool {
        self.known.get(&kind).is_some_and(|ranges| {
            let before = ranges.range(..=at).next_back();
            before.is_none_or(|(_, end)| *end <= at)
        })
    }

    /// The months that the partition for an instant is to hold: one, or all that are not recent, as
    /// far as they lie in no other.
    fn range_for(&self, kind: Kind, at: i64, now: Month) -> Range<Month> {
        let (month, recent) = (month_of(Instant(at)), now + 1 - MONTHS_APART);
        let wanted = if month >= recent {
            month..month + 1
        } else {
            month_of(Instant::OLDEST)..recent
        };
        let Some(ranges) = self.known.get(&kind) else {
            return wanted;
        };
        let before = ranges.range(..=at).next_back();
        let after = ranges.range(at..).next();
        let start = before.map_or(wanted.start, |(_, end)| month_of(Instant(*end)));
        let end = after.map_or(wanted.end, |(start, _)| month_of(Instant(*start)));
        wanted.start.max(start)..wanted.end.min(end)
    }
}

fn month_of(at: Instant) -> Month {
    let date = at.date_time().date_naive();
    date.year() * 12 + i32::try_from(date.month0()).unwrap_or(0)
}

/// The beginning of the month after that of an instant.
pub(super) fn month_after(at: Instant) -> Instant {
    Instant(start_of(month_of(at) + 1))
}

fn year_and_month(month: Month) -> (i32, u32) {
    let of_year = u32::try_from(month.rem_euclid(12)).unwrap_or(0);
    (month.div_euclid(12), of_year + 1)
}

fn start_of(month: Month) -> i64 {
    let (year, month) = year_and_month(month);
    let first = NaiveDate::from_ymd_opt(year, month, 1).unwrap_or_default();
    Instant::of(first.and_time(chrono::NaiveTime::MIN).and_utc()).0
}

async fn create(
    tx: &DatabaseTransaction,
    table: &str,
    months: &Range<Month>,
) -> Result<(), StoreError> {
    let (from, to) = (start_of(months.start), start_of(months.end));
    let (year, month) = year_and_month(months.start);
    let (end_year, end_month) = year_and_month(months.end);
    // its name says from which month on it is, and before which it ends
    let name = format!("{table}_{year:04}{month:02}_{end_year:04}{end_month:02}");
    for sql in [
        format!("CREATE TABLE {name} (LIKE {table} INCLUDING ALL)"),
        format!(
            "ALTER TABLE {name} ADD CONSTRAINT {name}_range \
             CHECK (occurred_at >= {from} AND occurred_at < {to})"
        ),
        format!("ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to})"),
    ] {
        tx.execute_unprepared(&sql)
            .await
            .doing("make a partition")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(year: i32, month: u32) -> i64 {
        let first = NaiveDate::from_ymd_opt(year, month, 15).unwrap();
        Instant::of(first.and_time(chrono::NaiveTime::MIN).and_utc()).0
    }

    fn partitions(months: &[(Month, Month)]) -> Partitions {
        let ranges = months
            .iter()
            .map(|(from, to)| (start_of(*from), start_of(*to)));
        let known = HashMap::from([(Kind::DeviceMetrics, ranges.collect())]);
        Partitions { known }
    }

    fn named(range: Range<Month>) -> ((i32, u32), (i32, u32)) {
        (year_and_month(range.start), year_and_month(range.end))
    }

    #[test]
    fn a_recent_month_has_a_partition_and_what_is_older_one_for_all() {
        let none = partitions(&[]);
        let now = month_of(Instant(at(2026, 11)));
        let range = |year, month| named(none.range_for(Kind::DeviceMetrics, at(year, month), now));
        assert_eq!(range(2026, 12), ((2026, 12), (2027, 1)));
        assert_eq!(range(2024, 12), ((2024, 12), (2025, 1)));
        assert_eq!(range(2024, 11), ((2000, 1), (2024, 12)));
        assert_eq!(range(2000, 1), ((2000, 1), (2024, 12)));
    }

    #[test]
    fn a_partition_fills_the_gap_between_those_that_there_are() {
        let month = |year, month| month_of(Instant(at(year, month)));
        let old = (month(2000, 1), month(2020, 1));
        let some = partitions(&[old, (month(2021, 5), month(2021, 6))]);
        let now = month(2026, 11);
        assert!(!some.lacks(Kind::DeviceMetrics, at(2019, 12)));
        assert!(some.lacks(Kind::DeviceMetrics, at(2020, 1)));
        assert!(!some.lacks(Kind::ErrorLog, at(2020, 1)));
        let range = |year, month| named(some.range_for(Kind::DeviceMetrics, at(year, month), now));
        assert_eq!(range(2020, 3), ((2020, 1), (2021, 5)));
        assert_eq!(range(2023, 3), ((2021, 6), (2024, 12)));
    }
}
