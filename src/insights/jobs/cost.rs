//! What a start costs, in transactions: those expected to be lost while the job runs, a retry if it fails, and
//! lateness. And how sure it is that a start is about the best.

use crate::event::Instant;
use crate::insights::input::HOUR;
use crate::insights::number::float;

use crate::insights::jobs::count::Count;
use crate::insights::jobs::demand::Demand;
use crate::insights::jobs::draw::Draws;
use crate::insights::jobs::rates::Gamma;
use crate::insights::jobs::success::{BLOCKS, Success};
use crate::insights::jobs::window::{Quarter, allows};

/// A start is about the best when it costs at most this part more than the best, or of a transaction.
pub const TOLERANCE: f64 = 0.05;
const DRAWS: u32 = 128;
/// So many of the cheapest starts are compared.
const COMPARED_MAX: usize = 32;

/// What things cost, in transactions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// A job that fails and must run again.
    pub retry_cost: f64,
    /// An hour later: the priority of the job.
    pub hourly_lateness: f64,
}

impl Default for Terms {
    /// A failed job costs as much as a lost transaction; lateness only decides between starts that are alike
    /// (a thousandth of a transaction in four days).
    fn default() -> Self {
        Self {
            retry_cost: 1.0,
            hourly_lateness: 1e-5,
        }
    }
}

/// A start that the limits allow, and the parts of its cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Start {
    /// The first quarter in the grid.
    pub quarter: usize,
    /// When.
    pub at: Instant,
    /// Block of six hours of the site's day.
    pub block: usize,
    /// Transactions that are expected to be lost.
    pub lost: f64,
    /// What a retry costs, by how likely it is.
    pub retry: f64,
    /// What the delay costs.
    pub lateness: f64,
}

impl Start {
    /// All of its cost, in transactions.
    #[must_use]
    pub fn cost(&self) -> f64 {
        self.lost + self.retry + self.lateness
    }
}

/// All that starts are weighed by.
#[derive(Clone, Debug)]
pub struct Scales<'a> {
    /// The quarters of the week.
    pub grid: &'a [Quarter],
    /// What can be expected.
    pub demand: &'a Demand,
    /// By block; `None` while no job has ended.
    pub success: Option<[Success; BLOCKS]>,
    /// What things cost.
    pub terms: Terms,
    /// How long the job takes.
    pub duration_minutes: u32,
    /// Lateness counts from then.
    pub as_of: Instant,
}

/// How many quarters a job takes, the last one maybe in part.
#[must_use]
pub fn quarters(duration_minutes: u32) -> usize {
    usize::try_from(duration_minutes.max(1).div_ceil(15)).unwrap_or(1)
}

