//! The robust slope of daily means: Theil (1950) and Sen (1968), its interval by Kendall's variance.

use crate::insights::number::{float, index};

/// Days needed for a slope.
const LEAST_DAYS: usize = 7;
/// The standard normal quantile of a two-sided 90 %.
const QUANTILE: f64 = 1.644_853_6;

/// Change a day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slope {
    /// The median of all slopes.
    pub middle: f64,
    /// The low end of its 90 % interval.
    pub low: f64,
    /// The high end.
    pub high: f64,
    /// Where the line is at day 0.
    pub now: f64,
}

/// The slope of (day, value) pairs, day 0 being today.
#[must_use]
pub fn slope(points: &[(f64, f64)]) -> Option<Slope> {
    if points.len() < LEAST_DAYS {
        return None;
    }
    let mut slopes: Vec<f64> = Vec::new();
    for (place, (day, value)) in points.iter().enumerate() {
        let earlier = points.iter().take(place).filter(|(other, _)| other < day);
        slopes.extend(earlier.map(|(other, before)| (value - before) / (day - other)));
    }
    let middle = crate::insights::risk::fleet::median(&mut slopes)?;
    let count = float(points.len());
    let spread = QUANTILE * (count * (count - 1.0) * (2.0 * count + 5.0) / 18.0).sqrt();
    let pairs = float(slopes.len());
    let at = |place: f64| slopes.get(index(place).min(slopes.len() - 1)).copied();
    let low = at((pairs - spread) / 2.0)?;
    let high = at(f64::midpoint(pairs, spread))?;
    let now = crate::insights::risk::fleet::median(
        &mut points
            .iter()
            .map(|(day, value)| value - middle * day)
            .collect::<Vec<_>>(),
    )?;
    Some(Slope {
        middle,
        low: low.min(middle),
        high: high.max(middle),
        now,
    })
}
