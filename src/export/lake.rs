//! A data lake: the whole log as files of Parquet in folders by kind and day, kept up to date.
//!
//! ```text
//! kind=device_metrics/day=2026-11-27/00000000000000000001-00000000000000020000.parquet
//! manifests/00000000000000020000.json     the files of one round, with their rows and checksums
//! state.json                              up to which position the lake is whole
//! ```
//!
//! Each event is in exactly one file, also after a crash anywhere. The lake goes on in rounds. Before a round
//! its last position is written down; then come its files, whose names follow from its first and last
//! position; then its manifest; and then that the lake is whole up to there. A round that was broken off is
//! made once more from the beginning to the same position, so that its files are written over, not beside.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::{Instant as Moment, sleep};

use super::ExportError;
use super::events::masked;
use crate::columnar::{self, Form, Layout, Table};
use crate::event::{Event, Position};
use crate::kinds::Kind;
use crate::store::{Claim, ClaimError, Store};

/// Events of a round at most, and bytes at which it takes no more.
const ROUND_EVENTS: usize = 100_000;
const ROUND_BYTES: usize = 64 * 1024 * 1024;
/// Events that are read at once.
const SLICE_EVENTS: usize = 1_000;
/// What is claimed by whoever fills a lake, how long it is waited for that, and how often it is tried.
const CLAIM: &str = "lake";
const CLAIM_WITHIN: Duration = Duration::from_secs(5);
const CLAIM_EVERY: Duration = Duration::from_millis(50);
/// The form of what the lake says of itself.
const VERSION: u32 = 1;

/// A folder or a bucket that is filled from a log.
#[derive(Debug)]
pub struct Lake {
    store: Store,
    files: Arc<dyn ObjectStore>,
}

/// How far the lake is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    version: u32,
    log_id: String,
    epoch: i64,
    /// Everything up to this position is in the lake.
    position: i64,
    /// The last position of the round that was begun.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    begun: Option<i64>,
}

/// The files of a round.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    version: u32,
    log_id: String,
    epoch: i64,
    first_position: i64,
    last_position: i64,
    files: Vec<Entry>,
}

/// A file of a round.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    path: String,
    kind: &'static str,
    day: String,
    events: usize,
    bytes: usize,
    sha256: String,
}

/// What one round has brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Events.
    pub events: u64,
    /// Up to which position the lake is whole.
    pub position: Position,
}

impl Lake {
    /// A lake of a log.
    #[must_use]
    pub fn new(store: Store, files: Arc<dyn ObjectStore>) -> Self {
        Self { store, files }
    }

    /// Claims to fill a lake from this log: two who do so at once would have events in two files.
    ///
    /// # Errors
    /// When another process does and goes on with it, or that cannot be found out.
    pub async fn claim(&self) -> Result<Claim, ExportError> {
        let until = Moment::now() + CLAIM_WITHIN;
        loop {
            match self.store.claim(CLAIM).await {
                Err(ClaimError::Taken) if Moment::now() < until => sleep(CLAIM_EVERY).await,
                Err(ClaimError::Taken) => return Err(ExportError::Busy),
                claim => return claim.map_err(ExportError::Claim),
            }
        }
    }

    /// Brings what comes next; nothing if the lake has everything.
    ///
    /// # Errors
    /// When the log cannot be read, the lake not be reached, or it is that of another log. It may be called
    /// again.
    pub async fn round(&self) -> Result<Round, ExportError> {
        let mut state = self.state().await?;
        let from = Position(state.position);
        let (events, upto) = self.next(from, state.begun.map(Position)).await?;
        if upto == from {
            return Ok(Round {
                events: 0,
                position: from,
            });
        }
        if state.begun.is_none() {
            state.begun = Some(upto.0);
            self.put_json("state.json", &state).await?;
        }
        let count = u64::try_from(events.len()).unwrap_or_default();
        let files = self.write(events, (from, upto)).await?;
        let manifest = Manifest {
            version: VERSION,
            log_id: state.log_id.clone(),
            epoch: state.epoch,
            first_position: from.next().0,
            last_position: upto.0,
            files,
        };
        let name = format!("manifests/{:020}.json", upto.0);
        self.put_json(&name, &manifest).await?;
        (state.position, state.begun) = (upto.0, None);
        self.put_json("state.json", &state).await?;
        Ok(Round {
            events: count,
            position: upto,
        })
    }

