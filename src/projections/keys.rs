//! The access keys that there are, and which were revoked. Whatever the order in which it is heard of, of
//! each key the first making and the first revocation by their own time count.

use std::collections::BTreeMap;

use entity::audit_log::Column;
use futures_util::future::BoxFuture;
use sea_orm::{DatabaseTransaction, Value};

use super::upsert::upsert;
use crate::event::{Event, Fact};
use crate::kinds::Kind;
use crate::store::{Fold, StoreError, value_in_text};

/// Folds the audit into `access_keys`.
#[derive(Debug)]
pub(super) struct Keys;

impl Fold for Keys {
    fn name(&self) -> &'static str {
        "access_keys"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::AuditEntry]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["access_keys"]
    }

    fn changes(&self, fact: &Fact) -> Option<String> {
        let change = Change::of(fact)?;
        Some(entity_of(change.key_id()))
    }

    fn apply<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        events: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut keys: BTreeMap<&str, Story<'_>> = BTreeMap::new();
            for event in events {
                if let Some(change) = Change::of(&event.fact) {
                    keys.entry(change.key_id()).or_default().add(&change, event);
                }
            }
            let rows = keys.into_iter().map(|(key_id, story)| story.row(key_id));
            upsert(tx, INSERT, rows.collect(), MERGE).await
        })
    }
}

/// What an entry of the audit changes of a key.
enum Change<'a> {
    Made(&'a str),
    Revoked(&'a str),
}

impl<'a> Change<'a> {
    fn of(fact: &'a Fact) -> Option<Self> {
        let text = |column: Column| fact.cell(column).text();
        let key_id = text(Column::KeyId)?;
        let has_grant = !fact.cell(Column::KeyGrant).is_null();
        match (text(Column::Action)?, text(Column::Outcome)?) {
            ("KEY_CREATED", "DONE") if has_grant => Some(Self::Made(key_id)),
            ("KEY_REVOKED", "DONE") => Some(Self::Revoked(key_id)),
            _ => None,
        }
    }

    const fn key_id(&self) -> &'a str {
        match self {
            Self::Made(key_id) | Self::Revoked(key_id) => key_id,
        }
    }
}

/// What is told of one key.
#[derive(Default)]
struct Story<'a> {
    made: Option<&'a Event>,
    revoked: Option<&'a Event>,
    position: i64,
}

impl<'a> Story<'a> {
    fn add(&mut self, change: &Change<'a>, event: &'a Event) {
        let first = match change {
            Change::Made(_) => &mut self.made,
            Change::Revoked(_) => &mut self.revoked,
        };
        if first.is_none_or(|first| event.fact.occurred_at < first.fact.occurred_at) {
            *first = Some(event);
        }
        self.position = self.position.max(event.position.0);
    }

    fn row(&self, key_id: &str) -> Vec<Value> {
        let text = |event: Option<&Event>, column: Column| match event {
            Some(event) => value_in_text(event.fact.cell(column)),
            None => Value::String(None),
        };
        let at = |event: Option<&Event>| Value::BigInt(event.map(|event| event.fact.occurred_at.0));
        vec![
            key_id.into(),
            text(self.made, Column::KeyGrant),
            at(self.made),
            text(self.made, Column::Actor),
            at(self.revoked),
            text(self.revoked, Column::Actor),
            self.position.into(),
        ]
    }
}

/// Name under which the changes of a key are counted.
pub(crate) fn entity_of(key_id: &str) -> String {
    format!("access_key/{key_id}")
}

const INSERT: &str = "INSERT INTO access_keys \
    (key_id, key_grant, created_at, created_by, revoked_at, revoked_by, position)";
const MERGE: &str = "ON CONFLICT (key_id) DO UPDATE SET \
    key_grant = CASE WHEN excluded.created_at < coalesce(access_keys.created_at, excluded.created_at + 1) \
        THEN excluded.key_grant ELSE access_keys.key_grant END, \
    created_by = CASE WHEN excluded.created_at < coalesce(access_keys.created_at, excluded.created_at + 1) \
        THEN excluded.created_by ELSE access_keys.created_by END, \
    created_at = CASE WHEN excluded.created_at < coalesce(access_keys.created_at, excluded.created_at + 1) \
        THEN excluded.created_at ELSE access_keys.created_at END, \
    revoked_by = CASE WHEN excluded.revoked_at < coalesce(access_keys.revoked_at, excluded.revoked_at + 1) \
        THEN excluded.revoked_by ELSE access_keys.revoked_by END, \
    revoked_at = CASE WHEN excluded.revoked_at < coalesce(access_keys.revoked_at, excluded.revoked_at + 1) \
        THEN excluded.revoked_at ELSE access_keys.revoked_at END, \
    position = CASE WHEN excluded.position > access_keys.position \
        THEN excluded.position ELSE access_keys.position END";
