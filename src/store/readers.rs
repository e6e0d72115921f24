//! The connections for readers, and the one way that their statements go.
//!
//! To ask before each statement whether the server of PostgreSQL is there would cost as much as a small
//! one. So a connection that was just used is taken for alive. Where it is not, since the server began
//! anew or ended the session, the statement that finds out is asked once more: nothing of it was handed on,
//! and what is read changes nothing. Each connection that was last used before is asked first then, so
//! that the second is none of the lost. A stream that has handed a row on fails, and so does a transaction.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::{Chain, Fuse, Iter, iter};
use sea_orm::prelude::async_trait::async_trait;
use sea_orm::sqlx::Postgres;
use sea_orm::sqlx::pool::PoolOptions;
use sea_orm::sqlx::{Connection as _, PgConnection};
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    ExecResult, QueryResult, QueryStream, Statement, StreamTrait,
};

use super::error::{Cause, cause_of, is_conflict, is_lost};
use super::transactions;
use super::upkeep::is_worn;

/// How long a connection to PostgreSQL that was just used is taken for alive.
const ALIVE_FOR: Duration = Duration::from_millis(500);

/// Connections that are only read on.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    db: DatabaseConnection,
    lost: Arc<Lost>,
    /// Where what could not be answered here is asked.
    instead: Option<Arc<Self>>,
}

impl Readers {
    /// Reads on these connections.
    pub(crate) const fn new(db: DatabaseConnection, lost: Arc<Lost>) -> Self {
        let instead = None;
        Self { db, lost, instead }
    }

    /// The same connections, and others to ask when they cannot answer.
    pub(super) fn or(self, others: Self) -> Self {
        let instead = Some(Arc::new(others));
        Self { instead, ..self }
    }

    /// Where a statement is asked that could not be answered here: the database is gone, or has stopped it
    /// for a reason of its own, such as a replica that has to go on.
    fn instead_of<T>(&self, answered: &Result<T, DbErr>) -> Option<&Self> {
        let error = answered.as_ref().err()?;
        let others = self.instead.as_deref()?;
        let is_gone = matches!(cause_of(error), Cause::Unreachable | Cause::Denied);
        // what only took too long would take as long elsewhere
        (is_gone || is_conflict(error)).then_some(others)
    }

    /// The connections themselves: what is asked there is asked once.
    pub(crate) const fn once(&self) -> &DatabaseConnection {
        &self.db
    }

    /// The connections themselves, to be changed.
    pub(crate) const fn once_mut(&mut self) -> &mut DatabaseConnection {
        &mut self.db
    }

    /// A connection that sees the tables as they are at its first statement until it is given back.
    pub(crate) async fn snapshot(&self) -> Result<DatabaseTransaction, DbErr> {
        let begin = || transactions::snapshot(&self.db, Some(AccessMode::ReadOnly));
        if self.db.get_database_backend() != DbBackend::Postgres {
            return begin().await;
        }
        let begun = match begin().await {
            Err(error) if is_lost(&error) => {
                self.lost.found();
                begin().await
            }
            begun => begun,
        };
        match self.instead_of(&begun) {
            Some(others) => Box::pin(others.snapshot()).await,
            None => begun,
        }
    }

    /// A statement to be asked elsewhere, should it not be answered here.
    fn again(&self, statement: &Statement) -> Option<Statement> {
        self.instead.is_some().then(|| statement.clone())
    }

    /// Asks, and once more if the connection was lost before there was an answer.
    async fn ask<T, Answer: Future<Output = Result<T, DbErr>>>(
        &self,
        statement: Statement,
        ask: impl Fn(Statement) -> Answer,
    ) -> Result<T, DbErr> {
        if self.db.get_database_backend() != DbBackend::Postgres {
            return ask(statement).await;
        }
        match ask(statement.clone()).await {
            Err(error) if is_lost(&error) => {
                tracing::debug!(%error, "a connection was lost; it is asked once more");
                self.lost.found();
                ask(statement).await
            }
            answered => answered,
        }
    }
}

