//! The tables of the kinds that tell of sites, devices and their jobs; part of `m0001_log`.

use crate::tables::{Column, Report, Table};

/// The tables.
pub(crate) const TABLES: &[Table] = &[
    Table {
        name: "site_registrations",
        columns: &[
            Column {
                sql: "site_key {int} NOT NULL",
                report: Report::Id,
            },
            Column {
                sql: "name TEXT NOT NULL CHECK (length(name) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "time_zone TEXT CHECK (length(time_zone) <= 64)",
                report: Report::Plain,
            },
            Column {
                sql: "currency TEXT CHECK (length(currency) = 3)",
                report: Report::Plain,
            },
            Column {
                sql: "address TEXT CHECK (length(address) <= 1000)",
                report: Report::Plain,
            },
            Column {
                sql: "tags TEXT CHECK (length(tags) <= 32768)",
                report: Report::Json,
            },
        ],
        unique: &[],
        indexes: &["site_key, occurred_at"],
        partitioned: false,
    },
    Table {
        name: "device_registrations",
        columns: &[
            Column {
                sql: "device_key {int} NOT NULL",
                report: Report::Id,
            },
            Column {
                sql: "site_key {int} NOT NULL",
                report: Report::Id,
            },
            Column {
                sql: "name TEXT CHECK (length(name) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "device_type TEXT NOT NULL CHECK (device_type IN ('POS_TERMINAL', 'IOT_SENSOR', 'GATEWAY', 'INDUSTRIAL_CONTROLLER', 'UNKNOWN'))",
                report: Report::Plain,
            },
            Column {
                sql: "model TEXT CHECK (length(model) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "firmware TEXT CHECK (length(firmware) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "os TEXT CHECK (length(os) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "tags TEXT CHECK (length(tags) <= 32768)",
                report: Report::Json,
            },
            Column {
                sql: "lifecycle TEXT CHECK (lifecycle IN ('ACTIVE', 'SUSPENDED', 'RETIRED'))",
                report: Report::Plain,
            },
        ],
        unique: &[],
        indexes: &["device_key, occurred_at"],
        partitioned: false,
    },
    Table {
        name: "device_metrics",
        columns: &[
            Column {
                sql: "part {int} NOT NULL DEFAULT 0",
                report: Report::Plain,
            },
            Column {
                sql: "device_key {int} NOT NULL",
                report: Report::Id,
            },
            Column {
                sql: "cpu_percent {real} CHECK (cpu_percent BETWEEN 0 AND 100)",
                report: Report::Plain,
            },
            Column {
                sql: "memory_percent {real} CHECK (memory_percent BETWEEN 0 AND 100)",
                report: Report::Plain,
            },
            Column {
                sql: "disk_percent {real} CHECK (disk_percent BETWEEN 0 AND 100)",
                report: Report::Plain,
            },
            Column {
                sql: "network_latency_ms {real} CHECK (network_latency_ms BETWEEN 0 AND 86400000)",
                report: Report::Plain,
            },
            Column {
                sql: "transaction_count {int} CHECK (transaction_count BETWEEN 0 AND 2147483647)",
                report: Report::Plain,
            },
            Column {
                sql: "transaction_volume {int}",
                report: Report::Decimal,
            },
            Column {
                sql: "error_rate_percent {real} CHECK (error_rate_percent BETWEEN 0 AND 100)",
                report: Report::Plain,
            },
            Column {
                sql: "active_connections {int} CHECK (active_connections BETWEEN 0 AND 2147483647)",
                report: Report::Plain,
            },
            Column {
                sql: "queue_depth {int} CHECK (queue_depth BETWEEN 0 AND 2147483647)",
                report: Report::Plain,
            },
            Column {
                sql: "uptime_seconds {int} CHECK (uptime_seconds BETWEEN 0 AND 2147483647)",
                report: Report::Plain,
            },
            Column {
                sql: "services TEXT CHECK (length(services) <= 131072)",
                report: Report::Json,
            },
            Column {
                sql: "collection_interval_seconds {int} CHECK (collection_interval_seconds BETWEEN 1 AND 31536000)",
                report: Report::Plain,
            },
        ],
        unique: &["device_key, occurred_at, part"],
        indexes: &["occurred_at"],
        partitioned: true,
    },
    Table {
        name: "job_outcomes",
        columns: &[
            Column {
                sql: "job_id TEXT NOT NULL CHECK (length(job_id) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "job_type TEXT NOT NULL CHECK (length(job_type) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "scope TEXT CHECK (scope IN ('DEVICE', 'JOB'))",
                report: Report::Plain,
            },
            Column {
                sql: "status TEXT NOT NULL CHECK (status IN ('COMPLETED', 'FAILED', 'ERROR', 'TIMEOUT', 'CANCELLED'))",
                report: Report::Plain,
            },
            Column {
                sql: "duration_ms {int} CHECK (duration_ms BETWEEN 0 AND 2147483647)",
                report: Report::Plain,
            },
            Column {
                sql: "device_key {int}",
                report: Report::Id,
            },
            Column {
                sql: "site_key {int}",
                report: Report::Id,
            },
            Column {
                sql: "error_code TEXT CHECK (length(error_code) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "error_message TEXT CHECK (length(error_message) <= 10000)",
                report: Report::Plain,
            },
            Column {
                sql: "retry_count {int} CHECK (retry_count BETWEEN 0 AND 1000000)",
                report: Report::Plain,
            },
            Column {
                sql: "initiated_by TEXT CHECK (length(initiated_by) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "devices_targeted {int} CHECK (devices_targeted BETWEEN 0 AND 2147483647)",
                report: Report::Plain,
            },
            Column {
                sql: "devices_succeeded {int} CHECK (devices_succeeded BETWEEN 0 AND 2147483647)",
                report: Report::Plain,
            },
            Column {
                sql: "devices_failed {int} CHECK (devices_failed BETWEEN 0 AND 2147483647)",
                report: Report::Plain,
            },
        ],
        unique: &[],
        indexes: &["occurred_at", "device_key, occurred_at", "job_id"],
        partitioned: false,
    },
    Table {
        name: "device_state_history",
        columns: &[
            Column {
                sql: "device_key {int} NOT NULL",
                report: Report::Id,
            },
            Column {
                sql: "previous_state TEXT CHECK (previous_state IN ('ONLINE', 'OFFLINE', 'ERROR', 'MAINTENANCE', 'UNKNOWN'))",
                report: Report::Plain,
            },
            Column {
                sql: "new_state TEXT NOT NULL CHECK (new_state IN ('ONLINE', 'OFFLINE', 'ERROR', 'MAINTENANCE', 'UNKNOWN'))",
                report: Report::Plain,
            },
            Column {
                sql: "changed_by TEXT CHECK (length(changed_by) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "reason TEXT CHECK (length(reason) <= 1000)",
                report: Report::Plain,
            },
            Column {
                sql: "response_time_ms {real} CHECK (response_time_ms BETWEEN 0 AND 86400000)",
                report: Report::Plain,
            },
            Column {
                sql: "health_status TEXT CHECK (length(health_status) <= 255)",
                report: Report::Plain,
            },
        ],
        unique: &[],
        indexes: &["occurred_at", "device_key, occurred_at"],
        partitioned: false,
    },
];
