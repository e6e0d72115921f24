//! What a lake says of itself, in files of JSON, and how these are called.

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use crate::event::Position;
use crate::export::ExportError;
use crate::store::Identity;

/// Where it is said how far the lake is.
pub(super) const STATE: &str = "state.json";
/// The form of what the lake says of itself.
const VERSION: u32 = 1;

/// Where a round ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) position: Position,
    /// The commit that it ends in, as the log had it then. What was put down by an earlier version has none.
    pub(super) commit: Option<String>,
}

/// How far the lake is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct State {
    version: u32,
    log_id: String,
    epoch: i64,
    /// Everything up to this position is in the lake.
    pub(super) position: i64,
    /// The commit in which that is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    commit: Option<String>,
    /// The last position of the round that comes next, in a lake whose rounds were not put down yet.
    #[serde(skip_serializing, default)]
    pub(super) begun: Option<i64>,
}

impl State {
    /// That of an empty lake of a log.
    pub(super) fn empty(log: Identity) -> Self {
        Self {
            version: VERSION,
            log_id: log.log_id.to_string(),
            epoch: log.epoch,
            position: 0,
            commit: None,
            begun: None,
        }
    }

    /// As it was told, which is to be of a log.
    pub(super) fn read(found: &[u8], log: Identity) -> Result<Self, ExportError> {
        let state: Self = serde_json::from_slice(found).map_err(not_understood(STATE))?;
        let log_id = log.log_id.to_string();
        of_log((&state.log_id, state.epoch), (&log_id, log.epoch))?;
        Ok(state)
    }

    /// That of the lake when it has come to the end of a round.
    pub(super) fn at(&self, end: &End) -> Self {
        Self {
            position: end.position.0,
            commit: end.commit.clone(),
            begun: None,
            ..self.clone()
        }
    }

    /// Where the last round ended.
    pub(super) fn end(&self) -> End {
        End {
            position: Position(self.position),
            commit: self.commit.clone(),
        }
    }
}

/// Where a round ends, as it is put down.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Begun {
    version: u32,
    log_id: String,
    epoch: i64,
    first_position: i64,
    last_position: i64,
    /// The commit in which it ends.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    commit: Option<String>,
}

impl Begun {
    /// That of a round that begins after a position.
    pub(super) fn new(state: &State, from: Position, end: &End) -> Self {
        Self {
            version: VERSION,
            log_id: state.log_id.clone(),
            epoch: state.epoch,
            first_position: from.next().0,
            last_position: end.position.0,
            commit: end.commit.clone(),
        }
    }

    /// Where the round ends that begins after a position, as it was put down.
    pub(super) fn read(
        (name, found): (&str, &[u8]),
        (state, from): (&State, Position),
    ) -> Result<End, ExportError> {
        let begun: Self = serde_json::from_slice(found).map_err(not_understood(name))?;
        of_log((&begun.log_id, begun.epoch), (&state.log_id, state.epoch))?;
        if begun.last_position <= from.0 {
            let error = serde_json::Error::custom("the round ends before it begins");
            return Err(not_understood(name)(error));
        }
        Ok(End {
            position: Position(begun.last_position),
            commit: begun.commit,
        })
    }
}

/// The files of a round.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    version: u32,
    log_id: String,
    epoch: i64,
    first_position: i64,
    last_position: i64,
    files: Vec<Entry>,
}

impl Manifest {
    /// That of a round after a position up to another.
    pub(super) fn new(
        state: &State,
        (from, upto): (Position, Position),
        files: Vec<Entry>,
    ) -> Self {
        Self {
            version: VERSION,
            log_id: state.log_id.clone(),
            epoch: state.epoch,
            first_position: from.next().0,
            last_position: upto.0,
            files,
        }
    }
}

/// A file of a round.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) kind: &'static str,
    pub(super) day: String,
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) sha256: String,
}

pub(super) fn round_of(from: Position) -> String {
    format!("rounds/{:020}.json", from.next().0)
}

pub(super) fn manifest_of(upto: Position) -> String {
    format!("manifests/{:020}.json", upto.0)
}

/// How each file of a round is called in the folder of its kind and day.
pub(super) fn file_of((from, upto): (Position, Position)) -> String {
    format!("{:020}-{:020}.parquet", from.next().0, upto.0)
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

pub(super) fn json(value: &impl Serialize) -> Result<Bytes, ExportError> {
    let json = serde_json::to_vec_pretty(value).map_err(std::io::Error::from)?;
    Ok(json.into())
}
