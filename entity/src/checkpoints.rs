//! `checkpoints`: how far a projection has folded the log.

use sea_orm::entity::prelude::*;

/// How far a projection has folded the log.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "checkpoints")]
pub struct Model {
    /// Its name.
    #[sea_orm(primary_key, auto_increment = false)]
    pub projection: String,
    /// The last position that it has folded.
    pub position: i64,
    /// The log that it has folded.
    pub log_id: String,
    /// The epoch of that log.
    pub epoch: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
