//! The measures of devices of which insights speak.

use async_graphql::Enum;

use crate::insights::input::Measure;

/// A measure of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enum)]
#[graphql(name = "DeviceMeasure", remote = "Measure")]
pub(in crate::graphql) enum DeviceMeasure {
    /// Load of the processor, in percent.
    CpuPercent,
    /// Memory in use, in percent.
    MemoryPercent,
    /// Disk in use, in percent.
    DiskPercent,
    /// Latency of the network, in milliseconds.
    NetworkLatencyMs,
    /// Transactions: how many there are in an hour or on a day.
    TransactionCount,
    /// What transactions come to in an hour or on a day, in the currency of the site.
    TransactionVolume,
    /// Transactions that failed, in percent.
    ErrorRatePercent,
    /// Connections.
    ActiveConnections,
    /// What waits in its queue.
    QueueDepth,
    /// How long it has been up, in seconds.
    UptimeSeconds,
}
