//! The one test binary: behaviour of the whole, on real databases.
#![cfg(test)]

mod agent;
mod faulty_server;
mod simulate;
mod store;
mod support;
