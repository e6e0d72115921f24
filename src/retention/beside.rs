//! What has the ids of persons beside the events that say who did something: what is folded from them, what is sent
//! of them, and tables that are of no event. Whatever keeps who did something is named here.

use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use crate::event::Instant;
use crate::exports;
use crate::kinds::{ERASED, Kind, may_be_person};
use crate::projections;
use crate::projections::jobs::JOBS;
use crate::store::{Beside, Doing, Folded, List, Sql, StoreError, Told};

/// All of it.
pub(super) const BESIDE: Beside = Beside {
    folded: FOLDED,
    told: TOLD,
    aside,
};

const FOLDED: &[Folded] = &[
    Folded {
        entity: Some(JOBS),
        ..folded(Kind::JobTransition, "jobs", "job_id", "created_by")
    },
    folded(Kind::AuditEntry, "access_keys", "key_id", "created_by"),
    folded(Kind::AuditEntry, "access_keys", "key_id", "revoked_by"),
    folded(
        Kind::AlertRuleChange,
        "alert_rules",
        "rule_id",
        "created_by",
    ),
    folded(
        Kind::AlertRuleChange,
        "alert_rules",
        "rule_id",
        "changed_by",
    ),
    folded(
        Kind::AlertTransition,
        "alerts",
        "alert_id",
        "acknowledged_by",
    ),
    folded(Kind::AlertTransition, "alerts", "alert_id", "resolved_by"),
];

const TOLD: &[Told] = &[Told {
    kind: Kind::AlertTransition,
    table: "webhook_deliveries",
    column: "body",
}];

/// Columns of tables that are of no event, in which it is said who did something.
const DOERS: [(&str, &str); 3] = [
    ("webhooks", "created_by"),
    ("retention_policies", "changed_by"),
    ("person_erasures", "asked_by"),
];

const fn folded(
    kind: Kind,
    table: &'static str,
    key: &'static str,
    column: &'static str,
) -> Folded {
    Folded {
        kind,
        table,
        key,
        column,
        entity: None,
    }
}

fn aside<'a>(
    tx: &'a DatabaseTransaction,
    (persons, now): (&'a [String], Instant),
) -> BoxFuture<'a, Result<(), StoreError>> {
    Box::pin(async move {
        let persons = persons.iter().filter(|person| may_be_person(person));
        let persons: Vec<String> = persons.cloned().collect();
        for (table, column) in DOERS {
            let mut sql = Sql::new(format!("UPDATE {table} SET {column} = "));
            sql.bind(ERASED).push(" WHERE ");
            sql.among(column, List::Text(persons.clone()));
            let blanked = tx.execute_raw(sql.statement(tx.get_database_backend()));
            blanked.await.doing("erase who did something")?;
        }
        exports::forget(tx, (&persons, now)).await?;
        regroup(tx).await
    })
}

/// The words of errors that were erased are in what errors have in common: they are grouped anew, if anything was
/// erased at all.
async fn regroup(tx: &DatabaseTransaction) -> Result<(), StoreError> {
    let doing = "look whether errors are to be grouped anew";
    let sql = Sql::new("SELECT count(*) FROM person_erasures WHERE state <> 'DONE' AND events > 0");
    let row = tx.query_one_raw(sql.statement(tx.get_database_backend()));
    let row = row.await.doing(doing)?;
    let erased = row.map(|row| row.try_get_by_index::<i64>(0)).transpose();
    if erased.doing(doing)?.unwrap_or_default() == 0 {
        return Ok(());
    }
    projections::begin_anew(tx, projections::groups::NAME).await
}
