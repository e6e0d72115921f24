//! The one test binary: behaviour of the whole, on real databases.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test that meets what it does not expect fails there and then"
)]

mod store;
mod support;
