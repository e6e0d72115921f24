//! `current_schedules`: a row of a site's schedule that holds now.

use sea_orm::entity::prelude::*;

/// A row of a site's schedule that holds now.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "current_schedules")]
pub struct Model {
    /// Key of the site.
    #[sea_orm(primary_key, auto_increment = false)]
    pub site_key: i64,
    /// Day of the week, or a date.
    #[sea_orm(primary_key, auto_increment = false)]
    pub day: String,
    /// When this was said: microseconds since 1970, UTC.
    pub occurred_at: i64,
    /// The event.
    pub position: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
