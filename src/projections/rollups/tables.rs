//! The tables of rollups: which there are, and how their rows are read and written.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, QueryResult, Value};

use super::super::upsert::in_groups;
use crate::store::{Doing, List, Sql, StoreError};

const SECOND: i64 = 1_000_000;
/// Rows that are looked up in one statement.
const LOOK_UP_MAX: usize = 1_000;
const FOLD: &str = "fold into rollups";
const ROW: &str = "read a rollup";

/// One of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) table: &'static str,
    /// Length of its buckets, in microseconds.
    pub(crate) width: i64,
    /// Whether its rows are of sites as a whole, not of devices.
    pub(crate) of_sites: bool,
}

const fn level(table: &'static str, seconds: i64, of_sites: bool) -> Level {
    Level {
        table,
        width: seconds * SECOND,
        of_sites,
    }
}

pub(crate) const DEVICE_QUARTERS: Level = level("device_rollups_15m", 900, false);
pub(crate) const DEVICE_HOURS: Level = level("device_rollups_1h", 3_600, false);
pub(crate) const DEVICE_DAYS: Level = level("device_rollups_1d", 86_400, false);
pub(crate) const SITE_MINUTES: Level = level("site_rollups_1m", 60, true);
pub(crate) const SITE_QUARTERS: Level = level("site_rollups_15m", 900, true);
pub(crate) const SITE_HOURS: Level = level("site_rollups_1h", 3_600, true);
pub(crate) const SITE_DAYS: Level = level("site_rollups_1d", 86_400, true);

/// Those that are kept for ever.
pub(super) const LEVELS: [Level; 6] = [
    DEVICE_QUARTERS,
    DEVICE_HOURS,
    DEVICE_DAYS,
    SITE_QUARTERS,
    SITE_HOURS,
    SITE_DAYS,
];

/// What a row is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// Key of the device, 0 for events that name none; of a site as a whole that of the site.
    pub(crate) owner: i64,
    /// The number of the provenance.
    pub(crate) provenance: i64,
    /// When its bucket begins: microseconds since 1970, UTC.
    pub(crate) bucket: i64,
    /// Key of the site at which it happened, 0 if at none.
    pub(crate) site: i64,
    /// The currency of the site then; empty if it has none, or nothing of the kind is money.
    pub(crate) currency: String,
    /// Its labels, as they are written.
    pub(crate) labels: String,
}

impl Key {
    /// The same with other labels; with none it is less than with any.
    pub(crate) fn labelled(&self, labels: &str) -> Self {
        Self {
            labels: labels.to_owned(),
            currency: self.currency.clone(),
            ..*self
        }
    }
}

impl Level {
    /// The beginning of the bucket of an instant.
    pub(crate) const fn bucket(self, at: i64) -> i64 {
        at - at.rem_euclid(self.width)
    }

    /// What a row of another level is added to.
    pub(crate) fn above(self, key: &Key) -> Key {
        Key {
            owner: if self.of_sites { key.site } else { key.owner },
            bucket: self.bucket(key.bucket),
            ..key.clone()
        }
    }

    /// What is said of a row that is not understood.
    pub(crate) const fn malformed(self) -> StoreError {
        StoreError::Row {
            table: self.table,
            column: "cells",
        }
    }

    /// Begins a statement for its rows, as [`row`] reads them, from the table as `r`.
    pub(crate) fn select(self) -> String {
        format!("SELECT {} FROM {} r", self.columns("r."), self.table)
    }