    /// The events after a position: those of the round that was begun, or as many as a round has.
    async fn next(
        &self,
        from: Position,
        begun: Option<Position>,
    ) -> Result<(Vec<Arc<Event>>, Position), ExportError> {
        let (mut events, mut bytes, mut upto) = (Vec::new(), 0, from);
        let head = self.store.head();
        while upto < begun.unwrap_or(head) {
            let slice = self.store.after(upto, SLICE_EVENTS).await?;
            for event in slice.events {
                if begun.is_some_and(|begun| event.position > begun) {
                    continue;
                }
                bytes += event.fact.weight_bytes();
                events.push(event);
            }
            upto = begun.map_or(slice.upto, |begun| begun.min(slice.upto));
            let is_full = events.len() >= ROUND_EVENTS || bytes >= ROUND_BYTES;
            if begun.is_none() && is_full {
                break;
            }
        }
        Ok((events, upto))
    }

    /// Writes the files of a round, each of a kind and a day.
    async fn write(
        &self,
        events: Vec<Arc<Event>>,
        (from, upto): (Position, Position),
    ) -> Result<Vec<Entry>, ExportError> {
        let mut parts: BTreeMap<(&'static str, NaiveDate), Table> = BTreeMap::new();
        for event in &events {
            let kind = event.fact.kind;
            let day = event.fact.occurred_at.date_time().date_naive();
            let part = parts.entry((kind.spec().table, day));
            let part = part.or_insert_with(|| empty(kind));
            part.push(&masked(event));
        }
        drop(events);
        let mut entries = Vec::with_capacity(parts.len());
        for ((kind, day), table) in parts {
            let name = format!("{:020}-{:020}.parquet", from.next().0, upto.0);
            let path = format!("kind={kind}/day={day}/{name}");
            let made = tokio::task::spawn_blocking(move || bytes_of(&table));
            let (events, bytes) = made.await.map_err(std::io::Error::other)??;
            let sha256 = hex(&Sha256::digest(&bytes));
            entries.push(Entry {
                path: path.clone(),
                kind,
                day: day.to_string(),
                events,
                bytes: bytes.len(),
                sha256,
            });
            self.put(&path, bytes).await?;
        }
        Ok(entries)
    }

    /// How far the lake is; of an empty one, the beginning.
    async fn state(&self) -> Result<State, ExportError> {
        let identity = self.store.identity();
        let log_id = identity.log_id.to_string();
        let found = match self.files.get(&Path::from("state.json")).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => {
                return Ok(State {
                    version: VERSION,
                    log_id,
                    epoch: identity.epoch,
                    position: 0,
                    begun: None,
                });
            }
            Err(error) => return Err(error.into()),
        };
        let state: State = serde_json::from_slice(&found).map_err(|source| ExportError::State {
            file: "state.json".to_owned(),
            source,
        })?;
        if (&state.log_id, state.epoch) != (&log_id, identity.epoch) {
            let named = |id: &str, epoch| format!("{id} (epoch {epoch})");
            return Err(ExportError::OtherLog {
                lake: named(&state.log_id, state.epoch),
                log: named(&log_id, identity.epoch),
            });
        }
        Ok(state)
    }

    async fn put_json(
        &self,
        name: &str,
        value: &(impl Serialize + Sync),
    ) -> Result<(), ExportError> {
        let json = serde_json::to_vec_pretty(value).map_err(std::io::Error::from)?;
        self.put(name, json).await
    }

    /// Puts a file in its place; of one that is there already, in its stead, at once.
    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), ExportError> {
        let payload = PutPayload::from(bytes);
        self.files.put(&Path::from(name), payload).await?;
        Ok(())
    }
}

fn empty(kind: Kind) -> Table {
    Table::new(Arc::new(Layout::of(kind, Form::Export)))
}

fn bytes_of(table: &Table) -> Result<(usize, Vec<u8>), ExportError> {
    let rows = table.sorted();
    let mut bytes = Vec::new();
    columnar::write(table, &rows, &mut bytes)?;
    Ok((rows.len(), bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // writing to a text does not fail
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
