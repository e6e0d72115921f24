//! `api_request_logs`: a request to an API was answered.

use sea_orm::entity::prelude::*;

/// One request to an API.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "api_request_logs")]
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
    /// Route template, not the raw path.
    pub endpoint: String,
    /// HTTP method.
    pub method: String,
    /// HTTP status.
    pub status_code: i64,
    /// Time to answer, in milliseconds.
    pub response_time_ms: f64,
    /// GraphQL operation.
    pub operation_name: Option<String>,
    /// The caller.
    pub user_id: Option<String>,
    /// Address of the caller.
    pub ip_address: Option<String>,
    /// What the caller says it is.
    pub user_agent: Option<String>,
    /// Size of the request, in bytes.
    pub request_bytes: Option<i64>,
    /// Size of the answer, in bytes.
    pub response_bytes: Option<i64>,
    /// What went wrong, for people.
    pub error_message: Option<String>,
    /// What else the source said, as JSON.
    pub extra: Option<String>,
}

/// No relations: the log is joined by its readers.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
