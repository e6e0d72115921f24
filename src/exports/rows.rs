//! Writes of the table of exports. Each changes a row only from the state that it must be in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend};

use super::{Code, Written};
use crate::event::Instant;
use crate::history::exports::ExportRow;
use crate::store::{Doing, Sql, Store, StoreError};

/// Runs a statement; how many rows it has changed. What somebody was told lasts whatever happens.
async fn run(store: &Store, sql: Sql, lasts: Lasts) -> Result<u64, StoreError> {
    let changed = Arc::new(AtomicU64::new(0));
    let into = Arc::clone(&changed);
    match lasts {
        Lasts::AtOnce => {
            let done = store.transact_durably(move |tx| Box::pin(change(tx, sql, into)));
            done.await?;
        }
        Lasts::Later => {
            let done = store.transact(move |tx| Box::pin(change(tx, sql, into)));
            done.await?;
        }
    }
    Ok(changed.load(Ordering::Relaxed))
}

async fn change(
    tx: &DatabaseTransaction,
    sql: Sql,
    into: Arc<AtomicU64>,
) -> Result<(), StoreError> {
    let done = tx.execute_raw(sql.statement(tx.get_database_backend()));
    let done = done.await.doing("keep what becomes of an export")?;
    into.store(done.rows_affected(), Ordering::Relaxed);
    Ok(())
}

/// When it is on the disk what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasts {
    AtOnce,
    Later,
}

/// Puts an export in unless its account has so many already that are not done; whether it was put in.
pub(super) async fn insert(
    store: &Store,
    row: ExportRow,
    unfinished_max: i64,
) -> Result<bool, StoreError> {
    let mut sql = Sql::new(
        "INSERT INTO exports (export_id, asked, format, state, events, bytes, position, restarts, \
         account, reach, administrators, created_by, created_at, changed_at) SELECT ",
    );
    let values: [sea_orm::Value; 14] = [
        row.export_id.into(),
        row.asked.into(),
        row.format.into(),
        row.state.into(),
        row.events.into(),
        row.bytes.into(),
        row.position.into(),
        row.restarts.into(),
        row.account.clone().into(),
        row.reach.into(),
        row.administrators.into(),
        row.created_by.into(),
        row.created_at.into(),
        row.changed_at.into(),
    ];
    for (ordinal, value) in values.into_iter().enumerate() {
        sql.push(if ordinal > 0 { ", " } else { "" });
        sql.bind(value);
    }
    sql.push(" WHERE (SELECT count(*) FROM exports WHERE account = ");
    sql.bind(row.account);
    sql.push(" AND state IN ('QUEUED', 'RUNNING')) < ");
    sql.bind(unfinished_max).push(" ON CONFLICT DO NOTHING");
    let changed = Arc::new(AtomicU64::new(0));
    let into = Arc::clone(&changed);
    let done = store.transact_durably(move |tx| Box::pin(change_alone(tx, sql, into)));
    done.await?;
    Ok(changed.load(Ordering::Relaxed) > 0)
}

/// Of those who ask at once each counts those before it.
async fn change_alone(
    tx: &DatabaseTransaction,
    sql: Sql,
    into: Arc<AtomicU64>,
) -> Result<(), StoreError> {
    lock(tx).await?;
    change(tx, sql, into).await
}

/// Nobody else asks for an export, or keeps what becomes of one, until this transaction ends.
pub(super) async fn lock(tx: &DatabaseTransaction) -> Result<(), StoreError> {
    if tx.get_database_backend() == DbBackend::Postgres {
        let lock = Sql::new("LOCK TABLE exports IN SHARE ROW EXCLUSIVE MODE");
        let locked = tx.execute_raw(lock.statement(DbBackend::Postgres)).await;
        locked.doing("lock the exports")?;
    }
    Ok(())
}

/// Cancels an export that is not done; whether it was one.
pub(super) async fn cancel(store: &Store, export_id: &str) -> Result<bool, StoreError> {
    let mut sql = Sql::new("UPDATE exports SET state = 'CANCELLED', changed_at = ");
    sql.bind(store.clock().now().0);
    sql.push(" WHERE state IN ('QUEUED', 'RUNNING') AND export_id = ");
    sql.bind(export_id);
    Ok(run(store, sql, Lasts::AtOnce).await? > 0)
}

/// Ends the time of an export that is done.
pub(super) async fn end(store: &Store, export_id: &str) -> Result<(), StoreError> {
    let now = store.clock().now().0;
    let mut sql = Sql::new("UPDATE exports SET expires_at = ");
    sql.bind(now).push(", changed_at = ").bind(now);
    sql.push(" WHERE state = 'DONE' AND expires_at > ")
        .bind(now);
    sql.push(" AND export_id = ").bind(export_id);
    run(store, sql, Lasts::AtOnce).await.map(drop)
}

/// Bytes of the files of an account.
pub(super) async fn kept_bytes(store: &Store, account: &str) -> Result<i64, StoreError> {
    let doing = "read how large exports are";
    let mut sql = Sql::new(
        "SELECT CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM exports WHERE state = 'DONE' AND account = ",
    );
    sql.bind(account);
    let row = store
        .readers()
        .query_one_raw(sql.statement(store.backend()));
    let row = row.await.doing(doing)?;
    let bytes = row.map(|row| row.try_get_by_index(0)).transpose();
    Ok(bytes.doing(doing)?.unwrap_or_default())
}