#[async_trait]
impl ConnectionTrait for Readers {
    fn get_database_backend(&self) -> DbBackend {
        self.db.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.db.execute_raw(statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.db.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let ask = |statement| self.db.query_one_raw(statement);
        let again = self.again(&statement);
        let answered = self.ask(statement, ask).await;
        match self.instead_of(&answered).zip(again) {
            Some((others, again)) => others.query_one_raw(again).await,
            None => answered,
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let ask = |statement| self.db.query_all_raw(statement);
        let again = self.again(&statement);
        let answered = self.ask(statement, ask).await;
        match self.instead_of(&answered).zip(again) {
            Some((others, again)) => others.query_all_raw(again).await,
            None => answered,
        }
    }
}

/// A first row, and what follows it.
type Rows = Chain<Iter<std::option::IntoIter<Result<QueryResult, DbErr>>>, Fuse<QueryStream>>;

impl StreamTrait for Readers {
    type Stream<'a> = Rows;

    fn get_database_backend(&self) -> DbBackend {
        ConnectionTrait::get_database_backend(&self.db)
    }

    fn stream_raw<'a>(
        &'a self,
        statement: Statement,
    ) -> Pin<Box<dyn Future<Output = Result<Rows, DbErr>> + Send + 'a>> {
        Box::pin(async move {
            let again = self.again(&statement);
            let asked = self.ask(statement, async |statement| {
                let mut rows = self.db.stream_raw(statement).await?.fuse();
                // it is sent with the first row
                let first = rows.next().await.transpose()?;
                Ok(iter(first.map(Ok)).chain(rows))
            });
            let answered = asked.await;
            match self.instead_of(&answered).zip(again) {
                Some((others, again)) => others.stream_raw(again).await,
                None => answered,
            }
        })
    }
}

/// When a connection was last found to be lost.
#[derive(Debug)]
pub(crate) struct Lost {
    began: Instant,
    /// Microseconds since then; 0 when none was.
    found_us: AtomicU64,
}

impl Default for Lost {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            found_us: AtomicU64::new(0),
        }
    }
}

impl Lost {
    fn found(&self) {
        let now = micros(self.began.elapsed());
        self.found_us.fetch_max(now, Ordering::Relaxed);
    }

    /// Whether a connection that was used so long ago is to be asked before it is used again.
    fn leaves_in_doubt(&self, idle_for: Duration) -> bool {
        let used_us = micros(self.began.elapsed().saturating_sub(idle_for));
        idle_for > ALIVE_FOR || used_us <= self.found_us.load(Ordering::Relaxed)
    }

    /// Has connections of a pool asked before they are used, where that is in doubt.
    pub(super) fn looks_at(self: &Arc<Self>, pool: PoolOptions<Postgres>) -> PoolOptions<Postgres> {
        let lost = Arc::clone(self);
        pool.test_before_acquire(false).before_acquire(
            move |connection: &mut PgConnection, used| {
                let is_used = !is_worn(used.age);
                let is_in_doubt = is_used && lost.leaves_in_doubt(used.idle_for);
                Box::pin(async move {
                    if is_in_doubt {
                        connection.ping().await?;
                    }
                    Ok(is_used)
                })
            },
        )
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_in_doubt_when_it_was_long_idle_or_used_before_another_was_lost() {
        let lost = Lost {
            began: Instant::now().checked_sub(Duration::from_mins(1)).unwrap(),
            found_us: AtomicU64::new(0),
        };
        assert!(!lost.leaves_in_doubt(Duration::ZERO));
        assert!(!lost.leaves_in_doubt(ALIVE_FOR));
        assert!(lost.leaves_in_doubt(ALIVE_FOR + Duration::from_millis(1)));
        lost.found();
        assert!(lost.leaves_in_doubt(Duration::from_millis(100)));
        let later = Lost {
            began: lost.began.checked_sub(Duration::from_secs(1)).unwrap(),
            ..lost
        };
        assert!(!later.leaves_in_doubt(Duration::from_millis(100)));
    }
}
