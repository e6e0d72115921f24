//! What the agent has done, and what it was configured to: `commands.json` in its spool folder.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Name of the file.
const FILE: &str = "commands.json";
/// Commands at most that are remembered; more are never open at once.
const REMEMBERED_MAX: usize = 200;

/// How a command ended, as the server is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<Value>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    /// Seconds between two samples, if that was configured.
    collection_interval_seconds: Option<u64>,
    /// What was done, the newest last.
    done: VecDeque<(String, Answer)>,
}

/// What the agent has done.
#[derive(Debug)]
pub(super) struct Ledger {
    folder: PathBuf,
    kept: Kept,
}

impl Ledger {
    /// Opens it. A file that is none is begun anew: its commands are done again, if they are still open.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let kept = match fs::read(folder.join(FILE)) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Kept::default(),
            Err(error) => return Err(error),
        };
        let folder = folder.to_owned();
        Ok(Self { folder, kept })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The time between two samples that it was configured to.
    pub(super) fn interval(&self) -> Option<Duration> {
        self.kept
            .collection_interval_seconds
            .map(Duration::from_secs)
    }

    /// How a command ended, if it was done.
    pub(super) fn answer(&self, id: &str) -> Option<Answer> {
        let mut done = self.kept.done.iter();
        let (_, answer) = done.find(|(done, _)| done == id)?;
        Some(answer.clone())
    }

    /// Keeps how a command ended, and what it has configured, on disk.
    ///
    /// # Errors
    /// When that cannot be written; it is not kept then.
    pub(super) fn keep(
        &mut self,
        id: &str,
        answer: &Answer,
        interval: Option<Duration>,
    ) -> io::Result<()> {
        let before = self.kept.collection_interval_seconds;
        if let Some(interval) = interval {
            self.kept.collection_interval_seconds = Some(interval.as_secs());
        }
        self.kept.done.push_back((id.to_owned(), answer.clone()));
        if let Err(error) = self.write() {
            self.kept.done.pop_back();
            self.kept.collection_interval_seconds = before;
            return Err(error);
        }
        if self.kept.done.len() > REMEMBERED_MAX {
            self.kept.done.pop_front();
        }
        Ok(())
    }

    fn write(&self) -> io::Result<()> {
        let draft = self.folder.join("commands.new");
        let mut file = File::create(&draft)?;
        file.write_all(&serde_json::to_vec(&self.kept)?)?;
        file.sync_all()?;
        fs::rename(&draft, self.folder.join(FILE))?;
        File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        Answer {
            status: "COMPLETED".to_owned(),
            error_code: None,
            error_message: None,
            result: Some(Value::from(7)),
        }
    }

    #[test]
    fn what_was_done_and_configured_is_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        assert_eq!((ledger.answer("a"), ledger.interval()), (None, None));
        let seconds = Duration::from_secs(7);
        ledger.keep("a", &answer(), Some(seconds)).unwrap();
        ledger.keep("b", &answer(), None).unwrap();
        let again = Ledger::open(folder.path()).unwrap();
        assert_eq!(again.answer("a"), Some(answer()));
        assert_eq!(again.interval(), Some(seconds));
    }

    #[test]
    fn the_newest_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        for n in 0..=REMEMBERED_MAX {
            ledger.keep(&n.to_string(), &answer(), None).unwrap();
        }
        let again = Ledger::open(folder.path()).unwrap();
        assert_eq!(again.answer(&REMEMBERED_MAX.to_string()), Some(answer()));
        assert_eq!(ledger.answer("0"), None);
    }
}
