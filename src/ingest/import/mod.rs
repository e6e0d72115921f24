//! Imports events from JSON lines, plain or gzip: bounded memory, any length, restartable.
//!
//! A line without an id gets one that follows from its content and its ordinal among equal lines, so
//! the same file can be imported again and again and is stored once. What is refused is written down
//! with its line number and reason; the rest goes on. From a source that is still being written,
//! such as a pipe, what has come is recorded a moment later.

mod lines;
mod ordinals;
mod parsed;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value as Json, json};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::{Given, Ingest, Patience};
use crate::kinds::Code;
use crate::store::{AppendError, EVENTS_MAX, Outcome};
use lines::{CHUNK_BYTES, CHUNK_LINES};

pub use parsed::Parsed;

/// Bytes at most in a batch.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Chunks that are read ahead: as much as a batch.
const CHUNKS_AHEAD: usize = 16;
/// How long a batch is gathered: then the lines that have come are recorded.
const GATHER_FOR: Duration = Duration::from_millis(200);

const _: () = assert!(CHUNKS_AHEAD * CHUNK_BYTES <= BATCH_BYTES_MAX);
const _: () = assert!(CHUNK_LINES <= EVENTS_MAX);

/// Why an import stopped. What was imported before stays, and a restart goes on from it.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The source cannot be read.
    #[error("cannot read line {line}")]
    Read {
        /// The line after the last one that was read.
        line: u64,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file of refused lines cannot be written.
    #[error("cannot write the file of refused lines")]
    Refused(#[source] std::io::Error),
    /// The log cannot be written.
    #[error("cannot record lines {first} to {last}")]
    Append {
        /// The first line of the batch.
        first: u64,
        /// The last line of the batch.
        last: u64,
        /// Why.
        source: AppendError,
    },
}

/// What became of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines read, empty ones left out.
    pub lines: u64,
    /// Events recorded.
    pub recorded: u64,
    /// Events that had been there.
    pub duplicates: u64,
    /// Events whose key had been there with another body.
    pub conflicts: u64,
    /// Lines refused.
    pub rejected: u64,
}

impl Tally {
    /// Lines that were not taken.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.conflicts + self.rejected
    }

    fn count(&mut self, outcome: &Outcome) {
        self.lines += 1;
        match outcome {
            Outcome::Recorded(_) => self.recorded += 1,
            Outcome::Duplicate(_) => self.duplicates += 1,
            Outcome::Conflict(_) => self.conflicts += 1,
            Outcome::Rejected(_) => self.rejected += 1,
        }
    }
}

/// How far an import has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What became of the lines so far.
    pub tally: Tally,
    /// Bytes of the source read so far, compressed ones if it is compressed.
    pub bytes_read: u64,
}

/// An import of one source.
pub struct Import<'a> {
    /// The door.
    pub ingest: &'a Ingest,
    /// Name of the source.
    pub name: &'a str,
    /// Where refused lines are written, as JSON lines of source, number, reason and text.
    pub refused: &'a mut (dyn Write + Send),
    /// Told after each batch.
    pub progress: &'a (dyn Fn(Progress) + Send + Sync),
}

impl std::fmt::Debug for Import<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Import")
            .field("ingest", self.ingest)
            .finish_non_exhaustive()
    }
}

/// A line that was read, and what it gives.
struct Line {
    number: u64,
    text: String,
    given: Given,
}

/// Lines that were read at once, and their bytes.
#[derive(Default)]
struct Lines {
    lines: Vec<Line>,
    bytes: usize,
}

impl Lines {
    fn push(&mut self, line: Line) {
        self.bytes += line.text.len();
        self.lines.push(line);
    }

    fn append(&mut self, mut others: Self) {
        self.bytes += others.bytes;
        self.lines.append(&mut others.lines);
    }
}

type Chunk = Result<Lines, ImportError>;

/// Makes batches for the log of the chunks that were read.
struct Batches {
    chunks: mpsc::Receiver<Chunk>,
    /// A chunk that did not fit into the batch before.
    held_over: Option<Chunk>,
}

impl Batches {
    fn new(chunks: mpsc::Receiver<Chunk>) -> Self {
        Self {
            chunks,
            held_over: None,
        }
    }

    /// The next batch: as much as fits, or what has come within a moment.
    async fn next(&mut self) -> Option<Chunk> {
        let mut batch = match self.held_over.take() {
            Some(chunk) => chunk,
            None => self.chunks.recv().await?,
        };
        let until = Instant::now() + GATHER_FOR;
        if let Ok(lines) = &mut batch {
            while let Ok(Some(chunk)) = timeout_at(until, self.chunks.recv()).await {
                match chunk {
                    Ok(more) if fits(lines, &more) => lines.append(more),
                    other => {
                        self.held_over = Some(other);
                        break;
                    }
                }
            }
        }
        Some(batch)
    }
}

fn fits(batch: &Lines, more: &Lines) -> bool {
    batch.lines.len() + more.lines.len() <= EVENTS_MAX
        && batch.bytes + more.bytes <= BATCH_BYTES_MAX
}

