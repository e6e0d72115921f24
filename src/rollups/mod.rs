//! Rollups: what the log says, summed up by time, so that a question about months reads thousands of
//! rows and not millions.
//!
//! A rollup has a row for each thing and each bucket in which anything was said of it, and a row has for
//! each measure its count, sum, squares, extrema, first and last, the increase of a counter, and how the
//! values of a gauge are distributed ([`cell`], [`sketch`]). Rows merge: those of an hour are those of its
//! quarters, those of a site those of its devices. None of it depends on the order in which events came:
//! sums are of whole numbers ([`value`]), so that a rollup that is folded again is the same to the byte.
//!
//! Labels tell rows apart, of one owner within one bucket so many and no more ([`labels`]).
//!
//! Quarters of an hour are the least that is kept of devices: every time zone is so many of them away from
//! UTC. Nothing here does I/O; the tables are filled by a projection and read by whoever asks.

pub(crate) mod bits;
pub(crate) mod cell;
pub(crate) mod days;
pub(crate) mod labels;
pub(crate) mod packed;
pub(crate) mod shape;
pub(crate) mod sketch;
pub(crate) mod value;
