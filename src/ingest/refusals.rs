//! Counts what was refused, by kind, field, code and device, and keeps the counts in a table.
//!
//! A hostile source cannot make the counts grow: only so many are kept apart, and a device is named
//! only when it is registered.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::event::Instant;
use crate::kinds::{Kind, Refusal};
use crate::store::{Doing, Sql, Store, StoreError};
use sea_orm::ConnectionTrait;

/// Counts kept apart at most between two writes.
const APART_MAX: usize = 1_000;
/// How often the counts are written.
const WRITE_EVERY: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Reason {
    kind: &'static str,
    field: String,
    code: &'static str,
    device: String,
}

/// Counts of refusals that are not yet written.
#[derive(Debug, Default)]
pub struct Refusals {
    counts: Mutex<HashMap<Reason, (i64, Instant)>>,
}

impl Refusals {
    /// Counts a refusal.
    pub fn count(&self, kind: Option<Kind>, device: Option<&str>, refusal: &Refusal, at: Instant) {
        let known = kind.is_some_and(|kind| {
            refusal
                .field
                .as_deref()
                .is_some_and(|field| kind.spec().index_of(field).is_some())
        });
        let field = if known {
            refusal.field.as_deref().unwrap_or_default()
        } else {
            ""
        };
        let reason = Reason {
            kind: kind.map_or("", |kind| kind.spec().wire),
            field: field.to_owned(),
            code: refusal.code.word(),
            device: device.unwrap_or_default().to_owned(),
        };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = if counts.len() < APART_MAX || counts.contains_key(&reason) {
            reason
        } else {
            Reason {
                field: String::new(),
                device: String::new(),
                ..reason
            }
        };
        let (count, last) = counts.entry(reason).or_insert((0, at));
        *count += 1;
        *last = at;
    }

    /// Writes the counts every so often until it is told to stop, and once more then.
    pub async fn run(&self, store: Store, stop: CancellationToken) {
        loop {
            let waited = stop.run_until_cancelled(sleep(WRITE_EVERY)).await;
            if let Err(error) = self.write(&store).await {
                let error = crate::telemetry::chain(&error).to_string();
                tracing::warn!(error, "cannot write the counts of refusals");
            }
            if waited.is_none() {
                break;
            }
        }
    }

    /// Writes the counts; what cannot be written is kept for the next time.
    pub(crate) async fn write(&self, store: &Store) -> Result<(), StoreError> {
        let taken = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *counts)
        };
        if taken.is_empty() {
            return Ok(());
        }
        let rows: Vec<(Reason, (i64, Instant))> = taken
            .iter()
            .map(|(reason, count)| (reason.clone(), *count))
            .collect();
        let written = store
            .transact(move |tx| Box::pin(async move { add(tx, rows).await }))
            .await;
        if written.is_err() {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            for (reason, (count, at)) in taken {
                let (kept, last) = counts.entry(reason).or_insert((0, at));
                *kept += count;
                *last = (*last).max(at);
            }
        }
        written
    }
}

async fn add(
    tx: &sea_orm::DatabaseTransaction,
    rows: Vec<(Reason, (i64, Instant))>,
) -> Result<(), StoreError> {
    for (reason, (count, at)) in rows {
        let mut sql = Sql::new(
            "INSERT INTO refusals (kind, field, code, device_id, refused, last_at) VALUES ",
        );
        sql.bind_list([
            reason.kind.into(),
            reason.field.into(),
            reason.code.into(),
            reason.device.into(),
            count.into(),
            at.0.into(),
        ]);
        sql.push(" ON CONFLICT (kind, field, code, device_id) DO UPDATE SET ");
        sql.push("refused = refusals.refused + excluded.refused, last_at = excluded.last_at");
        tx.execute_raw(sql.statement(tx.get_database_backend()))
            .await
            .doing("count refusals")?;
    }
    Ok(())
}
