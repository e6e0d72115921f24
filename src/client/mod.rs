//! A client of the public API: records events over HTTP and loses none that it was given.
//!
//! Events go one way only: into a [`Backlog`] (on disk for a device that must not lose them, in
//! memory for a simulation), from there by the task of [`sender`] to the server, and out of the
//! backlog when the server has answered them. A repeat is harmless, since every event carries an
//! id or a natural key. This module knows events only as lines of JSON: it makes none and reads
//! none.

pub mod answer;
pub mod api;
pub mod args;
pub mod backlog;
pub mod backoff;
pub mod commands;
mod delivery;
pub mod follow;
mod segment;
pub mod sender;
pub mod spool;

pub use answer::{CallError, EnrolError, Enrolled, Outcome, Remedy, Status};
pub use api::{Client, ClientConfig, ClientError, Line};
pub use args::{ArgsError, ServerArgs};
pub use backlog::{Backlog, Kept, MemoryLimits};
pub use backoff::Backoff;
pub use commands::Command;
pub use follow::Heard;
pub use sender::{Handle, Preamble, SenderConfig, Totals};
pub use spool::{Spool, SpoolError, SpoolLimits};
