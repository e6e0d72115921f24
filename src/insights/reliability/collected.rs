//! The data of several devices together: what came of what was to come, and the silences.

use crate::event::Instant;
use crate::insights::number::float;
use crate::insights::shape::{Evidence, Insight, Interval, Reason, Status};

use crate::insights::reliability::counts::nearest;
use crate::insights::reliability::quality::{Coverage, State};
use crate::insights::reliability::words::lasting;
use crate::insights::risk::words::plural;

/// The days of which it is told what came.
const DAYS: i64 = 7;
/// Below this coverage nothing is said of hours of the day or days of the week.
const RHYTHM_FROM: f64 = 0.05;

/// What came of the data of devices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Collected {
    /// How many devices.
    pub devices: usize,
    /// Of them, those of which it is known how often they mean to report.
    pub timed: usize,
    /// What came of what was to come, of these, in the last 7 days.
    pub coverage: Coverage,
    /// Silences so far, the open ones among them.
    pub gaps: u32,
    /// How long they were together, in microseconds.
    pub gap_length: i64,
    /// Of the devices, those that are silent.
    pub silent: usize,
    /// Reports that were recorded with an instant that another one had.
    pub duplicates: u32,
    since: Option<Instant>,
    last: Option<Instant>,
}

impl Collected {
    /// Adds a device as of a time.
    pub fn add(&mut self, state: &State, as_of: Instant) {
        let coverage = state.coverage(DAYS, as_of);
        let (since, last) = state.span();
        self.devices += 1;
        if coverage.expected > 0.0 {
            self.timed += 1;
            self.coverage.received += coverage.received;
            self.coverage.expected += coverage.expected;
        }
        let (gaps, length) = state.gap_totals(as_of);
        self.gaps += gaps;
        self.gap_length += length;
        self.silent += usize::from(state.open_gap(as_of).is_some());
        self.duplicates += state.duplicates;
        self.since = [self.since, since].into_iter().flatten().min();
        self.last = self.last.max(last);
    }

    /// The part that came of what was to come, as an insight.
    #[must_use]
    pub fn insight(&self, as_of: Instant) -> Insight {
        let share = self.coverage.share();
        let evidence = Evidence {
            events: nearest(self.coverage.received),
            from: self.since,
            to: self.last,
            coverage: share,
        };
        let Some(share) = share else {
            let sentence = "Of no device it is known how often it means to report. It is after 4 reports of one, or \
                            when it tells it.";
            return Insight::insufficient(evidence, reason("interval", None, sentence), as_of);
        };
        let mut reasons = vec![Reason {
            observed: Some(self.coverage.received),
            expected: Some(self.coverage.expected),
            ..reason("coverage", Some("reports"), &self.told(share))
        }];
        if share < RHYTHM_FROM {
            let sentence = "So little tells nothing of hours of the day or days of the week: none are told apart.";
            reasons.push(reason("rhythm", None, sentence));
        }
        if self.gaps > 0 {
            let sentence = format!(
                "{} so far, {} together; of {}, {} silent now.",
                plural(f64::from(self.gaps), "gap"),
                lasting(self.gap_length),
                plural(float(self.devices), "device"),
                self.silent
            );
            reasons.push(Reason {
                observed: Some(f64::from(self.gaps)),
                ..reason("gaps", Some("gaps"), &sentence)
            });
        }
        Insight {
            value: Some(share),
            interval: Some(Interval::exact(share)),
            evidence,
            status: if self.timed == self.devices {
                Status::Ok
            } else {
                Status::Learning
            },
            reasons,
            recommendations: Vec::new(),
            as_of,
        }
    }

    fn told(&self, share: f64) -> String {
        let of = if self.timed == self.devices {
            format!("all {} devices", self.devices)
        } else {
            format!(
                "{} of {} devices of which it is known how often they report",
                self.timed, self.devices
            )
        };
        format!(
            "{}, of {of}: {:.2} %.",
            self.coverage.told(self.timed),
            100.0 * share
        )
    }
}

fn reason(factor: &'static str, unit: Option<&'static str>, sentence: &str) -> Reason {
    Reason {
        factor,
        contribution: 0.0,
        observed: None,
        expected: None,
        unit,
        sentence: sentence.to_owned(),
    }
}

/// The length of a silence in seconds.
#[must_use]
pub fn seconds(microseconds: i64) -> f64 {
    float(microseconds) / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::input::SECOND;

    #[test]
    fn a_cold_start_has_a_quarter_of_a_percent_and_claims_no_rhythm() {
        let at = |seconds: i64| Instant(seconds * SECOND);
        let mut all = Collected::default();
        for device in 0..12 {
            let mut state = State::default();
            state.tell(30.0);
            for index in 0..if device < 10 { 45 } else { 44 } {
                state.report(at(index * 11_000));
            }
            all.add(&state, at(535_680));
        }
        let insight = all.insight(at(535_680));
        let sentence = &insight.reasons[0].sentence;
        assert!(
            sentence.starts_with("538 of 214272 reports came")
                && sentence.ends_with("of all 12 devices: 0.25 %."),
            "{sentence}"
        );
        assert_eq!(insight.reasons[1].factor, "rhythm");
    }

    #[test]
    fn of_devices_that_never_reported_nothing_is_said() {
        let mut all = Collected::default();
        all.add(&State::default(), Instant(0));
        let insight = all.insight(Instant(0));
        assert_eq!(
            (insight.status, insight.value),
            (Status::Insufficient, None)
        );
    }
}
