//! What was told of each device, hour by hour: hours that are over are closed, in order, and handed on.

use std::collections::BTreeMap;

use chrono_tz::Tz;

use super::counter::Counter;
use super::seen::{self, Known};
use crate::event::{Fact, Instant};
use crate::insights::device::{DeviceHour, Heard};
use crate::insights::input::{
    ConfigSeen, ErrorSeen, HOUR, Hour, JobSeen, Measure, Sample, StateSeen,
};
use crate::kinds::Kind;
use crate::rollups::days::LastDay;

/// What was told of a device within the hour that is not over.
#[derive(Clone, Debug, Default)]
pub struct Open {
    /// When the hour begins.
    pub start: Instant,
    /// What was measured, in order of time.
    pub samples: BTreeMap<Measure, Vec<Sample>>,
    /// By how much counters grew.
    increases: BTreeMap<Measure, f64>,
    /// The readings.
    pub readings: Vec<Heard>,
    /// What went wrong.
    pub errors: Vec<ErrorSeen>,
    /// Which states it took.
    pub states: Vec<StateSeen>,
    /// What was configured.
    pub configs: Vec<ConfigSeen>,
    /// Which jobs ended.
    pub jobs: Vec<JobSeen>,
}

/// An hour that is over: what was measured in it, and the rest.
#[derive(Clone, Debug)]
pub struct Closed {
    /// The rollups.
    pub measures: Vec<(Measure, Hour)>,
    /// What they were made of, and what else was told.
    pub told: Open,
    /// How often the device meant to report, in seconds, as it had said last.
    pub interval_seconds: Option<f64>,
    /// What each counter showed last, and when.
    pub counters: BTreeMap<Measure, Sample>,
}

/// What is told of all devices.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// What is registered.
    pub known: Known,
    open: BTreeMap<String, Device>,
}

#[derive(Clone, Debug, Default)]
struct Device {
    open: Open,
    counters: BTreeMap<Measure, Counter>,
    day: LastDay,
    /// How often it means to report, in seconds.
    interval_seconds: Option<f64>,
}

impl Told {
    /// Of a device of which hours were told before: how often it means to report, and what its counters showed last.
    #[must_use]
    pub fn going_on(
        id: &str,
        interval_seconds: Option<f64>,
        counters: &BTreeMap<Measure, Sample>,
    ) -> Self {
        let counters = counters.iter();
        let counters = counters.map(|(measure, shown)| (*measure, Counter::after(*shown)));
        let device = Device {
            counters: counters.collect(),
            interval_seconds,
            ..Device::default()
        };
        Self {
            known: Known::new(),
            open: BTreeMap::from([(id.to_owned(), device)]),
        }
    }

    /// Takes what happened. Hours of its device that are over by it are handed on; those of all devices by a
    /// registration, as they were of what was registered before.
    pub fn take(&mut self, fact: &Fact, closed: impl FnMut(&Known, &str, &Closed)) {
        if Known::is_registration(fact) {
            self.close(fact.occurred_at, closed);
            self.known.take(fact);
        } else if let Some(id) = seen::device_of(fact) {
            let zone = self.known.zone_of(id);
            self.take_of(id, (fact, None, zone), closed);
        }
    }

    /// The same of what is known to have been recorded at an instant, and of where its device stood then, which is not
    /// told here: by the zone of its site.
    pub fn take_recorded(
        &mut self,
        fact: &Fact,
        (recorded_at, zone): (Instant, Tz),
        closed: impl FnMut(&Known, &str, &Closed),
    ) {
        let id = seen::device_of(fact).filter(|_| !Known::is_registration(fact));
        if let Some(id) = id {
            self.take_of(id, (fact, Some(recorded_at), zone), closed);
        }
    }

    fn take_of(
        &mut self,
        id: &str,
        (fact, recorded_at, zone): (&Fact, Option<Instant>, Tz),
        mut closed: impl FnMut(&Known, &str, &Closed),
    ) {
        if !self.open.contains_key(id) {
            self.open.insert(id.to_owned(), Device::default());
        }
        if let Some(device) = self.open.get_mut(id) {
            let start = seen::hour_of(fact.occurred_at);
            if let Some(over) = device.close(start) {
                closed(&self.known, id, &over);
            }
            device.open.start = start;
            device.take(fact, (recorded_at, zone));
        }
    }

    /// Closes the hours of all devices that are over at an instant, and hands them on.
    pub fn close(&mut self, at: Instant, mut closed: impl FnMut(&Known, &str, &Closed)) {
        for (id, device) in &mut self.open {
            if let Some(over) = device.close(seen::hour_of(at)) {
                closed(&self.known, id, &over);
            }
        }
    }

