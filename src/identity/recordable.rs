//! Which events a caller may record: those of the sites or the device that it reaches.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use entity::{device_registrations, job_outcomes, site_registrations};

use super::newcomers::Newcomers;
use super::{Caller, Permission, Reach};
use crate::event::{Cell, Instant, NewEvent, is_own_id};
use crate::history::{fleet, jobs};
use crate::ingest::{FUTURE_MAX_MS, Given, Ingest, Registering};
use crate::kinds::{Code, Kind, Refusal, check};
use crate::store::{Allowance, EntityType, Names, Store, StoreError, is_marked_erased};

/// Registrations at most of a device since it came to its site, by whoever is bound to sites or to a device.
const REGISTRATIONS_OF_STAY_MAX: usize = 1_000;

/// The same events; each that the caller may not record is refused in its place. Of what is out of reach
/// it is said what is said of what is not registered.
pub(super) async fn recordable(
    ingest: &Ingest,
    (caller, allowance): (&Caller, &Allowance),
    given: Vec<Given>,
) -> Result<Passed, StoreError> {
    let store = ingest.store();
    let reach = &caller.reach;
    let given: Vec<Given> = given.into_iter().map(unmarked).collect();
    let given = if caller.may(Permission::Command) {
        given
    } else {
        given.into_iter().map(uncommanded).collect()
    };
    let given: Vec<Given> = if caller.kinds.is_empty() {
        given
    } else {
        let kept = |given| of_kinds(&caller.kinds, given);
        given.into_iter().map(kept).collect()
    };
    if *reach == Reach::Whole {
        let registering = Registering::default();
        return Ok(Passed { given, registering });
    }
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
    store.meet(names.collect::<HashSet<_>>()).await?;
    let mut door = Door {
        names: store.names(),
        now: ingest.clock().now(),
        registered: HashSet::new(),
        lifecycles: lifecycles((store, allowance), &given).await?,
        sites: sites((store, allowance), &given).await?,
        jobs: jobs_of(store, &given).await?,
        newcomers: newcomers(ingest, caller, &given).await?,
    };
    let pass = |(kind, event): Given| {
        let event = event
            .and_then(|event| match reach {
                Reach::Whole => Ok(event),
                Reach::Sites(sites) => door.of_sites(sites, event),
                Reach::Device(device) => door.of_device(device, event),
            })
            .and_then(|event| door.of_job(event))
            .map(|event| door.of_site(event))
            .and_then(|event| door.registering(event));
        (kind, event)
    };
    let given = given.into_iter().map(pass).collect();
    let registering = match door.newcomers {
        Some(newcomers) => newcomers.registering(door.now),
        None => Registering::default(),
    };
    Ok(Passed { given, registering })
}

/// The devices that are registered by what is recorded of them, if there may be some.
async fn newcomers(
    ingest: &Ingest,
    caller: &Caller,
    given: &[Given],
) -> Result<Option<Newcomers>, StoreError> {
    let names = ingest.store().names();
    let mut events = given.iter().filter_map(|(_, event)| event.as_ref().ok());
    let is_unknown = |id: &str| names.key(EntityType::Device, id).is_none();
    if events.any(|event| device_of(event).is_some_and(is_unknown)) {
        return Newcomers::of(ingest, caller).await;
    }
    Ok(None)
}

/// The events that a caller may record, and the devices that are registered by them.
pub(super) struct Passed {
    pub(super) given: Vec<Given>,
    pub(super) registering: Registering,
}

/// Refuses what says of itself that it was erased: only the server says so, and compares what is left then.
fn unmarked((kind, event): Given) -> Given {
    let event = event.map(|event| {
        if is_marked_erased(&event.fact) {
            let message = "extra says that it was erased, which only the server says";
            return if_new(event, Refusal::of("extra", Code::NotAllowed, message));
        }
        event
    });
    (kind, event)
}

/// Refuses an event unless it is a repeat of one that is recorded.
fn if_new(mut event: NewEvent, refusal: Refusal) -> NewEvent {
    event
        .refused_if_new
        .get_or_insert_with(|| Box::new(refusal));
    event
}

/// Refuses what says what is to hold: that is for those who give commands, and are named in the audit; and
/// what has an id as this server gives its own events, which would be taken for recorded then.
fn uncommanded((kind, event): Given) -> Given {
    let event = event.and_then(|event| {
        if event.fact.spec().commanded {
            let message =
                "it says what is to hold, which is for the roles OPERATOR and ADMIN to command";
            return Err(Refusal::of_event(Code::NotAllowed, message));
        }
        if event.fact.event_id.is_some_and(is_own_id) {
            let message = "ids of version 8 are given by the server; give one of version 7";
            return Err(Refusal::of("eventId", Code::NotAllowed, message));
        }
        Ok(event)
    });
    (kind, event)
}

