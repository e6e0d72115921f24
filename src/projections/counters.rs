//! How many events of each kind and provenance there are, and over which time.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use sea_orm::DatabaseTransaction;

use super::upsert::upsert;
use crate::event::{Event, Provenance};
use crate::kinds::Kind;
use crate::store::{Fold, StoreError};

/// Counts events into `collection_counters`.
#[derive(Debug)]
pub(super) struct Counters;

impl Fold for Counters {
    fn name(&self) -> &'static str {
        "counters"
    }

    fn kinds(&self) -> &'static [Kind] {
        Kind::ALL
    }

    fn tables(&self) -> &'static [&'static str] {
        &["collection_counters"]
    }

    fn apply<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        events: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut counts: BTreeMap<(Kind, Provenance), (i64, i64, i64)> = BTreeMap::new();
            for event in events {
                let at = event.fact.occurred_at.0;
                let key = (event.fact.kind, event.fact.provenance);
                let (count, oldest, newest) = counts.entry(key).or_insert((0, at, at));
                *count += 1;
                *oldest = at.min(*oldest);
                *newest = at.max(*newest);
            }
            let rows = counts
                .into_iter()
                .map(|((kind, provenance), (count, oldest, newest))| {
                    let (kind, provenance) = (kind.code(), provenance.code());
                    [kind, provenance, count, oldest, newest]
                        .map(Into::into)
                        .to_vec()
                });
            upsert(tx, INSERT, rows.collect(), MERGE).await
        })
    }
}

const INSERT: &str =
    "INSERT INTO collection_counters (kind, provenance, records, oldest_at, newest_at)";
const MERGE: &str = "ON CONFLICT (kind, provenance) DO UPDATE SET \
    records = collection_counters.records + excluded.records, \
    oldest_at = CASE WHEN excluded.oldest_at < collection_counters.oldest_at \
    THEN excluded.oldest_at ELSE collection_counters.oldest_at END, \
    newest_at = CASE WHEN excluded.newest_at > collection_counters.newest_at \
    THEN excluded.newest_at ELSE collection_counters.newest_at END";
