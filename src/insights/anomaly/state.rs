//! What is known of one measure of one device: a function of closed hours in order of time.

use crate::event::Instant;
use crate::insights::input::{DAY, HOUR};
use crate::insights::input::{Hour, Measure};
use crate::insights::number;
use chrono::{DateTime, Datelike, TimeZone, Timelike};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::insights::anomaly::past::{PAST_KEPT, Past};
use crate::insights::anomaly::pool::References;
use crate::insights::anomaly::profile::Profile;
use crate::insights::anomaly::score::{RANGE, tired};
use crate::insights::anomaly::sketch::Sketch;
use crate::insights::anomaly::{Incident, Ranged, Standing, WARM_HOURS};

/// After so many days a value counts half in the level.
const LEVEL_HALF_LIFE_DAYS: f64 = 7.0;
/// After so many hours with reports a residual counts half in the scales: a week.
const SCALE_HALF_LIFE_HOURS: f64 = 168.0;
/// A residual teaches as if it were at most so many scales away.
const CLIP: f64 = 3.0;
/// The short mean goes back about so many samples.
const SPAN: f64 = 10.0;
/// No scale is below this part of the level: what never varied may still be rounded otherwise.
const SCALE_MIN: f64 = 1e-3;

/// Level, rhythm, scales and past scores of one measure of one device. About 1.2 kB.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    level: f32,
    level_weight: f32,
    profile: Profile,
    /// Of samples about the level.
    total: Square,
    /// Of samples about what is expected.
    residual: Square,
    /// Of the short mean of residuals.
    smooth: Square,
    /// Of one sighting of an hour of the day about the mean of all before it.
    noise: Square,
    /// The short mean of residuals as the last hour ended.
    average: f32,
    scores: Sketch,
    fatigue: f32,
    incident: Incident,
    /// The last incidents that are over.
    past: Vec<Past>,
    first: Instant,
    /// When the last hour begins.
    last: Instant,
    hours: u32,
    lowest: f32,
    latest: Latest,
}

impl Default for State {
    fn default() -> Self {
        Self {
            level: 0.0,
            level_weight: 0.0,
            profile: Profile::default(),
            total: Square::default(),
            residual: Square::default(),
            smooth: Square::default(),
            noise: Square::default(),
            average: 0.0,
            scores: Sketch::default(),
            fatigue: 0.0,
            incident: Incident::default(),
            past: Vec::new(),
            first: Instant::default(),
            last: Instant::default(),
            hours: 0,
            lowest: f32::MAX,
            latest: Latest::default(),
        }
    }
}

/// What the last closed hour was like: its most unusual value, and how unusual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latest {
    pub(crate) value: f32,
    pub(crate) score: f32,
    pub(crate) news: f32,
}

/// An exponentially weighted mean of squares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Square {
    sum: f32,
    weight: f32,
}

impl Square {
    fn add(&mut self, square: f64, weight: f64) {
        let keep = (-std::f64::consts::LN_2 / SCALE_HALF_LIFE_HOURS).exp();
        self.sum = number::single(f64::from(self.sum) * keep + weight * square);
        self.weight = number::single(f64::from(self.weight) * keep + weight);
    }

    fn mean(self) -> Option<f64> {
        (self.weight > 0.0).then(|| f64::from(self.sum) / f64::from(self.weight))
    }
}

/// What one hour of the week should look like, by what was known before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expectation {
    pub(crate) level: f64,
    pub(crate) departure: f64,
    /// How far the departure rests on this device's own past (0 to 1).
    pub(crate) confidence: f64,
    total: f64,
    pub(crate) residual: f64,
    smooth: f64,
}

impl Expectation {
    /// The expected value.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.level + self.departure
    }

    /// The mean of three absolute z values: about the level, about what is expected at this time,
    /// and of the short mean. The first sees what is large at any time, the second what is unusual
    /// at this time, the third what is small but lasts.
    pub(crate) fn raw(&self, value: f64, average: f64) -> f64 {
        let about_level = (value - self.level).abs() / self.total;
        let about_season = (value - self.value()).abs() / self.residual;
        (about_level + about_season + average.abs() / self.smooth) / 3.0
    }
}

/// The short mean after `count` more residuals of this mean.
pub(crate) fn averaged(before: f64, residual: f64, count: f64) -> f64 {
    let keep = (1.0 - 2.0 / (SPAN + 1.0)).powf(count);
    residual + keep * (before - residual)
}

