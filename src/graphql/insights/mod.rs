//! What the log says of the fleet, with its evidence: one part of the roots for each insight.
//!
//! All of them are told in one [`shape`]; what an insight says beside that is an object of its own.

mod error_group;
mod error_group_commands;
mod error_group_parts;
mod error_group_streams;
mod error_groups;
mod shape;

pub(super) use error_group_commands::GroupCommands;
pub(super) use error_group_streams::GroupStreams;
pub(super) use error_groups::ErrorGroups;
pub(super) use shape::Interface;
