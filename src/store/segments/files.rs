//! Where the files of segments lie: a folder, or whatever else is an object store.
//!
//! A file is written under another name, synced, and only then given its own, so that one of that name is
//! whole; nothing is ever written over. They hold what everybody has done, and are their owner's alone.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Error as StoreFailure, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::places::{Place, PlaceError, PrivateFile};

/// Bytes of the beginning of a file by which it is seen that it can be read.
const BEGINNING_BYTES: u64 = 4;

/// Why a file of a segment cannot be read or written.
#[derive(Debug, Error)]
pub enum FilesError {
    /// Nobody has said where segments lie.
    #[error("it is not said where segments lie: give --segments")]
    Nowhere,
    /// They can lie nowhere.
    #[error("cannot use the place of segments")]
    Place(#[from] PlaceError),
    /// The object store failed.
    #[error("cannot {doing} {name}")]
    Object {
        /// What was being done.
        doing: &'static str,
        /// The name of the file.
        name: String,
        /// What the store said.
        source: Box<StoreFailure>,
    },
    /// A file is not what was written.
    #[error("{name} is damaged: its checksum does not hold")]
    Damaged {
        /// The name of the file.
        name: String,
    },
}

impl FilesError {
    /// Whether there is no such file.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Object { source, .. } if matches!(**source, StoreFailure::NotFound { .. }))
    }

    /// Whether there is no room for it.
    pub(crate) fn is_full(&self) -> bool {
        self.kind() == Some(ErrorKind::StorageFull)
    }

    /// Whether the same may be read a little later, without anybody having done something about it.
    pub(crate) fn may_pass(&self) -> bool {
        let is_lasting_of_object = |source: &StoreFailure| {
            matches!(
                source,
                StoreFailure::NotFound { .. }
                    | StoreFailure::PermissionDenied { .. }
                    | StoreFailure::Unauthenticated { .. }
            )
        };
        let is_refused = match self {
            Self::Nowhere
            | Self::Damaged { .. }
            | Self::Place(PlaceError::Address(_) | PlaceError::Settings { .. }) => true,
            Self::Place(_) => false,
            Self::Object { source, .. } => is_lasting_of_object(source),
        };
        let is_lasting = |kind| {
            use ErrorKind::{
                AlreadyExists, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem,
                StorageFull,
            };
            matches!(
                kind,
                AlreadyExists
                    | NotADirectory
                    | NotFound
                    | PermissionDenied
                    | ReadOnlyFilesystem
                    | StorageFull
            )
        };
        !is_refused && !self.kind().is_some_and(is_lasting)
    }

    /// What the system said, if it was the system.
    fn kind(&self) -> Option<ErrorKind> {
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = source {
            if let Some(error) = error.downcast_ref::<std::io::Error>() {
                return Some(error.kind());
            }
            source = error.source();
        }
        None
    }
}

/// Where the files of segments lie.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    place: Place,
}

fn failed(doing: &'static str, name: &str) -> impl FnOnce(StoreFailure) -> FilesError {
    let name = name.to_owned();
    move |source| FilesError::Object {
        doing,
        name,
        source: Box::new(source),
    }
}

fn failed_to_list(source: StoreFailure) -> FilesError {
    failed("list", "the segments")(source)
}

/// What is said of a file whose folder is not there.
fn without_folder(name: &str) -> StoreFailure {
    StoreFailure::NotFound {
        path: name.to_owned(),
        source: "its folder is not there".into(),
    }
}

/// Writes a file of a folder, which is its owner's alone all the time.
async fn put_private(path: PathBuf, bytes: Bytes) -> Result<(), StoreFailure> {
    let shown = path.display().to_string();
    let put = async {
        let mut file = PrivateFile::begin(path).await?;
        file.add(bytes).await?;
        file.end_new().await
    };
    put.await.map_err(|error| {
        let (kind, source) = (error.kind(), Box::new(error));
        if kind == ErrorKind::AlreadyExists {
            let path = shown;
            return StoreFailure::AlreadyExists { path, source };
        }
        let store = "folder";
        StoreFailure::Generic { store, source }
    })
}

impl Files {
    /// Files in a place. A folder need not be there yet: a log without segments has none for them.
    pub(crate) const fn new(place: Place) -> Self {
        Self { place }
    }

    /// Where they lie.
    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    async fn store(&self) -> Result<Arc<dyn ObjectStore>, FilesError> {
        Ok(self.place.open_private("").await?)
    }

    /// Whether there is a file of this name whose beginning can be read.
    pub(crate) async fn begins(&self, name: &str) -> Result<bool, FilesError> {
        if !self.place.is_there("").await {
            return Ok(false);
        }
        let store = self.store().await?;
        match store.get_range(&Path::from(name), 0..BEGINNING_BYTES).await {
            Err(StoreFailure::NotFound { .. }) => Ok(false),
            found => found.map(|_| true).map_err(failed("read", name)),
        }
    }

