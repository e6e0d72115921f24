//! `insight_examples`: what the model of failures learns from, by days.

use sea_orm::entity::prelude::*;

/// The examples of a day.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "insight_examples")]
pub struct Model {
    /// 0 REAL, 1 CONTROLLED, 2 SIMULATED.
    #[sea_orm(primary_key, auto_increment = false)]
    pub provenance: i64,
    /// Of which form the examples are.
    #[sea_orm(primary_key, auto_increment = false)]
    pub version: i64,
    /// The midnight at which the day begins: microseconds since 1970, UTC.
    #[sea_orm(primary_key, auto_increment = false)]
    pub day: i64,
    /// Devices that they are of.
    pub devices: i64,
    /// The examples.
    pub examples: Vec<u8>,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
