//! `webhook_deliveries`: what is sent to webhooks and mailed, and how that went.

use sea_orm::entity::prelude::*;

/// One thing that is sent to a webhook or mailed.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_deliveries")]
pub struct Model {
    /// Its id, the same at each attempt.
    #[sea_orm(primary_key, auto_increment = false)]
    pub delivery_id: Uuid,
    /// Where it is sent.
    pub webhook_id: String,
    /// The step of an alert that it tells.
    pub position: i64,
    /// The alert.
    pub alert_id: String,
    /// What is sent, as JSON.
    pub body: String,
    /// PENDING, DELIVERED or DEAD.
    pub state: String,
    /// How often it was tried.
    pub attempts: i64,
    /// When it is tried next: microseconds since 1970, UTC.
    pub due_at: i64,
    /// Until when a node tries it: microseconds since 1970, UTC.
    pub claimed_until: Option<i64>,
    /// When it was put in: microseconds since 1970, UTC.
    pub created_at: i64,
    /// When it was tried last: microseconds since 1970, UTC.
    pub tried_at: Option<i64>,
    /// What the other side answered last, if it did.
    pub status_code: Option<i64>,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
