//! When to run a job (`recommendJobWindow`) and how jobs end (`jobPatterns`).
//!
//! The demand of a site is learned from closed hourly rollups of `transactionCount` ([`demand`], [`rates`]),
//! the success of jobs from their outcomes ([`success`]). A recommendation weighs both over every start of the
//! next seven days that the limits allow ([`window`], [`cost`], [`recommend`]).
//! Pure: no I/O, no clock, no randomness that is not seeded.

pub mod cost;
pub mod count;
pub mod demand;
pub mod draw;
pub mod patterns;
pub mod rates;
pub mod recommend;
pub mod schedule;
pub mod success;
pub mod tills;
pub mod told;
pub mod window;
