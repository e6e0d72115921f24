//! `audit_log`: somebody was let in or refused, or gave a command.

use sea_orm::entity::prelude::*;

/// One entry of the audit.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_log")]
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
    /// What was done.
    pub action: String,
    /// Whether it was done or refused.
    pub outcome: String,
    /// Who did it.
    pub actor: String,
    /// The mutation or command.
    pub operation: Option<String>,
    /// Id of what it was done to.
    pub target: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// From where: an address without its last part.
    pub ip_address: Option<String>,
    /// How many alike this entry stands for.
    pub occurrences: Option<i64>,
    /// Id of the access key that was made or revoked.
    pub key_id: Option<String>,
    /// What the key may do. JSON.
    pub key_grant: Option<String>,
    /// What else the source said, as JSON.
    pub extra: Option<String>,
}

/// No relations: the log is joined by its readers.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
