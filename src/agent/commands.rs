//! The agent does what its device is commanded: it asks for commands when it hears that there are some, and now
//! and then, acknowledges each, does it, and tells how that ended.
//!
//! What it has done it notes in its spool folder before it tells it, so that a command that comes again,
//! also after the machine was switched off, is answered as before and not done again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::deeds::{self, Deed, Means};
use super::ledger::{Answer, Ledger};
use crate::client::{CallError, Client, Command, Remedy};
use crate::telemetry::chain;

/// How often it asks at most of itself.
const ASKS_AFTER: Duration = Duration::from_secs(1);
/// How long it leaves a server alone that will have none of it.
pub(super) const HELD_OFF: Duration = Duration::from_mins(10);

/// Commands at most that it asks for at once.
const AT_ONCE_MAX: u16 = 100;

/// Whether a server will have none of it. A device that is not registered yet is not found, and will be.
pub(super) fn is_held_off(error: &CallError) -> bool {
    error.remedy() == Remedy::Hold && error.code() != Some("NOT_FOUND")
}

/// Does what its device is commanded.
pub(super) struct Commander {
    pub(super) client: Client,
    pub(super) device: String,
    /// Files of whose newest lines it may tell.
    pub(super) log_files: Vec<PathBuf>,
    pub(super) ledger: Ledger,
    /// Told when there is something to ask for.
    pub(super) heard: Arc<Notify>,
    /// How often it asks at least, whatever it hears.
    pub(super) asks_every: Duration,
    /// The time between two samples, which it may be told to change.
    pub(super) interval: watch::Sender<Duration>,
    pub(super) tracker: TaskTracker,
}

impl Commander {
    /// Does commands until it is told to stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut is_told = false;
        loop {
            let mut wait = (*self.interval.borrow()).max(ASKS_AFTER);
            wait = wait.min(self.asks_every);
            match self.look().await {
                Ok(()) => is_told = false,
                Err(error) => {
                    if is_held_off(&error) {
                        wait = HELD_OFF;
                        if !is_told {
                            let error = chain(&error).to_string();
                            warn!(
                                error,
                                "this agent is given no commands; its key is one of the role DEVICE or ADMIN?"
                            );
                        }
                        is_told = true;
                    } else {
                        // the server is away, which the sender tells
                        debug!(error = %chain(&error), "cannot ask for commands");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.heard.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn look(&mut self) -> Result<(), CallError> {
        let device = Some(self.device.as_str());
        for command in self.client.pending_commands(device, AT_ONCE_MAX).await? {
            self.obey(command).await?;
        }
        Ok(())
    }

    async fn obey(&mut self, command: Command) -> Result<(), CallError> {
        let id = command.id.clone();
        if let Some(answer) = self.ledger.answer(&id) {
            return self.tell(&id, &answer).await;
        }
        if !self.client.acknowledge_command(&id).await? {
            // it was taken back meanwhile
            return Ok(());
        }
        info!(
            command.id = id,
            job.kind = command.job_type,
            "doing what was commanded"
        );
        let latency = self.client.latency(deeds::LATENCY_WITHIN).await;
        let means = Means {
            folder: self.ledger.folder().to_owned(),
            log_files: self.log_files.clone(),
            latency,
        };
        let deed = self.tracker.spawn_blocking(move || {
            deeds::act(&command.job_type, command.payload.as_ref(), &means)
        });
        let Ok(Deed { answer, interval }) = deed.await else {
            return Ok(());
        };
        if let Err(error) = self.ledger.keep(&id, &answer, interval) {
            warn!(%error, "cannot note what was done; it is not told, and will be done again");
            return Ok(());
        }
        if let Some(interval) = interval {
            self.interval.send_replace(interval);
        }
        self.tell(&id, &answer).await
    }

    /// Tells how a command ended; one whose answer is not taken ended with that. To tell it again would be of
    /// no use, and nothing that comes after it would be done.
    async fn tell(&self, id: &str, answer: &Answer) -> Result<(), CallError> {
        let Some(why) = self.complete(id, answer).await? else {
            return Ok(());
        };
        warn!(
            command.id = id,
            refused = why,
            "the server does not take what was done"
        );
        let instead = deeds::not_taken(&why);
        if let Some(why) = self.complete(id, &instead).await? {
            warn!(
                command.id = id,
                refused = why,
                "nor that it does not take it"
            );
        }
        Ok(())
    }

    /// Completes a command; why the server does not take the answer, if it finds fault with that.
    async fn complete(&self, id: &str, answer: &Answer) -> Result<Option<String>, CallError> {
        let mut input = json!(answer);
        input["commandId"] = Value::from(id);
        let refused = match self.client.complete_command(&input).await {
            Err(error) if error.is_fault_of_events() => {
                return Ok(Some(chain(&error).to_string()));
            }
            completed => completed?,
        };
        let Some(refused) = refused else {
            return Ok(None);
        };
        let mut errors = refused.as_array().into_iter().flatten();
        if let Some(error) = errors.find(|error| error["code"] == "INVALID") {
            let why = error["message"].as_str().unwrap_or_default();
            return Ok(Some(why.to_owned()));
        }
        info!(command.id = id, %refused, "what was done came too late");
        Ok(None)
    }
}
