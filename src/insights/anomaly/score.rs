//! Scores of the samples of the open hour, against what the closed hours say.

use crate::event::Instant;
use crate::insights::input::HOUR;
use crate::insights::input::Sample;
use crate::insights::number;
use chrono_tz::Tz;

use crate::insights::anomaly::state::{averaged, hour_of_week};
use crate::insights::anomaly::{Change, Incident, OPEN, Ranged, References, State};

/// The two-sided normal quantile of the range: 90 % lie within.
pub(crate) const RANGE: f64 = 1.645;
/// After so many hours an alarm counts half as much against the next one.
const FATIGUE_HALF_LIFE_HOURS: f64 = 12.0;

/// How unusual one sample is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// When it was measured.
    pub at: Instant,
    /// What was measured.
    pub value: f64,
    /// How rare it is, from 0 to 1 on a logarithmic scale; stays high as long as an incident lasts.
    pub score: f64,
    /// The same, divided by one more than the alarms of late: how much of it is news. **One
    /// threshold on this value ([`OPEN`]) does for all series.**
    pub news: f64,
    /// What was expected at this time.
    pub expected: f64,
    /// Where the expected range (90 %) begins.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
    /// What it does to the incident.
    pub change: Change,
}

impl Scored {
    pub(crate) fn ranged(&self) -> Ranged {
        Ranged {
            value: self.value,
            low: self.low,
            high: self.high,
        }
    }
}

/// The fatigue after some hours.
pub(crate) fn tired(fatigue: f64, hours: f64) -> f64 {
    fatigue * (-std::f64::consts::LN_2 * hours.max(0.0) / FATIGUE_HALF_LIFE_HOURS).exp()
}

/// Scores samples later than the closed hours, in order of time. `incident` goes on from call to
/// call; a reader that only looks takes a copy of [`State::incident`].
#[must_use]
pub fn score(
    state: &State,
    zone: Tz,
    references: &References<'_>,
    incident: &mut Incident,
    samples: &[Sample],
) -> Vec<Scored> {
    let mut average = state.average();
    let mut fatigue = state.fatigue();
    let (mut before, mut known) = (state.last(), None);
    let mut scored = Vec::with_capacity(samples.len());
    for sample in samples.iter().filter(|sample| sample.value.is_finite()) {
        let hour = sample.at.0.div_euclid(HOUR);
        let expected = match known {
            Some((of, expected)) if of == hour => expected,
            _ => state.expectation(hour_of_week(sample.at, zone), references),
        };
        known = Some((hour, expected));
        average = averaged(average, sample.value - expected.value(), 1.0);
        fatigue = tired(
            fatigue,
            number::float(sample.at.0 - before.0) / number::float(HOUR),
        );
        before = sample.at;
        let rarity = state.score(expected.raw(sample.value, average));
        let news = rarity / (1.0 + fatigue);
        if news >= OPEN {
            fatigue += 1.0;
        }
        let seen = state.ranged(sample.value, &expected);
        scored.push(Scored {
            at: sample.at,
            value: sample.value,
            score: rarity,
            news,
            expected: expected.value(),
            low: seen.low,
            high: seen.high,
            change: incident.step(sample.at, rarity, seen),
        });
    }
    scored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fatigue_is_half_after_half_a_day() {
        assert!((tired(2.0, 12.0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn no_samples_have_no_scores() {
        let mut incident = Incident::default();
        let scored = score(
            &State::default(),
            Tz::UTC,
            &References::default(),
            &mut incident,
            &[],
        );
        assert!(scored.is_empty());
    }
}
