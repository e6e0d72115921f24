//! `error_group_news`: what is new of groups of errors: where each was told of first, and when it came back.

use sea_orm::entity::prelude::*;

/// A group was told of first on a device, or came back after it was resolved.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "error_group_news")]
pub struct Model {
    /// 0 REAL, 1 CONTROLLED, 2 SIMULATED.
    #[sea_orm(primary_key, auto_increment = false)]
    pub provenance: i64,
    /// The group.
    #[sea_orm(primary_key, auto_increment = false)]
    pub label: i64,
    /// Key of the device; 0 for errors that name none.
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_key: i64,
    /// When it was resolved, if it came back after that: microseconds since 1970, UTC; 0 if it is new on the device.
    #[sea_orm(primary_key, auto_increment = false)]
    pub since: i64,
    /// The error by which that was known.
    pub position: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
