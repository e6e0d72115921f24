//! Makes one export: reads what is asked for, writes it into a file, tells how far it is, and breaks off when
//! it is cancelled.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::FutureExt;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::files::{Files, FilesError};
use super::upload::{Arrived, pieces};
use super::{
    Ask, AskError, Bounds, Code, FAILING, MIB, RESTARTS_MAX, Reached, Reader, SOURCE, Written, rows,
};
use crate::event::{Instant, Position};
use crate::export::{self, Asked, ExportError, Format, Out, Target};
use crate::history::exports::{ExportRow, Whose, export as kept};
use crate::kinds::{Envelope, Filter, Kind, Operand, Operator};
use crate::store::{Store, StoreError};
use crate::telemetry::chain;
use crate::ticks;

/// How often it is told how far an export is, and looked whether it is cancelled.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Microseconds of a day.
const DAY: i64 = 24 * 3_600 * 1_000_000;

/// What exports are made with.
#[derive(Debug)]
pub(super) struct Maker {
    pub(super) store: Store,
    /// Where files lie.
    pub(super) files: Arc<Files>,
    pub(super) reader: Reader,
    pub(super) bounds: Bounds,
}

/// How an export ended.
enum Ended {
    Done(Written),
    /// It was cancelled, or the server stops.
    Stopped,
    Failed(Code, String),
    /// It may be made later.
    Again(String),
    /// It may not have been begun.
    Waits,
}

impl Ended {
    fn failed(code: Code, error: &dyn std::error::Error) -> Self {
        Self::Failed(code, chain(error).to_string())
    }

    fn panicked() -> Self {
        let why = "the server panicked while it made the export: its log tells where";
        Self::Failed(Code::Internal, why.to_owned())
    }

    fn of_store(error: &StoreError) -> Self {
        let why = chain(error).to_string();
        if error.may_pass() {
            Self::Again(why)
        } else {
            Self::Failed(Code::Unreadable, why)
        }
    }

    /// It took too long.
    fn late(within: Duration) -> Self {
        let hours = within.as_secs() / 3_600;
        let why =
            format!("an export may take {hours} hours, and this one takes longer: ask for less");
        Self::Failed(Code::TooLarge, why)
    }

    fn of_files(error: &FilesError) -> Self {
        let code = if error.is_full() {
            Code::NoRoom
        } else {
            Code::Unwritable
        };
        Self::failed(code, error)
    }
}

/// How many bytes an export may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    bytes: i64,
    bounds: Bounds,
}

impl Room {
    /// What is left to an account whose files have so many bytes.
    fn beside(kept: i64, bounds: Bounds) -> Self {
        let left = bounds.account_bytes_max.saturating_sub(kept).max(0);
        Self {
            bytes: bounds.bytes_max.min(left),
            bounds,
        }
    }

    fn bytes_max(self) -> u64 {
        u64::try_from(self.bytes).unwrap_or_default()
    }

    /// Why it may have no more.
    fn exceeded(self) -> Ended {
        let Bounds {
            bytes_max,
            account_bytes_max,
            ..
        } = self.bounds;
        if self.bytes == bytes_max {
            let mib = bytes_max / MIB;
            let why = format!(
                "an export may have {mib} MiB, and this one has more: ask for less, or have it compressed"
            );
            return Ended::Failed(Code::TooLarge, why);
        }
        let mib = account_bytes_max / MIB;
        let why = format!(
            "the exports of an account may have {mib} MiB, and would have more with this one: delete one, or \
             wait until one expires"
        );
        Ended::Failed(Code::NoRoom, why)
    }
}

/// How far an export is.
#[derive(Debug)]
struct Progress {
    events: AtomicI64,
    bytes: Arc<AtomicU64>,
    room: Room,
}

impl Progress {
    fn new(room: Room) -> Self {
        Self {
            events: AtomicI64::default(),
            bytes: Arc::default(),
            room,
        }
    }

    /// Whether more was to be written than there may be.
    fn is_beyond(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.room.bytes_max()
    }

    fn written(&self) -> Written {
        let bytes = self.bytes.load(Ordering::Relaxed);
        Written {
            events: self.events.load(Ordering::Relaxed),
            bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
        }
    }
}

