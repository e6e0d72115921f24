//! What insights read: hourly rollups that are closed, and the facts between them, in order of time.

use serde::{Deserialize, Serialize};

use crate::event::Instant;

/// Microseconds of a second.
pub const SECOND: i64 = 1_000_000;
/// A minute.
pub const MINUTE: i64 = 60 * SECOND;
/// Microseconds of an hour.
pub const HOUR: i64 = 3_600 * SECOND;
/// Microseconds of a day.
pub const DAY: i64 = 24 * HOUR;

/// A measure of a device's metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Measure {
    /// How busy the processor is.
    CpuPercent,
    /// How full the memory is.
    MemoryPercent,
    /// How full the disk is.
    DiskPercent,
    /// How long the network takes.
    NetworkLatencyMs,
    /// Sales since local midnight.
    TransactionCount,
    /// What they came to since local midnight.
    TransactionVolume,
    /// How many of a hundred requests fail.
    ErrorRatePercent,
    /// Connections that are open.
    ActiveConnections,
    /// What waits to be sent.
    QueueDepth,
    /// How long it has been up.
    UptimeSeconds,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::CpuPercent,
        Self::MemoryPercent,
        Self::DiskPercent,
        Self::NetworkLatencyMs,
        Self::TransactionCount,
        Self::TransactionVolume,
        Self::ErrorRatePercent,
        Self::ActiveConnections,
        Self::QueueDepth,
        Self::UptimeSeconds,
    ];

    /// As the API names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CpuPercent => "cpuPercent",
            Self::MemoryPercent => "memoryPercent",
            Self::DiskPercent => "diskPercent",
            Self::NetworkLatencyMs => "networkLatencyMs",
            Self::TransactionCount => "transactionCount",
            Self::TransactionVolume => "transactionVolume",
            Self::ErrorRatePercent => "errorRatePercent",
            Self::ActiveConnections => "activeConnections",
            Self::QueueDepth => "queueDepth",
            Self::UptimeSeconds => "uptimeSeconds",
        }
    }

    /// Whether it counts since local midnight of the site (a counter), and is no gauge.
    #[must_use]
    pub const fn is_counter(self) -> bool {
        matches!(self, Self::TransactionCount | Self::TransactionVolume)
    }
}

/// What was measured within one hour (UTC) of one measure: a closed hourly rollup.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hour {
    /// When it begins.
    pub start: Instant,
    /// How many values.
    pub count: u32,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub sum_squares: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// For a counter the increase within the hour (it begins anew at local midnight, and where it has fallen), else 0.
    pub increase: f64,
}

impl Hour {
    /// The mean.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum / f64::from(self.count.max(1))
    }
}

/// One sample of one measure, as reported.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// What.
    pub value: f64,
}

/// How bad an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// Nothing is wrong.
    Info,
    /// Something may go wrong.
    Warning,
    /// Something went wrong.
    Error,
    /// Nothing goes on.
    Critical,
}

/// An error of a device (`errorLog`).
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorSeen {
    /// When.
    pub at: Instant,
    /// How bad.
    pub severity: Severity,
    /// The word of its category.
    pub category: String,
    /// Its code, if it bears one.
    pub code: Option<String>,
    /// What it says.
    pub message: String,
}

/// The state of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// It works.
    Online,
    /// It is not heard of.
    Offline,
    /// It has failed.
    Error,
    /// It is worked on.
    Maintenance,
    /// Nobody knows.
    Unknown,
}

/// A device is in another state from now on (`deviceStateChange`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateSeen {
    /// From when on.
    pub at: Instant,
    /// In which.
    pub to: State,
}

/// A parameter of a device got another value (`configurationChange`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSeen {
    /// When.
    pub at: Instant,
    /// Its name.
    pub parameter: String,
}

/// How a job on a device ended (`jobOutcome`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSeen {
    /// When.
    pub at: Instant,
    /// The type of the job.
    pub job_type: String,
    /// Whether the device did it.
    pub is_success: bool,
    /// How long it took.
    pub duration_ms: Option<i64>,
}

/// Who a device is.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Its id.
    pub id: String,
    /// The id of the site at which it stands.
    pub site: String,
    /// Its model.
    pub model: Option<String>,
    /// How old it was when it was registered.
    pub age_years: Option<f64>,
}