    /// Closes the hour of a device if it is over at an instant, and hands it on.
    pub fn close_of(
        &mut self,
        id: &str,
        at: Instant,
        mut closed: impl FnMut(&Known, &str, &Closed),
    ) {
        let device = self.open.get_mut(id);
        if let Some(over) = device.and_then(|device| device.close(seen::hour_of(at))) {
            closed(&self.known, id, &over);
        }
    }

    /// What was told of a device within the hour that is not over.
    #[must_use]
    pub fn open(&self, device: &str) -> Option<&Open> {
        self.open.get(device).map(|device| &device.open)
    }
}

impl Device {
    fn take(&mut self, fact: &Fact, (recorded_at, zone): (Option<Instant>, Tz)) {
        let open = &mut self.open;
        if fact.kind == Kind::DeviceMetrics {
            let at = fact.occurred_at;
            open.readings.push(Heard { at, recorded_at });
            self.measure(fact, zone);
        } else if fact.kind == Kind::ErrorLog {
            open.errors.push(seen::error(fact));
        } else if fact.kind == Kind::DeviceStateChange {
            open.states.push(seen::state(fact));
        } else if fact.kind == Kind::ConfigurationChange {
            open.configs.push(seen::configuration(fact));
        } else if fact.kind == Kind::JobOutcome {
            open.jobs.extend(seen::job(fact));
        }
    }

    fn measure(&mut self, fact: &Fact, zone: Tz) {
        let at = fact.occurred_at;
        let told = seen::interval_seconds(fact);
        self.interval_seconds = told.or(self.interval_seconds);
        for measure in Measure::ALL {
            let Some(value) = seen::measured(fact, measure) else {
                continue;
            };
            let samples = self.open.samples.entry(measure).or_default();
            samples.push(Sample { at, value });
            if measure.is_counter() {
                let (begin, _) = self.day.of(at.0, zone);
                let counter = self.counters.entry(measure).or_default();
                let more = counter.take(Sample { at, value }, begin);
                *self.open.increases.entry(measure).or_default() += more;
            }
        }
    }

    /// Closes the hour that is open if it is over at the beginning of another.
    fn close(&mut self, start: Instant) -> Option<Closed> {
        if self.open.start.0 + HOUR > start.0 || self.open.start == Instant::default() {
            return None;
        }
        let told = std::mem::take(&mut self.open);
        let counters = self.counters.iter();
        let shown = counters.filter_map(|(measure, counter)| Some((*measure, counter.shown()?)));
        Some(Closed {
            measures: told.hours().collect(),
            told,
            interval_seconds: self.interval_seconds,
            counters: shown.collect(),
        })
    }
}

impl Closed {
    /// All that happened within the hour.
    #[must_use]
    pub fn hour(&self) -> DeviceHour {
        DeviceHour {
            measures: self.measures.clone(),
            interval_seconds: self.interval_seconds,
            counters: self.counters.clone(),
            ..self.told.hour()
        }
    }
}

impl Open {
    /// An hour in which nothing has happened yet.
    #[must_use]
    pub fn beginning(start: Instant) -> Self {
        Self {
            start,
            ..Self::default()
        }
    }

    /// What happened so far, without rollups of what was measured.
    #[must_use]
    pub fn hour(&self) -> DeviceHour {
        DeviceHour {
            start: self.start,
            readings: self.readings.clone(),
            errors: self.errors.clone(),
            states: self.states.clone(),
            configs: self.configs.clone(),
            jobs: self.jobs.clone(),
            ..DeviceHour::default()
        }
    }

    /// The rollups of what was measured.
    pub fn hours(&self) -> impl Iterator<Item = (Measure, Hour)> {
        self.samples.iter().map(|(measure, samples)| {
            let increase = self.increases.get(measure).copied().unwrap_or_default();
            (*measure, hour(self.start, samples, increase))
        })
    }
}

fn hour(start: Instant, samples: &[Sample], increase: f64) -> Hour {
    let empty = Hour {
        start,
        count: 0,
        sum: 0.0,
        sum_squares: 0.0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        increase,
    };
    samples.iter().fold(empty, |hour, sample| Hour {
        count: hour.count.saturating_add(1),
        sum: hour.sum + sample.value,
        sum_squares: hour.sum_squares + sample.value * sample.value,
        min: hour.min.min(sample.value),
        max: hour.max.max(sample.value),
        ..hour
    })
}
