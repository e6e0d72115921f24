//! How long a statement of a reader may take.
//!
//! A request that is given up, because it took too long or its client has gone, leaves its statement
//! behind: a thread of SQLite, or a server of PostgreSQL, works on for nobody and keeps a connection
//! from others. Both are told when to stop.

use std::time::{Duration, Instant};

use sqlx::pool::PoolOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Sqlite, SqliteConnection};

use super::upkeep::is_worn;

/// Instructions of SQLite between two looks at the time: some milliseconds at most.
const STEPS: i32 = 10_000;

/// Stops what is read on connections to SQLite so long after they were taken from the pool.
pub(super) fn sqlite(pool: PoolOptions<Sqlite>, within: Option<Duration>) -> PoolOptions<Sqlite> {
    // each was looked at when it was given back, and is spoken to here
    let pool = pool.test_before_acquire(false);
    let pool = pool.before_acquire(move |connection, used| {
        let is_used = !is_worn(used.age);
        Box::pin(async move {
            if let Some(within) = within {
                begin(connection, within).await?;
            }
            Ok(is_used)
        })
    });
    match within {
        Some(within) => {
            pool.after_connect(move |connection, _| Box::pin(begin(connection, within)))
        }
        None => pool,
    }
}

async fn begin(connection: &mut SqliteConnection, within: Duration) -> Result<(), sqlx::Error> {
    let mut handle = connection.lock_handle().await?;
    let began = Instant::now();
    handle.set_progress_handler(STEPS, move || began.elapsed() < within);
    Ok(())
}

/// Has PostgreSQL stop a statement after so long.
pub(super) fn postgres(options: PgConnectOptions, within: Option<Duration>) -> PgConnectOptions {
    match within {
        Some(within) => options.options([("statement_timeout", within.as_millis())]),
        None => options,
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::ConnectionTrait as _;

    use super::super::error::{Cause, cause_of};
    use super::super::location::Location;
    use super::super::open::connect;
    use super::*;

    /// Counts for longer than anybody waits.
    const FOR_EVER: &str = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) \
        SELECT count(*) FROM c";
    const WITHIN: Duration = Duration::from_millis(300);

    #[tokio::test]
    async fn a_statement_that_takes_too_long_is_stopped_and_its_connection_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location {
            url: format!("sqlite://{}", folder.path().join("log.db").display()),
            readers_max: 1,
            reads_within: Some(WITHIN),
            create: true,
            ..Location::default()
        };
        let readers = connect(&location).await.unwrap().readers;
        for _ in 0..2 {
            let began = Instant::now();
            let error = readers.execute_unprepared(FOR_EVER).await.unwrap_err();
            assert!(error.to_string().contains("interrupted"), "{error}");
            // it may be asked again, as on PostgreSQL
            assert_eq!(cause_of(&error), Cause::Busy);
            assert!(began.elapsed() >= WITHIN);
            readers.execute_unprepared("SELECT 1").await.unwrap();
        }
        // nobody waits for it any more
        let given_up = tokio::time::timeout(WITHIN / 10, readers.execute_unprepared(FOR_EVER));
        assert!(given_up.await.is_err());
        readers.execute_unprepared("SELECT 1").await.unwrap();
    }

    #[test]
    fn postgresql_is_told_how_long_a_statement_may_take() {
        let told = |within| postgres(PgConnectOptions::new_without_pgpass(), within);
        let limited = told(Some(WITHIN));
        assert_eq!(limited.get_options(), Some("-c statement_timeout=300"));
        assert_eq!(told(None).get_options(), None);
    }
}
