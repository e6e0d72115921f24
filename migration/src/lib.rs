//! The numbered migrations of HOMEPOT Analytics.
//!
//! Each stands alone and is never edited once it has landed: what the program knows of a table may
//! change, what a migration did may not. Both databases are written from one text; `{int}`,
//! `{real}` and `{uuid}` stand for the type that each of them has for the thing. Each is one
//! transaction on both, so that it is there wholly or not at all.

pub use sea_orm_migration::prelude::{MigrationTrait, MigratorTrait};

mod m0001_fleet;
mod m0001_log;
mod m0001_records;
mod m0002_state;
mod m0003_bytewise_ids;
mod m0004_site_indexes;
mod m0005_access;
mod m0008_commands;
mod m0009_alerts;
mod m0010_configuration;
mod m0011_activity_indexes;
mod m0012_device_stays;
mod m0013_email_recipients;
mod m0014_job_failures;
mod m0015_rollups;
mod m0016_segments;
mod m0017_nodes;
mod m0018_rollup_days;
mod m0019_exports;
mod m0020_rollup_moves;
mod m0021_erasures;
mod m0022_in_time;
mod m0023_rollup_sites;
mod m0024_lake;
mod m0025_rollup_labels;
mod m0026_device_intervals;
mod m0027_label_secret;
mod m0028_device_silences;
mod m0029_device_states;
mod m0030_log_schema;
mod m0031_insight_states;
mod m0032_insight_models;
mod m0033_error_groups;
mod m0034_job_insights;
mod m0035_alert_insights;
mod tables;

/// All migrations, in the order in which they run.
#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_log::Migration),
            Box::new(m0002_state::Migration),
            Box::new(m0003_bytewise_ids::Migration),
            Box::new(m0004_site_indexes::Migration),
            Box::new(m0005_access::Migration),
            Box::new(m0008_commands::Migration),
            Box::new(m0009_alerts::Migration),
            Box::new(m0010_configuration::Migration),
            Box::new(m0011_activity_indexes::Migration),
            Box::new(m0012_device_stays::Migration),
            Box::new(m0013_email_recipients::Migration),
            Box::new(m0014_job_failures::Migration),
            Box::new(m0015_rollups::Migration),
            Box::new(m0016_segments::Migration),
            Box::new(m0017_nodes::Migration),
            Box::new(m0018_rollup_days::Migration),
            Box::new(m0019_exports::Migration),
            Box::new(m0020_rollup_moves::Migration),
            Box::new(m0021_erasures::Migration),
            Box::new(m0022_in_time::Migration),
            Box::new(m0023_rollup_sites::Migration),
            Box::new(m0024_lake::Migration),
            Box::new(m0025_rollup_labels::Migration),
            Box::new(m0026_device_intervals::Migration),
            Box::new(m0027_label_secret::Migration),
            Box::new(m0028_device_silences::Migration),
            Box::new(m0029_device_states::Migration),
            Box::new(m0030_log_schema::Migration),
            Box::new(m0031_insight_states::Migration),
            Box::new(m0032_insight_models::Migration),
            Box::new(m0033_error_groups::Migration),
            Box::new(m0034_job_insights::Migration),
            Box::new(m0035_alert_insights::Migration),
        ]
    }
}
