//! Rules of alerts watch for what insights say too. PostgreSQL takes another check of a column; SQLite only that of a
//! table which is made anew. And of error groups it is kept by which events they stand.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::tables::typed;

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
        db.execute_unprepared(&typed(db.get_database_backend(), CHAIN))
            .await?;
        for table in TABLES {
            if db.get_database_backend() == DbBackend::Postgres {
                checked(db, table).await?;
            } else {
                // views of others hold to the name of the table, and not to the table that is put aside
                db.execute_unprepared("PRAGMA legacy_alter_table = ON")
                    .await?;
                let made = anew(db, table).await;
                db.execute_unprepared("PRAGMA legacy_alter_table = OFF")
                    .await?;
                made?;
            }
        }
        Ok(())
    }
}

const CHAIN: &str =
    "ALTER TABLE error_group_states ADD COLUMN chain_at_position {int} NOT NULL DEFAULT 0";

const TABLES: [&str; 2] = ["alert_rule_changes", "alert_transitions"];
const BEFORE: &str =
    "alert_condition IN ('METRIC', 'STATE', 'ERROR_RATE', 'COLLECTION_GAP', 'JOB_FAILURE')";
const NOW: &str = "alert_condition IN ('METRIC', 'STATE', 'ERROR_RATE', 'COLLECTION_GAP', \
     'JOB_FAILURE', 'FAILURE_RISK', 'HEALTH', 'ANOMALY')";

async fn checked(db: &impl ConnectionTrait, table: &str) -> Result<(), DbErr> {
    let check = format!("{table}_alert_condition_check");
    // what is there holds to the narrower one
    let sql = format!(
        "ALTER TABLE {table} DROP CONSTRAINT {check}, \
         ADD CONSTRAINT {check} CHECK ({NOW}) NOT VALID"
    );
    db.execute_unprepared(&sql).await.map(drop)
}

/// Makes a table anew, with all that is in it, and what hangs on it.
async fn anew(db: &impl ConnectionTrait, table: &str) -> Result<(), DbErr> {
    let view = format!("report_{table}");
    let rows = db.query_all_raw(Statement::from_sql_and_values(
        DbBackend::Sqlite,
        "SELECT type, name, sql FROM sqlite_schema WHERE (tbl_name = $1 OR name = $2) \
         AND sql IS NOT NULL ORDER BY type = 'table' DESC, name",
        [table.into(), view.as_str().into()],
    ));
    let mut before = Vec::new();
    let mut made = Vec::new();
    for row in rows.await? {
        let what: String = row.try_get_by_index(0)?;
        let name: String = row.try_get_by_index(1)?;
        let sql: String = row.try_get_by_index(2)?;
        if what == "table" {
            if !sql.contains(BEFORE) {
                let message = format!("{table} has another check than was expected: {sql}");
                return Err(DbErr::Migration(message));
            }
            made.push(sql.replace(BEFORE, NOW));
            made.push(format!("INSERT INTO {table} SELECT * FROM {table}_before"));
            made.push(format!("DROP TABLE {table}_before"));
        } else {
            before.push(format!("DROP {what} {name}"));
            made.push(sql);
        }
    }
    before.push(format!("ALTER TABLE {table} RENAME TO {table}_before"));
    for sql in before.into_iter().chain(made) {
        db.execute_unprepared(&sql).await?;
    }
    Ok(())
}
