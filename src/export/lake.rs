//! A data lake: the whole log as files of Parquet in folders by kind and day, kept up to date.
//!
//! ```text
//! kind=device_metrics/day=2026-11-27/00000000000000000001-00000000000000020000.parquet
//! rounds/00000000000000000001.json        where the round ends that begins there
//! manifests/00000000000000020000.json     the files of one round, with their rows and checksums
//! state.json                              up to which position the lake is whole
//! ```
//!
//! Each event is in exactly one file, also after a crash anywhere, and when somebody fills the lake who has lost
//! that to another and does not know yet. The lake goes on in rounds. Before a round its last position is put
//! down, once for all: whoever else begins there goes on to the same. Then come its files, whose names follow
//! from its first and last position; then its manifest; and then that the lake is whole up to there. None of
//! these is ever written over but the last, which may only be older than what is there: what follows from it
//! is found by its rounds.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use chrono::NaiveDate;
use object_store::path::Path;
use object_store::{
    Error as StoreFailure, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    UpdateVersion,
};
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ExportError;
use super::events::masked;
use crate::columnar::{self, File, Form, Layout, Table};
use crate::event::{Event, Position};
use crate::kinds::Kind;
use crate::places::{Place, PlaceError};
use crate::store::{Claim, ClaimError, Store};

/// Events of a round at most, and bytes at which it takes no more.
const ROUND_EVENTS: usize = 100_000;
const ROUND_BYTES: usize = 64 * 1024 * 1024;
/// Events that are read at once.
const SLICE_EVENTS: usize = 1_000;
/// What is claimed by whoever fills a lake.
const CLAIM: &str = "lake";
/// Where it is said how far the lake is.
const STATE: &str = "state.json";
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
    /// The last position of the round that comes next, in a lake whose rounds were not put down yet.
    #[serde(skip_serializing, default)]
    begun: Option<i64>,
}

/// Where a round ends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Begun {
    version: u32,
    log_id: String,
    epoch: i64,
    first_position: i64,
    last_position: i64,
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

