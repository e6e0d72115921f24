//! Whether the files of segments lie where they are looked for. Whoever was told of no place, or of another one,
//! finds none of them, which is no damage of the log.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::time::timeout;

use super::files::{Files, FilesError};
use super::{Catalog, Segment, Segments};
use crate::store::Store;
use crate::telemetry::chain;

/// How long a server that starts waits for the place of segments to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

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
    /// The newest of them is not there; the others were not looked for.
    #[error(
        "segments cannot be found at {place}: {listed} segments are listed, and the newest of them, {name}, is not \
         there; give the place in which they lie by --segments, or put them back"
    )]
    Newest {
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

    /// Why the newest segment of a list is not found, if that is so.
    async fn newest_absent(&self, catalog: &Catalog) -> Option<Absent> {
        let segments = newest_first(catalog);
        let (newest, listed) = (segments.first()?, segments.len());
        let files = match self.looked_into(listed) {
            Ok(files) => files?,
            Err(absent) => return Some(absent),
        };
        let place = files.place().to_string();
        match timeout(ANSWERS_WITHIN, files.has(&newest.path)).await {
            Ok(Ok(true)) => None,
            Ok(Ok(false)) => Some(Absent::Newest {
                place,
                listed,
                name: newest.path.clone(),
            }),
            Ok(Err(source)) => Some(unreadable(files, listed, source)),
            Err(_) => Some(Absent::Silent { place, listed }),
        }
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

fn unreadable(files: &Files, listed: usize, source: FilesError) -> Absent {
    Absent::Unreadable {
        place: files.place().to_string(),
        listed,
        source: Box::new(source),
    }
}

impl Store {
    /// Warns whoever starts a server that does not find the newest of the segments that are listed.
    pub(crate) async fn warn_without_segments(&self) {
        let segments = self.segments();
        let Some(absent) = segments.newest_absent(&segments.catalog()).await else {
            return;
        };
        tracing::warn!(
            error = %chain(&absent),
            "what was archived cannot be read: who asks for it is refused, and what may repeat it is not taken"
        );
    }
}
