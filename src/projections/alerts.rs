//! Rules of alerts, and alerts, as they stand: folded from their changes and steps.
//!
//! An alert that is resolved is moved by nothing any more. Whoever moves the alerts of a cause expects
//! a version of it, so that one cause has one open alert, whoever raises it.

use std::collections::BTreeMap;

use entity::{alert_rule_changes as change, alert_transitions as step};
use futures_util::future::BoxFuture;
use sea_orm::{DatabaseTransaction, Value};

use super::upsert::upsert;
use crate::event::{Event, Fact};
use crate::kinds::{Kind, Storage};
use crate::store::{Fold, StoreError, value_in, value_in_text};

/// Folds changes of rules and steps of alerts into `alert_rules` and `alerts`.
#[derive(Debug)]
pub(super) struct Alerts;

impl Fold for Alerts {
    fn name(&self) -> &'static str {
        "alerts"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::AlertRuleChange, Kind::AlertTransition]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["alert_rules", "alerts"]
    }

    fn changes(&self, fact: &Fact) -> Option<String> {
        if fact.kind == Kind::AlertRuleChange {
            return fact.cell(change::Column::RuleId).text().map(rule_entity);
        }
        let rule_id = fact.cell(step::Column::RuleId).text()?;
        Some(cause_entity(
            rule_id,
            fact.cell(step::Column::Cause).text()?,
        ))
    }

    fn apply<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        events: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut waiting = Waiting::default();
            for event in events {
                waiting.take(tx, event).await?;
            }
            waiting.write(tx).await
        })
    }
}

/// Name of a rule, for those who expect that nobody changes it.
pub(crate) fn rule_entity(rule_id: &str) -> String {
    format!("alert-rule/{rule_id}")
}

/// Name of the alerts of a cause, for those who expect that nobody moves them.
pub(crate) fn cause_entity(rule_id: &str, cause: &str) -> String {
    format!("alert/{rule_id}/{cause}")
}

/// Rows that wait to be written together: one of each rule and alert.
#[derive(Default)]
struct Waiting<'e> {
    rules: BTreeMap<&'e str, Vec<Value>>,
    alerts: BTreeMap<&'e str, Vec<Value>>,
}

impl<'e> Waiting<'e> {
    async fn take(&mut self, tx: &DatabaseTransaction, event: &'e Event) -> Result<(), StoreError> {
        let is_rule = event.fact.kind == Kind::AlertRuleChange;
        let id = if is_rule {
            event.fact.cell(change::Column::RuleId).text()
        } else {
            event.fact.cell(step::Column::AlertId).text()
        };
        let id = id.unwrap_or_default();
        if self.rules.contains_key(id) || self.alerts.contains_key(id) {
            self.write(tx).await?;
        }
        if is_rule {
            self.rules.insert(id, rule_row(event));
        } else {
            self.alerts.insert(id, alert_row(event));
        }
        Ok(())
    }

    async fn write(&mut self, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        let rules = std::mem::take(&mut self.rules).into_values();
        upsert(tx, INSERT_RULE, rules.collect(), MERGE_RULE).await?;
        let alerts = std::mem::take(&mut self.alerts).into_values();
        upsert(tx, INSERT_ALERT, alerts.collect(), MERGE_ALERT).await
    }
}

const INSERT_RULE: &str = "INSERT INTO alert_rules (rule_id, name, alert_condition, spec, \
    severity, state, created_at, created_by, changed_at, changed_by, position)";
const MERGE_RULE: &str = "ON CONFLICT (rule_id) DO UPDATE SET name = excluded.name, \
    alert_condition = excluded.alert_condition, spec = excluded.spec, \
    severity = excluded.severity, state = excluded.state, changed_at = excluded.changed_at, \
    changed_by = excluded.changed_by, position = excluded.position";

fn rule_row(event: &Event) -> Vec<Value> {
    let text = |column: change::Column| value_in_text(event.fact.cell(column));
    let (at, by) = (event.fact.occurred_at.0, change::Column::ChangedBy);
    vec![
        text(change::Column::RuleId),
        text(change::Column::Name),
        text(change::Column::AlertCondition),
        text(change::Column::Spec),
        text(change::Column::Severity),
        text(change::Column::State),
        at.into(),
        text(by),
        at.into(),
        text(by),
        event.position.0.into(),
    ]
}

const INSERT_ALERT: &str = "INSERT INTO alerts (alert_id, rule_id, rule_name, alert_condition, \
    cause, severity, device_key, site_key, job_id, state, started_at, opened_at, changed_at, \
    ended_at, acknowledged_at, acknowledged_by, silenced_until, resolved_by, reason, value, \
    threshold, provenance, position)";
const MERGE_ALERT: &str = "ON CONFLICT (alert_id) DO UPDATE SET state = excluded.state, \
    changed_at = excluded.changed_at, ended_at = excluded.ended_at, \
    acknowledged_at = coalesce(excluded.acknowledged_at, alerts.acknowledged_at), \
    acknowledged_by = coalesce(excluded.acknowledged_by, alerts.acknowledged_by), \
    silenced_until = CASE WHEN excluded.state = 'RESOLVED' THEN alerts.silenced_until \
    ELSE excluded.silenced_until END, resolved_by = excluded.resolved_by, \
    reason = excluded.reason, position = excluded.position WHERE alerts.state <> 'RESOLVED'";

/// The row of an alert as a step leaves it; what is said of its beginning holds for the first only.
fn alert_row(event: &Event) -> Vec<Value> {
    let cell = |column: step::Column| event.fact.cell(column);
    let text = |column: step::Column| value_in_text(cell(column));
    let at = event.fact.occurred_at;
    let is = |state: &str| cell(step::Column::State).text() == Some(state);
    let when = |state: &str| is(state).then_some(at.0).into();
    let by = |state: &str| {
        let by = is(state).then(|| cell(step::Column::ChangedBy).text());
        by.flatten().map(str::to_owned).into()
    };
    let lasted_ms = cell(step::Column::DurationMs).int().unwrap_or(0);
    let silenced = cell(step::Column::SilencedSeconds).int();
    let until = silenced.map(|seconds| at.plus_ms(seconds.saturating_mul(1_000)).0);
    vec![
        text(step::Column::AlertId),
        text(step::Column::RuleId),
        text(step::Column::RuleName),
        text(step::Column::AlertCondition),
        text(step::Column::Cause),
        text(step::Column::Severity),
        cell(step::Column::DeviceKey).int().into(),
        cell(step::Column::SiteKey).int().into(),
        text(step::Column::JobId),
        text(step::Column::State),
        at.plus_ms(lasted_ms.saturating_neg()).0.into(),
        at.0.into(),
        at.0.into(),
        when("RESOLVED"),
        when("ACKNOWLEDGED"),
        by("ACKNOWLEDGED"),
        until.into(),
        by("RESOLVED"),
        text(step::Column::Reason),
        value_in(Storage::Float, cell(step::Column::Value)),
        value_in(Storage::Float, cell(step::Column::Threshold)),
        event.fact.provenance.code().into(),
        event.position.0.into(),
    ]
}