    /// The column of the owner of a row, of the table as `r`.
    pub(crate) const fn owner_column(self) -> &'static str {
        if self.of_sites {
            "r.site_key"
        } else {
            "r.device_key"
        }
    }

    const fn owner(self) -> &'static str {
        if self.of_sites {
            "site_key"
        } else {
            "device_key"
        }
    }

    fn columns(self, of: &str) -> String {
        let owner = self.owner();
        format!(
            "{of}{owner}, {of}provenance, {of}bucket_at, {of}site_key, {of}currency, {of}labels, \
             {of}cells"
        )
    }

    /// The rows of a kind that are there of some keys, and no others: of what has many labels in one bucket
    /// those alone that are asked for.
    pub(crate) async fn load(
        self,
        db: &impl ConnectionTrait,
        kind: i64,
        keys: impl Iterator<Item = &Key>,
    ) -> Result<BTreeMap<Key, Vec<u8>>, StoreError> {
        let places: Vec<([i64; 4], [&str; 2])> = keys
            .map(|key| {
                (
                    [key.owner, key.provenance, key.bucket, key.site],
                    [&*key.currency, &*key.labels],
                )
            })
            .collect();
        let backend = db.get_database_backend();
        let mut loaded = BTreeMap::new();
        for places in places.chunks(LOOK_UP_MAX) {
            let mut sql = Sql::new(format!("SELECT {} FROM ", self.columns("r.")));
            sql.keys_of(backend, places);
            sql.push(if backend == DbBackend::Postgres {
                " JOIN "
            } else {
                " CROSS JOIN "
            });
            let (table, owner) = (self.table, self.owner());
            sql.push(&format!("{table} r ON r.kind = "));
            sql.bind(kind).push(&format!(
                " AND r.{owner} = v.column1 AND r.provenance = v.column2 \
                 AND r.bucket_at = v.column3 AND r.site_key = v.column4 \
                 AND r.currency = v.column5 AND r.labels = v.column6"
            ));
            loaded.extend(rows(db, sql).await?);
        }
        Ok(loaded)
    }

    /// How many rows of a kind there are beside some keys without labels, where there are any.
    pub(super) async fn count(
        self,
        db: &impl ConnectionTrait,
        kind: i64,
        keys: impl Iterator<Item = &Key>,
    ) -> Result<BTreeMap<Key, usize>, StoreError> {
        let places = keys.map(|key| {
            let numbers = [key.owner, key.provenance, key.bucket, key.site];
            (numbers, [&*key.currency])
        });
        let places: Vec<([i64; 4], [&str; 1])> = places.collect();
        let backend = db.get_database_backend();
        let (table, owner) = (self.table, self.owner());
        let columns = "v.column1, v.column2, v.column3, v.column4, v.column5";
        let mut counted = BTreeMap::new();
        for places in places.chunks(LOOK_UP_MAX) {
            let mut sql = Sql::new(format!("SELECT {columns}, '' AS labels, count(*) FROM "));
            sql.keys_of(backend, places);
            sql.push(if backend == DbBackend::Postgres {
                " JOIN "
            } else {
                " CROSS JOIN "
            });
            sql.push(&format!("{table} r ON r.kind = "));
            sql.bind(kind).push(&format!(
                " AND r.{owner} = v.column1 AND r.provenance = v.column2 \
                 AND r.bucket_at = v.column3 AND r.site_key = v.column4 \
                 AND r.currency = v.column5 GROUP BY {columns}"
            ));
            for row in all(db, sql).await? {
                let count: i64 = row.try_get_by_index(6).doing(FOLD)?;
                counted.insert(key(&row)?, usize::try_from(count).unwrap_or_default());
            }
        }
        Ok(counted)
    }

    /// The keys of the rows of a kind that are there beside one without labels.
    pub(super) async fn beside(
        self,
        db: &impl ConnectionTrait,
        kind: i64,
        bucket: &Key,
    ) -> Result<BTreeSet<Key>, StoreError> {
        let mut sql = Sql::new(format!("SELECT labels FROM {}", self.table));
        self.in_bucket(&mut sql, kind, bucket);
        let mut keys = BTreeSet::new();
        for row in all(db, sql).await? {
            let labels: String = row.try_get_by_index(0).doing(FOLD)?;
            keys.insert(bucket.labelled(&labels));
        }
        Ok(keys)
    }

    /// Deletes some of those rows.
    pub(super) async fn remove(
        self,
        tx: &DatabaseTransaction,
        kind: i64,
        (bucket, keys): (&Key, &[&Key]),
    ) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let labels = keys.iter().map(|key| key.labels.clone()).collect();
        let mut sql = Sql::new(format!("DELETE FROM {}", self.table));
        self.in_bucket(&mut sql, kind, bucket);
        sql.push(" AND ").among("labels", List::Text(labels));
        run(tx, sql).await
    }

    fn in_bucket(self, sql: &mut Sql, kind: i64, bucket: &Key) {
        sql.push(" WHERE kind = ").bind(kind);
        sql.push(" AND ").push(self.owner()).push(" = ");
        sql.bind(bucket.owner);
        sql.push(" AND provenance = ").bind(bucket.provenance);
        sql.push(" AND bucket_at = ").bind(bucket.bucket);
        sql.push(" AND site_key = ").bind(bucket.site);
        sql.push(" AND currency = ").bind(bucket.currency.clone());
    }

    /// The rows of a kind and an owner, of buckets that begin within some time, in order of time.
    pub(crate) async fn within(
        self,
        db: &impl ConnectionTrait,
        (kind, owner): (i64, i64),
        (from, until): (i64, i64),
    ) -> Result<BTreeMap<Key, Vec<u8>>, StoreError> {
        let mut sql = Sql::new(self.select());
        sql.push(" WHERE r.kind = ").bind(kind).push(" AND ");
        sql.push(self.owner_column()).push(" = ").bind(owner);
        // each is a range of the key
        sql.push(" AND r.provenance IN (0, 1, 2) AND r.bucket_at >= ");
        sql.bind(from).push(" AND r.bucket_at < ").bind(until);
        rows(db, sql).await
    }

    /// The same of some owners.
    pub(super) async fn of_each(
        self,
        db: &impl ConnectionTrait,
        (kind, owners): (i64, &[i64]),
        (from, until): (i64, i64),
    ) -> Result<BTreeMap<Key, Vec<u8>>, StoreError> {
        let mut sql = Sql::new(self.select());
        sql.push(" WHERE r.kind = ").bind(kind).push(" AND ");
        sql.among(self.owner_column(), List::Int(owners.to_vec()));
        // each is a range of the key
        sql.push(" AND r.provenance IN (0, 1, 2) AND r.bucket_at >= ");
        sql.bind(from).push(" AND r.bucket_at < ").bind(until);
        rows(db, sql).await
    }

    /// Writes rows, in place of those that are there.
    pub(crate) async fn put(
        self,
        tx: &DatabaseTransaction,
        kind: i64,
        rows: impl Iterator<Item = (Key, Vec<u8>)>,
    ) -> Result<(), StoreError> {
        let (table, owner) = (self.table, self.owner());
        let (site, columns) = if self.of_sites {
            (
                "",
                "kind, site_key, provenance, bucket_at, currency, labels",
            )
        } else {
            (
                ", site_key",
                "kind, device_key, provenance, bucket_at, site_key, currency, labels",
            )
        };
        let before = format!("INSERT INTO {table} ({columns}, cells) VALUES ");
        let after = format!(
            "ON CONFLICT (kind, {owner}, provenance, bucket_at{site}, currency, labels) \
             DO UPDATE SET cells = excluded.cells"
        );
        let values = rows.map(|(key, cells)| {
            let mut values: Vec<Value> = vec![
                kind.into(),
                key.owner.into(),
                key.provenance.into(),
                key.bucket.into(),
            ];
            if !self.of_sites {
                values.push(key.site.into());
            }
            values.extend([key.currency.into(), key.labels.into(), cells.into()]);
            values
        });
        in_groups(tx, (&before, &after), &[], values.collect()).await
    }

    /// Deletes the rows of a kind and an owner, of buckets that begin within some time.
    pub(crate) async fn delete(
        self,
        tx: &DatabaseTransaction,
        (kind, owner): (i64, i64),
        (from, until): (i64, i64),
    ) -> Result<(), StoreError> {
        let mut sql = Sql::new(format!("DELETE FROM {} WHERE kind = ", self.table));
        sql.bind(kind).push(" AND ").push(self.owner());
        sql.push(" = ").bind(owner);
        sql.push(" AND provenance IN (0, 1, 2) AND bucket_at >= ");
        sql.bind(from).push(" AND bucket_at < ").bind(until);
        run(tx, sql).await
    }
}

