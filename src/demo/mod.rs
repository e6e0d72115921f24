//! The demo: a simulated fleet that lives in this process.
//!
//! Its fleet began at the instant of its first registration. After a restart it is wound forward
//! from there, and what it did while the demo was not running is recorded late, as a fleet with a
//! spool would.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use entity::configuration_history::Column;
use serde_json::Value as Json;
use tokio_util::sync::CancellationToken;

use crate::event::{Event, Instant, Provenance};
use crate::fleet::{Fleet, FleetOptions};
use crate::history::{collection, fleet};
use crate::ingest::{Given, Ingest, Patience};
use crate::jobs::{DeviceResult, Executor, Run};
use crate::kinds::{Kind, parse_any};
use crate::store::{AppendError, EVENTS_MAX, StoreError};

/// How far history is made in one step.
const STEP: TimeDelta = TimeDelta::hours(1);
/// How long before the newest record a restarted fleet is recorded again: repeats are dropped.
const OVERLAP: TimeDelta = TimeDelta::minutes(5);

/// A fleet that several parts of the demo drive.
#[derive(Clone, Debug)]
struct Simulated {
    fleet: Arc<Mutex<Fleet>>,
}

/// What a fleet begins with.
#[derive(Clone, Copy, Debug)]
pub struct Beginning {
    /// The same seed gives the same fleet.
    pub seed: u64,
    /// Hours of history when it is begun anew.
    pub history_hours: u32,
}

/// Plays a fleet until it is told to stop: gives it its history, lives on, and does its jobs.
///
/// # Errors
/// When the log cannot be read or written.
pub async fn run(
    ingest: Ingest,
    beginning: Beginning,
    stop: CancellationToken,
) -> Result<(), DemoError> {
    let simulated = Simulated::begin(&ingest, beginning, &stop).await?;
    let player = Player {
        simulated: simulated.clone(),
        ingest: ingest.clone(),
    };
    let executor = Executor::new(ingest.clone());
    let living = simulated.live(&ingest, &stop);
    let working = async {
        executor
            .run(player, stop.clone())
            .await
            .map_err(DemoError::from)
    };
    tokio::try_join!(living, working).map(|_| ())
}

/// Why the demo stopped.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The log cannot be read.
    #[error("cannot read what the demo has recorded")]
    Store(#[from] StoreError),
    /// The log cannot be written.
    #[error("cannot record the simulated fleet")]
    Append(#[from] AppendError),
}

impl Simulated {
    /// Registers the fleet and gives it its history, or goes on with the one that is there.
    async fn begin(
        ingest: &Ingest,
        fleet: Beginning,
        stop: &CancellationToken,
    ) -> Result<Self, DemoError> {
        let store = ingest.store();
        let now = ingest.clock().now().date_time();
        let sites = fleet::sites_page(
            store,
            &fleet::IdPage {
                limit: 1,
                ..Default::default()
            },
        )
        .await?;
        let began = sites
            .first()
            .map(|site| Instant(site.registered_at).date_time());
        let start = began.unwrap_or(now - TimeDelta::hours(i64::from(fleet.history_hours)));
        let counters = collection::counters(store).await?;
        let newest = counters
            .iter()
            .filter(|row| row.kind == Kind::DeviceMetrics.code());
        let newest = newest.map(|row| Instant(row.newest_at).date_time()).max();
        let options = FleetOptions {
            seed: fleet.seed,
            ..FleetOptions::default()
        };
        let mut fleet = Fleet::new(options, start);
        record(ingest, fleet.registrations()).await?;
        let resume = newest.map_or(start, |newest| newest - OVERLAP);
        let mut at = start;
        tracing::info!(from = %start, "making the history of the simulated fleet");
        while at < now && !stop.is_cancelled() {
            at = (at + STEP).min(now);
            let events = fleet.advance(at);
            if at > resume {
                record(ingest, events).await?;
            }
        }
        tracing::info!(head = store.head().0, "the simulated fleet is live");
        Ok(Self {
            fleet: Arc::new(Mutex::new(fleet)),
        })
    }

    /// Lives on in real time until it is told to stop.
    async fn live(self, ingest: &Ingest, stop: &CancellationToken) -> Result<(), DemoError> {
        let mut changes = ingest
            .store()
            .tail(ingest.store().head(), Some(&[Kind::ConfigurationChange]));
        loop {
            let now = ingest.clock().now().date_time();
            let (events, next) = self.with(|fleet| (fleet.advance(now), fleet.next_at()));
            record(ingest, events).await?;
            let pause = (next - now).to_std().unwrap_or_default();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
                events = changes.next() => self.configure(&events?),
            }
        }
    }

    /// The fleet takes what people configure, but not what it configured itself.
    fn configure(&self, events: &[Arc<Event>]) {
        let by_people = |event: &&Arc<Event>| event.fact.provenance == Provenance::Real;
        for event in events.iter().filter(by_people) {
            let cell = |column: Column| event.fact.cell(column);
            if let (Some(device), Some(parameter), crate::event::Cell::Json(value)) = (
                cell(Column::DeviceKey).text(),
                cell(Column::ParameterName).text(),
                cell(Column::NewValue),
            ) {
                let value = Json::clone(value);
                self.with(|fleet| fleet.set_configuration(device, parameter, value));
            }
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Fleet) -> T) -> T {
        act(&mut self.fleet.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn record(ingest: &Ingest, events: Vec<Json>) -> Result<(), AppendError> {
    let now = ingest.clock().now();
    for events in events.chunks(EVENTS_MAX) {
        let given = events.iter().map(|event| read(event, now)).collect();
        ingest.record(given, None, Patience::Unlimited).await?;
    }
    Ok(())
}

fn read(event: &Json, now: Instant) -> Given {
    let kind = event
        .as_object()
        .and_then(|entries| Kind::of_wire(entries.keys().next()?));
    (kind, parse_any(event, now))
}

/// Plays the devices of the fleet in jobs.
#[derive(Debug)]
struct Player {
    simulated: Simulated,
    ingest: Ingest,
}

impl Run for Player {
    fn run(&mut self, device_id: &str, job_type: &str, job_id: &str) -> Option<DeviceResult> {
        let now: DateTime<Utc> = self.ingest.clock().now().date_time();
        self.simulated.with(|fleet| {
            if !fleet.device_ids().any(|id| id == device_id) {
                return None;
            }
            let result = fleet.apply_job(device_id, job_type, job_id, now);
            Some(DeviceResult {
                status: result.status.word(),
                duration_ms: i64::from(result.duration_ms),
                error_code: result.error_code.map(str::to_owned),
                error_message: result.error_message.map(str::to_owned),
                provenance: Provenance::Simulated,
            })
        })
    }
}
