//! Measures beyond a threshold for a time, by when they were measured.
//!
//! In memory it is kept only whether a device may have been beyond for long enough. Before an alert is
//! opened its readings of that time are read from the log and judged together ([`run_of`]): so those that
//! came late or out of order count as if they had come in time. It does no I/O and reads no clock.

use std::collections::HashMap;
use std::sync::Arc;

use super::fleet::{Fleet, Scope};
use super::renew::Watches;
use super::rule::{Metric, Rule};
use super::verdict::{Begin, Cause, End, Verdict};
use crate::event::Instant;
use crate::timers::Timers;

/// How far two readings of a device may lie apart without breaking a run, at least.
const APART_MS: i64 = 300_000;
/// Own intervals of a device that two readings may lie apart.
const APART_INTERVALS: i64 = 10;

/// What is known of a device.
#[derive(Clone, Copy, Debug)]
struct Run {
    newest_at: Instant,
    is_beyond: bool,
    /// Since when it is beyond, if that is known.
    since: Option<Instant>,
    is_told: bool,
    /// When it is to be measured again, or it is not any more.
    measured_by: Instant,
}

/// A value at an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reading {
    /// The device.
    pub(super) device: i64,
    /// When it was measured.
    pub(super) at: Instant,
    /// What was measured.
    pub(super) value: f64,
    /// When that was heard.
    pub(super) heard_at: Instant,
    /// How far readings may lie apart.
    pub(super) apart_ms: i64,
}

impl Reading {
    /// When its device is to be measured again.
    fn measured_by(&self) -> Instant {
        self.heard_at.plus_ms(self.apart_ms)
    }
}

/// How far two readings of a device that reports every so many seconds may lie apart.
pub(super) fn apart_ms(interval_seconds: Option<i64>) -> i64 {
    let own = interval_seconds.unwrap_or(0).saturating_mul(1_000);
    own.saturating_mul(APART_INTERVALS).max(APART_MS)
}

/// The measures of devices by one rule.
#[derive(Debug)]
pub(super) struct Runs {
    rule: Arc<Rule>,
    pub(super) metric: Metric,
    scope: Scope,
    devices: HashMap<i64, Run>,
    /// When devices of which there is an alert are not measured any more.
    due: Timers<i64>,
    /// Readings with which a device may have been beyond for long enough.
    pub(super) candidates: Vec<Reading>,
}

impl Watches for Runs {
    fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    fn go_on(&mut self, rule: Arc<Rule>) {
        self.rule = rule;
    }
}

impl Runs {
    /// Nothing is known yet.
    pub(super) fn new(rule: Arc<Rule>, metric: Metric, scope: Scope) -> Self {
        Self {
            rule,
            metric,
            scope,
            devices: HashMap::new(),
            due: Timers::default(),
            candidates: Vec::new(),
        }
    }

    /// The rule.
    pub(super) fn rule_id(&self) -> &str {
        &self.rule.rule_id
    }

    /// Begins with a device of which there is an alert, and gives it a time to be measured again.
    pub(super) fn remember(&mut self, key: i64, since: Instant, measured_by: Instant) {
        let run = Run {
            newest_at: since,
            is_beyond: true,
            since: Some(since),
            is_told: true,
            measured_by,
        };
        self.devices.insert(key, run);
        self.due.set(key, measured_by);
    }

    /// How long a device must be beyond, in milliseconds.
    pub(super) fn for_ms(&self) -> i64 {
        i64::from(self.metric.for_seconds) * 1_000
    }

    /// Takes a reading. One that is late says nothing of now, and may change since when it is so.
    pub(super) fn hear(&mut self, fleet: &Fleet, reading: Reading, verdicts: &mut Vec<Verdict>) {
        let Reading {
            device, at, value, ..
        } = reading;
        if !self.scope.means(fleet, device) {
            return;
        }
        let is_beyond = self.metric.is_beyond(value);
        let before = self.devices.get(&device).copied();
        let mut run = before.unwrap_or(Run {
            newest_at: at,
            is_beyond,
            since: None,
            is_told: false,
            measured_by: reading.measured_by(),
        });
        // of readings from before a restart it is read when they were heard
        run.measured_by = run.measured_by.max(reading.measured_by());
        if run.is_told {
            self.due.set(device, run.measured_by);
        }
        if at < run.newest_at {
            run.since = None;
            self.devices.insert(device, run);
            return;
        }
        run.newest_at = at;
        if is_beyond {
            if !run.is_beyond {
                run.since = Some(at);
            }
            let lasts = run
                .since
                .is_none_or(|since| since.plus_ms(self.for_ms()) <= at);
            if lasts && !run.is_told {
                self.candidates.push(reading);
            }
        } else {
            run.since = None;
            if std::mem::take(&mut run.is_told) {
                self.due.clear(&device);
                let reason = "it is not beyond the threshold any more";
                verdicts.push(self.ends(device, at, reason));
            }
        }
        run.is_beyond = is_beyond;
        self.devices.insert(device, run);
    }

    /// A device is registered otherwise: of one that is out of use nothing is said.
    pub(super) fn changed(
        &mut self,
        fleet: &Fleet,
        (key, now): (i64, Instant),
        verdicts: &mut Vec<Verdict>,
    ) {
        if !self.scope.means(fleet, key) {
            self.forget((key, now), "it is out of use or elsewhere", verdicts);
        }
    }

