//! Which metric of others is which measure of ours: those of OpenTelemetry's conventions for systems, of
//! Telegraf and of Vector, and our own names. The table stands in the README too.

/// What the points of a metric say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The measure.
    Plain,
    /// The measure, in percent; a share of 1 if the unit says so.
    Percent,
    /// The measure, in milliseconds unless the unit says otherwise.
    Milliseconds,
    /// The measure, in seconds unless the unit says otherwise.
    Seconds,
    /// The share of 1 of its time that a processor is in a state.
    OfProcessors,
    /// The percentage of its time that a processor is idle.
    IdleOfProcessors,
    /// The share of 1 of memory that is in a state: `used` counts.
    OfMemory,
    /// The share of 1 of a file system that is in a state: `used` counts.
    OfDisks,
    /// The percentage of a file system that is used.
    PercentOfDisks,
    /// How many connections are in a state: those established count.
    OfConnections,
}

/// The measures that have names of our own: with their unit, and, behind `homepot.`, without it.
const OWN: [(&str, &str, Form, &str); 11] = [
    ("cpu_percent", "cpu", Form::Percent, "cpuPercent"),
    ("memory_percent", "memory", Form::Percent, "memoryPercent"),
    ("disk_percent", "disk", Form::Percent, "diskPercent"),
    (
        "network_latency_ms",
        "network_latency",
        Form::Milliseconds,
        "networkLatencyMs",
    ),
    (
        "transaction_count",
        "transactions",
        Form::Plain,
        "transactionCount",
    ),
    (
        "transaction_volume",
        "volume",
        Form::Plain,
        "transactionVolume",
    ),
    (
        "error_rate_percent",
        "error_rate",
        Form::Percent,
        "errorRatePercent",
    ),
    (
        "active_connections",
        "connections",
        Form::Plain,
        "activeConnections",
    ),
    ("queue_depth", "queue", Form::Plain, "queueDepth"),
    ("uptime_seconds", "uptime", Form::Seconds, "uptimeSeconds"),
    (
        "collection_interval_seconds",
        "collection_interval",
        Form::Seconds,
        "collectionIntervalSeconds",
    ),
];

/// The names of others, with `_` for `.`.
const OTHERS: [(&str, Form, &str); 11] = [
    // OpenTelemetry, semantic conventions for systems
    ("system_cpu_utilization", Form::OfProcessors, "cpuPercent"),
    ("system_memory_utilization", Form::OfMemory, "memoryPercent"),
    (
        "system_filesystem_utilization",
        Form::OfDisks,
        "diskPercent",
    ),
    (
        "system_network_connections",
        Form::OfConnections,
        "activeConnections",
    ),
    // and Telegraf's of the same name
    ("system_uptime", Form::Seconds, "uptimeSeconds"),
    // Telegraf
    ("cpu_usage_idle", Form::IdleOfProcessors, "cpuPercent"),
    ("mem_used_percent", Form::Percent, "memoryPercent"),
    ("disk_used_percent", Form::PercentOfDisks, "diskPercent"),
    ("netstat_tcp_established", Form::Plain, "activeConnections"),
    // Vector
    ("host_filesystem_used_ratio", Form::OfDisks, "diskPercent"),
    ("host_uptime", Form::Seconds, "uptimeSeconds"),
];

/// What a metric is, and the field of the measure; `None` if it is none of ours.
pub(super) fn of(name: &str) -> Option<(Form, &'static str)> {
    let plain = name.to_ascii_lowercase().replace(['.', '-'], "_");
    let own = plain.strip_prefix("homepot_");
    let is_own = |(full, short, ..): &&(&str, &str, Form, &str)| {
        *full == plain || own.is_some_and(|own| own == *full || own == *short)
    };
    if let Some((_, _, form, field)) = OWN.iter().find(is_own) {
        return Some((*form, field));
    }
    let other = OTHERS.iter().find(|(other, ..)| *other == plain)?;
    Some((other.1, other.2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Kind;

    #[test]
    fn every_measure_that_is_a_number_has_a_name_of_its_own() {
        let spec = Kind::DeviceMetrics.spec();
        let known = |field: &str| OWN.iter().any(|(.., own)| *own == field);
        let left = spec.fields.iter().filter(|field| !known(field.name));
        let left: Vec<&str> = left.map(|field| field.name).collect();
        assert_eq!(left, ["deviceId", "services", "part"]);
    }

    #[test]
    fn a_metric_is_known_by_dots_and_by_underscores() {
        for (name, measure) in [
            ("homepot.transaction.count", Some("transactionCount")),
            ("homepot_transaction_count", Some("transactionCount")),
            ("transaction_count", Some("transactionCount")),
            ("homepot.network.latency", Some("networkLatencyMs")),
            ("system.cpu.utilization", Some("cpuPercent")),
            ("mem_used_percent", Some("memoryPercent")),
            ("host.uptime", Some("uptimeSeconds")),
            ("cpu", None),
            ("system.cpu.load_average.1m", None),
            ("http.server.request.duration", None),
        ] {
            assert_eq!(of(name).map(|(_, field)| field), measure, "{name}");
        }
    }
}
