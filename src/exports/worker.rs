//! Makes exports one after the other, and removes the files of those whose time is over. Of the accounts that wait
//! the one comes next whose last turn was the longest ago, so that none keeps others waiting by asking again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::files::{Files, FilesError};
use super::making::Maker;
use super::{Bounds, Code, ExportsMetrics, FAILING, RESTARTS_MAX, Reader, SOURCE, rows};
use crate::history::exports::{ExportRow, due, in_states, turns};
use crate::store::{Store, StoreError};
use crate::telemetry::chain;
use crate::ticks;

/// Exports that are made at once, each of another account.
const AT_ONCE_MAX: usize = 2;
/// How often it is looked what waits and what is over.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often files are looked for that no row names, in looks: an hour.
const SWEEP_EVERY: u32 = 3_600;
/// How long it is shown what became of an export that has no file, in microseconds: 30 days.
const SHOWN: i64 = 30 * 24 * 3_600 * 1_000_000;

/// Makes exports.
#[derive(Debug)]
pub struct Exporter {
    maker: Arc<Maker>,
    tasks: JoinSet<()>,
    /// For whom each task makes one.
    accounts: HashMap<Id, String>,
    looks: u32,
    metrics: ExportsMetrics,
}

impl Exporter {
    /// One that makes exports of a log into some files.
    #[must_use]
    pub fn new(store: Store, files: Arc<Files>, (reader, bounds): (Reader, Bounds)) -> Self {
        let maker = Maker {
            store,
            files,
            reader,
            bounds,
        };
        Self {
            maker: Arc::new(maker),
            tasks: JoinSet::new(),
            accounts: HashMap::new(),
            looks: 0,
            metrics: ExportsMetrics::default(),
        }
    }

    /// The same, which tells what waits.
    #[must_use]
    pub fn telling(self, metrics: ExportsMetrics) -> Self {
        Self { metrics, ..self }
    }

    /// Runs until it is told to stop. A failure to look what waits leaves alone what is being made.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut looks = ticks::every(LOOK_EVERY);
        loop {
            let looked = async {
                tokio::select! {
                    _ = looks.tick() => {}
                    Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
                }
                self.look(&stop).await
            };
            let looked = tokio::select! {
                () = stop.cancelled() => break,
                looked = looked => looked,
            };
            if let Err(error) = looked {
                FAILING.failed(&self.maker.store, &error, &stop).await;
            }
        }
        // another knows by now
        self.metrics.waits(None);
        // each removes its half file
        while self.tasks.join_next().await.is_some() {}
    }

    /// Looks once what is to be done.
    async fn look(&mut self, stop: &CancellationToken) -> Result<(), StoreError> {
        if self.looks == 0 {
            self.begin_again().await?;
        }
        let store = &self.maker.store;
        let due = due(store, store.clock().now()).await?;
        let (mut waiting, over): (Vec<_>, _) =
            due.into_iter().partition(|row| row.state == "QUEUED");
        self.metrics.waits(waiting.first());
        if !over.is_empty() {
            rows::expire(store).await?;
            self.sweep().await?;
        }
        if self.looks.is_multiple_of(SWEEP_EVERY) {
            // forgets those that were over long ago, and removes files that no row names
            let before = store.clock().now().0.saturating_sub(SHOWN);
            rows::forget(store, before).await?;
            self.sweep().await?;
        }
        self.looks = self.looks.wrapping_add(1).max(1);
        if waiting.len() > 1 && self.tasks.len() < AT_ONCE_MAX {
            let turns = turns(&self.maker.store).await?;
            // those of an account stay in their order, and so do accounts that had no turn
            waiting.sort_by_key(|row| turns.get(&row.account).copied());
        }
        self.begin(waiting, stop);
        Ok(())
    }

    /// Each has kept what became of its export.
    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => error.id(),
        };
        self.accounts.remove(&id);
    }

    /// What was being made when a server ended, or lost the work, is begun again.
    async fn begin_again(&self) -> Result<(), StoreError> {
        let store = &self.maker.store;
        for row in in_states(store, &["RUNNING"]).await? {
            let id = row.export_id.as_str();
            if row.restarts < RESTARTS_MAX {
                let message = "an export was broken off and is begun again";
                tracing::info!(export.id = id, "{message}");
                rows::again(store, id).await?;
                continue;
            }
            let times = RESTARTS_MAX + 1;
            let why = format!(
                "the server ended while it made the export, which was begun {times} times and is not begun again"
            );
            self.maker.fail(id, Code::BrokenOff, &why).await?;
        }
        self.tell(self.maker.files.sweep_unfinished().await.map(drop));
        Ok(())
    }

    /// Begins what waits, as far as there is room: the first of those for whom nothing is made.
    fn begin(&mut self, waiting: Vec<ExportRow>, stop: &CancellationToken) {
        for row in waiting {
            let mut served = self.accounts.values();
            let is_served = served.any(|account| *account == row.account);
            if self.tasks.len() >= AT_ONCE_MAX || is_served {
                continue;
            }
            let (maker, stop) = (Arc::clone(&self.maker), stop.clone());
            let account = row.account.clone();
            let task = self.tasks.spawn(async move { maker.make(row, stop).await });
            self.accounts.insert(task.id(), account);
        }
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        let files = &self.maker.files;
        // a file that gets its name from now on is not among them
        let names = match files.names().await {
            Ok(names) if names.is_empty() => return Ok(()),
            Ok(names) => names,
            Err(error) => {
                self.tell(Err(error));
                return Ok(());
            }
        };
        let rows = in_states(&self.maker.store, &["RUNNING", "DONE"]).await?;
        let named: HashSet<String> = rows.into_iter().filter_map(|row| row.file).collect();
        self.tell(files.remove_all(names, &named).await);
        Ok(())
    }

    /// What cannot be removed is told, and tried again.
    fn tell(&self, removed: Result<(), FilesError>) {
        if let Err(error) = removed {
            let error = chain(&error).to_string();
            tracing::warn!(error, "files of exports cannot be removed, will try again");
            let now = self.maker.store.clock().now();
            self.maker.store.faults().tell(SOURCE, now, error);
        }
    }
}
