//! Devices that come: one that is registered, anew or at another site than before, is told what holds for it
//! there and has not been applied by it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use entity::device_registrations::Column;
use serde_json::{Map, Value as Json, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::affected::{Telling, jobs_of};
use super::{ConfigurationError, DECISIONS_MAX};
use crate::event::{Event, own_id};
use crate::history::configuration as held;
use crate::ingest::Ingest;
use crate::kinds::Kind;
use crate::projections::checkpoint;
use crate::projections::settings::CONFIGURED;
use crate::store::{AppendError, Expect, Outcome, Store};
use crate::telemetry::chain;

/// Name of its checkpoint.
const CHECKPOINT: &str = "configuration_arrivals";
/// How long it waits after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// What it calls itself where faults are told.
const SOURCE: &str = "the configuration of devices that come";
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

/// What devices are to be told, with them.
type Told = BTreeMap<String, (Json, Vec<String>)>;

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
            let error = chain(&error).to_string();
            tracing::warn!(error, "devices that come are not told yet, will go on");
            let store = self.ingest.store();
            store.faults().tell(SOURCE, store.clock().now(), error);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY_AFTER) => {}
            }
        }
    }

    async fn follow(&self) -> Result<std::convert::Infallible, ConfigurationError> {
        let store = self.ingest.store();
        let from = checkpoint::position(store, CHECKPOINT).await?;
        let mut tail = store.tail(from, Some(&[Kind::DeviceRegistration]));
        loop {
            let events = tail.next().await?;
            let devices: BTreeSet<i64> = events.iter().filter_map(device_of).collect();
            let devices: Vec<i64> = devices.into_iter().collect();
            for devices in devices.chunks(DEVICES_AT_ONCE) {
                self.tell(devices).await?;
            }
            checkpoint::advance(store, CHECKPOINT, tail.position()).await?;
        }
    }

    /// Tells devices what they have not applied. What is told again after a crash, or on two nodes, is told
    /// once.
    async fn tell(&self, devices: &[i64]) -> Result<(), ConfigurationError> {
        let store = self.ingest.store();
        for _ in 0..DECISIONS_MAX {
            // the version first: what is read after it is at least as new
            let version = store.version(CONFIGURED).await?;
            let told = pending(store, devices).await?;
            if told.is_empty() {
                return Ok(());
            }
            let titled = |ids: &[String]| match ids {
                [one] => format!("Configuration that holds for {one}"),
                several => format!("Configuration that holds for {} devices", several.len()),
            };
            let mut steps = Vec::new();
            for (payload, devices) in told.into_values() {
                let what = json!([payload, devices]).to_string();
                let telling = Telling {
                    title: titled(&devices),
                    by: BY,
                    command: own_id(&ARRIVALS, what.as_bytes()),
                };
                let one = [(payload, devices)].into_iter();
                steps.extend(jobs_of(&telling, one, store.clock().now())?.1);
            }
            let expect = Expect::reading(CONFIGURED.to_owned(), version);
            match self.ingest.command(steps, Some(expect)).await {
                Err(AppendError::Stale { .. }) => {}
                appended => {
                    let mut outcomes = appended?.outcomes.into_iter();
                    let refused = outcomes.find_map(|outcome| match outcome {
                        Outcome::Rejected(refusal) => Some(refusal),
                        // told before, at another time
                        Outcome::Conflict(_) | Outcome::Duplicate(_) | Outcome::Recorded(_) => None,
                    });
                    return refused.map_or(Ok(()), |refusal| Err(refusal.into()));
                }
            }
        }
        Err(ConfigurationError::Contended)
    }
}

fn device_of(event: &Arc<Event>) -> Option<i64> {
    event.fact.cell(Column::DeviceKey).int()
}

/// What some devices have not applied of what holds for them, those that are to be told the same together.
async fn pending(store: &Store, devices: &[i64]) -> Result<Told, ConfigurationError> {
    let ids = held::serving_among(store, devices).await?;
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let allowance = Store::own_allowance();
    let mut told = Told::new();
    for (id, values) in held::effective(store, ("DEVICE", &ids), &allowance).await? {
        let values = values
            .into_iter()
            .filter(|one| one.is_applied() == Some(false));
        let parameters: Map<String, Json> = values.map(|one| (one.parameter, one.value)).collect();
        if !parameters.is_empty() {
            let payload = json!({ "parameters": parameters });
            let of = told.entry(payload.to_string());
            of.or_insert_with(|| (payload, Vec::new())).1.push(id);
        }
    }
    for (_, devices) in told.values_mut() {
        devices.sort_unstable();
    }
    Ok(told)
}
