//! Devices that come: one that is registered, anew or at another site than before, is told what holds for it
//! there and has not been applied by it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use entity::device_registrations::Column;
use serde_json::{Map, Value as Json, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::affected::{Telling, Told, jobs_of};
use super::{ConfigurationError, DECISIONS_MAX, EFFECTIVE_AT_ONCE};
use crate::event::{Event, Instant, NewEvent, Position, own_id};
use crate::history::configuration::{self as held, Effective};
use crate::ingest::Ingest;
use crate::kinds::Kind;
use crate::projections::checkpoint;
use crate::projections::settings::CONFIGURED;
use crate::store::{AppendError, EntityType, Expect, Failing, Outcome, Store};
use crate::telemetry::chain;

/// Name of its checkpoint.
const CHECKPOINT: &str = "configuration_arrivals";
/// How long it waits after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// What it calls itself where faults are told.
const SOURCE: &str = "the configuration of devices that come";
/// How it goes on after a failure.
const FAILING: Failing = Failing {
    source: SOURCE,
    effect: "devices that come are not told yet, will go on",
    waits: RETRY_AFTER,
};
/// How long a command that was decided before a device came may take until it is recorded.
const RECENT_MS: i64 = 60_000;
/// What it follows.
const KINDS: &[Kind] = &[Kind::DeviceRegistration, Kind::ConfigurationSetting];
/// Devices at most that are looked at together.
const DEVICES_AT_ONCE: usize = 500;
/// On whose behalf they are told.
const BY: &str = "server";
/// Namespace of the ids of what it does.
const ARRIVALS: Uuid = Uuid::from_u128(0x0c4d_71fe_2b90_4f6a_a1d8_58e3_90b7_6c15);

/// Tells devices that come.
#[derive(Debug)]
pub struct Arrivals {
    ingest: Ingest,
}

/// Devices that came, with where and when that was recorded last.
type Devices = BTreeMap<i64, (Position, Instant)>;

impl Arrivals {
    /// One that records through a door.
    #[must_use]
    pub const fn new(ingest: Ingest) -> Self {
        Self { ingest }
    }

    /// Tells until it is told to stop. After a failure of the log it goes on from its checkpoint.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let Err(error) = tokio::select! {
                () = stop.cancelled() => return,
                followed = self.follow() => followed,
            };
            FAILING.failed(self.ingest.store(), &error, &stop).await;
        }
    }

    async fn follow(&self) -> Result<std::convert::Infallible, ConfigurationError> {
        let store = self.ingest.store();
        let from = checkpoint::position(store, CHECKPOINT).await?;
        let mut tail = store.tail(from, Some(KINDS));
        let mut recent = Devices::new();
        loop {
            let events = tail.next().await?;
            let Some(last) = events.last() else { continue };
            let since = last.recorded_at.plus_ms(-RECENT_MS);
            recent.retain(|_, (_, at)| *at >= since);
            let come: Devices = events.iter().filter_map(come).collect();
            let is_set = events
                .iter()
                .any(|event| event.fact.kind == Kind::ConfigurationSetting);
            // what was being set as they came may have been decided without them
            recent.extend(come.clone());
            let concerned = if is_set { &recent } else { &come };
            let concerned: Vec<(i64, Position)> = concerned
                .iter()
                .map(|(key, (position, _))| (*key, *position))
                .collect();
            for devices in concerned.chunks(DEVICES_AT_ONCE) {
                self.tell(devices).await?;
            }
            checkpoint::advance(store, CHECKPOINT, tail.position()).await?;
        }
    }

    /// Tells devices what they have not applied since they came. What is told again after a crash, or on two
    /// nodes, is told once.
    async fn tell(&self, devices: &[(i64, Position)]) -> Result<(), ConfigurationError> {
        let store = self.ingest.store();
        for _ in 0..DECISIONS_MAX {
            // the version first: what is read after it is at least as new
            let version = store.version(CONFIGURED).await?;
            let mut steps = Vec::new();
            for (parameters, ids) in pending(store, devices).await?.into_parts() {
                steps.extend(self.steps(devices, (parameters, ids)).await?);
            }
            if steps.is_empty() {
                return Ok(());
            }
            let expect = Expect::reading(CONFIGURED.to_owned(), version);
            match self.ingest.command(steps, Some(expect)).await {
                Err(AppendError::Stale { .. }) => {}
                // the log is busy for all: soon again
                Err(AppendError::Overloaded) => tokio::time::sleep(RETRY_AFTER).await,
                appended => {
                    let refused =
                        appended?
                            .outcomes
                            .into_iter()
                            .find_map(|outcome| match outcome {
                                Outcome::Rejected(refusal) => Some(refusal),
                                // told before, at another time
                                Outcome::Conflict(_)
                                | Outcome::Duplicate(_)
                                | Outcome::Recorded(_) => None,
                            });
                    if let Some(refusal) = refused {
                        self.cannot_tell(&refusal.message);
                    }
                    return Ok(());
                }
            }
        }
        Err(ConfigurationError::Contended)
    }

    /// The steps with which some devices are told the same. What cannot be told holds up nobody else.
    async fn steps(
        &self,
        devices: &[(i64, Position)],
        (parameters, ids): (Map<String, Json>, Vec<String>),
    ) -> Result<Vec<NewEvent>, ConfigurationError> {
        let store = self.ingest.store();
        let title = match ids.as_slice() {
            [one] => format!("Configuration that holds for {one}"),
            several => format!("Configuration that holds for {} devices", several.len()),
        };
        let mut come = Vec::with_capacity(ids.len());
        for id in &ids {
            let key = store.key(EntityType::Device, id).await?;
            let device = devices.iter().find(|(of, _)| Some(*of) == key);
            come.extend(device.map(|(_, position)| position.0));
        }
        let what = json!([parameters, ids, come]).to_string();
        let telling = Telling {
            title,
            by: BY,
            command: own_id(&ARRIVALS, what.as_bytes()),
        };
        match jobs_of(&telling, [(parameters, ids)], store.clock().now()) {
            Ok((_, steps)) => Ok(steps),
            Err(error @ (ConfigurationError::Store(_) | ConfigurationError::Append(_))) => {
                Err(error)
            }
            Err(error) => {
                self.cannot_tell(&chain(&error).to_string());
                Ok(Vec::new())
            }
        }
    }

    fn cannot_tell(&self, why: &str) {
        tracing::error!(
            error = why,
            "devices that came cannot be told their configuration"
        );
        let store = self.ingest.store();
        let message = format!("devices that came cannot be told their configuration: {why}");
        store.faults().tell(SOURCE, store.clock().now(), message);
    }
}

