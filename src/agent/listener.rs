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
/// How long it leaves a server alone that has no place for one more who follows, as with a large fleet: what is asked
/// every few seconds anyway comes hardly later.
const CROWDED: Backoff = Backoff {
    first: Duration::from_mins(1),
    most: Duration::from_mins(10),
    asked_most: Duration::from_mins(10),
};

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
        let (mut backoff, mut asked) = (Backoff::default(), None);
        if let Err(error) = ended {
            debug!(error = %chain(error), "commands are not heard of");
            if is_held_off(error) {
                return HELD_OFF;
            }
            if error.code() == Some("OVERLOADED") {
                backoff = CROWDED;
            }
            if let Remedy::Retry(after) = error.remedy() {
                asked = after;
            }
        }
        backoff.wait(failures, asked, &mut self.rng)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;
    use crate::client::ClientConfig;
    use crate::clock::Clock;

    /// The mean of how long it waits after it was refused so often.
    fn mean_wait(code: &str, failures: u32) -> Duration {
        let config = ClientConfig {
            server: "http://127.0.0.1:9".to_owned(),
            ca: None,
            key: None,
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        };
        let mut listener = Listener {
            client: Client::new(&config, Clock::system()).unwrap(),
            device: "d".to_owned(),
            heard: Arc::default(),
            rng: StdRng::seed_from_u64(1),
        };
        let ended = Err(CallError::Refused {
            status: 503,
            code: Some(code.to_owned()),
            remedy: Remedy::Retry(Some(Duration::from_secs(1))),
        });
        let waits = (0..1_000).map(|_| listener.wait(&ended, failures));
        waits.sum::<Duration>() / 1_000
    }

    #[test]
    fn a_server_that_has_no_place_is_asked_for_one_every_few_minutes() {
        assert!(mean_wait("OVERLOADED", 1) > Duration::from_secs(25));
        assert!(mean_wait("OVERLOADED", 9) > Duration::from_mins(4));
        // one that is away may be back at any moment
        assert!(mean_wait("UNAVAILABLE", 9) < Duration::from_mins(1));
    }
}
