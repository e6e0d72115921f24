//! Whether the files of segments lie where they are looked for. Whoever was told of no place, or of another one,
//! finds none of them, which is no damage of the log.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::files::{Files, FilesError};
use super::{Catalog, Segment, Segments, Trouble};
use crate::places::Place;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::telemetry::chain;

/// How long a server waits for the place of segments to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// How often it looks whether they can be read.
const LOOKS_EVERY: Duration = Duration::from_secs(30);

/// Why segments are not found that are listed.
#[derive(Debug, Error)]
pub(crate) enum Absent {
    /// Nobody has said where they lie.
    #[error(
        "segments cannot be found, since it is not said where they lie: {listed} segments are listed; give their \
         place by --segments"
    )]
    Nowhere {
        /// How many there are.
        listed: usize,
    },
    /// None of them is there.
    #[error(
        "segments cannot be found at {place}: {listed} segments are listed, the place has none of them; give the \
         place in which they lie by --segments, or put them back"
    )]
    All {
        /// Where they were looked for.
        place: String,
        /// How many there are.
        listed: usize,
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

impl Segments {
    /// Why none of the segments of a list is found, if that is so. It is looked for one after the other, the newest
    /// first, until one is there.
    pub(crate) async fn absent(&self, catalog: &Catalog) -> Option<Absent> {
        let segments = newest_first(catalog);
        let listed = segments.len();
        let files = match self.looked_into(listed) {
            Ok(files) => files?,
            Err(absent) => return Some(absent),
        };
        for segment in segments {
            match files.has(&segment.path).await {
                Ok(true) => return None,
                Ok(false) => {}
                Err(source) => return Some(unreadable(files, listed, source)),
            }
        }
        let place = files.place().to_string();
        Some(Absent::All { place, listed })
    }

    /// Why the newest segment of a list cannot be read, or the one that somebody could not read, if that is so.
    async fn unseen(&self, catalog: &Catalog) -> Option<Absent> {
        let segments = newest_first(catalog);
        let listed = segments.len();
        let files = match self.looked_into(listed) {
            Ok(files) => files?,
            Err(absent) => return Some(absent),
        };
        let unread = self.sight.unread();
        let is_unread = |segment: &&&Arc<Segment>| unread.as_ref() == Some(&segment.path);
        let looked_for = segments.first().into_iter();
        let looked_for = looked_for.chain(segments.iter().find(is_unread));
        for segment in looked_for {
            if let Some(absent) = unseen_at(files, listed, &segment.path).await {
                return Some(absent);
            }
        }
        None
    }

    /// Where segments are looked for; nowhere if there are none.
    fn looked_into(&self, listed: usize) -> Result<Option<&Files>, Absent> {
        match &self.files {
            _ if listed == 0 => Ok(None),
            Some(files) => Ok(Some(files)),
            None => Err(Absent::Nowhere { listed }),
        }
    }
}

fn newest_first(catalog: &Catalog) -> Vec<&Arc<Segment>> {
    let mut segments: Vec<&Arc<Segment>> = catalog.all().collect();
    segments.sort_unstable_by_key(|segment| Reverse(segment.id));
    segments
}

/// Why a file cannot be read, if that is so.
async fn unseen_at(files: &Files, listed: usize, name: &str) -> Option<Absent> {
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

    /// Looks whether what was archived can be read, and tells whoever runs the server when that has changed.
    pub(crate) async fn look_at_archive(&self) {
        // a database that cannot be read tells of itself
        let Ok(catalog) = self.newest_segments().await else {
            return;
        };
        let segments = self.segments();
        let absent = segments.unseen(&catalog).await;
        if !segments.sight.found(absent.as_ref().map(Trouble::from)) {
            return;
        }
        match absent {
            Some(absent) => tracing::warn!(
                error = %chain(&absent),
                "what was archived cannot be read: who asks for it is refused, and what may repeat it is not taken"
            ),
            None => tracing::info!("what was archived can be read again"),
        }
    }

    /// The same again and again, until this server stops.
    pub(crate) async fn watch_archive(self, stop: CancellationToken) {
        let mut ticks = interval(LOOKS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // who started this has looked
        ticks.tick().await;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.look_at_archive() => {}
            }
        }
    }

    /// The list of segments that is the newest in the database.
    async fn newest_segments(&self) -> Result<Arc<Catalog>, StoreError> {
        let db = &self.shared.connections.readers;
        let generation = self.archive_of().generation(db).await?;
        self.segments().of_generation(db, generation).await
    }
}
