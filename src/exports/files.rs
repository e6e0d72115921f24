//! The files of exports: written piece by piece, read in ranges, removed.
//!
//! A file gets its name when it is whole, and each has a name that none had before. So one of a name is what it
//! was from then on. They hold what everybody has done, and are their owner's alone.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{Error as StoreFailure, GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use thiserror::Error;
use tokio::io::AsyncWriteExt as _;

use crate::places::{Place, PlaceError, PrivateFile};
use crate::store::Identity;

/// Bytes of a part that is sent at once to where files lie: a bucket takes 10,000 of them in a file.
const PART_BYTES: usize = 16 * 1024 * 1024;
/// Parts at most that are on their way.
const PARTS_AT_ONCE: usize = 2;

/// Why a file cannot be written or read.
#[derive(Debug, Error)]
pub enum FilesError {
    /// They can lie nowhere.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A file cannot be written, read or removed.
    #[error("cannot use the files of exports")]
    Object(#[from] StoreFailure),
    /// A file cannot be written to its end.
    #[error("cannot write the file of an export")]
    End(#[source] std::io::Error),
}

impl FilesError {
    /// Whether there is no such file.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Object(StoreFailure::NotFound { .. }))
    }

    /// Whether there is no room for it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        if matches!(self, Self::Place(PlaceError::Full { .. })) {
            return true;
        }
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = source {
            if let Some(error) = error.downcast_ref::<std::io::Error>() {
                use std::io::ErrorKind::{QuotaExceeded, StorageFull};
                if matches!(error.kind(), StorageFull | QuotaExceeded) {
                    return true;
                }
                source = error.get_ref().map(|inner| {
                    let inner: &(dyn std::error::Error + 'static) = inner;
                    inner
                });
                continue;
            }
            source = error.source();
        }
        false
    }
}

/// The files of the exports of a log.
#[derive(Clone, Debug)]
pub struct Files {
    place: Place,
    home: String,
}

impl Files {
    /// Those of a log; another log may have its own in the same place.
    #[must_use]
    pub fn new(place: Place, log: Identity) -> Self {
        let home = format!("{}-{}", log.log_id, log.epoch);
        Self { place, home }
    }

    /// Where they lie.
    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    async fn store(&self) -> Result<Arc<dyn ObjectStore>, FilesError> {
        Ok(self.place.open_private(&self.home).await?)
    }

    fn path(&self, name: &str) -> Path {
        Path::from_iter([self.home.as_str(), name])
    }

    /// A file that is to be written.
    pub(super) async fn create(&self, name: &str) -> Result<Writing, FilesError> {
        let files = self.store().await?;
        self.has_room().await?;
        if let Some(folder) = self.place.folder() {
            let path = folder.join(&self.home).join(name);
            let file = PrivateFile::begin(path).await;
            return Ok(Writing::InFolder(file.map_err(FilesError::End)?));
        }
        let out = BufWriter::with_capacity(files, self.path(name), PART_BYTES);
        let out = out.with_max_concurrency(PARTS_AT_ONCE);
        Ok(Writing::InBucket(Box::new(out)))
    }

    /// Whether there is room for more, apart from what is left to others.
    pub(super) async fn has_room(&self) -> Result<(), FilesError> {
        Ok(self.place.has_room().await?)
    }

    /// Reads a part of a file, as it is taken.
    ///
    /// # Errors
    /// When it is not there, or cannot be read.
    pub async fn read(
        &self,
        name: &str,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, StoreFailure>>, FilesError> {
        if range.is_empty() {
            self.store().await?.head(&self.path(name)).await?;
            return Ok(futures_util::stream::empty().boxed());
        }
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let files = self.store().await?;
        let found = files.get_opts(&self.path(name), options).await?;
        Ok(found.into_stream())
    }

    /// Removes files but those that are named.
    pub(super) async fn remove_all(
        &self,
        names: Vec<String>,
        named: &HashSet<String>,
    ) -> Result<(), FilesError> {
        for name in names.iter().filter(|name| !named.contains(*name)) {
            self.remove(name).await?;
        }
        Ok(())
    }

    /// The names of all whole files.
    pub(super) async fn names(&self) -> Result<Vec<String>, FilesError> {
        if !self.place.is_there(&self.home).await {
            return Ok(Vec::new());
        }
        let files = self.store().await?;
        let home = Path::from(self.home.as_str());
        let listed: Vec<_> = files.list(Some(&home)).try_collect().await?;
        let names = listed.into_iter().filter_map(|file| {
            let name = file.location.filename();
            name.map(str::to_owned)
        });
        Ok(names.collect())
    }

    /// Removes a file; it may be gone already.
    pub(super) async fn remove(&self, name: &str) -> Result<(), FilesError> {
        let removed = self.store().await?.delete(&self.path(name)).await;
        match removed {
            Err(StoreFailure::NotFound { .. }) => Ok(()),
            removed => removed.map_err(FilesError::from),
        }
    }

    /// Removes what was being written when a process ended.
    pub(super) async fn sweep_unfinished(&self) -> Result<usize, FilesError> {
        Ok(self.place.sweep(&self.home, |_| true).await?)
    }
}

/// A file that is being written. One that is not ended leaves nothing behind.
pub(super) enum Writing {
    /// One that is its owner's alone all the time.
    InFolder(PrivateFile),
    /// One that is sent in parts.
    InBucket(Box<BufWriter>),
}

impl Writing {
    pub(super) async fn add(&mut self, bytes: Bytes) -> Result<(), FilesError> {
        match self {
            Self::InFolder(file) => file.add(bytes).await.map_err(FilesError::End),
            Self::InBucket(out) => Ok(out.put(bytes).await?),
        }
    }

    /// Gives it its name; it is whole and on the disk then.
    pub(super) async fn end(self) -> Result<(), FilesError> {
        let ended = match self {
            Self::InFolder(file) => file.end().await,
            Self::InBucket(mut out) => out.shutdown().await,
        };
        ended.map_err(FilesError::End)
    }

    pub(super) async fn abort(self) -> Result<(), FilesError> {
        match self {
            Self::InFolder(file) => file.abort().await.map_err(FilesError::End),
            Self::InBucket(mut out) => Ok(out.abort().await?),
        }
    }
}

/// The files of a log, if there is a place for them.
#[must_use]
pub fn of_log(place: Option<Place>, log: Identity) -> Option<Arc<Files>> {
    place.map(|place| Arc::new(Files::new(place, log)))
}
