//! What is written of a night, each in the transaction of whoever does it.

use sea_orm::{ConnectionTrait, DatabaseTransaction, Value};

use crate::event::{Instant, Provenance};
use crate::insights::fleet::{FleetState, VERSION};
use crate::insights::number::{float, whole};
use crate::insights::risk::succession::Training;
use crate::store::{Doing, Sql, Store, StoreError};

/// The sums of a fleet at a midnight.
#[derive(Debug)]
pub(super) struct Sums {
    provenance: Provenance,
    day: Instant,
    made_at: Instant,
    devices: i64,
    bytes: Vec<u8>,
    site_pools: Vec<u8>,
}

impl Sums {
    /// What is written of a fleet that was summed up.
    pub(super) fn of(
        (provenance, day): (Provenance, Instant),
        fleet: &FleetState,
        made_at: Instant,
    ) -> Result<Self, StoreError> {
        let encoded = fleet.encode();
        let [bytes, site_pools] = encoded.map_err(|_| malformed("insight_fleets", "sums"))?;
        Ok(Self {
            provenance,
            day,
            made_at,
            devices: whole(float(fleet.risk.devices)),
            bytes,
            site_pools,
        })
    }
}

const fn malformed(table: &'static str, column: &'static str) -> StoreError {
    StoreError::Row { table, column }
}

/// Writes sums, in place of those of the same midnight.
pub(super) async fn put_sums(tx: &DatabaseTransaction, sums: Sums) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        "INSERT INTO insight_fleets (provenance, version, day, made_at, devices, sums, \
         site_pools) VALUES ",
    );
    sql.bind_list([
        sums.provenance.code().into(),
        VERSION.into(),
        sums.day.0.into(),
        sums.made_at.0.into(),
        sums.devices.into(),
        sums.bytes.into(),
        sums.site_pools.into(),
    ]);
    sql.push(
        " ON CONFLICT (provenance, version, day) DO UPDATE SET made_at = excluded.made_at, \
         devices = excluded.devices, sums = excluded.sums, site_pools = excluded.site_pools",
    );
    run(tx, sql).await
}

/// Writes a model that was trained. One that did not take the place of another is not written over one that did.
pub(super) async fn put_model(
    tx: &DatabaseTransaction,
    (provenance, day, trained_at): (Provenance, Instant, Instant),
    trained: Training,
) -> Result<(), StoreError> {
    let table = "insight_models";
    let is_accepted = i64::from(trained.succeeds());
    let model = postcard::to_stdvec(&trained.model).map_err(|_| malformed(table, "model"))?;
    let tried = trained.tried.as_ref().map(postcard::to_stdvec).transpose();
    let tried = tried.map_err(|_| malformed(table, "tried"))?;
    let report = serde_json::to_string(&trained.report);
    let report = report.map_err(|_| malformed(table, "report"))?;
    let mut sql = Sql::new(
        "INSERT INTO insight_models (provenance, version, day, trained_at, is_accepted, model, \
         tried, report) VALUES ",
    );
    sql.bind_list([
        provenance.code().into(),
        VERSION.into(),
        day.0.into(),
        trained_at.0.into(),
        is_accepted.into(),
        model.into(),
        Value::from(tried),
        report.into(),
    ]);
    sql.push(
        " ON CONFLICT (provenance, version, day) DO UPDATE SET trained_at = excluded.trained_at, \
         is_accepted = excluded.is_accepted, model = excluded.model, tried = excluded.tried, \
         report = excluded.report \
         WHERE excluded.is_accepted = 1 OR insight_models.is_accepted = 0",
    );
    run(tx, sql).await
}

/// Forgets what a fleet came to at all midnights but the last: it is summed up anew.
pub(super) async fn forget_fleets(store: &Store, provenance: Provenance) -> Result<(), StoreError> {
    let forgotten = store.transact(move |tx| {
        Box::pin(async move {
            let mut sql = Sql::new("DELETE FROM insight_fleets WHERE provenance = ");
            sql.bind(provenance.code()).push(" AND version = ");
            sql.bind(VERSION)
                .push(" AND day < (SELECT max(f.day) FROM insight_fleets f WHERE f.provenance = ");
            sql.bind(provenance.code()).push(" AND f.version = ");
            sql.bind(VERSION).push(")");
            run(tx, sql).await
        })
    });
    forgotten.await
}

/// Runs a statement.
pub(super) async fn run(tx: &DatabaseTransaction, sql: Sql) -> Result<(), StoreError> {
    let statement = sql.statement(tx.get_database_backend());
    let done = tx.execute_raw(statement).await;
    done.doing("keep what a fleet comes to").map(drop)
}
