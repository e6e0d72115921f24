//! How long events of each kind are kept: what was set, and else what the kind says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, QueryResult};

use super::{DAYS_MAX, RetentionError};
use crate::event::Instant;
use crate::kinds::{Keeping, Kind};
use crate::store::{Doing, Sql, Store, StoreError};

/// How long events of a kind are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The kind.
    pub kind: Kind,
    /// After how many days they go into segments; never when it is absent.
    pub archive_after_days: Option<u32>,
    /// After how many days they are deleted for good; never when it is absent.
    pub delete_after_days: Option<u32>,
    /// When that was set, and by whom; absent when nobody has.
    pub changed: Option<(Instant, String)>,
}

/// An age in a policy, as it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// It stays as it is.
    AsItIs,
    /// It is never reached.
    Never,
    /// So many days.
    Days(u32),
}

impl Age {
    const fn instead_of(self, held: Option<u32>) -> Option<u32> {
        match self {
            Self::AsItIs => held,
            Self::Never => None,
            Self::Days(days) => Some(days),
        }
    }

    fn is_within_bounds(self) -> bool {
        match self {
            Self::AsItIs | Self::Never => true,
            Self::Days(days) => (1..=DAYS_MAX).contains(&days),
        }
    }
}

const DAY_MS: i64 = 86_400_000;

impl Policy {
    /// What a kind says by itself; `None` for one that is never archived.
    fn of(kind: Kind) -> Option<Self> {
        let Keeping::Archived { after_days } = kind.spec().keeping else {
            return None;
        };
        Some(Self {
            kind,
            archive_after_days: Some(after_days),
            delete_after_days: None,
            changed: None,
        })
    }

    /// Before when events are to be archived. What is to be deleted is archived before, at once if it was
    /// not to be archived at all.
    #[must_use]
    pub fn archives_before(&self, now: Instant) -> Option<Instant> {
        let ages = self
            .archive_after_days
            .into_iter()
            .chain(self.delete_after_days);
        ages.min().map(|days| midnight_before(now, days))
    }

    /// Before when events are to be deleted.
    #[must_use]
    pub fn deletes_before(&self, now: Instant) -> Option<Instant> {
        self.delete_after_days
            .map(|days| midnight_before(now, days))
    }
}

/// The midnight of UTC before which something is older than so many days.
fn midnight_before(now: Instant, days: u32) -> Instant {
    let age_ms = i64::from(days).saturating_mul(DAY_MS);
    let then = now.plus_ms(-age_ms).0;
    Instant(then - then.rem_euclid(DAY_MS * 1_000))
}

/// How long events are kept, of each kind that is ever archived.
///
/// # Errors
/// When the tables cannot be read.
pub async fn policies(store: &Store) -> Result<Vec<Policy>, StoreError> {
    let doing = "read how long events are kept";
    let sql = Sql::new(
        "SELECT kind, archive_after_days, delete_after_days, changed_at, changed_by \
         FROM retention_policies",
    );
    let rows = store
        .readers()
        .query_all_raw(sql.statement(store.backend()));
    let mut set = HashMap::new();
    for row in rows.await.doing(doing)? {
        let code: i64 = row.try_get_by_index(0).doing(doing)?;
        let at = Instant(row.try_get_by_index(3).doing(doing)?);
        let by: String = row.try_get_by_index(4).doing(doing)?;
        let ages = (days_in(&row, 1)?, days_in(&row, 2)?);
        set.insert(code, (ages, (at, by)));
    }
    let policy = |kind: Kind| {
        let mut policy = Policy::of(kind)?;
        if let Some(((archive, delete), changed)) = set.remove(&kind.code()) {
            policy.archive_after_days = archive;
            policy.delete_after_days = delete;
            policy.changed = Some(changed);
        }
        Some(policy)
    };
    Ok(Kind::all().filter_map(policy).collect())
}

fn days_in(row: &QueryResult, index: usize) -> Result<Option<u32>, StoreError> {
    let days: Option<i64> = row
        .try_get_by_index(index)
        .doing("read how long events are kept")?;
    Ok(days.map(|days| u32::try_from(days).unwrap_or(DAYS_MAX)))
}