impl Import<'_> {
    /// Imports all lines of a source.
    ///
    /// # Errors
    /// When the source cannot be read or the log cannot be written.
    pub async fn run(self, source: impl Read + Send + 'static) -> Result<Tally, ImportError> {
        let (chunks, queue) = mpsc::channel::<Chunk>(CHUNKS_AHEAD);
        let mut batches = Batches::new(queue);
        let bytes_read = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            inner: source,
            bytes: Arc::clone(&bytes_read),
        };
        let clock = self.ingest.clock().clone();
        let reading = tokio::task::spawn_blocking(move || lines::read(counted, clock, &chunks));
        let mut tally = Tally::default();
        while let Some(batch) = batches.next().await {
            let (lines, given) = split(batch?.lines);
            let of = |line: Option<&(u64, String)>| line.map_or(0, |(number, _)| *number);
            let (first, last) = (of(lines.first()), of(lines.last()));
            let appended = self.ingest.record(given, None, Patience::Unlimited).await;
            let appended = appended.map_err(|source| ImportError::Append {
                first,
                last,
                source,
            })?;
            for ((number, text), outcome) in lines.iter().zip(&appended.outcomes) {
                tally.count(outcome);
                if let Some(refused) = refused_line((self.name, *number), text, outcome) {
                    writeln!(self.refused, "{refused}").map_err(ImportError::Refused)?;
                }
            }
            self.refused.flush().map_err(ImportError::Refused)?;
            (self.progress)(Progress {
                tally,
                bytes_read: bytes_read.load(Ordering::Relaxed),
            });
        }
        // the reader has closed the queue, so it has ended
        let _ = reading.await;
        Ok(tally)
    }
}

fn split(lines: Vec<Line>) -> (Vec<(u64, String)>, Vec<Given>) {
    lines
        .into_iter()
        .map(|line| ((line.number, line.text), line.given))
        .unzip()
}

fn refused_line((file, number): (&str, u64), text: &str, outcome: &Outcome) -> Option<Json> {
    let (code, field, message) = match outcome {
        Outcome::Recorded(_) | Outcome::Duplicate(_) => return None,
        Outcome::Conflict(position) => {
            let message =
                format!("the same key was recorded at position {position} with another body");
            (Code::Conflict, None, message)
        }
        Outcome::Rejected(refusal) => {
            (refusal.code, refusal.field.clone(), refusal.message.clone())
        }
    };
    let code = code.word();
    Some(json!({
        "file": file,
        "line": number,
        "code": code,
        "field": field,
        "message": message,
        "text": text,
    }))
}

/// Counts the bytes that pass.
struct Counted<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes
            .fetch_add(u64::try_from(read).unwrap_or(0), Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(lines: usize, bytes: usize) -> Lines {
        let mut chunk = Lines::default();
        for number in 0..lines {
            let refusal = crate::kinds::Refusal::of_event(Code::Invalid, "a test");
            chunk.push(Line {
                number: u64::try_from(number).unwrap(),
                text: "x".repeat(bytes),
                given: (None, Err(refusal)),
            });
        }
        chunk
    }

    async fn sizes(chunks: Vec<Lines>) -> Vec<(usize, usize)> {
        let (sender, queue) = mpsc::channel(CHUNKS_AHEAD);
        let send = async move {
            for chunk in chunks {
                assert!(sender.send(Ok(chunk)).await.is_ok());
            }
        };
        let receive = async move {
            let mut batches = Batches::new(queue);
            let mut sizes = Vec::new();
            while let Some(Ok(batch)) = batches.next().await {
                sizes.push((batch.lines.len(), batch.bytes));
            }
            sizes
        };
        futures_util::future::join(send, receive).await.1
    }

    #[tokio::test]
    async fn a_batch_has_no_more_lines_than_a_request() {
        let sizes = sizes((0..9).map(|_| chunk(CHUNK_LINES, 2)).collect()).await;
        let full = (EVENTS_MAX, EVENTS_MAX * 2);
        assert_eq!(sizes, [full, full, (CHUNK_LINES, CHUNK_LINES * 2)]);
    }

    #[tokio::test]
    async fn a_batch_has_no_more_bytes_than_a_commit() {
        let mib = 1024 * 1024;
        let sizes = sizes((0..9).map(|_| chunk(1, mib)).collect()).await;
        assert_eq!(sizes, [(4, 4 * mib), (4, 4 * mib), (1, mib)]);
    }

    #[tokio::test]
    async fn lines_that_are_not_followed_by_others_are_a_batch() {
        let (sender, queue) = mpsc::channel(CHUNKS_AHEAD);
        let mut batches = Batches::new(queue);
        assert!(sender.send(Ok(chunk(3, 5))).await.is_ok());
        let batch = batches.next().await.unwrap().unwrap_or_default();
        assert_eq!((batch.lines.len(), batch.bytes), (3, 15));
        drop(sender);
        assert!(batches.next().await.is_none());
    }
}
