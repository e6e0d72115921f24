//! The distribution of the past scores of one series, as a histogram of fixed size.

use crate::insights::number::{self, Short};
use serde::{Deserialize, Serialize};

/// Bins, each wider than the one before it by the same factor.
const BINS: usize = 64;
/// Where the first bin begins: scores are means of absolute z values, so this is "nothing at all".
const LOWEST: f64 = 0.05;
/// The width of a bin in the logarithm of the score. The last bin ends at 738.
const STEP: f64 = 0.15;
/// After so many scores an old one counts half: two weeks of hours.
const HALF_LIFE: f64 = 336.0;
/// The tail is the part above this quantile.
const TAIL_FROM: f64 = 0.95;
/// What the tail is thought to be like before it was seen: so many scores …
const PRIOR_COUNT: f64 = 3.0;
/// … of so much excess on average, in the logarithm of the score.
const PRIOR_EXCESS: f64 = 0.2;

/// Counts of scores in logarithmic bins, with exponential forgetting. Two sketches merge by sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sketch {
    bins: Vec<Short>,
}

impl Default for Sketch {
    fn default() -> Self {
        Self {
            bins: vec![Short::default(); BINS],
        }
    }
}

impl Sketch {
    /// Takes one more score.
    pub(crate) fn add(&mut self, score: f64) {
        let keep = (-std::f64::consts::LN_2 / HALF_LIFE).exp();
        for bin in &mut self.bins {
            *bin = Short::of(f64::from(*bin) * keep);
        }
        let last = BINS.saturating_sub(1);
        if let Some(bin) = self.bins.get_mut(number::index(place(score)).min(last)) {
            *bin = Short::of(f64::from(*bin) + 1.0);
        }
    }

    /// How probable a score of at least this is.
    ///
    /// Below the 95 % quantile the part of past scores. Above it a Pareto tail, whose exponent is
    /// the mean excess of the logarithms (Hill 1975), so that it neither saturates at the largest
    /// score seen nor calls everything beyond it impossible.
    pub(crate) fn tail(&self, score: f64) -> f64 {
        let total: f64 = self.bins.iter().map(|bin| f64::from(*bin)).sum();
        let place = place(score);
        let (edge, count, excess) = self.upper(total * (1.0 - TAIL_FROM));
        if place <= edge {
            return (self.above(place) + 0.5) / (total + 1.0);
        }
        let mean = (excess + PRIOR_COUNT * PRIOR_EXCESS / STEP) / (count + PRIOR_COUNT);
        (count + 0.5) / (total + 1.0) * (-(place - edge) / mean).exp()
    }

    /// How many scores are above a place, taking those of a bin as evenly spread.
    fn above(&self, place: f64) -> f64 {
        let spread = |(bin, count): (usize, &Short)| {
            f64::from(*count) * (number::float(bin) + 1.0 - place).clamp(0.0, 1.0)
        };
        self.bins.iter().enumerate().map(spread).sum()
    }

    /// The longest run of whole bins from the top with less than `limit` scores: where it begins,
    /// how many scores it has, and by how much they exceed its beginning in sum.
    fn upper(&self, limit: f64) -> (f64, f64, f64) {
        let (mut edge, mut count, mut sum) = (number::float(BINS), 0.0, 0.0);
        for (bin, scores) in self.bins.iter().enumerate().skip(1).rev() {
            let scores = f64::from(*scores);
            if count + scores >= limit {
                break;
            }
            edge = number::float(bin);
            count += scores;
            sum += scores * (edge + 0.5);
        }
        (edge, count, sum - count * edge)
    }
}

/// Where a score falls, in bins.
fn place(score: f64) -> f64 {
    ((score.max(LOWEST) / LOWEST).ln() / STEP).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> Sketch {
        let mut sketch = Sketch::default();
        for k in 0..1_000 {
            sketch.add(0.5 + f64::from(k % 100) / 100.0);
        }
        sketch
    }

    #[test]
    fn tail_falls_as_the_score_rises() {
        let sketch = filled();
        let tails: Vec<f64> = (1..400).map(|k| sketch.tail(f64::from(k) * 0.05)).collect();
        assert!(tails.windows(2).all(|pair| pair[0] >= pair[1]));
        assert!(tails.iter().all(|tail| (0.0..=1.0).contains(tail)));
    }

    #[test]
    fn tail_is_the_part_of_past_scores_in_the_middle() {
        assert!((filled().tail(1.0) - 0.5).abs() < 0.05);
    }

    #[test]
    fn what_was_never_seen_is_rare_but_not_impossible() {
        let tail = filled().tail(3.0);
        assert!(tail > 0.0 && tail < 0.01, "{tail}");
    }

    #[test]
    fn an_empty_sketch_knows_nothing() {
        assert!(Sketch::default().tail(0.1) >= 0.49);
    }
}
