//! The log: append, read, tail. It knows that events have kinds, fields and keys, and what none of
//! them means.
//!
//! One task writes (`writer`), one transaction a batch (`commit`). Readers page the tables
//! (`read`) or follow the newest events in memory (`ring`, filled by `feed`, followed by
//! `tail`). Positions are 1, 2, 3 … without a hole, so a reader proves by arithmetic that it has
//! seen everything.

mod ahead;
mod allowance;
mod append;
mod backup;
mod chunks;
mod claim;
mod commit;
mod derived;
mod duplicates;
mod error;
mod faults;
mod feed;
mod fence;
mod fold;
mod found;
mod happened;
mod identity;
mod insert;
mod joined;
mod lists;
mod location;
mod lookup;
mod mark;
mod mending;
mod metrics;
mod migrations;
mod nameless;
mod names;
mod open;
mod options;
mod parents;
mod part;
mod partitions;
mod placing;
mod queue;
mod read;
mod readers;
mod reading;
mod recall;
mod replica;
mod reset;
mod ring;
mod roster;
mod rows;
mod schema;
mod scratch;
mod script;
mod segments;
mod slice;
mod sql;
mod standing;
mod tail;
mod timescale;
mod transact;
mod transactions;
mod upkeep;
mod verify;
mod wal;
mod within;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use sea_orm::DbBackend;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use allowance::Allowance;
pub(crate) use allowance::{Lent, Room};
pub use append::{AppendError, Appended, Effect, Expect, Outcome, Request};
pub use backup::{BackedUp, BackupError, Restored, backup, restore};
pub use claim::{Claim, ClaimError, MERGE};
pub use derived::Stated;
pub use error::{Cause, StoreError};
pub use faults::{Failing, Fault, Faults};
pub use fence::Fence;
pub use fold::{Deleted, Fold, Guard, Needed, Part};
pub use found::Found;
pub use identity::Identity;
pub use location::Location;
pub use metrics::{Metrics, answering, answering_each};
pub use migrations::{migrate_at as migrate, missing_at as missing_migrations};
pub use names::{EntityType, Names};
pub use open::OpenError;
pub(crate) use options::{COMMIT_BYTES_MAX, commit_events_max};
pub use options::{EVENTS_MAX, Limits, Options, REGISTRATIONS_MAX};
pub use read::{Order, PageQuery, Place, Scope};
pub use reset::{ResetError, reset};
pub use roster::Peer;
pub use rows::Columns;
pub use segments::{
    Absent, Archive, Archived, Awaits, Deletable, Deleting, FilesError, GivingUp, KindStatus,
    Leaving, Small, Waiting,
};
pub use slice::Slice;
pub use standing::Standing;
pub use tail::Tail;
pub use timescale::{Timescale, make_hypertables};
pub use verify::{Check, Finding, Folds, OnProgress, Progress, Verified, verify};

pub(crate) use error::Doing;
pub(crate) use feed::head_of;
pub(crate) use happened::{
    Said, Since, Sources, all_said, each_of_all, each_since, happened, next_of,
};
pub(crate) use identity::label_secret;
pub(crate) use lists::{List, is_among};
pub(crate) use mending::Differing;
pub(crate) use roster::{Card, Had, Roster, Says};
pub(crate) use scratch::{Scratch, fold_in, is_put_off};
pub(crate) use segments::{
    Beside, Erasing, Folded, Happened, Looked, Present, Told, Trouble, is_marked_erased, sha256_of,
};
pub(crate) use sql::{Sql, group_sizes, value_in, value_in_text};

use crate::clock::Clock;
use crate::event::Position;
use crate::kinds::Kind;
use commit::Committer;
use feed::Feeder;
use options::READERS_BYTES_MAX;
use partitions::Partitions;
use read::Tables;
use readers::Readers;
use recall::Looks;
use replica::Replica;
use ring::Ring;
use segments::Segments;
use slice::Extent;
use standing::Seen;
use wal::{Emptying, Wal};
use writer::{Job, Pending, Writer};

