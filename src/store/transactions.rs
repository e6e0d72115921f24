//! How transactions begin.
//!
//! Whoever asks for one may go away before it has begun: a client that closes its socket, a request that takes too
//! long. The library then forgets that it has asked the server of PostgreSQL for one, since it counts what the server has
//! answered, and uses the connection again within it: what is read there next is of an old moment, and the next snapshot
//! fails. So a transaction begins in a task of its own; where nobody waits for it any more, it is ended. Until then it
//! keeps its place among those that wait for a connection.

use std::panic::resume_unwind;

use sea_orm::error::ConnAcquireErr;
use sea_orm::{
    AccessMode, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, IsolationLevel,
    SqliteTransactionMode, TransactionOptions, TransactionTrait as _,
};
use tracing::Instrument as _;

use super::error::{Doing as _, StoreError};

/// Begins a transaction that writes.
pub(crate) async fn begin(db: &DatabaseConnection) -> Result<DatabaseTransaction, StoreError> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let begun = begun(db, options).await;
    begun.doing("begin a transaction")
}

/// Begins a transaction that sees the tables as they are at its first statement until it ends. On SQLite each does.
pub(super) async fn snapshot(
    db: &DatabaseConnection,
    access_mode: Option<AccessMode>,
) -> Result<DatabaseTransaction, DbErr> {
    let mut options = TransactionOptions::default();
    if db.get_database_backend() == DbBackend::Postgres {
        options.isolation_level = Some(IsolationLevel::RepeatableRead);
        options.access_mode = access_mode;
    }
    begun(db, options).await
}

/// Begins a transaction, whether or not it is waited for until it has begun.
#[expect(
    clippy::disallowed_methods,
    reason = "the task ends once the transaction has begun, whoever waits for it"
)]
pub(super) async fn begun(
    db: &DatabaseConnection,
    options: TransactionOptions,
) -> Result<DatabaseTransaction, DbErr> {
    if db.get_database_backend() != DbBackend::Postgres {
        return db.begin_with_options(options).await;
    }
    let db = db.clone();
    let beginning = async move { db.begin_with_options(options).await };
    let begun = tokio::spawn(beginning.in_current_span());
    match begun.await {
        Ok(begun) => begun,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // the process ends
            Err(_) => Err(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed)),
        },
    }
}
