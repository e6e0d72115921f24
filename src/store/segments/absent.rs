//! Whether the files of segments lie where they are looked for. Whoever was told of no place, or of another one,
//! finds none of them, or those alone that were made since, which is no damage of the log.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::ConnectionTrait;
use thiserror::Error;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::files::{Files, FilesError};
use super::sight::tell;
use super::within::generation_of;
use super::{Catalog, Segment, Segments, Trouble};
use crate::places::Place;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::joined::TRIES;
use crate::telemetry::chain;
use crate::ticks;

/// How long it is waited for the place of segments to answer, each time that it is asked.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// How often it looks whether they can be read.
const LOOKS_EVERY: Duration = Duration::from_secs(30);
/// If one of so many is missing, and more than one, it is the place that is wrong, and no file is lost.
const MANY_OF: usize = 4;
/// Segments at most that are looked for one by one before something is archived, deleted or erased.
const LOOKED_FOR: usize = 8;

/// Why segments are not found that are listed.
#[derive(Debug, Error)]
pub enum Absent {
    /// Nobody has said where they lie.
    #[error(
        "segments cannot be found, since it is not said where they lie: {listed} segments are listed; give their \
         place by --segments"
    )]
    Nowhere {
        /// How many there are.
        listed: usize,
    },
    /// Many of them are not there.
    #[error(
        "segments cannot be found at {place}: {listed} segments are listed, and {missing} of them are not there; give \
         the place in which they lie by --segments, or put them back"
    )]
    Many {
        /// Where they were looked for.
        place: String,
        /// How many there are.
        listed: usize,
        /// How many of them are not there.
        missing: usize,
    },
    /// Many of those that were looked for are not there.
    #[error(
        "segments cannot be found at {place}: {listed} segments are listed, and of {looked} that were looked for \
         {missing} are not there, {name} among them; give the place in which they lie by --segments, or put them back"
    )]
    Sample {
        /// Where they were looked for.
        place: String,
        /// How many there are.
        listed: usize,
        /// How many of them were looked for.
        looked: usize,
        /// How many of those are not there.
        missing: usize,
        /// The name of the file of one of these.
        name: String,
    },
    /// One of them is not there; the others were not looked for.
    #[error(
        "segments cannot be found at {place}: {listed} segments are listed, and {name} is not there; give the place \
         in which they lie by --segments, or put them back"
    )]
    One {
        /// Where it was looked for.
        place: String,
        /// How many there are.
        listed: usize,
        /// The name of its file.
        name: String,
    },
    /// The place cannot be looked into.
    #[error(
        "segments cannot be looked for at {place}: {listed} segments are listed; make sure that it can be reached \
         and read, or give the place in which they lie by --segments"
    )]
    Unreadable {
        /// Where they were looked for.
        place: String,
        /// How many there are.
        listed: usize,
        /// Why.
        source: Box<FilesError>,
    },
    /// The place does not answer.
    #[error(
        "{place}, where {listed} segments are to lie, did not answer within {} s",
        ANSWERS_WITHIN.as_secs()
    )]
    Silent {
        /// Where they were looked for.
        place: String,
        /// How many there are.
        listed: usize,
    },
}

impl Absent {
    /// The name of a file that is not there, if one was looked for by its name.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Sample { name, .. } | Self::One { name, .. } => Some(name),
            Self::Nowhere { .. } | Self::Many { .. } => None,
            Self::Unreadable { .. } | Self::Silent { .. } => None,
        }
    }

    /// Whether it may be found a little later, with nothing mended.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Silent { .. } => true,
            Self::Unreadable { source, .. } => source.may_pass(),
            Self::Nowhere { .. } | Self::Many { .. } => false,
            Self::Sample { .. } | Self::One { .. } => false,
        }
    }

    /// Whether files are not there, of a place that can be looked into. It may be so only because the list has changed
    /// since it was read.
    pub(crate) const fn lacks_files(&self) -> bool {
        match self {
            Self::Many { .. } | Self::Sample { .. } | Self::One { .. } => true,
            Self::Nowhere { .. } | Self::Unreadable { .. } | Self::Silent { .. } => false,
        }
    }
}

