//! The agent hears that its device is commanded something when that happens, and not when it asks the next time.
//!
//! Where it hears of nothing, it goes on asking, so that all that is lost is time.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use tokio::sync::Notify;
use tokio::time::{Instant as Moment, sleep};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::commands::{HELD_OFF, is_held_off};
use crate::client::{Backoff, CallError, Client, Remedy};
use crate::telemetry::chain;

/// A stream that has lasted so long did not fail.
const LASTS: Duration = Duration::from_mins(1);

/// Hears of commands to the device.
pub(super) struct Listener {
    pub(super) client: Client,
    pub(super) device: String,
    /// Told when there is something to ask for.
    pub(super) heard: Arc<Notify>,
    pub(super) rng: StdRng,
}

impl Listener {
    /// Hears until it is told to stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut failures = 0_u32;
        loop {
            let began = Moment::now();
            let Some(ended) = stop.run_until_cancelled(self.hear()).await else {
                return;
            };
            failures = if began.elapsed() < LASTS {
                failures.saturating_add(1)
            } else {
                1
            };
            let wait = self.wait(&ended, failures);
            if stop.run_until_cancelled(sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    /// Hears until the stream ends, which it does with the server.
    async fn hear(&self) -> Result<(), CallError> {
        let mut stream = self.client.hear_of_commands(Some(&self.device)).await?;
        while stream.next().await? {
            self.heard.notify_one();
        }
        Ok(())
    }

    /// How long it waits before it listens again.
    fn wait(&mut self, ended: &Result<(), CallError>, failures: u32) -> Duration {
        let mut asked = None;
        if let Err(error) = ended {
            debug!(error = %chain(error), "commands are not heard of");
            if is_held_off(error) {
                return HELD_OFF;
            }
            if let Remedy::Retry(after) = error.remedy() {
                asked = after;
            }
        }
        Backoff::default().wait(failures, asked, &mut self.rng)
    }
}
