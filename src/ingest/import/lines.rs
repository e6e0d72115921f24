//! Reads lines, plain or gzip, and makes events of them.

use std::io::{BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use serde_json::Value as Json;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::ordinals::Ordinals;
use super::{Chunk, ImportError, Line, Lines};
use crate::clock::Clock;
use crate::ingest::Given;
use crate::kinds::{Code, Identity, Kind, Refusal, parse_any};

/// Bytes at most of a line.
const LINE_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes that are read from the source at once.
const READ_BYTES: usize = 128 * 1024;
/// Bytes after which a chunk is handed over.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;
/// Lines at most of a chunk.
pub(super) const CHUNK_LINES: usize = 250;
/// What some programs begin a file of UTF-8 with.
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];
/// What a file of gzip begins with.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// Reads lines until the source ends or nobody wants them any more.
pub(super) fn read(source: impl Read, clock: Clock, chunks: &mpsc::Sender<Chunk>) {
    let mut source = BufReader::with_capacity(READ_BYTES, source);
    let done = match source.fill_buf().map(|start| start.starts_with(GZIP)) {
        Ok(true) => {
            let unzipped = BufReader::with_capacity(READ_BYTES, MultiGzDecoder::new(source));
            Reader::new(unzipped, clock).read(chunks)
        }
        Ok(false) => Reader::new(source, clock).read(chunks),
        Err(source) => Err(ImportError::Read { line: 1, source }),
    };
    if let Err(error) = done {
        // nobody listening means that the import has already failed
        let _ = chunks.blocking_send(Err(error));
    }
}

/// Reads all lines, and hands over what each gives.
pub(super) fn each(
    source: impl Read,
    clock: Clock,
    mut take: impl FnMut(u64, Given),
) -> Result<(), ImportError> {
    let mut source = BufReader::with_capacity(READ_BYTES, source);
    let start = source.fill_buf();
    let start = start.map_err(|source| ImportError::Read { line: 1, source })?;
    if start.starts_with(GZIP) {
        let unzipped = BufReader::with_capacity(READ_BYTES, MultiGzDecoder::new(source));
        Reader::new(unzipped, clock).each(&mut take)
    } else {
        Reader::new(source, clock).each(&mut take)
    }
}

struct Reader<R> {
    source: BufReader<R>,
    number: u64,
    clock: Clock,
    ordinals: Ordinals,
}

impl<R: Read> Reader<R> {
    fn new(source: BufReader<R>, clock: Clock) -> Self {
        Self {
            source,
            number: 0,
            clock,
            ordinals: Ordinals::default(),
        }
    }

    fn read(mut self, chunks: &mpsc::Sender<Chunk>) -> Result<(), ImportError> {
        let mut chunk = Lines::default();
        loop {
            match self.next() {
                Ok(Some(line)) => chunk.push(line),
                ended => {
                    // also when the source broke off: what could be read is imported
                    let _ = chunks.blocking_send(Ok(chunk));
                    return ended.map(|_| ());
                }
            }
            let full = chunk.lines.len() >= CHUNK_LINES || chunk.bytes >= CHUNK_BYTES;
            if (full || self.may_wait())
                && chunks
                    .blocking_send(Ok(std::mem::take(&mut chunk)))
                    .is_err()
            {
                return Ok(());
            }
        }
    }

    fn each(mut self, take: &mut impl FnMut(u64, Given)) -> Result<(), ImportError> {
        while let Some(line) = self.next()? {
            take(line.number, line.given);
        }
        Ok(())
    }

