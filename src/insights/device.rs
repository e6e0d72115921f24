//! All that is kept of a device for its insights: a small state that is folded from hours that are over, in order of
//! time.
//!
//! It is a function of what happened until then, so that it does not matter in which order that came: what comes late
//! is folded again from a state that was kept before it.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::anomaly;
use super::impact::daily;
use super::input::{ConfigSeen, ErrorSeen, HOUR, Hour, JobSeen, Measure, Sample, State, StateSeen};
use super::jobs::demand;
use super::jobs::schedule::Schedule;
use super::reliability::{intervals, quality, stuck};
use super::risk::features::{self, Facts};
use crate::event::Instant;

/// Of which form the state is. Another one is made anew from the log, beside the one in use.
pub const VERSION: i64 = 8;
/// How often a device reports that does not say so, in seconds.
const INTERVAL_SECONDS: f64 = 30.0;

/// A reading of a device came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When it was taken.
    pub at: Instant,
    /// When it was recorded, where that is known.
    pub recorded_at: Option<Instant>,
}

/// What happened to a device within an hour, each in order of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceHour {
    /// When the hour begins.
    pub start: Instant,
    /// What was measured, summed up.
    pub measures: Vec<(Measure, Hour)>,
    /// The readings.
    pub readings: Vec<Heard>,
    /// How often the device means to report, in seconds, if it said so.
    pub interval_seconds: Option<f64>,
    /// What went wrong.
    pub errors: Vec<ErrorSeen>,
    /// Which states it took.
    pub states: Vec<StateSeen>,
    /// What was configured.
    pub configs: Vec<ConfigSeen>,
    /// Which jobs ended.
    pub jobs: Vec<JobSeen>,
    /// What each counter showed last, and when.
    pub counters: BTreeMap<Measure, Sample>,
}

/// A sign of life of a device.
#[derive(Clone, Copy, Debug)]
enum Sign {
    /// A reading, and when it was recorded, where that is known.
    Reading(Option<Instant>),
    /// It is in another state.
    Change(State),
    /// Anything else that comes of it.
    Other,
}

/// Where a device stands.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The time zone of its site.
    pub zone: Tz,
    /// When its site is open.
    pub schedule: &'a Schedule,
}

/// What is kept of a device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceState {
    /// The first instant after the hours that are folded.
    pub upto: Instant,
    /// When the first of them began.
    pub first: Option<Instant>,
    /// What each counter showed last, and when.
    pub counters: BTreeMap<Measure, Sample>,
    /// How often it means to report, in seconds, as it said last.
    pub interval_seconds: Option<f64>,
    /// Of its failure risk, health and forecast.
    pub risk: features::State,
    /// Of its reliability.
    pub reliability: intervals::State,
    /// Of its data.
    pub quality: quality::State,
    /// Of values that do not move.
    pub stuck: BTreeMap<Measure, stuck::State>,
    /// Of what is usual of each measure.
    pub anomalies: BTreeMap<Measure, anomaly::State>,
    /// Of its days.
    pub levels: daily::State,
    /// Of what it sells when.
    pub demand: demand::State,
}

impl DeviceState {
    /// Takes an hour that is over. Hours come in order of time; those in which nothing happened may be left out.
    pub fn fold(&mut self, hour: &DeviceHour, place: Place<'_>) {
        self.hear(hour);
        self.risk.fold(&Facts {
            schedule: Some(place.schedule),
            ..hour.facts()
        });
        for (measure, summed) in &hour.measures {
            self.measure(*measure, summed, place);
        }
        for error in &hour.errors {
            self.levels.fold_error(place.zone, error.at);
        }
        self.counters.extend(&hour.counters);
        self.first.get_or_insert(hour.start);
        self.upto = Instant(hour.start.0 + HOUR);
    }

    fn measure(&mut self, measure: Measure, hour: &Hour, place: Place<'_>) {
        self.levels.fold(place.zone, measure, hour);
        if measure == Measure::TransactionCount {
            let seconds = self.interval_seconds.unwrap_or(INTERVAL_SECONDS);
            demand::fold(&mut self.demand, hour, place.schedule, seconds);
        }
        if measure == Measure::UptimeSeconds {
            return;
        }
        let state = self.anomalies.entry(measure).or_default();
        anomaly::fold(state, measure, place.zone, hour);
        if !measure.is_counter() {
            let state = self.stuck.entry(measure).or_default();
            state.report(hour.start, hour.mean());
        }
    }

    /// Takes signs of life and changes of state, as they followed each other.
    fn hear(&mut self, hour: &DeviceHour) {
        if let Some(seconds) = hour.interval_seconds {
            self.interval_seconds = Some(seconds);
            self.reliability.cadence.tell(seconds);
            self.quality.tell(seconds);
        }
        for (at, sign) in hour.signs() {
            match sign {
                Sign::Reading(recorded) => {
                    self.reliability.report(at);
                    self.quality.report(at);
                    if let Some(recorded) = recorded {
                        self.quality.recorded(at, recorded);
                    }
                }
                Sign::Change(to) => self.reliability.change(at, to),
                Sign::Other => self.reliability.sign(at),
            }
        }
    }

