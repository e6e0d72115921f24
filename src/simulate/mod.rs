//! `homepot-analytics simulate`: a simulated fleet as a client of the public API, that reports and does what
//! it is commanded.
//!
//! Simulated time runs from a start in the past, if asked for, at a multiple of real time until it
//! reaches the present, and with it from then on: no event lies in the future. Events wait in a
//! bounded memory; while it is full (the server is away or slower than the simulation), the
//! simulation stands still and catches up later, so that nothing is dropped before the end.

mod args;
mod commands;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use serde_json::Value;
use serde_json::value::to_raw_value;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant as Moment;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

pub use args::SimulateArgs;
use commands::{Asked, Obedience};

use crate::client::sender::{Sender, Stopped};
use crate::client::{
    ArgsError, Backlog, Client, ClientError, Handle, Line, MemoryLimits, Preamble, SenderConfig,
    Totals,
};
use crate::clock::Clock;
use crate::fleet::{Fleet, JobStatus};
use crate::jobs::UPDATE_CONFIGURATION;
use crate::kinds::masked::MASK;

/// Bytes of events that wait at most.
const BUFFER_BYTES_MAX: usize = 256 << 20;

/// Simulated time that is made at once at most.
const SLICE: TimeDelta = TimeDelta::seconds(10);

/// Questions to devices that wait at most.
const ASKED_MAX: usize = 64;

/// Events given to the sender at once.
const GROUP_EVENTS: usize = 1_000;

/// Shortest and longest real wait for the next event.
const WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_mins(1));

/// How long delivery goes on after the signal to stop: nothing is kept for a next run.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// A simulation that cannot start.
#[derive(Debug, Error)]
pub enum SimulateError {
    /// The command line cannot be followed.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// The server cannot be spoken to.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A part of the simulation broke off.
    #[error("the simulation was cut short by a fault of its own")]
    CutShort,
}

/// A simulation with all that it depends on.
#[derive(Debug)]
pub struct Simulation {
    /// The command line.
    pub args: SimulateArgs,
    /// Limits of its sender.
    pub sender: SenderConfig,
    /// Tells the present.
    pub clock: Clock,
    /// Draws the waits; the fleet has its own seed.
    pub rng: StdRng,
}

/// Simulates until the token is cancelled; returns what became of the events.
///
/// # Errors
/// When the simulation cannot start, or a part of it breaks off.
pub async fn run(
    args: SimulateArgs,
    clock: Clock,
    shutdown: CancellationToken,
) -> Result<Totals, SimulateError> {
    let simulation = Simulation {
        args,
        sender: SenderConfig {
            stop_grace: STOP_GRACE,
            ..SenderConfig::default()
        },
        clock,
        rng: rand::make_rng(),
    };
    simulation.run(shutdown).await
}

impl Simulation {
    /// Simulates until the token is cancelled; returns what became of the events.
    ///
    /// # Errors
    /// When the simulation cannot start, or a part of it breaks off.
    pub async fn run(self, shutdown: CancellationToken) -> Result<Totals, SimulateError> {
        let tracker = TaskTracker::new();
        let client = Client::new(&self.args.server.config()?, self.clock.clone())?;
        if client.shows_key() {
            warn!(
                server.url = client.server(),
                "the access key is sent unencrypted; use https"
            );
        }
        let options = self.args.fleet();
        let back = TimeDelta::hours(i64::from(self.args.back_hours));
        let start = self.clock.now().date_time() - back;
        let fleet = Fleet::new(options, start);
        let sender = Sender {
            backlog: Backlog::in_memory(MemoryLimits {
                events_max: self.args.buffer_events,
                bytes_max: BUFFER_BYTES_MAX,
            }),
            client: client.clone(),
            preamble: Preamble {
                events: lines(&fleet.registrations()),
                on_unknown_site: Vec::new(),
            },
            config: self.sender,
            rng: self.rng,
        };
        let stop = shutdown.child_token();
        let handle = sender.start(&tracker, stop.clone());
        info!(
            server.url = client.server(),
            fleet.sites = options.sites,
            fleet.devices = options.sites * options.devices_per_site,
            fleet.seed = options.seed,
            interval_seconds = options.interval_seconds,
            speed = self.args.speed,
            start = %self.clock.now().plus_ms(-back.num_milliseconds()),
            "the simulation has started"
        );
        let totals = handle.watch_totals();
        let (ask, asked) = mpsc::channel(ASKED_MAX);
        tracker.spawn(Obedience::new(client, ask).run(stop.clone()));
        let mut drive = Drive {
            asked,
            pace: Pace {
                start,
                began: Moment::now(),
                speed: self.args.speed,
                clock: self.clock,
            },
            handle,
            buffer_events: self.args.buffer_events,
            tracker: tracker.clone(),
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            Stopped = drive.run(fleet) => {}
        }
        drop(drive);
        stop.cancel();
        tracker.close();
        tracker.wait().await;
        if !shutdown.is_cancelled() {
            return Err(SimulateError::CutShort);
        }
        let totals = *totals.borrow();
        Ok(totals)
    }
}

