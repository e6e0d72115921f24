//! Events kept on disk until the server has answered them.
//!
//! A folder of segments, each a file of JSON lines that is only appended to. An event counts as
//! kept when its line has been synced; many share one sync. Events are read oldest first and leave
//! when they are settled; a segment is deleted when its last one has left. `progress` remembers how
//! far the oldest segment is settled; it may be older than the truth, so that a crash repeats events
//! (which is harmless) but never skips one. `lock` holds off a second process.
//!
//! Bounded: when the folder would grow past its limit, the oldest segment goes, and its events that
//! had not left are counted as dropped. A torn last line is cut off at the next start.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;
use tracing::warn;

use super::api::Line;
use super::segment::{self, Mark, PageLimits, Segment};

/// How much a spool holds.
#[derive(Clone, Copy, Debug)]
pub struct SpoolLimits {
    /// Bytes of all segments at most.
    pub bytes_max: u64,
    /// Bytes after which a segment is closed; what is dropped at once when the spool is full.
    pub segment_bytes: u64,
}

impl Default for SpoolLimits {
    /// 64 MiB (about 300,000 device metrics, three months of one device) in segments of 1 MiB.
    fn default() -> Self {
        Self {
            bytes_max: 64 << 20,
            segment_bytes: 1 << 20,
        }
    }
}

/// A spool that cannot do what was asked.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// The folder cannot be opened or repaired.
    #[error("cannot open the spool folder {folder}")]
    Open {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has the folder.
    #[error("the spool folder {folder} is in use by another process")]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// Events could not be kept; none of them counts as kept.
    #[error("cannot write to the spool folder {folder}")]
    Write {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Events could not be read.
    #[error("cannot read from the spool folder {folder}")]
    Read {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// More at once than the spool may hold.
    #[error("{bytes} bytes at once do not fit into a spool of {bytes_max} bytes")]
    TooLarge {
        /// Bytes to be kept.
        bytes: u64,
        /// Bytes that fit.
        bytes_max: u64,
    },
}

/// Where a page of events stands in the spool.
#[derive(Debug, Default)]
pub struct Place {
    segment: u64,
    ends: Vec<Mark>,
}

/// Events on disk that wait for the server.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    limits: SpoolLimits,
    segments: VecDeque<Segment>,
    /// Open end of the last segment; none when the next event begins a new one.
    active: Option<File>,
    next_number: u64,
    /// How far the first segment is settled.
    settled: Mark,
    dropped: u64,
    damaged: u64,
    _lock: File,
}

impl Spool {
    /// Opens a folder, which is made if it is missing, and repairs what a crash left in it.
    ///
    /// # Errors
    /// When another process has it, or it cannot be read or written.
    pub fn open(folder: &Path, limits: SpoolLimits) -> Result<Self, SpoolError> {
        let cannot = |source| SpoolError::Open {
            folder: folder.to_owned(),
            source,
        };
        fs::create_dir_all(folder).map_err(cannot)?;
        let lock = lock(folder)?;
        let progress = read_progress(folder);
        let (segments, settled) = recover(folder, progress).map_err(cannot)?;
        let last = segments.back().map_or(0, |segment| segment.number);
        let active = segments
            .back()
            .map(|segment| {
                OpenOptions::new()
                    .append(true)
                    .open(segment::path(folder, segment.number))
            })
            .transpose()
            .map_err(cannot)?;
        Ok(Self {
            folder: folder.to_owned(),
            limits,
            segments,
            active,
            next_number: last.max(progress.0) + 1,
            settled,
            dropped: 0,
            damaged: 0,
            _lock: lock,
        })
    }

    /// Keeps events: when this returns, they outlive a crash. The oldest ones go if there is no room.
    ///
    /// # Errors
    /// When they could not be written; then none of them counts as kept.
    pub fn append(&mut self, events: &[Line]) -> Result<(), SpoolError> {
        let mut text = Vec::new();
        for event in events {
            text.extend_from_slice(event.get().as_bytes());
            text.push(b'\n');
        }
        let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        if bytes > self.limits.bytes_max {
            return Err(SpoolError::TooLarge {
                bytes,
                bytes_max: self.limits.bytes_max,
            });
        }
        self.make_room(bytes);
        self.write(&text).map_err(|source| SpoolError::Write {
            folder: self.folder.clone(),
            source,
        })?;
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes += bytes;
            segment.lines += u64::try_from(events.len()).unwrap_or_default();
        }
        Ok(())
    }

    /// The oldest events that are not settled, with their place; none when all are.
    ///
    /// # Errors
    /// When the segment cannot be read.
    pub fn peek(&mut self, limits: PageLimits) -> Result<(Vec<Line>, Place), SpoolError> {
        loop {
            self.trim();
            let front = self
                .segments
                .front()
                .filter(|front| self.settled.offset < front.bytes);
            let Some(front) = front else {
                return Ok((Vec::new(), Place::default()));
            };
            let page = front.page(&self.folder, self.settled, limits);
            let page = page.map_err(|source| SpoolError::Read {
                folder: self.folder.clone(),
                source,
            })?;
            if page.events.is_empty() && page.end == self.settled {
                // The segment is shorter than it was: nothing of it can be read any more.
                let end = Mark {
                    offset: front.bytes,
                    lines: front.lines,
                };
                self.advance(end, 0);
            } else if page.events.is_empty() {
                self.advance(page.end, 0);
            } else {
                let segment = front.number;
                let ends = page.ends;
                return Ok((page.events, Place { segment, ends }));
            }
        }
    }

    /// Lets the first events of a page go. Those that were dropped meanwhile are gone already.
    pub fn settle(&mut self, place: &Place, events: usize) {
        let end = events.checked_sub(1).and_then(|last| place.ends.get(last));
        let front = self.segments.front().map(|segment| segment.number);
        let Some(end) =
            end.filter(|end| front == Some(place.segment) && end.offset > self.settled.offset)
        else {
            return;
        };
        self.advance(*end, u64::try_from(events).unwrap_or_default());
        self.trim();
        if let Err(error) = self.write_progress() {
            // Nothing is lost by it: what was settled since is sent again after a restart.
            tracing::debug!(%error, "progress of the spool was not written");
        }
    }

    /// Events that wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        let lines: u64 = self.segments.iter().map(|segment| segment.lines).sum();
        lines.saturating_sub(self.settled.lines)
    }

    /// Events dropped for want of room since the start.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Lines that could not be read as events since the start.
    #[must_use]
    pub const fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    fn advance(&mut self, end: Mark, events: u64) {
        let lines = end.lines.saturating_sub(self.settled.lines);
        self.damaged += lines.saturating_sub(events);
        self.settled = end;
    }

    /// Deletes segments of which every event has left, except the one that is written to.
    fn trim(&mut self) {
        while let Some(front) = self.segments.front() {
            let is_active = self.segments.len() == 1 && self.active.is_some();
            if is_active || self.settled.offset < front.bytes {
                return;
            }
            self.remove_front();
        }
    }

    fn make_room(&mut self, bytes: u64) {
        while self.bytes() + bytes > self.limits.bytes_max {
            let Some(front) = self.segments.front() else {
                return;
            };
            self.dropped += front.lines.saturating_sub(self.settled.lines);
            if self.segments.len() == 1 {
                self.active = None;
            }
            self.remove_front();
        }
    }

    fn remove_front(&mut self) {
        let Some(front) = self.segments.pop_front() else {
            return;
        };
        self.settled = Mark::default();
        let removed = fs::remove_file(segment::path(&self.folder, front.number));
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!(%error, segment.number = front.number, "a segment of the spool cannot be deleted");
        }
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let back = self.segments.back().map_or(0, |segment| segment.bytes);
        let mut file = match self.active.take() {
            Some(file) if back < self.limits.segment_bytes => file,
            Some(_) | None => self.begin_segment()?,
        };
        let before = self.segments.back().map_or(0, |segment| segment.bytes);
        let written = file.write_all(text).and_then(|()| file.sync_data());
        match written {
            Ok(()) => self.active = Some(file),
            // The next events begin a new segment, whether or not this can be undone.
            Err(_) => drop(file.set_len(before)),
        }
        written
    }

    fn begin_segment(&mut self) -> io::Result<File> {
        let number = self.next_number;
        let path = segment::path(&self.folder, number);
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)?;
        self.next_number += 1;
        self.segments.push_back(Segment {
            number,
            ..Segment::default()
        });
        sync_folder(&self.folder)?;
        Ok(file)
    }

    fn write_progress(&self) -> io::Result<()> {
        let number = self
            .segments
            .front()
            .map_or(self.next_number, |front| front.number);
        let draft = self.folder.join("progress.new");
        fs::write(&draft, format!("{number} {}\n", self.settled.offset))?;
        fs::rename(draft, self.folder.join("progress"))
    }
}

