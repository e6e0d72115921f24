//! Alerts and their rules as they stand.

use std::collections::HashMap;

use entity::{alert_rules, alert_transitions, alerts, device_status, devices};
use sea_orm::sea_query::Query;
use sea_orm::{
    ColumnTrait, Condition, DbBackend, EntityTrait, Order, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Select,
};

use super::{Part, Within, first_of_each, gathered};
use crate::event::{Instant, Position};
use crate::store::{Allowance, Doing, List, Store, StoreError, is_among};

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

/// Position of the first step of an alert.
///
/// # Errors
/// When the tables cannot be read.
pub async fn first_step(store: &Store, alert_id: &str) -> Result<Option<i64>, StoreError> {
    let query = alert_transitions::Entity::find()
        .select_only()
        .column(alert_transitions::Column::Position)
        .filter(alert_transitions::Column::AlertId.eq(alert_id))
        .order_by_asc(alert_transitions::Column::Position)
        .limit(1)
        .into_tuple::<i64>();
    let first = query.one(store.readers()).await;
    first.doing("read the first step of an alert")
}

/// The states of the steps of an alert before one of them, each once.
///
/// # Errors
/// When the tables cannot be read.
pub async fn states_before(
    store: &Store,
    alert_id: &str,
    step: Position,
) -> Result<Vec<String>, StoreError> {
    let query = alert_transitions::Entity::find()
        .select_only()
        .column(alert_transitions::Column::State)
        .distinct()
        .filter(alert_transitions::Column::AlertId.eq(alert_id))
        .filter(alert_transitions::Column::Position.lt(step.0))
        .into_tuple::<String>();
    let states = query.all(store.readers()).await;
    states.doing("read the steps of an alert")
}

/// The alerts that are not resolved.
///
/// # Errors
/// When the tables cannot be read.
pub async fn open(store: &Store) -> Result<Vec<AlertRow>, StoreError> {
    let query = alerts::Entity::find().filter(alerts::Column::State.ne("RESOLVED"));
    query.all(store.readers()).await.doing("read open alerts")
}

/// Alerts of some causes of some rules: those that are not resolved, or were after an instant, and those
/// that are silenced at another.
///
/// # Errors
/// When the tables cannot be read.
pub async fn of_causes(
    store: &Store,
    (rule_ids, causes): (Vec<String>, Vec<String>),
    (since, now): (Instant, Instant),
) -> Result<Vec<AlertRow>, StoreError> {
    let backend = store.backend();
    let among =
        |column: alerts::Column, ids: Vec<String>| is_among(column, List::Text(ids), backend);
    let silenced = alerts::Column::SilencedUntil;
    let concerned = Condition::any()
        .add(alerts::Column::State.ne("RESOLVED"))
        .add(silenced.gt(now.0))
        .add(alerts::Column::EndedAt.gte(since.0));
    let query = alerts::Entity::find()
        .filter(among(alerts::Column::RuleId, rule_ids))
        .filter(among(alerts::Column::Cause, causes))
        .filter(concerned)
        .order_by_asc(alerts::Column::OpenedAt);
    let rows = query.all(store.readers()).await;
    rows.doing("read the alerts of causes")
}

/// The alert of a cause by a rule that was opened last.
///
/// # Errors
/// When the tables cannot be read.
pub async fn last_of(
    store: &Store,
    (rule_id, cause): (&str, &str),
) -> Result<Option<AlertRow>, StoreError> {
    let query = alerts::Entity::find()
        .filter(alerts::Column::RuleId.eq(rule_id))
        .filter(alerts::Column::Cause.eq(cause))
        .order_by_desc(alerts::Column::OpenedAt)
        .limit(1);
    let row = query.one(store.readers()).await;
    row.doing("read the last alert of a cause")
}

