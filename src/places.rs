//! Where files lie that are no part of the database: a folder.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use thiserror::Error;
use tokio::task::spawn_blocking;

/// Why files can lie nowhere.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// The folder cannot be made or used.
    #[error("cannot use the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Where files lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder, which is made when it is used.
    Folder(PathBuf),
}

impl Place {
    /// Its files.
    ///
    /// # Errors
    /// When it cannot be used.
    pub async fn open(&self) -> Result<Arc<dyn ObjectStore>, PlaceError> {
        let Self::Folder(path) = self;
        let failed = |source| PlaceError::Folder {
            path: path.clone(),
            source,
        };
        let folder = path.clone();
        let opening = spawn_blocking(move || {
            std::fs::create_dir_all(&folder)?;
            let files = LocalFileSystem::new_with_prefix(&folder);
            files.map_err(std::io::Error::other)
        });
        let files = match opening.await {
            Ok(files) => files.map_err(failed)?,
            Err(error) => return Err(failed(std::io::Error::other(error))),
        };
        Ok(Arc::new(files.with_fsync(true)))
    }
}
