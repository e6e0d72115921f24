//! Whether what was archived can be read, as far as that is known without looking: what the probe and the metrics tell.
//!
//! A server looks every so often whether the newest segment is there, and the oldest, and the one that somebody could
//! not read. Whoever cannot read one says so here at once, and whoever does not know why something failed has it looked
//! at once. Whoever runs the server is told when it begins and when it is over, and not each time.

use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::absent::Absent;
use super::files::FilesError;
use crate::store::error::StoreError;
use crate::telemetry::chain;

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
pub(crate) struct Sight {
    seen: Mutex<Seen>,
    /// Somebody has it looked.
    doubts: Notify,
}

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
        if let StoreError::Files(error) = error
            && !matches!(error, FilesError::Damaged { .. })
        {
            self.met((Trouble::from(error), name_of(error)), error);
        }
    }

    /// Keeps that somebody looked for it and did not find it.
    pub(super) fn lacks(&self, absent: &Absent) {
        let unread = absent.name().map(str::to_owned);
        self.met((Trouble::from(absent), unread), absent);
    }

    fn met(&self, (trouble, unread): (Trouble, Option<String>), error: &dyn Error) {
        let mut seen = self.lock();
        seen.misses = seen.misses.wrapping_add(1);
        seen.unread = unread.or_else(|| seen.unread.take());
        let was_well = seen.trouble.replace(trouble).is_none();
        drop(seen);
        if was_well {
            tell(error);
        } else {
            tracing::debug!(error = %chain(error), "what was archived still cannot be read");
        }
    }

    /// Has it looked at once whether it can be read: something failed of which that may be the reason.
    pub(super) fn doubted(&self, error: &StoreError) {
        let StoreError::Files(error) = error else {
            return;
        };
        let mut seen = self.lock();
        if seen.trouble.is_some() || matches!(error, FilesError::Damaged { .. }) {
            return;
        }
        seen.unread = seen.unread.take().or_else(|| name_of(error));
        drop(seen);
        self.doubts.notify_one();
    }

    /// Waits until somebody has it looked.
    pub(super) async fn is_doubted(&self) {
        self.doubts.notified().await;
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
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells whoever runs the server that it cannot be read.
pub(super) fn tell(error: &dyn Error) {
    tracing::warn!(
        error = %chain(error),
        "what was archived cannot be read: who asks for it is refused, and what may repeat it is not taken"
    );
}

/// The name of the file that could not be used, if it was a file.
fn name_of(error: &FilesError) -> Option<String> {
    match error {
        FilesError::Object { name, .. } | FilesError::Damaged { name } => Some(name.clone()),
        FilesError::Nowhere | FilesError::Place(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

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
    fn whoever_does_not_find_some_of_it_tells_of_one_to_be_looked_for() {
        let sight = Sight::default();
        sight.lacks(&Absent::Sample {
            place: "elsewhere".to_owned(),
            listed: 9,
            looked: 8,
            missing: 2,
            name: "a".to_owned(),
        });
        assert_eq!(sight.trouble(), Some(Trouble::Missing));
        assert_eq!(sight.unread().as_deref(), Some("a"));
    }

    #[test]
    fn it_is_looked_at_once_when_somebody_doubts_and_nothing_is_known() {
        let sight = Sight::default();
        let is_doubted = || sight.is_doubted().now_or_never().is_some();
        let nowhere = StoreError::Files(FilesError::Nowhere);
        assert!(!is_doubted());
        sight.doubted(&StoreError::Crowded);
        assert!(!is_doubted());
        sight.doubted(&nowhere);
        assert_eq!(sight.trouble(), None);
        assert!(is_doubted());
        assert!(!is_doubted(), "it was looked");
        sight.missed(&nowhere);
        sight.doubted(&nowhere);
        assert!(!is_doubted(), "it is known");
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
