//! Gives a segment up whose file is lost for good, as whoever runs the log says: then nothing waits for it any more.

use thiserror::Error;

use super::{CLAIM, RetentionError, require_archive};
use crate::exports;
use crate::kinds::Kind;
use crate::store::{ClaimError, GivingUp, Store, StoreError};

/// Of what sort the place is in which segments are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceIs {
    /// The wrong one if many are not there.
    Doubted,
    /// The right one, however many are not there.
    Right,
}

/// A segment that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// The kind of its events.
    pub kind: Kind,
    /// How many it had.
    pub events: i64,
}

/// Why a segment is not given up.
#[derive(Debug, Error)]
pub enum GiveUpError {
    /// There is none.
    #[error("no segment is called {name}: `verify` names those that cannot be read")]
    Unknown {
        /// As it was called.
        name: String,
    },
    /// It is not lost.
    #[error("the file of {name} is there and is what was written: it is not given up")]
    Readable {
        /// As it was called.
        name: String,
    },
    /// It cannot be found out, or the list cannot be changed.
    #[error(transparent)]
    Retention(#[from] RetentionError),
}

impl From<ClaimError> for GiveUpError {
    fn from(error: ClaimError) -> Self {
        Self::Retention(error.into())
    }
}

impl From<StoreError> for GiveUpError {
    fn from(error: StoreError) -> Self {
        Self::Retention(error.into())
    }
}

/// Gives a segment up, by the name of its file: its events are gone for good, what they were summed up as stays, and an
/// export that asks for them and is not made fails.
///
/// # Errors
/// When there is none of that name, its file can be read or may be there, many others are not found either, others
/// archive or erase just now, or it cannot be deleted. Nothing has changed then.
pub async fn give_up(store: &Store, name: &str, place: PlaceIs) -> Result<GivenUp, GiveUpError> {
    if !store.can_archive() {
        return Err(RetentionError::Nowhere.into());
    }
    let _claim = store.claim_patiently(CLAIM).await?;
    match require_archive(store).await {
        Err(RetentionError::Absent(absent)) if place == PlaceIs::Right && absent.lacks_files() => {}
        required => required?,
    }
    let name = name.to_owned();
    match store.give_up_segment(&name, exports::awaits).await? {
        GivingUp::Unknown => Err(GiveUpError::Unknown { name }),
        GivingUp::Readable => Err(GiveUpError::Readable { name }),
        GivingUp::Done { kind, events } => Ok(GivenUp { kind, events }),
    }
}