impl Maker {
    /// Makes an export that waits, and keeps how it went.
    pub(super) async fn make(&self, row: ExportRow, stop: CancellationToken) {
        let id = row.export_id.as_str();
        let ask: Ask = match serde_json::from_str(&row.asked) {
            Ok(ask) => ask,
            Err(error) => {
                let ended = Ended::failed(Code::NotUnderstood, &error);
                return self.settle(&row, ("", ended), &stop).await;
            }
        };
        // one that is begun again has another name, whatever is left of it
        let now = self.store.clock().now().0;
        let file = format!("{id}-{}-{now}.{}", row.restarts, ask.ending());
        match rows::begin(&self.store, id, &file).await {
            Ok(true) => {
                let making = AssertUnwindSafe(self.write(&row, (ask, &file), &stop));
                let made = making.catch_unwind().await;
                let ended = made.unwrap_or_else(|_| Ended::panicked());
                self.settle(&row, (&file, ended), &stop).await;
            }
            Ok(false) => {}
            Err(error) => {
                FAILING.failed(&self.store, &error, &stop).await;
                self.settle(&row, ("", Ended::Waits), &stop).await;
            }
        }
    }

    /// Keeps how an export ended, as soon as it can.
    async fn settle(
        &self,
        row: &ExportRow,
        (file, ended): (&str, Ended),
        stop: &CancellationToken,
    ) {
        loop {
            match self.keep(row, (file, &ended)).await {
                // another makes it by now
                Ok(()) | Err(StoreError::Fenced { .. }) => return,
                Err(error) => FAILING.failed(&self.store, &error, stop).await,
            }
            if stop.is_cancelled() {
                return;
            }
        }
    }

    async fn keep(&self, row: &ExportRow, (file, ended): (&str, &Ended)) -> Result<(), StoreError> {
        let id = row.export_id.as_str();
        match ended {
            Ended::Done(written) => self.keep_file(id, file, *written).await,
            // one that was cancelled waits for nothing
            Ended::Stopped | Ended::Waits => rows::wait(&self.store, id).await,
            Ended::Again(why) if row.restarts < RESTARTS_MAX => {
                tracing::warn!(export.id = id, error = why, "an export is begun again");
                rows::again(&self.store, id).await
            }
            Ended::Again(why) => self.fail(id, Code::Unreadable, why).await,
            Ended::Failed(code, why) => self.fail(id, *code, why).await,
        }
    }

    /// Tells that an export is done; of one that was cancelled meanwhile nothing is kept.
    async fn keep_file(&self, id: &str, file: &str, written: Written) -> Result<(), StoreError> {
        let kept_for = i64::from(self.bounds.days).saturating_mul(DAY);
        let expires_at = self.store.clock().now().0.saturating_add(kept_for);
        if rows::done(&self.store, id, (written, expires_at)).await? {
            let Written { events, bytes } = written;
            tracing::info!(export.id = id, events, bytes, "an export is done");
            return Ok(());
        }
        // it may have been told, and only the answer to that was lost
        let row = kept(&self.store, &Whose::All, id).await?;
        if row.is_none_or(|row| row.state != "DONE")
            && let Err(error) = self.files.remove(file).await
        {
            // it is one that no row names, and removed within the hour
            tracing::warn!(error = %chain(&error), "the file of an export cannot be removed");
        }
        Ok(())
    }

    /// Tells why an export has failed.
    pub(super) async fn fail(&self, id: &str, code: Code, why: &str) -> Result<(), StoreError> {
        rows::failed(&self.store, id, (code, why)).await?;
        let code = code.word();
        tracing::warn!(export.id = id, code, error = why, "an export has failed");
        let now = self.store.clock().now();
        self.store.faults().tell(SOURCE, now, why.to_owned());
        Ok(())
    }

