//! How long events are kept, and where: when those of a kind go from their table into segments, and when they
//! are deleted for good.
//!
//! An age is that of an event since it happened, in whole days of UTC: what happened on a day goes together.
//! Only what all projections have folded is archived, so that none of them ever misses it.

mod beside;
mod eraser;
mod erasures;
mod given_up;
mod homeless;
mod keeper;
mod metrics;
mod policy;
mod run;

use thiserror::Error;

pub use eraser::Eraser;
pub use erasures::{
    ErasureRow, ErasureState, erase_person, erase_waiting, erasure, erasure_within, erasures,
};
pub use given_up::{GiveUpError, GivenUp, PlaceIs, give_up};
pub use homeless::tell_homeless;
pub use keeper::Keeper;
pub use metrics::RetentionMetrics;
pub use policy::{Age, Policy, policies, set};
pub use run::{Done, Run, Unfolded, planned, run, unfolded};

use crate::store::{Absent, ClaimError, Store, StoreError};
use erasures::UNDONE_MAX;

/// What is claimed by whoever archives, deletes, gives up or erases: one at a time.
const CLAIM: &str = "retention";
/// What those call themselves where faults are told who archive and delete, and who erase.
pub(crate) const SOURCES: [&str; 2] = [ARCHIVE, ERASURES];
const ARCHIVE: &str = "the archive";
const ERASURES: &str = "erasures";
/// Days at most in a policy: a hundred years.
const DAYS_MAX: u32 = 36_525;

/// Why something is not kept otherwise, or was not archived, deleted or erased.
#[derive(Debug, Error)]
pub enum RetentionError {
    /// Such events are what holds is made of.
    #[error("events of this kind are never archived nor deleted: what holds is made of them")]
    KeptHere,
    /// A number of days is out of its bounds.
    #[error("an age has 1 to {DAYS_MAX} days")]
    Days {
        /// The field that it is given in.
        field: &'static str,
    },
    /// What is deleted was archived before.
    #[error(
        "events cannot be deleted before they are archived: they would be after {delete} days, and archived after {archive}"
    )]
    DeletedFirst {
        /// The field to blame: of ages of which one stays as it is, the other.
        field: &'static str,
        /// After how many days they would be archived.
        archive: u32,
        /// After how many days they would be deleted.
        delete: u32,
    },
    /// The id of a person has bounds.
    #[error("the id of a person has 1 to 255 characters")]
    Person,
    /// Who asks would be named no more as who asked.
    #[error(
        "nobody erases themselves, since the audit is to tell who asked for it: have somebody else ask"
    )]
    Oneself,
    /// Too many erasures are not done.
    #[error("{UNDONE_MAX} erasures are not done; try again when some are")]
    TooMany,
    /// Nobody has said where segments lie.
    #[error("it is not said where segments lie: start `serve` with --segments")]
    Nowhere,
    /// What is archived is not where it is looked for.
    #[error(transparent)]
    Absent(#[from] Absent),
    /// No server can read and write what is archived.
    #[error(
        "no server that runs can read what is archived, so nobody could be erased from it: start `serve` with --segments"
    )]
    NobodyCan,
    /// Somebody else does it just now.
    #[error("events are being archived, deleted or erased just now; try again in a moment")]
    Busy,
    /// It cannot be found out whether somebody else does.
    #[error("cannot claim the segments")]
    Claim(#[source] ClaimError),
    /// The log or its segments cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ClaimError> for RetentionError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Taken => Self::Busy,
            error @ (ClaimError::File { .. } | ClaimError::Store(_)) => Self::Claim(error),
        }
    }
}

/// Refuses where what is archived already is not found: whatever was archived or written anew there would lie apart
/// from it.
async fn require_archive(store: &Store) -> Result<(), RetentionError> {
    match store.absent_archive().await? {
        Some(absent) => Err(absent.into()),
        None => Ok(()),
    }
}

/// Has it looked at once whether what is archived can be read, where that may be why something failed.
fn doubt(store: &Store, error: &RetentionError) {
    if let RetentionError::Store(error) = error {
        store.doubt_archive(error);
    }
}
