//! A simulated fleet: shops in several time zones whose tills live a believable day.
//!
//! Owns the whole of the simulation and nothing else: it reads no clock, opens nothing, and keeps
//! no event. Whoever drives it asks for all events up to an instant, in slices of any length, and
//! records them; back history and live operation are the same call.
//!
//! Promises:
//! - equal options and an equal start give equal events, however time is sliced, as long as the
//!   same commands come at the same places between the slices;
//! - events come in order of `occurredAt`, each within the slice that was asked for;
//! - a `deviceStateChange` always changes the state, and its `previousState` is the state before;
//! - a device that is OFFLINE sends no metrics;
//! - sales counters begin again at the local midnight of the site, on any day of any length;
//! - events have the shape of the wire (`{"deviceMetrics": {…}}`), provenance SIMULATED.
//!
//! Each part of it is an actor that waits in one queue (`queue.rs`) for its next instant.

mod changes;
mod day;
mod device;
mod faults;
mod health;
mod hours;
mod jobs;
mod machine;
mod models;
mod options;
mod places;
mod queue;
mod random;
mod requests;
mod sales;
mod settings;
mod site;
mod staff;
mod suffering;
#[cfg(test)]
mod tests;
mod trouble;
mod wire;
mod work;

use std::collections::HashMap;

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::Value;

pub use jobs::{JobResult, JobStatus};
pub use options::{DEVICES_MAX, FleetOptions, INTERVAL_SECONDS_MAX};
pub use settings::{Configurable, configurable};

use device::Device;
use queue::{Actor, Queue, after};
use random::{event_id, stream};
use site::Site;
use staff::Person;
use work::Work;

/// A simulated fleet at an instant.
#[derive(Debug)]
pub struct Fleet {
    options: FleetOptions,
    start: DateTime<Utc>,
    now: DateTime<Utc>,
    sites: Vec<Site>,
    works: Vec<Work>,
    /// The devices of the first site, then those of the second, and so on.
    devices: Vec<Device>,
    people: Vec<Person>,
    queue: Queue,
    index_of_device: HashMap<String, usize>,
}

impl Fleet {
    /// A fleet as it is at `start` (cut to milliseconds), before anything has happened.
    ///
    /// Options are brought within their bounds, see [`FleetOptions::bounded`].
    #[must_use]
    pub fn new(options: FleetOptions, start: DateTime<Utc>) -> Self {
        let options = options.bounded();
        let start = start.trunc_subsecs(3);
        let mut fleet = Self {
            options,
            start,
            now: start,
            sites: Vec::with_capacity(options.sites),
            works: Vec::with_capacity(options.sites),
            devices: Vec::with_capacity(options.sites * options.devices_per_site),
            people: Vec::new(),
            queue: Queue::default(),
            index_of_device: HashMap::new(),
        };
        for index in 0..options.sites {
            fleet.open_site(index);
        }
        fleet
    }

    fn open_site(&mut self, index: usize) {
        let (seed, start) = (self.options.seed, self.start);
        let mut site = Site::new(seed, index, start);
        for number in 1..=self.options.devices_per_site {
            let mut device = Device::new(&self.options, (index, number), &site.id, start);
            let place = self.devices.len();
            self.queue
                .push(device.next_report(start), Actor::Report(place));
            self.queue
                .push(device.first_trouble(start), Actor::Trouble(place));
            self.queue
                .push(device.first_request(start), Actor::Request(place));
            self.index_of_device.insert(device.id.clone(), place);
            self.devices.push(device);
        }
        for number in 0..staff::AT_SITE {
            if self.people.len() < staff::PEOPLE_MAX {
                let mut person = Person::new(seed, (index, number), &site);
                let place = self.people.len();
                self.queue.push(person.first(start), Actor::Person(place));
                self.people.push(person);
            }
        }
        self.queue
            .push(work::first(start, &mut site), Actor::Jobs(index));
        self.queue.push(
            changes::first(start, index, &mut site),
            Actor::Change(index),
        );
        self.works.push(Work::new());
        self.sites.push(site);
    }

    /// Registrations of all sites with their filed hours, then of all devices, at the start.
    ///
    /// They are to be recorded before any other event. The first three sites file seven rows of
    /// hours together, each further one two.
    #[must_use]
    pub fn registrations(&self) -> Vec<Value> {
        let (seed, per_site) = (self.options.seed, self.options.devices_per_site);
        let sites = self.sites.iter();
        let mut events: Vec<Value> = sites
            .flat_map(|site| site.registrations(seed, self.start, per_site))
            .collect();
        events.extend(self.devices.iter().map(|device| {
            let id = event_id(&mut stream(&[device.key, 1]), self.start);
            device.registration(self.start, id)
        }));
        events
    }

