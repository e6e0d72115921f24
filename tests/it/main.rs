//! The one test binary: behaviour of the whole, on real databases.

mod agent;
mod faulty_server;
mod store;
