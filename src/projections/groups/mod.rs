//! Groups of errors that are one error, of each provenance apart: what was counted of each, hour by hour and device by
//! device, and what people decided.
//!
//! Errors are folded in the order in which they were recorded, and what comes of them does not depend on that order, as
//! long as there is room ([`errors`](crate::insights::errors)). What is kept in memory between two batches is known by
//! the last event that it was told and by what tells all its events from others, and read anew where somebody else has
//! gone on from there, or where they were folded anew. Rows of another version of the method are answered by nobody, and
//! all is folded anew.

mod changed;
pub(crate) mod rows;
pub(crate) mod told;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use entity::error_group_states;
use futures_util::future::BoxFuture;
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, PaginatorTrait, QueryFilter};

use crate::event::{Event, Position, Provenance};
use crate::insights::errors::kept::VERSION;
use crate::insights::input::Severity;
use crate::kinds::Kind;
use crate::store::{Doing, Fold, StoreError};

pub(crate) use changed::{Changed, Tally};
use rows::Kept;

/// The name of the projection.
pub(crate) const NAME: &str = "error_groups";
/// What has a part in groups.
pub(crate) const KINDS: &[Kind] = &[Kind::ErrorLog, Kind::ErrorGroupChange];
/// The tables that it fills.
pub(crate) const TABLES: &[&str] = &[
    "error_group_states",
    "error_group_forms",
    "error_groups",
    "error_group_hours",
    "error_group_news",
];
/// Stands for all devices together where a row is of a device.
pub(crate) const ALL_DEVICES: i64 = -1;
/// Stands for no device where a row is of a device.
pub(crate) const NO_DEVICE: i64 = 0;

/// How severe an error is, in the tables.
pub(crate) const fn severity_code(severity: Severity) -> i64 {
    match severity {
        Severity::Info => 0,
        Severity::Warning => 1,
        Severity::Error => 2,
        Severity::Critical => 3,
    }
}

/// How severe an error is, by the number in the tables.
pub(crate) const fn severity_of(code: i64) -> Severity {
    match code {
        0 => Severity::Info,
        1 => Severity::Warning,
        2 => Severity::Error,
        _ => Severity::Critical,
    }
}

/// Folds errors, and what people decided about them, into groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    held: Mutex<BTreeMap<Provenance, Kept>>,
}

impl Groups {
    fn held(&self) -> MutexGuard<'_, BTreeMap<Provenance, Kept>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept of a provenance: as it is in memory, if the tables have gone no further, else as they have it.
    async fn kept(
        &self,
        tx: &DatabaseTransaction,
        provenance: Provenance,
    ) -> Result<Kept, StoreError> {
        let held = self.held().remove(&provenance);
        let head = rows::head(tx, provenance).await?;
        let upto = head.map(|head| (head.position, head.chain));
        if let Some(held) = held.filter(|held| upto == Some((held.position, held.chain))) {
            return Ok(held);
        }
        Ok(match head {
            Some(head) => rows::load(tx, provenance, head).await?,
            None => Kept::default(),
        })
    }
}

impl Fold for Groups {
    fn name(&self) -> &'static str {
        NAME
    }

    fn kinds(&self) -> &'static [Kind] {
        KINDS
    }

    fn tables(&self) -> &'static [&'static str] {
        TABLES
    }

    /// Whoever asks adds what is not folded yet.
    fn is_waited_for(&self) -> bool {
        false
    }

    fn is_of_another_version<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let others = error_group_states::Entity::find()
                .filter(error_group_states::Column::Version.ne(VERSION));
            let others = others.count(tx).await;
            Ok(others.doing("read by which version errors are grouped")? > 0)
        })
    }

    fn apply<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        events: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut told: BTreeMap<Provenance, Vec<&Event>> = BTreeMap::new();
            for event in events {
                told.entry(event.fact.provenance).or_default().push(event);
            }
            for (provenance, events) in told {
                let mut kept = self.kept(tx, provenance).await?;
                let mut changed = Changed {
                    // where nothing is kept yet all is written
                    has_new_form: kept.position == Position::START,
                    ..Changed::default()
                };
                for event in events {
                    changed.take(&kept.take(event));
                }
                rows::write(tx, (provenance, &kept), changed).await?;
                self.held().insert(provenance, kept);
            }
            Ok(())
        })
    }
}
