//! `alert_transitions`: an alert passed from one state to the next.

use sea_orm::entity::prelude::*;

/// One step of an alert.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "alert_transitions")]
pub struct Model {
    /// Global position of the event.
    #[sea_orm(primary_key, auto_increment = false)]
    pub position: i64,
    /// Key that its source gave it.
    pub event_id: Option<Uuid>,
    /// When it happened at its source: microseconds since 1970, UTC.
    pub occurred_at: i64,
    /// When it was appended: microseconds since 1970, UTC.
    pub recorded_at: i64,
    /// 0 REAL, 1 CONTROLLED, 2 SIMULATED.
    pub provenance: i64,
    /// The alert.
    pub alert_id: String,
    /// The rule that raised it.
    pub rule_id: String,
    /// What people call the rule.
    pub rule_name: Option<String>,
    /// What the rule watches for.
    pub alert_condition: String,
    /// What the alert is for.
    pub cause: String,
    /// The state from now on.
    pub state: String,
    /// How bad it is.
    pub severity: String,
    /// The device, if it is for one.
    pub device_key: Option<i64>,
    /// The site, if it is for one, or for something at one.
    pub site_key: Option<i64>,
    /// The job, if it is for one.
    pub job_id: Option<String>,
    /// How long what it is for has lasted by then, in milliseconds.
    pub duration_ms: Option<i64>,
    /// For how long nobody is told of it from now on, in seconds.
    pub silenced_seconds: Option<i64>,
    /// What was measured.
    pub value: Option<f64>,
    /// Beyond what an alert is raised.
    pub threshold: Option<f64>,
    /// Who or what moved it.
    pub changed_by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// What else the source said, as JSON.
    pub extra: Option<String>,
}

/// No relations: the log is joined by its readers.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
