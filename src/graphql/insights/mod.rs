//! What the log says of the fleet, with its evidence: one part of the roots for each insight.
//!
//! All of them are told in one [`shape`]; what an insight says beside that is an object of its own.

mod shape;

pub(super) use shape::Interface;
