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
    /// Takes the score of a sample, undamped.
    pub fn step(&mut self, at: Instant, score: f64) -> Change {
        let is_over = self.open.is_some() && self.is_over(at);
        if is_over {
            self.open = None;
        }
        let is_unusual = score >= OPEN;
        if let Some(open) = &mut self.open {
            if is_unusual {
                open.last = at;
                open.worst = open.worst.max(number::single(score));
            }
            return Change::Continues;
        }
        if is_unusual {
            self.open = Some(Opened {
                since: at,
                last: at,
                worst: number::single(score),
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

    #[test]
    fn one_opening_however_often_it_swings() {
        let mut incident = Incident::default();
        let changes: Vec<Change> = (0..40)
            .map(|k| incident.step(hour(k), if k % 2 == 0 { 0.9 } else { 0.1 }))
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
        assert_eq!(incident.step(hour(0), 0.9), Change::Opened);
        assert_eq!(incident.step(hour(12), 0.1), Change::Continues);
        assert_eq!(incident.step(hour(13), 0.1), Change::Closed);
        assert_eq!(incident.step(hour(14), 0.1), Change::Quiet);
        assert_eq!(incident.step(hour(15), 0.9), Change::Opened);
    }

    #[test]
    fn after_a_silence_the_next_score_opens_another() {
        let mut incident = Incident::default();
        incident.step(hour(0), 0.9);
        assert_eq!(incident.since(hour(30)), None);
        assert_eq!(incident.step(hour(30), 0.9), Change::Opened);
        assert_eq!(incident.since(hour(30)), Some(hour(30)));
    }
}