    /// The state once what happened in the hour that is not over is taken too, as far as it is no measure.
    #[must_use]
    pub fn with(&self, open: &DeviceHour) -> Self {
        let mut state = self.clone();
        state.hear(open);
        state
    }

    /// The state as bytes.
    ///
    /// # Errors
    /// When it cannot be written, which does not happen.
    pub fn encode(&self) -> Result<Encoded, postcard::Error> {
        let rest = (
            (self.upto, self.first, &self.counters, self.interval_seconds),
            (&self.reliability, &self.quality, &self.stuck),
            (&self.anomalies, &self.levels, &self.demand),
        );
        Ok(Encoded {
            risk: postcard::to_stdvec(&self.risk)?,
            rest: postcard::to_stdvec(&rest)?,
        })
    }

    /// The state of bytes of this version.
    ///
    /// # Errors
    /// When they are of something else.
    pub fn decode(encoded: &Encoded) -> Result<Self, postcard::Error> {
        let risk = postcard::from_bytes(&encoded.risk)?;
        let (
            (upto, first, counters, interval_seconds),
            (reliability, quality, stuck),
            (anomalies, levels, demand),
        ) = postcard::from_bytes(&encoded.rest)?;
        Ok(Self {
            upto,
            first,
            counters,
            interval_seconds,
            risk,
            reliability,
            quality,
            stuck,
            anomalies,
            levels,
            demand,
        })
    }
}

/// A state as bytes: what failure risk and health read stands apart, so that a list over the fleet reads no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// What failure risk and health read.
    pub risk: Vec<u8>,
    /// Everything else.
    pub rest: Vec<u8>,
}

impl Encoded {
    /// How many bytes it has.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.risk.len() + self.rest.len()
    }

    /// What failure risk and health read, of bytes of this version.
    ///
    /// # Errors
    /// When they are of something else.
    pub fn decode_risk(risk: &[u8]) -> Result<features::State, postcard::Error> {
        postcard::from_bytes(risk)
    }
}

impl DeviceHour {
    /// Signs of life in order of time; of one instant, what was measured comes before what it led to.
    fn signs(&self) -> Vec<(Instant, Sign)> {
        let readings = self.readings.iter();
        let readings = readings.map(|reading| (reading.at, Sign::Reading(reading.recorded_at)));
        let errors = self.errors.iter().map(|error| (error.at, Sign::Other));
        let changes = self.states.iter();
        let changes = changes.map(|change| (change.at, Sign::Change(change.to)));
        let jobs = self.jobs.iter().map(|job| (job.at, Sign::Other));
        let mut signs: Vec<(Instant, Sign)> =
            readings.chain(errors).chain(changes).chain(jobs).collect();
        signs.sort_by_key(|(at, _)| *at);
        signs
    }

    /// What failure risk and health read of it.
    #[must_use]
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            start: self.start,
            measures: &self.measures,
            errors: &self.errors,
            states: &self.states,
            configs: &self.configs,
            schedule: None,
            interval_seconds: self.interval_seconds,
        }
    }

    /// The same of an hour that is not over: what was measured in it is not read yet.
    #[must_use]
    pub fn open_facts(&self) -> Facts<'_> {
        Facts {
            measures: &[],
            ..self.facts()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::input::{DAY, SECOND};

    /// A device that reports every measure, for so many hours.
    fn folded(hours: i64) -> DeviceState {
        let (mut state, schedule) = (DeviceState::default(), Schedule::new(Tz::UTC));
        let place = Place {
            zone: Tz::UTC,
            schedule: &schedule,
        };
        for number in 0..hours {
            let start = Instant(20_000 * DAY + number * HOUR);
            let wave = f64::from(u32::try_from(number * 7_919 % 97).unwrap());
            let of = |measure: Measure| {
                let hour = Hour {
                    start,
                    count: 120,
                    sum: 120.0 * (30.0 + wave / 10.0),
                    sum_squares: 120.0 * (30.0 + wave / 10.0).powi(2) + 120.0,
                    min: 28.0 + wave / 10.0,
                    max: 32.0 + wave / 10.0,
                    increase: if measure.is_counter() { wave } else { 0.0 },
                };
                (measure, hour)
            };
            let heard = (0..120).map(|step| Heard {
                at: Instant(start.0 + step * 30 * SECOND),
                recorded_at: Some(Instant(start.0 + step * 30 * SECOND + SECOND)),
            });
            let hour = DeviceHour {
                start,
                measures: Measure::ALL.map(of).to_vec(),
                readings: heard.collect(),
                interval_seconds: Some(30.0),
                ..DeviceHour::default()
            };
            state.fold(&hour, place);
        }
        state
    }

    #[test]
    fn the_bytes_of_a_state_are_read_as_the_same_state() {
        let state = folded(300);
        let bytes = state.encode().unwrap();
        assert_eq!(DeviceState::decode(&bytes).unwrap(), state);
    }

    #[test]
    fn a_device_that_reports_every_measure_takes_sixteen_kilobytes_at_most() {
        let bytes = folded(24 * 100).encode().unwrap().size_bytes();
        assert!(bytes <= 16_000, "{bytes}");
        let later = folded(24 * 300).encode().unwrap().size_bytes();
        assert!(later <= 16_000, "{later}");
    }
}
