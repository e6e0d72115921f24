//! Reads of folded state for the API: sites, devices, schedules, counts, jobs.

pub mod collection;
pub mod fleet;
pub mod jobs;
