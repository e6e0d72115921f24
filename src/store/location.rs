//! Where a log is kept: its database, and the place of what was archived of it.

use std::path::Path;
use std::time::Duration;

use super::segments::Files;
use crate::config::LimitArgs;
use crate::places::Place;

/// Where the log is kept and with how many connections it is read.
#[derive(Clone, Debug)]
pub struct Location {
    /// `sqlite://path` or `postgres://…`.
    pub url: String,
    /// Where it is read beside that: a replica of PostgreSQL that follows it.
    pub replica: Option<String>,
    /// Connections for readers at most, of each of these.
    pub readers_max: u32,
    /// Connections to PostgreSQL for what is written at most. SQLite has one.
    pub writers_max: u32,
    /// How long a statement of a reader may take; `None` where somebody waits for as long as it takes.
    pub reads_within: Option<Duration>,
    /// Whether a file that is not there is made.
    pub create: bool,
    /// Whether it is served, which one process at a time does with a file of SQLite.
    pub serves: bool,
    /// Where what is archived lies; that of a file of SQLite is in a folder beside it unless it is said, with
    /// `.segments` behind its name.
    pub segments: Option<Place>,
}

impl Location {
    /// A log that is read on a few connections, each for as long as it takes.
    #[must_use]
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            readers_max: 4,
            create: true,
            ..Self::default()
        }
    }

    pub(super) fn files(&self, file: Option<&Path>) -> Option<Files> {
        let beside = || {
            let mut name = file?.to_owned().into_os_string();
            name.push(".segments");
            Some(Place::Folder(name.into()))
        };
        self.segments.clone().or_else(beside).map(Files::new)
    }
}

impl Default for Location {
    /// Nowhere yet.
    fn default() -> Self {
        let limits = LimitArgs::default();
        Self {
            url: String::new(),
            replica: None,
            readers_max: limits.readers_max,
            writers_max: limits.writers_max,
            reads_within: None,
            create: false,
            serves: false,
            segments: None,
        }
    }
}

/// An address that can be shown: without a password, which may also stand in its query.
pub(super) fn without_password(url: &str) -> String {
    let first = |text: &str, ends: &[char]| -> String {
        text.split(ends).next().unwrap_or_default().to_owned()
    };
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    // a password may have any sign in it, so the user ends at the last @ and is cut at the first sign
    let shown = match rest.rsplit_once('@') {
        Some((user, host)) => {
            let user = first(user, &[':', '/', '?', '#']);
            format!("{user}@{}", first(host, &['?', '#']))
        }
        None => first(rest, &['?', '#']),
    };
    match scheme {
        "" => shown,
        scheme => format!("{scheme}://{shown}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (url, shown) in [
            ("postgres://bob:hunter2@h:1/db", "postgres://bob@h:1/db"),
            (
                "postgres://h/db?user=bob&password=hunter2",
                "postgres://h/db",
            ),
            ("postgres://h/db?password=hun@x", "postgres://h@x"),
            ("postgres://bob:hun?ter#2@h/db", "postgres://bob@h/db"),
            (
                "postgres://bob@h/db?password=hunter2",
                "postgres://bob@h/db",
            ),
            ("sqlite://file.db", "sqlite://file.db"),
            ("file.db", "file.db"),
        ] {
            assert_eq!(without_password(url), shown, "{url}");
        }
    }
}
