//! The hardware of a till: how it ages, and what it measures of itself.
//!
//! In ordinary work processor load stays in 10–80 %, memory in 30–70 % and disk in 20–60 %.

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;
use serde_json::{Value, json};

use super::random::{Rng, hundredths, tenths, whole};
use super::sales::Sold;
use super::trouble::Effects;

/// Percent of memory that may leak before the application is restarted.
const LEAK_PERCENT_MAX: f64 = 18.0;

/// Percent of the disk at which old logs are removed.
const DISK_PERCENT_MAX: f64 = 58.0;

/// Seconds for which a device that restarts says nothing, at most.
const DOWN_SECONDS: i64 = 45;

/// The services of a till.
const SERVICES: [&str; 4] = ["payment", "printer", "scanner", "network"];

/// The hardware of one till.
#[derive(Debug)]
pub(super) struct Machine {
    cpu_percent: f64,
    memory_percent: f64,
    leak_percent_per_hour: f64,
    disk_empty_percent: f64,
    disk_percent_per_hour: f64,
    latency_ms: f64,
    disk_percent: f64,
    waiting: u32,
    lived_until: DateTime<Utc>,
    booted_at: DateTime<Utc>,
    /// A restart to come: when the device goes down and when it is up again.
    restart: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

/// What a till is going through as it measures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions {
    pub(super) at: DateTime<Utc>,
    /// How busy the site is, 0 to 1.
    pub(super) load: f64,
    pub(super) effects: Effects,
    pub(super) sold: Sold,
    /// The log level is DEBUG.
    pub(super) verbose: bool,
}

impl Machine {
    pub(super) fn new(start: DateTime<Utc>, rng: &mut Rng) -> Self {
        let leak_percent_per_hour = rng.random_range(0.04..0.3);
        let leaked: f64 = rng.random_range(1.0..14.0);
        let up = TimeDelta::seconds(i64::from(whole(leaked / leak_percent_per_hour * 3_600.0)));
        let disk_empty_percent = rng.random_range(22.0..34.0);
        Self {
            cpu_percent: rng.random_range(12.0..19.0),
            memory_percent: rng.random_range(34.0..43.0),
            leak_percent_per_hour,
            disk_empty_percent,
            disk_percent_per_hour: rng.random_range(0.02..0.12),
            latency_ms: rng.random_range(18.0..40.0),
            disk_percent: rng.random_range(disk_empty_percent..DISK_PERCENT_MAX - 1.0),
            waiting: 0,
            lived_until: start,
            booted_at: start - up,
            restart: None,
        }
    }

    /// Lets the machine restart: it is up again at an instant, and silent shortly before it.
    pub(super) fn restart(&mut self, now: DateTime<Utc>, up_at: DateTime<Utc>) {
        let down_at = (up_at - TimeDelta::seconds(DOWN_SECONDS)).max(now);
        self.restart = Some((down_at, up_at));
        self.begin_restart(now);
    }

    /// Whether a restart is still to come.
    pub(super) fn will_restart(&self) -> bool {
        self.restart.is_some()
    }

    /// Whether the machine is restarting.
    pub(super) fn is_down(&self, at: DateTime<Utc>) -> bool {
        at < self.booted_at
    }

    /// Lives on until an instant: the disk fills, sales wait or are sent, a restart begins.
    pub(super) fn live(&mut self, now: &Conditions) {
        self.begin_restart(now.at);
        let hours = (now.at - self.lived_until).as_seconds_f64() / 3_600.0;
        let logging = if now.verbose { 6.0 } else { 1.0 };
        self.disk_percent += hours * self.disk_percent_per_hour * (0.4 + now.load) * logging;
        self.waiting = if now.effects.queues {
            self.waiting.saturating_add(now.sold.tried)
        } else {
            self.waiting / 3
        };
        self.lived_until = now.at;
    }

    fn begin_restart(&mut self, at: DateTime<Utc>) {
        if let Some((_, up_at)) = self.restart.take_if(|(down_at, _)| at >= *down_at) {
            self.booted_at = up_at;
        }
    }

    /// Percent of memory that has leaked since the last start.
    pub(super) fn leak_percent(&self, at: DateTime<Utc>) -> f64 {
        let hours = (at - self.booted_at).as_seconds_f64() / 3_600.0;
        (hours * self.leak_percent_per_hour).max(0.0)
    }

    /// Whether so much memory has leaked that the application must be restarted.
    pub(super) fn leaks_too_much(&self, at: DateTime<Utc>) -> bool {
        self.leak_percent(at) >= LEAK_PERCENT_MAX
    }

    /// Removes old logs, and tells whether the disk had reached its limit.
    pub(super) fn clean_full_disk(&mut self) -> bool {
        let full = self.disk_percent >= DISK_PERCENT_MAX;
        if full {
            self.clean_disk();
        }
        full
    }

    /// Removes old logs.
    pub(super) fn clean_disk(&mut self) {
        self.disk_percent = self.disk_empty_percent + 1.5;
    }

    /// What the machine measures of itself now.
    pub(super) fn measure(&self, now: &Conditions, rng: &mut Rng) -> Value {
        let effects = now.effects;
        let debug = if now.verbose { 6.0 } else { 0.0 };
        let working = self.cpu_percent + debug + now.load * 38.0 + rng.random_range(0.0..9.0);
        let cpu = working.max(effects.cpu_percent + rng.random_range(0.0..9.0));
        let memory = self.memory_percent
            + self.leak_percent(now.at)
            + now.load * 5.0
            + rng.random_range(-1.5..1.5);
        let (least, most) = effects.latency_factor;
        let latency = (self.latency_ms + now.load * 12.0) * rng.random_range(least..most);
        let (least, most) = effects.error_percent;
        let trying = if now.load > 0.0 { 1.0 } else { 0.1 };
        let connections = 2 + whole(now.load * 8.0) + rng.random_range(0..4);
        let mut measures = json!({
            "cpuPercent": tenths(cpu),
            "memoryPercent": tenths(memory),
            "diskPercent": hundredths(self.disk_percent),
            "networkLatencyMs": tenths(latency),
            "errorRatePercent": hundredths(rng.random_range(least..most) * trying),
            "activeConnections": connections,
            "queueDepth": self.waiting + whole(now.load * rng.random_range(0.0..2.5)),
            "uptimeSeconds": (now.at - self.booted_at).num_seconds(),
        });
        // Not within `json!`, which would copy the map.
        measures["services"] = services(effects.service_down);
        measures
    }
}

fn services(down: Option<&str>) -> Value {
    let state = |name: &str| if down == Some(name) { "DOWN" } else { "UP" };
    let states = SERVICES.map(|name| (name.to_owned(), Value::from(state(name))));
    states.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::random::stream;

    #[test]
    fn restart_is_silent_and_takes_back_the_leak() {
        let start = DateTime::UNIX_EPOCH;
        let mut machine = Machine::new(start, &mut stream(&[1]));
        assert!(machine.leak_percent(start) >= 1.0);
        let up_at = start + TimeDelta::seconds(30);
        machine.restart(start, up_at);
        assert!(machine.is_down(start));
        assert!(!machine.is_down(up_at));
        assert!(machine.leak_percent(up_at) < 1e-9);
    }
}
