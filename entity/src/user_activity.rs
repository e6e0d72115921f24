//! `user_activity`: somebody did something in a console or an app.

use sea_orm::entity::prelude::*;

/// One action of a user.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "user_activity")]
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
    /// The user.
    pub user_id: Option<String>,
    /// The session.
    pub session_id: Option<String>,
    /// What was done.
    pub activity_type: String,
    /// Name of the action when `activityType` is OTHER.
    pub name: Option<String>,
    /// The page on which it was done.
    pub page_url: Option<String>,
    /// The element that was used.
    pub element_id: Option<String>,
    /// What was searched for.
    pub search_query: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<i64>,
    /// What else the source said, as JSON.
    pub extra: Option<String>,
}

/// No relations: the log is joined by its readers.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
