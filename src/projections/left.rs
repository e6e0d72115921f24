//! What is left of what projections have put off: those that nobody waits for are told apart, so that who waits until
//! everything is settled waits for them no more than until everything is folded.

use std::sync::atomic::{AtomicBool, Ordering};

use sea_orm::DatabaseTransaction;

use crate::store::{Fold, StoreError, is_put_off};

/// What is left of what was put off.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Whether anything is.
    any: AtomicBool,
    /// Whether anything is of a projection that is waited for.
    awaited: AtomicBool,
}

impl Left {
    /// The same as is left by now.
    pub(super) fn of(other: &Self) -> Self {
        let left = Self::default();
        left.set(other);
        left
    }

    /// Something of a projection is.
    pub(super) fn add(&self, fold: &dyn Fold) {
        self.any.store(true, Ordering::SeqCst);
        if fold.is_waited_for() {
            self.awaited.store(true, Ordering::SeqCst);
        }
    }

    /// Whether it is known already that something of a projection is.
    fn has(&self, fold: &dyn Fold) -> bool {
        let is_known = if fold.is_waited_for() {
            &self.awaited
        } else {
            &self.any
        };
        is_known.load(Ordering::SeqCst)
    }

    /// It is as much as another.
    pub(super) fn set(&self, other: &Self) {
        for (own, other) in [(&self.any, &other.any), (&self.awaited, &other.awaited)] {
            own.store(other.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    }

    /// Whether anything is.
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::SeqCst)
    }

    /// Whether anything is that is waited for.
    pub(super) fn awaited(&self) -> bool {
        self.awaited.load(Ordering::SeqCst)
    }
}

/// Notes when a projection has put something off.
pub(super) async fn note(
    tx: &DatabaseTransaction,
    fold: &dyn Fold,
    left: &Left,
) -> Result<(), StoreError> {
    if !left.has(fold) && is_put_off(tx, fold, None).await? {
        left.add(fold);
    }
    Ok(())
}
