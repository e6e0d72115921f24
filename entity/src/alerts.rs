//! `alerts`: an alert as it stands.

use sea_orm::entity::prelude::*;

/// An alert as it stands.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "alerts")]
pub struct Model {
    /// The alert.
    #[sea_orm(primary_key, auto_increment = false)]
    pub alert_id: String,
    /// The rule that raised it.
    pub rule_id: String,
    /// What people called the rule then.
    pub rule_name: Option<String>,
    /// What the rule watches for.
    pub alert_condition: String,
    /// What it is for.
    pub cause: String,
    /// How bad it is.
    pub severity: String,
    /// The device, if it is for one.
    pub device_key: Option<i64>,
    /// The site, if it is for one, or for something at one.
    pub site_key: Option<i64>,
    /// The job, if it is for one.
    pub job_id: Option<String>,
    /// Its state.
    pub state: String,
    /// When what it is for began: microseconds since 1970, UTC.
    pub started_at: i64,
    /// When it was opened: microseconds since 1970, UTC.
    pub opened_at: i64,
    /// Its last step: microseconds since 1970, UTC.
    pub changed_at: i64,
    /// When what it is for was over: microseconds since 1970, UTC.
    pub ended_at: Option<i64>,
    /// When somebody took it up: microseconds since 1970, UTC.
    pub acknowledged_at: Option<i64>,
    /// Who took it up.
    pub acknowledged_by: Option<String>,
    /// Until when nobody is told of it: microseconds since 1970, UTC.
    pub silenced_until: Option<i64>,
    /// Who or what closed it.
    pub resolved_by: Option<String>,
    /// Why it moved last.
    pub reason: Option<String>,
    /// What was measured when it was opened.
    pub value: Option<f64>,
    /// Beyond what it was opened.
    pub threshold: Option<f64>,
    /// Where what it is for comes from: 0 REAL, 1 CONTROLLED, 2 SIMULATED.
    pub provenance: i64,
    /// Its last step.
    pub position: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
