//! `collection_counters`: how many events of a kind and provenance there are.

use sea_orm::entity::prelude::*;

/// How many events of a kind and provenance there are.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "collection_counters")]
pub struct Model {
    /// Code of the kind.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: i64,
    /// 0 REAL, 1 CONTROLLED, 2 SIMULATED.
    #[sea_orm(primary_key, auto_increment = false)]
    pub provenance: i64,
    /// Events.
    pub records: i64,
    /// The oldest: microseconds since 1970, UTC.
    pub oldest_at: i64,
    /// The newest: microseconds since 1970, UTC.
    pub newest_at: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