/// The hour of the week at an instant, in a zone: 0 is Monday 00:00 to 01:00.
pub(crate) fn hour_of_week(at: Instant, zone: Tz) -> usize {
    let utc = DateTime::from_timestamp_micros(at.0).unwrap_or_default();
    let local = zone.from_utc_datetime(&utc.naive_utc());
    let hour = local.weekday().num_days_from_monday() * 24 + local.hour();
    usize::try_from(hour).unwrap_or_default()
}

/// The moments of what an hour says.
struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
    min: f64,
    max: f64,
}

impl Moments {
    /// A counter says one thing an hour: by how much it rose.
    fn of(measure: Measure, hour: &Hour) -> Option<Self> {
        let rise = hour.increase;
        let moments = if measure.is_counter() {
            Self {
                count: 1.0,
                mean: rise,
                variance: 0.0,
                min: rise,
                max: rise,
            }
        } else {
            let (count, mean) = (f64::from(hour.count), hour.mean());
            let variance = (hour.sum_squares / count.max(1.0) - mean * mean).max(0.0);
            Self {
                count,
                mean,
                variance,
                min: hour.min,
                max: hour.max,
            }
        };
        let is_finite = [moments.mean, moments.variance, moments.min, moments.max]
            .iter()
            .all(|x| x.is_finite());
        (hour.count > 0 && is_finite).then_some(moments)
    }

    /// The mean square of the samples about a value.
    fn square_about(&self, value: f64) -> f64 {
        self.variance + (self.mean - value) * (self.mean - value)
    }
}

/// Takes a closed hour. Hours not later than the last one, and empty ones, are left out.
pub fn fold(state: &mut State, measure: Measure, zone: Tz, hour: &Hour) {
    let Some(seen) = Moments::of(measure, hour) else {
        return;
    };
    if state.hours > 0 && hour.start <= state.last {
        return;
    }
    if state.hours == 0 {
        (state.first, state.last) = (hour.start, hour.start);
        state.level = number::single(seen.mean);
    }
    let passed = number::float(hour.start.0 - state.last.0);
    let cell = hour_of_week(hour.start, zone);
    let expected = state.expectation(cell, &References::default());
    state.remember_score(hour, &seen, &expected, passed / number::float(HOUR));
    state.learn(&seen, &expected, cell, passed / number::float(DAY));
    state.last = hour.start;
    state.hours = state.hours.saturating_add(1);
    state.lowest = state.lowest.min(number::single(seen.min));
}

impl State {
    /// What to expect at an hour of the week. Until two hours were seen the scales mean nothing.
    pub(crate) fn expectation(&self, hour: usize, references: &References<'_>) -> Expectation {
        let level = f64::from(self.level);
        let least = (SCALE_MIN * level.abs()).max(1e-9);
        let total = self.total_scale().max(least);
        let prior = |hour: usize| total * references.departure(hour);
        let noise = self.noise.mean().unwrap_or(total * total).max(1e-18);
        let season = self.profile.season(hour, noise, &prior);
        let known = season.confidence;
        let scale = |own: Square| {
            let own = own.mean().unwrap_or(total * total);
            (known * own + (1.0 - known) * total * total)
                .sqrt()
                .max(least)
        };
        Expectation {
            level,
            departure: season.departure,
            confidence: known,
            total,
            residual: scale(self.residual),
            smooth: scale(self.smooth),
        }
    }

    /// Scores the hour by its extremes, for the sketch of scores and for what `read` says of it.
    fn remember_score(&mut self, hour: &Hour, seen: &Moments, expected: &Expectation, hours: f64) {
        let residual = seen.mean - expected.value();
        let average = averaged(f64::from(self.average), residual, seen.count);
        let (low, high) = (
            expected.raw(seen.min, average),
            expected.raw(seen.max, average),
        );
        let (value, raw) = if low > high {
            (seen.min, low)
        } else {
            (seen.max, high)
        };
        self.fatigue = number::single(tired(f64::from(self.fatigue), hours));
        if self.hours > 0 {
            let score = self.score(raw);
            let (news, fatigue) = self.news_of_hour(score, seen.count);
            self.latest = Latest {
                value: number::single(value),
                score: number::single(score),
                news,
            };
            self.fatigue = fatigue;
            self.step(hour.start, score, self.ranged(value, expected));
            self.scores.add(raw);
        }
        self.average = number::single(average);
    }

    /// Takes the score of an hour, and keeps the incident that it shows to be over.
    fn step(&mut self, start: Instant, score: f64, seen: Ranged) {
        let before = self.incident.standing(start);
        self.incident.step(start, score, seen);
        let Some(over) = before.filter(|before| !before.is_open) else {
            return;
        };
        if self.past.len() == PAST_KEPT {
            self.past.remove(0);
        }
        self.past.push(Past::of(&over));
    }

