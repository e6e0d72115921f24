//! x
#![allow(missing_docs)]
pub mod event;
pub mod kinds;