/// Which segments are looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sought {
    /// Some of all ages: one that is lost is damage, and the place is wrong where it lacks many of them.
    Sample,
    /// The newest and the oldest, and the one that somebody could not read.
    Few,
    /// All, in what the place says it has: a few that it has not are damage.
    All,
}

impl Segments {
    /// Why segments of the newest list are not found, if that is so.
    ///
    /// # Errors
    /// When the list cannot be read, or changes again and again.
    pub(crate) async fn absent(
        &self,
        db: &impl ConnectionTrait,
        sought: Sought,
    ) -> Result<Option<Absent>, StoreError> {
        for _ in 0..TRIES {
            let catalog = self.of_generation(db, generation_of(db).await?).await?;
            let absent = self.absent_of(&catalog, sought).await;
            let may_be_overtaken = absent.as_ref().is_some_and(Absent::lacks_files);
            if !may_be_overtaken || generation_of(db).await? == catalog.generation {
                return Ok(absent);
            }
            // what was looked for may have been replaced or deleted
        }
        Err(StoreError::SegmentsMoved)
    }

    /// Why segments of a list are not found, if that is so.
    async fn absent_of(&self, catalog: &Catalog, sought: Sought) -> Option<Absent> {
        let listed = catalog.all().count();
        if listed == 0 {
            return None;
        }
        let Some(files) = &self.files else {
            return Some(Absent::Nowhere { listed });
        };
        match sought {
            Sought::Sample => many_of_sample(files, catalog, listed).await,
            Sought::Few => {
                for segment in self.few(catalog) {
                    if let Some(absent) = unseen(files, listed, &segment.path).await {
                        return Some(absent);
                    }
                }
                None
            }
            Sought::All => many_missing(files, catalog, listed).await,
        }
    }

    /// The newest segment and the oldest, and the one that somebody could not read.
    fn few(&self, catalog: &Catalog) -> Vec<Arc<Segment>> {
        let newest = catalog.all().max_by_key(|segment| segment.id);
        let oldest = catalog.all().min_by_key(|segment| segment.id);
        let unread = self.sight.unread();
        let unread = unread.and_then(|path| catalog.all().find(|segment| segment.path == path));
        let few = [newest, oldest, unread];
        few.into_iter().flatten().map(Arc::clone).collect()
    }
}

/// Some of so many, evenly apart, with the first and the last of them.
fn evenly(listed: usize) -> Vec<usize> {
    let (count, last) = (listed.min(LOOKED_FOR), listed.saturating_sub(1));
    let steps = count.saturating_sub(1).max(1);
    (0..count).map(|step| step * last / steps).collect()
}

/// Why many of some segments of all ages are not found, if that is so.
async fn many_of_sample(files: &Files, catalog: &Catalog, listed: usize) -> Option<Absent> {
    let mut all: Vec<&Arc<Segment>> = catalog.all().collect();
    all.sort_unstable_by_key(|segment| segment.id);
    let sample = evenly(listed);
    let looked = sample.len();
    let mut missing = Vec::new();
    for segment in sample.into_iter().filter_map(|index| all.get(index)) {
        match unseen(files, listed, &segment.path).await {
            Some(Absent::One { name, .. }) => missing.push(name),
            Some(absent) => return Some(absent),
            None => {}
        }
    }
    let name = missing.first()?.clone();
    are_many(missing.len(), looked).then(|| Absent::Sample {
        place: files.place().to_string(),
        listed,
        looked,
        missing: missing.len(),
        name,
    })
}

/// Whether so many are missing that it is the place that is wrong.
const fn are_many(missing: usize, listed: usize) -> bool {
    missing == listed || (missing > 1 && missing.saturating_mul(MANY_OF) >= listed)
}

