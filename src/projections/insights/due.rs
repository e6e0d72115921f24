//! Writes down of which hours of which devices something is to be folded: what happened in hours that are over makes a
//! device due, in whatever order it came.

use std::collections::{BTreeMap, BTreeSet};

use entity::{
    device_registrations as devices, site_operating_schedules as schedules,
    site_registrations as sites,
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, Value};

use super::super::rollups::tables::run;
use super::super::upsert::upsert;
use super::{FOLD, Told};
use crate::event::{Event, Instant};
use crate::insights::device::VERSION;
use crate::insights::input::SECOND;
use crate::insights::replay::hour_of;
use crate::kinds::Kind;
use crate::store::{Doing, Sql, StoreError};

/// So long before the newest event an hour has to end to be over: what comes so late is awaited.
const AWAITED: i64 = 300 * SECOND;
/// From when on a device is due of which all is to be folded.
pub(super) const EVER: i64 = 0;

const INSERT_OPEN: &str = "INSERT INTO insight_open (hour_at, device_key, provenance)";
const INSERT_DUE: &str = "INSERT INTO insight_due (device_key, provenance, from_at)";
const MERGE_DUE: &str = "ON CONFLICT (device_key, provenance) DO UPDATE SET from_at = excluded.from_at \
    WHERE excluded.from_at < insight_due.from_at";

/// Before when hours are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Horizon {
    pub(crate) at: i64,
    version: i64,
}

impl Horizon {
    /// As it is kept; `None` while nothing is.
    pub(crate) async fn of(db: &impl ConnectionTrait) -> Result<Option<Self>, StoreError> {
        let sql = Sql::new("SELECT horizon_at, version FROM insight_horizon WHERE id = 1");
        let row = db.query_one_raw(sql.statement(db.get_database_backend()));
        let Some(row) = row.await.doing(FOLD)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            at: row.try_get_by_index(0).doing(FOLD)?,
            version: row.try_get_by_index(1).doing(FOLD)?,
        }))
    }

    /// Whether what is kept of devices is of the form that is kept now.
    pub(super) const fn is_of_this_version(self) -> bool {
        self.version == VERSION
    }

    async fn put(self, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        let insert = "INSERT INTO insight_horizon (id, horizon_at, version)";
        let merge = "ON CONFLICT (id) DO UPDATE SET horizon_at = excluded.horizon_at, version = excluded.version";
        let row = [1, self.at, self.version].map(Value::from).to_vec();
        upsert(tx, insert, vec![row], merge).await
    }
}

/// Takes events: those in hours that are over make their devices due, and others are written down until theirs is.
pub(super) async fn mark(tx: &DatabaseTransaction, events: &[&Event]) -> Result<(), StoreError> {
    let kept = Horizon::of(tx).await?;
    let newest = events.iter().map(|event| event.fact.occurred_at.0).max();
    let Some(newest) = newest else {
        return Ok(());
    };
    let before = kept.map_or(EVER, |kept| kept.at);
    let horizon = Horizon {
        at: hour_of(Instant(newest - AWAITED)).0.max(before),
        version: VERSION,
    };
    if let Some(kept) = kept.filter(|kept| !kept.is_of_this_version()) {
        begin_anew(tx, kept).await?;
    }
    if horizon.at > before {
        end_hours(tx, horizon.at).await?;
    }
    let mut open: BTreeSet<[i64; 3]> = BTreeSet::new();
    let mut due: BTreeMap<[i64; 2], i64> = BTreeMap::new();
    for event in events
        .iter()
        .filter(|event| super::facts::is_of_device(event))
    {
        let Some(device) = event.fact.device_key() else {
            continue;
        };
        let (hour, provenance) = (
            hour_of(event.fact.occurred_at).0,
            event.fact.provenance.code(),
        );
        if hour < horizon.at {
            let from = due.entry([device, provenance]).or_insert(hour);
            *from = hour.min(*from);
        } else {
            open.insert([hour, device, provenance]);
        }
    }
    let open = open.into_iter().map(|row| row.map(Value::from).to_vec());
    upsert(tx, INSERT_OPEN, open.collect(), "ON CONFLICT DO NOTHING").await?;
    put(tx, due).await?;
    let registered = events
        .iter()
        .filter(|event| hour_of(event.fact.occurred_at).0 < horizon.at);
    for event in registered {
        told_late(tx, event).await?;
    }
    if kept != Some(horizon) {
        horizon.put(tx).await?;
    }
    Ok(())
}

/// Makes devices due from an hour on, unless they are from an earlier one.
pub(super) async fn put(
    tx: &DatabaseTransaction,
    due: BTreeMap<[i64; 2], i64>,
) -> Result<(), StoreError> {
    let rows = due.into_iter();
    let rows = rows
        .map(|([device, provenance], from)| [device, provenance, from].map(Value::from).to_vec());
    upsert(tx, INSERT_DUE, rows.collect(), MERGE_DUE).await
}

