//! What the log says, summed up by time: of each device and each site, by quarters of an hour and by hours.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

use super::tables::{strict, typed};

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
        for (name, owner, site) in ROLLUPS {
            let sql = ROLLUP
                .replace("{name}", name)
                .replace("{owner}", owner)
                .replace("{site}", site)
                .replace(
                    "{site_key}",
                    if site.is_empty() { "" } else { ", site_key" },
                );
            create(db, &sql, by_key(backend)).await?;
        }
        for sql in STATE {
            create(db, sql, strict(backend)).await?;
        }
        db.execute_unprepared(SITE_INDEX).await?;
        Ok(())
    }
}

async fn create(db: &impl ConnectionTrait, sql: &str, form: &str) -> Result<(), DbErr> {
    let sql = typed(db.get_database_backend(), sql);
    db.execute_unprepared(&format!("{sql}{form}")).await?;
    Ok(())
}

/// On SQLite rows lie in the order of their keys, so that a device's or a site's stand together.
pub(crate) fn by_key(backend: DbBackend) -> &'static str {
    if backend == DbBackend::Sqlite {
        " STRICT, WITHOUT ROWID"
    } else {
        ""
    }
}

/// Each with what its rows are of, and where a device stood.
const ROLLUPS: [(&str, &str, &str); 4] = [
    (
        "device_rollups_15m",
        "device_key",
        "site_key {int} NOT NULL, ",
    ),
    (
        "device_rollups_1h",
        "device_key",
        "site_key {int} NOT NULL, ",
    ),
    ("site_rollups_15m", "site_key", ""),
    ("site_rollups_1h", "site_key", ""),
];

/// Events that name no device are of device 0, and what happened at no site is at site 0.
pub(crate) const ROLLUP: &str = "CREATE TABLE {name} (kind {int} NOT NULL, {owner} {int} NOT NULL, \
    provenance {int} NOT NULL, bucket_at {int} NOT NULL, {site}currency TEXT NOT NULL, \
    labels TEXT NOT NULL, cells {bytes} NOT NULL, \
    PRIMARY KEY (kind, {owner}, provenance, bucket_at{site_key}, currency, labels))";

const STATE: [&str; 2] = [
    // where a device stood and what held there, as far as the rollups have come
    "CREATE TABLE rollup_places (device_key {int} NOT NULL, from_at {int} NOT NULL, \
     until_at {int} NOT NULL, site_key {int} NOT NULL, time_zone TEXT NOT NULL, \
     currency TEXT NOT NULL, PRIMARY KEY (device_key, from_at))",
    // what each counter showed last
    "CREATE TABLE rollup_counters (device_key {int} NOT NULL, provenance {int} NOT NULL, \
     measure {int} NOT NULL, shown_at {int} NOT NULL, units {int} NOT NULL, \
     PRIMARY KEY (device_key, provenance, measure))",
];

const SITE_INDEX: &str = "CREATE INDEX rollup_places_site ON rollup_places (site_key, device_key)";
