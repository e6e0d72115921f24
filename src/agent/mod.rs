//! `homepot-analytics agent`: reports the metrics of this machine over the public API.
//!
//! A sample every interval, the first one at once; beside that it does what its device is commanded. Each is kept on disk before it is sent, and the
//! same path serves a server that is away. Stops on its token: what was kept stays for the next run.

mod args;
mod commands;
mod deeds;
mod enrolment;
mod ledger;
mod listener;
mod machine;
mod registration;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

pub use args::{AgentArgs, EnrolToken};
use commands::Commander;
use enrolment::Enrolling;
use ledger::Ledger;
use listener::Listener;
use machine::{Description, Machine, Measures};
use registration::{Identity, Registrations};

use crate::client::sender::Sender;
use crate::client::{
    ArgsError, Backlog, Client, ClientConfig, ClientError, EnrolError, Enrolled, Handle, Line,
    MemoryLimits, Preamble, SenderConfig, Spool, SpoolError, SpoolLimits, Totals,
};
use crate::clock::Clock;

/// What is held in memory while the disk refuses.
const MEMORY: MemoryLimits = MemoryLimits {
    events_max: 1_000,
    bytes_max: 1 << 20,
};

/// How often it asks for commands at least, so that it does also those of which it has not heard.
pub const ASKS_EVERY: Duration = Duration::from_secs(10);

/// Longest wait for the answer by which the latency is measured.
const LATENCY_TIMEOUT: Duration = Duration::from_secs(5);

