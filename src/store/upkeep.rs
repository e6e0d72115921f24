//! Connections of a pool that are closed since they are old.
//!
//! The task by which the library looks after that itself may never come to an end: it counts what is free, and
//! reads that count in the instant in which it is below zero, which is a number of twenty digits (its issue 3645). A
//! processor is lost then, and so is whatever else waits for that thread. So no pool begins that task, and whoever
//! takes a connection looks at how old it is. Those that are free stay, and there are no more of them than were needed
//! at once.

use std::time::Duration;

use sqlx::Database;
use sqlx::pool::PoolOptions;

/// How old a connection becomes: what it remembers of statements and tables grows.
const AGE_MAX: Duration = Duration::from_mins(30);

/// A pool that begins no task of its own.
pub(super) fn by_whoever_takes<DB: Database>(pool: PoolOptions<DB>) -> PoolOptions<DB> {
    pool.idle_timeout(None).max_lifetime(None)
}

/// Whether a connection of some age that is about to be used is closed instead, and one is made in its place.
pub(super) fn is_worn(age: Duration) -> bool {
    age > AGE_MAX
}

/// A database in memory with all tables, for tests.
#[cfg(test)]
pub(super) async fn in_memory() -> sea_orm::DatabaseConnection {
    use migration::{Migrator, MigratorTrait as _};

    let mut options = sea_orm::ConnectOptions::new("sqlite::memory:");
    options.max_connections(1).sqlx_logging(false);
    options.idle_timeout(None).max_lifetime(None);
    let db = sea_orm::Database::connect(options).await.unwrap();
    Migrator::up(&db, None).await.unwrap();
    db
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteConnectOptions;

    use super::super::location::Location;
    use super::super::open::{connect, pool, sqlite_readers};
    use super::*;

    #[tokio::test]
    async fn no_pool_begins_a_task_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log.db");
        let location = Location {
            url: format!("sqlite://{}", file.display()),
            create: true,
            ..Location::default()
        };
        let connections = connect(&location).await.unwrap();
        let alone = connections.alone().await.unwrap();
        let of = |db: &sea_orm::DatabaseConnection| {
            let pool = db.get_sqlite_connection_pool().options();
            (pool.get_idle_timeout(), pool.get_max_lifetime())
        };
        assert_eq!(of(&connections.writer), (None, None));
        assert_eq!(of(&alone), (None, None));
        let readers = sqlite_readers(&SqliteConnectOptions::new(), &location);
        let readers = readers.options();
        assert_eq!(
            readers.get_idle_timeout().or(readers.get_max_lifetime()),
            None
        );
        let pool = pool(1);
        assert_eq!(pool.get_idle_timeout().or(pool.get_max_lifetime()), None);
    }

    #[test]
    fn a_connection_is_used_for_half_an_hour() {
        assert!(!is_worn(AGE_MAX));
        assert!(is_worn(AGE_MAX + Duration::from_secs(1)));
    }
}
