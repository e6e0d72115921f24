//! What is to be sent: each step of an alert is put in once for each webhook and recipient of mail that
//! wants it.
//!
//! It goes on from a checkpoint, and what is put in has an id that follows from the log, the webhook and the
//! step: so killed anywhere, or on two nodes, it is put in once, and tried again under the same id. A step is put in
//! as the log has it then, and not as it was when it was heard: what was erased since is not sent.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::deliver::Sender;
use super::sending::Sending;
use super::{Mailer, WebhookArgs};
use crate::configuration::Keyring;
use crate::event::{Event, Position};
use crate::history::alerts;
use crate::history::webhooks::{self, WebhookRow};
use crate::ingest::Ingest;
use crate::kinds::{Kind, enums, to_json};
use crate::projections::checkpoint;
use crate::store::{Doing, Failing, Identity, Present, Sql, Store, StoreError};

use entity::alert_transitions::Column;

/// Name of its checkpoint.
const CHECKPOINT: &str = "webhooks_put_in";
/// How often a step is read at most before it is put in.
const TRIES: usize = 8;
/// How it goes on after a failure.
pub(super) const FAILING: Failing = Failing {
    source: "the webhooks",
    effect: "webhooks are not sent, will go on where they were",
    waits: Duration::from_secs(1),
};
/// Namespace of the ids of deliveries.
const DELIVERIES: Uuid = Uuid::from_u128(0x0f3e_88a1_64c7_49b2_9d35_6a1e_c0d2_7b94);

/// Sends what becomes of alerts to webhooks, and mails it.
#[derive(Debug)]
pub struct Outbox {
    store: Store,
    sender: Sender,
}

impl Outbox {
    /// One that follows the log behind a door, and opens secrets with some keys.
    #[must_use]
    pub fn new(
        ingest: &Ingest,
        args: WebhookArgs,
        mailer: Option<Mailer>,
        keyring: Arc<Keyring>,
    ) -> Self {
        Self {
            store: ingest.store().clone(),
            sender: Sender::new(args.allow_private, mailer, keyring),
        }
    }

    /// Puts in and sends, the one beside the other, until it is told to stop. After a failure of the log it
    /// goes on from its checkpoint.
    pub async fn run(self, stop: CancellationToken) {
        let sending = Sending::new(self.store.clone(), self.sender);
        tokio::join!(follow(&self.store, &stop), sending.run(&stop));
    }
}

/// Puts in what is to be sent until it is told to stop.
async fn follow(store: &Store, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let Err(error) = tokio::select! {
            () = stop.cancelled() => return,
            followed = put_in_all(store) => followed,
        };
        FAILING.failed(store, &error, stop).await;
    }
}

async fn put_in_all(store: &Store) -> Result<Infallible, StoreError> {
    let mut from = checkpoint::position(store, CHECKPOINT).await?;
    if from == Position::START {
        // what is older than the first start is nobody's news
        from = store.committed_head().await?;
        if from > Position::START {
            checkpoint::advance(store, CHECKPOINT, from).await?;
        }
    }
    let mut tail = store.tail(from, Some(&[Kind::AlertTransition]));
    loop {
        for event in tail.next().await? {
            put_in(store, &event).await?;
        }
        checkpoint::advance(store, CHECKPOINT, tail.position()).await?;
    }
}

/// The id of what is sent of a step to a webhook. Positions are given anew after a restore, so that the step
/// is known by its log and the epoch of that too.
pub(super) fn delivery_id(log: Identity, webhook_id: &str, step: Position) -> Uuid {
    let Identity { log_id, epoch } = log;
    let name = format!("{log_id}/{epoch}/{webhook_id}/{step}");
    Uuid::new_v5(&DELIVERIES, name.as_bytes())
}

/// Puts a step of an alert in for each webhook that wants it.
async fn put_in(store: &Store, event: &Event) -> Result<(), StoreError> {
    let mut hooks = webhooks::all(store).await?;
    hooks.retain(|hook| wants(hook, event));
    if hooks.is_empty() {
        return Ok(());
    }
    let text = |column: Column| event.fact.cell(column).text().unwrap_or_default();
    let alert_id = text(Column::AlertId).to_owned();
    if text(Column::State) == "RESOLVED" {
        let before = alerts::states_before(store, &alert_id, event.position).await?;
        hooks.retain(|hook| was_told(hook, &before));
    }
    let ids = hooks.into_iter().map(|hook| hook.webhook_id);
    put_in_for(store, ids.collect(), (event.position, alert_id)).await
}

