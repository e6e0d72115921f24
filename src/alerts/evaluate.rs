//! All rules together: what follows for alerts from an event, and from time that passes. It does no I/O
//! and reads no clock.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use entity::{
    alert_transitions as step, device_metrics as metrics, device_registrations as registration,
    device_state_history as states, error_logs as errors, site_operating_schedules as schedule,
    site_registrations as site,
};

use super::failures::JobEnd;
use super::fleet::{Device, Fleet, Scope};
use super::gaps::{CLOCK_SET_MS, Gaps, LIVE_MS, Sign};
use super::insights::{Insights, Judged, Turns};
use super::rates::{Fault, Rates};
use super::rule::{Failure, Rule};
use super::runs::{Reading, Runs, apart_ms};
use super::states::States;
use super::verdict::Verdict;
use crate::event::{Event, Instant};
use crate::kinds::Kind;
use crate::timers::Timers;

/// How long the hours of sites are gone by: a day.
const HOURS_HOLD_MS: i64 = 24 * 3_600 * 1_000;

/// The rules that are enabled, with what they need to know.
#[derive(Debug, Default)]
pub(super) struct Evaluator {
    pub(super) fleet: Fleet,
    /// The rules by their ids, with what each is for.
    pub(super) rules: HashMap<String, Scope>,
    pub(super) gaps: Vec<Gaps>,
    pub(super) states: Vec<States>,
    pub(super) runs: Vec<Runs>,
    pub(super) rates: Vec<Rates>,
    pub(super) failures: Vec<(Arc<Rule>, Failure)>,
    pub(super) insights: Vec<Insights>,
    /// Whose turn it is to be read whole for these.
    pub(super) turns: Turns,
    /// Jobs that have ended and are not judged yet.
    pub(super) ended: Vec<JobEnd>,
    /// When alerts that are silenced are open again.
    pub(super) silenced: Timers<String>,
    /// What follows and is not recorded yet.
    pub(super) verdicts: Vec<Verdict>,
    /// Since when it hears of the fleet without a break.
    pub(super) heard_from: Instant,
    /// When it was looked last what has lasted long enough.
    pub(super) looked_at: Instant,
    /// When the hours of all sites were read, or are to be read by now.
    pub(super) hours_read_at: Instant,
    /// Sites whose hours are to be read anew.
    pub(super) rescheduled: BTreeSet<i64>,
    /// Whether a rule has changed, so that the rules are to be taken up anew.
    pub(super) is_outdated: bool,
}

impl Evaluator {
    /// Takes an event.
    pub(super) fn hear(&mut self, event: &Event, now: Instant) {
        if !self.insights.is_empty()
            && let Some(device) = event.fact.device_key()
        {
            self.turns.stir(device);
        }
        match event.fact.kind {
            Kind::DeviceMetrics => self.measured(event, now),
            Kind::DeviceStateChange => self.in_state(event, now),
            Kind::DeviceRegistration => self.registered(event, now),
            Kind::SiteSchedule => {
                self.rescheduled
                    .extend(event.fact.cell(schedule::Column::SiteKey).int());
            }
            Kind::SiteRegistration => {
                self.rescheduled
                    .extend(event.fact.cell(site::Column::SiteKey).int());
            }
            Kind::AlertRuleChange => self.is_outdated = true,
            Kind::AlertTransition => self.moved(event),
            Kind::ErrorLog => self.failed(event, now),
            Kind::JobOutcome => self.ended.extend(JobEnd::of(event)),
            Kind::ConfigurationChange
            | Kind::UserActivity
            | Kind::ApiRequest
            | Kind::JobTransition
            | Kind::AuditEntry
            | Kind::CommandTransition
            | Kind::ParameterRegistration
            | Kind::ConfigurationSetting
            | Kind::ConfigurationEvidence
            | Kind::ErrorGroupChange => {}
        }
    }

    fn measured(&mut self, event: &Event, now: Instant) {
        // of a log that was written by a wrong clock, the times of recording may be ahead of all
        let heard_at = event.recorded_at.min(now);
        let fact = &event.fact;
        let Some(device) = fact.cell(metrics::Column::DeviceKey).int() else {
            return;
        };
        if fact.occurred_at < heard_at.plus_ms(-LIVE_MS) {
            return;
        }
        let Some(known) = self.fleet.devices.get_mut(&device) else {
            return;
        };
        known.provenance = fact.provenance;
        let interval = fact.cell(metrics::Column::CollectionIntervalSeconds);
        let interval = known.reports_every(interval.int());
        let sign = Sign {
            device,
            reported_at: fact.occurred_at,
            heard_at,
            interval_seconds: interval,
            provenance: fact.provenance,
        };
        known.heard_of(sign);
        for gaps in &mut self.gaps {
            gaps.hear(&self.fleet, sign, &mut self.verdicts);
        }
        for runs in &mut self.runs {
            let Some(value) = fact.cell(runs.metric.measure.column()).number() else {
                continue;
            };
            let reading = Reading {
                device,
                at: fact.occurred_at,
                value,
                heard_at,
                apart_ms: apart_ms(interval),
            };
            runs.hear(&self.fleet, reading, &mut self.verdicts);
        }
    }

