//! A file of a folder that is its owner's alone from its first byte on, where other files have the rights that the
//! system gives them.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::spawn_blocking;

/// Rights of a file that is for nobody but its owner.
pub(crate) const OWNERS_ALONE: u32 = 0o600;

/// Makes a file that is not there yet, and that is its owner's alone.
pub(crate) fn make_private(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(OWNERS_ALONE);
    options.open(path)
}

/// A file that is being written, under its name with `#` and a number behind it. It is removed unless it gets its
/// name.
#[derive(Debug)]
pub(crate) struct PrivateFile {
    file: Arc<File>,
    partial: Partial,
    path: PathBuf,
}

/// The other name, under which there is nothing in the end.
#[derive(Debug)]
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // it may have got its name
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs what would block on a thread for that. It goes on if nobody waits for it any more.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::other(error)))
}

impl PrivateFile {
    /// Begins one in a folder that is there.
    pub(crate) async fn begin(path: PathBuf) -> Result<Self> {
        blocking(move || {
            let mut number: u64 = 1;
            loop {
                let mut partial = path.clone().into_os_string();
                partial.push(format!("#{number}"));
                let partial = PathBuf::from(partial);
                match make_private(&partial) {
                    // another writes it, or did
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                    made => {
                        return Ok(Self {
                            file: Arc::new(made?),
                            partial: Partial(partial),
                            path,
                        });
                    }
                }
            }
        })
        .await
    }

    /// Adds to it.
    pub(crate) async fn add(&mut self, bytes: Bytes) -> Result<()> {
        let file = Arc::clone(&self.file);
        blocking(move || {
            let mut out: &File = &file;
            out.write_all(&bytes)
        })
        .await
    }

    /// Makes it last and gives it its name.
    pub(crate) async fn end(self) -> Result<()> {
        blocking(move || {
            self.file.sync_all()?;
            std::fs::rename(&self.partial.0, &self.path)?;
            self.sync_folder()
        })
        .await
    }

    /// Makes it last and gives it its name, unless there is one of that name: then that is left as it is, and it is
    /// answered that it exists.
    pub(crate) async fn end_new(self) -> Result<()> {
        blocking(move || {
            self.file.sync_all()?;
            std::fs::hard_link(&self.partial.0, &self.path)?;
            self.sync_folder()
        })
        .await
    }

    /// Removes it.
    pub(crate) async fn abort(self) -> Result<()> {
        blocking(move || {
            drop(self);
            Ok(())
        })
        .await
    }

    fn sync_folder(&self) -> Result<()> {
        let folder = self.path.parent();
        let folder = folder.filter(|folder| *folder != Path::new(""));
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        let found = std::fs::symlink_metadata(path).unwrap();
        found.permissions().mode() & 0o777
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let name = |entry: Result<std::fs::DirEntry>| {
            let name = entry.unwrap().file_name();
            name.to_string_lossy().into_owned()
        };
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn it_is_its_owners_alone_before_it_has_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut file = PrivateFile::begin(path.clone()).await.unwrap();
        file.add(Bytes::from_static(b"what everybody "))
            .await
            .unwrap();
        assert_eq!(names(folder.path()), ["file#1"]);
        assert_eq!(mode(&folder.path().join("file#1")), OWNERS_ALONE);
        file.add(Bytes::from_static(b"has done")).await.unwrap();
        file.end().await.unwrap();
        assert_eq!(names(folder.path()), ["file"]);
        assert_eq!(mode(&path), OWNERS_ALONE);
        assert_eq!(std::fs::read(&path).unwrap(), b"what everybody has done");
    }

    #[tokio::test]
    async fn what_is_there_is_neither_written_into_nor_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let other = folder.path().join("other");
        std::fs::write(&other, "of another").unwrap();
        std::fs::write(&path, "the first").unwrap();
        symlink(&other, folder.path().join("file#1")).unwrap();
        let mut file = PrivateFile::begin(path.clone()).await.unwrap();
        file.add(Bytes::from_static(b"the second")).await.unwrap();
        let error = file.end_new().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"the first");
        assert_eq!(std::fs::read(&other).unwrap(), b"of another");
        assert_eq!(names(folder.path()), ["file", "file#1", "other"]);
    }

    #[tokio::test]
    async fn one_that_is_given_up_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let file = PrivateFile::begin(folder.path().join("file")).await;
        file.unwrap().abort().await.unwrap();
        assert!(names(folder.path()).is_empty());
    }
}