/// Puts a step in for some webhooks as it is now. It is read again if something may have been erased meanwhile.
async fn put_in_for(
    store: &Store,
    ids: Vec<String>,
    (position, alert_id): (Position, String),
) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    let (ids, alert_id): (Arc<[String]>, Arc<str>) = (ids.into(), alert_id.into());
    for _ in 0..TRIES {
        let (event, present) = store.present(position).await?;
        let Some(event) = event else { return Ok(()) };
        let of = (Arc::clone(&ids), Arc::clone(&alert_id));
        match put_in_as_it_is(store, of, (&event, present)).await {
            Err(StoreError::SegmentsMoved) => {}
            put => return put,
        }
    }
    Err(StoreError::SegmentsMoved)
}

async fn put_in_as_it_is(
    store: &Store,
    (ids, alert_id): (Arc<[String]>, Arc<str>),
    (event, present): (&Event, Present),
) -> Result<(), StoreError> {
    let body = json!({
        "position": event.position.to_string(),
        "recordedAt": event.recorded_at.to_string(),
        "event": to_json(event),
    });
    let (body, position, now) = (body.to_string(), event.position, store.clock().now());
    let log = store.identity();
    let put = store.transact(move |tx| {
        Box::pin(async move {
            present.hold(tx).await?;
            let mut sql = Sql::new(
                "INSERT INTO webhook_deliveries (delivery_id, webhook_id, position, alert_id, \
                 body, state, attempts, due_at, created_at) VALUES ",
            );
            for (ordinal, id) in ids.iter().enumerate() {
                let delivery_id = delivery_id(log, id, position);
                sql.push(if ordinal > 0 { ", " } else { "" });
                sql.bind_list([
                    delivery_id.into(),
                    id.as_str().into(),
                    position.0.into(),
                    (&*alert_id).into(),
                    body.as_str().into(),
                    "PENDING".into(),
                    0_i64.into(),
                    now.0.into(),
                    now.0.into(),
                ]);
            }
            sql.push(" ON CONFLICT DO NOTHING");
            run(tx, sql).await
        })
    });
    put.await
}

/// Whether a webhook wants a step of an alert.
fn wants(hook: &WebhookRow, event: &Event) -> bool {
    let text = |column: Column| event.fact.cell(column).text().unwrap_or_default();
    let has = |list: &[String], word: &str| list.iter().any(|other| other == word);
    let sites = list(&hook.site_ids);
    hook.is_enabled == 1
        && rank(text(Column::Severity)) <= rank(&hook.severity)
        && has(&list(&hook.states), text(Column::State))
        && (sites.is_empty() || has(&sites, text(Column::SiteKey)))
}

/// Whether a webhook wants to know that an alert is over, by the states that it had before. One that began
/// silenced and was never open is nobody's news, except of those who are told what is silenced.
fn was_told(hook: &WebhookRow, before: &[String]) -> bool {
    let states = list(&hook.states);
    let is_told = |state: &String| state == "OPEN" || states.contains(state);
    before.is_empty() || before.iter().any(is_told)
}

/// A list of texts as it is kept.
fn list(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_default()
}

/// Place of a severity: the set begins with the worst.
fn rank(severity: &str) -> usize {
    let mut words = enums::ALERT_SEVERITY.values.iter();
    let place = words.position(|(word, _)| *word == severity);
    place.unwrap_or(usize::MAX)
}

/// Runs a statement.
pub(super) async fn run(tx: &DatabaseTransaction, sql: Sql) -> Result<(), StoreError> {
    let statement = sql.statement(tx.get_database_backend());
    let done = tx.execute_raw(statement).await;
    done.doing("keep what is to be sent").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_takes_the_position_of_another_after_a_restore_has_another_id() {
        let id = |log_id: u128, epoch| {
            let log_id = Uuid::from_u128(log_id);
            delivery_id(Identity { log_id, epoch }, "w", Position(7))
        };
        assert_eq!(id(1, 1), id(1, 1));
        assert_ne!(id(1, 1), id(1, 2), "of another epoch");
        assert_ne!(id(1, 1), id(2, 1), "of another log");
    }
}
