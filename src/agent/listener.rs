//! The agent hears that its device is commanded something when that happens, and not when it asks the next time.
//!
//! Where it hears of nothing, it goes on asking, so that all that is lost is time.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use tokio::sync::Notify;
use tokio::time::Instant as Moment;
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
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = self.hear() => ended,
            };
            failures = if began.elapsed() < LASTS {
                failures.saturating_add(1)
            } else {
                1
            };
            let wait = self.wait(&ended, failures);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
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

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::client::ClientConfig;
    use crate::clock::Clock;

    #[test]
    fn where_there_is_no_place_for_it_it_comes_back_ever_more_seldom() {
        let config = ClientConfig {
            server: "http://127.0.0.1:9".to_owned(),
            ca: None,
            key: None,
            connect_timeout: LASTS,
            timeout: LASTS,
        };
        let mut listener = Listener {
            client: Client::new(&config, Clock::system()).unwrap(),
            device: "d".to_owned(),
            heard: Arc::default(),
            rng: StdRng::seed_from_u64(1),
        };
        let asked = Duration::from_secs(1);
        let refused = Err(CallError::Refused {
            status: 503,
            code: Some("OVERLOADED".to_owned()),
            remedy: Remedy::Retry(Some(asked)),
        });
        let mut waits = |failures| {
            let waits = (0..1_000).map(|_| listener.wait(&refused, failures));
            let waits: Vec<Duration> = waits.collect();
            assert!(waits.iter().all(|wait| *wait >= asked));
            waits.iter().sum::<Duration>() / 1_000
        };
        assert!(waits(1) < Duration::from_secs(2));
        for failures in [8, 1_000] {
            let wait = waits(failures);
            assert!(wait > Duration::from_secs(25), "{failures}: {wait:?}");
            assert!(wait < LASTS, "{failures}: {wait:?}");
        }
    }
}
