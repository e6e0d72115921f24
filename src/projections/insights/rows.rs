//! The rows in which states of devices are kept.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult, Value};

use super::super::rollups::tables::{all, run};
use super::super::upsert::upsert;
use super::FOLD;
use super::days::Day;
use super::facts::Whose;
use crate::event::Provenance;
use crate::insights::device::{DeviceState, Encoded, VERSION};
use crate::store::{Doing, List, Sql, StoreError, group_sizes};

/// Rows at most that are found by one statement.
const ROWS_MAX: usize = 256;

/// What is known of the state in use of a device without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) whose: Whose,
    /// The first instant after the hours that are folded.
    pub(crate) upto: i64,
    /// When the first of them began.
    pub(crate) first_at: i64,
    /// When the last of them ended in which anything was measured; 0 if nothing was.
    pub(crate) measured_at: i64,
    /// A number that is another one for other bytes.
    pub(crate) mark: i64,
}

/// A state by where it is kept: in use, or as of when all hours before an instant were folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Base {
    /// The state in use.
    InUse(Whose),
    /// One that is kept beside it.
    Day(Whose, i64),
}

fn whose(row: &QueryResult) -> Result<Whose, StoreError> {
    let provenance = Provenance::of_code(row.try_get_by_index(1).doing(FOLD)?);
    let provenance = provenance.ok_or(StoreError::Row {
        table: "device_insights",
        column: "provenance",
    })?;
    Ok((row.try_get_by_index(0).doing(FOLD)?, provenance))
}

/// The heads of the states in use, of devices by their keys or of all, in order.
pub(crate) fn heads<'a>(
    tx: &'a DatabaseTransaction,
    devices: Option<&[i64]>,
) -> BoxFuture<'a, Result<Vec<Head>, StoreError>> {
    let mut sql = Sql::new(
        "SELECT device_key, provenance, upto, first_at, measured_at, mark FROM device_insights \
         WHERE version = ",
    );
    sql.push(&VERSION.to_string());
    if let Some(devices) = devices {
        sql.push(" AND ")
            .among("device_key", List::Int(devices.to_vec()));
    }
    sql.push(" ORDER BY device_key, provenance");
    Box::pin(async move {
        let rows = tx.query_all_raw(sql.statement(tx.get_database_backend()));
        let head = |row: &QueryResult| {
            Ok(Head {
                whose: whose(row)?,
                upto: row.try_get_by_index(2).doing(FOLD)?,
                first_at: row.try_get_by_index(3).doing(FOLD)?,
                measured_at: row.try_get_by_index(4).doing(FOLD)?,
                mark: row.try_get_by_index(5).doing(FOLD)?,
            })
        };
        rows.await.doing(FOLD)?.iter().map(head).collect()
    })
}

/// What is kept beside the states in use of some devices, in order.
pub(crate) fn days<'a>(
    tx: &'a DatabaseTransaction,
    devices: &[i64],
) -> BoxFuture<'a, Result<BTreeMap<Whose, Vec<Day>>, StoreError>> {
    let mut sql = Sql::new(
        "SELECT device_key, provenance, until_at, upto FROM device_insight_days WHERE version = ",
    );
    sql.push(&VERSION.to_string()).push(" AND ");
    sql.among("device_key", List::Int(devices.to_vec()));
    sql.push(" ORDER BY device_key, provenance, until_at");
    Box::pin(async move {
        let rows = tx.query_all_raw(sql.statement(tx.get_database_backend()));
        let mut days: BTreeMap<Whose, Vec<Day>> = BTreeMap::new();
        for row in rows.await.doing(FOLD)? {
            let day = Day {
                until: row.try_get_by_index(2).doing(FOLD)?,
                upto: row.try_get_by_index(3).doing(FOLD)?,
            };
            days.entry(whose(&row)?).or_default().push(day);
        }
        Ok(days)
    })
}