/// Devices of which the last alert of a rule ended since an instant, and somebody else has resolved it than `by`.
///
/// # Errors
/// When the tables cannot be read.
pub async fn resolved_of(
    store: &Store,
    (rule_id, by): (&str, &str),
    since: Instant,
) -> Result<Vec<i64>, StoreError> {
    let query = alerts::Entity::find()
        .select_only()
        .columns([alerts::Column::DeviceKey, alerts::Column::ResolvedBy])
        .filter(alerts::Column::RuleId.eq(rule_id))
        .filter(alerts::Column::EndedAt.gte(since.0))
        .filter(alerts::Column::DeviceKey.is_not_null())
        .order_by_asc(alerts::Column::OpenedAt)
        .into_tuple::<(i64, Option<String>)>();
    let rows = query.all(store.readers()).await;
    let rows = rows.doing("read what was resolved of a rule")?;
    let last: HashMap<i64, Option<String>> = rows.into_iter().collect();
    let others = last.into_iter().filter(|(_, of)| of.as_deref() != Some(by));
    Ok(others.map(|(device, _)| device).collect())
}

/// When the first of the alerts of a rule ended that somebody else has resolved than `by`, since an instant.
///
/// # Errors
/// When the tables cannot be read.
pub async fn resolved_since(
    store: &Store,
    (rule_id, by): (&str, &str),
    since: Instant,
) -> Result<Option<Instant>, StoreError> {
    let ended_at = alerts::Column::EndedAt;
    let query = alerts::Entity::find()
        .select_only()
        .column(ended_at)
        .filter(alerts::Column::RuleId.eq(rule_id))
        .filter(alerts::Column::ResolvedBy.ne(by))
        .filter(ended_at.gte(since.0))
        .order_by_asc(ended_at)
        .limit(1)
        .into_tuple::<i64>();
    let first = query.one(store.readers()).await;
    let first = first.doing("read when alerts were resolved")?;
    Ok(first.map(Instant))
}

/// What of the list of alerts, those first that were opened last.
#[derive(Clone, Debug, Default)]
pub struct AlertsPage {
    /// Of this part of the fleet.
    pub within: Within,
    /// In one of these states.
    pub states: Option<Vec<String>>,
    /// Of one of these severities.
    pub severities: Option<Vec<String>>,
    /// Of this rule.
    pub rule_id: Option<String>,
    /// At this site, or of it; a key that is in no table finds nothing.
    pub site_key: Option<i64>,
    /// Of this device.
    pub device_key: Option<i64>,
    /// Which part of them.
    pub part: Part,
}

impl AlertsPage {
    fn rows(&self, backend: DbBackend) -> Select<alerts::Entity> {
        let words = |column: alerts::Column, words: &Option<Vec<String>>| {
            words.as_ref().map(|words| column.is_in(words.clone()))
        };
        let rule = self.rule_id.as_deref();
        let condition = Condition::all()
            .add(is_within(&self.within, backend))
            .add_option(words(alerts::Column::State, &self.states))
            .add_option(words(alerts::Column::Severity, &self.severities))
            .add_option(rule.map(|id| alerts::Column::RuleId.eq(id)))
            .add_option(self.site_key.map(|key| alerts::Column::SiteKey.eq(key)))
            .add_option(self.device_key.map(|key| alerts::Column::DeviceKey.eq(key)));
        alerts::Entity::find().filter(condition)
    }
}

/// The condition on alerts of a part of the fleet.
fn is_within(within: &Within, backend: DbBackend) -> Condition {
    let condition = match within {
        Within::Whole => None,
        Within::Sites(keys) => {
            let keys = List::Int(keys.clone());
            Some(is_among(alerts::Column::SiteKey, keys, backend))
        }
        Within::Device { device_key, .. } => Some(alerts::Column::DeviceKey.eq(*device_key)),
    };
    Condition::all().add_option(condition)
}

/// Bytes that an alert takes in memory, roughly.
fn weight_bytes(row: &AlertRow) -> usize {
    let reason = row.reason.as_ref().map_or(0, String::len);
    size_of::<AlertRow>() + row.cause.len() + reason
}

/// What alerts are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parent {
    /// A device.
    Device,
    /// A site, or something at it.
    Site,
}

