//! Devices that are drawn at random: what happened to them, and what is kept of it.

use chrono_tz::Tz;
use homepot_analytics::event::Instant;
use homepot_analytics::insights::device::{DeviceHour, DeviceState, Heard, Place};
use homepot_analytics::insights::errors::state::{Fact, Seen, State as Groups};
use homepot_analytics::insights::input::{
    ConfigSeen, DAY, Device, ErrorSeen, HOUR, Hour, JobSeen, Measure, Severity, State as Reported,
    StateSeen,
};
use homepot_analytics::insights::jobs::schedule::{Day, DayPlan, Schedule};
use homepot_analytics::insights::jobs::success::{self, SiteJobs};
use proptest::prelude::*;

use super::{Dice, MONDAY};

pub(super) const MEASURES: [Measure; 4] = [
    Measure::CpuPercent,
    Measure::DiskPercent,
    Measure::NetworkLatencyMs,
    Measure::TransactionCount,
];

/// How a device is drawn.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) seed: u64,
    pub(super) hours: i64,
    /// The part of the hours in which it reported.
    pub(super) heard: f64,
    /// Failures and errors an hour.
    pub(super) rate: f64,
    /// For how long it was silent when it is asked for.
    pub(super) silent: i64,
}

pub(super) fn given() -> impl Strategy<Value = Given> {
    let hours = prop_oneof![0..4_i64, 0..120_i64, 0..900_i64];
    let silent = prop_oneof![Just(0), 0..100_i64];
    let heard = prop_oneof![Just(1.0), 0.05..1.0];
    (any::<u64>(), hours, heard, 0.0..0.1_f64, silent).prop_map(
        |(seed, hours, heard, rate, silent)| Given {
            seed,
            hours,
            heard,
            rate,
            silent,
        },
    )
}

/// What happened to a device, and what is kept of it.
#[derive(Default)]
pub(super) struct Made {
    pub(super) state: DeviceState,
    pub(super) jobs: SiteJobs,
    pub(super) groups: Groups,
    pub(super) changes: Vec<ConfigSeen>,
    pub(super) states: Vec<StateSeen>,
}

pub(super) fn at(hours: i64) -> Instant {
    Instant(i64::from(MONDAY) * DAY + hours * HOUR)
}

pub(super) fn schedule() -> Schedule {
    let mut schedule = Schedule::new(Tz::UTC);
    (0..7).for_each(|day| schedule.file(Day::Weekday(day), DayPlan::open(8 * 60, 18 * 60)));
    schedule
}

pub(super) fn device() -> Device {
    Device {
        id: "device".to_owned(),
        site: "site".to_owned(),
        model: Some("model".to_owned()),
        age_years: None,
    }
}

/// What was measured within an hour.
fn measured(start: Instant, dice: &mut Dice) -> Vec<(Measure, Hour)> {
    let of = |measure: Measure| {
        let value = (50.0 + 8.0 * dice.normal()).clamp(0.0, 100.0);
        let increase = if measure.is_counter() {
            value.floor()
        } else {
            0.0
        };
        let hour = Hour {
            start,
            count: 2,
            sum: 2.0 * value,
            sum_squares: 2.0 * value * value + 2.0,
            min: value - 1.0,
            max: value + 1.0,
            increase,
        };
        (measure, hour)
    };
    MEASURES.map(of).to_vec()
}

/// An hour in which it reported.
pub(super) fn hour(start: Instant, rate: f64, dice: &mut Dice) -> DeviceHour {
    let mut hour = DeviceHour {
        start,
        measures: measured(start, dice),
        interval_seconds: Some(1_800.0),
        ..DeviceHour::default()
    };
    let time = |minutes: i64| Instant(start.0 + minutes * HOUR / 60);
    hour.readings = [0, 30]
        .map(|minute| Heard {
            at: time(minute),
            recorded_at: None,
        })
        .to_vec();
    if dice.is(rate) {
        hour.errors.push(ErrorSeen {
            at: time(10),
            severity: if dice.is(0.5) {
                Severity::Error
            } else {
                Severity::Warning
            },
            category: "HARDWARE".to_owned(),
            code: Some(format!("E{}", dice.poisson(1.0))),
            message: "Paper tray 4 is empty".to_owned(),
        });
    }
    if dice.is(rate) {
        let down = if dice.is(0.5) {
            Reported::Error
        } else {
            Reported::Offline
        };
        hour.states = vec![
            StateSeen {
                at: time(20),
                to: down,
            },
            StateSeen {
                at: time(45),
                to: Reported::Online,
            },
        ];
    }
    if dice.is(rate / 4.0) {
        let parameter = format!("parameter.{}", dice.poisson(0.5));
        hour.configs.push(ConfigSeen {
            at: time(15),
            parameter,
        });
    }
    if dice.is(rate) {
        hour.jobs.push(JobSeen {
            at: time(50),
            job_type: "RESTART".to_owned(),
            is_success: dice.is(0.8),
            duration_ms: None,
        });
    }
    hour
}

impl Made {
    pub(super) fn new(given: &Given) -> Self {
        let (mut made, mut dice) = (Self::default(), Dice::new(given.seed));
        for number in 0..given.hours {
            if dice.is(given.heard) {
                made.take(&hour(at(number), given.rate, &mut dice));
            }
        }
        made
    }

    pub(super) fn take(&mut self, hour: &DeviceHour) {
        let schedule = schedule();
        let place = Place {
            zone: Tz::UTC,
            schedule: &schedule,
        };
        self.state.fold(hour, place);
        for job in &hour.jobs {
            success::fold(&mut self.jobs, job, &schedule);
        }
        let of = |error| {
            Fact::Error(Seen {
                error,
                stack: None,
                device: Some("device"),
                site: Some("site"),
            })
        };
        let facts: Vec<Fact<'_>> = hour.errors.iter().map(of).collect();
        self.groups.fold(&facts);
        self.changes.extend(hour.configs.iter().cloned());
        self.states.extend(&hour.states);
    }
}
