//! Devices that are not known are registered by what is recorded of them, by a key that may: so that a
//! collector can begin before anybody has listed its devices. A hostile one cannot fill the registry: there
//! is a limit for an hour, and one for the site.

use std::collections::BTreeMap;
use std::sync::Arc;

use entity::device_registrations::Column;

use super::{Caller, Reach};
use crate::event::{Instant, NewEvent, Provenance};
use crate::history::fleet::{self, DeviceFilter};
use crate::ingest::{Ingest, Registering};
use crate::kinds::{Code, Draft, Kind, Refusal};
use crate::projections::registry::entity_of;
use crate::store::{EntityType, Expect, REGISTRATIONS_MAX, StoreError};

/// Devices at most that are registered so at a site in an hour.
const HOUR_MAX: usize = REGISTRATIONS_MAX;
/// Devices at most of a site at which more are registered so.
const SITE_MAX: usize = 1_000;
const HOUR_MS: i64 = 3_600_000;
/// What such a device is.
const TYPE: &str = "UNKNOWN";

/// The devices that the events of a request register.
pub(super) struct Newcomers {
    site: Arc<str>,
    /// How often devices were registered so at the site: others who do so meanwhile are noticed.
    version: i64,
    /// How many more may be.
    room: usize,
    /// Why no more may be.
    limit: String,
    /// Where what is recorded of each first comes from.
    devices: BTreeMap<String, Provenance>,
}

fn counter(site: &str) -> String {
    format!("newcomers/{site}")
}

impl Newcomers {
    /// None yet; `None` for a caller that registers none so.
    pub(super) async fn of(ingest: &Ingest, caller: &Caller) -> Result<Option<Self>, StoreError> {
        let Reach::Sites(sites) = &caller.reach else {
            return Ok(None);
        };
        let Some(site) = sites.first().filter(|_| caller.registers_devices) else {
            return Ok(None);
        };
        let store = ingest.store();
        let Some(key) = store.key(EntityType::Site, site).await? else {
            return Ok(None);
        };
        // the version first: what is counted after it is at least as new
        let version = store.version(&counter(site)).await?;
        let all = DeviceFilter {
            site_key: Some(key),
            ..DeviceFilter::default()
        };
        let all = fleet::devices_count(store, &all).await?;
        let hour_ago = ingest.clock().now().plus_ms(-HOUR_MS);
        let of_hour = fleet::registered_since(store, (key, TYPE), hour_ago).await?;
        let left = |max: usize, count: u64| {
            max.saturating_sub(usize::try_from(count).unwrap_or(usize::MAX))
        };
        let (of_hour, of_site) = (left(HOUR_MAX, of_hour), left(SITE_MAX, all));
        let limit = if of_site <= of_hour {
            format!("the site has {SITE_MAX} devices; register more by registerDevice")
        } else {
            format!(
                "{HOUR_MAX} devices were registered so at the site within an hour; come back later, or \
                 use registerDevice"
            )
        };
        Ok(Some(Self {
            site: Arc::clone(site),
            version,
            room: of_hour.min(of_site),
            limit,
            devices: BTreeMap::new(),
        }))
    }

    /// Adds the device of an event.
    pub(super) fn add(&mut self, device: &str, event: &NewEvent) -> Result<(), Refusal> {
        if self.devices.len() >= self.room {
            let message = format!("deviceId names no registered device, and {}", self.limit);
            return Err(Refusal::of("deviceId", Code::TooManyDevices, message));
        }
        self.devices
            .insert(device.to_owned(), event.fact.provenance);
        Ok(())
    }

    /// Their registrations.
    pub(super) fn registering(self, now: Instant) -> Registering {
        if self.devices.is_empty() {
            return Registering::default();
        }
        let mut expect = vec![Expect::changing(counter(&self.site), self.version)];
        // nobody has registered them, on any node
        expect.extend(
            self.devices
                .keys()
                .map(|device| Expect::changing(entity_of(Kind::DeviceRegistration, device), 0)),
        );
        let registration = |(device, provenance): (&String, &Provenance)| {
            Draft::new(Kind::DeviceRegistration, now, *provenance)
                .set(Column::DeviceKey, device.as_str())
                .set(Column::SiteKey, &*self.site)
                .set(Column::DeviceType, TYPE)
                .finish()
        };
        // what names them was checked before
        let registrations = self.devices.iter().filter_map(|d| registration(d).ok());
        Registering {
            registrations: registrations.collect(),
            expect,
        }
    }
}