/// From which hour on devices are due, of these by their keys or of all.
pub(crate) fn due<'a>(
    tx: &'a DatabaseTransaction,
    devices: Option<&[i64]>,
) -> BoxFuture<'a, Result<BTreeMap<Whose, i64>, StoreError>> {
    let mut sql = Sql::new("SELECT device_key, provenance, from_at FROM insight_due");
    if let Some(devices) = devices {
        sql.push(" WHERE ")
            .among("device_key", List::Int(devices.to_vec()));
    }
    Box::pin(async move {
        let rows = all(tx, sql).await?;
        let due = rows.iter().map(|row| {
            let from = row.try_get_by_index(2).doing(FOLD)?;
            Ok((whose(row)?, from))
        });
        due.collect()
    })
}

/// Reads states as they are kept.
pub(crate) fn states<'a>(
    tx: &'a DatabaseTransaction,
    bases: &[Base],
) -> BoxFuture<'a, Result<BTreeMap<Base, Encoded>, StoreError>> {
    let (mut in_use, mut days) = (Vec::new(), Vec::new());
    for base in bases {
        match base {
            Base::InUse((key, provenance)) => in_use.push([*key, provenance.code()]),
            Base::Day((key, provenance), until) => days.push([*key, provenance.code(), *until]),
        }
    }
    Box::pin(async move {
        let mut states = BTreeMap::new();
        let columns = "s.device_key, s.provenance, s.risk, s.rest";
        for rows in in_use.chunks(ROWS_MAX) {
            let mut sql = Sql::new(format!("SELECT {columns} FROM "));
            sql.rows_of(tx.get_database_backend(), rows);
            sql.push(
                " JOIN device_insights s ON s.device_key = v.column1 AND s.provenance = v.column2",
            );
            for row in all(tx, sql).await? {
                states.insert(Base::InUse(whose(&row)?), encoded(&row)?);
            }
        }
        for rows in days.chunks(ROWS_MAX) {
            let mut sql = Sql::new(format!("SELECT {columns}, s.until_at FROM "));
            sql.rows_of(tx.get_database_backend(), rows);
            sql.push(
                " JOIN device_insight_days s ON s.device_key = v.column1 \
                 AND s.provenance = v.column2 AND s.until_at = v.column3",
            );
            for row in all(tx, sql).await? {
                let until = row.try_get_by_index(4).doing(FOLD)?;
                states.insert(Base::Day(whose(&row)?, until), encoded(&row)?);
            }
        }
        Ok(states)
    })
}

/// What failure risk and health read of states in use, as it is kept.
pub(crate) fn risks<'a>(
    tx: &'a DatabaseTransaction,
    whose_all: &'a [Whose],
) -> BoxFuture<'a, Result<BTreeMap<Whose, Vec<u8>>, StoreError>> {
    Box::pin(async move {
        let mut risks = BTreeMap::new();
        // more than these are nearly all there are
        let is_of_all = whose_all.len() > 16 * ROWS_MAX;
        let keys = whose_all
            .iter()
            .map(|(key, provenance)| [*key, provenance.code()]);
        let keys: Vec<[i64; 2]> = keys.collect();
        let size = if is_of_all { keys.len() } else { ROWS_MAX };
        for rows in keys.chunks(size.max(1)) {
            let mut sql =
                Sql::new("SELECT s.device_key, s.provenance, s.risk FROM device_insights s");
            if !is_of_all {
                sql.push(" JOIN ");
                sql.rows_of(tx.get_database_backend(), rows);
                sql.push(" ON s.device_key = v.column1 AND s.provenance = v.column2");
            }
            for row in all(tx, sql).await? {
                risks.insert(whose(&row)?, row.try_get_by_index(2).doing(FOLD)?);
            }
        }
        Ok(risks)
    })
}

fn encoded(row: &QueryResult) -> Result<Encoded, StoreError> {
    Ok(Encoded {
        risk: row.try_get_by_index(2).doing(FOLD)?,
        rest: row.try_get_by_index(3).doing(FOLD)?,
    })
}

