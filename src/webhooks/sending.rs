//! Takes what is due and has it sent: each delivery by a task of its own, and a few at once to each
//! destination, so that one that does not answer delays no other.
//!
//! What is taken is claimed for a minute. A node that dies with a claim, or is stopped, has it tried again
//! after that. The tasks end with what began them.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, FromQueryResult};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::deliver::Sender;
use super::outbox::{FAILING, run};
use super::{WEBHOOKS_MAX, Way};
use crate::event::Instant;
use crate::history::webhooks::{self, DeliveryRow, WebhookRow};
use crate::store::{Doing, Sql, Store, StoreError};
use crate::ticks;

/// Deliveries at most that are sent at once to a destination.
const AT_ONCE_EACH: usize = 4;
/// Deliveries at most that are sent at once: as many as all destinations may have.
const AT_ONCE_MAX: usize = AT_ONCE_EACH * WEBHOOKS_MAX;
/// How long a claim holds: longer than an attempt takes.
const CLAIMED_MS: i64 = 60_000;
/// How often it looks what is due.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often what is done is forgotten, in looks: an hour.
const FORGET_EVERY: u32 = 7_200;
/// How long what is done is shown.
const KEPT_MS: i64 = 30 * 24 * 3_600 * 1_000;

/// What may keep those waiting that go there, and nobody else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Destination {
    /// A webhook.
    Web(String),
    /// The SMTP server, by which all mails go.
    Mail,
}

/// How much of what is due to whom may be taken.
#[derive(Debug)]
struct Room {
    webhook_ids: Vec<String>,
    deliveries: usize,
}

/// What is on its way.
#[derive(Debug)]
pub(super) struct Sending {
    store: Store,
    sender: Arc<Sender>,
    tasks: JoinSet<Result<(), StoreError>>,
    /// Where each task sends to.
    to: HashMap<Id, Destination>,
    looks: u32,
}

impl Sending {
    pub(super) fn new(store: Store, sender: Sender) -> Self {
        Self {
            store,
            sender: Arc::new(sender),
            tasks: JoinSet::new(),
            to: HashMap::new(),
            looks: 0,
        }
    }

    /// Sends until it is told to stop.
    pub(super) async fn run(mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let Err(error) = tokio::select! {
                () = stop.cancelled() => break,
                sent = self.send() => sent,
            };
            FAILING.failed(&self.store, &error, stop).await;
        }
        self.tasks.shutdown().await;
    }

    async fn send(&mut self) -> Result<Infallible, StoreError> {
        let mut looks = ticks::every(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = looks.tick() => self.forget_at_times().await?,
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended)?,
            }
            while let Some(ended) = self.tasks.try_join_next_with_id() {
                self.ended(ended)?;
            }
            self.begin().await?;
        }
    }

    /// Makes room for another. Of what was not kept the claim runs out, and it is tried again.
    fn ended(
        &mut self,
        ended: Result<(Id, Result<(), StoreError>), JoinError>,
    ) -> Result<(), StoreError> {
        let (id, sent) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), Err(StoreError::Panicked)),
        };
        self.to.remove(&id);
        sent
    }

    /// Takes what is due, as far as there is room, and begins to send it.
    async fn begin(&mut self) -> Result<(), StoreError> {
        let now = self.store.clock().now();
        let due = webhooks::due_to(&self.store, now).await?;
        if due.is_empty() {
            return Ok(());
        }
        let hooks = webhooks::all(&self.store).await?.into_iter();
        let hooks: HashMap<String, Arc<WebhookRow>> = hooks
            .map(|hook| (hook.webhook_id.clone(), Arc::new(hook)))
            .collect();
        let rooms = self.rooms(due, &hooks);
        if rooms.is_empty() {
            return Ok(());
        }
        for row in take_due(&self.store, rooms, now).await? {
            let hook = hooks.get(&row.webhook_id).cloned();
            let to = destination(&row.webhook_id, hook.as_deref());
            let (store, sender) = (self.store.clone(), Arc::clone(&self.sender));
            let sent = async move { sender.send(&store, &row, hook.as_deref()).await };
            let task = self.tasks.spawn(sent);
            self.to.insert(task.id(), to);
        }
        Ok(())
    }

    /// What may be taken. Of a webhook that is disabled it is nothing: what waits for it is kept.
    fn rooms(&self, due: Vec<String>, hooks: &HashMap<String, Arc<WebhookRow>>) -> Vec<Room> {
        let mut waiting: HashMap<Destination, Vec<String>> = HashMap::new();
        for id in due {
            let hook = hooks.get(&id).map(AsRef::as_ref);
            if hook.is_none_or(|hook| hook.is_enabled == 1) {
                waiting.entry(destination(&id, hook)).or_default().push(id);
            }
        }
        let mut left = AT_ONCE_MAX.saturating_sub(self.to.len());
        let rooms = waiting.into_iter().map(|(to, webhook_ids)| {
            let running = self.to.values().filter(|other| **other == to).count();
            let deliveries = AT_ONCE_EACH.saturating_sub(running).min(left);
            left -= deliveries;
            Room {
                webhook_ids,
                deliveries,
            }
        });
        rooms.filter(|room| room.deliveries > 0).collect()
    }

    async fn forget_at_times(&mut self) -> Result<(), StoreError> {
        self.looks = self.looks.wrapping_add(1);
        if self.looks.is_multiple_of(FORGET_EVERY) {
            forget(&self.store, self.store.clock().now()).await?;
        }
        Ok(())
    }
}

