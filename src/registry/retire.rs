//! A device is retired: it counts no longer, and its access keys end with it in the same commit.

use std::collections::HashMap;

use serde_json::json;

use super::{
    Asked, DECISIONS_MAX, Given, RegistryError, Thing, event, first_of, held, is_as_read,
    is_repeated,
};
use crate::event::{Instant, NewEvent};
use crate::history::keys;
use crate::identity::{self, Made};
use crate::ingest::Ingest;
use crate::projections::keys::entity_of as key_entity;
use crate::store::{AppendError, Expect, Outcome, Store};

/// What became of a device that was to be retired.
#[derive(Debug, Default)]
pub struct Retired {
    /// Ids of the access keys that were revoked with it.
    pub revoked: Vec<String>,
}

/// Retires a device: its lifecycle is RETIRED, and the keys of which it is the holder hold no more, in one
/// commit. Retiring it again changes nothing.
///
/// # Errors
/// When there is no such device or it cannot be recorded.
pub async fn retire(
    ingest: &Ingest,
    device_id: &str,
    asked: Asked,
    (made, reason): (Made<'_>, Option<&str>),
) -> Result<Retired, RegistryError> {
    let (store, thing) = (ingest.store(), Thing::device(device_id));
    let given: Given = [("lifecycle".to_owned(), json!("RETIRED"))]
        .into_iter()
        .collect();
    for _ in 0..DECISIONS_MAX {
        if first_of(store, asked.event_id).await?.is_some() {
            is_repeated(store, thing, (&given, asked)).await?;
            return Ok(Retired::default());
        }
        // the versions first: what is read after them is at least as new
        let version = store.version(&thing.entity()).await?;
        let held = held(store, thing).await?.ok_or_else(|| thing.unknown())?;
        let (keys, versions) = keys_of(store, device_id, ingest.clock().now()).await?;
        let is_retired = held.fields.get("lifecycle") == given.get("lifecycle");
        if is_retired && keys.is_empty() {
            return Ok(Retired::default());
        }
        is_as_read(Some(&held), asked)?;
        let now = ingest.clock().now();
        let mut fields = held.fields.clone();
        fields.extend(given.clone());
        let mut events = vec![event(thing, fields, (Some(&held), now), asked)?];
        let revocation = |key: &String| identity::revocation(made, key, (reason, now));
        let revocations: Result<Vec<NewEvent>, _> = keys.iter().map(revocation).collect();
        events.extend(revocations.map_err(RegistryError::Refused)?);
        let of_keys = keys.iter().map(|key| {
            Expect::changing(
                key_entity(key),
                versions.get(&key_entity(key)).copied().unwrap_or(0),
            )
        });
        let of_device = Expect::changing(thing.entity(), version);
        let expected = of_keys.chain([of_device]);
        let appended = match ingest.command(events, expected).await {
            Err(AppendError::Stale { .. }) => continue,
            appended => appended?,
        };
        for outcome in &appended.outcomes {
            match outcome {
                Outcome::Recorded(position) => made.known(*position).await,
                Outcome::Rejected(refusal) => return Err(RegistryError::Refused(refusal.clone())),
                Outcome::Duplicate(_) | Outcome::Conflict(_) => {}
            }
        }
        return Ok(Retired { revoked: keys });
    }
    Err(RegistryError::Contended)
}

/// The keys that a device holds, with their versions as they were before they were read.
async fn keys_of(
    store: &Store,
    device_id: &str,
    now: Instant,
) -> Result<(Vec<String>, HashMap<String, i64>), RegistryError> {
    let names = |rows: &[keys::KeyRow]| -> Vec<String> {
        rows.iter().map(|row| key_entity(&row.key_id)).collect()
    };
    let found = keys::of_device(store, device_id, now).await?;
    let versions = store.versions(names(&found)).await?;
    let rows = keys::of_device(store, device_id, now).await?;
    Ok((rows.into_iter().map(|row| row.key_id).collect(), versions))
}
