//! Insights: readings with evidence of what the log says, each a function of what happened until an instant.
//!
//! Nothing here does I/O, reads a clock, or writes. Each insight keeps a small state for a device, which is folded
//! from hours that are over in order of time ([`input`]), and answers in one shape ([`shape`]): a value, between which
//! bounds the truth lies, what it rests on, and why. Where there is too little to go by it says so and gives no value.
//! What is kept of a device is folded by [`kept`], whoever asks for it. [`replay`] asks them of a file of events at
//! given instants, so that it can be measured how good they are.

pub mod anomaly;
pub mod device;
pub mod errors;
pub mod fleet;
pub mod impact;
pub mod input;
pub mod jobs;
pub mod kept;
pub mod number;
pub mod reliability;
pub mod replay;
pub mod risk;
pub mod shape;
pub mod sites;
