//! Follows the log for all projections at once: a batch of events and the checkpoints of those that
//! folded it are one transaction, so a crash anywhere leaves each at a point that it has reached.
//!
//! What one of them has put off is done in parts, each a transaction as well, with rests between them that are
//! longer: what comes meanwhile is folded as ever.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sea_orm::ConnectionTrait;
use tokio::sync::watch;
use tokio::time::Instant as Time;
use tokio_util::sync::CancellationToken;

use super::checkpoint::{self, hold};
use super::late::{BEHIND_MAX, in_step};
use super::left::{Left, note};
use crate::event::{Event, Position};
use crate::store::{Doing, Fold, Part, Sql, Store, StoreError, Tail, fold_in, is_put_off};

/// Events and bytes after which a transaction folds no more.
const BATCH_MAX: usize = 20_000;
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// From one fold to the next, at least: what comes meanwhile is folded at once.
const PAUSE: Duration = Duration::from_millis(20);
/// After a fold, so many times what it took, so that on SQLite the folds take at most a fifth of the
/// one writer; at most [`PAUSE_MAX`], so that what is newest is not shown late.
const PAUSE_FOLDS: u32 = 4;
const PAUSE_MAX: Duration = Duration::from_millis(250);
/// Parts at most of what was put off that are done before it is told how far the log is folded, and how long
/// they take: mostly it is not more. After them as many times that as after a fold, however much that is.
const PARTS_MAX: usize = 16;
const PARTS_FOR: Duration = Duration::from_millis(100);
/// What is taken for the time of a part that cannot be done, or that another server does.
const STUCK_FOR: Duration = Duration::from_secs(2);
/// How long a failed runner waits before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How often it is looked how far another server has folded, while that is behind the log.
const HEARD_EVERY: Duration = Duration::from_millis(100);

/// What the runner tells of itself.
#[derive(Clone, Debug, Default)]
pub struct RunnerMetrics {
    lag_events: Gauge,
    put_off: Gauge,
}

impl RunnerMetrics {
    /// Shows the counters.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Events that the slowest projection has not folded yet";
        registry.register("projection_lag_events", help, self.lag_events.clone());
        let help =
            "1 while something is still to be summed up anew, since a registration came late";
        registry.register("projection_put_off", help, self.put_off.clone());
    }
}

/// Folds the log into the projections that follow it.
#[derive(Clone, Debug)]
pub struct Runner {
    pub(super) store: Store,
    pub(super) folds: Vec<Arc<dyn Fold>>,
    pub(super) folded: watch::Sender<Position>,
    pub(super) settled: watch::Sender<Position>,
    /// What is put off of what is folded.
    pub(super) put_off: Arc<Left>,
    pub(super) metrics: RunnerMetrics,
    /// Events by which one that nobody waits for is behind the others at most when it is folded with them.
    pub(super) behind_max: i64,
}

pub(super) type Checkpoints = BTreeMap<&'static str, Position>;

/// The projections, each with how far it has come and with the next part of what it has put off.
type Parts = Vec<(Arc<dyn Fold>, Position, Option<Box<dyn Part>>)>;

impl Runner {
    /// A runner for some projections.
    #[must_use]
    pub fn new(store: Store, folds: Vec<Arc<dyn Fold>>) -> Self {
        let (folded, _) = watch::channel(Position::START);
        let (settled, _) = watch::channel(Position::START);
        let archive = store.archive_of();
        for fold in &folds {
            fold.attach(&archive);
        }
        Self {
            store,
            folds,
            folded,
            settled,
            put_off: Arc::default(),
            metrics: RunnerMetrics::default(),
            behind_max: BEHIND_MAX,
        }
    }

    /// Tells up to where all projections that are waited for have folded the log.
    #[must_use]
    pub fn folded(&self) -> watch::Receiver<Position> {
        self.folded.subscribe()
    }

    /// Tells up to where they have folded the log and nothing of it is put off any more that is waited for.
    #[must_use]
    pub fn settled(&self) -> watch::Receiver<Position> {
        self.settled.subscribe()
    }

    /// The same runner for one who has taken its work.
    #[must_use]
    pub fn on(&self, store: Store) -> Self {
        Self {
            store,
            ..self.clone()
        }
    }