/// Begins an export with a file; whether it was waiting.
pub(super) async fn begin(store: &Store, export_id: &str, file: &str) -> Result<bool, StoreError> {
    let mut sql = Sql::new("UPDATE exports SET state = 'RUNNING', file = ");
    sql.bind(file).push(", changed_at = ");
    sql.bind(store.clock().now().0);
    sql.push(" WHERE state = 'QUEUED' AND export_id = ");
    sql.bind(export_id);
    Ok(run(store, sql, Lasts::Later).await? > 0)
}

/// Tells how far an export is; whether it is still to be made.
pub(super) async fn progress(
    store: &Store,
    export_id: &str,
    (written, total): (Written, Option<i64>),
) -> Result<bool, StoreError> {
    let mut sql = Sql::new("UPDATE exports SET events = ");
    sql.bind(written.events).push(", bytes = ");
    sql.bind(written.bytes).push(", events_total = ");
    sql.bind(total).push(", changed_at = ");
    sql.bind(store.clock().now().0);
    sql.push(" WHERE state = 'RUNNING' AND export_id = ");
    sql.bind(export_id);
    Ok(run(store, sql, Lasts::Later).await? > 0)
}

/// Tells that an export is done; whether it was still to be made.
pub(super) async fn done(
    store: &Store,
    export_id: &str,
    (written, expires_at): (Written, i64),
) -> Result<bool, StoreError> {
    let mut sql = Sql::new("UPDATE exports SET state = 'DONE', events = ");
    sql.bind(written.events).push(", events_total = ");
    sql.bind(written.events).push(", bytes = ");
    sql.bind(written.bytes).push(", expires_at = ");
    sql.bind(expires_at).push(", changed_at = ");
    sql.bind(store.clock().now().0);
    sql.push(" WHERE state = 'RUNNING' AND export_id = ");
    sql.bind(export_id);
    Ok(run(store, sql, Lasts::AtOnce).await? > 0)
}

/// Tells why an export has failed.
pub(super) async fn failed(
    store: &Store,
    export_id: &str,
    (code, message): (Code, &str),
) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE exports SET state = 'FAILED', error_code = ");
    sql.bind(code.word()).push(", error_message = ");
    // PostgreSQL takes no such text
    sql.bind(message.replace('\0', " ")).push(", changed_at = ");
    sql.bind(store.clock().now().0);
    sql.push(" WHERE state IN ('QUEUED', 'RUNNING') AND export_id = ");
    sql.bind(export_id);
    run(store, sql, Lasts::AtOnce).await.map(drop)
}

/// Tells why an export that is not made is not to be made any more. Whoever is just making it finds that.
pub(super) async fn fail(
    tx: &DatabaseTransaction,
    export_id: &str,
    ((code, why), now): ((Code, &str), Instant),
) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE exports SET state = 'FAILED', error_code = ");
    sql.bind(code.word()).push(", error_message = ").bind(why);
    sql.push(", changed_at = ").bind(now.0);
    sql.push(" WHERE state IN ('QUEUED', 'RUNNING') AND export_id = ");
    sql.bind(export_id);
    let failed = tx.execute_raw(sql.statement(tx.get_database_backend()));
    let doing = "tell why an export is not made";
    failed.await.doing(doing).map(drop)
}

/// Has an export wait again that was broken off.
pub(super) async fn again(store: &Store, export_id: &str) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        "UPDATE exports SET state = 'QUEUED', restarts = restarts + 1, events = 0, bytes = 0, \
         file = NULL, changed_at = ",
    );
    sql.bind(store.clock().now().0);
    sql.push(" WHERE state = 'RUNNING' AND export_id = ");
    sql.bind(export_id);
    run(store, sql, Lasts::Later).await.map(drop)
}

/// Has an export wait that may have been begun, though that was not heard, or was broken off since the server ends.
pub(super) async fn wait(store: &Store, export_id: &str) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        "UPDATE exports SET state = 'QUEUED', events = 0, bytes = 0, file = NULL, changed_at = ",
    );
    sql.bind(store.clock().now().0);
    sql.push(" WHERE state = 'RUNNING' AND export_id = ");
    sql.bind(export_id);
    run(store, sql, Lasts::Later).await.map(drop)
}

/// Tells that the time of those is over whose files are to be removed; how many there are.
pub(super) async fn expire(store: &Store) -> Result<u64, StoreError> {
    let now = store.clock().now().0;
    let mut sql = Sql::new("UPDATE exports SET state = 'EXPIRED', changed_at = ");
    sql.bind(now);
    sql.push(" WHERE state = 'DONE' AND expires_at <= ");
    sql.bind(now);
    run(store, sql, Lasts::Later).await
}

/// Forgets exports that have had no file since an instant.
pub(super) async fn forget(store: &Store, before: i64) -> Result<u64, StoreError> {
    let mut sql = Sql::new(
        "DELETE FROM exports WHERE state IN ('FAILED', 'CANCELLED', 'EXPIRED') AND changed_at < ",
    );
    sql.bind(before);
    run(store, sql, Lasts::Later).await
}
