//! `device_metrics`: what a device measured of itself at one instant.

use sea_orm::entity::prelude::*;

/// One reading of a device.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "device_metrics")]
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
    /// Which part of a reading that came in parts: 0 is a whole one.
    pub part: i64,
    /// The device that was measured. Key into `entity_keys`.
    pub device_key: i64,
    /// Load of all processors together, in percent (0 to 100).
    pub cpu_percent: Option<f64>,
    /// Memory in use, in percent (0 to 100).
    pub memory_percent: Option<f64>,
    /// Disk space in use, in percent (0 to 100).
    pub disk_percent: Option<f64>,
    /// Round trip to the server, in milliseconds.
    pub network_latency_ms: Option<f64>,
    /// Sales since the site's local midnight: a counter.
    pub transaction_count: Option<i64>,
    /// Money taken since the site's local midnight, in the site's currency: a counter. In units of
    /// 10⁻⁴.
    pub transaction_volume: Option<i64>,
    /// Share of transactions that failed, in percent (0 to 100).
    pub error_rate_percent: Option<f64>,
    /// Open network connections.
    pub active_connections: Option<i64>,
    /// Transactions that wait to be sent.
    pub queue_depth: Option<i64>,
    /// Time since the device started, in seconds.
    pub uptime_seconds: Option<i64>,
    /// State of each service on the device: name to UP or DOWN. JSON object.
    pub services: Option<String>,
    /// How often the device means to report, in seconds.
    pub collection_interval_seconds: Option<i64>,
    /// What else the source said, as JSON.
    pub extra: Option<String>,
}

/// No relations: the log is joined by its readers.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
