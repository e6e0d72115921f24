//! Whether what was archived can be read, as far as that is known without looking: what the probe and the metrics tell.
//!
//! A server looks every so often whether the newest segment is there, and the oldest, and the one that somebody could
//! not read. Whoever cannot read one says so here at once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::absent::Absent;
use super::files::FilesError;
use crate::store::error::StoreError;

/// Why what was archived cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nobody has said where it lies.
    Nowhere,
    /// It is not there.
    Missing,
    /// It is there, or may be, and cannot be read.
    Unreadable,
    /// Its place does not answer.
    Silent,
}

impl Trouble {
    /// What is wrong, in words that name no place: they are told to whoever asks.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Nowhere => "this server was not told where it lies (--segments)",
            Self::Missing => "it is not where this server looks for it",
            Self::Unreadable => "its place cannot be read",
            Self::Silent => "its place does not answer",
        }
    }
}

impl From<&FilesError> for Trouble {
    fn from(error: &FilesError) -> Self {
        match error {
            FilesError::Nowhere => Self::Nowhere,
            error if error.is_missing() => Self::Missing,
            FilesError::Place(_) | FilesError::Object { .. } | FilesError::Damaged { .. } => {
                Self::Unreadable
            }
        }
    }
}

impl From<&Absent> for Trouble {
    fn from(absent: &Absent) -> Self {
        match absent {
            Absent::Nowhere { .. } => Self::Nowhere,
            Absent::Many { .. } | Absent::Sample { .. } | Absent::One { .. } => Self::Missing,
            Absent::Unreadable { .. } => Self::Unreadable,
            Absent::Silent { .. } => Self::Silent,
        }
    }
}

/// What is known of it.
#[derive(Debug, Default)]
pub(crate) struct Sight(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    trouble: Option<Trouble>,
    /// The file that could not be read last.
    unread: Option<String>,
    /// How often somebody could not read it.
    misses: u64,
}

impl Sight {
    /// Why it cannot be read, if that is so.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.lock().trouble
    }

    /// The file that could not be read last, until it can be.
    pub(super) fn unread(&self) -> Option<String> {
        self.lock().unread.clone()
    }

    /// How often somebody could not read it so far: whoever looks asks for it first.
    pub(super) fn misses(&self) -> u64 {
        self.lock().misses
    }

    /// Keeps that somebody could not read it. A file that is damaged is another matter: the place is well.
    pub(super) fn missed(&self, error: &StoreError) {
        let StoreError::Files(error) = error else {
            return;
        };
        let unread = match error {
            FilesError::Damaged { .. } => return,
            FilesError::Object { name, .. } => Some(name.clone()),
            FilesError::Nowhere | FilesError::Place(_) => None,
        };
        let mut seen = self.lock();
        seen.misses = seen.misses.wrapping_add(1);
        seen.trouble = Some(Trouble::from(error));
        seen.unread = unread.or_else(|| seen.unread.take());
    }

    /// Keeps what was found by looking, and answers whether that is something else than was known. That nothing is
    /// wrong is kept only if nobody has missed anything since the look began, when there were so many misses.
    pub(super) fn found(&self, trouble: Option<Trouble>, misses: u64) -> bool {
        let mut seen = self.lock();
        if trouble.is_none() {
            if seen.misses != misses {
                return false;
            }
            seen.unread = None;
        }
        std::mem::replace(&mut seen.trouble, trouble) != trouble
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_could_not_read_is_known_until_it_was_looked_for() {
        let sight = Sight::default();
        assert_eq!(sight.trouble(), None);
        assert!(!sight.found(None, sight.misses()));
        let gone = object_store::Error::NotFound {
            path: "a".to_owned(),
            source: "gone".into(),
        };
        sight.missed(&StoreError::Files(FilesError::Object {
            doing: "read",
            name: "a".to_owned(),
            source: Box::new(gone),
        }));
        assert_eq!(sight.trouble(), Some(Trouble::Missing));
        assert_eq!(sight.unread().as_deref(), Some("a"));
        sight.missed(&StoreError::Files(FilesError::Nowhere));
        assert_eq!(sight.trouble(), Some(Trouble::Nowhere));
        assert_eq!(sight.unread().as_deref(), Some("a"));
        assert!(!sight.found(Some(Trouble::Nowhere), sight.misses()));
        assert!(sight.found(None, sight.misses()));
        assert_eq!((sight.trouble(), sight.unread()), (None, None));
    }

    #[test]
    fn what_was_missed_while_somebody_looked_is_not_forgotten() {
        let sight = Sight::default();
        let misses = sight.misses();
        sight.missed(&StoreError::Files(FilesError::Nowhere));
        assert!(!sight.found(None, misses));
        assert_eq!(sight.trouble(), Some(Trouble::Nowhere));
        assert!(sight.found(None, sight.misses()));
        assert_eq!(sight.trouble(), None);
    }

    #[test]
    fn a_damaged_file_says_nothing_of_its_place() {
        let sight = Sight::default();
        let name = "a".to_owned();
        sight.missed(&StoreError::Files(FilesError::Damaged { name }));
        sight.missed(&StoreError::Crowded);
        assert_eq!(sight.trouble(), None);
    }
}