    /// Writes a file and makes it last. One of this name has the same in it, since names follow from what
    /// is in the files: a process that ended has left it.
    pub(crate) async fn put(&self, name: &str, bytes: Bytes) -> Result<(), FilesError> {
        let home = name.rsplit_once('/').map_or("", |(home, _)| home);
        let store = self.place.open_private(home).await?;
        let put = if let Some(folder) = self.place.folder() {
            put_private(folder.join(name), bytes).await
        } else {
            let options = PutOptions::from(PutMode::Create);
            let payload = PutPayload::from_bytes(bytes);
            let put = store.put_opts(&Path::from(name), payload, options).await;
            put.map(drop)
        };
        match put {
            Err(StoreFailure::AlreadyExists { .. }) => Ok(()),
            put => put.map_err(failed("write", name)),
        }
    }

    /// Reads a file, and checks that it is what was written.
    pub(crate) async fn get(&self, name: &str, sha256: &str) -> Result<Bytes, FilesError> {
        let doing = "read";
        if !self.place.is_there("").await {
            return Err(failed(doing, name)(without_folder(name)));
        }
        let store = self.store().await?;
        let found = store.get(&Path::from(name)).await;
        let found = found.map_err(failed(doing, name))?;
        let bytes = found.bytes().await.map_err(failed(doing, name))?;
        let checked = bytes.clone();
        let sum = spawn_blocking(move || sha256_of(&checked)).await;
        if sum.is_ok_and(|sum| sum == sha256) {
            return Ok(bytes);
        }
        Err(FilesError::Damaged {
            name: name.to_owned(),
        })
    }

    /// Removes a file; it may be gone already.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), FilesError> {
        let removed = self.store().await?.delete(&Path::from(name)).await;
        match removed {
            Err(StoreFailure::NotFound { .. }) => Ok(()),
            removed => removed.map_err(failed("remove", name)),
        }
    }

    /// The names of all files of a log that are whole.
    pub(crate) async fn names(&self, home: &str) -> Result<Vec<String>, FilesError> {
        self.named(home).await?.try_collect().await
    }

    /// The same, of a place that answers within some time each time that it is asked for more; `None` if it does not.
    pub(crate) async fn names_within(
        &self,
        home: &str,
        within: Duration,
    ) -> Result<Option<Vec<String>>, FilesError> {
        let Ok(named) = timeout(within, self.named(home)).await else {
            return Ok(None);
        };
        let (mut named, mut names) = (named?, Vec::new());
        loop {
            let Ok(next) = timeout(within, named.try_next()).await else {
                return Ok(None);
            };
            match next? {
                Some(name) => names.push(name),
                None => return Ok(Some(names)),
            }
        }
    }

    /// The names of all files of a log that are whole, as they are met.
    async fn named(
        &self,
        home: &str,
    ) -> Result<BoxStream<'static, Result<String, FilesError>>, FilesError> {
        if !self.place.is_there("").await {
            return Ok(stream::empty().boxed());
        }
        let listed = self.store().await?.list(Some(&Path::from(home)));
        let named = listed
            .map_ok(|meta| meta.location.to_string())
            .map_err(failed_to_list);
        Ok(named.boxed())
    }

    /// Removes what was being written of a log when a process ended.
    pub(crate) async fn sweep(&self, home: &str) -> Result<usize, FilesError> {
        Ok(self.place.sweep(home, |_| true).await?)
    }
}

/// The checksum of a file.
pub(crate) fn sha256_of(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let sum = Sha256::digest(bytes);
    sum.iter().fold(String::new(), |mut text, byte| {
        // writing to a text does not fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_object(source: StoreFailure) -> FilesError {
        failed("read", "a segment")(source)
    }

    fn of_system(kind: ErrorKind) -> FilesError {
        of_object(StoreFailure::Generic {
            store: "test",
            source: Box::new(std::io::Error::from(kind)),
        })
    }

    #[test]
    fn what_somebody_has_to_mend_does_not_pass() {
        for lasting in [
            FilesError::Nowhere,
            FilesError::Damaged {
                name: "a segment".to_owned(),
            },
            FilesError::Place(PlaceError::Address("s3://".to_owned())),
            FilesError::Place(PlaceError::Folder {
                path: "taken".into(),
                source: ErrorKind::AlreadyExists.into(),
            }),
            of_object(without_folder("a segment")),
            of_system(ErrorKind::PermissionDenied),
            of_system(ErrorKind::StorageFull),
        ] {
            assert!(!lasting.may_pass(), "{lasting:?}");
        }
        for kind in [ErrorKind::TimedOut, ErrorKind::Interrupted] {
            assert!(of_system(kind).may_pass(), "{kind:?}");
        }
    }
}
