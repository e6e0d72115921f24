//! How unusual what a device measures is, against its own past.
//!
//! A [`State`] per device and measure is a function of closed hourly rollups in order of time. It
//! holds a level, a profile of the hour of the week, three scales, and a sketch of past scores.
//! Samples of the open hour are scored against it ([`score`]) and never folded. [`read`] says the
//! result as an insight. Nothing here does I/O, reads a clock or knows another device, except
//! through the pooled profiles ([`Pool`]) that a caller hands in.

mod incident;
mod past;
mod pool;
mod profile;
mod reading;
mod score;
mod sketch;
mod state;
mod words;

pub use incident::{Change, Incident, Ranged};
pub use past::{PAST_KEPT, Standing, incidents, past};
pub use pool::{Pool, Pools, References};
pub use reading::{Subject, read};
pub use score::{Scored, score};
pub use state::{Expectation, State, fold};

/// From this value on a sample opens an incident: what happens in less than one hour of 57.
///
/// The middle of the plateau on the tuning half of the NAB examples (0.40 to 0.48).
pub const OPEN: f64 = 0.44;
/// An incident closes after this many hours without a score of [`OPEN`].
pub const QUIET_HOURS: f64 = 12.0;
/// How many hours with reports there must be before anything is said.
pub const WARM_HOURS: u32 = 24;