    async fn write(
        &self,
        row: &ExportRow,
        (ask, file): (Ask, &str),
        stop: &CancellationToken,
    ) -> Ended {
        let asked = match self.asked(row, &ask).await {
            Ok(asked) => asked,
            Err(AskError::Store(error)) => return Ended::of_store(&error),
            Err(error @ (AskError::NotUnderstood(_) | AskError::TooMuch(_))) => {
                return Ended::failed(Code::NotUnderstood, &error);
            }
        };
        let room = match rows::kept_bytes(&self.store, &row.account).await {
            Ok(kept) => Room::beside(kept, self.bounds),
            Err(error) => return Ended::of_store(&error),
        };
        let progress = Progress::new(room);
        let stop = stop.child_token();
        let making = self.to_file((asked, &ask), file, (&progress, &stop));
        let (mut making, counting) = (std::pin::pin!(making), self.count(row, &ask));
        let (mut counting, mut total) = (std::pin::pin!(counting), None);
        let mut is_counted = false;
        let mut ticks = ticks::every(TELL_EVERY);
        let mut late = std::pin::pin!(sleep(self.bounds.within));
        loop {
            tokio::select! {
                biased;
                ended = &mut making => return ended,
                () = &mut late => {
                    stop.cancel();
                    let ended = making.await;
                    let is_stopped = matches!(ended, Ended::Stopped);
                    return if is_stopped { Ended::late(self.bounds.within) } else { ended };
                }
                counted = &mut counting, if !is_counted => {
                    (total, is_counted) = (counted, true);
                }
                _ = ticks.tick() => {
                    let told = (progress.written(), total);
                    match rows::progress(&self.store, &row.export_id, told).await {
                        Ok(true) => {}
                        Ok(false) | Err(StoreError::Fenced { .. }) => {
                            stop.cancel();
                            // its half file is removed; it may just have become whole
                            return making.await;
                        }
                        // it is told later
                        Err(error) => {
                            let error = chain(&error).to_string();
                            tracing::debug!(error, "it cannot be told how far an export is");
                        }
                    }
                }
            }
        }
    }

    /// What is asked for, up to the moment at which it was.
    async fn asked(&self, row: &ExportRow, ask: &Ask) -> Result<Asked, AskError> {
        let reached: Reached = serde_json::from_str(&row.reach)
            .map_err(|error| AskError::NotUnderstood(error.to_string()))?;
        let read = (self.reader)(self.store.clone(), ask.clone(), reached.into());
        let within = within(ask);
        let kinds = read.await?.into_iter();
        Ok(Asked {
            kinds: kinds
                .map(|(kind, filter)| (kind, within.clone().and(filter)))
                .collect(),
            upto: Position(row.position),
        })
    }

    /// How many events there are; `None` if that cannot be told in the time that a statement has.
    async fn count(&self, row: &ExportRow, ask: &Ask) -> Option<i64> {
        let asked = self.asked(row, ask).await.ok()?;
        let events = export::Events::new(self.store.clone(), asked);
        events.count().await.ok()
    }

    async fn to_file(
        &self,
        (asked, ask): (Asked, &Ask),
        name: &str,
        (progress, stop): (&Progress, &CancellationToken),
    ) -> Ended {
        let kinds: Vec<Kind> = asked.kinds.iter().map(|(kind, _)| *kind).collect();
        let format = ask.format().unwrap_or(Format::Jsonl);
        let (out, arriving) = pieces(Arc::clone(&progress.bytes), progress.room.bytes_max());
        let out: Box<dyn Out> = if ask.gzip {
            Box::new(GzEncoder::new(out, Compression::default()))
        } else {
            Box::new(out)
        };
        let told = |events: u64| {
            let events = i64::try_from(events).unwrap_or(i64::MAX);
            progress.events.store(events, Ordering::Relaxed);
        };
        let events = export::Events::new(self.store.clone(), asked);
        let target = Target::Stream(out);
        let form = (format, ask.readers(), kinds);
        let writing = export::write(events, form, target, (&told, stop));
        let keeping = arriving.into_file((&self.files, name), stop);
        let (written, kept) = tokio::join!(writing, keeping);
        match (written, kept) {
            // where it was to be kept is why the other could not go on
            (_, Err(error)) => Ended::of_files(&error),
            (_, Ok(Arrived::Stopped)) => Ended::Stopped,
            (Ok(_), Ok(Arrived::Whole)) => Ended::Done(progress.written()),
            (Err(_), _) if progress.is_beyond() => progress.room.exceeded(),
            (Err(ExportError::Store(error)), _) => Ended::of_store(&error),
            (Err(ExportError::Cancelled), _) => Ended::Stopped,
            (Err(error), _) => Ended::failed(Code::Unwritable, &error),
            (Ok(_), Ok(Arrived::Broken)) => Ended::Again("the export was not ended".to_owned()),
        }
    }
}

/// The condition on when something happened.
fn within(ask: &Ask) -> Filter {
    let at = |text: &Option<String>| text.as_deref().and_then(Instant::parse);
    let from = at(&ask.from).map(|from| Operator::AtLeast(from.0.into()));
    let to = at(&ask.to).map(|to| Operator::Less(to.0.into()));
    let conditions = from.into_iter().chain(to);
    let occurred_at = Operand::Envelope(Envelope::OccurredAt);
    Filter::And(
        conditions
            .map(|operator| Filter::Is(occurred_at, operator))
            .collect(),
    )
}
