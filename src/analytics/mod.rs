//! Series, rankings and comparisons: what the log says over time, in the shop's own time.
//!
//! Answered from rollups, so that the cost grows with the buckets of the answer and not with the rows behind
//! them, and from the log itself where a bucket is finer than they are or begins within one of theirs, and for
//! what came last and is not summed up yet. All of it is of one moment, whose position the answer bears.
//!
//! A [`subject`] is what all questions have in common: measures of a kind, of a part of the fleet, told apart
//! by something. It is asked for over time ([`ask`]), as a ranking ([`ranking`]) or by the hour of the week
//! ([`week`]), each beside an earlier time ([`earlier`]). States last, so that they are not summed up but followed from change to change ([`states`],
//! [`availability`]), for as long as their device is heard of (`silent`). A series may be followed ([`live`]): it is asked anew when something comes, and what has
//! changed of it is told (`told`).

pub mod ask;
pub mod availability;
pub mod buckets;
#[cfg(test)]
mod buckets_tests;
pub mod calendar;
mod cut;
pub mod earlier;
#[cfg(test)]
mod earlier_tests;
mod expected;
mod grouped;
pub mod live;
#[cfg(test)]
mod moments_tests;
pub mod provenance;
pub mod question;
pub mod ranking;
pub(crate) mod read;
pub mod series;
mod silent;
mod single;
pub mod states;
pub mod stats;
mod stays;
pub mod subject;
pub(crate) mod told;
mod unfolded;
pub mod week;
