//! What is registered of a thing now, as its fields stand on the wire.

use serde_json::{Value as Json, json};

use super::{Given, Thing};
use crate::history::fleet;
use crate::store::{EntityType, Store, StoreError};

/// A thing as it is registered.
#[derive(Debug)]
pub(super) struct Held {
    /// Position of its registration.
    pub(super) position: i64,
    /// Since when it holds, in microseconds since 1970.
    pub(super) since: i64,
    /// What it says, without the id.
    pub(super) fields: Given,
}

/// What is registered of a thing, if it is.
pub(super) async fn held(store: &Store, thing: Thing<'_>) -> Result<Option<Held>, StoreError> {
    let allowance = Store::own_allowance();
    if thing.is_site() {
        let Some(key) = store.key(EntityType::Site, thing.id).await? else {
            return Ok(None);
        };
        let mut sites = fleet::sites_by_key(store, &[key], &allowance).await?;
        return Ok(sites.remove(&key).map(|site| of_site(&site)));
    }
    let Some(key) = store.key(EntityType::Device, thing.id).await? else {
        return Ok(None);
    };
    let mut devices = fleet::devices_by_key(store, &[key], &allowance).await?;
    let Some(row) = devices.remove(&key) else {
        return Ok(None);
    };
    let site = store.id(row.device.site_key).await?;
    Ok(Some(of_device(&row.device, site.as_deref())))
}

fn of_site(site: &fleet::SiteRow) -> Held {
    Held {
        position: site.position,
        since: site.registered_at,
        fields: fields(json!({
            "name": site.name,
            "timeZone": site.time_zone,
            "currency": site.currency,
            "address": site.address,
            "tags": tags(site.tags.as_deref()),
        })),
    }
}

fn of_device(device: &entity::devices::Model, site: Option<&str>) -> Held {
    Held {
        position: device.position,
        since: device.registered_at,
        fields: fields(json!({
            "siteId": site,
            "name": device.name,
            "deviceType": device.device_type,
            "model": device.model,
            "firmware": device.firmware,
            "os": device.os,
            "tags": tags(device.tags.as_deref()),
            "lifecycle": device.lifecycle,
        })),
    }
}

fn fields(json: Json) -> Given {
    match json {
        Json::Object(fields) => fields,
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
            Given::new()
        }
    }
}

fn tags(text: Option<&str>) -> Json {
    let tags = text.and_then(|text| serde_json::from_str(text).ok());
    tags.unwrap_or_default()
}
