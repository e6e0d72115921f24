//! Incidents one by one: the last few that are over, and the one that is open.

use crate::event::Instant;
use crate::insights::input::{HOUR, Sample};
use crate::insights::number::Short;
use crate::insights::shape::{Insight, Interval, Reason, Status};
use serde::{Deserialize, Serialize};

use crate::insights::anomaly::reading::{Subject, evidence, later};
use crate::insights::anomaly::words::{name, time};
use crate::insights::anomaly::{State, score};

/// So many incidents that are over are kept of a measure of a device.
pub const PAST_KEPT: usize = 4;

/// An incident that is over, as it is kept. Closed hours begin and end it, so that hours say all of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Past {
    /// Its first hour, since 1970.
    since: u32,
    /// How many hours later the last unusual one began.
    hours: u16,
    worst: Short,
}

impl Past {
    pub(crate) fn of(standing: &Standing) -> Self {
        let hours = (standing.last.0 - standing.since.0).div_euclid(HOUR);
        Self {
            since: u32::try_from(standing.since.0.div_euclid(HOUR)).unwrap_or(0),
            hours: u16::try_from(hours).unwrap_or(u16::MAX),
            worst: Short::of(standing.worst),
        }
    }

    pub(crate) fn standing(self) -> Standing {
        let since = i64::from(self.since) * HOUR;
        Standing {
            since: Instant(since),
            last: Instant(since + i64::from(self.hours) * HOUR),
            worst: self.worst.into(),
            is_open: false,
        }
    }
}

/// An incident as it stands at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// When it began: the hour of the first unusual value, or in an hour that is not over that value itself.
    pub since: Instant,
    /// The last unusual value so far, told in the same way.
    pub last: Instant,
    /// The highest score in it.
    pub worst: f64,
    /// Whether it is not over.
    pub is_open: bool,
}

impl Standing {
    /// What names it among those of its measure: an incident keeps its hour when that is closed.
    #[must_use]
    pub const fn hour(&self) -> i64 {
        self.since.0.div_euclid(HOUR)
    }
}

/// The incidents of a measure, as of a time, in order of time: those that are over and kept, and the one that is open.
/// `open` are samples later than the closed hours, as in [`read`](super::read).
#[must_use]
pub fn incidents(
    state: &State,
    subject: &Subject<'_>,
    open: &[Sample],
    as_of: Instant,
) -> Vec<Standing> {
    let mut all: Vec<Standing> = state.past().collect();
    let mut incident = state.incident();
    all.extend(incident.standing(as_of));
    let samples = later(state, subject, open, as_of);
    let _ = score(
        state,
        subject.zone,
        &subject.references,
        &mut incident,
        &samples,
    );
    if let Some(now) = incident.standing(as_of) {
        match all.last_mut().filter(|last| last.since == now.since) {
            Some(last) => *last = now,
            None => all.push(now),
        }
    }
    // what another one follows is over
    let count = all.len();
    for over in all.iter_mut().take(count.saturating_sub(1)) {
        over.is_open = false;
    }
    all
}

/// An incident that is over as an insight: its value is the highest score in it.
#[must_use]
pub fn past(state: &State, subject: &Subject<'_>, over: &Standing, as_of: Instant) -> Insight {
    let at = |instant| time(instant, subject.zone, "%A, %-d %B, %H:%M");
    // a score of a half is seen in one hour of a hundred
    let rarity = 10.0_f64.powf(4.0 * over.worst);
    let reason = Reason {
        factor: "anomaly.incident",
        contribution: over.worst,
        observed: Some(over.worst),
        expected: None,
        unit: None,
        sentence: format!(
            "{} was unusual from {} to {}; the most unusual of it is seen in one hour of {rarity:.0}.",
            name(subject.measure),
            at(over.since),
            at(over.last)
        ),
    };
    Insight {
        value: Some(over.worst),
        interval: Some(Interval::exact(over.worst)),
        evidence: evidence(state, &[], as_of),
        status: Status::Ok,
        reasons: vec![reason],
        recommendations: Vec::new(),
        as_of,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::anomaly::state::tests::{daily, fed, hour};
    use crate::insights::anomaly::{OPEN, References, fold};
    use crate::insights::input::Measure;
    use chrono_tz::Tz;

    const SUBJECT: Subject<'static> = Subject {
        measure: Measure::NetworkLatencyMs,
        zone: Tz::UTC,
        references: References {
            site: None,
            fleet: None,
        },
    };

    /// Three weeks, then an hour that is very unusual, then so many that are not.
    fn after(hours: i64) -> State {
        let first = 21 * 24;
        let mut state = fed(21, daily);
        let unusual = hour(first, 900.0);
        let usual = (first + 1..first + 1 + hours).map(|number| hour(number, daily(number)));
        for hour in std::iter::once(unusual).chain(usual) {
            fold(&mut state, Measure::NetworkLatencyMs, Tz::UTC, &hour);
        }
        state
    }

    #[test]
    fn an_incident_is_open_and_then_one_of_those_that_are_over() {
        let at = |hours: i64| Instant((21 * 24 + hours) * HOUR);
        let opened = incidents(&after(1), &SUBJECT, &[], at(2));
        let last = opened.last().unwrap();
        assert!(
            last.is_open && last.worst >= OPEN && last.since == at(0),
            "{opened:?}"
        );
        let over = incidents(&after(20), &SUBJECT, &[], at(21));
        let same = over.iter().find(|one| one.since == at(0)).unwrap();
        assert!(!same.is_open && (same.worst - last.worst).abs() < 1e-3);
        let told = past(&after(20), &SUBJECT, same, at(21));
        assert!(
            told.reasons[0]
                .sentence
                .starts_with("Latency was unusual from Thursday, 22 January, 00:00"),
            "{told:?}"
        );
    }

    #[test]
    fn an_hour_says_the_same_of_an_incident_that_is_kept() {
        let standing = Standing {
            since: Instant(500_000 * HOUR),
            last: Instant(500_040 * HOUR),
            worst: 0.5,
            is_open: false,
        };
        assert_eq!(Past::of(&standing).standing(), standing);
    }
}
