//! Webhooks and recipients of mail, and what is sent to them.

use entity::{webhook_deliveries, webhooks};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use crate::event::Instant;
use crate::store::{Doing, Store, StoreError};

/// A webhook, or a recipient of mail.
pub type WebhookRow = webhooks::Model;
/// What is sent to one.
pub type DeliveryRow = webhook_deliveries::Model;

/// All webhooks and recipients, in the order in which they were made.
///
/// # Errors
/// When the tables cannot be read.
pub async fn all(store: &Store) -> Result<Vec<WebhookRow>, StoreError> {
    let query = webhooks::Entity::find()
        .order_by_asc(webhooks::Column::CreatedAt)
        .order_by_asc(webhooks::Column::WebhookId);
    query.all(store.readers()).await.doing("read webhooks")
}

/// A webhook or recipient by its id.
///
/// # Errors
/// When the tables cannot be read.
pub async fn one(store: &Store, webhook_id: &str) -> Result<Option<WebhookRow>, StoreError> {
    if webhook_id.contains('\0') {
        // no id has it, and PostgreSQL takes no such text
        return Ok(None);
    }
    let query = webhooks::Entity::find_by_id(webhook_id);
    query.one(store.readers()).await.doing("read a webhook")
}

/// A delivery by its id.
///
/// # Errors
/// When the tables cannot be read.
pub async fn delivery(store: &Store, id: Uuid) -> Result<Option<DeliveryRow>, StoreError> {
    let query = webhook_deliveries::Entity::find_by_id(id);
    query.one(store.readers()).await.doing("read a delivery")
}

/// The id of what is sent to a webhook of a step of an alert.
///
/// # Errors
/// When the tables cannot be read.
pub async fn delivery_of(
    store: &Store,
    (webhook_id, alert_id): (&str, &str),
    step: i64,
) -> Result<Option<Uuid>, StoreError> {
    let query = webhook_deliveries::Entity::find()
        .select_only()
        .column(webhook_deliveries::Column::DeliveryId)
        .filter(webhook_deliveries::Column::WebhookId.eq(webhook_id))
        .filter(webhook_deliveries::Column::Position.eq(step))
        .filter(webhook_deliveries::Column::AlertId.eq(alert_id))
        .into_tuple::<Uuid>();
    query.one(store.readers()).await.doing("read a delivery")
}

/// The webhooks to which something is due by now that nobody has claimed.
///
/// # Errors
/// When the tables cannot be read.
pub async fn due_to(store: &Store, now: Instant) -> Result<Vec<String>, StoreError> {
    let claimed = webhook_deliveries::Column::ClaimedUntil;
    let free = Condition::any()
        .add(claimed.is_null())
        .add(claimed.lte(now.0));
    let query = webhook_deliveries::Entity::find()
        .select_only()
        .column(webhook_deliveries::Column::WebhookId)
        .distinct()
        .filter(webhook_deliveries::Column::State.eq("PENDING"))
        .filter(webhook_deliveries::Column::DueAt.lte(now.0))
        .filter(free)
        .into_tuple::<String>();
    query.all(store.readers()).await.doing("read what is due")
}

/// Place of a delivery in their list: its step, and its webhook.
pub type DeliveryPlace = (i64, String);

/// What is sent, or was: the newest first.
///
/// # Errors
/// When the tables cannot be read.
pub async fn deliveries(
    store: &Store,
    webhook_id: Option<&str>,
    states: Option<Vec<String>>,
    (after, limit): (Option<DeliveryPlace>, u64),
) -> Result<Vec<DeliveryRow>, StoreError> {
    let position = webhook_deliveries::Column::Position;
    let webhook = webhook_deliveries::Column::WebhookId;
    let after = after.map(|(step, id)| {
        let same = position.eq(step).and(webhook.gt(id.as_str()));
        position.lt(step).or(same)
    });
    let condition = Condition::all()
        .add_option(webhook_id.map(|id| webhook.eq(id)))
        .add_option(states.map(|states| webhook_deliveries::Column::State.is_in(states)))
        .add_option(after);
    let query = webhook_deliveries::Entity::find()
        .filter(condition)
        .order_by_desc(position)
        .order_by_asc(webhook)
        .limit(limit);
    query.all(store.readers()).await.doing("read deliveries")
}
