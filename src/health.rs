//! Sees to it that silence becomes a state: a device that is not heard of any more is OFFLINE, and
//! ONLINE when it returns. A state is recorded only when it really changes.
//!
//! One timer for each device, ordered by when it is due; no scan. Only devices that report live are
//! watched: history that is imported says nothing of now.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use entity::{device_metrics, device_state_history as states};
use sea_orm::EntityTrait;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::event::{Event, Instant, NewEvent, Position, Provenance};
use crate::ingest::{Ingest, Patience};
use crate::kinds::{Draft, Kind, Refusal};
use crate::store::{Doing, StoreError};

/// A report this much older than its recording is history, not a sign of life.
const LIVE_MS: i64 = 10 * 60 * 1_000;
/// Intervals of a device that may pass in silence.
const INTERVALS_MAX: i64 = 3;
/// How often the timers are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Devices that were heard of this long before a start are watched from it on.
const REMEMBERED_MS: i64 = 7 * 24 * 3_600 * 1_000;

#[derive(Clone, Debug)]
struct Watched {
    device_id: String,
    heard_at: Instant,
    due_at: Instant,
    offline: bool,
    provenance: Provenance,
}

/// Watches over the silence of devices.
#[derive(Debug)]
pub struct Health {
    ingest: Ingest,
    silence_ms: i64,
    devices: HashMap<i64, Watched>,
    due: BTreeSet<(Instant, i64)>,
}

