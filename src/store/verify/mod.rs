//! Checks the invariants of a log, running or stopped: what it finds is damage, unless it does not find the place
//! of what was archived.
//!
//! It reads the head first and looks at what is up to it. That never changes again, so it is read in
//! pages, by key, and no snapshot is held. Two checks do hold one, which hinders no writer but keeps
//! the write-ahead log of SQLite from being used again until it ends: SQLite's check of its own file,
//! and the comparison of the projections with what the log folds to.

mod folded;
mod head;
mod keys;
mod segments;
mod spine;

use std::collections::HashSet;
use std::sync::Arc;

use sea_orm::{ConnectionTrait, DbBackend};

use super::claim::claim_files;
use super::error::{Doing, StoreError};
use super::fold::Fold;
use super::location::Location;
use super::migrations;
use super::names::Names;
use super::open::{self, Connections, OpenError};
use super::read::Tables;
use super::readers::Readers;
use super::segments::Segment;
use super::sql::Sql;
use super::{Store, feed};
use crate::event::Position;

/// Findings at most that are told one by one; further ones are counted.
const FINDINGS_MAX: usize = 100;

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Check {
    /// The file is sound, with its indexes and constraints (SQLite).
    File,
    /// Commits follow each other without a gap from 1 to the head.
    Commits,
    /// Each position stands in exactly one table.
    Positions,
    /// A commit has as many events of each kind as it says.
    Counts,
    /// The time of recording is that of the commit and never goes back.
    RecordedAt,
    /// Ids of events and the events themselves agree, both ways.
    EventKeys,
    /// An event that is known by device and time is there once.
    NaturalKeys,
    /// Sites and devices that events name have their keys.
    References,
    /// What is JSON can be read as such.
    Json,
    /// Segments are where they are looked for. It is no damage if many are not: the log is checked no further then.
    Place,
    /// Files of segments are what was written, and hold what is said of them.
    Segments,
    /// The head bears the time of the last commit, and says which log this is.
    Head,
    /// No projection is ahead of the log, or has folded another.
    Checkpoints,
    /// Each projection is what the log folds to. It is looked at in a log that is sound otherwise.
    Projections,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check that found it.
    pub check: Check,
    /// What it is, with positions.
    pub detail: String,
}

/// What a check came to.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The head up to which was looked.
    pub head: Position,
    /// Events that were looked at.
    pub events: i64,
    /// The first hundred findings.
    pub findings: Vec<Finding>,
    /// All findings.
    pub findings_total: u64,
}

impl Verified {
    /// Whether nothing was found.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.findings_total == 0
    }
}

/// How far a long piece of work has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, for people.
    pub stage: &'static str,
    /// Rows done of this stage.
    pub done: i64,
    /// Rows of this stage, as far as that is known.
    pub total: i64,
}

/// What is folded from the log, to be compared with it.
#[derive(Clone, Debug, Default)]
pub struct Folds {
    /// What is folded inside each append.
    pub inline: Vec<Arc<dyn Fold>>,
    /// What follows the log with a checkpoint.
    pub following: Vec<Arc<dyn Fold>>,
}

/// Is told how far the work has come.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// Checks a database that need not be open. It changes nothing in it.
///
/// # Errors
/// When it cannot be opened, is not ours, lacks migrations or cannot be read.
pub async fn verify(
    location: &Location,
    folds: &Folds,
    progress: OnProgress<'_>,
) -> Result<Verified, OpenError> {
    let location = Location {
        create: false,
        ..location.clone()
    };
    let connections = open::connect(&location).await?;
    let missing = migrations::missing_migrations(&connections).await?.len();
    if missing > 0 {
        let address = connections.address;
        return Err(OpenError::Behind { address, missing });
    }
    let verified = run(&connections, folds, progress).await;
    connections.close().await;
    Ok(verified?)
}

impl Store {
    /// Checks the log while it is in use.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn verify(
        &self,
        folds: &Folds,
        progress: OnProgress<'_>,
    ) -> Result<Verified, StoreError> {
        run(&self.shared.connections, folds, progress).await
    }
}

