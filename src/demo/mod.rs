//! The demo: a simulated fleet that lives in this process.
//!
//! Its fleet began at the instant of its first registration. After a restart it is wound forward
//! from there with all that people had it do, and what it did since it was last told is recorded
//! late, as a fleet with a spool would. What is told is never told anew.

mod past;
mod recorder;

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use crate::configuration::{self, ConfigurationError, Parameter, Registration};
use crate::event::{Instant, Position, Provenance};
use crate::fleet::{Fleet, FleetOptions, JobStatus, configurable};
use crate::ingest::Ingest;
use crate::jobs::machine::Ended;
use crate::jobs::{Answer, Deliveries, Executor, Played, Run};
use crate::kinds::Kind;
use crate::store::{Claim, ClaimError, Found, Location, OpenError, Store, StoreError};
use crate::telemetry::chain;
use past::{Commanded, Past};
use recorder::Recorder;

/// How far history is made in one step.
const STEP: TimeDelta = TimeDelta::hours(1);

/// A fleet that several parts of the demo drive.
#[derive(Clone, Debug)]
struct Simulated {
    fleet: Arc<Mutex<Fleet>>,
    /// What people configured up to here it has taken.
    configured: Position,
}

/// What a fleet begins with.
#[derive(Clone, Copy, Debug)]
pub struct Beginning {
    /// The same seed gives the same fleet.
    pub seed: u64,
    /// Hours of history when it is begun anew.
    pub history_hours: u32,
}

/// How far the demo has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It makes the history of its fleet.
    History {
        /// Simulated seconds that are made.
        made_seconds: u64,
        /// Simulated seconds in all.
        seconds: u64,
    },
    /// Its fleet lives.
    Live,
}

/// Why the demo stopped.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The log cannot be read.
    #[error("cannot read what the demo has recorded")]
    Store(#[from] StoreError),
    /// The log has a fleet of the same names that these options do not make.
    #[error(
        "the log holds another simulated fleet: start with the --seed that it was begun with, or anew with --reset"
    )]
    OtherFleet,
    /// The log was not made by a demo.
    #[error(
        "{0} has events and no simulated fleet: give the demo a database of its own, with --database"
    )]
    NotItsOwn(String),
    /// It cannot be seen that a demo made the log before its database is changed.
    #[error(
        "{address} has events, is not marked as a demo's, and lacks {missing} migrations, so it is left as it is: \
         give the demo a database of its own, with --database, or run `homepot-analytics migrate up` first if a demo \
         made it"
    )]
    Behind {
        /// Where.
        address: String,
        /// How many.
        missing: usize,
    },
    /// Another demo plays its fleet into the same log.
    #[error(
        "another demo plays its fleet into this log: stop that, or give this one another --database"
    )]
    Played,
    /// The log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be found out whether one does.
    #[error("cannot find out whether another demo plays its fleet into this log")]
    Claim(#[source] ClaimError),
}

impl From<ClaimError> for DemoError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Taken => Self::Played,
            ClaimError::File { .. } | ClaimError::Store(_) => Self::Claim(error),
        }
    }
}

/// Claims a log for one demo: two would tell of the same tills at the same time. It is held as long
/// as the demo runs, and had before the demo changes or begins anything.
///
/// # Errors
/// When another demo plays its fleet into it, or it cannot be seen that it is a demo's before it is brought up to
/// date.
pub async fn claim(location: &Location) -> Result<Claim, DemoError> {
    let found = Found::at(location).await?;
    let claimed = claimed(&found).await;
    found.close().await;
    claimed
}

async fn claimed(found: &Found) -> Result<Claim, DemoError> {
    let missing = found.missing().await?;
    if missing > 0 && found.is_kept().await? {
        let address = found.address().to_owned();
        return Err(DemoError::Behind { address, missing });
    }
    Ok(found.claim("demo").await?)
}

/// Marks a new log as one that may be thrown away; one that others have written is left as it is, and without
/// the claim.
///
/// # Errors
/// When it is no demo's.
pub async fn take(store: &Store, beginning: Beginning, claim: Claim) -> Result<Claim, DemoError> {
    let upto = store.head();
    if upto == Position(0) {
        store.mark_as_throwaway().await?;
    } else if !store.is_throwaway().await? {
        let began = Past { store, upto }.began(beginning.fleet()).await?;
        if began.is_none() {
            return Err(DemoError::NotItsOwn(store.address().to_owned()));
        }
    }
    Ok(claim)
}

impl Beginning {
    fn fleet(self) -> FleetOptions {
        FleetOptions {
            seed: self.seed,
            ..FleetOptions::default()
        }
    }
}

/// Plays a fleet until it is told to stop: gives it its history, lives on, and does its jobs. What
/// cannot be recorded is tried again. `tell` hears how far it has come.
///
/// # Errors
/// When the log cannot be read at the start, or holds another fleet.
pub async fn run(
    (ingest, deliveries): (Ingest, Deliveries),
    beginning: Beginning,
    stop: CancellationToken,
    mut tell: impl FnMut(Stage) + Send,
) -> Result<(), DemoError> {
    let recorder = Recorder { ingest, stop };
    let simulated = Simulated::begin(&recorder, beginning, &mut tell).await?;
    if !recorder.stop.is_cancelled() {
        tell(Stage::Live);
    }
    let working = simulated.work(&recorder, &deliveries);
    tokio::join!(simulated.live(&recorder), working);
    Ok(())
}

