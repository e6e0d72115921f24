//! Rules of what insights say of devices: that one is likely to fail, is not well, or that something about it is
//! unusual.
//!
//! Devices are judged in rounds ([`Rounds`]), beside the log that is followed: a round reads what is kept of them and
//! asks the pure methods. What comes of it ([`Judged`]) is heard by each rule ([`Insights`]), which does no I/O.

mod judged;
mod round;
pub(super) mod rule;
mod state;
mod turns;

pub(super) use judged::Judged;
pub(super) use round::Rounds;
pub(super) use state::Insights;
pub(super) use turns::Turns;
