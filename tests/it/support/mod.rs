//! What all tests stand on: a database for each test, a log on it, a clock by hand, events in short.
//!
//! A contract is an async function over a [`Database`]; [`contract!`] makes of it one test on SQLite
//! and one on PostgreSQL. A contract that is not listed is dead code, which the compiler reports.

#![expect(
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "the address of a test server comes from the environment, and surprises fail a test"
)]

mod database;
mod events;
mod folds;
pub(crate) mod lives;
mod log;
mod samples;
mod smtp;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

pub(crate) use database::{Backend, Database, connect};
pub(crate) use events::{
    FLEET_EVENTS, at, device, error, event, fleet, keyed_error, metrics, request, site, state, uuid,
};
pub(crate) use folds::{Gate, Patience, Poison, Scales};
pub(crate) use log::{TestLog, exactly_once, recorded};
pub(crate) use samples::{samples, value};
pub(crate) use smtp::{Mail, Smtp};

/// Whether the long modes are asked for: more rounds, more made up cases.
pub(crate) fn is_long() -> bool {
    std::env::var_os("HOMEPOT_TEST_LONG").is_some_and(|long| long == "1")
}

/// Makes `sqlite::name` and `postgres::name` of each contract.
macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test] fn $name() {
                $crate::support::run($crate::support::Backend::Sqlite, super::$name);
            })+
        }
        mod postgres {
            $(#[test] fn $name() {
                $crate::support::run($crate::support::Backend::Postgres, super::$name);
            })+
        }
    };
}
pub(crate) use contract;

/// Runs a contract on a fresh database, which is gone afterwards whether it held or not.
pub(crate) fn run<F, R>(backend: Backend, contract: F)
where
    F: FnOnce(Database) -> R,
    R: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let Some(database) = runtime.block_on(Database::make(backend)) else {
        return;
    };
    let held = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(contract(database.clone()));
    }));
    // aborts the tasks of logs that were left open, and with them their connections
    drop(runtime);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(database.remove());
    if let Err(panic) = held {
        resume_unwind(panic);
    }
}
