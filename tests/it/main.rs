//! The one test binary: behaviour of the whole, on real databases.
#![cfg(test)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test that meets what it does not expect fails there and then"
)]

mod agent;
mod faulty_server;
mod simulate;
mod store;
mod support;
