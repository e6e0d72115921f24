//! `rollup_minutes`: since when what was said is summed up by minutes.

use sea_orm::entity::prelude::*;

/// The one row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "rollup_minutes")]
pub struct Model {
    /// 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    /// From then on every minute is there: microseconds since 1970, UTC.
    pub from_at: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