/// What is kept is of another form: everything is folded again, and until it is nothing of it is there.
pub(super) async fn begin_anew(
    tx: &DatabaseTransaction,
    horizon: Horizon,
) -> Result<(), StoreError> {
    let again = format!(
        "{INSERT_DUE} SELECT device_key, provenance, {EVER} FROM device_insights WHERE TRUE {MERGE_DUE}"
    );
    let waiting = format!("UPDATE insight_due SET from_at = {EVER}");
    for sql in [
        again.as_str(),
        waiting.as_str(),
        "DELETE FROM device_insights",
        "DELETE FROM device_insight_days",
    ] {
        run(tx, Sql::new(sql)).await?;
    }
    let version = VERSION;
    Horizon { version, ..horizon }.put(tx).await
}

/// Makes the devices due of which something happened in hours that are over by now.
async fn end_hours(tx: &DatabaseTransaction, horizon: i64) -> Result<(), StoreError> {
    let mut sql = Sql::new(format!(
        "{INSERT_DUE} SELECT device_key, provenance, min(hour_at) FROM insight_open WHERE hour_at < "
    ));
    sql.bind(horizon);
    sql.push(" GROUP BY device_key, provenance ")
        .push(MERGE_DUE);
    run(tx, sql).await?;
    let mut sql = Sql::new("DELETE FROM insight_open WHERE hour_at < ");
    sql.bind(horizon);
    run(tx, sql).await
}

/// Of what something is registered or filed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Device,
    Site,
    Filed,
}

impl Said {
    /// What an event says, and its key; `None` for events of other kinds.
    fn of(event: &Event) -> Option<(Self, i64)> {
        let fact = &event.fact;
        let (said, key) = if fact.kind == Kind::DeviceRegistration {
            (Self::Device, fact.cell(devices::Column::DeviceKey))
        } else if fact.kind == Kind::SiteRegistration {
            (Self::Site, fact.cell(sites::Column::SiteKey))
        } else if fact.kind == Kind::SiteSchedule {
            (Self::Filed, fact.cell(schedules::Column::SiteKey))
        } else {
            return None;
        };
        Some((said, key.int()?))
    }

    const fn column(self) -> &'static str {
        match self {
            Self::Device => "device_key",
            Self::Site | Self::Filed => "site_key",
        }
    }
}

/// What is registered or filed for a time that is over makes the devices due of which something is folded.
async fn told_late(tx: &DatabaseTransaction, event: &Event) -> Result<(), StoreError> {
    let fact = &event.fact;
    let Some((said, key)) = Said::of(event) else {
        return Ok(());
    };
    let (table, column) = (fact.spec().table, said.column());
    let from = match said {
        Said::Filed => hour_of(fact.occurred_at).0,
        Said::Device | Said::Site => {
            let mut sql = Sql::new(format!(
                "SELECT min(occurred_at) FROM {table} WHERE {column} = "
            ));
            sql.bind(key);
            let first = tx.query_one_raw(sql.statement(tx.get_database_backend()));
            let first = first.await.doing(FOLD)?.map(|row| row.try_get_by_index(0));
            let first: Option<i64> = first.transpose().doing(FOLD)?.flatten();
            // what is registered first holds for all time before as well
            let is_first = first.is_none_or(|first| fact.occurred_at.0 <= first);
            if is_first {
                EVER
            } else {
                hour_of(fact.occurred_at).0
            }
        }
    };
    let mut of_devices = Sql::new("device_key");
    if said == Said::Device {
        of_devices.push(" = ").bind(key);
    } else {
        of_devices.push(" IN (SELECT r.device_key FROM device_registrations r WHERE r.site_key = ");
        of_devices.bind(key).push(")");
    }
    let mut sql = Sql::new(format!("{INSERT_DUE} SELECT device_key, provenance, "));
    sql.push(&from.to_string())
        .push(" FROM device_insights WHERE ");
    sql.add(of_devices.clone()).push(" ").push(MERGE_DUE);
    run(tx, sql).await?;
    // of one of which nothing is kept as yet a part may be folded already
    let mut sql = Sql::new("UPDATE insight_due SET from_at = ");
    sql.bind(from)
        .push(" WHERE from_at > ")
        .bind(from)
        .push(" AND ");
    sql.add(of_devices);
    run(tx, sql).await
}

impl Told {
    /// Looks how many devices are due, and up to when all others are folded.
    pub(super) async fn look(&self, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        let sql = Sql::new(
            "SELECT count(*), min(from_at), (SELECT max(horizon_at) FROM insight_horizon) FROM insight_due",
        );
        let row = tx
            .query_one_raw(sql.statement(tx.get_database_backend()))
            .await;
        let Some(row) = row.doing(FOLD)? else {
            return Ok(());
        };
        let from: Option<i64> = row.try_get_by_index(1).doing(FOLD)?;
        let horizon: Option<i64> = row.try_get_by_index(2).doing(FOLD)?;
        self.due.set(row.try_get_by_index(0).doing(FOLD)?);
        let until = [from, horizon].into_iter().flatten().min();
        self.until_seconds.set(until.unwrap_or_default() / SECOND);
        Ok(())
    }
}
