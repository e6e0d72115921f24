//! x
pub mod clock;
pub mod configuration;
pub mod event;
pub mod fleet;
pub mod graphql;
pub mod history;
pub mod ingest;
pub mod jobs;
pub mod kinds;
pub mod projections;
pub mod store;
pub mod telemetry;
