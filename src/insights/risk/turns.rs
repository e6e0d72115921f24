//! What became of healths: of each health at a midnight, how often which other one so many midnights later.

use serde::{Deserialize, Serialize};

use crate::insights::number::float;

/// After how many days it is counted.
const AFTER: [u8; 7] = [1, 2, 3, 5, 7, 10, 14];
/// Points of health that are counted as one, of what it was before.
const STEP: u8 = 5;
/// How many such steps there are, and how many healths.
const STEPS: usize = 21;
const HEALTHS: usize = 101;

/// What became of the healths of many devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turns {
    /// Of each number of days, of each step from which it began, how often it came to each health; empty while there is
    /// none.
    counts: Vec<u32>,
}

/// A health at a midnight, a later one, and how often that was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turn {
    /// What it was.
    pub from: f64,
    /// What it came to.
    pub to: f64,
    /// How often.
    pub count: f64,
}

/// A health that is kept without what is behind its point.
fn kept(health: u8) -> f64 {
    (f64::from(health) + 0.5).min(100.0)
}

/// What became of the healths of one device, which are of midnights that follow each other, so many days later.
pub fn own(healths: &[u8], days: u8) -> impl Iterator<Item = Turn> {
    let later = healths.iter().skip(days.into());
    healths.iter().zip(later).map(|(from, to)| Turn {
        from: kept(*from),
        to: kept(*to),
        count: 1.0,
    })
}

impl Turns {
    /// Counts those of one device more, by its healths at midnights that follow each other.
    pub fn add(&mut self, healths: &[u8]) {
        for (block, days) in AFTER.into_iter().enumerate() {
            let later = healths.iter().skip(days.into());
            for (from, to) in healths.iter().zip(later) {
                if self.counts.is_empty() {
                    self.counts.resize(AFTER.len() * STEPS * HEALTHS, 0);
                }
                let from = usize::from(from.saturating_add(STEP / 2) / STEP);
                let place = (block * STEPS + from) * HEALTHS + usize::from(*to);
                if let Some(count) = self.counts.get_mut(place) {
                    *count = count.saturating_add(1);
                }
            }
        }
    }

    /// Those after so many days, or after the next fewer that are counted and were seen at least a third as often as what
    /// came a day later: of a fleet that is young what came a week later is of few days, which are alike.
    pub fn after(&self, days: u8) -> impl Iterator<Item = Turn> {
        let last = AFTER.partition_point(|after| *after <= days).max(1);
        let seen = |block: usize| {
            let all = STEPS * HEALTHS;
            let counts = self.counts.iter().skip(block * all).take(all);
            counts.map(|count| u64::from(*count)).sum::<u64>()
        };
        let least = seen(0).div_ceil(3).max(1);
        let block = (1..last).rev().find(|block| seen(*block) >= least);
        let block = block.unwrap_or_default();
        let steps = self.counts.chunks(HEALTHS).skip(block * STEPS).take(STEPS);
        steps.zip(0_u8..).flat_map(|(counts, step)| {
            let seen = counts.iter().zip(0_u8..).filter(|(count, _)| **count > 0);
            seen.map(move |(count, to)| Turn {
                from: f64::from(step * STEP),
                to: kept(to),
                count: float(*count),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(turns: impl Iterator<Item = Turn>) -> Vec<(f64, f64, f64)> {
        turns.map(|turn| (turn.from, turn.to, turn.count)).collect()
    }

    #[test]
    fn what_healths_came_to_is_counted_by_what_they_were() {
        let mut turns = Turns::default();
        assert_eq!(told(turns.after(1)), []);
        turns.add(&[100, 98, 41]);
        turns.add(&[99, 98]);
        turns.add(&[7]);
        let after_one = [(100.0, 41.5, 1.0), (100.0, 98.5, 2.0)];
        assert_eq!(told(turns.after(1)), after_one);
        // after two days a third as much was seen
        assert_eq!(told(turns.after(2)), [(100.0, 41.5, 1.0)]);
        assert_eq!(told(turns.after(3)), [(100.0, 41.5, 1.0)]);
        let one = told(own(&[100, 98, 41], 1));
        assert_eq!(one, [(100.0, 98.5, 1.0), (98.5, 41.5, 1.0)]);
        assert_eq!(told(own(&[100, 98, 41], 3)), []);
    }

    #[test]
    fn days_that_are_not_counted_are_told_as_the_next_fewer() {
        let mut turns = Turns::default();
        let healths: Vec<u8> = (0..28).map(|day| 100 - day).collect();
        turns.add(&healths);
        let counted = |days| turns.after(days).map(|turn| turn.count).sum::<f64>();
        for (days, as_of) in [
            (0, 1),
            (1, 1),
            (4, 3),
            (6, 5),
            (9, 7),
            (13, 10),
            (14, 14),
            (90, 14),
        ] {
            assert!(
                (counted(days) - f64::from(28 - as_of)).abs() < f64::EPSILON,
                "{days}"
            );
        }
    }
}
