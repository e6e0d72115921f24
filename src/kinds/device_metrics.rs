//! `deviceMetrics`: what a device measured of itself at one instant.

use entity::device_metrics::Column;

use super::{
    Audience, Field, Identity, Keeping, Kind, Measure, Measured, Refusal, Source, Spec, Type,
};
use crate::event::Fact;

/// What a device measured of itself at one instant.
pub(super) static SPEC: Spec = Spec {
    kind: Kind::DeviceMetrics,
    wire: "deviceMetrics",
    type_name: "DeviceMetrics",
    list: "deviceMetrics",
    stream: "deviceMetrics",
    table: "device_metrics",
    description: "What a device measured of itself at one instant.",
    identity: Identity::DeviceAndTime,
    recordable: true,
    audience: Audience::Readers,
    commanded: false,
    source: Some(Source {
        expected_interval_seconds: Some(30),
        method: "agents report every 30 s",
        purpose: "health and capacity",
    }),
    derived: None,
    measured: Some(MEASURED),
    keeping: Keeping::Archived { after_days: 90 },
    person: None,
    fields: &[
        Field::required(
            "deviceId",
            &Column::DeviceKey,
            Type::Device,
            "The device that was measured.",
        ),
        Field::optional(
            "cpuPercent",
            &Column::CpuPercent,
            Type::Float {
                min: 0.0,
                max: 100.0,
            },
            "Load of all processors together, in percent (0 to 100).",
        ),
        Field::optional(
            "memoryPercent",
            &Column::MemoryPercent,
            Type::Float {
                min: 0.0,
                max: 100.0,
            },
            "Memory in use, in percent (0 to 100).",
        ),
        Field::optional(
            "diskPercent",
            &Column::DiskPercent,
            Type::Float {
                min: 0.0,
                max: 100.0,
            },
            "Disk space in use, in percent (0 to 100).",
        ),
        Field::optional(
            "networkLatencyMs",
            &Column::NetworkLatencyMs,
            Type::Float {
                min: 0.0,
                max: 86_400_000.0,
            },
            "Round trip to the server, in milliseconds.",
        ),
        Field::optional(
            "transactionCount",
            &Column::TransactionCount,
            Type::Int {
                min: 0,
                max: 2_147_483_647,
            },
            "Sales since the site's local midnight: a counter.",
        ),
        Field::optional(
            "transactionVolume",
            &Column::TransactionVolume,
            Type::Money,
            "Money taken since the site's local midnight, in the site's currency: a counter.",
        ),
        Field::optional(
            "errorRatePercent",
            &Column::ErrorRatePercent,
            Type::Float {
                min: 0.0,
                max: 100.0,
            },
            "Share of transactions that failed, in percent (0 to 100).",
        ),
        Field::optional(
            "activeConnections",
            &Column::ActiveConnections,
            Type::Int {
                min: 0,
                max: 2_147_483_647,
            },
            "Open network connections.",
        ),
        Field::optional(
            "queueDepth",
            &Column::QueueDepth,
            Type::Int {
                min: 0,
                max: 2_147_483_647,
            },
            "Transactions that wait to be sent.",
        ),
        Field::optional(
            "uptimeSeconds",
            &Column::UptimeSeconds,
            Type::Int {
                min: 0,
                max: 2_147_483_647,
            },
            "Time since the device started, in seconds.",
        ),
        Field::optional(
            "services",
            &Column::Services,
            Type::Services,
            "State of each service on the device: name to UP or DOWN.",
        )
        .not_filtered(),
        Field::optional(
            "collectionIntervalSeconds",
            &Column::CollectionIntervalSeconds,
            Type::Int {
                min: 1,
                max: 31_536_000,
            },
            "How often the device means to report, in seconds.",
        ),
        Field::optional(
            "part",
            &Column::Part,
            Type::Int {
                min: 0,
                max: 2_147_483_647,
            },
            "Which part of a reading that comes in parts, each with measures of its own: 0, the default, is a \
             whole one. A repeat is known by device, `occurredAt` and this. Each part is a row of its own, \
             but in `latestMetrics`, which puts them together.",
        )
        .not_filtered(),
    ],
    finish,
};

/// Many readings come, so sites have sums of their own.
const MEASURED: Measured = Measured::events("READINGS").with_sites().of(&[
    Measure::gauge("CPU_PERCENT", "cpuPercent", "percent"),
    Measure::gauge("MEMORY_PERCENT", "memoryPercent", "percent"),
    Measure::gauge("DISK_PERCENT", "diskPercent", "percent"),
    Measure::gauge("NETWORK_LATENCY_MS", "networkLatencyMs", "milliseconds"),
    Measure::counter("TRANSACTION_COUNT", "transactionCount", "transactions"),
    Measure::counter(
        "TRANSACTION_VOLUME",
        "transactionVolume",
        "the site's currency",
    ),
    Measure::gauge("ERROR_RATE_PERCENT", "errorRatePercent", "percent"),
    Measure::gauge("ACTIVE_CONNECTIONS", "activeConnections", "connections"),
    Measure::gauge("QUEUE_DEPTH", "queueDepth", "transactions"),
    Measure::gauge("UPTIME_SECONDS", "uptimeSeconds", "seconds"),
]);

/// A reading that does not say so is no part of another.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the form is that of the kinds that have rules over several fields"
)]
fn finish(fact: &mut Fact) -> Result<(), Refusal> {
    super::default_to(fact, Column::Part, 0);
    Ok(())
}
