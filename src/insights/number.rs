//! Numbers of one type as those of another, where what is lost does not matter.

use num_traits::AsPrimitive;

/// Any integer as a float.
#[must_use]
pub fn float<T: AsPrimitive<f64>>(number: T) -> f64 {
    number.as_()
}

/// The whole part of a float, as near as an `i64` comes.
#[must_use]
pub fn whole(number: f64) -> i64 {
    number.floor().as_()
}

/// The whole part of a float that is not negative, as an index.
#[must_use]
pub fn index(number: f64) -> usize {
    number.max(0.0).floor().as_()
}

/// A float of half the size.
#[must_use]
pub fn single(number: f64) -> f32 {
    number.as_()
}
