//! Groups of errors that are one error, as people see them: which there are in a part of the fleet, how often, since
//! when and after which change, as of any instant, and what people decide about them.
//!
//! What the projection has folded is read with what was recorded since, so that an answer is of now. Of the whole fleet
//! a group is told as it is kept; of a part of it, or as of an instant before, it is made of what was counted there and
//! until then, hour by hour. Which messages are one group is always as it is known now. Reads only, but for
//! `decide` and `merge`, which record what people decide.

mod about;
mod causes;
mod commands;
mod counted;
mod devices;
mod errors;
mod following;
mod found;
mod hour;
mod news;
mod page;
mod standing;

use thiserror::Error;

use crate::kinds::Refusal;
use crate::store::{AppendError, StoreError};

pub(crate) use crate::projections::groups::told::GroupId;
pub(crate) use commands::{Change, Decision, decide, merge};
pub(crate) use counted::Cut;
pub(crate) use devices::{DeviceCount, DevicesAsk, DevicesFound};
pub(crate) use errors::{Errors, ErrorsAsk, Times, TimesAsk};
pub(crate) use found::Parts;
pub(crate) use news::{News, What};
pub(crate) use page::{Ask, By, Page, Told, Which};
pub use standing::Groups;

/// Why a decision about a group was not taken.
#[derive(Debug, Error)]
pub(crate) enum GroupError {
    /// There is no such group.
    #[error("there is no such error group")]
    Unknown,
    /// Some of its errors are of devices that the caller does not reach.
    #[error(
        "the error group has errors of devices that you do not reach: it is decided about as a whole"
    )]
    Partly,
    /// Groups of what is real and of what is not are never one.
    #[error("error groups of different provenance cannot be merged")]
    OtherProvenance,
    /// It is none of the groups that it is merged with.
    #[error("give between 1 and {} groups to be merged", commands::MERGED_MAX)]
    TooMany,
    /// Others decided each time that it was read.
    #[error("it was changed by others at the same time; try again")]
    Contended,
    /// It is not what the caller has read.
    #[error("the error group has changed: its version is {version}")]
    Stale {
        /// Position of the last decision about it; 0 when nobody decided anything.
        version: i64,
    },
    /// One of its values is out of bounds.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The log cannot be read.
    #[error("cannot read the error groups")]
    Store(#[from] StoreError),
    /// The log cannot be written.
    #[error("cannot record the decision")]
    Append(#[from] AppendError),
}

impl From<Refusal> for GroupError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
