//! A first start: killed at any moment it leaves what the next one can go on with, and several may
//! come at once.

use std::time::Duration;

use rand::RngExt;
use sqlx::{Connection, PgConnection};

use super::database::Database;

/// A database of each kind there is.
fn databases() -> impl Iterator<Item = Database> {
    std::iter::once(Database::sqlite()).chain(Database::postgres())
}

#[test]
fn a_first_start_that_is_killed_can_be_repeated() {
    for _ in 0..12 {
        for database in databases() {
            let mut first = database.start(&["migrate", "up"]);
            let moment = rand::rng().random_range(2_000..120_000);
            std::thread::sleep(Duration::from_micros(moment));
            first.kill();
            let again = database.run(&["migrate", "up"]);
            assert!(
                again.status.success(),
                "killed after {moment} µs: {again:?}"
            );
            let status = database.run(&["migrate", "status"]);
            assert!(status.status.success(), "{status:?}");
        }
    }
}

/// Longer than a statement may wait for a lock.
const LONG: Duration = Duration::from_secs(7);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_as_long_as_another_migrates() {
    let Some(database) = Database::postgres() else {
        return;
    };
    let mut other = PgConnection::connect(&database.url).await.unwrap();
    // the lock of those who migrate
    let lock = "BEGIN; SELECT pg_advisory_xact_lock(x'484F4D45504F5402'::bigint)";
    sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
    let mut waiting = database.start(&["migrate", "up"]);
    tokio::time::sleep(LONG).await;
    assert!(waiting.runs(), "{:?}", waiting.stderr());
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    let ended = waiting.end();
    assert!(ended.status.success(), "{ended:?}");
}

#[test]
fn several_first_starts_at_once_all_succeed() {
    for _ in 0..5 {
        for database in databases() {
            let started: Vec<_> = (0..3).map(|_| database.start(&["migrate", "up"])).collect();
            for program in started {
                let ended = program.end();
                assert!(ended.status.success(), "{ended:?}");
            }
        }
    }
}
