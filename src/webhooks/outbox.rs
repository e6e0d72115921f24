//! What is to be sent: each step of an alert for each webhook and recipient of mail that wants it, put in once and taken out
//! when it is due.
//!
//! It goes on from a checkpoint, and what is put in has an id that follows from the webhook and the step: so
//! killed anywhere, or on two nodes, it is put in once. What is taken out is claimed for a minute; a node
//! that dies with a claim has it tried again after that, under the same id.

use std::time::Duration;

use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde_json::json;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::deliver::{Sender, take_due};
use super::{Mailer, WebhookArgs};
use crate::event::{Event, Instant, Position};
use crate::history::webhooks::{self, WebhookRow};
use crate::ingest::Ingest;
use crate::kinds::{Kind, enums, to_json};
use crate::projections::checkpoint;
use crate::store::{Doing, Sql, Store, StoreError};
use crate::telemetry::chain;

use entity::alert_transitions::Column;

/// Name of its checkpoint.
const CHECKPOINT: &str = "webhooks_put_in";
/// How often it looks what is due.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often what is done is forgotten, in looks: an hour.
const FORGET_EVERY: u32 = 7_200;
/// How long what is done is shown.
const KEPT_MS: i64 = 30 * 24 * 3_600 * 1_000;
/// How long it waits after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// What it calls itself where faults are told.
const SOURCE: &str = "the webhooks";
/// Namespace of the ids of deliveries.
const DELIVERIES: Uuid = Uuid::from_u128(0x0f3e_88a1_64c7_49b2_9d35_6a1e_c0d2_7b94);

/// Sends what becomes of alerts to webhooks, and mails it.
#[derive(Debug)]
pub struct Outbox {
    ingest: Ingest,
    sender: Sender,
    looks: u32,
}

impl Outbox {
    /// One that follows the log behind a door.
    #[must_use]
    pub fn new(ingest: Ingest, args: WebhookArgs, mailer: Option<Mailer>) -> Self {
        Self {
            ingest,
            sender: Sender::new(args.allow_private, mailer),
            looks: 0,
        }
    }

    /// Sends until it is told to stop. After a failure of the log it goes on from its checkpoint.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let Err(error) = tokio::select! {
                () = stop.cancelled() => return,
                followed = self.follow() => followed,
            };
            let error = chain(&error).to_string();
            tracing::warn!(
                error,
                "webhooks are not sent, will go on from the checkpoint"
            );
            let store = self.ingest.store();
            store.faults().tell(SOURCE, store.clock().now(), error);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY_AFTER) => {}
            }
        }
    }

    async fn follow(&mut self) -> Result<std::convert::Infallible, StoreError> {
        let store = &self.ingest.store().clone();
        let mut from = checkpoint::position(store, CHECKPOINT).await?;
        if from == Position::START {
            // what is older than the first start is nobody's news
            from = store.committed_head().await?;
            if from > Position::START {
                checkpoint::advance(store, CHECKPOINT, from).await?;
            }
        }
        let mut tail = store.tail(from, Some(&[Kind::AlertTransition]));
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                events = tail.next() => {
                    for event in events? {
                        put_in(store, &event).await?;
                    }
                    checkpoint::advance(store, CHECKPOINT, tail.position()).await?;
                }
                _ = looks.tick() => self.send(store).await?,
            }
        }
    }

    /// Sends what is due.
    async fn send(&mut self, store: &Store) -> Result<(), StoreError> {
        let now = store.clock().now();
        self.looks = self.looks.wrapping_add(1);
        if self.looks.is_multiple_of(FORGET_EVERY) {
            forget(store, now).await?;
        }
        if !webhooks::is_due(store, now).await? {
            return Ok(());
        }
        let hooks = webhooks::all(store).await?;
        let due = take_due(store, now).await?;
        let sent = due.iter().map(|row| {
            let hook = hooks.iter().find(|hook| hook.webhook_id == row.webhook_id);
            self.sender.send(store, row, hook)
        });
        for sent in join_all(sent).await {
            sent?;
        }
        Ok(())
    }
}

/// The id of what is sent of a step to a webhook.
pub(super) fn delivery_id(webhook_id: &str, step: Position) -> Uuid {
    Uuid::new_v5(&DELIVERIES, format!("{webhook_id}/{step}").as_bytes())
}

/// Puts a step of an alert in for each webhook that wants it.
async fn put_in(store: &Store, event: &Event) -> Result<(), StoreError> {
    let hooks = webhooks::all(store).await?;
    let wanted = hooks.into_iter().filter(|hook| wants(hook, event));
    let ids: Vec<String> = wanted.map(|hook| hook.webhook_id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let alert_id = event.fact.cell(Column::AlertId).text();
    let alert_id = alert_id.unwrap_or_default().to_owned();
    let body = json!({
        "position": event.position.to_string(),
        "recordedAt": event.recorded_at.to_string(),
        "event": to_json(event),
    });
    let (body, position, now) = (body.to_string(), event.position, store.clock().now());
    let put = store.transact(move |tx| {
        Box::pin(async move {
            let mut sql = Sql::new(
                "INSERT INTO webhook_deliveries (delivery_id, webhook_id, position, alert_id, \
                 body, state, attempts, due_at, created_at) VALUES ",
            );
            for (ordinal, id) in ids.iter().enumerate() {
                let delivery_id = delivery_id(id, position);
                sql.push(if ordinal > 0 { ", " } else { "" });
                sql.bind_list([
                    delivery_id.into(),
                    id.as_str().into(),
                    position.0.into(),
                    alert_id.as_str().into(),
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
    let list = |text: &str| serde_json::from_str::<Vec<String>>(text).unwrap_or_default();
    let has = |list: &[String], word: &str| list.iter().any(|other| other == word);
    let sites = list(&hook.site_ids);
    hook.is_enabled == 1
        && rank(text(Column::Severity)) <= rank(&hook.severity)
        && has(&list(&hook.states), text(Column::State))
        && (sites.is_empty() || has(&sites, text(Column::SiteKey)))
}

/// Place of a severity: the set begins with the worst.
fn rank(severity: &str) -> usize {
    let mut words = enums::ALERT_SEVERITY.values.iter();
    let place = words.position(|(word, _)| *word == severity);
    place.unwrap_or(usize::MAX)
}

/// Forgets what was done long ago.
async fn forget(store: &Store, now: Instant) -> Result<(), StoreError> {
    let before = now.plus_ms(-KEPT_MS);
    let gone = store.transact(move |tx| {
        Box::pin(async move {
            let sql = "DELETE FROM webhook_deliveries WHERE state <> 'PENDING' AND created_at < ";
            let mut sql = Sql::new(sql);
            sql.bind(before.0);
            run(tx, sql).await
        })
    });
    gone.await
}

async fn run(tx: &DatabaseTransaction, sql: Sql) -> Result<(), StoreError> {
    let statement = sql.statement(tx.get_database_backend());
    let done = tx.execute_raw(statement).await;
    done.doing("keep what is to be sent").map(drop)
}
