//! A till: what it is, what it measures and reports, and what it logs.

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;
use serde_json::{Value, json};
use uuid::Uuid;

use super::day::Day;
use super::faults::{self, Fault};
use super::health::{self, State};
use super::machine::{Conditions, Machine};
use super::models::{MODELS, Model};
use super::options::{FleetOptions, bounded_interval};
use super::queue::after;
use super::random::{Rng, event_id, hash, pick, seconds_between, stream};
use super::sales::Sales;
use super::settings::{INTERVAL, LOG_LEVEL, Settings};
use super::trouble::Ongoing;
use super::wire::event;

/// Says that a stream of random numbers belongs to a device.
const STREAM: u64 = 0xde71;

/// Reports are late by less than this, in milliseconds.
const JITTER_MS: i64 = 1_500;

/// A till of the fleet.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) id: String,
    /// What everything random about the device follows from.
    pub(super) key: u64,
    pub(super) state: State,
    pub(super) settings: Settings,
    pub(super) machine: Machine,
    pub(super) rng: Rng,
    /// Number of updates of the firmware since the first version.
    pub(super) updates: u32,
    /// The firmware is not the one that was registered last.
    pub(super) updated: bool,
    site_id: String,
    name: String,
    model: &'static Model,
    interval_seconds: u32,
    /// When the next report is due, before it is late.
    pub(super) due_at: DateTime<Utc>,
    sales: Sales,
    pub(super) ongoing: Option<Ongoing>,
    /// How prone to trouble it is, 1 on average.
    pub(super) frailty: f64,
}

impl Device {
    /// The device with a number (from 1) at the site with an index.
    pub(super) fn new(
        options: &FleetOptions,
        (site, number): (usize, usize),
        site_id: &str,
        start: DateTime<Utc>,
    ) -> Self {
        let place = |index| u64::try_from(index).unwrap_or_default();
        let key = hash(&[options.seed, STREAM, place(site), place(number)]);
        let mut rng = stream(&[key]);
        let [first, ..] = &MODELS;
        Self {
            id: format!("pos-{:02}-{number:02}", site + 1),
            key,
            state: State::Unknown,
            settings: Settings::default(),
            machine: Machine::new(start, &mut rng),
            model: pick(&mut rng, &MODELS, first),
            updates: rng.random_range(0..4),
            updated: false,
            site_id: site_id.to_owned(),
            name: format!("Till {number}"),
            interval_seconds: options.interval_seconds,
            due_at: start + first_report(options.interval_seconds, &mut rng),
            sales: Sales::new(key, &mut rng),
            ongoing: None,
            frailty: rng.random_range(0.5..1.5) * rng.random_range(0.6..1.4),
            rng,
        }
    }

    /// When the device reports next.
    pub(super) fn next_report(&mut self, now: DateTime<Utc>) -> DateTime<Utc> {
        let slack = i64::from(self.interval_seconds) * 1_000 / 4;
        let late = self.rng.random_range(0..=JITTER_MS.min(slack));
        after(now, self.due_at + TimeDelta::milliseconds(late))
    }

    /// What is known of the device.
    pub(super) fn registration(&self, at: DateTime<Utc>, id: Uuid) -> Value {
        let body = json!({
            "deviceId": self.id,
            "siteId": self.site_id,
            "name": self.name,
            "deviceType": "POS_TERMINAL",
            "model": self.model.name,
            "firmware": self.firmware(),
            "os": self.model.os,
            "tags": ["till", self.model.tag],
            "lifecycle": "ACTIVE",
        });
        event("deviceRegistration", at, Some(id), body)
    }

    /// Version of the firmware.
    pub(super) fn firmware(&self) -> String {
        format!("{}.{}", self.model.firmware, self.updates)
    }

    /// Sets a parameter and returns the value before; the interval follows with the next report.
    pub(super) fn set(&mut self, name: &str, value: Value) -> Value {
        if name != INTERVAL {
            return self.settings.set(name, value);
        }
        let before = Value::from(self.interval_seconds);
        let seconds = value
            .as_u64()
            .and_then(|seconds| u32::try_from(seconds).ok());
        self.interval_seconds = bounded_interval(seconds.unwrap_or(self.interval_seconds));
        before
    }

    /// Sells, ages, and reports unless it cannot.
    pub(super) fn report(&mut self, at: DateTime<Utc>, day: &Day, out: &mut Vec<Value>) {
        self.due_at += TimeDelta::seconds(i64::from(self.interval_seconds));
        self.recover_in_time(at, out);
        let effects = self.effects();
        let now = Conditions {
            at,
            load: day.load(at),
            effects,
            sold: self.sales.sell(day, at, effects.lost_sales, &mut self.rng),
            verbose: self.settings.is(LOG_LEVEL, "DEBUG"),
        };
        self.machine.live(&now);
        if self.is_silent(at) {
            return;
        }
        self.greet(at, out);
        self.keep_house(at, out);
        if self.machine.is_down(at) {
            return;
        }
        let mut body = self.machine.measure(&now, &mut self.rng);
        body["deviceId"] = Value::from(self.id.as_str());
        body["transactionCount"] = Value::from(self.sales.count());
        body["transactionVolume"] = Value::from(self.sales.volume());
        body["collectionIntervalSeconds"] = Value::from(self.interval_seconds);
        out.push(event("deviceMetrics", at, None, body));
    }

    /// The first report brings the device online; a new firmware is registered.
    fn greet(&mut self, at: DateTime<Utc>, out: &mut Vec<Value>) {
        if self.state == State::Unknown {
            self.change_state(at, State::Online, "First report", out);
            if self.id == "pos-01-01" || self.rng.random_bool(0.01) {
                self.log(&faults::CLOCK, at, &json!({ "offsetMs": 2_350 }), out);
            }
        }
        if self.updated && !self.machine.will_restart() {
            self.updated = false;
            let id = event_id(&mut self.rng, at);
            out.push(self.registration(at, id));
        }
    }

    fn keep_house(&mut self, at: DateTime<Utc>, out: &mut Vec<Value>) {
        if self.machine.clean_full_disk() {
            self.log(&faults::DISK, at, &json!({ "volume": "/var/log" }), out);
        }
        if self.machine.leaks_too_much(at) {
            self.log(&faults::MEMORY, at, &json!({ "process": "till" }), out);
            let down = seconds_between(&mut self.rng, 20, 40);
            self.machine.restart(at, at + down);
        }
    }

    /// Puts the device into a state, and writes so if that is a change.
    pub(super) fn change_state(
        &mut self,
        at: DateTime<Utc>,
        state: State,
        reason: &str,
        out: &mut Vec<Value>,
    ) {
        let change = health::change(&self.id, (self.state, state), reason, &mut self.rng);
        if let Some(body) = change {
            self.state = state;
            let id = event_id(&mut self.rng, at);
            out.push(event("deviceStateChange", at, Some(id), body));
        }
    }

    /// Writes an entry of the error log about this device.
    pub(super) fn log(
        &mut self,
        fault: &Fault,
        at: DateTime<Utc>,
        context: &Value,
        out: &mut Vec<Value>,
    ) {
        let id = event_id(&mut self.rng, at);
        let who = json!({ "deviceId": self.id, "context": context });
        out.push(fault.log(at, id, who));
    }
}

/// The first reports are spread over the interval, and come within 45 seconds.
fn first_report(interval_seconds: u32, rng: &mut Rng) -> TimeDelta {
    let most = (i64::from(interval_seconds) * 1_000).min(45_000);
    TimeDelta::milliseconds(rng.random_range(1..=most))
}