/// The log.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
    /// What what is written through this handle has to pass.
    fence: Option<Fence>,
    /// Whether this handle reads from the replica.
    reads_replica: bool,
}

#[derive(Debug)]
struct Shared {
    connections: open::Connections,
    identity: Identity,
    limits: Limits,
    names: Arc<Names>,
    tables: Tables,
    replica: Option<Replica>,
    timescale: Option<Timescale>,
    room: Room,
    ring: Arc<Ring>,
    appends: mpsc::Sender<Pending>,
    jobs: mpsc::Sender<Job>,
    queue_events: Arc<Semaphore>,
    queue_bytes: Arc<Semaphore>,
    looks: Looks,
    metrics: Arc<Metrics>,
    faults: Arc<Faults>,
    seen: Arc<Seen>,
    /// Of the write-ahead log of SQLite.
    emptying: Emptying,
    clock: Clock,
}

/// The tasks of a log and how they are stopped.
#[derive(Debug)]
pub struct Tasks {
    stop_writing: CancellationToken,
    stop_feeding: CancellationToken,
    writer: TaskTracker,
    others: TaskTracker,
    connections: open::Connections,
    /// That no other process serves it meanwhile.
    _served: Option<Claim>,
}

impl Tasks {
    /// Appends what waits, then stops. New requests are refused from now on.
    pub async fn stop(self) {
        self.stop_writing.cancel();
        self.writer.close();
        self.writer.wait().await;
        self.stop_feeding.cancel();
        self.others.close();
        self.others.wait().await;
        self.connections.close().await;
    }
}

impl Store {
    /// Opens the log, brings its database up to date, and starts its tasks.
    ///
    /// # Errors
    /// When the database cannot be opened, is not ours, or was written by a newer version, or is to be served and
    /// another process serves it, where only one may. Nothing of it is changed then.
    pub async fn open(options: Options) -> Result<(Self, Tasks), OpenError> {
        let mut connections = open::connect(&options.location).await?;
        let served = connections.claim_served(&options.location).await?;
        migrations::migrate(&connections).await?;
        let db = &connections.writer;
        let identity = identity::identity(db).await?;
        connections.segments.renew(db).await?;
        let names = Arc::new(Names::default());
        names.load(db).await?;
        let (head, limits) = (head_of(db).await?, options.limits);
        let (events_max, bytes_max) = (limits.ring_events_max, limits.ring_bytes_max);
        let ring = Arc::new(Ring::new(head, events_max, bytes_max));
        let metrics = Arc::new(Metrics::default());
        metrics.head(head);
        // the feeder's own looks at the head, made on this handle, are no reads of the API
        let feeding = connections.readers.clone();
        metrics.count_reads(connections.readers.once_mut());
        let segments = Arc::clone(&connections.segments);
        let tables = Tables::new(
            connections.readers.clone(),
            Arc::clone(&names),
            Arc::clone(&segments),
        );
        let replica = Replica::of(&options.location, &connections.readers, (&names, &segments))?;
        let timescale = Timescale::find(db).await?;
        let (appends, append_queue) = mpsc::channel(limits.queue_events_max);
        let (jobs, job_queue) = mpsc::channel(64);
        let committer = Committer {
            db: db.clone(),
            names: Arc::clone(&names),
            folds: options.folds,
            partitions: Partitions::load(db).await?,
            clock: options.clock.clone(),
            ring: Arc::clone(&ring),
            segments,
            lazy: false,
        };
        let queue_events = Arc::new(Semaphore::new(limits.queue_events_max));
        let queue_bytes = Arc::new(Semaphore::new(limits.queue_bytes_max));
        let shared = Shared {
            connections,
            identity,
            looks: Looks::new(limits.queue_bytes_max),
            limits,
            names,
            tables,
            replica,
            timescale,
            room: Room::new(READERS_BYTES_MAX),
            ring,
            appends,
            jobs,
            queue_events,
            queue_bytes,
            metrics,
            faults: Arc::default(),
            seen: Arc::default(),
            emptying: Emptying::default(),
            clock: options.clock,
        };
        let store = Self {
            shared: Arc::new(shared),
            fence: None,
            reads_replica: false,
        };
        let tasks = store.start(committer, feeding, (append_queue, job_queue), served);
        Ok((store, tasks))
    }