    /// Whether the source must be asked for the next line, which may be long in coming.
    fn may_wait(&self) -> bool {
        !self.source.buffer().contains(&b'\n')
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
                return Ok(Some(too_long(number, &bytes)));
            }
            let mark = bytes.strip_prefix(BYTE_ORDER_MARK);
            let content = mark.filter(|_| number == 1).unwrap_or(&bytes);
            let text = String::from_utf8_lossy(content);
            let text = text.trim();
            if !text.is_empty() {
                let given = self.parse(text, std::str::from_utf8(content).is_ok());
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
        // a line that says no time happened when it came, which may be long after the first one
        let parsed = parse_any(&json, self.clock.now()).map(|mut event| {
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
        let ordinal = self.ordinals.next(content);
        Uuid::new_v5(&content, &ordinal.to_be_bytes())
    }
}

fn too_long(number: u64, bytes: &[u8]) -> Line {
    let message = format!("the line is longer than {LINE_BYTES_MAX} bytes");
    let text = String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes)).into_owned();
    Line {
        number,
        text,
        given: (None, Err(Refusal::of_event(Code::TooLong, message))),
    }
}

/// Namespace of the ids of lines.
const LINES: Uuid = Uuid::from_u128(0x8a54_5f2a_3b6e_4d7b_9c4f_1f0d_b8a3_52e6);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Instant;

    const LINE: &str =
        r#"{"errorLog": {"category": "SYSTEM", "severity": "INFO", "errorMessage": "m"}}"#;

    fn chunks(source: impl Read + Send + 'static, clock: Clock) -> Vec<Lines> {
        let (sender, mut queue) = mpsc::channel(1_000);
        read(source, clock, &sender);
        drop(sender);
        let next = || queue.blocking_recv();
        let chunks = std::iter::from_fn(next).map(Result::unwrap);
        chunks.filter(|chunk| !chunk.lines.is_empty()).collect()
    }

    /// Gives one part at each read, and moves the clock before each.
    struct Slow {
        parts: Vec<String>,
        clock: Clock,
    }

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.parts.is_empty() {
                return Ok(0);
            }
            self.clock.advance_ms(60_000);
            let part = self.parts.remove(0);
            buffer[..part.len()].copy_from_slice(part.as_bytes());
            Ok(part.len())
        }
    }

    #[test]
    fn what_has_come_is_handed_over_before_more_is_waited_for() {
        let clock = Clock::by_hand(Instant::OLDEST);
        let parts = vec![
            format!("{LINE}\n{LINE}\n{{\"errorLog"),
            LINE[10..].to_owned() + "\n",
        ];
        let chunks = chunks(
            Slow {
                parts,
                clock: clock.clone(),
            },
            clock,
        );
        let sizes: Vec<usize> = chunks.iter().map(|chunk| chunk.lines.len()).collect();
        assert_eq!(sizes, [2, 1]);
    }

    #[test]
    fn a_line_that_says_no_time_bears_the_time_at_which_it_came() {
        let clock = Clock::by_hand(Instant::OLDEST);
        let parts = vec![format!("{LINE}\n"), format!("{LINE}\n")];
        let chunks = chunks(
            Slow {
                parts,
                clock: clock.clone(),
            },
            clock,
        );
        let lines = chunks.into_iter().flat_map(|chunk| chunk.lines);
        let times: Vec<Instant> = lines
            .map(|line| line.given.1.unwrap().fact.occurred_at)
            .collect();
        let minute = |n: i64| Instant::OLDEST.plus_ms(n * 60_000);
        assert_eq!(times, [minute(1), minute(2)]);
    }

    #[test]
    fn long_lines_make_small_chunks() {
        let text = format!("{}\n", "x".repeat(1_000_000)).repeat(5);
        let clock = Clock::by_hand(Instant::OLDEST);
        let chunks = chunks(std::io::Cursor::new(text), clock);
        assert_eq!(chunks.len(), 5);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_line() {
        let clock = Clock::by_hand(Instant::OLDEST);
        let text = format!("\u{feff}{LINE}\n\u{feff}{LINE}\n");
        let chunks = chunks(std::io::Cursor::new(text), clock);
        let lines = chunks.into_iter().flat_map(|chunk| chunk.lines);
        let taken: Vec<bool> = lines.map(|line| line.given.1.is_ok()).collect();
        assert_eq!(taken, [true, false]);
    }
}