async fn run(
    connections: &Connections,
    folds: &Folds,
    progress: OnProgress<'_>,
) -> Result<Verified, StoreError> {
    let db = &connections.readers;
    let _files = claim_files(connections).await;
    let head = feed::head_of(db).await?;
    let names = Arc::new(Names::default());
    let segments = Arc::clone(&connections.segments);
    let mut verifier = Verifier {
        db,
        tables: Tables::new(db.clone(), names, segments),
        damaged: HashSet::new(),
        unread: Vec::new(),
        head,
        progress,
        events: 0,
        findings: Vec::new(),
        findings_total: 0,
    };
    verifier.file().await?;
    if verifier.finds_segments().await? {
        verifier.log().await?;
        if verifier.findings_total == 0 {
            verifier.projections(connections, folds).await?;
        }
    }
    Ok(Verified {
        head,
        events: verifier.events,
        findings: verifier.findings,
        findings_total: verifier.findings_total,
    })
}

/// A check under way.
struct Verifier<'a> {
    db: &'a Readers,
    tables: Tables,
    /// Segments that cannot be read, and what is listed of them.
    damaged: HashSet<i64>,
    unread: Vec<Arc<Segment>>,
    head: Position,
    progress: OnProgress<'a>,
    events: i64,
    findings: Vec<Finding>,
    findings_total: u64,
}

impl Verifier<'_> {
    fn found(&mut self, check: Check, detail: impl Into<String>) {
        self.findings_total += 1;
        if self.findings.len() < FINDINGS_MAX {
            let detail = detail.into();
            self.findings.push(Finding { check, detail });
        }
    }

    fn told(&self, stage: &'static str, done: i64) {
        (self.progress)(Progress {
            stage,
            done,
            total: self.head.0,
        });
    }

    async fn rows(
        &self,
        sql: Sql,
        doing: &'static str,
    ) -> Result<Vec<sea_orm::QueryResult>, StoreError> {
        let statement = sql.statement(self.db.get_database_backend());
        self.db.query_all_raw(statement).await.doing(doing)
    }

    /// All that is told of events, in tables and segments.
    async fn log(&mut self) -> Result<(), StoreError> {
        self.files().await?;
        self.spine().await?;
        self.event_keys().await?;
        self.natural_keys().await?;
        self.archived_natural_keys().await?;
        self.nothing_beyond().await?;
        self.head_row().await
    }

    /// SQLite checks its own file: pages, indexes, constraints.
    async fn file(&mut self) -> Result<(), StoreError> {
        let doing = "check the file";
        if self.db.get_database_backend() != DbBackend::Sqlite {
            return Ok(());
        }
        self.told("checking the file", 0);
        for row in self
            .rows(Sql::new("PRAGMA integrity_check(100)"), doing)
            .await?
        {
            let told: String = row.try_get_by_index(0).doing(doing)?;
            if told != "ok" {
                self.found(Check::File, told);
            }
        }
        Ok(())
    }

    /// What lies beyond the head belongs to no commit. The head is read after it, since the log may
    /// be growing.
    async fn nothing_beyond(&mut self) -> Result<(), StoreError> {
        let doing = "look beyond the head";
        let mut lasts: Vec<(Check, String, i64)> = Vec::new();
        for kind in crate::kinds::Kind::ALL {
            let table = kind.spec().table;
            let sql = Sql::new(format!("SELECT max(position) FROM {table}"));
            for row in self.rows(sql, doing).await? {
                let last: Option<i64> = row.try_get_by_index(0).doing(doing)?;
                let last = last.unwrap_or_default();
                lasts.push((Check::Positions, format!("{table} has an event"), last));
            }
        }
        for segment in self.readable().all() {
            let what = format!("{} has an event", segment.path);
            lasts.push((Check::Positions, what, segment.positions.1));
        }
        let sql = Sql::new("SELECT max(last_position) FROM commits");
        for row in self.rows(sql, doing).await? {
            let last: Option<i64> = row.try_get_by_index(0).doing(doing)?;
            let what = "a commit ends".to_owned();
            lasts.push((Check::Commits, what, last.unwrap_or_default()));
        }
        let sql = Sql::new("SELECT projection, position FROM checkpoints");
        for row in self.rows(sql, doing).await? {
            let projection: String = row.try_get_by_index(0).doing(doing)?;
            let position = row.try_get_by_index(1).doing(doing)?;
            let what = format!("the checkpoint of {projection} is");
            lasts.push((Check::Checkpoints, what, position));
        }
        let head = feed::head_of(self.db).await?;
        for (check, what, last) in lasts {
            if last > head.0 {
                self.found(
                    check,
                    format!("{what} at {last}, beyond the head at {head}"),
                );
            }
        }
        Ok(())
    }
}
