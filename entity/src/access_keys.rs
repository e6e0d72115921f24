//! `access_keys`: the keys by which callers prove who they are, folded from the audit.

use sea_orm::entity::prelude::*;

/// One access key; the key itself is kept nowhere.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "access_keys")]
pub struct Model {
    /// Its id: what its holder's key hashes to.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key_id: String,
    /// What it may do. JSON; absent until it is heard that the key was made.
    pub key_grant: Option<String>,
    /// When it was made: microseconds since 1970, UTC.
    pub created_at: Option<i64>,
    /// Who made it.
    pub created_by: Option<String>,
    /// When it was revoked: microseconds since 1970, UTC.
    pub revoked_at: Option<i64>,
    /// Who revoked it.
    pub revoked_by: Option<String>,
    /// Position of the last event that changed it.
    pub position: i64,
}

/// No relations: its usage is read apart.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