/// Refuses what is of another kind than a caller records.
fn of_kinds(kinds: &[Kind], (kind, event): Given) -> Given {
    let event = event.and_then(|event| {
        if kinds.contains(&event.fact.kind) {
            return Ok(event);
        }
        let names: Vec<&str> = kinds.iter().map(|kind| kind.spec().wire).collect();
        let message = format!("the access key records {} alone", names.join(", "));
        Err(Refusal::of_event(Code::NotAllowed, message))
    });
    (kind, event)
}

/// Keys of devices that events of a kind name.
fn devices_in<'a>(
    names: &'a Names,
    given: &'a [Given],
    kind: Kind,
) -> impl Iterator<Item = i64> + 'a {
    let events = given.iter().filter_map(|(_, event)| event.as_ref().ok());
    let of_kind = events.filter(move |event| event.fact.kind == kind);
    of_kind.filter_map(|event| names.key(EntityType::Device, device_of(event)?))
}

/// The lifecycles of the devices that are registered anew.
async fn lifecycles(
    (store, allowance): (&Store, &Allowance),
    given: &[Given],
) -> Result<HashMap<String, String>, StoreError> {
    let keys: Vec<i64> = devices_in(store.names(), given, Kind::DeviceRegistration).collect();
    let rows = fleet::devices_by_key(store, &keys, allowance).await?;
    let lifecycle =
        |row: &Arc<fleet::DeviceRow>| (row.device.device_id.clone(), row.device.lifecycle.clone());
    Ok(rows.values().map(lifecycle).collect())
}

/// The sites that are registered anew, as they are.
async fn sites(
    (store, allowance): (&Store, &Allowance),
    given: &[Given],
) -> Result<HashMap<String, Arc<fleet::SiteRow>>, StoreError> {
    let events = given.iter().filter_map(|(_, event)| event.as_ref().ok());
    let of_kind = events.filter(|event| event.fact.kind == Kind::SiteRegistration);
    let names = store.names();
    let keys = of_kind.filter_map(|event| names.key(EntityType::Site, site_of(event)?));
    let keys: Vec<i64> = keys.collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = fleet::sites_by_key(store, &keys, allowance).await?;
    let named = |row: Arc<fleet::SiteRow>| (row.site_id.clone(), row);
    Ok(rows.into_values().map(named).collect())
}

/// Of the jobs of which outcomes are told, those that are known here, with the devices among those that
/// tell of them for which they are.
async fn jobs_of(store: &Store, given: &[Given]) -> Result<HashMap<String, Vec<i64>>, StoreError> {
    let events = given.iter().filter_map(|(_, event)| event.as_ref().ok());
    let ids: BTreeSet<&str> = events.filter_map(job_of).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
    let keys: Vec<i64> = devices_in(store.names(), given, Kind::JobOutcome).collect();
    let known = jobs::known_among(store, &ids).await?;
    let targets = jobs::targets_among(store, &ids, &keys).await?;
    let known = known.into_iter().map(|job_id| (job_id, Vec::new()));
    let mut of_jobs: HashMap<String, Vec<i64>> = known.collect();
    for target in targets {
        if let Some(devices) = of_jobs.get_mut(&target.job_id) {
            devices.push(target.device_key);
        }
    }
    Ok(of_jobs)
}

/// The job of which an event tells an outcome.
fn job_of(event: &NewEvent) -> Option<&str> {
    let is_outcome = event.fact.kind == Kind::JobOutcome;
    event
        .fact
        .cell(job_outcomes::Column::JobId)
        .text()
        .filter(|_| is_outcome)
}

