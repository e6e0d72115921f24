//! Which events a caller may record: those of the sites or the device that it reaches.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use async_graphql::{Context, Error};

use super::{access, api, of_failed};
use crate::event::{Cell, NewEvent};
use crate::identity::Reach;
use crate::ingest::Given;
use crate::kinds::{Code, Kind, Refusal, check};
use crate::store::{EntityType, Names};

/// The same events; each that the caller may not record is refused in its place. Of what is out of reach
/// it is said what is said of what is not registered.
pub(super) async fn recordable(ctx: &Context<'_>, given: Vec<Given>) -> Result<Vec<Given>, Error> {
    let reach = &access::caller(ctx).reach;
    if *reach == Reach::Whole {
        return Ok(given);
    }
    let store = api(ctx).store();
    let checked = |(kind, event): Given| {
        let event = event.and_then(|mut event| check(&mut event.fact).map(|()| event));
        (kind, event)
    };
    let given: Vec<Given> = given.into_iter().map(checked).collect();
    // another node may have registered just now what they name
    let named = given.iter().filter_map(|(_, event)| event.as_ref().ok());
    let names = named.flat_map(|event| {
        let device = device_of(event).map(|id| (EntityType::Device, Arc::from(id)));
        let site = site_of(event).map(|id| (EntityType::Site, Arc::from(id)));
        device.into_iter().chain(site)
    });
    let met = store.meet(names.collect::<HashSet<_>>()).await;
    met.map_err(|error| of_failed(api(ctx), &error))?;
    let mut door = Door {
        names: store.names(),
        registered: HashSet::new(),
    };
    let pass = |(kind, event): Given| {
        let event = event.and_then(|event| match reach {
            Reach::Whole => Ok(event),
            Reach::Sites(sites) => door.of_sites(sites, event),
            Reach::Device(device) => door.of_device(device, event),
        });
        (kind, event)
    };
    Ok(given.into_iter().map(pass).collect())
}

struct Door<'a> {
    names: &'a Names,
    /// Devices that events before this one register within reach.
    registered: HashSet<String>,
}

impl Door<'_> {
    fn of_sites(
        &mut self,
        sites: &BTreeSet<Arc<str>>,
        event: NewEvent,
    ) -> Result<NewEvent, Refusal> {
        let (device, site) = (device_of(&event), site_of(&event));
        if device.is_none() && site.is_none() {
            let message = "an event of no site is not recorded by whoever is bound to sites";
            return Err(Refusal::of_event(Code::NotAllowed, message));
        }
        if site.is_some_and(|site| !sites.contains(site)) {
            return Err(unknown(&event, "siteId", (Code::UnknownSite, "site")));
        }
        let Some(device) = device else {
            return Ok(event);
        };
        let stands_at = self.site_of(device);
        let is_within = stands_at.as_ref().is_some_and(|site| sites.contains(site));
        if event.fact.kind == Kind::DeviceRegistration {
            if stands_at.is_some() && !is_within {
                let message = "the device is registered at another site";
                return Err(Refusal::of("deviceId", Code::NotAllowed, message));
            }
            self.registered.insert(device.to_owned());
        } else if !is_within && !self.registered.contains(device) {
            return Err(unknown(&event, "deviceId", (Code::UnknownDevice, "device")));
        }
        Ok(event)
    }

    fn of_device(&mut self, own: &str, event: NewEvent) -> Result<NewEvent, Refusal> {
        if device_of(&event) != Some(own) {
            let message = format!("a key of the device {own} records what is of that device alone");
            return Err(Refusal::of_event(Code::NotAllowed, message));
        }
        let stands_at = self.site_of(own);
        if site_of(&event).is_some_and(|site| stands_at.as_deref() != Some(site)) {
            let message = "the device is registered at another site";
            return Err(Refusal::of("siteId", Code::NotAllowed, message));
        }
        Ok(event)
    }

    /// The site at which a device is registered.
    fn site_of(&self, device: &str) -> Option<Arc<str>> {
        let key = self.names.key(EntityType::Device, device)?;
        self.names.id(self.names.site_of_device(key)?)
    }
}

/// What is said of an id that is not registered.
fn unknown(event: &NewEvent, field: &'static str, (code, what): (Code, &str)) -> Refusal {
    let spec = event.fact.spec();
    let field = spec.index_of(field).map_or("entityId", |_| field);
    Refusal::of(field, code, format!("{field} names no registered {what}"))
}

fn device_of(event: &NewEvent) -> Option<&str> {
    cell(event, event.fact.spec().device_index())
}

fn site_of(event: &NewEvent) -> Option<&str> {
    cell(event, event.fact.spec().site_index())
}

fn cell(event: &NewEvent, index: Option<usize>) -> Option<&str> {
    event.fact.cells.get(index?).and_then(Cell::text)
}
