//! Where files lie that are no part of the database: a folder, or a bucket of S3.

mod private;
mod whole;

use std::fmt;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, Error as StoreFailure, ObjectStore, RetryConfig};
use rustix::fs::Access;
use thiserror::Error;
use tokio::task::spawn_blocking;

pub(crate) use self::private::{OWNERS_ALONE, PrivateFile, make_private};
pub(crate) use self::whole::WholeFile;

/// With what an address begins that is that of a bucket.
const S3: &str = "s3://";
/// What of a disk is left to others, such as the database: this part of it, and bytes at most.
const LEFT_PART: u64 = 20;
const LEFT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// How long it may take to connect to a bucket.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long a request may take, of which the largest has 64 MiB.
const REQUEST_WITHIN: Duration = Duration::from_mins(2);
/// Rights of a folder that is for nobody but its owner.
const FOLDER_OF_OWNER: u32 = 0o700;
/// Rights of a folder of which the system takes away what it does.
const FOLDER_OF_ALL: u32 = 0o777;
/// Within this time of a request it is tried again, and so often at most.
const RETRY_WITHIN: Duration = Duration::from_secs(15);
const RETRIES_MAX: usize = 3;
/// How long is waited before it is tried again, at first and at most.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));

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
    /// What is free on the disk of the folder is left to others.
    #[error(
        "the disk of {} is full but for {free_mib} MiB, which are left to others: make room",
        path.display()
    )]
    Full {
        /// The folder.
        path: PathBuf,
        /// What is free.
        free_mib: u64,
    },
    /// It is no address of a bucket.
    #[error("{0} is not of the form of s3://BUCKET/PREFIX")]
    Address(String),
    /// The settings of a bucket are wrong.
    #[error("cannot use {url}")]
    Settings {
        /// The bucket.
        url: String,
        /// Why.
        source: StoreFailure,
    },
    /// There is no such bucket, it lets nobody in with these credentials, or cannot be reached.
    #[error(
        "cannot use {url}: check that the bucket is there, and the endpoint and credentials in AWS_…"
    )]
    Bucket {
        /// The bucket.
        url: String,
        /// Why.
        source: StoreFailure,
    },
}

/// Where files lie.
#[derive(Clone)]
pub enum Place {
    /// A folder, which is made when it is used.
    Folder(PathBuf),
    /// A part of a bucket, which must be there.
    Bucket {
        /// Its address.
        url: String,
        /// Its files.
        files: Arc<dyn ObjectStore>,
    },
}

/// Shows no credentials.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Bucket { url, .. } => f.write_str(url),
        }
    }
}