    /// Shows what it and the projections tell of themselves.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
        for fold in &self.folds {
            fold.register(registry);
        }
    }

    /// Follows the log until it is told to stop. After a failure it goes on from its checkpoints.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let followed = tokio::select! {
                () = stop.cancelled() => return,
                followed = self.follow_in_step() => followed,
            };
            if let Err(error) = followed {
                self.stopped(&error);
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY_AFTER) => {}
            }
        }
    }

    pub(super) fn stopped(&self, error: &StoreError) {
        let told = crate::telemetry::chain(error).to_string();
        let message = "projections stopped, will go on from their checkpoints";
        if matches!(
            error,
            StoreError::Overtaken { .. } | StoreError::Fenced { .. }
        ) {
            // of several processes that fold the same log, one is the first; that is no fault
            tracing::debug!(error = told, "{message}");
            return;
        }
        tracing::warn!(error = told, "{message}");
        let now = self.store.clock().now();
        self.store.faults().tell("the projections", now, told);
    }

    /// Tells how far another server has folded the log, without end.
    pub async fn hear(self) {
        let mut head = self.store.watch_head();
        loop {
            if let Err(error) = self.heard().await {
                self.stopped(&error);
                tokio::time::sleep(RETRY_AFTER).await;
            }
            let known = *head.borrow_and_update();
            if *self.settled.borrow() < known {
                tokio::time::sleep(HEARD_EVERY).await;
            } else if head.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tells how far another server has come now.
    async fn heard(&self) -> Result<(), StoreError> {
        let checkpoints = self.reached().await?;
        self.tell(&checkpoints);
        Ok(())
    }

    /// The checkpoints, and whether anything is put off of what is folded up to there. That is looked for once they
    /// are known: the other way round another server might fold on in between, and what it puts off were missed.
    async fn reached(&self) -> Result<Checkpoints, StoreError> {
        let checkpoints = self.known().await?;
        let left = Left::default();
        for fold in &self.folds {
            if is_put_off(self.store.readers(), &**fold, None).await? {
                left.add(&**fold);
            }
        }
        self.settle(&left);
        Ok(checkpoints)
    }

    /// Folds everything up to a position and does what is put off then, or follows without end.
    ///
    /// # Errors
    /// When the log cannot be read, a fold fails, or somebody else has moved a checkpoint
    /// ([`StoreError::Overtaken`]): nothing of that batch is kept, and it may be called again.
    pub async fn follow(&self, upto: Option<Position>) -> Result<(), StoreError> {
        let mut checkpoints = self.checkpoints().await?;
        let start = checkpoints.values().min().copied().unwrap_or_default();
        let mut tail = self.store.tail(start, None);
        self.tell(&checkpoints);
        let mut pause = Time::now();
        let mut rest = pause;
        loop {
            let has_come = upto.is_some_and(|upto| tail.position() >= upto);
            let is_idle = has_come || tail.position() >= self.store.head();
            let puts_off = self.puts_off();
            if has_come && !puts_off {
                return Ok(());
            }
            let next = match (is_idle && puts_off, upto) {
                (false, _) => Some(tail.next_looked_at().await?),
                (true, Some(_)) => None,
                (true, None) => tokio::select! {
                    next = tail.next_looked_at() => Some(next?),
                    () = tokio::time::sleep_until(rest) => None,
                },
            };
            if let Some(first) = next {
                if upto.is_none() {
                    tokio::time::sleep_until(pause).await;
                }
                let events = self.batch(&mut tail, first).await?;
                let began = Time::now();
                self.fold(&mut checkpoints, events, tail.position()).await?;
                let took = began.elapsed();
                pause = began + took + (took * PAUSE_FOLDS).clamp(PAUSE, PAUSE_MAX);
            }
            if upto.is_some() || rest <= Time::now() {
                let took = self.go_on(&checkpoints, (&tail, upto)).await?;
                rest = Time::now() + took * PAUSE_FOLDS;
            }
            self.tell(&checkpoints);
        }
    }

    /// Does a part of what was put off, and further ones while there is nothing else to do; answers how long
    /// they took of the one writer that SQLite has.
    async fn go_on(
        &self,
        checkpoints: &Checkpoints,
        (tail, ends): (&Tail, Option<Position>),
    ) -> Result<Duration, StoreError> {
        let mut took = Duration::ZERO;
        for _ in 0..PARTS_MAX {
            if !self.puts_off() {
                break;
            }
            let parts = self.parts(checkpoints, ends).await?;
            let is_stuck = parts.iter().all(|(_, _, part)| part.is_none());
            let left = Arc::new(Left::default());
            let (identity, noted) = (self.store.identity(), Arc::clone(&left));
            let began = Time::now();
            self.store
                .transact(move |tx| {
                    Box::pin(async move {
                        for (fold, upto, part) in parts {
                            if let Some(part) = part {
                                hold(tx, &*fold, (upto, upto), identity).await?;
                                part.put(tx).await?;
                            }
                            note(tx, &*fold, &noted).await?;
                        }
                        Ok(())
                    })
                })
                .await?;
            took += began.elapsed();
            self.settle(&left);
            if is_stuck && self.puts_off() {
                return Ok(took.max(STUCK_FOR));
            }
            if tail.position() < self.store.head() || took >= PARTS_FOR {
                break;
            }
        }
        Ok(took)
    }

    /// Reads what the next parts of what was put off are made of, while nobody waits for it.
    async fn parts(
        &self,
        checkpoints: &Checkpoints,
        ends: Option<Position>,
    ) -> Result<Parts, StoreError> {
        let doing = "read what was put off";
        let tx = self.store.readers().snapshot().await.doing(doing)?;
        let mut parts = Parts::new();
        for (fold, upto) in self.all_at(checkpoints) {
            let part = match fold.next_part(&tx, upto).await {
                // what nobody waits for hinders nobody, as where a file of the archive is lost
                Err(error) if ends.is_none() && !fold.is_waited_for() => {
                    self.stopped(&error);
                    None
                }
                part => part?,
            };
            parts.push((fold, upto, part));
        }
        // nothing was written
        tx.rollback().await.doing(doing)?;
        Ok(parts)
    }

    /// The projections, each with how far it has come.
    fn all_at(&self, checkpoints: &Checkpoints) -> Vec<(Arc<dyn Fold>, Position)> {
        let folds = self.folds.iter();
        let folds =
            folds.filter_map(|fold| Some((Arc::clone(fold), *checkpoints.get(fold.name())?)));
        folds.collect()
    }

    /// Notes whether anything is left of what was put off.
    fn settle(&self, left: &Left) {
        self.put_off.set(left);
        self.metrics.put_off.set(i64::from(self.is_unsettled()));
    }

    fn puts_off(&self) -> bool {
        self.put_off.any()
    }

    /// Whether something is put off that is waited for.
    fn is_unsettled(&self) -> bool {
        self.put_off.awaited()
    }

    /// What is there already goes into the same batch, as long as that is not large.
    async fn batch(
        &self,
        tail: &mut Tail,
        mut events: Vec<Arc<Event>>,
    ) -> Result<Vec<Arc<Event>>, StoreError> {
        let weigh = |events: &[Arc<Event>]| -> usize {
            let weights = events.iter().map(|event| event.fact.weight_bytes());
            weights.sum()
        };
        let mut bytes = weigh(&events);
        while events.len() < BATCH_MAX
            && bytes < BATCH_BYTES_MAX
            && tail.position() < self.store.head()
        {
            let next = tail.next_looked_at().await?;
            bytes += weigh(&next);
            events.extend(next);
        }
        Ok(events)
    }

    fn tell(&self, checkpoints: &Checkpoints) {
        let slowest = checkpoints.values().min().copied().unwrap_or_default();
        self.metrics.lag_events.set(self.store.head().0 - slowest.0);
        let folded = in_step(&self.folds, checkpoints);
        self.folded.send_replace(folded);
        if !self.is_unsettled() {
            self.settled.send_replace(folded);
        }
    }

    pub(super) async fn checkpoints(&self) -> Result<Checkpoints, StoreError> {
        let identity = self.store.identity();
        let mut folds = Vec::with_capacity(self.folds.len());
        for fold in &self.folds {
            let deleted = self.store.has_deleted(fold.kinds()).await?;
            folds.push((Arc::clone(fold), deleted));
        }
        self.store
            .transact(move |tx| {
                Box::pin(async move {
                    for (fold, deleted) in &folds {
                        checkpoint::make(tx, (&**fold, *deleted), identity).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        self.reached().await
    }

    /// The checkpoints that there are; where there is none yet, nothing is folded.
    async fn known(&self) -> Result<Checkpoints, StoreError> {
        let mut checkpoints = Checkpoints::new();
        let db = self.store.readers();
        for name in self.folds.iter().map(|fold| fold.name()) {
            let mut sql = Sql::new("SELECT position FROM checkpoints WHERE projection = ");
            sql.bind(name);
            let row = db.query_one_raw(sql.statement(self.store.backend())).await;
            let row = row.doing("read a checkpoint")?;
            let position = row.map(|row| row.try_get_by_index(0)).transpose();
            let position = position.doing("read a checkpoint")?.unwrap_or_default();
            checkpoints.insert(name, Position(position));
        }
        Ok(checkpoints)
    }

    async fn fold(
        &self,
        checkpoints: &mut Checkpoints,
        events: Vec<Arc<Event>>,
        upto: Position,
    ) -> Result<(), StoreError> {
        let mut behind = self.all_at(checkpoints);
        behind.retain(|(_, checkpoint)| *checkpoint < upto);
        let names: Vec<&'static str> = behind.iter().map(|(fold, _)| fold.name()).collect();
        let identity = self.store.identity();
        let left = Arc::new(Left::of(&self.put_off));
        let noted = Arc::clone(&left);
        self.store
            .transact(move |tx| {
                Box::pin(async move {
                    for (fold, checkpoint) in behind {
                        let step = (checkpoint, upto);
                        hold(tx, &*fold, step, identity).await?;
                        fold_in(tx, &*fold, &events, step).await?;
                        note(tx, &*fold, &noted).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        self.settle(&left);
        for name in names {
            checkpoints.insert(name, upto);
        }
        Ok(())
    }
}