impl Health {
    /// Watches through a door; a device is silent after this many seconds at least.
    #[must_use]
    pub fn new(ingest: Ingest, offline_after_seconds: u32) -> Self {
        let silence_ms = i64::from(offline_after_seconds) * 1_000;
        Self {
            ingest,
            silence_ms,
            devices: HashMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// Watches until it is told to stop.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), StoreError> {
        let head = self.ingest.store().head();
        self.remember().await?;
        let kinds = &[Kind::DeviceMetrics, Kind::DeviceStateChange];
        let mut tail = self.ingest.store().tail(head, Some(kinds));
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            let found = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                events = tail.next() => self.hear(&events?),
                _ = looks.tick() => self.silent(self.ingest.clock().now()),
            };
            let events: Vec<_> = found
                .into_iter()
                .filter_map(|drafted| drafted.ok())
                .map(|event| (Some(Kind::DeviceStateChange), Ok(event)))
                .collect();
            if !events.is_empty()
                && let Err(error) = self.ingest.record(events, None, Patience::Unlimited).await
            {
                let error = crate::telemetry::chain(&error).to_string();
                tracing::warn!(
                    error,
                    "cannot record that devices are silent or have returned"
                );
            }
        }
    }

    /// Begins with the devices that were alive not long ago: each has its whole time from now.
    async fn remember(&mut self) -> Result<(), StoreError> {
        let store = self.ingest.store().clone();
        let now = self.ingest.clock().now();
        let rows = entity::device_status::Entity::find()
            .all(store.readers())
            .await;
        for row in rows.doing("read the state of devices")? {
            let Some(seen) = row
                .last_seen_at
                .filter(|at| *at > now.plus_ms(-REMEMBERED_MS).0)
            else {
                continue;
            };
            let place = row
                .metrics_position
                .zip(row.metrics_at)
                .map(|(position, at)| crate::store::Place {
                    position: Position(position),
                    occurred_at: Instant(at),
                });
            let Some(place) = place else { continue };
            let events = store.at(Kind::DeviceMetrics, &[place]).await?;
            let Some(event) = events.first() else {
                continue;
            };
            let offline = row.state.as_deref() == Some("OFFLINE");
            self.watch(row.device_key, event, (Instant(seen), now), offline);
        }
        Ok(())
    }

    fn watch(&mut self, key: i64, event: &Event, (heard, from): (Instant, Instant), offline: bool) {
        let interval = event
            .fact
            .cell(device_metrics::Column::CollectionIntervalSeconds)
            .int();
        let own = interval.unwrap_or(0).saturating_mul(INTERVALS_MAX * 1_000);
        let due_at = from.plus_ms(own.max(self.silence_ms));
        let id = event
            .fact
            .cell(device_metrics::Column::DeviceKey)
            .text()
            .unwrap_or_default();
        let watched = Watched {
            device_id: id.to_owned(),
            heard_at: heard,
            due_at,
            offline,
            provenance: event.fact.provenance,
        };
        if let Some(before) = self.devices.insert(key, watched) {
            self.due.remove(&(before.due_at, key));
        }
        if !offline {
            self.due.insert((due_at, key));
        }
    }

    /// Takes signs of life and states; answers with the devices that have returned.
    fn hear(&mut self, events: &[std::sync::Arc<Event>]) -> Vec<Result<NewEvent, Refusal>> {
        let mut returned = Vec::new();
        for event in events {
            if event.fact.kind == Kind::DeviceStateChange {
                self.take_state(event);
                continue;
            }
            let at = event.fact.occurred_at;
            let Some(key) = event.fact.cell(device_metrics::Column::DeviceKey).int() else {
                continue;
            };
            if at < event.recorded_at.plus_ms(-LIVE_MS) {
                continue;
            }
            let before = self.devices.get(&key);
            if before.is_some_and(|watched| at < watched.heard_at) {
                continue;
            }
            if before.is_some_and(|watched| watched.offline) {
                let id = event.fact.cell(device_metrics::Column::DeviceKey).text();
                let (id, of) = (id.unwrap_or_default(), event.fact.provenance);
                returned.push(change(id, "ONLINE", at, of, "heard of again".to_owned()));
            }
            self.watch(key, event, (at, at.max(event.recorded_at)), false);
        }
        returned
    }

    /// A state that somebody else has reported.
    fn take_state(&mut self, event: &Event) {
        let Some(key) = event.fact.cell(states::Column::DeviceKey).int() else {
            return;
        };
        let Some(watched) = self.devices.get_mut(&key) else {
            return;
        };
        if event.fact.occurred_at < watched.heard_at {
            return;
        }
        let offline = event.fact.cell(states::Column::NewState).text() == Some("OFFLINE");
        watched.offline = offline;
        if offline {
            self.due.remove(&(watched.due_at, key));
        } else {
            self.due.insert((watched.due_at, key));
        }
    }

    /// The devices whose time has passed.
    fn silent(&mut self, now: Instant) -> Vec<Result<NewEvent, Refusal>> {
        let mut silent = Vec::new();
        while let Some((due_at, key)) = self.due.first().copied() {
            if due_at > now {
                break;
            }
            self.due.pop_first();
            let Some(watched) = self.devices.get_mut(&key) else {
                continue;
            };
            watched.offline = true;
            let seconds = (now.0 - watched.heard_at.0) / 1_000_000;
            let reason = format!("not heard of for {seconds} s");
            silent.push(change(
                &watched.device_id,
                "OFFLINE",
                now,
                watched.provenance,
                reason,
            ));
        }
        silent
    }
}

/// Namespace of the ids of these changes: two nodes that see the same silence record it once.
const CHANGES: Uuid = Uuid::from_u128(0x7b1d_35a2_90f4_4c86_b6a4_1ad0_59e3_5f13);

fn change(
    device_id: &str,
    state: &str,
    at: Instant,
    provenance: Provenance,
    reason: String,
) -> Result<NewEvent, Refusal> {
    let id = Uuid::new_v5(&CHANGES, format!("{device_id}/{state}/{}", at.0).as_bytes());
    Draft::new(Kind::DeviceStateChange, at, provenance)
        .event_id(id)
        .set(states::Column::DeviceKey, device_id)
        .set(states::Column::NewState, state)
        .set(states::Column::ChangedBy, "health-check")
        .set(states::Column::Reason, reason.as_str())
        .finish()
}
