//! One measure of one device: its own level and spread, and its last two days beside them.

use crate::event::Instant;
use crate::insights::input::HOUR;
use crate::insights::input::{Hour, Measure};
use crate::insights::number::{float, single};
use serde::{Deserialize, Serialize};

use crate::insights::risk::fleet::median;

/// Hours in a block: a day has eight, which is fine enough for a daily mean and keeps the ring short.
const BLOCK_HOURS: i64 = 3;
/// Blocks in a day.
const DAY_BLOCKS: i64 = 8;
/// Hours in half a day.
const HALF_DAY: f64 = 12.0;
/// Blocks kept: the open one and two days.
const RING: usize = 17;
/// Half-life of the level.
const HALF_LIFE_DAYS: f64 = 7.0;
/// How far one block may pull the level, in its own spreads: an incident must not teach itself.
const CLIP: f64 = 2.5;
/// What the spread within the day weighs against days themselves, in days.
const PRIOR_DAYS: f64 = 14.0;
/// Daily means kept for the trend.
const TREND_DAYS: usize = 28;
/// The least spread, as a part of the level, so that a constant measure has no infinite z.
const LEAST_SPREAD: f64 = 0.002;

/// The hourly values of three hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Block(f32, u8);

/// The level and the spread of one measure over the devices of a fleet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Norm {
    /// The level of a usual device.
    pub level: f64,
    /// The variance of levels between devices.
    pub between: f64,
    /// The variance of blocks within a device.
    pub within: f64,
    /// The variance of daily means as a multiple of what eight independent blocks would have.
    pub day_ratio: f64,
}

/// What one device tells about the norm of its fleet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// Its level.
    pub level: f64,
    /// The variance of its blocks.
    pub within: f64,
    /// The variance of its level.
    pub unsure: f64,
    /// The variance of its daily means as a multiple of what eight independent blocks would have.
    pub day_ratio: Option<f64>,
}

/// How far the last day and the day before it lie from the device's own level, in spreads of daily means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// The last 24 hours.
    pub day: f64,
    /// The 24 hours before them.
    pub before: f64,
    /// The mean of the last 24 hours.
    pub mean: f64,
    /// The level.
    pub level: f64,
}

/// One measure of one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// Which.
    pub measure: Measure,
    /// The block that `blocks` ends with, counted from 1970.
    head: i64,
    blocks: Vec<Block>,
    /// The level of what is older than two days.
    level: f64,
    /// How many blocks that rests on, fading.
    level_blocks: f64,
    /// The variance of blocks around the level.
    within: f64,
    /// The day that is open, and the daily means before it.
    open_day: (i64, f64, f64),
    means: Vec<f32>,
    /// The variance of those of them that are older than two days, and how many these are.
    day_spread: Option<(f32, u8)>,
}

impl Track {
    /// An empty one.
    #[must_use]
    pub fn new(measure: Measure) -> Self {
        Self {
            measure,
            head: i64::MIN,
            blocks: Vec::new(),
            level: 0.0,
            level_blocks: 0.0,
            within: 0.0,
            open_day: (i64::MIN, 0.0, 0.0),
            means: Vec::new(),
            day_spread: None,
        }
    }

    /// Takes a closed hour.
    pub fn take(&mut self, start: Instant, hour: &Hour) {
        let value = if self.measure.is_counter() {
            hour.increase
        } else {
            hour.mean()
        };
        if !value.is_finite() {
            return;
        }
        let block = start.0.div_euclid(HOUR * BLOCK_HOURS);
        self.advance(block);
        if let Some(open) = self.blocks.last_mut() {
            open.0 += single(value);
            open.1 = open.1.saturating_add(1);
        }
        self.take_trend(block.div_euclid(DAY_BLOCKS), value);
    }

    fn advance(&mut self, block: i64) {
        if self.head == i64::MIN {
            self.head = block - 1;
        }
        while self.head < block {
            self.head += 1;
            if self.blocks.len() >= RING {
                let old = self.blocks.remove(0);
                self.learn(old);
            }
            self.blocks.push(Block::default());
            if block - self.head > 400 {
                self.blocks.clear();
                self.head = block - 1;
            }
        }
    }

