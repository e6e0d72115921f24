//! The jobs that a site runs by itself: a check now and then, the price list before it opens, and
//! the heavier ones by night, in the maintenance window.
//!
//! A run takes the devices of the site in waves, so that it ends within the window however many
//! there are; each device's outcome is written at the end of its wave, the job's own at the end.

use chrono::{DateTime, Datelike, Days, TimeDelta, Utc, Weekday};
use serde_json::{Value, json};

use super::day::instant_of;
use super::device::Device;
use super::hours::MAINTENANCE;
use super::jobs::{JobResult, JobStatus};
use super::queue::after;
use super::random::{event_id, seconds_between};
use super::site::Site;
use super::wire::event;

/// Waves of a run at most.
const WAVES_MAX: usize = 20;

const CHECK: &str = "HEALTH_CHECK";

/// The jobs of a site: what it runs now, and what it will run after it.
#[derive(Debug)]
pub(super) struct Work {
    /// Types of the jobs still to be run, the next one last.
    todo: Vec<&'static str>,
    run: Option<Run>,
}

/// A job that is being run.
#[derive(Debug)]
struct Run {
    job_type: &'static str,
    job_id: String,
    started_at: DateTime<Utc>,
    /// Devices that have been asked.
    asked: usize,
    succeeded: usize,
    /// Answers of the wave that is being waited for.
    wave: Vec<(String, JobResult)>,
}

/// When a site begins to work.
pub(super) fn first(start: DateTime<Utc>, site: &mut Site) -> DateTime<Utc> {
    start + seconds_between(&mut site.rng, 12, 40)
}

impl Work {
    /// A site begins by checking its devices.
    pub(super) fn new() -> Self {
        Self {
            todo: vec![CHECK],
            run: None,
        }
    }

    /// Goes on with the work; returns when to go on with it again.
    pub(super) fn go_on(
        &mut self,
        at: DateTime<Utc>,
        site: &mut Site,
        devices: &mut [Device],
        out: &mut Vec<Value>,
    ) -> DateTime<Utc> {
        let begun = self.run.take();
        let Some(mut run) = begun.or_else(|| Some(Run::new(self.todo.pop()?, at, site))) else {
            self.todo = due_at(at, site);
            return at + seconds_between(&mut site.rng, 0, 300);
        };
        run.write_wave(at, site, out);
        if let Some(ends_at) = run.ask_wave(at, site, devices) {
            self.run = Some(run);
            return ends_at;
        }
        run.write_job(at, site, out);
        if self.todo.is_empty() {
            next_slot(at, site)
        } else {
            at + seconds_between(&mut site.rng, 20, 90)
        }
    }
}

impl Run {
    fn new(job_type: &'static str, at: DateTime<Utc>, site: &Site) -> Self {
        let kind = job_type.to_ascii_lowercase().replace('_', "-");
        Self {
            job_type,
            job_id: format!("{kind}-{}-{}", site.id, at.format("%Y%m%dT%H%M%SZ")),
            started_at: at,
            asked: 0,
            succeeded: 0,
            wave: Vec::new(),
        }
    }

    /// Asks the next wave of devices; returns when the last of them has answered, or `None` when
    /// all devices have been asked.
    fn ask_wave(
        &mut self,
        at: DateTime<Utc>,
        site: &mut Site,
        devices: &mut [Device],
    ) -> Option<DateTime<Utc>> {
        let wave = devices.len().div_ceil(WAVES_MAX);
        let load = site.day(at).load(at);
        for device in devices.iter_mut().skip(self.asked).take(wave) {
            let result = device.run_job((self.job_type, &self.job_id), load, at);
            self.wave.push((device.id.clone(), result));
        }
        self.asked += self.wave.len();
        let longest = self.wave.iter().map(|(_, result)| result.duration_ms).max();
        longest.map(|ms| after(at, at + TimeDelta::milliseconds(i64::from(ms))))
    }

    fn write_wave(&mut self, at: DateTime<Utc>, site: &mut Site, out: &mut Vec<Value>) {
        for (device_id, result) in std::mem::take(&mut self.wave) {
            self.succeeded += usize::from(result.status == JobStatus::Completed);
            let body = json!({
                "jobId": self.job_id,
                "jobType": self.job_type,
                "scope": "DEVICE",
                "status": result.status.word(),
                "durationMs": result.duration_ms,
                "deviceId": device_id,
                "siteId": site.id,
                "errorCode": result.error_code,
                "errorMessage": result.error_message,
                "retryCount": 0,
                "initiatedBy": "scheduler",
            });
            let id = event_id(&mut site.rng, at);
            out.push(event("jobOutcome", at, Some(id), body));
        }
    }

    fn write_job(&self, at: DateTime<Utc>, site: &mut Site, out: &mut Vec<Value>) {
        let failed = self.asked - self.succeeded;
        let status = if failed == 0 {
            JobStatus::Completed
        } else {
            JobStatus::Failed
        };
        let body = json!({
            "jobId": self.job_id,
            "jobType": self.job_type,
            "scope": "JOB",
            "status": status.word(),
            "durationMs": (at - self.started_at).num_milliseconds(),
            "siteId": site.id,
            "retryCount": 0,
            "initiatedBy": "scheduler",
            "devicesTargeted": self.asked,
            "devicesSucceeded": self.succeeded,
            "devicesFailed": failed,
        });
        let id = event_id(&mut site.rng, at);
        out.push(event("jobOutcome", at, Some(id), body));
    }
}

/// Local minutes of a day at which jobs are due.
const SLOTS: [u16; 4] = [
    MAINTENANCE.open + 5,
    6 * 60 + 20,
    14 * 60 + 40,
    19 * 60 + 20,
];

/// The first slot after an instant.
fn next_slot(at: DateTime<Utc>, site: &mut Site) -> DateTime<Utc> {
    let zone = site.zone();
    let today = site.day(at).date;
    let slots = [today, today + Days::new(1)]
        .into_iter()
        .flat_map(|date| SLOTS.map(|minute| instant_of(zone, date, minute)));
    let next = slots.filter(|slot| *slot > at).min();
    next.unwrap_or(at + TimeDelta::hours(6))
}

/// The jobs that are due in the slot that has come, the first one last.
fn due_at(at: DateTime<Utc>, site: &mut Site) -> Vec<&'static str> {
    let date = site.day(at).date;
    let minutes = (at - instant_of(site.zone(), date, 0)).num_minutes();
    match minutes {
        ..300 => by_night(date.weekday()),
        300..600 => vec!["PRICE_LIST_SYNC"],
        _ => vec![CHECK],
    }
}

fn by_night(day: Weekday) -> Vec<&'static str> {
    match day {
        Weekday::Tue => vec!["FIRMWARE_UPDATE", CHECK],
        Weekday::Mon | Weekday::Thu => vec!["LOG_CLEANUP", CHECK],
        Weekday::Fri => vec!["RESTART", CHECK],
        Weekday::Wed | Weekday::Sat | Weekday::Sun => vec![CHECK],
    }
}