impl Scales<'_> {
    /// The quarters that a job takes from a start, and the part of each.
    fn taken(&self, start: usize) -> impl Iterator<Item = (&Quarter, f64)> {
        let minutes = f64::from(self.duration_minutes.max(1));
        let part = move |index: u32| (minutes / 15.0 - f64::from(index)).clamp(0.0, 1.0);
        let taken = self
            .grid
            .iter()
            .skip(start)
            .take(quarters(self.duration_minutes));
        taken
            .zip(0..)
            .map(move |(quarter, index)| (quarter, part(index)))
    }

    /// Every start that is allowed, in order of time.
    #[must_use]
    pub fn starts(&self) -> Vec<Start> {
        let length = quarters(self.duration_minutes);
        let means: Vec<f64> = self.demand.rates.iter().map(|rate| rate.mean()).collect();
        let end_part = f64::from(self.duration_minutes.max(1)) / 15.0 - float::<usize>(length - 1);
        let failure: [f64; BLOCKS] = std::array::from_fn(|block| {
            self.success
                .and_then(|success| success.get(block).copied())
                .map_or(0.0, |of| 1.0 - of.mean())
        });
        let lost =
            |quarter: &Quarter| means.get(quarter.rate).copied().unwrap_or(0.0) * quarter.share;
        let allowed = self
            .grid
            .windows(length)
            .enumerate()
            .filter(|(_, taken)| allows(taken, self.duration_minutes.max(1)));
        allowed
            .filter_map(|(index, taken)| {
                let (first, end) = (taken.first()?, taken.last()?);
                let block = usize::from(first.local.minute / 360);
                let later: f64 = float(first.at.0 - self.as_of.0);
                Some(Start {
                    quarter: index,
                    at: first.at,
                    block,
                    lost: taken.iter().map(lost).sum::<f64>() - lost(end) * (1.0 - end_part),
                    retry: self.terms.retry_cost * failure.get(block).copied().unwrap_or(0.0),
                    lateness: self.terms.hourly_lateness * later / float::<i64>(HOUR),
                })
            })
            .collect()
    }

    /// The transactions that will be counted while the job runs.
    #[must_use]
    pub fn count(&self, start: usize) -> Count {
        let mut mean = 0.0;
        let mut alone = 0.0;
        let mut together = 0.0;
        for (rate, part) in self.pieces(start) {
            let piece = rate.mean() * part;
            mean += piece;
            alone += piece * part / rate.rate;
            together += piece * (rate.shared + self.demand.noise).sqrt();
        }
        Count {
            mean,
            rate_variance: alone + together * together,
        }
    }

    /// The rates that hold while the job runs, each with its hours.
    fn pieces(&self, start: usize) -> Vec<(Gamma, f64)> {
        self.indexed(start)
            .into_iter()
            .map(|(index, part)| {
                (
                    self.demand.rates.get(index).copied().unwrap_or(Gamma {
                        rate: 1.0,
                        ..Gamma::default()
                    }),
                    part,
                )
            })
            .collect()
    }

    fn indexed(&self, start: usize) -> Vec<(usize, f64)> {
        let mut pieces: Vec<(usize, f64)> = Vec::new();
        for (quarter, part) in self.taken(start) {
            let hours = quarter.share * part;
            match pieces.last_mut() {
                Some((rate, held)) if *rate == quarter.rate => *held += hours,
                _ => pieces.push((quarter.rate, hours)),
            }
        }
        pieces
    }

    /// The probability that a start is about the best of all, by draws from what is not known exactly.
    /// A job's cost is piecewise linear, so that only starts on the hour and next to a limit are compared.
    #[must_use]
    pub fn confidence(&self, best: &Start, starts: &[Start]) -> f64 {
        let compared = self.compared(best, starts);
        let pieces: Vec<(Start, Vec<(usize, f64)>)> = compared
            .into_iter()
            .map(|start| (start, self.indexed(start.quarter)))
            .collect();
        let own = self.indexed(best.quarter);
        let mut draws = Draws::new(self.as_of.0);
        let mut within = 0_u32;
        for _ in 0..DRAWS {
            let mut world = Drawn::new(self, &mut draws);
            let cost = world.cost(best, &own, &mut draws);
            if cost <= world.least() + TOLERANCE {
                within += 1;
                continue;
            }
            let least = pieces
                .iter()
                .map(|(start, pieces)| world.cost(start, pieces, &mut draws))
                .fold(cost, f64::min);
            within += u32::from(cost <= least + TOLERANCE * least.max(1.0));
        }
        f64::from(within) / f64::from(DRAWS)
    }

    fn compared(&self, best: &Start, starts: &[Start]) -> Vec<Start> {
        let spread = |start: &Start| {
            let variance: f64 = self
                .pieces(start.quarter)
                .iter()
                .map(|(rate, part)| rate.mean() * part * part / rate.rate)
                .sum();
            4.0 * variance.sqrt()
        };
        let high = best.cost() + spread(best);
        let is_edge = |start: &Start| {
            let before = start
                .quarter
                .checked_sub(1)
                .and_then(|before| self.grid.get(before));
            before.is_none_or(|before| {
                !before.is_allowed() || before.local.minute / 60 != self.minute(start) / 60
            })
        };
        let mut compared: Vec<Start> = starts
            .iter()
            .filter(|start| is_edge(start))
            .copied()
            .collect();
        compared.sort_by(|a, b| a.cost().total_cmp(&b.cost()));
        compared.retain(|start| self.success.is_some() || start.cost() - spread(start) <= high);
        compared.truncate(COMPARED_MAX);
        compared
    }

    fn minute(&self, start: &Start) -> u16 {
        self.grid
            .get(start.quarter)
            .map_or(0, |quarter| quarter.local.minute)
    }
}

/// One draw of everything that is not known exactly; a rate is drawn when it is first asked for.
struct Drawn<'a> {
    scales: &'a Scales<'a>,
    rates: Vec<Option<f64>>,
    failure: [f64; BLOCKS],
}

impl<'a> Drawn<'a> {
    fn new(scales: &'a Scales<'a>, draws: &mut Draws) -> Self {
        let failure = scales.success.map_or([0.0; BLOCKS], |success| {
            success.map(|of| 1.0 - draws.beta(of.a, of.b))
        });
        Self {
            scales,
            rates: vec![None; scales.demand.rates.len()],
            failure,
        }
    }

    /// No start can cost less.
    fn least(&self) -> f64 {
        let failure = self.failure.iter().copied().fold(f64::INFINITY, f64::min);
        self.scales.terms.retry_cost * failure
    }

    fn cost(&mut self, start: &Start, pieces: &[(usize, f64)], draws: &mut Draws) -> f64 {
        let lost: f64 = pieces
            .iter()
            .map(|(index, hours)| hours * self.rate(*index, draws))
            .sum();
        let failure = self.failure.get(start.block).copied().unwrap_or(0.0);
        lost + start.lateness + self.scales.terms.retry_cost * failure
    }

    fn rate(&mut self, index: usize, draws: &mut Draws) -> f64 {
        let known = self.scales.demand.rates.get(index).copied();
        let (Some(kept), Some(rate)) = (self.rates.get_mut(index), known) else {
            return 0.0;
        };
        *kept.get_or_insert_with(|| draws.gamma(rate.shape) / rate.rate)
    }
}
