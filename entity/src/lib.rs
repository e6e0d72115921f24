//! The tables, one file each: columns only, no GraphQL, no logic.

use sea_orm::IdenStatic;

pub mod access_key_usage;
pub mod access_keys;
pub mod alert_rule_changes;
pub mod alert_rules;
pub mod alert_transitions;
pub mod alerts;
pub mod api_request_logs;
pub mod audit_log;
pub mod checkpoints;
pub mod collection_counters;
pub mod command_transitions;
pub mod commits;
pub mod configuration_desired;
pub mod configuration_evidence;
pub mod configuration_evidence_due;
pub mod configuration_history;
pub mod configuration_parameters;
pub mod configuration_settings;
pub mod configuration_values;
pub mod current_schedules;
pub mod device_insight_days;
pub mod device_insights;
pub mod device_intervals;
pub mod device_metrics;
pub mod device_registrations;
pub mod device_rollups_15m;
pub mod device_rollups_1d;
pub mod device_rollups_1h;
pub mod device_silences;
pub mod device_state_history;
pub mod device_states;
pub mod device_status;
pub mod device_stays;
pub mod devices;
pub mod error_group_changes;
pub mod error_group_forms;
pub mod error_group_hours;
pub mod error_group_news;
pub mod error_group_states;
pub mod error_groups;
pub mod error_logs;
pub mod exports;
pub mod insight_due;
pub mod insight_examples;
pub mod insight_fleets;
pub mod insight_horizon;
pub mod insight_models;
pub mod insight_open;
pub mod job_outcomes;
pub mod job_targets;
pub mod job_transitions;
pub mod jobs;
pub mod leases;
pub mod nodes;
pub mod parameter_registrations;
pub mod person_erasures;
pub mod refusals;
pub mod rollup_counters;
pub mod rollup_minutes;
pub mod rollup_places;
pub mod site_operating_schedules;
pub mod site_registrations;
pub mod site_rollups_15m;
pub mod site_rollups_1d;
pub mod site_rollups_1h;
pub mod site_rollups_1m;
pub mod sites;
pub mod user_activity;
pub mod webhook_deliveries;
pub mod webhooks;

/// A column of any of the tables, for code that is the same for all of them.
pub trait ColumnName: Sync {
    /// Name of the column in its table.
    fn name(&self) -> &'static str;
}

impl<C: IdenStatic + Sync> ColumnName for C {
    fn name(&self) -> &'static str {
        self.as_str()
    }
}