/// Removes what was being written in a lake when a process ended.
///
/// # Errors
/// When its folder cannot be read, or a file not be removed.
pub async fn sweep(place: &Place) -> Result<usize, PlaceError> {
    let is_ours = |path: &FilePath| {
        let path = path.to_string_lossy();
        let ours = ["kind=", "rounds", "manifests", STATE];
        ours.iter().any(|begins| path.starts_with(begins))
    };
    place.sweep("", is_ours).await
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
        match self.store.claim_patiently(CLAIM).await {
            Err(ClaimError::Taken) => Err(ExportError::Busy),
            claim => claim.map_err(ExportError::Claim),
        }
    }

    /// Brings what comes next; nothing if the lake has everything.
    ///
    /// # Errors
    /// When the log cannot be read, the lake not be reached, or it is that of another log. It may be called
    /// again.
    pub async fn round(&self) -> Result<Round, ExportError> {
        let (state, read) = self.state().await?;
        let (from, begun) = self.place(&state).await?;
        let (mut events, mut upto) = self.next(from, begun).await?;
        if upto > from {
            let settled = self.begin(&state, (from, upto)).await?;
            if settled != upto {
                (events, upto) = self.next(from, Some(settled)).await?;
            }
        }
        let count = u64::try_from(events.len()).unwrap_or_default();
        if upto > from {
            let files = self.write(events, (from, upto)).await?;
            let manifest = Manifest {
                version: VERSION,
                log_id: state.log_id.clone(),
                epoch: state.epoch,
                first_position: from.next().0,
                last_position: upto.0,
                files,
            };
            self.create(&manifest_of(upto), json(&manifest)?).await?;
        }
        if upto.0 > state.position {
            self.tell(&state, (upto, read)).await?;
        }
        Ok(Round {
            events: count,
            position: upto,
        })
    }

    /// From where the lake goes on, behind all rounds that are whole; and where the next one ends, if it was
    /// begun.
    async fn place(&self, state: &State) -> Result<(Position, Option<Position>), ExportError> {
        let mut from = Position(state.position);
        while let Some(upto) = self.begun(state, from).await? {
            let manifest = self.files.head(&Path::from(manifest_of(upto))).await;
            match manifest {
                Ok(_) => from = upto,
                Err(StoreFailure::NotFound { .. }) => return Ok((from, Some(upto))),
                Err(error) => return Err(error.into()),
            }
        }
        Ok((from, None))
    }

    /// Where the round ends that begins after a position, if it was begun.
    async fn begun(&self, state: &State, from: Position) -> Result<Option<Position>, ExportError> {
        let name = round_of(from);
        let Some((found, _)) = self.read(&name).await? else {
            let begun = state.begun.filter(|_| from.0 == state.position);
            return Ok(begun.map(Position));
        };
        settled(&name, &found, (state, from)).map(Some)
    }

    /// Puts down where a round ends, unless somebody has: then it ends there.
    async fn begin(
        &self,
        state: &State,
        (from, upto): (Position, Position),
    ) -> Result<Position, ExportError> {
        let name = round_of(from);
        let begun = Begun {
            version: VERSION,
            log_id: state.log_id.clone(),
            epoch: state.epoch,
            first_position: from.next().0,
            last_position: upto.0,
        };
        match self.create(&name, json(&begun)?).await? {
            None => Ok(upto),
            Some(found) => settled(&name, &found, (state, from)),
        }
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
            if slice.upto <= upto {
                return Err(ExportError::Ahead {
                    lake: begun.unwrap_or(head),
                    log: upto,
                });
            }
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
            let part = part.or_insert_with(|| Table::new(layout_of(kind)));
            part.push(&masked(event));
        }
        drop(events);
        let mut entries = Vec::with_capacity(parts.len());
        for ((table, day), part) in parts {
            let name = format!("{:020}-{:020}.parquet", from.next().0, upto.0);
            let path = format!("kind={table}/day={day}/{name}");
            let (kind, events) = (part.layout().kind, part.len());
            let made = tokio::task::spawn_blocking(move || bytes_of(&part));
            let bytes = made.await.map_err(std::io::Error::other)??;
            let (events, bytes) = match self.create(&path, bytes.clone()).await? {
                None => (events, bytes),
                Some(there) => (events_of(&path, (kind, there.clone()))?, there),
            };
            entries.push(Entry {
                path,
                kind: table,
                day: day.to_string(),
                events,
                bytes: bytes.len(),
                sha256: hex(&Sha256::digest(&bytes)),
            });
        }
        Ok(entries)
    }

    /// How far the lake is, and of which version that is; of an empty one, the beginning.
    async fn state(&self) -> Result<(State, Option<UpdateVersion>), ExportError> {
        let identity = self.store.identity();
        let log_id = identity.log_id.to_string();
        let Some((found, version)) = self.read(STATE).await? else {
            let state = State {
                version: VERSION,
                log_id,
                epoch: identity.epoch,
                position: 0,
                begun: None,
            };
            return Ok((state, None));
        };
        let state: State = serde_json::from_slice(&found).map_err(not_understood(STATE))?;
        of_log((&state.log_id, state.epoch), (&log_id, identity.epoch))?;
        Ok((state, Some(version)))
    }

    /// Tells how far the lake is, unless somebody else has meanwhile: then what was read is of no version that
    /// there is. A folder knows none, and there it may be told anew what was told before.
    async fn tell(
        &self,
        state: &State,
        (upto, read): (Position, Option<UpdateVersion>),
    ) -> Result<(), ExportError> {
        let state = State {
            position: upto.0,
            begun: None,
            ..state.clone()
        };
        let state = json(&state)?;
        let mode = match read {
            None => PutMode::Create,
            Some(UpdateVersion {
                e_tag: None,
                version: None,
            }) => PutMode::Overwrite,
            Some(read) => PutMode::Update(read),
        };
        match self.put(STATE, state.clone(), mode).await {
            Err(StoreFailure::NotImplemented { .. }) => {
                self.put(STATE, state, PutMode::Overwrite).await?;
            }
            Err(StoreFailure::Precondition { .. } | StoreFailure::AlreadyExists { .. }) => {
                tracing::warn!("somebody else fills the data lake too");
            }
            put => put?,
        }
        Ok(())
    }

    /// What is in a file, if it is there, and of which version that is.
    async fn read(&self, name: &str) -> Result<Option<(Bytes, UpdateVersion)>, ExportError> {
        let found = match self.files.get(&Path::from(name)).await {
            Err(StoreFailure::NotFound { .. }) => return Ok(None),
            found => found?,
        };
        let version = UpdateVersion {
            e_tag: found.meta.e_tag.clone(),
            version: found.meta.version.clone(),
        };
        Ok(Some((found.bytes().await?, version)))
    }

    /// Puts a file in its place, at once, unless there is one; then answers what is in that.
    async fn create(&self, name: &str, bytes: Bytes) -> Result<Option<Bytes>, ExportError> {
        match self.put(name, bytes, PutMode::Create).await {
            Err(StoreFailure::AlreadyExists { .. }) => Ok(Some(
                self.files.get(&Path::from(name)).await?.bytes().await?,
            )),
            put => Ok(put.map(|()| None)?),
        }
    }

    async fn put(&self, name: &str, bytes: Bytes, mode: PutMode) -> Result<(), StoreFailure> {
        let (path, payload) = (Path::from(name), PutPayload::from_bytes(bytes));
        let put = self.files.put_opts(&path, payload, PutOptions::from(mode));
        put.await.map(drop)
    }
}

