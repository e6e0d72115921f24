//! The devices of a simulated fleet do what they are commanded, as a client of the public API.
//!
//! It asks now and then for all commands within reach and takes those to devices of the fleet. How each
//! ends the fleet says; it is told when its time is over. What was taken and not told when the process
//! ends is taken again by the next.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant as Moment;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::client::{CallError, Client, Command, Remedy};
use crate::fleet::{JobResult, JobStatus};
use crate::telemetry::chain;

/// How often it asks for commands.
const ASKS_EVERY: Duration = Duration::from_secs(2);
/// How often it looks whose time is over.
const LOOKS_EVERY: Duration = Duration::from_millis(200);
/// How long it leaves a server alone that will have none of it.
const HELD_OFF: Duration = Duration::from_mins(10);
/// Commands at most at which it is at once.
const AT_ONCE_MAX: usize = 10_000;

/// Commands at most that it asks for at once.
const ASKED_FOR_MAX: u16 = 1_000;

/// What a device of the fleet is asked: how a job will have ended on it. `None` is answered of a device
/// that the fleet does not have.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) device_id: String,
    pub(super) job_type: String,
    pub(super) job_id: String,
    pub(super) payload: Value,
    pub(super) answer: oneshot::Sender<Option<JobResult>>,
}

/// Does what the devices are commanded.
pub(super) struct Obedience {
    client: Client,
    fleet: mpsc::Sender<Asked>,
    /// Commands that it has met and is not to take again.
    met: HashSet<String>,
    /// What is to be told, by when and by its ordinal.
    due: BTreeMap<(Moment, u64), Value>,
    ordinal: u64,
}

impl Obedience {
    pub(super) fn new(client: Client, fleet: mpsc::Sender<Asked>) -> Self {
        Self {
            client,
            fleet,
            met: HashSet::new(),
            due: BTreeMap::new(),
            ordinal: 0,
        }
    }

    /// Obeys until it is told to stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut asks_at = Moment::now();
        loop {
            if Moment::now() >= asks_at {
                let looked = self.look().await;
                asks_at = Moment::now() + wait_after(looked);
            }
            self.tell_due().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOKS_EVERY) => {}
            }
        }
    }

    async fn look(&mut self) -> Result<(), CallError> {
        let asked = self.client.pending_commands(None, ASKED_FOR_MAX);
        let commands = asked.await?;
        let open: HashSet<&str> = commands.iter().map(|one| one.id.as_str()).collect();
        // those that are over need not be remembered
        self.met.retain(|id| open.contains(id.as_str()));
        for command in &commands {
            if self.due.len() < AT_ONCE_MAX && !self.met.contains(&command.id) {
                self.take(command).await?;
            }
        }
        Ok(())
    }

    async fn take(&mut self, command: &Command) -> Result<(), CallError> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked {
            device_id: command.device_id.clone(),
            job_type: command.job_type.clone(),
            job_id: command.job_id.clone(),
            payload: command.payload.clone().unwrap_or_default(),
            answer,
        };
        let Ok(()) = self.fleet.send(asked).await else {
            return Ok(());
        };
        let Ok(Some(result)) = answered.await else {
            self.met.insert(command.id.clone());
            return Ok(());
        };
        if result.status == JobStatus::Error {
            // it is away, and hears of it when it is back
            return Ok(());
        }
        let is_taken = self.client.acknowledge_command(&command.id).await?;
        self.met.insert(command.id.clone());
        if is_taken && result.status != JobStatus::Timeout {
            let ends_at = Moment::now() + Duration::from_millis(u64::from(result.duration_ms));
            self.ordinal += 1;
            let answer = json!({
                "commandId": command.id,
                "status": result.status.word(),
                "durationMs": result.duration_ms.to_string(),
                "errorCode": result.error_code,
                "errorMessage": result.error_message,
            });
            self.due.insert((ends_at, self.ordinal), answer);
        }
        Ok(())
    }

    /// Tells how commands ended whose time is over; those that cannot be told are kept.
    async fn tell_due(&mut self) {
        while let Some(first) = self.due.first_entry() {
            if first.key().0 > Moment::now() {
                return;
            }
            let (key, input) = first.remove_entry();
            if let Err(error) = self.client.complete_command(&input).await {
                debug!(error = %chain(&error), "cannot tell how a command ended");
                self.due.insert((key.0 + ASKS_EVERY, key.1), input);
                return;
            }
        }
    }
}

/// How long it waits before it asks again.
fn wait_after(looked: Result<(), CallError>) -> Duration {
    match looked {
        Ok(()) => ASKS_EVERY,
        Err(error) if error.remedy() == Remedy::Hold => {
            let error = chain(&error).to_string();
            warn!(
                error,
                "the fleet is given no commands; its key is one of the role ADMIN?"
            );
            HELD_OFF
        }
        Err(error) => {
            debug!(error = %chain(&error), "cannot ask for commands");
            ASKS_EVERY
        }
    }
}
