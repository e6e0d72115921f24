//! Series, rankings and comparisons: what the log says over time, in the shop's own time.
//!
//! Answered from rollups, so that the cost grows with the buckets of the answer and not with the rows behind
//! them, and from the log itself where a bucket is finer than they are or begins within one of theirs, and for
//! what came last and is not summed up yet. All of it is of one moment, whose position the answer bears.

pub mod ask;
pub mod buckets;
pub mod question;
pub(crate) mod read;
pub mod series;
mod single;
mod unfolded;