/// A device that comes, with where and when that was recorded.
fn come(event: &Arc<Event>) -> Option<(i64, (Position, Instant))> {
    let is_it = event.fact.kind == Kind::DeviceRegistration;
    let device = event.fact.cell(Column::DeviceKey).int();
    let device = device.filter(|_| is_it)?;
    Some((device, (event.position, event.recorded_at)))
}

/// What some devices are being told: by their ids, of each parameter the last value.
async fn telling(
    store: &Store,
    keys: &[i64],
) -> Result<BTreeMap<String, Map<String, Json>>, ConfigurationError> {
    let mut telling: BTreeMap<String, Map<String, Json>> = BTreeMap::new();
    for (key, payload) in held::telling(store, keys).await? {
        let Some(id) = store.id(key).await? else {
            continue;
        };
        let mut payload = payload.as_deref().map(held::json).unwrap_or_default();
        let parameters = payload["parameters"].take();
        let of = telling.entry(id.to_string()).or_default();
        if let Json::Object(parameters) = parameters {
            of.extend(parameters);
        }
    }
    Ok(telling)
}

/// What some devices have not applied of what holds for them, and are not being told.
async fn pending(store: &Store, devices: &[(i64, Position)]) -> Result<Told, ConfigurationError> {
    let keys: Vec<i64> = devices.iter().map(|(key, _)| *key).collect();
    let ids = held::serving_among(store, &keys).await?;
    let open = telling(store, &keys).await?;
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut told = Told::default();
    for ids in ids.chunks(EFFECTIVE_AT_ONCE) {
        let allowance = Store::own_allowance();
        let mut values = held::effective(store, ("DEVICE", ids), &allowance).await?;
        for id in ids {
            let is_being_told = |one: &Effective| {
                let open = open.get(*id);
                open.and_then(|told| told.get(&one.parameter)) == Some(&one.value)
            };
            let values = values.remove(*id).unwrap_or_default().into_iter();
            let values =
                values.filter(|one| one.is_applied() == Some(false) && !is_being_told(one));
            let parameters = values.map(|one| (one.parameter, one.value)).collect();
            told.add(parameters, (*id).to_owned());
        }
    }
    Ok(told)
}
