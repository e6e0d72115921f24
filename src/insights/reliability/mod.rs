//! Reliability and data quality of devices, as pure functions of what they reported.

pub mod bounds;
pub mod cadence;
pub mod collected;
pub mod counts;
pub mod data;
pub mod figures;
pub mod fleet;
pub mod insight;
#[cfg(test)]
mod insight_tests;
pub mod intervals;
pub mod predict;
pub mod quality;
pub mod stuck;
pub mod summary;
mod windows;
mod words;
