//! `access_key_usage`: when each access key was last used. It is no part of the log, and is lost with
//! nothing but itself.

use sea_orm::entity::prelude::*;

/// The last use of a key.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "access_key_usage")]
pub struct Model {
    /// Id of the key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key_id: String,
    /// When it was last used, to the minute: microseconds since 1970, UTC.
    pub last_used_at: i64,
}

/// No relations: it is read beside the keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
