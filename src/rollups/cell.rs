//! What is kept of the values of one measure: enough for every aggregate, whatever the order in which they
//! came and however they were parted.

use std::cmp::Ordering;
use std::ops::Sub;

use num_traits::{AsPrimitive, ToPrimitive};

use super::sketch::Sketch;
use super::value::{Value, number_of};
use crate::kinds::Form;

/// A value at an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct At {
    /// When: microseconds since 1970, UTC.
    pub(crate) at: i64,
    pub(crate) value: Value,
}

impl At {
    /// In order of time; of two values at one instant by their size, since no other order holds for events
    /// that come in any.
    fn compare(self, other: Self) -> Ordering {
        let by_time = self.at.cmp(&other.at);
        by_time.then_with(|| self.value.compare(other.value))
    }
}

/// Sums that are exact: whole numbers of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) sum: i128,
    pub(crate) squares: i128,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.sum = self.sum.saturating_add(other.sum);
        self.squares = self.squares.saturating_add(other.squares);
    }
}

/// The unit of sums of numbers that are no decimals, 2⁻⁶⁴: far below 10⁻⁹ of any of them that matters.
const BINARY_UNITS: f64 = 18_446_744_073_709_551_616.0;

/// The values of one measure in a bucket; at least one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cell {
    pub(crate) count: u64,
    /// Of decimals: in their units, and those squared.
    pub(crate) decimals: Sums,
    /// Of all others, in units of 2⁻⁶⁴.
    pub(crate) binaries: Sums,
    pub(crate) least: Value,
    pub(crate) greatest: Value,
    pub(crate) first: At,
    pub(crate) last: At,
    /// What a counter grew by from one value to the next, to each that is here, in units of 10⁻⁴.
    pub(crate) increase: i128,
    /// How values are distributed; of a gauge.
    pub(crate) sketch: Sketch,
}

impl Cell {
    /// One value.
    pub(crate) fn of(form: Form, value: At) -> Self {
        let mut cell = Self::plain(form, value);
        cell.distribute(form, value);
        cell
    }

    /// One more value.
    pub(crate) fn add(&mut self, form: Form, value: At) {
        self.merge_plain(&Self::plain(form, value));
        self.distribute(form, value);
    }

    fn distribute(&mut self, form: Form, value: At) {
        if form == Form::Gauge {
            self.sketch.add(value.value.number());
        }
    }

    fn plain(form: Form, value: At) -> Self {
        let mut cell = Self {
            count: 1,
            decimals: Sums::default(),
            binaries: Sums::default(),
            least: value.value,
            greatest: value.value,
            first: value,
            last: value,
            increase: 0,
            sketch: Sketch::default(),
        };
        match value.value {
            Value::Decimal(units) => cell.decimals = squared(form, units.into()),
            Value::Binary(number) => {
                let of = |number: f64| (number * BINARY_UNITS).to_i128().unwrap_or(i128::MAX);
                cell.binaries.sum = of(number);
                if form == Form::Gauge {
                    cell.binaries.squares = of(number * number);
                }
            }
        }
        cell
    }

    /// Adds the values of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.merge_plain(other);
        self.sketch.merge(&other.sketch);
    }

    /// Adds all but how values are distributed.
    pub(crate) fn merge_plain(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.decimals.add(other.decimals);
        self.binaries.add(other.binaries);
        if other.least.compare(self.least).is_lt() {
            self.least = other.least;
        }
        if other.greatest.compare(self.greatest).is_gt() {
            self.greatest = other.greatest;
        }
        if other.first.compare(self.first).is_lt() {
            self.first = other.first;
        }
        if other.last.compare(self.last).is_gt() {
            self.last = other.last;
        }
        self.increase = self.increase.saturating_add(other.increase);
    }

    /// The sum of all values.
    pub(crate) fn sum(&self) -> f64 {
        let binaries: f64 = self.binaries.sum.as_();
        number_of(self.decimals.sum) + binaries / BINARY_UNITS
    }

    /// Their mean.
    pub(crate) fn mean(&self) -> f64 {
        let count: f64 = self.count.as_();
        self.sum() / count
    }

    /// Their standard deviation, as of all that there are; absent when their squares are beyond all bounds.
    pub(crate) fn deviation(&self) -> Option<f64> {
        let is_whole = self.decimals.squares < i128::MAX && self.binaries.squares < i128::MAX;
        let count = i128::from(self.count);
        // n Σx² − (Σx)² without loss, as long as all are decimals: small deviations of large values stay
        let exact = (self.binaries == Sums::default())
            .then(|| {
                let squares = self.decimals.squares.checked_mul(count)?;
                let square = self.decimals.sum.checked_mul(self.decimals.sum)?;
                squares.checked_sub(square)
            })
            .flatten();
        let count: f64 = self.count.as_();
        let unit = number_of(1).powi(2);
        let variance = if let Some(exact) = exact {
            unit * AsPrimitive::<f64>::as_(exact) / (count * count)
        } else {
            let binaries: f64 = self.binaries.squares.as_();
            let decimals: f64 = self.decimals.squares.as_();
            let squares = decimals * unit + binaries / BINARY_UNITS;
            squares / count - self.mean().powi(2)
        };
        is_whole.then(|| variance.max(0.0).sqrt())
    }

    /// A percentile, from 0 to 100, within 1 % of the value; the least and the greatest are exact.
    pub(crate) fn percentile(&self, percentile: f64) -> Option<f64> {
        let place = self.sketch.place(percentile)?;
        let (least, greatest) = (self.least.number(), self.greatest.number());
        if place == 0 {
            return Some(least);
        }
        if place + 1 == self.sketch.total() {
            return Some(greatest);
        }
        Some(self.sketch.at(place)?.clamp(least, greatest))
    }
}

fn squared(form: Form, units: i128) -> Sums {
    let squares = match form {
        Form::Gauge => units.saturating_mul(units),
        Form::Counter => 0,
    };
    Sums {
        sum: units,
        squares,
    }
}

/// By how much a counter grew from one value to the next: it began anew if it has fallen, or if `anew` says
/// that it was to.
pub(crate) fn growth<T>(before: Option<T>, shown: T, anew: bool) -> T
where
    T: PartialOrd + Sub<Output = T>,
{
    match before {
        Some(before) if !anew && shown >= before => shown - before,
        // a first value counts from where the counter began
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Cell {
        let mut values = values.iter().map(|number| At {
            at: 0,
            value: Value::of_float(*number),
        });
        let mut cell = Cell::of(Form::Gauge, values.next().unwrap());
        values.for_each(|value| cell.add(Form::Gauge, value));
        cell
    }

    #[test]
    fn the_least_and_the_greatest_of_all_percentiles_are_exact() {
        // none of them is the middle of its bin
        let cell = of(&[97.3, 10.2, 55.0, 55.1]);
        assert_eq!(cell.percentile(0.0), Some(10.2));
        assert_eq!(cell.percentile(33.0), Some(10.2));
        assert_eq!(cell.percentile(100.0), Some(97.3));
        let median = cell.percentile(50.0).unwrap();
        assert!((median - 55.0).abs() <= 0.55, "{median}");
        assert_eq!(of(&[7.1]).percentile(50.0), Some(7.1));
    }
}
