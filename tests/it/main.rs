//! The one test binary: behaviour of the whole, on real databases.
#![cfg(test)]
#![expect(
    clippy::disallowed_methods,
    reason = "a test owns its tasks and its environment, is told from top to bottom, and fails at \
              what it does not expect"
)]

mod agent;
mod api;
mod calendar;
mod columnar;
mod demo;
mod enrolment;
mod export;
mod faulty_server;
mod golden;
mod insights;
mod process;
mod simulate;
mod store;
mod support;
mod tidy;
