//! What was counted of groups of errors, what people decided about them, and which parameters changed before.
//!
//! The statements are texts: they sum up and join with lists of values, for which the library has no words, and are the
//! same on both databases.

use std::collections::BTreeMap;

use entity::{collection_counters, error_group_changes};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QueryResult, QuerySelect,
};

use crate::event::{Instant, Provenance};
use crate::kinds::Kind;
use crate::projections::groups::{ALL_DEVICES, Tally, severity_of};
use crate::store::{Doing, List, Sql, StoreError};

const READ: &str = "read what was counted of errors";
const READ_CHANGES: &str = "read what changed before errors";

/// A decision about a group.
pub type DecisionRow = error_group_changes::Model;

/// Decisions at most that are read, the latest.
const DECISIONS_MAX: u64 = 20_000;
/// Times of devices or sites that are looked for in one statement.
const WINDOWS_AT_ONCE: usize = 1_000;
/// Changes at most that are read for one of these.
const CHANGES_MAX: i64 = 5_000;

/// Of which devices something is counted.
#[derive(Clone, Copy, Debug)]
pub enum Devices<'a> {
    /// Of all errors together, also of those that name no device.
    Together,
    /// Of each device, and of those that name none.
    Each,
    /// Of each of these.
    Of(&'a [i64]),
}

/// Which counts are read.
#[derive(Clone, Copy, Debug)]
pub struct Counts<'a> {
    /// Of which errors.
    pub provenance: Provenance,
    /// Of these groups by their labels, or of all.
    pub labels: Option<&'a [u64]>,
    /// Of which devices.
    pub devices: Devices<'a>,
    /// From this hour on.
    pub from: i64,
    /// Before this hour.
    pub before: i64,
}

impl Counts<'_> {
    fn narrow(&self, sql: &mut Sql) {
        // of all groups by the devices: SQLite would go through all of a provenance, since its key has the order wanted
        let key = if self.labels.is_none() { "+" } else { "" };
        sql.push(" FROM error_group_hours WHERE ").push(key);
        sql.push("provenance = ").bind(self.provenance.code());
        if let Some(labels) = self.labels {
            let labels = labels.iter().map(|label| label.cast_signed());
            sql.push(" AND ")
                .among("label", List::Int(labels.collect()));
        }
        match self.devices {
            Devices::Together => {
                sql.push(" AND device_key = ").bind(ALL_DEVICES);
            }
            Devices::Each => {
                sql.push(" AND device_key <> ").bind(ALL_DEVICES);
            }
            Devices::Of(keys) => {
                sql.push(" AND ")
                    .among("device_key", List::Int(keys.to_vec()));
            }
        }
        if self.from > i64::MIN {
            sql.push(" AND hour >= ").bind(self.from);
        }
        if self.before < i64::MAX {
            sql.push(" AND hour < ").bind(self.before);
        }
    }
}

fn number(row: &QueryResult, index: usize) -> Result<i64, StoreError> {
    row.try_get_by_index(index).doing(READ)
}

fn label(row: &QueryResult) -> Result<u64, StoreError> {
    number(row, 0).map(i64::cast_unsigned)
}

async fn rows(db: &impl ConnectionTrait, sql: Sql) -> Result<Vec<QueryResult>, StoreError> {
    let rows = db.query_all_raw(sql.statement(db.get_database_backend()));
    rows.await.doing(READ)
}

/// What was counted of each group on each device.
///
/// # Errors
/// When the tables cannot be read.
pub(crate) async fn sums(
    db: &impl ConnectionTrait,
    counts: &Counts<'_>,
) -> Result<Vec<(u64, i64, Tally)>, StoreError> {
    let mut sql = Sql::new(
        "SELECT label, device_key, CAST(sum(events) AS BIGINT), min(first_at), max(last_at), max(severity)",
    );
    counts.narrow(&mut sql);
    sql.push(" GROUP BY label, device_key");
    let read = |row: &QueryResult| {
        let tally = Tally {
            events: number(row, 2)?,
            first: Instant(number(row, 3)?),
            last: Instant(number(row, 4)?),
            severity: severity_of(number(row, 5)?),
        };
        Ok((label(row)?, number(row, 1)?, tally))
    };
    rows(db, sql).await?.iter().map(read).collect()
}

/// What was counted of a group, by its label, on a device, or on all together, in an hour.
type Hour = ((u64, i64, i64), i64);