    /// A block that is older than two days teaches the level.
    fn learn(&mut self, block: Block) {
        let Some(value) = mean_of([block]) else {
            return;
        };
        let blocks = self.level_blocks;
        if blocks < 1.0 {
            self.level = value;
            self.level_blocks = 1.0;
            return;
        }
        let spread = self.within.sqrt();
        let clip = if blocks < 8.0 {
            f64::INFINITY
        } else {
            CLIP * spread
        };
        let step = (value - self.level).clamp(-clip, clip);
        let fade = 0.5_f64.powf(1.0 / (HALF_LIFE_DAYS * float(DAY_BLOCKS)));
        self.level_blocks = blocks * fade + 1.0;
        self.level += step / self.level_blocks;
        self.within +=
            (step * step * blocks / (blocks + 1.0) - self.within) / blocks.min(self.level_blocks);
    }

    /// The variance of daily means: that of the own days, shrunk to what the fleet makes of eight blocks.
    fn day_variance(&self, within: f64, ratio: f64) -> f64 {
        let prior = within / self.blocks_a_day() * ratio;
        let Some((own, count)) = self.day_spread else {
            return prior;
        };
        let (own, count) = (f64::from(own), f64::from(count));
        (own * count + prior * PRIOR_DAYS) / (count + PRIOR_DAYS)
    }

    /// Blocks with values in a day, by the last two: a device that reports once a day has one.
    fn blocks_a_day(&self) -> f64 {
        let filled = self.blocks.iter().filter(|block| block.1 > 0).count();
        (float(filled) / float(self.blocks.len().max(1)) * float(DAY_BLOCKS)).max(1.0)
    }

    /// The variance of the daily means that are older than two days, by their median absolute deviation (Hampel 1974).
    /// It is kept, since whoever asks reads it of each measure of each device.
    fn spread_of_days(&self) -> Option<(f32, u8)> {
        let mut means: Vec<f64> = self
            .daily_means()
            .iter()
            .filter(|(day, _)| *day < -2.0)
            .map(|(_, mean)| *mean)
            .collect();
        let count = u8::try_from(means.len()).unwrap_or(u8::MAX);
        let middle = median(&mut means)?;
        let mut deviations: Vec<f64> = means.iter().map(|mean| (mean - middle).abs()).collect();
        let spread = 1.4826 * median(&mut deviations)?;
        (count >= 5).then_some((single(spread * spread), count))
    }

    fn take_trend(&mut self, day: i64, value: f64) {
        if self.open_day.0 != day {
            let (_, sum, count) = self.open_day;
            if self.open_day.0 != i64::MIN {
                self.means.push(single(sum / count));
                let missing = (day - self.open_day.0 - 1).clamp(0, 28);
                self.means.extend((0..missing).map(|_| f32::MIN));
            }
            let over = self.means.len().saturating_sub(TREND_DAYS);
            self.means.drain(..over);
            self.day_spread = self.spread_of_days();
            self.open_day = (day, 0.0, 0.0);
        }
        self.open_day.1 += value;
        self.open_day.2 += 1.0;
    }

    /// The daily means of up to 28 closed days, as (day, mean) with the latest at -1; only of percent measures.
    #[must_use]
    pub fn daily_means(&self) -> Vec<(f64, f64)> {
        let count = float(self.means.len());
        let all = self.means.iter().enumerate();
        all.filter(|(_, mean)| **mean > f32::MIN)
            .map(|(place, mean)| (float(place) - count, f64::from(*mean)))
            .collect()
    }

    /// Blocks from the one `first` back to `last` blocks before `now`: the mean of those of them that do not end before
    /// `since`, and how many hours all of them are.
    fn window(&self, now: i64, first: i64, last: i64, since: i64) -> Option<(f64, f64)> {
        let count = i64::try_from(self.blocks.len()).unwrap_or(0);
        let blocks = (first..=last).map(|back| now - back).filter_map(|place| {
            let block = usize::try_from(place - self.head + count - 1).ok()?;
            Some((place, self.blocks.get(block).copied()?))
        });
        let hours: f64 = blocks.clone().map(|(_, block)| f64::from(block.1)).sum();
        let late = blocks.filter(|(place, _)| *place >= since);
        Some((mean_of(late.map(|(_, block)| block))?, hours))
    }

    /// What the variance of a mean of so few hours has more than that of a daily mean: nothing unless they are less than half
    /// of those of a usual day.
    fn of_few(&self, hours: f64, within: f64) -> f64 {
        // a usual day has 24 at most
        if hours >= HALF_DAY {
            return 0.0;
        }
        let filled = float(self.blocks.iter().filter(|block| block.1 > 0).count());
        let all: f64 = self.blocks.iter().map(|block| f64::from(block.1)).sum();
        let days = float(self.blocks.len()) / float(DAY_BLOCKS);
        // as if hours did not depend on each other
        within * all / filled * (1.0 / hours - 2.0 * days / all).max(0.0)
    }

