//! One opening and one closing per incident.

use crate::event::Instant;
use crate::insights::input::HOUR;
use crate::insights::number;
use serde::{Deserialize, Serialize};

use crate::insights::anomaly::{OPEN, QUIET_HOURS, Standing};

/// Whether something unusual is going on. Fed with scores in order of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    open: Option<Opened>,
}

/// An incident that is open.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Opened {
    since: Instant,
    last: Instant,
    worst: f32,
    peak: Peak,
}

/// A value, and the range (90 %) in which it was to be expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranged {
    /// What was measured.
    pub value: f64,
    /// Where the range begins.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
}

impl Ranged {
    /// Whether it lies in the range.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        (self.low..=self.high).contains(&self.value)
    }

    /// How far it is beyond the range.
    fn beyond(&self) -> f64 {
        (self.low - self.value).max(self.value - self.high).max(0.0)
    }
}

/// The most unusual value of an incident: of an hour that is over, when that began.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Peak {
    at: Instant,
    value: f32,
    low: f32,
    high: f32,
}

impl Peak {
    fn of(at: Instant, seen: Ranged) -> Self {
        Self {
            at,
            value: number::single(seen.value),
            low: number::single(seen.low),
            high: number::single(seen.high),
        }
    }

    fn seen(self) -> Ranged {
        Ranged {
            value: self.value.into(),
            low: self.low.into(),
            high: self.high.into(),
        }
    }
}

impl Opened {
    /// Takes one more unusual value; of those that are alike the one that is farthest beyond its range is the peak.
    fn take(&mut self, at: Instant, score: f64, seen: Ranged) {
        let score = number::single(score);
        let is_farther = seen.beyond() > self.peak.seen().beyond();
        if score > self.worst || (score >= self.worst && is_farther) {
            self.peak = Peak::of(at, seen);
        }
        self.last = at;
        self.worst = self.worst.max(score);
    }
}

/// What a score did to the incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing unusual, and nothing was.
    Quiet,
    /// An incident begins with this score.
    Opened,
    /// The incident goes on.
    Continues,
    /// It was quiet for long enough: the incident was over before this score.
    Closed,
}

impl Incident {
    /// Takes the score of a sample, undamped, and what was measured.
    pub fn step(&mut self, at: Instant, score: f64, seen: Ranged) -> Change {
        let is_over = self.open.is_some() && self.is_over(at);
        if is_over {
            self.open = None;
        }
        let is_unusual = score >= OPEN;
        if let Some(open) = &mut self.open {
            if is_unusual {
                open.take(at, score, seen);
            }
            return Change::Continues;
        }
        if is_unusual {
            self.open = Some(Opened {
                since: at,
                last: at,
                worst: number::single(score),
                peak: Peak::of(at, seen),
            });
            return Change::Opened;
        }
        if is_over {
            Change::Closed
        } else {
            Change::Quiet
        }
    }

    /// Since when an incident is open, at a time.
    #[must_use]
    pub fn since(&self, at: Instant) -> Option<Instant> {
        self.open
            .filter(|_| !self.is_over(at))
            .map(|open| open.since)
    }

    /// The highest score of the open incident.
    #[must_use]
    pub fn worst(&self) -> Option<f64> {
        self.open.map(|open| f64::from(open.worst))
    }

    /// The most unusual value of the open incident, and when it was seen: of an hour that is over, when that began.
    #[must_use]
    pub fn peak(&self) -> Option<(Instant, Ranged)> {
        self.open.map(|open| (open.peak.at, open.peak.seen()))
    }

    /// The incident that was begun last, as it stands at a time, if it was not followed by a closing.
    #[must_use]
    pub fn standing(&self, at: Instant) -> Option<Standing> {
        self.open.map(|open| Standing {
            since: open.since,
            last: open.last,
            worst: f64::from(open.worst),
            is_open: !self.is_over(at),
        })
    }

    fn is_over(&self, at: Instant) -> bool {
        let hours = |open: Opened| number::float(at.0 - open.last.0) / number::float(HOUR);
        self.open.is_none_or(|open| hours(open) > QUIET_HOURS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(hour: i64) -> Instant {
        Instant(hour * HOUR)
    }

    fn seen(value: f64) -> Ranged {
        Ranged {
            value,
            low: 0.0,
            high: 10.0,
        }
    }

    #[test]
    fn the_peak_is_the_highest_score_and_of_these_the_farthest() {
        let mut incident = Incident::default();
        for (at, (score, value)) in [
            (0.9, 20.0),
            (1.0, 50.0),
            (1.0, 70.0),
            (0.5, 90.0),
            (0.1, 5.0),
        ]
        .into_iter()
        .enumerate()
        {
            let at = hour(i64::try_from(at).unwrap());
            incident.step(at, score, seen(value));
        }
        assert_eq!(incident.peak(), Some((hour(2), seen(70.0))));
        assert!(!seen(70.0).is_usual() && seen(10.0).is_usual() && !seen(-1.0).is_usual());
    }

    #[test]
    fn one_opening_however_often_it_swings() {
        let mut incident = Incident::default();
        let changes: Vec<Change> = (0..40)
            .map(|k| incident.step(hour(k), if k % 2 == 0 { 0.9 } else { 0.1 }, seen(1.0)))
            .collect();
        assert_eq!(
            changes
                .iter()
                .filter(|change| **change == Change::Opened)
                .count(),
            1
        );
        assert_eq!(incident.since(hour(40)), Some(hour(0)));
    }

    #[test]
    fn it_closes_after_quiet_and_opens_anew() {
        let mut incident = Incident::default();
        assert_eq!(incident.step(hour(0), 0.9, seen(1.0)), Change::Opened);
        assert_eq!(incident.step(hour(12), 0.1, seen(1.0)), Change::Continues);
        assert_eq!(incident.step(hour(13), 0.1, seen(1.0)), Change::Closed);
        assert_eq!(incident.step(hour(14), 0.1, seen(1.0)), Change::Quiet);
        assert_eq!(incident.step(hour(15), 0.9, seen(1.0)), Change::Opened);
    }

    #[test]
    fn after_a_silence_the_next_score_opens_another() {
        let mut incident = Incident::default();
        incident.step(hour(0), 0.9, seen(1.0));
        assert_eq!(incident.since(hour(30)), None);
        assert_eq!(incident.step(hour(30), 0.9, seen(1.0)), Change::Opened);
        assert_eq!(incident.since(hour(30)), Some(hour(30)));
    }
}
