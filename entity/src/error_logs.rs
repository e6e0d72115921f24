//! `error_logs`: something went wrong, on a device, in a service or in this server.

use sea_orm::entity::prelude::*;

/// One error.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "error_logs")]
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
    /// Where it went wrong.
    pub category: String,
    /// How bad it is.
    pub severity: String,
    /// What went wrong, for people.
    pub error_message: String,
    /// Code of the error.
    pub error_code: Option<String>,
    /// Stack trace.
    pub stack_trace: Option<String>,
    /// The device on which it happened. Key into `entity_keys`.
    pub device_key: Option<i64>,
    /// The user to whom it happened.
    pub user_id: Option<String>,
    /// Route template of the request that failed.
    pub endpoint: Option<String>,
    /// More that the source knows. JSON.
    pub context: Option<String>,
    /// What else the source said, as JSON.
    pub extra: Option<String>,
}

/// No relations: the log is joined by its readers.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
