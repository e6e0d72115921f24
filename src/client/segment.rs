//! One file of the spool: its name, what of it is whole, and its lines.
//!
//! A line counts when its line feed is there: what a crash left behind the last one is no event.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::api::Line;

/// How a segment's name ends.
const SUFFIX: &str = ".jsonl";

/// A segment, as far as it is known to be on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// Bytes up to and with the last line feed.
    pub(super) bytes: u64,
    /// Lines in them.
    pub(super) lines: u64,
}

/// Events read from a segment, in order.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) events: Vec<Line>,
    /// For each event, where the segment goes on after it.
    pub(super) ends: Vec<Mark>,
    /// Where the segment goes on after all that was read, events or not.
    pub(super) end: Mark,
}

/// A place between two lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) offset: u64,
    pub(super) lines: u64,
}

/// Bytes and events to read at most; one line is always read.
#[derive(Clone, Copy, Debug)]
pub struct PageLimits {
    /// Events.
    pub events: usize,
    /// Bytes with separators.
    pub bytes: usize,
}

/// File of the segment with a number; names sort as numbers do.
pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}{SUFFIX}"))
}

/// Number of the segment in a file of this name, if it is one.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// Measures a segment of an earlier run.
pub(super) fn survey(folder: &Path, number: u64) -> io::Result<Segment> {
    let lines = lines_before(folder, number, u64::MAX)?;
    Ok(Segment {
        number,
        bytes: lines.offset,
        lines: lines.lines,
    })
}

/// The last place between two lines at or before an offset.
pub(super) fn lines_before(folder: &Path, number: u64, offset: u64) -> io::Result<Mark> {
    let mut file = File::open(path(folder, number))?.take(offset);
    let mut buffer = vec![0; 1 << 16];
    let (mut read, mut mark) = (0_u64, Mark::default());
    loop {
        let count = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Ok(mark);
        };
        for byte in bytes {
            read += 1;
            if *byte == b'\n' {
                mark = Mark {
                    offset: read,
                    lines: mark.lines + 1,
                };
            }
        }
    }
}

impl Segment {
    /// Reads on from a place. Lines that are no JSON are passed over.
    pub(super) fn page(&self, folder: &Path, from: Mark, limits: PageLimits) -> io::Result<Page> {
        let bytes = u64::try_from(limits.bytes).unwrap_or(u64::MAX);
        let most = self.bytes.saturating_sub(from.offset);
        let mut text = self.read(folder, from.offset, bytes.min(most))?;
        if !text.contains(&b'\n') {
            text = self.read(folder, from.offset, most)?;
            let first = text.iter().position(|byte| *byte == b'\n');
            text.truncate(first.map_or(0, |end| end + 1));
        }
        let mut page = Page {
            end: from,
            ..Page::default()
        };
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else {
                break;
            };
            if page.events.len() >= limits.events.max(1) {
                break;
            }
            page.end.offset += u64::try_from(line.len()).unwrap_or_default() + 1;
            page.end.lines += 1;
            if let Ok(event) = serde_json::from_slice(line) {
                page.events.push(event);
                page.ends.push(page.end);
            }
        }
        Ok(page)
    }

    fn read(&self, folder: &Path, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(path(folder, self.number))?;
        file.seek(SeekFrom::Start(offset))?;
        let mut text = Vec::new();
        file.take(bytes).read_to_end(&mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_segments_have_a_number() {
        assert_eq!(number("00000000000000000012.jsonl"), Some(12));
        for name in ["12.jsonl", "lock", "0000000000000000001x.jsonl", ".jsonl"] {
            assert_eq!(number(name), None, "{name}");
        }
    }
}
