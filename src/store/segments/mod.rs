//! Segments: slices of the log that were archived. Each is one file of Parquet with events of one kind,
//! and one row that says what is in it.
//!
//! An event stands in its table or in one segment, never in both: the row of a segment is inserted and its
//! events deleted in one transaction. Each such transaction raises a number beside the head of the log, the
//! *generation* of the list of segments. Whoever reads a table asks in the same statement for the generation
//! whose list it holds, so that what it reads there and in the segments is of one state. A segment may be replaced by
//! another with the same events, by one transaction as well: when small ones are put together, or a person is erased.

mod absent;
mod archive;
mod ask;
mod beside;
mod cache;
mod catalog;
mod erase;
mod files;
mod find;
mod gather;
mod gone;
mod lost;
mod partitions;
mod persons;
mod present;
mod removal;
mod scan;
mod sight;
mod spans;
mod status;
mod together;
mod within;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use sea_orm::ConnectionTrait;

pub use absent::Absent;
pub(crate) use absent::Sought;
pub use archive::Archived;
pub(crate) use beside::{Beside, Folded, Told};
pub(crate) use erase::{erased_fields, is_marked_erased};
pub use files::FilesError;
pub use lost::GivingUp;
pub(crate) use persons::{Erasing, Looked};
pub(crate) use present::Present;
pub use removal::{Awaits, Deleting, Leaving};
pub(crate) use sight::Trouble;
pub use status::{Deletable, KindStatus, Waiting};
pub use together::Small;
pub use within::Archive;
pub(crate) use within::{Happened, generation_of};

use super::error::StoreError;
pub(crate) use ask::{Ask, Found, NO_PARENT};
use cache::Cache;
pub(crate) use catalog::{Catalog, GENERATION, Segment};
pub(crate) use files::{Files, sha256_of};
use sight::Sight;

/// The segments of a log, as far as this process knows them.
#[derive(Debug)]
pub(crate) struct Segments {
    /// Where their files lie; `None` when nobody has said.
    pub(in crate::store) files: Option<Files>,
    catalog: RwLock<Arc<Catalog>>,
    cache: Mutex<Cache>,
    ranges: Mutex<HashMap<i64, Ranges>>,
    /// Whether they can be read.
    sight: Sight,
}

/// Between what the rows of a segment lie, or of a group of them. Both ends are inside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    times: (i64, i64),
    positions: (i64, i64),
    /// `None` when a row of the segment has no device.
    devices: Option<(i64, i64)>,
}

type Ranges = Arc<[Range]>;

impl Segments {
    /// Segments whose files lie there; which there are is found out when it is first asked for.
    pub(crate) fn new(files: Option<Files>) -> Self {
        Self {
            files,
            catalog: RwLock::default(),
            cache: Mutex::default(),
            ranges: Mutex::default(),
            sight: Sight::default(),
        }
    }

    /// The list that this process holds.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The list of a generation, read anew unless it is held.
    pub(crate) async fn of_generation(
        &self,
        db: &impl ConnectionTrait,
        generation: i64,
    ) -> Result<Arc<Catalog>, StoreError> {
        let held = self.catalog();
        if held.generation == generation {
            return Ok(held);
        }
        self.renew(db).await
    }

    /// Reads the list anew.
    pub(crate) async fn renew(
        &self,
        db: &impl ConnectionTrait,
    ) -> Result<Arc<Catalog>, StoreError> {
        let read = Arc::new(Catalog::read(db).await?);
        let mut held = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        if held.generation < read.generation {
            *held = Arc::clone(&read);
            drop(held);
            self.forget_ranges(&read);
        }
        Ok(read)
    }

    /// Forgets between what the rows of segments lie that are in no list any more.
    fn forget_ranges(&self, catalog: &Catalog) {
        let mut ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
        if ranges.len() > catalog.all().count() {
            let listed: HashSet<i64> = catalog.all().map(|segment| segment.id).collect();
            ranges.retain(|id, _| listed.contains(id));
        }
    }

    /// What was read with a list; `None` if a segment of it was replaced or deleted meanwhile, and the list
    /// was read anew. If it is the newest all the same, the segment is lost.
    pub(crate) async fn settled<T>(
        &self,
        db: &impl ConnectionTrait,
        (catalog, read): (&Catalog, Result<T, StoreError>),
    ) -> Result<Option<T>, StoreError> {
        match read {
            Err(error) if error.is_of_missing_segment() => {
                if self.renew(db).await?.generation == catalog.generation {
                    self.sight.missed(&error);
                    return Err(error);
                }
                tracing::debug!(%error, "a segment is gone; the list was read anew");
                Ok(None)
            }
            Err(error) => {
                self.sight.missed(&error);
                Err(error)
            }
            Ok(read) => Ok(Some(read)),
        }
    }
}