    /// The drift at `as_of` against the own level, shrunk to the fleet's; evidence from before `since` is left out.
    #[must_use]
    pub fn drift(
        &self,
        as_of: Instant,
        since: Option<Instant>,
        norm: Option<&Norm>,
    ) -> Option<Drift> {
        let now = (as_of.0 - 1).div_euclid(HOUR * BLOCK_HOURS);
        let since = since.map_or(i64::MIN, |at| at.0.div_euclid(HOUR * BLOCK_HOURS));
        let day = self.window(now, 0, DAY_BLOCKS - 1, since)?;
        let before = self.window(now, DAY_BLOCKS, 2 * DAY_BLOCKS - 1, since);
        let (level, uncertain, within) = self.level_and_spread(norm)?;
        let floor = (LEAST_SPREAD * level.abs()).powi(2).max(1e-12);
        let variance = self
            .day_variance(within, norm.map_or(1.0, |norm| norm.day_ratio))
            .max(floor)
            + uncertain;
        // what is left out is not little that was seen
        let z = |(mean, hours): (f64, f64)| {
            (mean - level) / (variance + self.of_few(hours, within)).sqrt()
        };
        Some(Drift {
            day: z(day),
            before: before.map_or(0.0, z),
            mean: day.0,
            level,
        })
    }

    /// The level, its own variance and the variance of blocks.
    fn level_and_spread(&self, norm: Option<&Norm>) -> Option<(f64, f64, f64)> {
        let own_blocks = self.level_blocks;
        let Some(norm) = norm else {
            let known = own_blocks >= self.blocks_a_day().max(3.0);
            return known.then_some((self.level, self.within / own_blocks.max(1.0), self.within));
        };
        let seen = (own_blocks - 1.0).max(0.0);
        let within = (self.within * seen + norm.within * 8.0) / (seen + 8.0);
        if own_blocks < 1.0 {
            return Some((norm.level, norm.between, within));
        }
        let own = within / own_blocks;
        let trust = norm.between / (norm.between + own).max(1e-12);
        Some((
            norm.level + trust * (self.level - norm.level),
            trust * own,
            within,
        ))
    }

    /// The level and the variance of blocks, for the norm of the fleet.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        if self.level_blocks >= float(DAY_BLOCKS) {
            let usual = self.within / self.blocks_a_day();
            let day_ratio = self
                .day_spread
                .filter(|_| usual > 0.0)
                .map(|(own, _)| f64::from(own) / usual);
            let unsure = self.within / self.level_blocks;
            return Some(Summary {
                level: self.level,
                within: self.within,
                unsure,
                day_ratio,
            });
        }
        let values: Vec<f64> = self
            .blocks
            .iter()
            .filter_map(|block| mean_of([*block]))
            .collect();
        let count = float(values.len());
        if count < 4.0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count;
        let within = values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>()
            / (count - 1.0);
        Some(Summary {
            level: mean,
            within,
            unsure: within / count,
            day_ratio: None,
        })
    }

    /// The highest three hours of the last day, for percent measures.
    #[must_use]
    pub fn peak(&self, as_of: Instant) -> Option<f64> {
        let now = (as_of.0 - 1).div_euclid(HOUR * BLOCK_HOURS);
        let each = (0..DAY_BLOCKS).filter_map(|back| self.window(now, back, back, i64::MIN));
        each.map(|(mean, _)| mean).reduce(f64::max)
    }

    /// The own 95th percentile of three hours, by level and spread.
    #[must_use]
    pub fn own_p95(&self, norm: Option<&Norm>) -> Option<f64> {
        self.level_and_spread(norm)
            .map(|(level, _, within)| level + 1.645 * within.sqrt())
    }
}

/// Whether a measure is a part of a whole that can be full.
#[must_use]
pub const fn is_percent(measure: Measure) -> bool {
    matches!(
        measure,
        Measure::CpuPercent | Measure::MemoryPercent | Measure::DiskPercent
    )
}

fn mean_of(blocks: impl IntoIterator<Item = Block>) -> Option<f64> {
    let (sum, count) = blocks.into_iter().fold((0.0, 0.0), |(sum, count), block| {
        (sum + f64::from(block.0), count + f64::from(block.1))
    });
    (count > 0.0).then(|| sum / count)
}
