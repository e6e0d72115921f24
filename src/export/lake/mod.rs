//! A data lake: the whole log as files of Parquet in folders by kind and day, kept up to date.
//!
//! ```text
//! kind=device_metrics/day=2026-11-27/00000000000000000001-00000000000000020000.parquet
//! rounds/00000000000000000001.json        where the round ends that begins there
//! manifests/00000000000000020000.json     the files of one round, with their rows and checksums
//! state.json                              up to which position the lake is whole
//! probe.txt                               that a file is written here only if it is not there
//! ```
//!
//! Each event is in exactly one file, also after a crash anywhere, and when somebody fills the lake who has lost
//! that to another and does not know yet. The lake goes on in rounds. Before a round its last position is put
//! down, once for all: whoever else begins there goes on to the same. Then come its files, whose names follow
//! from its first and last position; then its manifest; and then that the lake is whole up to there. None of
//! these is ever written over but the last, which may only be older than what is there: what follows from it
//! is found by its rounds.
//!
//! With where a round ends the commit is put down that it ends in, as the log has it. Before the lake goes on the
//! log is to have that very commit: a database that has gone back gives the same positions to other events.

mod files;
mod fill;
mod said;

use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error as StoreFailure, ObjectStore, ObjectStoreExt, PutMode, UpdateVersion};

pub use fill::fill;

use super::ExportError;
use crate::event::{Event, Position};
use crate::places::{Place, PlaceError};
use crate::store::{Claim, ClaimError, Store};
use said::{Begun, End, Manifest, STATE, State, json, manifest_of, round_of};

/// Events of a round at most, and bytes at which it takes no more.
const ROUND_EVENTS: usize = 100_000;
const ROUND_BYTES: usize = 64 * 1024 * 1024;
/// Events that are read at once.
const SLICE_EVENTS: usize = 1_000;
/// What is claimed by whoever fills a lake.
const CLAIM: &str = "lake";
/// By which file it is found out what the place can do, and what is in that.
const PROBE: &str = "probe.txt";
const PROBED: &[u8] = b"This file shows that a file is written here only if it is not there.\n";

/// A folder or a bucket that is filled from a log.
#[derive(Debug)]
pub struct Lake {
    store: Store,
    files: Arc<dyn ObjectStore>,
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
        let ours = ["kind=", "rounds", "manifests", STATE, PROBE];
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

    /// Makes sure, before the first round of a process, that it can be filled in its place.
    ///
    /// # Errors
    /// When what was left there cannot be removed, there is no room, or [`Lake::check`] says no.
    pub async fn prepare(&self, place: &Place) -> Result<(), ExportError> {
        sweep(place).await?;
        place.has_room().await?;
        self.check().await
    }

    /// Makes sure that the place writes a file only if it is not there, on which everything rests: by a file that
    /// is there for that alone, and stays.
    ///
    /// # Errors
    /// When it does not, cannot be reached, or is the lake of another log.
    pub async fn check(&self) -> Result<(), ExportError> {
        // what is another's is left alone
        self.state().await?;
        for _ in 0..2 {
            let probed = Bytes::from_static(PROBED);
            match self.put(PROBE, probed, PutMode::Create).await {
                Ok(()) => {}
                Err(StoreFailure::AlreadyExists { .. }) => return Ok(()),
                Err(StoreFailure::NotImplemented { .. }) => {
                    return Err(ExportError::Unconditional);
                }
                Err(error) => return Err(ExportError::Probe(error)),
            }
        }
        Err(ExportError::Overwritten)
    }

    /// Up to which position the lake is whole.
    ///
    /// # Errors
    /// When it cannot be reached, or is that of another log.
    pub async fn reached(&self) -> Result<Position, ExportError> {
        let (state, _) = self.state().await?;
        Ok(self.place(&state).await?.0.position)
    }

    /// Brings what comes next; nothing if the lake has everything.
    ///
    /// # Errors
    /// When the log cannot be read, the lake not be reached, it is that of another log, or it has what this log has
    /// lost. It may be called again.
    pub async fn round(&self) -> Result<Round, ExportError> {
        let (state, read) = self.state().await?;
        let (from, begun) = self.place(&state).await?;
        for end in std::iter::once(&from).chain(&begun) {
            self.is_of_log(end).await?;
        }
        let brought = self.bring(&state, (from.position, begun)).await?;
        let (events, end) = brought.unwrap_or((0, from));
        if end.position.0 > state.position {
            self.tell(&state.at(&end), read).await?;
        }
        Ok(Round {
            events,
            position: end.position,
        })
    }