/// Sets after which ages events of a kind are archived and deleted. It holds from the next run on.
///
/// # Errors
/// When it is out of bounds, also together with an age that stays as it is, the kind is never archived, or it
/// cannot be kept.
pub async fn set(
    store: &Store,
    kind: Kind,
    ages: (Age, Age),
    by: &str,
) -> Result<(), RetentionError> {
    let Some(unset) = Policy::of(kind) else {
        return Err(RetentionError::KeptHere);
    };
    for (age, field) in [(ages.0, ARCHIVE), (ages.1, DELETE)] {
        if !age.is_within_bounds() {
            return Err(RetentionError::Days { field });
        }
    }
    let setting = Setting {
        unset,
        ages,
        at: store.clock().now(),
        by: by.to_owned(),
    };
    let refused: Arc<Mutex<Option<RetentionError>>> = Arc::default();
    let into = Arc::clone(&refused);
    store
        .transact_durably(move |tx| {
            Box::pin(async move {
                let error = setting.put(tx).await?;
                *into.lock().unwrap_or_else(PoisonError::into_inner) = error;
                Ok(())
            })
        })
        .await?;
    let refused = refused
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    refused.map_or(Ok(()), Err)
}

/// The fields that ages are given in.
const ARCHIVE: &str = "archiveAfterDays";
const DELETE: &str = "deleteAfterDays";

/// Ages that are to be set.
struct Setting {
    /// What holds when nothing was set.
    unset: Policy,
    ages: (Age, Age),
    at: Instant,
    by: String,
}

impl Setting {
    /// Sets them on what holds by now, unless they do not go together with it.
    async fn put(self, tx: &DatabaseTransaction) -> Result<Option<RetentionError>, StoreError> {
        let kind = self.unset.kind.code();
        let held = held(tx, kind)
            .await?
            .unwrap_or((self.unset.archive_after_days, self.unset.delete_after_days));
        let archive = self.ages.0.instead_of(held.0);
        let delete = self.ages.1.instead_of(held.1);
        if let Some((archive, delete)) = archive.zip(delete).filter(|(a, d)| d < a) {
            return Ok(Some(RetentionError::DeletedFirst {
                field: if self.ages.1 == Age::AsItIs {
                    ARCHIVE
                } else {
                    DELETE
                },
                archive,
                delete,
            }));
        }
        let mut sql = Sql::new(
            "INSERT INTO retention_policies \
             (kind, archive_after_days, delete_after_days, changed_at, changed_by) VALUES ",
        );
        sql.bind_list([
            kind.into(),
            archive.map(i64::from).into(),
            delete.map(i64::from).into(),
            self.at.0.into(),
            self.by.into(),
        ]);
        sql.push(
            " ON CONFLICT (kind) DO UPDATE SET archive_after_days = excluded.archive_after_days, \
             delete_after_days = excluded.delete_after_days, changed_at = excluded.changed_at, \
             changed_by = excluded.changed_by",
        );
        let set = tx.execute_raw(sql.statement(tx.get_database_backend()));
        set.await.doing("set how long events are kept")?;
        Ok(None)
    }
}

/// The ages that were set of a kind, which nobody else sets until the transaction ends.
async fn held(
    tx: &DatabaseTransaction,
    kind: i64,
) -> Result<Option<(Option<u32>, Option<u32>)>, StoreError> {
    let doing = "read how long events are kept";
    let backend = tx.get_database_backend();
    if backend == DbBackend::Postgres {
        let lock = Sql::new("LOCK TABLE retention_policies IN SHARE ROW EXCLUSIVE MODE");
        tx.execute_raw(lock.statement(backend)).await.doing(doing)?;
    }
    let mut sql = Sql::new(
        "SELECT archive_after_days, delete_after_days FROM retention_policies WHERE kind = ",
    );
    sql.bind(kind);
    let row = tx
        .query_one_raw(sql.statement(backend))
        .await
        .doing(doing)?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some((days_in(&row, 0)?, days_in(&row, 1)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_go_together() {
        let now = Instant::parse("2026-11-27T16:21:00Z").unwrap();
        let midnight = Instant::parse("2026-08-29T00:00:00Z").unwrap();
        assert_eq!(midnight_before(now, 90), midnight);
    }

    #[test]
    fn what_is_deleted_without_being_archived_is_archived_at_once() {
        let now = Instant::parse("2026-11-27T16:21:00Z").unwrap();
        let kinds = Kind::all().filter_map(Policy::of);
        for mut policy in kinds {
            policy.archive_after_days = None;
            assert_eq!(policy.archives_before(now), None);
            policy.delete_after_days = Some(7);
            assert_eq!(policy.archives_before(now), policy.deletes_before(now));
            policy.archive_after_days = Some(3);
            assert!(policy.archives_before(now) > policy.deletes_before(now));
        }
    }
}
