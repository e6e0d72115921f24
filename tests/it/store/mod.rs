//! The contract of the log, the same on SQLite and on PostgreSQL.
#![expect(
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    reason = "a test owns its tasks, fails on what it does not expect, and may be one long table"
)]

mod abandoned;
mod append;
mod archived;
mod backup;
mod bounds;
mod commits;
mod configuration;
mod derived;
mod duplicates;
mod elsewhere;
mod erased_beside;
mod erasures;
mod error_groups;
mod fences;
mod filters;
mod foreign;
mod given_up;
mod held;
mod histories;
mod insights;
mod job_success;
mod jobs;
mod labels;
mod models;
mod moves;
mod overload;
mod partitions;
mod parts;
mod projections;
mod recalls;
mod reports;
mod retention;
mod segments;
mod standing;
mod states;
mod tail;
mod together;
mod upgrades;
mod values;
mod verify;
mod versions;
