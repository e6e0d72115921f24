//! `site_rollups_1d`: what was said of the devices of each site on each day of UTC.

use sea_orm::entity::prelude::*;

/// What was said within one bucket.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "site_rollups_1d")]
pub struct Model {
    /// Number of the kind of the events.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: i64,
    /// Key of the site.
    #[sea_orm(primary_key, auto_increment = false)]
    pub site_key: i64,
    /// 0 REAL, 1 CONTROLLED, 2 SIMULATED.
    #[sea_orm(primary_key, auto_increment = false)]
    pub provenance: i64,
    /// When the bucket begins: microseconds since 1970, UTC.
    #[sea_orm(primary_key, auto_increment = false)]
    pub bucket_at: i64,
    /// ISO 4217 code of what is money; empty if nothing is.
    #[sea_orm(primary_key, auto_increment = false)]
    pub currency: String,
    /// Labels of the events: a JSON array; empty if the kind has none.
    #[sea_orm(primary_key, auto_increment = false)]
    pub labels: String,
    /// Counts, sums, extrema and distributions of the measures, packed.
    pub cells: Vec<u8>,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