/// Which open alerts of devices or sites.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpenAlerts {
    /// What they are of.
    pub parent: Parent,
    /// Of this part of the fleet.
    pub within: Within,
    /// Alerts at most of each.
    pub limit: i64,
}

/// The open alerts of each of some devices or sites, those first that were opened last, in one statement.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn open_of(
    store: &Store,
    keys: &[i64],
    asked: &OpenAlerts,
    allowance: &Allowance,
) -> Result<HashMap<i64, Vec<AlertRow>>, StoreError> {
    let (column, name) = match asked.parent {
        Parent::Device => (alerts::Column::DeviceKey, "device_key"),
        Parent::Site => (alerts::Column::SiteKey, "site_key"),
    };
    let number = format!(
        "row_number() OVER (PARTITION BY alerts.{name} \
         ORDER BY alerts.opened_at DESC, alerts.alert_id DESC)"
    );
    let query = alerts::Entity::find()
        .filter(alerts::Column::State.ne("RESOLVED"))
        .filter(is_among(column, List::Int(keys.to_vec()), store.backend()))
        .filter(is_within(&asked.within, store.backend()));
    let first = (query, number.as_str(), asked.limit);
    let order = [("opened_at", Order::Desc), ("alert_id", Order::Desc)];
    let weighed = (allowance, weight_bytes);
    let rows = first_of_each(store, first, &order, weighed, "read open alerts").await?;
    let mut of: HashMap<i64, Vec<AlertRow>> = HashMap::new();
    for row in rows {
        let key = match asked.parent {
            Parent::Device => row.device_key,
            Parent::Site => row.site_key,
        };
        of.entry(key.unwrap_or_default()).or_default().push(row);
    }
    Ok(of)
}

/// Alerts, those first that were opened last; those of a page from the end too.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn alerts_page(
    store: &Store,
    page: &AlertsPage,
    (limit, allowance): (u64, &Allowance),
) -> Result<Vec<AlertRow>, StoreError> {
    let columns = (alerts::Column::OpenedAt, alerts::Column::AlertId);
    let query = page
        .part
        .of(page.rows(store.backend()), columns)
        .limit(limit);
    let rows = query.stream(store.readers()).await.doing("read alerts")?;
    let rows = gathered(rows, (allowance, weight_bytes), "read alerts").await?;
    Ok(page.part.in_order(rows))
}

/// How many alerts there are on all pages.
///
/// # Errors
/// When the tables cannot be read.
pub async fn alerts_count(store: &Store, page: &AlertsPage) -> Result<u64, StoreError> {
    let count = page.rows(store.backend()).count(store.readers()).await;
    count.doing("count alerts")
}

/// Devices of which an open alert says that they are silent, by themselves or with all of their site. It
/// honours the hours of the sites and maintenance as the rules do.
///
/// # Errors
/// When the tables cannot be read.
pub async fn silent_devices(store: &Store) -> Result<u64, StoreError> {
    let gaps = Condition::all()
        .add(alerts::Column::State.ne("RESOLVED"))
        .add(alerts::Column::AlertCondition.eq("COLLECTION_GAP"));
    let of = |column: alerts::Column, cause: &str| {
        Query::select()
            .column(column)
            .from(alerts::Entity)
            .cond_where(gaps.clone())
            .and_where(alerts::Column::Cause.like(format!("{cause}/%")))
            .to_owned()
    };
    let silent = Condition::any()
        .add(devices::Column::DeviceKey.in_subquery(of(alerts::Column::DeviceKey, "device")))
        .add(devices::Column::SiteKey.in_subquery(of(alerts::Column::SiteKey, "site")));
    let query = devices::Entity::find()
        .inner_join(device_status::Entity)
        .filter(devices::Column::Lifecycle.eq("ACTIVE"))
        .filter(device_status::Column::LastSeenAt.is_not_null())
        .filter(silent);
    let count = query.count(store.readers()).await;
    count.doing("count silent devices")
}
