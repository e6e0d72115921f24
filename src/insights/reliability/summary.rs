//! The figures of reliability by themselves: of one device, and of several together.

use crate::event::Instant;
use crate::insights::input::HOUR;
use crate::insights::number::float;
use crate::insights::shape::Insight;

use crate::insights::reliability::figures::{
    self, Estimate, Flapping, Repair, flapping, mtbf_of_count,
};
use crate::insights::reliability::fleet::{Fleet, Prior, Rate};
use crate::insights::reliability::insight::{Ask, fleet, observed_reason};
use crate::insights::reliability::intervals::{Failures, Repairs, State, Times};

/// Hours for which a group is summed up: 30 days.
const HORIZON_HOURS: f64 = 720.0;

/// The figures of a device or of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// How many devices.
    pub devices: usize,
    /// Of them, those that are down.
    pub down: usize,
    /// Failures.
    pub failures: f64,
    /// In so many hours in which one would have been recorded, of all devices together.
    pub watched_hours: f64,
    /// Hours between failures.
    pub mtbf: Estimate,
    /// Hours to repair one.
    pub mttr: Estimate,
    /// The part of time not down in the long run, 0 to 1.
    pub availability: Estimate,
    /// Since when it is down, of one device.
    pub down_since: Option<Instant>,
    /// Whether it fails more often than it uses to, of one device.
    pub flapping: Option<Flapping>,
    /// Time by state.
    pub times: Times,
}

fn estimate((value, low, high): (f64, f64, f64)) -> Estimate {
    Estimate {
        value: Some(value),
        low,
        high: Some(high),
    }
}

/// The figures of one device, of which there is a reading.
#[must_use]
pub fn device(state: &State, prior: &Prior, ask: &Ask<'_>, as_of: Instant) -> Summary {
    let process = state.process(ask.failures, as_of);
    let count = process.count();
    let rate = prior.posterior(ask.site, count, process.hours);
    let repair = Repair::new(state.repairs(ask.failures), prior);
    let recent = state.recent(ask.failures, as_of, 24.0);
    let before = prior.posterior(
        ask.site,
        (count - f64::from(recent)).max(0.0),
        (process.hours - 24.0).max(0.0),
    );
    let down_since = state.down_since();
    Summary {
        devices: 1,
        down: usize::from(down_since.is_some()),
        failures: count,
        watched_hours: process.hours,
        mtbf: estimate(figures::mtbf(&rate, count, process.hours)),
        mttr: estimate(repair.mttr()),
        availability: estimate(figures::availability(&rate, &repair)),
        down_since,
        flapping: Some(flapping(&before, prior.dispersion, recent)),
        times: state.times_until(as_of),
    }
}

/// Devices that are summed up.
#[derive(Clone, Debug)]
pub struct Group {
    failures: Failures,
    fleet: Fleet,
    repairs: Repairs,
    times: Times,
    devices: usize,
    down: usize,
    since: Option<Instant>,
    last: Option<Instant>,
}

impl Group {
    /// One without a device, of which such changes count as failures.
    #[must_use]
    pub fn new(failures: Failures) -> Self {
        Self {
            failures,
            fleet: Fleet::new(HORIZON_HOURS),
            repairs: Repairs::default(),
            times: Times::default(),
            devices: 0,
            down: 0,
            since: None,
            last: None,
        }
    }

    /// Adds a device as of a time.
    pub fn add(&mut self, state: &State, site: &str, as_of: Instant) {
        let repairs = state.repairs(self.failures);
        let process = state.process(self.failures, as_of);
        self.fleet.add(site, &process, repairs);
        self.repairs.count += repairs.count;
        self.repairs.sum += repairs.sum;
        self.repairs.squares += repairs.squares;
        self.times = self.times.with(&state.times_until(as_of));
        self.devices += 1;
        self.down += usize::from(state.down_since().is_some());
        self.since = [self.since, state.since].into_iter().flatten().min();
        self.last = self.last.max(state.last);
    }

