//! `site_operating_schedules`: the hours of a site on a day of the week, or on one date, were set.

use sea_orm::entity::prelude::*;

/// One row of a schedule.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "site_operating_schedules")]
pub struct Model {
    /// Global position of the event.
    #[sea_orm(primary_key, auto_increment = false)]
    pub position: i64,
    /// Key that its source gave it.
    pub event_id: Option<Uuid>,
    /// When it happened at its source: microseconds since 1970, UTC.
    pub occurred_at: i64,
    /// When it was appended: microseconds since 1970, UTC.
    pub recorded_at: i64,
    /// 0 REAL, 1 CONTROLLED, 2 SIMULATED.
    pub provenance: i64,
    /// The site. Key into `entity_keys`.
    pub site_key: i64,
    /// Day of the week; either this or `date`.
    pub day_of_week: Option<String>,
    /// One date, a holiday or an exception; either this or `dayOfWeek`.
    pub date: Option<String>,
    /// When it opens, in the site's time.
    pub open_time: Option<String>,
    /// When it closes, in the site's time; earlier than `openTime` means after midnight.
    pub close_time: Option<String>,
    /// Closed all day. 0 or 1.
    pub is_closed: Option<i64>,
    /// When most customers come. JSON list of `{start, end}`.
    pub peak_hours: Option<String>,
    /// When jobs may disturb. JSON list of `{start, end}`.
    pub maintenance_windows: Option<String>,
    /// Sales expected on such a day.
    pub expected_transactions: Option<i64>,
    /// Notes for people.
    pub notes: Option<String>,
    /// What else the source said, as JSON.
    pub extra: Option<String>,
}

/// No relations: the log is joined by its readers.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
