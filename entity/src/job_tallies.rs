//! `job_tallies`: how jobs ended on devices, summed up.

use sea_orm::entity::prelude::*;

/// How jobs of a type ended at a site on a day or in a month, in six hours of the site's day.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "job_tallies")]
pub struct Model {
    /// Key of the site; 0 of the whole fleet.
    #[sea_orm(primary_key, auto_increment = false)]
    pub site_key: i64,
    /// Where the outcomes come from.
    #[sea_orm(primary_key, auto_increment = false)]
    pub provenance: i64,
    /// Over how long it is summed up: 0 a day of UTC, 1 a month.
    #[sea_orm(primary_key, auto_increment = false)]
    pub span: i64,
    /// When that begins: microseconds since 1970, UTC.
    #[sea_orm(primary_key, auto_increment = false)]
    pub start_at: i64,
    /// What kind of job.
    #[sea_orm(primary_key, auto_increment = false)]
    pub job_type: String,
    /// Which six hours of the site's day, from 0.
    #[sea_orm(primary_key, auto_increment = false)]
    pub block: i64,
    /// How many ended well.
    pub succeeded: i64,
    /// How many did not.
    pub failed: i64,
    /// When the first of them ended: microseconds since 1970, UTC.
    pub first_at: i64,
    /// When the last of them ended: microseconds since 1970, UTC.
    pub last_at: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
