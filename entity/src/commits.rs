//! `commits`: one append transaction.

use sea_orm::entity::prelude::*;

/// One append transaction.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "commits")]
pub struct Model {
    /// Its first event.
    #[sea_orm(primary_key, auto_increment = false)]
    pub first_position: i64,
    /// Its last event.
    pub last_position: i64,
    /// When it was made: microseconds since 1970, UTC.
    pub recorded_at: i64,
    /// `kind:events` for each kind that it touched.
    pub counts: String,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