    fn failed(&mut self, event: &Event, now: Instant) {
        let cell = |column: errors::Column| event.fact.cell(column);
        let fault = Fault {
            at: event.fact.occurred_at,
            position: event.position,
            severity: cell(errors::Column::Severity).text().unwrap_or_default(),
            device: cell(errors::Column::DeviceKey).int(),
            provenance: event.fact.provenance,
        };
        for rates in &mut self.rates {
            rates.hear(&self.fleet, (fault, now), &mut self.verdicts);
        }
    }

    /// An alert that is silenced is open again when that is over.
    fn moved(&mut self, event: &Event) {
        let cell = |column: step::Column| event.fact.cell(column);
        let Some(alert_id) = cell(step::Column::AlertId).text().map(str::to_owned) else {
            return;
        };
        match cell(step::Column::SilencedSeconds).int() {
            Some(seconds) => {
                let until = event
                    .fact
                    .occurred_at
                    .plus_ms(seconds.saturating_mul(1_000));
                self.silenced.set(alert_id, until);
            }
            None => self.silenced.clear(&alert_id),
        }
    }

    fn in_state(&mut self, event: &Event, now: Instant) {
        let Some(key) = event.fact.cell(states::Column::DeviceKey).int() else {
            return;
        };
        let Some(device) = self.fleet.devices.get_mut(&key) else {
            return;
        };
        let at = (event.fact.occurred_at, event.position);
        if at < device.state_at {
            return;
        }
        device.state_at = at;
        let state = event.fact.cell(states::Column::NewState).text();
        let was_in_maintenance = device.is_in_maintenance();
        device.state = state.map(str::to_owned);
        if was_in_maintenance && !device.is_in_maintenance() {
            device.counts_from(now);
        }
        for gaps in &mut self.gaps {
            gaps.changed(&self.fleet, (key, now), &mut self.verdicts);
        }
        for states in &mut self.states {
            states.changed(&self.fleet, (key, at.0), &mut self.verdicts);
        }
    }

    fn registered(&mut self, event: &Event, now: Instant) {
        let cell = |column: registration::Column| event.fact.cell(column);
        let key = cell(registration::Column::DeviceKey).int();
        let Some((key, site)) = key.zip(cell(registration::Column::SiteKey).int()) else {
            return;
        };
        if !self.fleet.calendars.contains_key(&site) {
            // the hours of a site are not read before it has a device
            self.rescheduled.insert(site);
        }
        let registered = (event.fact.occurred_at, event.position);
        let lifecycle = cell(registration::Column::Lifecycle).text();
        let is_active = lifecycle.is_none_or(|word| word == "ACTIVE");
        if let Some(device) = self.fleet.devices.get_mut(&key) {
            if registered < device.registered {
                return;
            }
            if is_active && (!device.is_active || device.site != site) {
                device.counts_from(now);
            }
            device.registered = registered;
            device.site = site;
            device.is_active = is_active;
        } else {
            let device = Device {
                site,
                is_active,
                registered,
                state: None,
                state_at: (Instant::OLDEST, event.position),
                provenance: event.fact.provenance,
                interval_seconds: None,
                sign: None,
            };
            self.fleet.devices.insert(key, device);
        }
        for gaps in &mut self.gaps {
            gaps.changed(&self.fleet, (key, now), &mut self.verdicts);
        }
        for states in &mut self.states {
            states.changed(&self.fleet, (key, now), &mut self.verdicts);
        }
        for runs in &mut self.runs {
            runs.changed(&self.fleet, (key, now), &mut self.verdicts);
        }
        for insights in &mut self.insights {
            insights.changed(&self.fleet, (key, now), &mut self.verdicts);
        }
    }

    /// Devices were judged.
    pub(super) fn judged(&mut self, judged: &[Judged]) {
        for insights in &mut self.insights {
            for judged in judged {
                insights.hear(&self.fleet, judged, &mut self.verdicts);
            }
        }
    }

    /// The hours of sites were read anew.
    pub(super) fn renewed(&mut self, sites: &BTreeSet<i64>) {
        for gaps in &mut self.gaps {
            gaps.rescheduled(sites);
        }
    }

    /// Finds what has lasted long enough by now.
    pub(super) fn look(&mut self, now: Instant) {
        self.follow_clock(now);
        for gaps in &mut self.gaps {
            gaps.look(&self.fleet, now, &mut self.verdicts);
        }
        for states in &mut self.states {
            states.look(&self.fleet, now, &mut self.verdicts);
        }
        for runs in &mut self.runs {
            runs.look(now, &mut self.verdicts);
        }
        for rates in &mut self.rates {
            rates.look(now, &mut self.verdicts);
        }
    }
}

impl Evaluator {
    /// When the clock is set back, what was heard was heard by now. Hours are read for some days, and so are
    /// read anew when one has passed, or the clock is as far from where it was.
    fn follow_clock(&mut self, now: Instant) {
        if now < self.looked_at.plus_ms(-CLOCK_SET_MS) {
            self.heard_from = self.heard_from.min(now);
            let devices = self.fleet.devices.values_mut();
            for sign in devices.filter_map(|device| device.sign.as_mut()) {
                sign.heard_at = sign.heard_at.min(now);
            }
        }
        self.looked_at = now;
        if (now.0 - self.hours_read_at.0).abs() >= HOURS_HOLD_MS * 1_000 {
            self.hours_read_at = now;
            self.rescheduled.extend(self.fleet.calendars.keys());
        }
    }
}
