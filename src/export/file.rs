//! Writes an export to its end, into a file, which is its owner's alone, or to whoever reads.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::sink::{Out, is_packed};
use super::{Events, ExportError, Format, Sink, Written};
use crate::event::Event;
use crate::kinds::Kind;
use crate::places::make_private;

/// Pages that wait to be written: one is read while another is written.
const PAGES_WAITING_MAX: usize = 1;

/// Where an export goes.
#[expect(missing_debug_implementations, reason = "an output has none")]
pub enum Target {
    /// A file, which is there when the export is whole; compressed if its name ends in `.gz`, in letters of whatever case.
    File(PathBuf),
    /// Whoever reads, as it comes.
    Stream(Box<dyn Out>),
}

/// Writes events of some kinds.
///
/// # Errors
/// When the log cannot be read or the target written, or it was told to end. Then there is no file, and of one
/// that was there before nothing has changed.
pub async fn write(
    events: Events,
    (format, kinds): (Format, Vec<Kind>),
    target: Target,
    (told, stop): (&(dyn Fn(u64) + Sync), &CancellationToken),
) -> Result<Written, ExportError> {
    let mut events = events.written_as(format);
    let (pages, waiting) = mpsc::channel(PAGES_WAITING_MAX);
    let writer = tokio::task::spawn_blocking(move || match target {
        Target::Stream(out) => {
            drain(waiting, format.begin(&kinds, out)?)?;
            Ok(0)
        }
        Target::File(path) => to_file(&path, |out| drain(waiting, format.begin(&kinds, out)?)),
    });
    let mut written = Written::default();
    loop {
        let page = tokio::select! {
            () = stop.cancelled() => return cancelled(pages, writer).await,
            page = events.next_patiently() => page,
        };
        let page = match page {
            Ok(page) if page.is_empty() => break,
            Ok(page) => page,
            Err(error) => {
                // its failure to go on is ours
                let _ = cancelled(pages, writer).await;
                return Err(error);
            }
        };
        written.events += u64::try_from(page.len()).unwrap_or_default();
        if pages.send(Page::Events(page)).await.is_err() {
            // the writer has failed, and says why
            break;
        }
        told(written.events);
    }
    // one who has failed has gone
    let _ = pages.send(Page::End).await;
    written.bytes = writer.await.map_err(io::Error::other)??;
    Ok(written)
}

/// What is written next. Without an end nothing is whole.
enum Page {
    Events(Vec<Event>),
    End,
}

async fn cancelled(
    pages: mpsc::Sender<Page>,
    writer: tokio::task::JoinHandle<Result<u64, ExportError>>,
) -> Result<Written, ExportError> {
    drop(pages);
    // it removes what it has begun
    let _ = writer.await;
    Err(ExportError::Cancelled)
}

fn drain(mut pages: mpsc::Receiver<Page>, mut sink: Box<dyn Sink>) -> Result<(), ExportError> {
    loop {
        match pages.blocking_recv() {
            Some(Page::Events(events)) => sink.add(&events)?,
            Some(Page::End) => return sink.finish(),
            None => return Err(ExportError::Cancelled),
        }
    }
}

/// Writes a file beside another and puts it in its place when it is whole and on the disk.
fn to_file(
    path: &Path,
    fill: impl FnOnce(Box<dyn Out>) -> Result<(), ExportError>,
) -> Result<u64, ExportError> {
    let (beside, file) = Beside::of(path)?;
    if is_packed(path) {
        fill(Box::new(GzEncoder::new(file, Compression::default())))?;
    } else {
        fill(Box::new(file))?;
    }
    let bytes = std::fs::metadata(&beside.path)?.len();
    beside.rename(path)?;
    Ok(bytes)
}

/// A file that has not its name yet; removed unless it gets it.
struct Beside {
    path: PathBuf,
    is_kept: bool,
}

impl Beside {
    /// Makes it. One that was left there, by whoever, is removed and neither written into nor followed.
    fn of(path: &Path) -> io::Result<(Self, File)> {
        let path = path.with_file_name(Self::name_beside(path)?);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
        let file = make_private(&path)?;
        let is_kept = false;
        Ok((Self { path, is_kept }, file))
    }

    fn name_beside(path: &Path) -> io::Result<OsString> {
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let mut beside = OsString::from(".");
        beside.push(name);
        beside.push(format!(".{}.partial", std::process::id()));
        Ok(beside)
    }

    fn rename(mut self, path: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, path)?;
        self.is_kept = true;
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.is_kept {
            // why there is no file is told by whoever writes it
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Out for File {
    fn end(self: Box<Self>) -> io::Result<()> {
        self.sync_all()
    }
}

impl Out for GzEncoder<File> {
    fn end(self: Box<Self>) -> io::Result<()> {
        self.finish()?.sync_all()
    }
}

impl Out for io::Stdout {
    fn end(mut self: Box<Self>) -> io::Result<()> {
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::places::OWNERS_ALONE;

    #[test]
    fn what_was_left_beside_a_file_is_neither_written_into_nor_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let beside = path.with_file_name(Beside::name_beside(&path).unwrap());
        let other = folder.path().join("other");
        std::fs::write(&other, "of another").unwrap();
        let write = || {
            let written = to_file(&path, |mut out| {
                out.write_all(b"told")?;
                Ok(out.end()?)
            });
            assert_eq!(written.unwrap(), 4);
            let found = std::fs::symlink_metadata(&path).unwrap();
            assert!(found.is_file());
            assert_eq!(found.permissions().mode() & 0o777, OWNERS_ALONE);
            assert!(!beside.exists());
        };
        std::fs::write(&beside, "half of a longer one").unwrap();
        std::fs::set_permissions(&beside, Permissions::from_mode(0o644)).unwrap();
        write();
        symlink(&other, &beside).unwrap();
        write();
        assert_eq!(std::fs::read(&other).unwrap(), b"of another");
    }

    #[test]
    fn a_file_is_compressed_as_its_ending_says_in_whatever_letters() {
        let folder = tempfile::tempdir().unwrap();
        let is_packed = |name: &str| {
            let path = folder.path().join(name);
            let written = to_file(&path, |mut out| {
                out.write_all(b"told")?;
                Ok(out.end()?)
            });
            assert!(written.unwrap() > 0);
            std::fs::read(&path).unwrap() != b"told"
        };
        assert!(is_packed("a.csv.gz"));
        assert!(is_packed("A.CSV.GZ"));
        assert!(!is_packed("a.csv"));
    }
}