impl Simulated {
    /// Registers the fleet and gives it its history, or goes on with the one that is there.
    async fn begin(
        recorder: &Recorder,
        beginning: Beginning,
        tell: &mut (impl FnMut(Stage) + Send),
    ) -> Result<Self, DemoError> {
        let store = recorder.ingest.store();
        let now = recorder.ingest.clock().now().date_time();
        let options = beginning.fleet();
        let past = Past {
            store,
            upto: store.head(),
        };
        let began = past.began(options).await?;
        let history = TimeDelta::hours(i64::from(beginning.history_hours));
        let start = began.unwrap_or(now - history);
        let told = match began {
            Some(_) => past.told_until().await?,
            None => None,
        };
        let mut commands = past.commands().await?.into_iter().peekable();
        let mut fleet = Fleet::new(options, start);
        recorder.record(&fleet.registrations(), None).await;
        register_parameters(&recorder.ingest).await;
        if began.is_none() {
            tracing::info!(from = %start, "making the history of the simulated fleet");
        } else {
            let from = told.unwrap_or(Instant::of(start));
            tracing::info!(%from, "the simulated fleet goes on from where it was");
        }
        let mut at = start;
        while at < now && !recorder.stop.is_cancelled() {
            let due = commands.peek().map_or(now, |commanded| commanded.at);
            at = (at + STEP).min(now).min(due.max(at));
            recorder.record(&fleet.advance(at), told).await;
            while let Some(commanded) = commands.next_if(|commanded| commanded.at <= at) {
                commanded.apply(&mut fleet);
            }
            tell(Stage::History {
                made_seconds: seconds(at - start),
                seconds: seconds(now - start),
            });
        }
        tracing::info!(head = store.head().0, "the simulated fleet is live");
        Ok(Self {
            fleet: Arc::new(Mutex::new(fleet)),
            configured: past.upto,
        })
    }

    /// Lives on in real time until it is told to stop.
    async fn live(&self, recorder: &Recorder) {
        let (ingest, stop) = (&recorder.ingest, &recorder.stop);
        let kinds = &[Kind::ConfigurationChange];
        let mut changes = ingest.store().tail(self.configured, Some(kinds));
        let mut failures = 0;
        while !stop.is_cancelled() {
            let now = ingest.clock().now().date_time();
            let (events, next) = self.with(|fleet| (fleet.advance(now), fleet.next_at()));
            recorder.record(&events, None).await;
            let pause = (next - now).to_std().unwrap_or_default();
            let changed = tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => continue,
                events = changes.next() => events,
            };
            match changed {
                Ok(events) => {
                    failures = 0;
                    let by_people = events.iter().filter_map(|e| Commanded::by_configuration(e));
                    by_people.for_each(|commanded| self.with(|fleet| commanded.apply(fleet)));
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(error = %chain(&error), "the simulated fleet cannot read what is configured; it tries again");
                    recorder.pause(failures).await;
                }
            }
        }
    }

    /// Does what its devices are commanded until it is told to stop.
    async fn work(&self, recorder: &Recorder, deliveries: &Deliveries) {
        let mut failures = 0;
        loop {
            let player = Player {
                simulated: self.clone(),
                ingest: recorder.ingest.clone(),
            };
            let executor = Executor::new(recorder.ingest.clone(), deliveries.clone());
            let Err(error) = executor.run(player, recorder.stop.clone()).await else {
                return;
            };
            failures += 1;
            tracing::warn!(error = %chain(&error), "commands to the simulated fleet cannot be read; it tries again");
            if !recorder.pause(failures).await {
                return;
            }
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Fleet) -> T) -> T {
        act(&mut self.fleet.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Registers what can be set on the fleet, unless somebody has registered it otherwise.
async fn register_parameters(ingest: &Ingest) {
    for one in configurable() {
        let parameter = Parameter {
            name: one.name.to_owned(),
            version: 0,
            schema: one.schema,
            description: None,
            sensitive: false,
            scopes: one.scopes.iter().map(ToString::to_string).collect(),
        };
        let registration = Registration {
            parameter,
            by: "demo".to_owned(),
            expected: Some(0),
            event_id: None,
        };
        match configuration::register(ingest, registration).await {
            Ok(_) | Err(ConfigurationError::Stale { .. }) => {}
            Err(error) => {
                tracing::warn!(error = %chain(&error), parameter = one.name, "a parameter is not registered");
            }
        }
    }
}

fn seconds(time: TimeDelta) -> u64 {
    u64::try_from(time.num_seconds()).unwrap_or(0)
}

/// Plays the devices of the fleet in jobs.
#[derive(Debug)]
struct Player {
    simulated: Simulated,
    ingest: Ingest,
}

impl Run for Player {
    fn run(&mut self, device_id: &str, job_type: &str, job_id: &str) -> Played {
        let now: DateTime<Utc> = self.ingest.clock().now().date_time();
        self.simulated.with(|fleet| {
            if !fleet.device_ids().any(|id| id == device_id) {
                return Played::NotPlayed;
            }
            let result = fleet.apply_job(device_id, job_type, job_id, now);
            let ended = match result.status {
                JobStatus::Completed => Ended::Completed,
                JobStatus::Failed => Ended::Failed,
                // it hears of it again when it is back
                JobStatus::Error => return Played::IsAway,
                JobStatus::Timeout => return Played::Hangs(Provenance::Simulated),
            };
            let answer = Answer {
                ended,
                duration_ms: Some(i64::from(result.duration_ms)),
                error_code: result.error_code.map(str::to_owned),
                error_message: result.error_message.map(str::to_owned),
                result: None,
                provenance: Provenance::Simulated,
            };
            Played::Takes(answer, i64::from(result.duration_ms))
        })
    }
}