/// How often each group was seen in each hour, on all devices that are asked for together.
///
/// # Errors
/// When the tables cannot be read.
pub(crate) async fn hours(
    db: &impl ConnectionTrait,
    counts: &Counts<'_>,
) -> Result<Vec<Hour>, StoreError> {
    let mut sql = Sql::new("SELECT label, hour, CAST(sum(events) AS BIGINT)");
    counts.narrow(&mut sql);
    sql.push(" GROUP BY label, hour");
    let read = |row: &QueryResult| {
        let place = (label(row)?, ALL_DEVICES, number(row, 1)?);
        Ok((place, number(row, 2)?))
    };
    rows(db, sql).await?.iter().map(read).collect()
}

/// How often each group was seen in each hour on each device.
///
/// # Errors
/// When the tables cannot be read.
pub(crate) async fn hours_of_each(
    db: &impl ConnectionTrait,
    counts: &Counts<'_>,
) -> Result<Vec<Hour>, StoreError> {
    let mut sql = Sql::new("SELECT label, device_key, hour, events");
    counts.narrow(&mut sql);
    let read = |row: &QueryResult| {
        let place = (label(row)?, number(row, 1)?, number(row, 2)?);
        Ok((place, number(row, 3)?))
    };
    rows(db, sql).await?.iter().map(read).collect()
}

/// The last hours in which any of some groups was seen, the last first, so many at most.
///
/// # Errors
/// When the tables cannot be read.
pub(crate) async fn last_hours(
    db: &impl ConnectionTrait,
    counts: &Counts<'_>,
    limit: i64,
) -> Result<Vec<i64>, StoreError> {
    let mut sql = Sql::new("SELECT DISTINCT hour");
    counts.narrow(&mut sql);
    sql.push(" ORDER BY hour DESC LIMIT ").bind(limit);
    let rows = rows(db, sql).await?;
    rows.iter().map(|row| number(row, 0)).collect()
}

/// When the first error of each of some groups was after an instant, as far as hours tell: where one has errors before
/// and after it, the last of that. Each is asked for by its label, its instant and the hour of that; those without such
/// errors are left out.
///
/// # Errors
/// When the tables cannot be read.
pub(crate) async fn firsts_after(
    db: &impl ConnectionTrait,
    (provenance, before): (Provenance, i64),
    asked: &[[i64; 3]],
) -> Result<BTreeMap<u64, Instant>, StoreError> {
    let mut firsts = BTreeMap::new();
    for asked in asked.chunks(WINDOWS_AT_ONCE) {
        let mut sql = Sql::new(
            "SELECT v.column1, min(CASE WHEN h.first_at > v.column2 THEN h.first_at ELSE h.last_at END) FROM ",
        );
        sql.rows_of(db.get_database_backend(), asked);
        // in this order, so that each is looked for by the key
        sql.push(" CROSS JOIN error_group_hours h WHERE h.provenance = ")
            .bind(provenance.code());
        sql.push(" AND h.label = v.column1 AND h.device_key = ")
            .bind(ALL_DEVICES);
        sql.push(" AND h.hour >= v.column3 AND h.hour < ")
            .bind(before);
        sql.push(" AND h.last_at > v.column2 GROUP BY v.column1");
        for row in rows(db, sql).await? {
            firsts.insert(label(&row)?, Instant(number(&row, 1)?));
        }
    }
    Ok(firsts)
}

/// What is new: a group was told of first on a device, or came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewsRow {
    pub(crate) provenance: Provenance,
    pub(crate) label: u64,
    pub(crate) device_key: i64,
    /// When it was resolved that it came back after; 0 where it is new on the device.
    pub(crate) since: i64,
    pub(crate) position: i64,
}

