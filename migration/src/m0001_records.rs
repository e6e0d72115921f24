//! The tables of the kinds that tell of errors, settings, people and requests; part of `m0001_log`.

use crate::tables::{Column, Report, Table};

/// The tables.
pub(crate) const TABLES: &[Table] = &[
    Table {
        name: "error_logs",
        columns: &[
            Column {
                sql: "category TEXT NOT NULL CHECK (category IN ('API', 'DATABASE', 'EXTERNAL_SERVICE', 'VALIDATION', 'DEVICE', 'SYSTEM'))",
                report: Report::Plain,
            },
            Column {
                sql: "severity TEXT NOT NULL CHECK (severity IN ('CRITICAL', 'ERROR', 'WARNING', 'INFO'))",
                report: Report::Plain,
            },
            Column {
                sql: "error_message TEXT NOT NULL CHECK (length(error_message) <= 10000)",
                report: Report::Plain,
            },
            Column {
                sql: "error_code TEXT CHECK (length(error_code) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "stack_trace TEXT CHECK (length(stack_trace) <= 65536)",
                report: Report::Plain,
            },
            Column {
                sql: "device_key {int}",
                report: Report::Id,
            },
            Column {
                sql: "user_id TEXT CHECK (length(user_id) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "endpoint TEXT CHECK (length(endpoint) <= 2048)",
                report: Report::Plain,
            },
            Column {
                sql: "context TEXT CHECK (length(context) <= 65536)",
                report: Report::Json,
            },
        ],
        unique: &[],
        indexes: &["occurred_at", "device_key, occurred_at"],
        partitioned: false,
    },
    Table {
        name: "configuration_history",
        columns: &[
            Column {
                sql: "entity_type TEXT NOT NULL CHECK (entity_type IN ('DEVICE', 'SITE', 'SYSTEM'))",
                report: Report::Plain,
            },
            Column {
                sql: "entity_id TEXT NOT NULL CHECK (length(entity_id) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "parameter_name TEXT NOT NULL CHECK (length(parameter_name) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "old_value TEXT CHECK (length(old_value) <= 65536)",
                report: Report::Json,
            },
            Column {
                sql: "new_value TEXT NOT NULL CHECK (length(new_value) <= 65536)",
                report: Report::Json,
            },
            Column {
                sql: "changed_by TEXT NOT NULL CHECK (length(changed_by) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "reason TEXT CHECK (length(reason) <= 1000)",
                report: Report::Plain,
            },
            Column {
                sql: "change_type TEXT CHECK (change_type IN ('MANUAL', 'AUTOMATED', 'RECOMMENDED'))",
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
        ],
        unique: &[],
        indexes: &[
            "occurred_at",
            "device_key, occurred_at",
            "entity_type, entity_id, parameter_name, occurred_at",
        ],
        partitioned: false,
    },
    Table {
        name: "site_operating_schedules",
        columns: &[
            Column {
                sql: "site_key {int} NOT NULL",
                report: Report::Id,
            },
            Column {
                sql: "day_of_week TEXT CHECK (day_of_week IN ('MONDAY', 'TUESDAY', 'WEDNESDAY', 'THURSDAY', 'FRIDAY', 'SATURDAY', 'SUNDAY'))",
                report: Report::Plain,
            },
            Column {
                sql: "date TEXT CHECK (length(date) = 10)",
                report: Report::Plain,
            },
            Column {
                sql: "open_time TEXT CHECK (length(open_time) = 8)",
                report: Report::Plain,
            },
            Column {
                sql: "close_time TEXT CHECK (length(close_time) = 8)",
                report: Report::Plain,
            },
            Column {
                sql: "is_closed {int} CHECK (is_closed IN (0, 1))",
                report: Report::Boolean,
            },
            Column {
                sql: "peak_hours TEXT CHECK (length(peak_hours) <= 4096)",
                report: Report::Json,
            },
            Column {
                sql: "maintenance_windows TEXT CHECK (length(maintenance_windows) <= 4096)",
                report: Report::Json,
            },
            Column {
                sql: "expected_transactions {int} CHECK (expected_transactions BETWEEN 0 AND 2147483647)",
                report: Report::Plain,
            },
            Column {
                sql: "notes TEXT CHECK (length(notes) <= 1000)",
                report: Report::Plain,
            },
        ],
        unique: &[],
        indexes: &["occurred_at", "site_key, occurred_at"],
        partitioned: false,
    },
    Table {
        name: "user_activity",
        columns: &[
            Column {
                sql: "user_id TEXT CHECK (length(user_id) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "session_id TEXT CHECK (length(session_id) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "activity_type TEXT NOT NULL CHECK (activity_type IN ('PAGE_VIEW', 'BUTTON_CLICK', 'SEARCH_QUERY', 'FORM_SUBMIT', 'OTHER'))",
                report: Report::Plain,
            },
            Column {
                sql: "name TEXT CHECK (length(name) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "page_url TEXT CHECK (length(page_url) <= 2048)",
                report: Report::Plain,
            },
            Column {
                sql: "element_id TEXT CHECK (length(element_id) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "search_query TEXT CHECK (length(search_query) <= 1000)",
                report: Report::Plain,
            },
            Column {
                sql: "duration_ms {int} CHECK (duration_ms BETWEEN 0 AND 2147483647)",
                report: Report::Plain,
            },
        ],
        unique: &[],
        indexes: &["occurred_at"],
        partitioned: true,
    },
    Table {
        name: "api_request_logs",
        columns: &[
            Column {
                sql: "endpoint TEXT NOT NULL CHECK (length(endpoint) <= 2048)",
                report: Report::Plain,
            },
            Column {
                sql: "method TEXT NOT NULL CHECK (method IN ('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'CONNECT', 'TRACE'))",
                report: Report::Plain,
            },
            Column {
                sql: "status_code {int} NOT NULL CHECK (status_code BETWEEN 100 AND 599)",
                report: Report::Plain,
            },
            Column {
                sql: "response_time_ms {real} NOT NULL CHECK (response_time_ms BETWEEN 0 AND 86400000)",
                report: Report::Plain,
            },
            Column {
                sql: "operation_name TEXT CHECK (length(operation_name) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "user_id TEXT CHECK (length(user_id) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "ip_address TEXT CHECK (length(ip_address) <= 64)",
                report: Report::Plain,
            },
            Column {
                sql: "user_agent TEXT CHECK (length(user_agent) <= 1000)",
                report: Report::Plain,
            },
            Column {
                sql: "request_bytes {int} CHECK (request_bytes BETWEEN 0 AND 9007199254740991)",
                report: Report::Plain,
            },
            Column {
                sql: "response_bytes {int} CHECK (response_bytes BETWEEN 0 AND 9007199254740991)",
                report: Report::Plain,
            },
            Column {
                sql: "error_message TEXT CHECK (length(error_message) <= 10000)",
                report: Report::Plain,
            },
        ],
        unique: &[],
        indexes: &["occurred_at"],
        partitioned: true,
    },
    Table {
        name: "job_transitions",
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
                sql: "state TEXT NOT NULL CHECK (state IN ('QUEUED', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED'))",
                report: Report::Plain,
            },
            Column {
                sql: "payload TEXT CHECK (length(payload) <= 65536)",
                report: Report::Json,
            },
            Column {
                sql: "targets TEXT CHECK (length(targets) <= 1048576)",
                report: Report::Json,
            },
            Column {
                sql: "changed_by TEXT CHECK (length(changed_by) <= 255)",
                report: Report::Plain,
            },
            Column {
                sql: "reason TEXT CHECK (length(reason) <= 1000)",
                report: Report::Plain,
            },
        ],
        unique: &[],
        indexes: &["occurred_at", "job_id"],
        partitioned: false,
    },
];