    /// Finds devices that are not measured any more: whether they are beyond, nobody knows.
    pub(super) fn look(&mut self, now: Instant, verdicts: &mut Vec<Verdict>) {
        for (at, key) in self.due.due(now) {
            self.forget((key, at), "it is not measured any more", verdicts);
        }
    }

    fn forget(&mut self, (key, at): (i64, Instant), reason: &str, verdicts: &mut Vec<Verdict>) {
        self.due.clear(&key);
        let run = self.devices.remove(&key);
        if run.is_some_and(|run| run.is_told) {
            verdicts.push(self.ends(key, at, reason));
        }
    }

    /// Judges a candidate by all readings of its device that the log has of the time before it.
    pub(super) fn judge(
        &mut self,
        fleet: &Fleet,
        (reading, readings): (Reading, &[(Instant, f64)]),
        verdicts: &mut Vec<Verdict>,
    ) {
        let Some(run) = self.devices.get_mut(&reading.device) else {
            return;
        };
        // something newer may have been heard since
        if run.is_told || !run.is_beyond {
            return;
        }
        let since = since_of(&self.metric, readings, reading.apart_ms);
        run.since = since;
        let for_ms = i64::from(self.metric.for_seconds) * 1_000;
        let Some(since) = since.filter(|since| since.plus_ms(for_ms) <= reading.at) else {
            return;
        };
        run.is_told = true;
        self.due.set(reading.device, run.measured_by);
        let (value, threshold) = (reading.value, self.metric.threshold);
        let reason = format!(
            "{} is {value}, beyond {threshold}, for {} s",
            self.metric.measure.told(),
            (reading.at.0 - since.0) / 1_000_000
        );
        let known = fleet.devices.get(&reading.device);
        verdicts.push(Verdict::Begins(Begin {
            rule: Arc::clone(&self.rule),
            cause: Cause::Device(reading.device),
            since,
            at: reading.at,
            measured: Some((value, threshold)),
            reason,
            provenance: known.map(|known| known.provenance).unwrap_or_default(),
            site: None,
        }));
    }

    /// Since when the newest of some readings and all before it without a break are beyond.
    pub(super) fn since(&self, readings: &[(Instant, f64)], apart_ms: i64) -> Option<Instant> {
        since_of(&self.metric, readings, apart_ms)
    }

    fn ends(&self, key: i64, at: Instant, reason: &str) -> Verdict {
        Verdict::Ends(End {
            rule_id: self.rule.rule_id.clone(),
            cause: Cause::Device(key),
            at,
            reason: reason.to_owned(),
        })
    }
}

fn since_of(metric: &Metric, readings: &[(Instant, f64)], apart_ms: i64) -> Option<Instant> {
    run_of(readings, apart_ms, |value| metric.is_beyond(value))
}

/// Since when the newest of some readings and all before it without a break are beyond; `None` when the
/// newest is not. They may be in any order.
fn run_of(
    readings: &[(Instant, f64)],
    apart_ms: i64,
    is_beyond: impl Fn(f64) -> bool,
) -> Option<Instant> {
    let mut readings = readings.to_vec();
    readings.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let mut since: Option<Instant> = None;
    for (at, value) in readings {
        let is_near = since.is_none_or(|since| at.plus_ms(apart_ms) >= since);
        if !is_beyond(value) || !is_near {
            break;
        }
        since = Some(at);
    }
    since
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Instant {
        Instant(1_800_000_000_000_000).plus_ms(seconds * 1_000)
    }

    #[test]
    fn a_run_ends_at_what_is_not_beyond_and_where_nothing_was_measured() {
        let run = |readings: &[(i64, f64)]| {
            let readings: Vec<_> = readings.iter().map(|(s, value)| (at(*s), *value)).collect();
            run_of(&readings, 300_000, |value| value > 90.0)
        };
        assert_eq!(run(&[]), None);
        assert_eq!(run(&[(0, 95.0), (30, 95.0), (60, 80.0)]), None);
        assert_eq!(
            run(&[(0, 95.0), (30, 80.0), (60, 95.0), (90, 99.0)]),
            Some(at(60))
        );
        assert_eq!(run(&[(0, 95.0), (301, 95.0), (330, 95.0)]), Some(at(301)));
    }

    proptest! {
        #[test]
        fn the_order_in_which_readings_come_changes_nothing(
            readings in proptest::collection::vec((0_i64..900, 0.0..100.0), 0..60)
                .prop_map(|readings| {
                    readings.into_iter().map(|(s, value)| (at(s), value)).collect::<std::collections::BTreeMap<_, _>>()
                }),
            seed in any::<usize>(),
        ) {
            let sorted: Vec<(Instant, f64)> = readings.into_iter().collect();
            let mut shuffled = sorted.clone();
            let count = shuffled.len().max(1);
            shuffled.rotate_left(seed % count);
            shuffled.reverse();
            let run = |readings: &[(Instant, f64)]| run_of(readings, 60_000, |value| value > 30.0);
            prop_assert_eq!(run(&sorted), run(&shuffled));
        }
    }
}