/// What is new after a position, in order: so many at most, and beyond that what else is of the position of the last. By
/// one event a group may be new on a device and come back.
///
/// # Errors
/// When the tables cannot be read.
pub(crate) async fn news(
    db: &impl ConnectionTrait,
    after: i64,
    limit: i64,
) -> Result<Vec<NewsRow>, StoreError> {
    let mut sql = Sql::new(
        "SELECT label, provenance, device_key, since, position FROM error_group_news WHERE position > ",
    );
    sql.bind(after).push(
        " AND position <= (SELECT max(p.position) FROM (SELECT position FROM error_group_news WHERE position > ",
    );
    sql.bind(after)
        .push(" ORDER BY position LIMIT ")
        .bind(limit);
    sql.push(") p) ORDER BY position, since, provenance, label, device_key");
    let read = |row: &QueryResult| {
        Ok(NewsRow {
            provenance: Provenance::of_code(number(row, 1)?).unwrap_or_default(),
            label: label(row)?,
            device_key: number(row, 2)?,
            since: number(row, 3)?,
            position: number(row, 4)?,
        })
    };
    rows(db, sql).await?.iter().map(read).collect()
}

/// The first event by which any of some groups was told of on a device, or on any of some, or came back.
///
/// # Errors
/// When the tables cannot be read.
pub(crate) async fn first_news(
    db: &impl ConnectionTrait,
    (provenance, labels): (Provenance, &[u64]),
    (since, devices): (i64, Option<&[i64]>),
) -> Result<Option<i64>, StoreError> {
    let labels = labels.iter().map(|label| label.cast_signed());
    let mut sql = Sql::new("SELECT min(position) FROM error_group_news WHERE provenance = ");
    sql.bind(provenance.code())
        .push(" AND since = ")
        .bind(since);
    sql.push(" AND ")
        .among("label", List::Int(labels.collect()));
    if let Some(devices) = devices {
        sql.push(" AND ")
            .among("device_key", List::Int(devices.to_vec()));
    }
    let rows = rows(db, sql).await?;
    let first = rows.first().map(|row| row.try_get_by_index(0));
    Ok(first.transpose().doing(READ)?.flatten())
}

/// The devices on which any of some groups was seen; 0 stands for errors that name none.
///
/// # Errors
/// When the tables cannot be read.
pub(crate) async fn devices_of(
    db: &impl ConnectionTrait,
    (provenance, labels): (Provenance, &[u64]),
) -> Result<Vec<i64>, StoreError> {
    let labels = labels.iter().map(|label| label.cast_signed());
    let mut sql = Sql::new("SELECT DISTINCT device_key FROM error_group_news WHERE provenance = ");
    sql.bind(provenance.code()).push(" AND since = 0 AND ");
    sql.among("label", List::Int(labels.collect()));
    let rows = rows(db, sql).await?;
    rows.iter().map(|row| number(row, 0)).collect()
}

/// What was decided about groups of a provenance, in order.
///
/// # Errors
/// When the table cannot be read.
pub(crate) async fn decisions(
    db: &impl ConnectionTrait,
    provenance: Provenance,
) -> Result<Vec<DecisionRow>, StoreError> {
    let query = error_group_changes::Entity::find()
        .filter(error_group_changes::Column::Provenance.eq(provenance.code()))
        .order_by_desc(error_group_changes::Column::Position)
        .limit(DECISIONS_MAX);
    let rows = query.all(db).await;
    let mut rows = rows.doing("read what was decided about errors")?;
    rows.reverse();
    Ok(rows)
}

/// When something of a provenance was first told of devices or services, and when last.
///
/// # Errors
/// When the tables cannot be read.
pub(crate) async fn heard(
    db: &impl ConnectionTrait,
    provenance: Provenance,
) -> Result<Option<(Instant, Instant)>, StoreError> {
    let kinds = [Kind::DeviceMetrics, Kind::DeviceStateChange, Kind::ErrorLog];
    let counters = collection_counters::Entity::find()
        .filter(collection_counters::Column::Provenance.eq(provenance.code()))
        .filter(collection_counters::Column::Kind.is_in(kinds.map(Kind::code)));
    let counters = counters.all(db).await.doing("read the counters")?;
    let first = counters.iter().map(|row| row.oldest_at).min();
    let last = counters.iter().map(|row| row.newest_at).max();
    Ok(first
        .zip(last)
        .map(|(first, last)| (Instant(first), Instant(last))))
}

/// A parameter of a device, or of all that is at a site, changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChangeRow {
    pub(crate) at: Instant,
    pub(crate) parameter: String,
    /// The device or the site.
    pub(crate) entity: i64,
}

/// Whose parameters changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Devices,
    Sites,
}