    /// From where the lake goes on, behind all rounds that are whole; and where the next one ends, if it was
    /// begun.
    async fn place(&self, state: &State) -> Result<(End, Option<End>), ExportError> {
        let mut from = state.end();
        while let Some(end) = self.begun(state, from.position).await? {
            let manifest = manifest_of(end.position);
            match self.files.head(&Path::from(manifest)).await {
                Ok(_) => from = end,
                Err(StoreFailure::NotFound { .. }) => return Ok((from, Some(end))),
                Err(error) => return Err(error.into()),
            }
        }
        Ok((from, None))
    }

    /// Where the round ends that begins after a position, if it was begun.
    async fn begun(&self, state: &State, from: Position) -> Result<Option<End>, ExportError> {
        let name = round_of(from);
        let Some((found, _)) = self.read(&name).await? else {
            let begun = state.begun.filter(|_| from.0 == state.position);
            return Ok(begun.map(|position| End {
                position: Position(position),
                commit: None,
            }));
        };
        Begun::read((&name, &found), (state, from)).map(Some)
    }

    /// Makes sure that the log has the commit that a round ends in. Of what was put down by an earlier version it is
    /// only known that the log has come so far.
    async fn is_of_log(&self, end: &End) -> Result<(), ExportError> {
        if end.position == Position(0) {
            return Ok(());
        }
        let Some(commit) = self.store.commit_mark(end.position).await? else {
            let (lake, log) = (end.position, self.store.committed_head().await?);
            return Err(ExportError::Ahead { lake, log });
        };
        let known = end.commit.as_ref();
        if known.is_some_and(|known| *known != commit) {
            let position = end.position;
            return Err(ExportError::Diverged { position });
        }
        Ok(())
    }

    /// Writes the round after a position, which ends where it was begun to, with its manifest; answers how many
    /// events it has, and where it ends. Nothing if nothing comes next.
    async fn bring(
        &self,
        state: &State,
        (from, begun): (Position, Option<End>),
    ) -> Result<Option<(u64, End)>, ExportError> {
        let asked = begun.map(|end| end.position);
        let (mut events, mut upto) = self.next(from, asked).await?;
        if upto <= from {
            return Ok(None);
        }
        let (mut end, was_begun) = self.begin(state, (from, upto)).await?;
        if end.position != upto {
            self.is_of_log(&end).await?;
            (events, upto) = self.next(from, Some(end.position)).await?;
        }
        if end.commit.is_none() {
            end.commit = self.store.commit_mark(upto).await?;
        }
        let count = u64::try_from(events.len()).unwrap_or_default();
        let mut files = self.write(events, (from, upto)).await?;
        if was_begun {
            self.add_left(&mut files, (from, upto)).await?;
        }
        let manifest = Manifest::new(state, (from, upto), files);
        self.create(&manifest_of(upto), json(&manifest)?).await?;
        Ok(Some((count, end)))
    }

    /// Puts down where a round ends, unless somebody has: then it ends there. Answers whether somebody had.
    async fn begin(
        &self,
        state: &State,
        (from, upto): (Position, Position),
    ) -> Result<(End, bool), ExportError> {
        let name = round_of(from);
        let end = End {
            position: upto,
            commit: self.store.commit_mark(upto).await?,
        };
        let begun = Begun::new(state, from, &end);
        match self.create(&name, json(&begun)?).await? {
            None => Ok((end, false)),
            Some(found) => Ok((Begun::read((&name, &found), (state, from))?, true)),
        }
    }

    /// The events after a position: those of the round that was begun, or as many as a round has.
    async fn next(
        &self,
        from: Position,
        begun: Option<Position>,
    ) -> Result<(Vec<Arc<Event>>, Position), ExportError> {
        let (mut events, mut bytes, mut upto) = (Vec::new(), 0, from);
        let head = self.store.committed_head().await?;
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

    /// How far the lake is, and of which version that is; of an empty one, the beginning.
    async fn state(&self) -> Result<(State, Option<UpdateVersion>), ExportError> {
        let log = self.store.identity();
        let Some((found, version)) = self.read(STATE).await? else {
            return Ok((State::empty(log), None));
        };
        Ok((State::read(&found, log)?, Some(version)))
    }

    /// Tells how far the lake is, unless somebody else has meanwhile: then what was read is of no version that
    /// there is. A folder knows none, and there it may be told anew what was told before.
    async fn tell(&self, state: &State, read: Option<UpdateVersion>) -> Result<(), ExportError> {
        let state = json(state)?;
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
}
