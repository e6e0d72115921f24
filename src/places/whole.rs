//! A file that gets its name when it is whole, and is its owner's alone. Until then it stands beside it, under that
//! name with `.partial` behind it.
//!
//! Whoever writes it has it locked, which ends with the process, however that ends. So one that nobody has locked was
//! left by somebody who was killed: whoever writes under the same name next replaces it, and neither writes into it
//! nor follows it. Two do not write under one name at once.

use std::ffi::OsString;
use std::fs::{File, TryLockError, symlink_metadata};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::private::make_private;

/// Links that lead from one to the other at most, as Linux has it.
const LINKS_MAX: usize = 40;

/// A file that has not its name yet. It is removed unless it gets it.
#[derive(Debug)]
pub(crate) struct WholeFile {
    path: PathBuf,
    partial: PathBuf,
    /// Locked until this handle is closed and all others of it.
    file: File,
    is_named: bool,
}

impl WholeFile {
    /// Begins one of a name, or of that to which a link of this name leads.
    pub(crate) fn begin(path: &Path) -> Result<Self> {
        let path = led_to(path)?;
        let mut partial: OsString = path.clone().into();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = made(&partial)?;
        Ok(Self {
            path,
            partial,
            file,
            is_named: false,
        })
    }

    /// The name that it has meanwhile.
    pub(crate) fn partial(&self) -> &Path {
        &self.partial
    }

    /// A handle by which it is written.
    pub(crate) fn handle(&self) -> Result<File> {
        self.file.try_clone()
    }

    /// Bytes that it has.
    pub(crate) fn bytes(&self) -> Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Gives it its name. It is to be on the disk.
    pub(crate) fn end(mut self) -> Result<()> {
        std::fs::rename(&self.partial, &self.path)?;
        self.is_named = true;
        let folder = self.path.parent().filter(|folder| *folder != Path::new(""));
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if !self.is_named {
            // why there is none is told by whoever writes it
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

/// Where a path leads in the end, whether there is something or not.
fn led_to(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match std::fs::read_link(&path) {
            Ok(target) => {
                path.pop();
                path.push(target);
            }
            // it is no link, or not there
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::other("too many links lead to each other"))
}

/// Makes the file, and locks it. One that was left there is removed before.
fn made(partial: &Path) -> Result<File> {
    loop {
        let file = match make_private(partial) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                remove_left(partial)?;
                continue;
            }
            made => made?,
        };
        match is_locked(&file, partial) {
            Ok(true) => return Ok(file),
            // another has replaced it meanwhile
            Ok(false) => {}
            Err(error) => {
                if error.kind() != ErrorKind::ResourceBusy {
                    // it is no other's, and cannot be locked at all
                    let _ = std::fs::remove_file(partial);
                }
                return Err(error);
            }
        }
    }
}

/// Removes what was left by somebody who was killed.
fn remove_left(partial: &Path) -> Result<()> {
    let found = match symlink_metadata(partial) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.is_file() {
        let told = format!("{} is in the way, and no file", partial.display());
        return Err(Error::new(ErrorKind::AlreadyExists, told));
    }
    let left = match File::options().write(true).open(partial) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        left => left?,
    };
    if is_locked(&left, partial)? {
        std::fs::remove_file(partial)?;
    }
    Ok(())
}

/// Locks a file; whether it is still that which stands under its name.
fn is_locked(file: &File, partial: &Path) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let told = format!("another process writes {} just now", partial.display());
            return Err(Error::new(ErrorKind::ResourceBusy, told));
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let there = match symlink_metadata(partial) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        there => there?,
    };
    let open = file.metadata()?;
    Ok((open.dev(), open.ino()) == (there.dev(), there.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::io::Write as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::super::OWNERS_ALONE;
    use super::*;

    fn write(path: &Path) -> Result<()> {
        let file = WholeFile::begin(path)?;
        file.handle()?.write_all(b"told")?;
        assert_eq!(file.bytes()?, 4);
        file.end()
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

    #[test]
    fn what_somebody_left_who_was_killed_is_replaced_and_not_written_into() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let left = folder.path().join("a.csv.partial");
        std::fs::write(&left, "half of a longer one").unwrap();
        std::fs::set_permissions(&left, Permissions::from_mode(0o644)).unwrap();
        let reader = File::open(&left).unwrap();
        write(&path).unwrap();
        let found = symlink_metadata(&path).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, OWNERS_ALONE);
        assert_eq!(std::fs::read(&path).unwrap(), b"told");
        // whoever has it open reads on what was there
        assert_eq!(reader.metadata().unwrap().len(), 20);
        assert_eq!(names(folder.path()), ["a.csv"]);
    }

    #[test]
    fn what_is_no_file_is_neither_followed_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let other = folder.path().join("other");
        std::fs::write(&other, "of another").unwrap();
        symlink(&other, folder.path().join("a.csv.partial")).unwrap();
        let error = write(&path).unwrap_err();
        assert!(error.to_string().contains("a.csv.partial"), "{error}");
        assert_eq!(std::fs::read(&other).unwrap(), b"of another");
        assert_eq!(names(folder.path()), ["a.csv.partial", "other"]);
    }

    #[test]
    fn two_do_not_write_under_one_name_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let first = WholeFile::begin(&path).unwrap();
        let error = write(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceBusy);
        first.handle().unwrap().write_all(b"first").unwrap();
        first.end().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        write(&path).unwrap();
        drop(WholeFile::begin(&path).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"told");
        assert_eq!(names(folder.path()), ["a.csv"]);
    }

    #[test]
    fn what_a_link_leads_to_is_written_and_the_link_stays() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("below");
        std::fs::create_dir(&below).unwrap();
        let [old, new] = ["old", "new"].map(|name| below.join(name));
        std::fs::write(&old, "of before").unwrap();
        let link = |name: &str, to: &Path| {
            let link = folder.path().join(name);
            symlink(to, &link).unwrap();
            link
        };
        let absolute = link("absolute", &old);
        let relative = link("relative", Path::new("below/new"));
        let of_a_link = link("of-a-link", Path::new("relative"));
        for (path, target) in [(absolute, &old), (relative, &new), (of_a_link, &new)] {
            write(&path).unwrap();
            assert!(symlink_metadata(&path).unwrap().is_symlink());
            assert_eq!(std::fs::read(target).unwrap(), b"told");
            std::fs::remove_file(target).unwrap();
            assert!(names(&below).iter().all(|name| !name.contains("partial")));
        }
        let itself = link("itself", Path::new("itself"));
        assert!(write(&itself).is_err());
    }
}