    fn start(
        &self,
        committer: Committer,
        feeding: Readers,
        (appends, jobs): (mpsc::Receiver<Pending>, mpsc::Receiver<Job>),
        served: Option<Claim>,
    ) -> Tasks {
        let shared = &self.shared;
        let (feed, feeder) = Feeder::new(
            (feeding.clone(), shared.connections.clone()),
            shared.tables.on(feeding.clone()),
            (
                Arc::clone(&shared.ring),
                Arc::clone(&shared.metrics),
                Arc::clone(&shared.seen),
            ),
            &shared.limits,
        );
        let tasks = Tasks {
            stop_writing: CancellationToken::new(),
            stop_feeding: CancellationToken::new(),
            writer: TaskTracker::new(),
            others: TaskTracker::new(),
            connections: shared.connections.clone(),
            _served: served,
        };
        if let Some(pool) = &shared.connections.postgres {
            tasks.others.spawn(feed::doorbell(
                feeding,
                pool.clone(),
                Arc::clone(&shared.ring),
                feeder.bell(),
                tasks.stop_feeding.clone(),
            ));
        }
        let metrics = Arc::clone(&shared.metrics);
        let file = shared.connections.file.as_deref();
        let writer = Writer {
            committer,
            appends,
            jobs,
            feed,
            metrics,
            faults: Arc::clone(&shared.faults),
            seen: Arc::clone(&shared.seen),
            wal: file.map(|file| Wal::of(file, shared.emptying.clone())),
            halves: Vec::new(),
            held_over: None,
        };
        tasks.writer.spawn(writer.run(tasks.stop_writing.clone()));
        let following = self.clone().follow_replica(tasks.stop_feeding.clone());
        tasks.others.spawn(following);
        let telling = (Arc::clone(&shared.faults), shared.clock.clone());
        tasks
            .others
            .spawn(feeder.run(telling, tasks.stop_feeding.clone()));
        tasks
    }

    /// Follows the log from a position: first what is in it, then what comes. `kinds` leaves out all
    /// others.
    #[must_use]
    pub fn tail(&self, from: Position, kinds: Option<&'static [Kind]>) -> Tail {
        let shared = &self.shared;
        let (tables, ring) = (shared.tables.clone(), Arc::clone(&shared.ring));
        let extent = Extent::of_events(shared.limits.page_events);
        Tail::new(tables, ring, from, kinds, extent)
    }

    /// The newest position that followers have been told of.
    #[must_use]
    pub fn head(&self) -> Position {
        self.shared.ring.head()
    }

    /// The newest position that is committed, whether or not followers have been told of it.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub async fn committed_head(&self) -> Result<Position, StoreError> {
        head_of(self.readers()).await
    }

    /// Tells of every change of the head.
    #[must_use]
    pub fn watch_head(&self) -> watch::Receiver<Position> {
        self.shared.ring.watch()
    }

    /// What was archived of it.
    pub(crate) fn segments(&self) -> &Segments {
        &self.shared.connections.segments
    }

    /// Which log this is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.shared.identity
    }

    /// Ids and keys of sites and devices.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.shared.names
    }

    /// What the log tells of itself.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// What went wrong and is not recorded yet.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Which database keeps the log.
    #[must_use]
    pub fn backend(&self) -> DbBackend {
        self.shared.connections.writer.get_database_backend()
    }

    /// The file of the log, on SQLite.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        self.shared.connections.file.clone()
    }

    /// Where it is kept, without a password.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.shared.connections.address
    }

    /// The clock of the log.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Events that wait to be appended.
    #[must_use]
    pub fn queued_events(&self) -> usize {
        let shared = &self.shared;
        shared.limits.queue_events_max - shared.queue_events.available_permits()
    }
}

fn closed() -> AppendError {
    AppendError::Store(Arc::new(StoreError::Closed))
}