impl Place {
    /// The place of an address: `s3://BUCKET/PREFIX`, or else a folder. A bucket is reached by settings that are
    /// called as in the environment, `AWS_…`; others are passed over. Nothing is connected to.
    ///
    /// # Errors
    /// When it is no address of a bucket, or the settings are wrong.
    pub fn of(
        address: &str,
        settings: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, PlaceError> {
        let Some(rest) = address.strip_prefix(S3) else {
            return Ok(Self::Folder(PathBuf::from(address)));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let wrong = || PlaceError::Address(address.to_owned());
        if bucket.is_empty() || address.contains(['?', '#', '@']) {
            return Err(wrong());
        }
        let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|_| wrong())?;
        let failed = |source| PlaceError::Settings {
            url: address.to_owned(),
            source,
        };
        // an error says that a provider is installed already
        let _ = rustls::crypto::ring::default_provider().install_default();
        let files = settled(bucket, settings).build().map_err(failed)?;
        let files: Arc<dyn ObjectStore> = if prefix.as_ref().is_empty() {
            Arc::new(files)
        } else {
            Arc::new(PrefixStore::new(files, prefix))
        };
        let url = address.to_owned();
        Ok(Self::Bucket { url, files })
    }

    /// Its files. A folder that is made for them has the rights that the system gives it.
    ///
    /// # Errors
    /// When it is a folder that cannot be used.
    pub async fn open(&self) -> Result<Arc<dyn ObjectStore>, PlaceError> {
        self.opened("", FOLDER_OF_ALL).await
    }

    /// Its files, of which those in a home below it are for nobody else on this machine: its folder and those below
    /// it are their owner's alone if they are made. What was there before is left as it is, and folders above it,
    /// which others may use, have the rights that the system gives them.
    ///
    /// # Errors
    /// When it is a folder that cannot be used.
    pub async fn open_private(&self, home: &str) -> Result<Arc<dyn ObjectStore>, PlaceError> {
        self.opened(home, FOLDER_OF_OWNER).await
    }

    async fn opened(&self, home: &str, rights: u32) -> Result<Arc<dyn ObjectStore>, PlaceError> {
        let path = match self {
            Self::Folder(path) => path,
            Self::Bucket { files, .. } => return Ok(Arc::clone(files)),
        };
        let failed = |source| PlaceError::Folder {
            path: path.clone(),
            source,
        };
        let (folder, home) = (path.clone(), path.join(home));
        let opening = spawn_blocking(move || {
            if let Some(above) = folder.parent() {
                std::fs::create_dir_all(above)?;
            }
            let mut making = DirBuilder::new();
            making.recursive(true).mode(rights).create(home)?;
            let files = LocalFileSystem::new_with_prefix(&folder);
            files.map_err(std::io::Error::other)
        });
        let files = match opening.await {
            Ok(files) => files.map_err(failed)?,
            Err(error) => return Err(failed(std::io::Error::other(error))),
        };
        Ok(Arc::new(files.with_fsync(true)))
    }

    /// Whether there can be anything in a home below it, so that no folder is made by looking.
    pub(crate) async fn is_there(&self, home: &str) -> bool {
        let Some(folder) = self.folder() else {
            return true;
        };
        let home = folder.join(home);
        spawn_blocking(move || home.exists()).await.unwrap_or(true)
    }

    /// Makes sure that files can be written there, as far as that is known without writing one. No folder is made by
    /// it: one that is not there yet is to be one that can be made.
    ///
    /// # Errors
    /// When it cannot be used; of a bucket that cannot be reached that is known within a minute.
    pub(crate) async fn check(&self) -> Result<(), PlaceError> {
        let Some(folder) = self.folder() else {
            return self.open_checked().await.map(drop);
        };
        let looked = folder.to_owned();
        let looked = spawn_blocking(move || is_writable(&looked)).await;
        let looked = looked.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        looked.map_err(|source| PlaceError::Folder {
            path: folder.to_owned(),
            source,
        })
    }

    /// Its files, of a bucket that is there and lets one in.
    ///
    /// # Errors
    /// When it cannot be used; of one that cannot be reached that is known within a minute.
    pub async fn open_checked(&self) -> Result<Arc<dyn ObjectStore>, PlaceError> {
        let files = self.open().await?;
        let Self::Bucket { url, .. } = self else {
            return Ok(files);
        };
        let url = url.clone();
        match files.list(None).next().await {
            Some(Err(source)) => Err(PlaceError::Bucket { url, source }),
            Some(Ok(_)) | None => Ok(files),
        }
    }

    /// Makes sure that there is room for more than what is left to others on the disk of a folder that is there.
    /// A bucket has room.
    ///
    /// # Errors
    /// When there is none, or that cannot be found out.
    pub async fn has_room(&self) -> Result<(), PlaceError> {
        let Some(folder) = self.folder() else {
            return Ok(());
        };
        let looked = folder.to_owned();
        let found = spawn_blocking(move || rustix::fs::statvfs(&looked)).await;
        let failed = |source| PlaceError::Folder {
            path: folder.to_owned(),
            source,
        };
        let disk = match found {
            Ok(disk) => disk.map_err(|error| failed(error.into()))?,
            Err(error) => return Err(failed(std::io::Error::other(error))),
        };
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        let (free, left) = (bytes(disk.f_bavail), bytes(disk.f_blocks) / LEFT_PART);
        if free > left.min(LEFT_BYTES_MAX) {
            return Ok(());
        }
        Err(PlaceError::Full {
            path: folder.to_owned(),
            free_mib: free / (1024 * 1024),
        })
    }

    /// Removes what was being written in a folder and those below it when a process ended, as far as it is ours by
    /// its path from there, and answers how many files that were. In a bucket that is seen by nobody, and removed
    /// by whoever keeps it.
    ///
    /// # Errors
    /// When the folder cannot be read, or a file not be removed.
    pub async fn sweep(
        &self,
        home: &str,
        is_ours: fn(&FilePath) -> bool,
    ) -> Result<usize, PlaceError> {
        let Some(folder) = self.folder() else {
            return Ok(0);
        };
        let home = folder.join(home);
        let path = home.clone();
        let swept = spawn_blocking(move || sweep(&home, is_ours)).await;
        let swept = swept.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        swept.map_err(|source| PlaceError::Folder { path, source })
    }

    /// The folder, if it is one.
    #[must_use]
    pub fn folder(&self) -> Option<&FilePath> {
        match self {
            Self::Folder(path) => Some(path),
            Self::Bucket { .. } => None,
        }
    }
}

/// Whether files can be written in a folder. Of one that is not there it is asked of the first above it that is.
fn is_writable(folder: &FilePath) -> std::io::Result<()> {
    for above in folder.ancestors() {
        let above = if above.as_os_str().is_empty() {
            FilePath::new(".")
        } else {
            above
        };
        match std::fs::metadata(above) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Ok(found) if !found.is_dir() => return Err(ErrorKind::NotADirectory.into()),
            found => {
                found?;
                let rights = Access::WRITE_OK | Access::EXEC_OK;
                return Ok(rustix::fs::access(above, rights)?);
            }
        }
    }
    Ok(())
}