/// An agent that cannot start.
#[derive(Debug, Error)]
pub enum AgentError {
    /// The command line cannot be followed.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// The server cannot be spoken to.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The spool cannot be opened.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The machine tells nothing of itself.
    #[error("cannot measure this machine")]
    Machine(#[source] sysinfo::Error),
    /// The machine has no name and none was given.
    #[error("this machine has no host name: give the device an id with --device")]
    NoName,
    /// What was registered or done, or what the device was given when it enrolled, cannot be noted.
    #[error("cannot read or write what is noted in {folder}")]
    Note {
        /// The spool folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The device could not enrol.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// A part of the agent broke off.
    #[error("the agent was cut short by a fault of its own")]
    CutShort,
}

/// An agent with all that it depends on.
#[derive(Debug)]
pub struct Agent {
    /// The command line.
    pub args: AgentArgs,
    /// Limits of its sender.
    pub sender: SenderConfig,
    /// How often it asks for commands at least, whatever it hears of them: mostly [`ASKS_EVERY`].
    pub asks_every: Duration,
    /// Tells the time of the samples.
    pub clock: Clock,
    /// Draws the waits.
    pub rng: StdRng,
}

/// What the start has found.
struct Ready {
    spool: Spool,
    ledger: Ledger,
    machine: Machine,
    identity: Identity,
    registrations: Registrations,
}

/// Reports until the token is cancelled; returns what became of the events.
///
/// # Errors
/// When the agent cannot start, or a part of it breaks off.
pub async fn run(
    args: AgentArgs,
    clock: Clock,
    shutdown: CancellationToken,
) -> Result<Totals, AgentError> {
    let agent = Agent {
        args,
        sender: SenderConfig::default(),
        asks_every: ASKS_EVERY,
        clock,
        rng: rand::make_rng(),
    };
    agent.run(shutdown).await
}

impl Agent {
    /// Reports until the token is cancelled; returns what became of the events.
    ///
    /// # Errors
    /// When the agent cannot start, or a part of it breaks off.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<Totals, AgentError> {
        let tracker = TaskTracker::new();
        let mut config = self.args.server.config()?;
        let args = self.args.clone();
        let opened = tracker.spawn_blocking(move || open(&args));
        let opened = opened.await.map_err(|_| AgentError::CutShort)??;
        let enrolled = self.enrolled(&opened, &config, &shutdown).await?;
        if shutdown.is_cancelled() {
            return Ok(Totals::default());
        }
        if let Some(enrolled) = &enrolled {
            config.key = Some(enrolled.secret.clone());
            self.args.device = Some(enrolled.device_id.clone());
            self.args.site = Some(enrolled.site_id.clone());
        }
        let client = Client::new(&config, self.clock.clone())?;
        warn_of_shown_key(&client);
        let args = self.args.clone();
        let ready = tracker.spawn_blocking(move || prepare(&args, opened));
        let ready = ready.await.map_err(|_| AgentError::CutShort)??;
        let rng = self.rng.fork();
        let sender = Sender {
            backlog: Backlog::on_disk(ready.spool, MEMORY),
            client: client.clone(),
            // who has enrolled is registered, and those who run the fleet may have changed it since
            preamble: enrolled
                .map_or_else(|| preamble(&ready.registrations), |_| Preamble::default()),
            config: self.sender,
            rng: self.rng,
        };
        let stop = shutdown.child_token();
        let handle = sender.start(&tracker, stop.clone());
        info!(
            server.url = client.server(),
            device.id = ready.identity.device,
            site.id = ready.identity.site,
            interval_seconds = self.args.interval_seconds,
            events.waiting = handle.totals().waiting,
            "the agent has started"
        );
        let totals = handle.watch_totals();
        let given = Duration::from_secs(u64::from(self.args.interval_seconds));
        let (configured, interval) = watch::channel(ready.ledger.interval().unwrap_or(given));
        let commander = Commander {
            client: client.clone(),
            device: ready.identity.device.clone(),
            log_files: self.args.log_files,
            ledger: ready.ledger,
            heard: Arc::default(),
            asks_every: self.asks_every,
            interval: configured,
            tracker: tracker.clone(),
        };
        obey(commander, rng, &stop);
        let sampler = Sampler {
            device: ready.identity.device,
            interval,
            clock: self.clock,
            client,
            tracker: tracker.clone(),
        };
        sampler.run(ready.machine, handle, &stop).await;
        stop.cancel();
        tracker.close();
        tracker.wait().await;
        if !shutdown.is_cancelled() {
            return Err(AgentError::CutShort);
        }
        let totals = *totals.borrow();
        Ok(totals)
    }

    /// What the device was given when it enrolled, unless it has a key anyway.
    async fn enrolled(
        &mut self,
        opened: &Opened,
        config: &ClientConfig,
        shutdown: &CancellationToken,
    ) -> Result<Option<Enrolled>, AgentError> {
        if config.key.is_some() {
            return Ok(None);
        }
        let enrolling = Enrolling {
            args: &self.args,
            description: &opened.description,
            clock: &self.clock,
        };
        enrolling.run(config, &mut self.rng, shutdown).await
    }
}

/// What the agent has before it knows who it is.
struct Opened {
    spool: Spool,
    machine: Machine,
    description: Description,
}

/// Opens the spool, which says that no other agent has it, and looks at the machine.
fn open(args: &AgentArgs) -> Result<Opened, AgentError> {
    let limits = SpoolLimits {
        bytes_max: args.spool_mib << 20,
        ..SpoolLimits::default()
    };
    let spool = Spool::open(&args.spool, limits)?;
    let machine = Machine::new().map_err(AgentError::Machine)?;
    let description = Machine::describe();
    Ok(Opened {
        spool,
        machine,
        description,
    })
}

/// Makes out who the agent is, and how it introduces itself.
fn prepare(args: &AgentArgs, opened: Opened) -> Result<Ready, AgentError> {
    let Opened {
        spool,
        machine,
        description,
    } = opened;
    let identity = Identity::of(args, &description).ok_or(AgentError::NoName)?;
    let registrations = Registrations::make(args, &identity, &description, &args.spool);
    let registrations = registrations.map_err(|source| AgentError::Note {
        folder: args.spool.clone(),
        source,
    })?;
    let ledger = Ledger::open(&args.spool).map_err(|source| AgentError::Note {
        folder: args.spool.clone(),
        source,
    })?;
    Ok(Ready {
        spool,
        ledger,
        machine,
        identity,
        registrations,
    })
}

/// The device first; its site only when the server does not know it, so that what an operator
/// registered of a site is not overwritten.
fn preamble(registrations: &Registrations) -> Preamble {
    let Registrations { device, site } = registrations;
    Preamble {
        events: [device].into_iter().filter_map(line).collect(),
        on_unknown_site: [site, device].into_iter().filter_map(line).collect(),
    }
}

/// Does what the device is commanded, and hears of it, until the token is cancelled.
fn obey(commander: Commander, rng: StdRng, stop: &CancellationToken) {
    let tracker = commander.tracker.clone();
    let listener = Listener {
        client: commander.client.clone(),
        device: commander.device.clone(),
        heard: Arc::clone(&commander.heard),
        rng,
    };
    tracker.spawn(listener.run(stop.clone()));
    tracker.spawn(commander.run(stop.clone()));
}

fn line(event: &Value) -> Option<Line> {
    to_raw_value(event).ok()
}

/// Takes the samples.
struct Sampler {
    device: String,
    interval: watch::Receiver<Duration>,
    clock: Clock,
    client: Client,
    tracker: TaskTracker,
}

impl Sampler {
    async fn run(mut self, mut machine: Machine, handle: Handle, shutdown: &CancellationToken) {
        // The load of the processors is measured between two looks.
        let begin = tokio::time::Instant::now() + sysinfo::MINIMUM_CPU_UPDATE_INTERVAL;
        let mut interval = *self.interval.borrow_and_update();
        let (mut ticks, mut is_fixed) = (ticks(begin, interval), false);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
                // it outlives whoever may change it
                changed = self.interval.changed(), if !is_fixed => {
                    is_fixed = changed.is_err();
                    interval = *self.interval.borrow_and_update();
                    ticks = self::ticks(tokio::time::Instant::now() + interval, interval);
                    continue;
                }
            }
            let look = self.tracker.spawn_blocking(move || {
                let measures = machine.measure();
                (machine, measures)
            });
            let Ok((seen, measures)) = look.await else {
                return;
            };
            machine = seen;
            let at = self.clock.now();
            let latency = tokio::select! {
                biased;
                latency = self.client.latency(LATENCY_TIMEOUT.min(interval)) => latency,
                () = shutdown.cancelled() => None,
            };
            let event = self.event((&measures, interval), &at.to_string(), latency);
            if handle
                .keep(line(&event).into_iter().collect())
                .await
                .is_err()
            {
                return;
            }
        }
    }

    fn event(
        &self,
        (measures, interval): (&Measures, Duration),
        at: &str,
        latency: Option<Duration>,
    ) -> Value {
        let mut body = json!(measures);
        body["deviceId"] = Value::from(self.device.as_str());
        body["occurredAt"] = Value::from(at);
        body["provenance"] = Value::from("REAL");
        body["collectionIntervalSeconds"] = Value::from(interval.as_secs());
        if let Some(latency) = latency {
            let milliseconds = (latency.as_secs_f64() * 1e6).round() / 1e3;
            body["networkLatencyMs"] = Value::from(milliseconds);
        }
        json!({ "deviceMetrics": body })
    }
}

fn warn_of_shown_key(client: &Client) {
    if client.shows_key() {
        warn!(
            server.url = client.server(),
            "the access key is sent unencrypted; use https"
        );
    }
}

/// Ticks from an instant on; those that were missed are left out.
fn ticks(begin: tokio::time::Instant, interval: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval_at(begin, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}
