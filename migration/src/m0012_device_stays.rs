//! Where each device stood from when until when, so that what it did stays with the site where it did it.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::ConnectionTrait;

use crate::tables::{strict, typed};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[expect(elided_lifetimes_in_paths, reason = "the trait itself leaves it out")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let backend = db.get_database_backend();
        let sql = typed(backend, TABLE);
        db.execute_unprepared(&format!("{sql}{}", strict(backend)))
            .await?;
        for sql in [DEVICE_INDEX, SITE_INDEX, FILL] {
            db.execute_unprepared(sql).await?;
        }
        Ok(())
    }
}

/// The stays of a device are made from all that was said of it.
const DEVICE_INDEX: &str = "CREATE INDEX device_registrations_device ON device_registrations \
    (device_key, occurred_at)";

/// From `from_at` until just before `until_at`.
const TABLE: &str = "CREATE TABLE device_stays (device_key {int} NOT NULL, from_at {int} NOT NULL, \
    until_at {int} NOT NULL, site_key {int} NOT NULL, PRIMARY KEY (device_key, from_at))";

const SITE_INDEX: &str = "CREATE INDEX device_stays_site ON device_stays (site_key, device_key)";

/// A stay begins with the first registration at a site after others, the first one with 1970, since nothing
/// so old is taken, and ends where the next begins.
const FILL: &str = "INSERT INTO device_stays (device_key, from_at, until_at, site_key) \
    SELECT device_key, CASE WHEN before IS NULL THEN 0 ELSE occurred_at END, \
    coalesce(lead(occurred_at) OVER (PARTITION BY device_key ORDER BY occurred_at), \
    9223372036854775807), site_key FROM (\
    SELECT device_key, occurred_at, site_key, \
    lag(site_key) OVER (PARTITION BY device_key ORDER BY occurred_at) AS before FROM (\
    SELECT device_key, occurred_at, site_key, \
    lead(occurred_at) OVER (PARTITION BY device_key ORDER BY occurred_at, position) AS next_at \
    FROM device_registrations) AS said WHERE next_at IS NULL OR next_at > occurred_at) AS held \
    WHERE before IS NULL OR before <> site_key";