struct Door<'a> {
    names: &'a Names,
    now: Instant,
    lifecycles: HashMap<String, String>,
    sites: HashMap<String, Arc<fleet::SiteRow>>,
    jobs: HashMap<String, Vec<i64>>,
    /// Devices that events before this one register within reach.
    registered: HashSet<String>,
    /// Devices that are registered by what is recorded of them, where they may be.
    newcomers: Option<Newcomers>,
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
            let device = device.to_owned();
            match &mut self.newcomers {
                Some(newcomers) if stands_at.is_none() && may_register(&event, self.now) => {
                    newcomers.add(&device, &event)?;
                    self.registered.insert(device);
                }
                _ => return Err(unknown(&event, "deviceId", (Code::UnknownDevice, "device"))),
            }
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

    /// Refuses what is told of a job as a whole, and of one that is not for the device.
    fn of_job(&self, event: NewEvent) -> Result<NewEvent, Refusal> {
        let Some(job) = job_of(&event) else {
            return Ok(event);
        };
        let scope = event.fact.cell(job_outcomes::Column::Scope).text();
        let device = device_of(&event).and_then(|id| self.names.key(EntityType::Device, id));
        let is_meant = match (self.jobs.get(job), device) {
            (Some(devices), Some(device)) => devices.contains(&device),
            (Some(_), None) => false,
            (None, _) => true,
        };
        if scope == Some("JOB") || !is_meant {
            let message = "an outcome is of one device, for which the job is";
            return Err(Refusal::of_event(Code::NotAllowed, message));
        }
        Ok(event)
    }

    /// A site keeps the time zone and the currency that those who run the fleet have given it, and its history:
    /// what was summed up by them is summed up anew when they change. What was recorded while it had others may
    /// be repeated.
    fn of_site(&self, event: NewEvent) -> NewEvent {
        let held = site_of(&event).filter(|_| event.fact.kind == Kind::SiteRegistration);
        let Some(held) = held.and_then(|id| self.sites.get(id)) else {
            return event;
        };
        let said = |column| event.fact.cell(column).text();
        let zone = said(site_registrations::Column::TimeZone);
        let (field, value) = if zone.unwrap_or("UTC") != held.time_zone {
            ("timeZone", &*held.time_zone)
        } else if said(site_registrations::Column::Currency) != held.currency.as_deref() {
            ("currency", held.currency.as_deref().unwrap_or("not set"))
        } else if event.fact.occurred_at.0 < held.registered_at {
            let message = "the site was registered since as of a later time, and whoever runs the fleet tells \
                what it was before";
            return if_new(event, Refusal::of("occurredAt", Code::NotAllowed, message));
        } else {
            return event;
        };
        let message = format!("{field} of the site is {value}: whoever runs the fleet sets it");
        if_new(event, Refusal::of(field, Code::NotAllowed, message))
    }

    /// A device is registered as of now at the latest, so that whoever moves it later has the last word, and
    /// not as of a time before it came to its site, nor moved as of one before it was registered there last.
    /// It keeps the lifecycle that those who run the fleet have
    /// given it. All that it was registered as is read at each registration, so it is not without end.
    fn registering(&self, mut event: NewEvent) -> Result<NewEvent, Refusal> {
        if event.fact.kind != Kind::DeviceRegistration {
            return Ok(event);
        }
        let given = event
            .fact
            .cell(device_registrations::Column::Lifecycle)
            .text();
        let held = device_of(&event).and_then(|id| self.lifecycles.get(id));
        if let Some(held) = held
            && given.unwrap_or("ACTIVE") != held
        {
            let message =
                format!("the lifecycle of the device is {held}: whoever runs the fleet sets it");
            let refusal = Refusal::of("lifecycle", Code::NotAllowed, message);
            event = if_new(event, refusal);
        }
        let id = device_of(&event).unwrap_or_default();
        let stay = self.names.key(EntityType::Device, id);
        let stay = stay.and_then(|key| self.names.stay_of_device(key));
        let moves = self.site_of(id).as_deref() != site_of(&event);
        if let Some(stay) = stay {
            if stay.registrations >= REGISTRATIONS_OF_STAY_MAX {
                let message = format!(
                    "the device was registered {REGISTRATIONS_OF_STAY_MAX} times at its site; what \
                     changes so often is told as metrics, and whoever runs the fleet registers it on"
                );
                return Err(Refusal::of("deviceId", Code::TooManyDevices, message));
            }
            // what happened before is history of the site where it stood then
            event.fact.occurred_at = event.fact.occurred_at.max(stay.began);
        }
        event.fact.occurred_at = event.fact.occurred_at.min(self.now);
        if let Some(stay) = stay.filter(|_| moves) {
            // and what happened since is history of the site that it leaves
            let next = Instant(stay.last.0.saturating_add(1));
            event.fact.occurred_at = event.fact.occurred_at.max(next);
        }
        Ok(event)
    }

    /// The site at which a device is registered.
    fn site_of(&self, device: &str) -> Option<Arc<str>> {
        let key = self.names.key(EntityType::Device, device)?;
        self.names.id(self.names.site_of_device(key)?)
    }
}

/// Whether a new event is taken: one that is refused registers nothing.
fn may_register(event: &NewEvent, now: Instant) -> bool {
    let at = event.fact.occurred_at;
    let is_timely = at >= Instant::OLDEST && at <= now.plus_ms(FUTURE_MAX_MS);
    is_timely && event.refused_if_new.is_none()
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