/// Runs a statement that answers nothing.
pub(crate) async fn run(tx: &DatabaseTransaction, sql: Sql) -> Result<(), StoreError> {
    let statement = sql.statement(tx.get_database_backend());
    tx.execute_raw(statement).await.doing(FOLD)?;
    Ok(())
}

/// The rows of a statement.
pub(crate) async fn all(
    db: &impl ConnectionTrait,
    sql: Sql,
) -> Result<Vec<QueryResult>, StoreError> {
    let statement = sql.statement(db.get_database_backend());
    db.query_all_raw(statement).await.doing(FOLD)
}

async fn rows(db: &impl ConnectionTrait, sql: Sql) -> Result<BTreeMap<Key, Vec<u8>>, StoreError> {
    all(db, sql).await?.iter().map(row).collect()
}

/// A row of [`Level::columns`].
pub(crate) fn row(row: &QueryResult) -> Result<(Key, Vec<u8>), StoreError> {
    let cells = row.try_get_by_index(6).doing(ROW)?;
    Ok((key(row)?, cells))
}

fn key(row: &QueryResult) -> Result<Key, StoreError> {
    let read = || {
        Ok(Key {
            owner: row.try_get_by_index(0)?,
            provenance: row.try_get_by_index(1)?,
            bucket: row.try_get_by_index(2)?,
            site: row.try_get_by_index(3)?,
            currency: row.try_get_by_index(4)?,
            labels: row.try_get_by_index(5)?,
        })
    };
    read().doing(ROW)
}