/// A file of a folder is written under its name with `#` and a number behind it.
fn sweep(home: &FilePath, is_ours: fn(&FilePath) -> bool) -> std::io::Result<usize> {
    let (mut removed, mut folders) = (0, vec![home.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            if !path.strip_prefix(home).is_ok_and(is_ours) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if is_unfinished(&path) {
                std::fs::remove_file(&path)?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

fn is_unfinished(path: &FilePath) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = name.rsplit_once('#').map(|(_, number)| number);
    number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// How a bucket is reached.
fn settled(bucket: &str, settings: impl Iterator<Item = (String, String)>) -> AmazonS3Builder {
    let (init_backoff, max_backoff) = RETRY_AFTER;
    let retries = RetryConfig {
        backoff: BackoffConfig {
            init_backoff,
            max_backoff,
            ..BackoffConfig::default()
        },
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_WITHIN,
    };
    let mut client = ClientOptions::new()
        .with_connect_timeout(CONNECT_WITHIN)
        .with_timeout(REQUEST_WITHIN);
    let settings: Vec<_> = settings
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(name, value)| {
            let key: AmazonS3ConfigKey = name.to_ascii_lowercase().parse().ok()?;
            Some((key, value))
        })
        .collect();
    // whoever names an endpoint without encryption means it
    let is_plain = |(key, value): &(AmazonS3ConfigKey, String)| {
        let is_endpoint =
            [AmazonS3ConfigKey::Endpoint, AmazonS3ConfigKey::S3Endpoint].contains(key);
        is_endpoint && value.starts_with("http://")
    };
    if settings.iter().any(is_plain) {
        client = client.with_allow_http(true);
    }
    let builder = AmazonS3Builder::new()
        .with_client_options(client)
        .with_retry(retries);
    let builder = settings.into_iter().fold(builder, |builder, (key, value)| {
        builder.with_config(key, value)
    });
    builder.with_bucket_name(bucket)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn of(address: &str) -> Result<Place, PlaceError> {
        let settings = [
            ("AWS_SECRET_ACCESS_KEY", "hunter2"),
            ("AWS_ACCESS_KEY_ID", "me"),
        ];
        let owned = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Place::of(address, owned.into_iter())
    }

    #[test]
    fn an_address_is_a_bucket_or_a_folder() {
        for (address, is_folder) in [
            ("lake", true),
            ("/var/lib/lake", true),
            ("s3://bucket", false),
            ("s3://bucket/", false),
            ("s3://bucket/a/b", false),
        ] {
            let place = of(address).unwrap();
            assert_eq!(place.folder().is_some(), is_folder, "{address}");
            assert_eq!(place.to_string(), address);
        }
        for address in [
            "s3://",
            "s3:///a",
            "s3://b/a//c",
            "s3://me:hunter2@b/a",
            "s3://b?x=1",
        ] {
            assert!(of(address).is_err(), "{address}");
        }
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_can_be_used_if_it_can_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "taken").unwrap();
        let new = folder.path().join("new/below");
        for (path, is_usable) in [
            (folder.path(), true),
            (new.as_path(), true),
            (FilePath::new("new/below"), true),
            (file.as_path(), false),
            (file.join("below").as_path(), false),
        ] {
            let checked = Place::Folder(path.to_owned()).check().await;
            assert_eq!(checked.is_ok(), is_usable, "{}", path.display());
        }
        assert!(!new.exists(), "nothing was made");
    }

    #[tokio::test]
    async fn a_private_folder_is_its_owners_alone_and_those_above_it_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("plain");
        std::fs::create_dir(&plain).unwrap();
        let mode = |path: &FilePath| {
            let found = std::fs::metadata(path).unwrap();
            found.permissions().mode() & 0o777
        };
        let above = folder.path().join("data");
        let place = Place::Folder(above.join("segments"));
        place.open_private("home").await.unwrap();
        assert_eq!(mode(&above), mode(&plain));
        for path in ["segments", "segments/home"] {
            assert_eq!(mode(&above.join(path)), FOLDER_OF_OWNER, "{path}");
        }
        let place = Place::Folder(plain.clone());
        place.open_private("home").await.unwrap();
        assert_ne!(mode(&plain), FOLDER_OF_OWNER, "it was there before");
        assert_eq!(mode(&plain.join("home")), FOLDER_OF_OWNER);
    }

    #[test]
    fn a_place_shows_no_credentials() {
        assert_eq!(
            format!("{:?}", of("s3://bucket/a").unwrap()),
            "s3://bucket/a"
        );
    }
}
