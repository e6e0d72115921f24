//! Alerts and their rules as they stand.

use entity::{alert_rules, alerts};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder};

use crate::event::Instant;
use crate::store::{Doing, List, Store, StoreError, is_among};

/// An alert.
pub type AlertRow = alerts::Model;
/// A rule.
pub type RuleRow = alert_rules::Model;

/// The rules that were made or changed, deleted ones too, by their ids.
///
/// # Errors
/// When the tables cannot be read.
pub async fn rules(store: &Store) -> Result<Vec<RuleRow>, StoreError> {
    let query = alert_rules::Entity::find().order_by_asc(alert_rules::Column::RuleId);
    query.all(store.readers()).await.doing("read rules")
}

/// An alert by its id.
///
/// # Errors
/// When the tables cannot be read.
pub async fn alert(store: &Store, alert_id: &str) -> Result<Option<AlertRow>, StoreError> {
    let query = alerts::Entity::find_by_id(alert_id);
    query.one(store.readers()).await.doing("read an alert")
}

/// The alerts that are not resolved.
///
/// # Errors
/// When the tables cannot be read.
pub async fn open(store: &Store) -> Result<Vec<AlertRow>, StoreError> {
    let query = alerts::Entity::find().filter(alerts::Column::State.ne("RESOLVED"));
    query.all(store.readers()).await.doing("read open alerts")
}

/// Alerts of some causes of some rules: those that are not resolved, those that have one of some ids, and
/// those that are silenced at an instant.
///
/// # Errors
/// When the tables cannot be read.
pub async fn of_causes(
    store: &Store,
    (rule_ids, causes): (Vec<String>, Vec<String>),
    alert_ids: Vec<String>,
    now: Instant,
) -> Result<Vec<AlertRow>, StoreError> {
    let backend = store.backend();
    let among =
        |column: alerts::Column, ids: Vec<String>| is_among(column, List::Text(ids), backend);
    let silenced = alerts::Column::SilencedUntil;
    let concerned = Condition::any()
        .add(alerts::Column::State.ne("RESOLVED"))
        .add(silenced.gt(now.0))
        .add(among(alerts::Column::AlertId, alert_ids));
    let query = alerts::Entity::find()
        .filter(among(alerts::Column::RuleId, rule_ids))
        .filter(among(alerts::Column::Cause, causes))
        .filter(concerned)
        .order_by_asc(alerts::Column::OpenedAt);
    let rows = query.all(store.readers()).await;
    rows.doing("read the alerts of causes")
}