/// Why many segments of a list are not found, if that is so. The place is asked once for what it has.
async fn many_missing(files: &Files, catalog: &Catalog, listed: usize) -> Option<Absent> {
    let place = files.place().to_string();
    let names = match files.names_within(&catalog.home, ANSWERS_WITHIN).await {
        Ok(Some(names)) => names,
        Ok(None) => return Some(Absent::Silent { place, listed }),
        Err(source) => return Some(unreadable(files, listed, source)),
    };
    let names: HashSet<String> = names.into_iter().collect();
    let is_missing = |segment: &&Arc<Segment>| !names.contains(&segment.path);
    let missing = catalog.all().filter(is_missing).count();
    are_many(missing, listed).then_some(Absent::Many {
        place,
        listed,
        missing,
    })
}

/// Why a file cannot be read, if that is so.
async fn unseen(files: &Files, listed: usize, name: &str) -> Option<Absent> {
    let place = files.place().to_string();
    match timeout(ANSWERS_WITHIN, files.begins(name)).await {
        Ok(Ok(true)) => None,
        Ok(Ok(false)) => Some(Absent::One {
            place,
            listed,
            name: name.to_owned(),
        }),
        Ok(Err(source)) => Some(unreadable(files, listed, source)),
        Err(_) => Some(Absent::Silent { place, listed }),
    }
}

fn unreadable(files: &Files, listed: usize, source: FilesError) -> Absent {
    Absent::Unreadable {
        place: files.place().to_string(),
        listed,
        source: Box::new(source),
    }
}

impl Store {
    /// Where segments lie, if that is known.
    pub(crate) fn segments_place(&self) -> Option<&Place> {
        self.segments().files.as_ref().map(Files::place)
    }

    /// Why what was archived cannot be read, as far as that is known; nothing is looked for.
    pub(crate) fn archive_trouble(&self) -> Option<Trouble> {
        self.segments().sight.trouble()
    }

    /// Why what was archived is not found, if much of it is not: whatever else is archived would lie apart from it.
    /// It is known to all from then on.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub(crate) async fn absent_archive(&self) -> Result<Option<Absent>, StoreError> {
        let db = &self.shared.connections.readers;
        let absent = self.segments().absent(db, Sought::Sample).await?;
        if let Some(absent) = &absent {
            self.segments().sight.lacks(absent);
        }
        Ok(absent)
    }

    /// Has it looked at once whether what was archived can be read, where that may be why something failed.
    pub(crate) fn doubt_archive(&self, error: &StoreError) {
        self.segments().sight.doubted(error);
    }

    /// Looks whether what was archived can be read, and tells whoever runs the server when that has changed.
    pub(crate) async fn look_at_archive(&self) {
        let (db, segments) = (&self.shared.connections.readers, self.segments());
        let misses = segments.sight.misses();
        let absent = match segments.absent(db, Sought::Few).await {
            Ok(absent) => absent,
            Err(error) => {
                let error = chain(&error).to_string();
                tracing::warn!(
                    error,
                    "it cannot be looked whether what was archived can be read"
                );
                return;
            }
        };
        let trouble = absent.as_ref().map(Trouble::from);
        if !segments.sight.found(trouble, misses) {
            return;
        }
        if let Some(absent) = absent {
            tell(&absent);
        } else {
            tracing::info!("what was archived can be read again");
        }
    }

    /// The same again and again, and when somebody doubts it, until this server stops.
    pub(crate) async fn watch_archive(self, stop: CancellationToken) {
        let mut ticks = ticks::every(LOOKS_EVERY);
        // whoever started this looks at once
        ticks.tick().await;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
                () = self.segments().sight.is_doubted() => {}
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.look_at_archive() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_lacks_many_is_wrong_and_one_that_lacks_a_few_has_lost_them() {
        for (missing, listed, are) in [
            (0, 5, false),
            (1, 1, true),
            (1, 2, false),
            (1, 100, false),
            (2, 8, true),
            (2, 9, false),
            (50, 100, true),
            (100, 100, true),
        ] {
            assert_eq!(are_many(missing, listed), are, "{missing} of {listed}");
        }
    }

    #[test]
    fn some_of_all_ages_are_looked_for() {
        assert_eq!(evenly(0), Vec::<usize>::new());
        assert_eq!(evenly(1), [0]);
        assert_eq!(evenly(3), [0, 1, 2]);
        assert_eq!(evenly(8), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(evenly(701), [0, 100, 200, 300, 400, 500, 600, 700]);
    }
}
