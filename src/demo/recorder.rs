//! Records what the fleet does, however long the log refuses: nothing of it is lost.

use std::time::Duration;

use serde_json::Value as Json;
use tokio_util::sync::CancellationToken;

use crate::event::Instant;
use crate::ingest::{Given, Ingest, Patience};
use crate::kinds::{Kind, parse_any};
use crate::store::EVENTS_MAX;
use crate::telemetry::chain;

/// Wait after the first failure; doubled with each further one.
const WAIT_FIRST: Duration = Duration::from_millis(250);
/// Longest wait.
const WAIT_MOST: Duration = Duration::from_secs(30);

/// Records until it is told to stop.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    pub(super) ingest: Ingest,
    pub(super) stop: CancellationToken,
}

impl Recorder {
    /// Records events, but none that occurred at an instant or before. A batch that fails is kept
    /// and tried again: its events have ids, so that what was stored of it is a duplicate then.
    pub(super) async fn record(&self, events: &[Json], after: Option<Instant>) {
        let now = self.ingest.clock().now();
        for events in events.chunks(EVENTS_MAX) {
            let mut failures = 0;
            loop {
                let given = events.iter().filter_map(|event| read(event, now, after));
                let given: Vec<Given> = given.collect();
                let recorded = self.ingest.record(given, None, Patience::Unlimited).await;
                let Err(error) = recorded else { break };
                if failures == 0 {
                    tracing::warn!(error = %chain(&error), "the simulated fleet cannot be recorded; it is kept and tried again");
                }
                failures += 1;
                if !self.pause(failures).await {
                    return;
                }
            }
            if failures > 0 {
                tracing::info!("the simulated fleet is recorded again");
            }
        }
    }

    /// Waits after a number of failures in a row; false when it is time to stop.
    pub(super) async fn pause(&self, failures: u32) -> bool {
        let factor = 1_u32.checked_shl(failures.saturating_sub(1));
        let wait = WAIT_FIRST.saturating_mul(factor.unwrap_or(u32::MAX));
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(wait.min(WAIT_MOST)) => true,
        }
    }
}

fn read(event: &Json, now: Instant, after: Option<Instant>) -> Option<Given> {
    let kind = event
        .as_object()
        .and_then(|entries| Kind::of_wire(entries.keys().next()?));
    let parsed = parse_any(event, now);
    let is_told = |event: &crate::event::NewEvent| Some(event.fact.occurred_at) <= after;
    if parsed.as_ref().is_ok_and(is_told) {
        return None;
    }
    Some((kind, parsed))
}