fn lock(folder: &Path) -> Result<File, SpoolError> {
    let open = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(folder.join("lock"));
    let cannot = |source| SpoolError::Open {
        folder: folder.to_owned(),
        source,
    };
    let file = open.map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::InUse {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(cannot(source)),
    }
}

/// The oldest segment and how many of its bytes are settled, as far as it was remembered.
fn read_progress(folder: &Path) -> (u64, u64) {
    let text = fs::read_to_string(folder.join("progress")).unwrap_or_default();
    let whole = text
        .strip_suffix('\n')
        .and_then(|line| line.split_once(' '));
    let numbers =
        whole.and_then(|(number, offset)| Some((number.parse().ok()?, offset.parse().ok()?)));
    numbers.unwrap_or_default()
}

/// Finds the segments, cuts off what is torn, and deletes what had been settled.
fn recover(folder: &Path, progress: (u64, u64)) -> io::Result<(VecDeque<Segment>, Mark)> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        numbers.extend(entry?.file_name().to_str().and_then(segment::number));
    }
    numbers.sort_unstable();
    let mut segments = VecDeque::new();
    for number in numbers {
        if number < progress.0 {
            fs::remove_file(segment::path(folder, number))?;
        } else {
            segments.push_back(segment::survey(folder, number)?);
        }
    }
    if let Some(last) = segments.back() {
        let file = OpenOptions::new()
            .write(true)
            .open(segment::path(folder, last.number))?;
        file.set_len(last.bytes)?;
        file.sync_data()?;
    }
    let mut settled = Mark::default();
    if let Some(front) = segments.front().filter(|front| front.number == progress.0) {
        let mark = segment::lines_before(folder, front.number, progress.1)?;
        if mark.offset == progress.1 {
            settled = mark;
        }
    }
    Ok((segments, settled))
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
