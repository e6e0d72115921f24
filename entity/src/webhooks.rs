//! `webhooks`: where alerts are sent to.

use sea_orm::entity::prelude::*;

/// Where alerts are sent to.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhooks")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub webhook_id: String,
    /// The address of the web; empty when it is mailed.
    pub url: String,
    /// The secret that what is sent is signed with; empty when it is mailed.
    pub secret: String,
    /// The least severity that is sent.
    pub severity: String,
    /// The states of alerts that are sent, as a list of texts in JSON.
    pub states: String,
    /// The sites whose alerts are sent, as a list of texts in JSON; all when it is empty.
    pub site_ids: String,
    /// Whether anything is sent: 0 or 1.
    pub is_enabled: i64,
    /// When it was made: microseconds since 1970, UTC.
    pub created_at: i64,
    /// Who made it.
    pub created_by: Option<String>,
    /// How often it has changed, from 1.
    pub version: i64,
    /// The address to which it is mailed, if it is.
    pub email_address: Option<String>,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