/// Which simulated instant it is.
#[derive(Debug)]
struct Pace {
    start: DateTime<Utc>,
    began: Moment,
    speed: u32,
    clock: Clock,
}

impl Pace {
    fn now(&self) -> DateTime<Utc> {
        let gone = self.began.elapsed().saturating_mul(self.speed);
        let gone = TimeDelta::from_std(gone).unwrap_or(TimeDelta::MAX);
        let present = self.clock.now().date_time();
        self.start
            .checked_add_signed(gone)
            .map_or(present, |at| at.min(present))
    }

    /// Real time until a simulated instant, within bounds. In the present both run alike.
    fn wait_for(&self, at: DateTime<Utc>) -> Duration {
        let now = self.now();
        let wait = (at - now).to_std().unwrap_or_default();
        let is_present = now >= self.clock.now().date_time();
        let speed = if is_present { 1 } else { self.speed.max(1) };
        (wait / speed).clamp(WAITS.0, WAITS.1)
    }
}

/// Advances the fleet and gives its events to the sender.
#[derive(Debug)]
struct Drive {
    /// What its devices are asked.
    asked: mpsc::Receiver<Asked>,
    pace: Pace,
    handle: Handle,
    buffer_events: usize,
    tracker: TaskTracker,
}

impl Drive {
    /// Runs until the sender stops.
    async fn run(&mut self, mut fleet: Fleet) -> Stopped {
        loop {
            let now = self.pace.now();
            let next = fleet.next_at();
            if next > now {
                tokio::select! {
                    () = tokio::time::sleep(self.pace.wait_for(next)) => {}
                    Some(asked) = self.asked.recv() => answer(&mut fleet, asked, now),
                }
                continue;
            }
            let until = next
                .checked_add_signed(SLICE)
                .map_or(now, |until| until.min(now));
            let work = self.tracker.spawn_blocking(move || {
                let events = lines(&fleet.advance(until));
                (fleet, events)
            });
            let Ok((advanced, events)) = work.await else {
                return Stopped;
            };
            fleet = advanced;
            if self.give(events).await.is_err() {
                return Stopped;
            }
        }
    }

    /// Gives events to the sender, waiting for room so that none is dropped.
    async fn give(&mut self, mut events: Vec<Line>) -> Result<(), Stopped> {
        let group = GROUP_EVENTS.min(self.buffer_events.max(1));
        let waiting_max = u64::try_from(self.buffer_events.saturating_sub(group));
        while !events.is_empty() {
            let rest = events.split_off(events.len().min(group));
            self.handle.wait_for_room(waiting_max.unwrap_or(0)).await?;
            self.handle.keep(events).await?;
            events = rest;
        }
        Ok(())
    }
}

/// How a job will have ended on a device, if it is one of the fleet.
fn answer(fleet: &mut Fleet, asked: Asked, now: DateTime<Utc>) {
    let is_ours = fleet.device_ids().any(|id| id == asked.device_id);
    let result =
        is_ours.then(|| fleet.apply_job(&asked.device_id, &asked.job_type, &asked.job_id, now));
    let is_done = result
        .as_ref()
        .is_some_and(|result| result.status == JobStatus::Completed);
    if is_done && asked.job_type == UPDATE_CONFIGURATION {
        configure(fleet, &asked);
    }
    // whoever asked may have stopped
    let _ = asked.answer.send(result);
}

/// Has a device take over what it is told. Secrets are not told to a client that speaks for many.
fn configure(fleet: &mut Fleet, asked: &Asked) {
    let parameters = asked.payload.get("parameters").and_then(Value::as_object);
    for (name, value) in parameters.into_iter().flatten() {
        if value.as_str() != Some(MASK) {
            fleet.set_configuration(&asked.device_id, name, value.clone());
        }
    }
}

fn lines(events: &[Value]) -> Vec<Line> {
    events
        .iter()
        .filter_map(|event| to_raw_value(event).ok())
        .collect()
}