/// The state of bytes.
pub(crate) fn decoded(encoded: &Encoded) -> Result<DeviceState, StoreError> {
    DeviceState::decode(encoded).map_err(|_| StoreError::Row {
        table: "device_insights",
        column: "rest",
    })
}

/// A state as bytes.
pub(super) fn encode(state: &DeviceState) -> Result<Encoded, StoreError> {
    let what = "the state of a device";
    state.encode().map_err(|_| StoreError::Fold { what })
}

/// A state that is to be in use.
#[derive(Clone, Debug)]
pub(super) struct InUse {
    pub(super) whose: Whose,
    pub(super) upto: i64,
    pub(super) first_at: i64,
    pub(super) measured_at: i64,
    pub(super) state: Encoded,
}

/// Puts states in the place of those in use.
pub(super) async fn put_in_use(
    tx: &DatabaseTransaction,
    states: &[&InUse],
) -> Result<(), StoreError> {
    let row = |one: &&InUse| {
        let times = [one.upto, one.first_at, one.measured_at];
        let (key, provenance) = one.whose;
        let mut row = vec![key.into(), provenance.code().into()];
        row.push(VERSION.into());
        row.extend(times.map(Value::from));
        row.push(mark(&one.state).into());
        row.extend([one.state.risk.clone().into(), one.state.rest.clone().into()]);
        row
    };
    let insert = "INSERT INTO device_insights \
        (device_key, provenance, version, upto, first_at, measured_at, mark, risk, rest)";
    let merge = "ON CONFLICT (device_key, provenance) DO UPDATE SET version = excluded.version, \
        upto = excluded.upto, first_at = excluded.first_at, \
        measured_at = excluded.measured_at, mark = excluded.mark, \
        risk = excluded.risk, rest = excluded.rest";
    let rows = states.iter().map(row).collect();
    upsert(tx, insert, rows, merge).await
}

/// Puts states beside those in use.
pub(super) async fn put_days(
    tx: &DatabaseTransaction,
    days: &[(Whose, Day, &Encoded)],
) -> Result<(), StoreError> {
    let row = |((key, provenance), day, state): &(Whose, Day, &Encoded)| {
        let numbers = [*key, provenance.code(), day.until, VERSION, day.upto];
        let mut row = numbers.map(Value::from).to_vec();
        row.extend([state.risk.clone().into(), state.rest.clone().into()]);
        row
    };
    let insert = "INSERT INTO device_insight_days \
        (device_key, provenance, until_at, version, upto, risk, rest)";
    let merge = "ON CONFLICT (device_key, provenance, until_at) DO UPDATE SET \
        version = excluded.version, upto = excluded.upto, risk = excluded.risk, rest = excluded.rest";
    let rows = days.iter().map(row).collect();
    upsert(tx, insert, rows, merge).await
}

/// Deletes rows of a table by columns that are keys of it.
pub(super) async fn delete<const N: usize>(
    tx: &DatabaseTransaction,
    (table, columns): (&str, [&str; N]),
    keys: &[[i64; N]],
) -> Result<(), StoreError> {
    let (columns, mut keys) = (columns.join(", "), keys);
    let values: Vec<String> = (1..=N).map(|index| format!("v.column{index}")).collect();
    for size in group_sizes(keys.len(), ROWS_MAX) {
        let (group, rest) = keys.split_at(size);
        let values = values.join(", ");
        let mut sql = Sql::new(format!(
            "DELETE FROM {table} WHERE ({columns}) IN (SELECT {values} FROM "
        ));
        sql.rows_of(tx.get_database_backend(), group).push(")");
        run(tx, sql).await?;
        keys = rest;
    }
    Ok(())
}

/// A number that is another one for other bytes (FNV-1a by Fowler, Noll and Vo).
fn mark(state: &Encoded) -> i64 {
    let bytes = state.risk.iter().chain(&state.rest);
    let mark = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |mark, byte| {
        (mark ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    i64::from_be_bytes(mark.to_be_bytes())
}
