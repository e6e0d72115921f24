//! Folds for tests: one that fails, one that holds the writer up, one that weighs, one that asks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use homepot_analytics::event::Event;
use homepot_analytics::kinds::Kind;
use homepot_analytics::store::{Fold, StoreError};
use sea_orm::{ConnectionTrait, DatabaseTransaction, Statement};
use tokio::sync::Semaphore;

/// Fails the append of any error whose message is `poison`, as a statement would that cannot be run,
/// and panics at one whose message is `panic`.
#[derive(Debug)]
pub(crate) struct Poison;

impl Fold for Poison {
    fn name(&self) -> &'static str {
        "test_poison"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::ErrorLog]
    }

    fn tables(&self) -> &'static [&'static str] {
        &[]
    }

    fn apply<'a>(
        &'a self,
        _: &'a DatabaseTransaction,
        events: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let says = |word: &str| {
            let mut cells = events.iter().flat_map(|event| event.fact.cells.iter());
            cells.any(|cell| cell.text() == Some(word))
        };
        let (poisoned, faulty) = (says("poison"), says("panic"));
        Box::pin(async move {
            assert!(!faulty, "a fault that the test has made");
            if poisoned {
                Err(StoreError::Fold { what: "poison" })
            } else {
                Ok(())
            }
        })
    }
}

/// Holds every append of user activity up until the test lets it pass.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    waiting: Arc<Semaphore>,
    passing: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            waiting: Arc::new(Semaphore::new(0)),
            passing: Arc::new(Semaphore::new(0)),
        }
    }
}

impl Gate {
    /// Waits until an append stands before the gate.
    pub(crate) async fn reached(&self) {
        self.waiting.acquire().await.unwrap().forget();
    }

    /// Lets all pass from now on.
    pub(crate) fn open(&self) {
        self.passing.close();
    }
}

impl Fold for Gate {
    fn name(&self) -> &'static str {
        "test_gate"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::UserActivity]
    }

    fn tables(&self) -> &'static [&'static str] {
        &[]
    }

    fn apply<'a>(
        &'a self,
        _: &'a DatabaseTransaction,
        _: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.waiting.add_permits(1);
            // an error says that the gate is open
            let _ = self.passing.acquire().await;
            Ok(())
        })
    }
}

/// Weighs the errors that are folded at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scales {
    pub(crate) events: Arc<AtomicUsize>,
    pub(crate) heaviest_bytes: Arc<AtomicUsize>,
}

impl Fold for Scales {
    fn name(&self) -> &'static str {
        "test_scales"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::ErrorLog]
    }

    fn tables(&self) -> &'static [&'static str] {
        &[]
    }

    fn apply<'a>(
        &'a self,
        _: &'a DatabaseTransaction,
        events: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let bytes = events.iter().map(|event| event.fact.weight_bytes()).sum();
        self.events.fetch_add(events.len(), Ordering::SeqCst);
        self.heaviest_bytes.fetch_max(bytes, Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    }
}

/// Asks, whenever user activity is folded, how long a statement of its transaction may take, and how long that may do
/// nothing (PostgreSQL).
#[derive(Clone, Debug, Default)]
pub(crate) struct Patience {
    told: Arc<Mutex<Vec<String>>>,
}

impl Patience {
    /// What was answered.
    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

impl Fold for Patience {
    fn name(&self) -> &'static str {
        "test_patience"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::UserActivity]
    }

    fn tables(&self) -> &'static [&'static str] {
        &[]
    }

    fn apply<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        _: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let sql = "SELECT current_setting('statement_timeout') || ' ' || \
                current_setting('idle_in_transaction_session_timeout')";
            let statement = Statement::from_string(tx.get_database_backend(), sql);
            let row = tx.query_one_raw(statement).await.unwrap().unwrap();
            self.told
                .lock()
                .unwrap()
                .push(row.try_get_by_index(0).unwrap());
            Ok(())
        })
    }
}
