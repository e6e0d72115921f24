//! Imports events from JSON lines, plain or gzip: bounded memory, any length, restartable.
//!
//! A line without an id gets one that follows from its content and its ordinal among equal lines, so
//! the same file can be imported again and again and is stored once. What is refused is written down
//! with its line number and reason; the rest goes on.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use serde_json::{Value as Json, json};
use thiserror::Error;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Given, Ingest, Patience};
use crate::event::Instant;
use crate::kinds::{Code, Identity, Kind, Refusal, parse_any};
use crate::store::{AppendError, EVENTS_MAX, Outcome};

/// Bytes at most of a line.
const LINE_BYTES_MAX: u64 = 1024 * 1024;
/// Batches that are read ahead.
const BATCHES_AHEAD: usize = 4;

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
    /// Where refused lines are written, as JSON lines of number, reason and text.
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

struct Line {
    number: u64,
    text: String,
    given: Given,
}

type Batch = Result<Vec<Line>, ImportError>;

impl Import<'_> {
    /// Imports all lines of a source.
    ///
    /// # Errors
    /// When the source cannot be read or the log cannot be written.
    pub async fn run(self, source: impl Read + Send + 'static) -> Result<Tally, ImportError> {
        let (batches, mut queue) = mpsc::channel::<Batch>(BATCHES_AHEAD);
        let bytes_read = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            inner: source,
            bytes: Arc::clone(&bytes_read),
        };
        let now = self.ingest.clock().now();
        let reading = tokio::task::spawn_blocking(move || read(counted, now, &batches));
        let mut tally = Tally::default();
        while let Some(batch) = queue.recv().await {
            let (lines, given) = split(batch?);
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
                if let Some(refused) = refused_line(*number, text, outcome) {
                    writeln!(self.refused, "{refused}").map_err(ImportError::Refused)?;
                }
            }
            (self.progress)(Progress {
                tally,
                bytes_read: bytes_read.load(Ordering::Relaxed),
            });
        }
        self.refused.flush().map_err(ImportError::Refused)?;
        // the reader has closed the queue, so it has ended
        let _ = reading.await;
        Ok(tally)
    }
}

fn split(batch: Vec<Line>) -> (Vec<(u64, String)>, Vec<Given>) {
    batch
        .into_iter()
        .map(|line| ((line.number, line.text), line.given))
        .unzip()
}

fn refused_line(number: u64, text: &str, outcome: &Outcome) -> Option<Json> {
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
    Some(json!({ "line": number, "code": code, "field": field, "message": message, "text": text }))
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

/// Reads lines into batches until the source ends or nobody wants them any more.
fn read(source: impl Read, now: Instant, batches: &mpsc::Sender<Batch>) {
    let mut source = BufReader::with_capacity(128 * 1024, source);
    let done = match source
        .fill_buf()
        .map(|start| start.starts_with(&[0x1f, 0x8b]))
    {
        Ok(true) => {
            let unzipped = BufReader::with_capacity(128 * 1024, MultiGzDecoder::new(source));
            Lines::new(unzipped, now).batches(batches)
        }
        Ok(false) => Lines::new(source, now).batches(batches),
        Err(source) => Err(ImportError::Read { line: 1, source }),
    };
    if let Err(error) = done {
        // nobody listening means that the import has already failed
        let _ = batches.blocking_send(Err(error));
    }
}

struct Lines<R> {
    source: R,
    number: u64,
    now: Instant,
    equal: HashMap<Uuid, u32>,
}

impl<R: BufRead> Lines<R> {
    fn new(source: R, now: Instant) -> Self {
        Self {
            source,
            number: 0,
            now,
            equal: HashMap::new(),
        }
    }

    fn batches(mut self, batches: &mpsc::Sender<Batch>) -> Result<(), ImportError> {
        let mut batch = Vec::with_capacity(EVENTS_MAX);
        let ended = loop {
            match self.next() {
                Ok(Some(line)) => batch.push(line),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
            if batch.len() == EVENTS_MAX
                && batches
                    .blocking_send(Ok(std::mem::take(&mut batch)))
                    .is_err()
            {
                return Ok(());
            }
        };
        if !batch.is_empty() {
            // also when the source broke off: what could be read is imported
            let _ = batches.blocking_send(Ok(batch));
        }
        ended
    }

    fn next(&mut self) -> Result<Option<Line>, ImportError> {
        loop {
            self.number += 1;
            let number = self.number;
            let failed = |source| ImportError::Read {
                line: number,
                source,
            };
            let mut bytes = Vec::new();
            let mut limited = self.source.by_ref().take(LINE_BYTES_MAX + 1);
            if limited.read_until(b'\n', &mut bytes).map_err(failed)? == 0 {
                return Ok(None);
            }
            if !bytes.ends_with(b"\n")
                && u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LINE_BYTES_MAX
            {
                self.source.skip_until(b'\n').map_err(failed)?;
                let message = format!("the line is longer than {LINE_BYTES_MAX} bytes");
                let text = String::from_utf8_lossy(bytes.get(..200).unwrap_or(&bytes)).into_owned();
                let given = (None, Err(Refusal::of_event(Code::TooLong, message)));
                return Ok(Some(Line {
                    number,
                    text,
                    given,
                }));
            }
            let text = String::from_utf8_lossy(&bytes);
            let text = text.trim();
            if !text.is_empty() {
                let given = self.parse(text, std::str::from_utf8(&bytes).is_ok());
                return Ok(Some(Line {
                    number,
                    text: text.to_owned(),
                    given,
                }));
            }
        }
    }

    fn parse(&mut self, text: &str, is_utf8: bool) -> Given {
        let invalid = |message: String| (None, Err(Refusal::of_event(Code::Invalid, message)));
        if !is_utf8 {
            return invalid("the line is not UTF-8".to_owned());
        }
        let json: Json = match serde_json::from_str(text) {
            Ok(json) => json,
            Err(error) => return invalid(format!("the line is not JSON: {error}")),
        };
        let kind = json
            .as_object()
            .and_then(|entries| Kind::of_wire(entries.keys().next()?));
        let parsed = parse_any(&json, self.now).map(|mut event| {
            if event.fact.event_id.is_none() && event.fact.spec().identity == Identity::EventId {
                event.fact.event_id = Some(self.id_of(&json));
            }
            event
        });
        (kind, parsed)
    }

    /// The id of a line without one: equal lines have ids that differ by their ordinals.
    fn id_of(&mut self, json: &Json) -> Uuid {
        let content = Uuid::new_v5(&LINES, json.to_string().as_bytes());
        let ordinal = self.equal.entry(content).or_insert(0);
        *ordinal += 1;
        Uuid::new_v5(&content, &ordinal.to_be_bytes())
    }
}

/// Namespace of the ids of lines.
const LINES: Uuid = Uuid::from_u128(0x8a54_5f2a_3b6e_4d7b_9c4f_1f0d_b8a3_52e6);
