//! Where a log is kept: its database, and the folder of what was archived of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::segments::Files;

/// Where the log is kept and with how many connections it is read.
#[derive(Clone, Debug)]
pub struct Location {
    /// `sqlite://path` or `postgres://…`.
    pub url: String,
    /// Connections for readers at most.
    pub readers_max: u32,
    /// How long a statement of a reader may take; `None` where somebody waits for as long as it takes.
    pub reads_within: Option<Duration>,
    /// Whether a file that is not there is made.
    pub create: bool,
    /// The folder in which what is archived lies; that of a file of SQLite is beside it unless it is said,
    /// with `.segments` behind its name.
    pub segments: Option<PathBuf>,
}

impl Location {
    /// A log that is read on a few connections, each for as long as it takes.
    #[must_use]
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            readers_max: 4,
            reads_within: None,
            create: true,
            segments: None,
        }
    }

    pub(super) fn files(&self, file: Option<&Path>) -> Option<Files> {
        let beside = || {
            let mut name = file?.to_owned().into_os_string();
            name.push(".segments");
            Some(PathBuf::from(name))
        };
        let folder = self.segments.clone().or_else(beside);
        folder.map(Files::in_folder)
    }
}