    /// Adds devices of which nothing was heard.
    pub fn add_silent(&mut self, devices: usize) {
        self.devices += devices;
    }

    /// The hours between their failures as an insight.
    #[must_use]
    pub fn insight(&self, as_of: Instant) -> Insight {
        let mut insight = fleet(&self.fleet, as_of);
        insight.evidence.from = self.since;
        insight.evidence.to = self.last;
        insight.evidence.coverage = self.since.map(|_| self.times.coverage());
        if insight.value.is_some() {
            insight.reasons.push(observed_reason(&self.times));
        }
        insight
    }

    /// Their figures. What was thought beforehand of repairs weighs as three of them.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let (count, hours) = self.fleet.totals();
        let repair = Repair::new(&self.repairs, &Fleet::new(HORIZON_HOURS).prior());
        let rate = Rate {
            shape: count + 0.5,
            hours: hours.max(1.0),
            own: 1.0,
        };
        Summary {
            devices: self.devices,
            down: self.down,
            failures: count,
            watched_hours: hours,
            mtbf: mtbf_of_count(count, hours),
            mttr: estimate(repair.mttr()),
            availability: estimate(figures::availability(&rate, &repair)),
            down_since: None,
            flapping: None,
            times: self.times,
        }
    }
}

/// A time in hours.
#[must_use]
pub fn hours(microseconds: i64) -> f64 {
    float(microseconds) / float(HOUR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::input::State as Reported;

    const START: i64 = 20_000 * 24 * HOUR;

    fn at(hours: f64) -> Instant {
        Instant(START + crate::insights::number::whole(hours * float(HOUR)))
    }

    /// A device that goes down so often within 6.2 days, each time for half an hour.
    fn failing(times: u32) -> State {
        let mut state = State::default();
        state.report(at(0.0));
        for time in 0..times {
            let down = 4.0 + 24.0 * f64::from(time);
            state.change(at(down), Reported::Offline);
            state.change(at(down + 0.5), Reported::Online);
        }
        let hours = (1..=12).map(|step| 12.0 * f64::from(step));
        let last = state.last.unwrap_or_default();
        for hour in hours.map(at).filter(|hour| *hour > last) {
            state.sign(hour);
        }
        state
    }

    #[test]
    fn a_cold_start_of_twelve_devices_has_the_figures_of_its_counts() {
        let mut group = Group::new(Failures::Any);
        for device in 0..12 {
            let times = if device < 10 { 5 } else { 4 };
            group.add(&failing(times), "a", at(148.8));
        }
        let summary = group.summary();
        assert!((summary.failures - 58.0).abs() < 1e-9);
        assert!(
            (summary.watched_hours - 1_785.6).abs() < 0.01,
            "{}",
            summary.watched_hours
        );
        let insight = group.insight(at(148.8));
        let shown = |hours: Option<f64>| hours.map(|hours| format!("{hours:.1}"));
        assert_eq!(shown(insight.value).as_deref(), Some("30.8"));
        let interval = insight.interval.unwrap();
        assert_eq!(shown(Some(interval.low)).as_deref(), Some("23.8"));
        assert_eq!(shown(Some(interval.high)).as_deref(), Some("40.5"));
        let mttr = summary.mttr.value.unwrap();
        assert!((0.4..0.7).contains(&mttr), "{mttr}");
        assert!(summary.availability.value.is_some_and(|up| up > 0.97));
    }

    #[test]
    fn a_device_that_never_failed_has_a_bound_and_not_no_end() {
        let mut group = Group::new(Failures::Any);
        group.add(&failing(0), "a", at(148.8));
        let insight = group.insight(at(148.8));
        assert_eq!(insight.value, None);
        let sentence = &insight.reasons[0].sentence;
        assert!(
            sentence.contains("over 40 h between failures"),
            "{sentence}"
        );
    }
}
