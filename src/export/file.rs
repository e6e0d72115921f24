//! Writes an export to its end, into a file, which is its owner's alone, or to whoever reads.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::sink::{Out, is_packed};
use super::{Events, ExportError, Format, Readers, Sink, Written};
use crate::event::Event;
use crate::kinds::Kind;
use crate::places::WholeFile;

/// Pages that wait to be written: one is read while another is written.
const PAGES_WAITING_MAX: usize = 1;

/// Where an export goes.
#[expect(missing_debug_implementations, reason = "an output has none")]
pub enum Target {
    /// A file.
    File(FileTarget),
    /// Whoever reads, as it comes.
    Stream(Box<dyn Out>),
}

/// A file, which is there when the export is whole.
#[derive(Debug)]
pub struct FileTarget {
    file: WholeFile,
    /// That by which it was named.
    path: PathBuf,
}

impl Target {
    /// What a path leads to, also through links: a device or a pipe, into which it is written as it comes, or else a
    /// file, which is begun under another name. It is compressed if the path ends in `.gz`, in letters of whatever
    /// case. Of a pipe it is waited until somebody reads from it.
    ///
    /// # Errors
    /// When it is a folder, another process writes the file, or it cannot be made or opened.
    pub async fn at(path: &Path) -> Result<Self, ExportError> {
        let path = path.to_owned();
        let found = spawn_blocking(move || Self::find(path)).await;
        found.map_err(io::Error::other)?
    }

    fn find(path: PathBuf) -> Result<Self, ExportError> {
        let found = match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            found => Some(found?),
        };
        match found {
            Some(found) if found.is_dir() => Err(ExportError::Folder(path)),
            Some(found) if !found.is_file() => {
                // a file in its place would take it away from all others
                let device = Device(File::options().write(true).open(&path)?);
                Ok(Self::Stream(packed_as(&path, device)))
            }
            Some(_) | None => {
                let file = WholeFile::begin(&path)?;
                Ok(Self::File(FileTarget { file, path }))
            }
        }
    }
}

impl Target {
    /// Writes what there is to it.
    ///
    /// # Errors
    /// When it cannot be written. Of a file that was there before nothing has changed then.
    pub fn put(self, bytes: &[u8]) -> Result<(), ExportError> {
        let fill = |mut out: Box<dyn Out>| {
            out.write_all(bytes)?;
            Ok(out.end()?)
        };
        match self {
            Self::Stream(out) => fill(out),
            Self::File(file) => file.fill(fill).map(drop),
        }
    }
}

impl FileTarget {
    /// Fills it, and puts it in its place when it is whole and on the disk; answers its bytes.
    fn fill(
        self,
        fill: impl FnOnce(Box<dyn Out>) -> Result<(), ExportError>,
    ) -> Result<u64, ExportError> {
        fill(packed_as(&self.path, self.file.handle()?))?;
        let bytes = self.file.bytes()?;
        self.file.end()?;
        Ok(bytes)
    }
}

/// What is written to, compressed if a path says so.
fn packed_as<W>(path: &Path, to: W) -> Box<dyn Out>
where
    W: Out + 'static,
    GzEncoder<W>: Out,
{
    if is_packed(path) {
        Box::new(GzEncoder::new(to, Compression::default()))
    } else {
        Box::new(to)
    }
}

/// Writes events of some kinds, for some who read them.
///
/// # Errors
/// When the log cannot be read or the target written, or it was told to end. Then there is no file, and of one
/// that was there before nothing has changed.
pub async fn write(
    events: Events,
    (format, readers, kinds): (Format, Readers, Vec<Kind>),
    target: Target,
    (told, stop): (&(dyn Fn(u64) + Sync), &CancellationToken),
) -> Result<Written, ExportError> {
    let mut events = events.written_as(format);
    let (pages, waiting) = mpsc::channel(PAGES_WAITING_MAX);
    let writer = spawn_blocking(move || {
        let fill =
            |out: Box<dyn Out>| drain(waiting, format.begin((readers, kinds.as_slice()), out)?);
        match target {
            Target::Stream(out) => fill(out).map(|()| 0),
            Target::File(file) => file.fill(fill),
        }
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

/// A device or a pipe.
struct Device(File);

impl Write for Device {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Out for Device {
    /// It has no disk to be on.
    fn end(mut self: Box<Self>) -> io::Result<()> {
        self.flush()
    }
}

impl Out for GzEncoder<Device> {
    fn end(self: Box<Self>) -> io::Result<()> {
        self.finish()?.flush()
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
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn told(mut out: Box<dyn Out>) -> Result<(), ExportError> {
        out.write_all(b"told")?;
        Ok(out.end()?)
    }

    async fn write_at(path: &Path) -> Result<(), ExportError> {
        match Target::at(path).await? {
            Target::File(file) => file.fill(told).map(drop),
            Target::Stream(out) => told(out),
        }
    }

    fn unpacked(bytes: &[u8]) -> String {
        let mut text = String::new();
        GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
        text
    }

    #[tokio::test]
    async fn a_file_is_compressed_as_its_ending_says_in_whatever_letters() {
        let folder = tempfile::tempdir().unwrap();
        for (name, is_packed) in [("a.csv.gz", true), ("A.CSV.GZ", true), ("a.csv", false)] {
            let path = folder.path().join(name);
            write_at(&path).await.unwrap();
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(bytes != b"told", is_packed, "{name}");
            if is_packed {
                assert_eq!(unpacked(&bytes), "told");
            }
        }
    }

    #[tokio::test]
    async fn a_link_is_compressed_as_its_own_ending_says_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let [link, target] = ["a.csv.gz", "packed"].map(|name| folder.path().join(name));
        std::os::unix::fs::symlink("packed", &link).unwrap();
        write_at(&link).await.unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(unpacked(&std::fs::read(&target).unwrap()), "told");
    }

    #[tokio::test]
    async fn whoever_reads_from_a_pipe_gets_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["pipe", "pipe.gz"] {
            let path = folder.path().join(name);
            let made = std::process::Command::new("mkfifo").arg(&path).status();
            assert!(made.unwrap().success());
            let read = path.clone();
            let read = spawn_blocking(move || std::fs::read(read).unwrap());
            write_at(&path).await.unwrap();
            let bytes = read.await.unwrap();
            if name == "pipe" {
                assert_eq!(bytes, b"told");
            } else {
                assert_eq!(unpacked(&bytes), "told");
            }
            assert!(!std::fs::symlink_metadata(&path).unwrap().is_file());
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn a_folder_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let refused = write_at(folder.path()).await.unwrap_err();
        assert!(matches!(refused, ExportError::Folder(_)), "{refused:?}");
        let told = folder.path().join("events.jsonl").display().to_string();
        assert!(refused.to_string().contains(&told), "{refused}");
    }
}