fn round_of(from: Position) -> String {
    format!("rounds/{:020}.json", from.next().0)
}

fn manifest_of(upto: Position) -> String {
    format!("manifests/{:020}.json", upto.0)
}

/// Where a round ends, as it was put down.
fn settled(
    name: &str,
    found: &[u8],
    (state, from): (&State, Position),
) -> Result<Position, ExportError> {
    let begun: Begun = serde_json::from_slice(found).map_err(not_understood(name))?;
    of_log((&begun.log_id, begun.epoch), (&state.log_id, state.epoch))?;
    if begun.last_position <= from.0 {
        let error = serde_json::Error::custom("the round ends before it begins");
        return Err(not_understood(name)(error));
    }
    Ok(Position(begun.last_position))
}

/// What is in the lake is to be of this log.
fn of_log(lake: (&str, i64), log: (&str, i64)) -> Result<(), ExportError> {
    if lake == log {
        return Ok(());
    }
    let named = |(id, epoch): (&str, i64)| format!("{id} (epoch {epoch})");
    Err(ExportError::OtherLog {
        lake: named(lake),
        log: named(log),
    })
}

fn not_understood(file: &str) -> impl FnOnce(serde_json::Error) -> ExportError {
    let file = file.to_owned();
    move |source| ExportError::State { file, source }
}

fn json(value: &impl Serialize) -> Result<Bytes, ExportError> {
    let json = serde_json::to_vec_pretty(value).map_err(std::io::Error::from)?;
    Ok(json.into())
}

fn layout_of(kind: Kind) -> Arc<Layout> {
    Arc::new(Layout::of(kind, Form::Export))
}

fn bytes_of(table: &Table) -> Result<Bytes, ExportError> {
    let rows = table.sorted();
    let mut bytes = Vec::new();
    columnar::write(table, &rows, &mut bytes)?;
    Ok(bytes.into())
}

/// How many events a file has that is there.
fn events_of(path: &str, (kind, bytes): (Kind, Bytes)) -> Result<usize, ExportError> {
    let file = File::open(bytes, layout_of(kind)).map_err(|source| ExportError::Damaged {
        file: path.to_owned(),
        source,
    })?;
    Ok((0..file.groups()).map(|group| file.rows(group)).sum())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // writing to a text does not fail
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