fn destination(webhook_id: &str, hook: Option<&WebhookRow>) -> Destination {
    match hook.map(Way::of) {
        Some(Way::Mail) => Destination::Mail,
        Some(Way::Web) | None => Destination::Web(webhook_id.to_owned()),
    }
}

/// Takes what is due by now, and claims it.
async fn take_due(
    store: &Store,
    rooms: Vec<Room>,
    now: Instant,
) -> Result<Vec<DeliveryRow>, StoreError> {
    let taken: Arc<Mutex<Vec<DeliveryRow>>> = Arc::default();
    let into = Arc::clone(&taken);
    let claimed = store.transact(move |tx| {
        Box::pin(async move {
            let mut all = Vec::new();
            for room in rooms {
                all.extend(claim(tx, room, now).await?);
            }
            *into.lock().unwrap_or_else(PoisonError::into_inner) = all;
            Ok(())
        })
    });
    claimed.await?;
    let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut taken))
}

async fn claim(
    tx: &DatabaseTransaction,
    room: Room,
    now: Instant,
) -> Result<Vec<DeliveryRow>, StoreError> {
    let backend = tx.get_database_backend();
    let doing = "claim what is to be sent";
    let mut sql = Sql::new("UPDATE webhook_deliveries SET attempts = attempts + 1, tried_at = ");
    sql.bind(now.0).push(", claimed_until = ");
    sql.bind(now.plus_ms(CLAIMED_MS).0);
    sql.push(
        " WHERE delivery_id IN (SELECT delivery_id FROM webhook_deliveries \
         WHERE state = 'PENDING' AND due_at <= ",
    );
    sql.bind(now.0)
        .push(" AND (claimed_until IS NULL OR claimed_until <= ")
        .bind(now.0)
        .push(") AND webhook_id IN ")
        .bind_list(room.webhook_ids.into_iter().map(Into::into));
    sql.push(" ORDER BY due_at LIMIT ")
        .bind(i64::try_from(room.deliveries).unwrap_or(i64::MAX));
    if backend == DbBackend::Postgres {
        sql.push(" FOR UPDATE SKIP LOCKED");
    }
    sql.push(") RETURNING *");
    let rows = tx
        .query_all_raw(sql.statement(backend))
        .await
        .doing(doing)?;
    let rows = rows
        .iter()
        .map(|row| DeliveryRow::from_query_result(row, ""));
    rows.collect::<Result<_, _>>().doing(doing)
}

/// Forgets what was done long ago, and what has waited so long for a webhook that is disabled.
async fn forget(store: &Store, now: Instant) -> Result<(), StoreError> {
    let before = now.plus_ms(-KEPT_MS);
    let gone = store.transact(move |tx| {
        Box::pin(async move {
            let mut sql = Sql::new("DELETE FROM webhook_deliveries WHERE created_at < ");
            sql.bind(before.0).push(
                " AND (state <> 'PENDING' OR webhook_id IN \
                 (SELECT webhook_id FROM webhooks WHERE is_enabled = 0))",
            );
            run(tx, sql).await
        })
    });
    gone.await
}