    /// Ids of all devices, such as `pos-01-01`, in order of site and number.
    pub fn device_ids(&self) -> impl Iterator<Item = &str> {
        self.devices.iter().map(|device| device.id.as_str())
    }

    /// When the next event may occur: nothing occurs before it, perhaps nothing at it.
    #[must_use]
    pub fn next_at(&self) -> DateTime<Utc> {
        self.queue.next_at()
    }

    /// All events after the instant reached so far, up to and with `until`, in order of time.
    ///
    /// An instant that was reached before gives none. A device makes two to three events a minute
    /// at the default interval: ask for long histories in slices.
    pub fn advance(&mut self, until: DateTime<Utc>) -> Vec<Value> {
        let mut out = Vec::new();
        while let Some((at, actor)) = self.queue.pop(until) {
            if let Some(next) = self.act(at, actor, &mut out) {
                self.queue.push(after(at, next), actor);
            }
        }
        self.now = self.now.max(until);
        out
    }

    /// Lets an actor act; returns when it acts again.
    fn act(
        &mut self,
        at: DateTime<Utc>,
        actor: Actor,
        out: &mut Vec<Value>,
    ) -> Option<DateTime<Utc>> {
        let per_site = self.options.devices_per_site;
        match actor {
            Actor::Report(index) => {
                let (device, site) = self.device_at_site(index)?;
                device.report(at, site.day(at), out);
                Some(device.next_report(at))
            }
            Actor::Trouble(index) => {
                let (device, site) = self.device_at_site(index)?;
                Some(device.suffer(at, site.day(at), out))
            }
            Actor::Request(index) => {
                let (device, site) = self.device_at_site(index)?;
                Some(device.request(at, site.day(at), out))
            }
            Actor::Jobs(index) => {
                let devices = self.devices.chunks_mut(per_site).nth(index)?;
                let (site, work) = (self.sites.get_mut(index)?, self.works.get_mut(index)?);
                Some(work.go_on(at, site, devices, out))
            }
            Actor::Change(index) => {
                let devices = self.devices.chunks_mut(per_site).nth(index)?;
                Some(changes::change(
                    at,
                    self.sites.get_mut(index)?,
                    devices,
                    out,
                ))
            }
            Actor::Person(index) => {
                let person = self.people.get_mut(index)?;
                let zone = self.sites.get(person.site)?.zone();
                Some(person.act(at, zone, out))
            }
        }
    }

    fn device_at_site(&mut self, index: usize) -> Option<(&mut Device, &mut Site)> {
        let site = self.sites.get_mut(index / self.options.devices_per_site)?;
        Some((self.devices.get_mut(index)?, site))
    }

    /// Runs a job on a device at `now`, or at the instant reached when that is later.
    ///
    /// Records nothing: the caller records the outcome. The answer follows from the device, its
    /// state, the load of its site and the job's id; what the job does to the device it does each
    /// time it is asked. Known types are `HEALTH_CHECK`, `PRICE_LIST_SYNC`, `LOG_CLEANUP`,
    /// `RESTART` and `FIRMWARE_UPDATE`; any other runs like a short command. A restart silences
    /// the device shortly, resets its uptime and ends troubles that it mends; a new firmware is
    /// registered with the first report after it. A device that is not in the fleet answers
    /// `UNKNOWN_DEVICE`.
    pub fn apply_job(
        &mut self,
        device_id: &str,
        job_type: &str,
        job_id: &str,
        now: DateTime<Utc>,
    ) -> JobResult {
        let at = now.max(self.now).trunc_subsecs(3);
        let index = self.index_of_device.get(device_id).copied();
        match index.and_then(|index| self.device_at_site(index)) {
            Some((device, site)) => device.run_job((job_type, job_id), site.load(at), at),
            None => jobs::unknown_device(),
        }
    }

    /// Sets a parameter of a device and returns the value before, null when it had none.
    ///
    /// `None` when the device is not in the fleet. `collectionIntervalSeconds` (1 to
    /// [`INTERVAL_SECONDS_MAX`]) changes how often it reports from the next report on, `logLevel`
    /// DEBUG how much it works and writes; others are kept. Records nothing: the caller
    /// records the change.
    pub fn set_configuration(
        &mut self,
        device_id: &str,
        parameter: &str,
        value: Value,
    ) -> Option<Value> {
        let index = self.index_of_device.get(device_id)?;
        Some(self.devices.get_mut(*index)?.set(parameter, value))
    }
}
