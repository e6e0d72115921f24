//! Erases what is personal in the events of a person.

use super::{CLAIM, RetentionError};
use crate::store::Store;

/// Characters at most of the id of a person.
const PERSON_CHARACTERS_MAX: usize = 255;

/// What was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Events that had something of the person.
    pub events: i64,
    /// Segments that were written anew.
    pub segments: i64,
}

/// Erases the id of a person, and what else is personal, from all that is recorded of them until now. An
/// event stays one of the log: its time, its kind and what it counts as.
///
/// # Errors
/// When the id is none, others archive or erase just now, or something cannot be read or written. Nothing
/// is erased then.
pub async fn erase_person(
    store: &Store,
    person: &str,
    by: &str,
) -> Result<Erasure, RetentionError> {
    let characters = person.chars().count();
    if !(1..=PERSON_CHARACTERS_MAX).contains(&characters) || person.contains('\0') {
        return Err(RetentionError::Person);
    }
    let _claim = store.claim_patiently(CLAIM).await?;
    let erased = store.erase(person, by).await?;
    Ok(Erasure {
        events: erased.events,
        segments: erased.segments,
    })
}
