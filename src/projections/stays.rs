//! Where each device stood from when until when: what it did stays with the site where it did it.
//!
//! A registration that comes late may part a stay, and then what was said before and after it counts, so
//! the stays of a device are made anew from all its registrations: those are few.

use sea_orm::{ConnectionTrait, DatabaseTransaction};

use crate::store::{Doing, List, Sql, StoreError};

/// Makes the stays of some devices anew.
pub(super) async fn derive(tx: &DatabaseTransaction, devices: Vec<i64>) -> Result<(), StoreError> {
    if devices.is_empty() {
        return Ok(());
    }
    let mut emptied = Sql::new("DELETE FROM device_stays WHERE ");
    emptied.among("device_key", List::Int(devices.clone()));
    let mut filled = Sql::new(FILL);
    held(&mut filled, devices);
    filled.push(") AS stay WHERE before IS NULL OR before <> site_key");
    for sql in [emptied, filled] {
        tx.execute_raw(sql.statement(tx.get_database_backend()))
            .await
            .doing("fold where devices stood")?;
    }
    Ok(())
}

/// A stay ends where the next begins, and the last one never; the first one has all time before as well,
/// since nothing is taken that is as old as 1970.
const FILL: &str = "INSERT INTO device_stays (device_key, from_at, until_at, site_key) \
    SELECT device_key, CASE WHEN before IS NULL THEN 0 ELSE occurred_at END, \
    coalesce(lead(occurred_at) OVER (PARTITION BY device_key ORDER BY occurred_at), \
    9223372036854775807), site_key FROM (";

/// The last registration of each instant, with the site that held before it.
fn held(sql: &mut Sql, devices: Vec<i64>) {
    sql.push(
        "SELECT device_key, occurred_at, site_key, \
         lag(site_key) OVER (PARTITION BY device_key ORDER BY occurred_at) AS before FROM (\
         SELECT device_key, occurred_at, site_key, \
         lead(occurred_at) OVER (PARTITION BY device_key ORDER BY occurred_at, position) AS next_at \
         FROM device_registrations WHERE ",
    );
    sql.among("device_key", List::Int(devices));
    sql.push(") AS said WHERE next_at IS NULL OR next_at > occurred_at");
}
