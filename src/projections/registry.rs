//! Sites and devices as they are registered now: the newest registration by its own time counts.

use entity::{device_registrations as device, site_registrations as site};
use futures_util::future::BoxFuture;
use sea_orm::{DatabaseTransaction, Value};

use super::stays;
use super::upsert::{newest, upsert};
use crate::event::{Cell, Event, Fact};
use crate::kinds::Kind;
use crate::store::{Fold, StoreError, value_in_text};

/// Folds registrations into `sites`, `devices` and `device_stays`.
#[derive(Debug)]
pub(super) struct Registry;

impl Fold for Registry {
    fn name(&self) -> &'static str {
        "registry"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::SiteRegistration, Kind::DeviceRegistration]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["sites", "devices", "device_stays"]
    }

    fn changes(&self, fact: &Fact) -> Option<String> {
        let id = if fact.kind == Kind::SiteRegistration {
            fact.cell(site::Column::SiteKey)
        } else {
            fact.cell(device::Column::DeviceKey)
        };
        Some(entity_of(fact.kind, id.text()?))
    }

    fn apply<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        events: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let sites = newest(events.iter().copied(), |event| {
                event
                    .fact
                    .cell(site::Column::SiteKey)
                    .int()
                    .filter(|_| is_site(event))
            });
            let rows = sites.into_values().map(site_row);
            upsert(tx, INSERT_SITE, rows.collect(), MERGE_SITE).await?;
            let devices = newest(events.iter().copied(), |event| {
                event.fact.cell(device::Column::DeviceKey).int()
            });
            let keys = devices.keys().copied().collect();
            let rows = devices.into_values().map(device_row);
            upsert(tx, INSERT_DEVICE, rows.collect(), MERGE_DEVICE).await?;
            stays::derive(tx, keys).await
        })
    }
}

/// Name under which the changes of a site or device are counted, by the kind of its registrations.
pub(crate) fn entity_of(kind: Kind, id: &str) -> String {
    let what = if kind == Kind::SiteRegistration {
        "site"
    } else {
        "device"
    };
    format!("{what}/{id}")
}

fn is_site(event: &Event) -> bool {
    event.fact.kind == Kind::SiteRegistration
}

const INSERT_SITE: &str = "INSERT INTO sites (site_key, site_id, name, time_zone, currency, \
    address, tags, registered_at, position)";
const MERGE_SITE: &str = "ON CONFLICT (site_key) DO UPDATE SET name = excluded.name, \
    time_zone = excluded.time_zone, currency = excluded.currency, address = excluded.address, \
    tags = excluded.tags, registered_at = excluded.registered_at, position = excluded.position \
    WHERE (excluded.registered_at, excluded.position) > (sites.registered_at, sites.position)";

fn site_row(event: &Event) -> Vec<Value> {
    let cell = |column: site::Column| event.fact.cell(column);
    vec![
        key(cell(site::Column::SiteKey)),
        value_in_text(&id(cell(site::Column::SiteKey))),
        value_in_text(cell(site::Column::Name)),
        value_in_text(cell(site::Column::TimeZone)),
        value_in_text(cell(site::Column::Currency)),
        value_in_text(cell(site::Column::Address)),
        value_in_text(cell(site::Column::Tags)),
        event.fact.occurred_at.0.into(),
        event.position.0.into(),
    ]
}

const INSERT_DEVICE: &str = "INSERT INTO devices (device_key, device_id, site_key, name, \
    device_type, model, firmware, os, tags, lifecycle, registered_at, position)";
const MERGE_DEVICE: &str = "ON CONFLICT (device_key) DO UPDATE SET site_key = excluded.site_key, \
    name = excluded.name, device_type = excluded.device_type, model = excluded.model, \
    firmware = excluded.firmware, os = excluded.os, tags = excluded.tags, \
    lifecycle = excluded.lifecycle, registered_at = excluded.registered_at, \
    position = excluded.position \
    WHERE (excluded.registered_at, excluded.position) > (devices.registered_at, devices.position)";

fn device_row(event: &Event) -> Vec<Value> {
    let cell = |column: device::Column| event.fact.cell(column);
    vec![
        key(cell(device::Column::DeviceKey)),
        value_in_text(&id(cell(device::Column::DeviceKey))),
        key(cell(device::Column::SiteKey)),
        value_in_text(cell(device::Column::Name)),
        value_in_text(cell(device::Column::DeviceType)),
        value_in_text(cell(device::Column::Model)),
        value_in_text(cell(device::Column::Firmware)),
        value_in_text(cell(device::Column::Os)),
        value_in_text(cell(device::Column::Tags)),
        value_in_text(cell(device::Column::Lifecycle)),
        event.fact.occurred_at.0.into(),
        event.position.0.into(),
    ]
}

fn key(cell: &Cell) -> Value {
    cell.int().into()
}

fn id(cell: &Cell) -> Cell {
    cell.text().into()
}
