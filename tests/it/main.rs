//! The one test binary: behaviour of the whole, on real databases.

mod store;