    /// The news in an hour, and the fatigue after it if every sample was like its extreme.
    fn news_of_hour(&self, score: f64, count: f64) -> (f32, f32) {
        let mut fatigue = f64::from(self.fatigue);
        let news = score / (1.0 + fatigue);
        for _ in 0..number::whole(count.min(8.0)) {
            if score / (1.0 + fatigue) < crate::insights::anomaly::OPEN {
                break;
            }
            fatigue += 1.0;
        }
        (number::single(news), number::single(fatigue))
    }

    /// Moves level, profile and scales, each by no more than a clipped residual would.
    fn learn(&mut self, seen: &Moments, expected: &Expectation, cell: usize, days: f64) {
        let is_warm = self.is_warm();
        let clip = |residual: f64, scale: f64| {
            if is_warm {
                residual.clamp(-CLIP * scale, CLIP * scale)
            } else {
                residual
            }
        };
        let limit = |square: f64, scale: f64| {
            if is_warm {
                square.min(CLIP * CLIP * scale * scale)
            } else {
                square
            }
        };
        let day = self.profile.day(cell, &|_| 0.0);
        if day.seen > 0.0 {
            let residual = seen.mean - expected.level - day.value;
            let square = limit(residual * residual, expected.total);
            self.noise.add(square * day.seen / (day.seen + 1.0), 1.0);
        }
        let average = f64::from(self.average);
        let known = expected.confidence;
        self.total.add(
            limit(seen.square_about(expected.level), expected.total),
            1.0,
        );
        self.residual.add(
            limit(seen.square_about(expected.value()), expected.residual),
            known,
        );
        self.smooth
            .add(limit(average * average, expected.smooth), known);
        let keep = (-std::f64::consts::LN_2 * days / LEVEL_HALF_LIFE_DAYS).exp();
        let weight = f64::from(self.level_weight) * keep + 1.0;
        let level = expected.level + clip(seen.mean - expected.level, expected.total) / weight;
        self.level_weight = number::single(weight);
        self.level = number::single(level);
        let residual = clip(seen.mean - expected.value(), expected.residual);
        self.profile.add(cell, expected.departure + residual);
    }

    /// How rare a raw score is among the past ones: 0.25 is one hour in ten, 0.5 one in a hundred,
    /// 0.75 one in a thousand, 1 one in ten thousand or rarer. Nothing is rare before the warm-up.
    pub(crate) fn score(&self, raw: f64) -> f64 {
        let score = if self.is_warm() {
            -self.scores.tail(raw).log10() / 4.0
        } else {
            0.0
        };
        score.clamp(0.0, 1.0)
    }

    /// Whether there is enough to say anything.
    #[must_use]
    pub fn is_warm(&self) -> bool {
        self.hours >= WARM_HOURS
    }

    /// How many hours with reports were folded.
    #[must_use]
    pub fn hours(&self) -> u32 {
        self.hours
    }

    /// From which hour on, and until when, there was something to fold.
    #[must_use]
    pub fn span(&self) -> Option<(Instant, Instant)> {
        (self.hours > 0).then(|| (self.first, Instant(self.last.0.saturating_add(HOUR))))
    }

    /// The incident as the closed hours show it.
    #[must_use]
    pub fn incident(&self) -> Incident {
        self.incident
    }

    /// The last incidents that are over, in order of time.
    pub fn past(&self) -> impl Iterator<Item = Standing> {
        self.past.iter().map(|past| past.standing())
    }

    /// Hours between two hours with reports, on average.
    pub(crate) fn spacing_hours(&self) -> f64 {
        let hours = number::float(self.last.0 - self.first.0) / number::float(HOUR);
        hours / f64::from(self.hours.saturating_sub(1).max(1))
    }

    pub(crate) fn total_scale(&self) -> f64 {
        self.total.mean().unwrap_or(0.0).sqrt()
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(crate) fn average(&self) -> f64 {
        f64::from(self.average)
    }

    pub(crate) fn fatigue(&self) -> f64 {
        f64::from(self.fatigue)
    }

    pub(crate) fn last(&self) -> Instant {
        self.last
    }

    pub(crate) fn latest(&self) -> Latest {
        self.latest
    }

    /// A value with the range that was to be expected; what was never below zero is not expected there.
    pub(crate) fn ranged(&self, value: f64, expected: &Expectation) -> Ranged {
        let width = RANGE * expected.residual;
        let floor = if self.lowest < 0.0 { f64::MIN } else { 0.0 };
        Ranged {
            value,
            low: (expected.value() - width).max(floor),
            high: (expected.value() + width).max(floor),
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
pub(crate) mod tests;
