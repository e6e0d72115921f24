//! x
pub mod agent;
pub mod client;
pub mod clock;
pub mod event;
pub mod kinds;
pub mod store;
pub mod telemetry;