/// The parameters of devices or sites that changed within times of theirs, each from an instant to another. What was
/// archived is not looked at.
///
/// # Errors
/// When the table cannot be read.
pub(crate) async fn changes(
    db: &impl ConnectionTrait,
    whose: Whose,
    windows: &[[i64; 3]],
) -> Result<Vec<ChangeRow>, StoreError> {
    let key = match whose {
        Whose::Devices => "device_key",
        Whose::Sites => "site_key",
    };
    let mut changes = Vec::new();
    for windows in windows.chunks(WINDOWS_AT_ONCE) {
        let mut sql = Sql::new(format!(
            "SELECT c.{key}, c.parameter_name, c.occurred_at FROM "
        ));
        sql.rows_of(db.get_database_backend(), windows);
        sql.push(&format!(
            " JOIN configuration_history c ON c.{key} = v.column1 AND c.occurred_at >= v.column2 \
             AND c.occurred_at <= v.column3 ORDER BY c.occurred_at DESC LIMIT "
        ));
        sql.bind(CHANGES_MAX);
        let found = db.query_all_raw(sql.statement(db.get_database_backend()));
        for row in found.await.doing(READ_CHANGES)? {
            changes.push(ChangeRow {
                entity: row.try_get_by_index(0).doing(READ_CHANGES)?,
                parameter: row.try_get_by_index(1).doing(READ_CHANGES)?,
                at: Instant(row.try_get_by_index(2).doing(READ_CHANGES)?),
            });
        }
    }
    Ok(changes)
}

/// How often parameters changed on devices, and at sites, in some time.
///
/// # Errors
/// When the table cannot be read.
pub(crate) async fn changed(
    db: &impl ConnectionTrait,
    parameters: Vec<String>,
    (from, to): (Instant, Instant),
    within: Option<(&[i64], &[i64])>,
) -> Result<Vec<(String, (u64, u64))>, StoreError> {
    let mut sql = Sql::new(
        "SELECT parameter_name, count(device_key), count(site_key) FROM configuration_history WHERE ",
    );
    sql.among("parameter_name", List::Text(parameters));
    sql.push(" AND occurred_at >= ").bind(from.0);
    sql.push(" AND occurred_at <= ").bind(to.0);
    if let Some((devices, sites)) = within {
        sql.push(" AND (")
            .among("device_key", List::Int(devices.to_vec()));
        sql.push(" OR ")
            .among("site_key", List::Int(sites.to_vec()))
            .push(")");
    }
    sql.push(" GROUP BY parameter_name");
    let found = db.query_all_raw(sql.statement(db.get_database_backend()));
    let read = |row: QueryResult| {
        let count = |index| {
            let count: i64 = row.try_get_by_index(index).doing(READ_CHANGES)?;
            Ok::<u64, StoreError>(count.unsigned_abs())
        };
        let name = row.try_get_by_index(0).doing(READ_CHANGES)?;
        Ok((name, (count(1)?, count(2)?)))
    };
    found
        .await
        .doing(READ_CHANGES)?
        .into_iter()
        .map(read)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_page_of_news_ends_within_a_position() {
        let mut options = sea_orm::ConnectOptions::new("sqlite::memory:");
        options.max_connections(1);
        let db = sea_orm::Database::connect(options).await.unwrap();
        let table = "CREATE TABLE error_group_news (provenance INTEGER NOT NULL, label INTEGER NOT NULL, \
            device_key INTEGER NOT NULL, since INTEGER NOT NULL, position INTEGER NOT NULL)";
        db.execute_unprepared(table).await.unwrap();
        let rows = "INSERT INTO error_group_news (provenance, label, device_key, since, position) \
            VALUES (0, 1, 2, 99, 7), (0, 1, 1, 0, 5), (0, 1, 2, 0, 7), (0, 3, 2, 0, 9)";
        db.execute_unprepared(rows).await.unwrap();
        for (after, limit, expected) in [
            (0, 1, vec![(5, 0)]),
            (0, 2, vec![(5, 0), (7, 0), (7, 99)]),
            (5, 1, vec![(7, 0), (7, 99)]),
            (5, 2, vec![(7, 0), (7, 99)]),
            (5, 3, vec![(7, 0), (7, 99), (9, 0)]),
            (9, 3, vec![]),
        ] {
            let news = news(&db, after, limit).await.unwrap();
            let news = news.iter().map(|row| (row.position, row.since));
            let news: Vec<(i64, i64)> = news.collect();
            assert_eq!(news, expected, "{after} {limit}");
        }
    }
}
