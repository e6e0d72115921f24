//! `error_group_hours`: how often a group of errors was seen in each hour, on each device and in all.

use sea_orm::entity::prelude::*;

/// How often a group was seen in an hour.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "error_group_hours")]
pub struct Model {
    /// 0 REAL, 1 CONTROLLED, 2 SIMULATED.
    #[sea_orm(primary_key, auto_increment = false)]
    pub provenance: i64,
    /// The group.
    #[sea_orm(primary_key, auto_increment = false)]
    pub label: i64,
    /// Key of the device; 0 for errors that name none, -1 for all of them together.
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_key: i64,
    /// The hour, counted from 1970, UTC.
    #[sea_orm(primary_key, auto_increment = false)]
    pub hour: i64,
    /// Errors in it.
    pub events: i64,
    /// When the first of them was: microseconds since 1970, UTC.
    pub first_at: i64,
    /// When the last of them was: microseconds since 1970, UTC.
    pub last_at: i64,
    /// The most severe of them: 0 INFO, 1 WARNING, 2 ERROR, 3 CRITICAL.
    pub severity: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
