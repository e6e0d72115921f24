//! Numbers of one type as those of another, where what is lost does not matter.

use num_traits::AsPrimitive;
use serde::{Deserialize, Serialize};

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

/// A float of three bytes: a sign, 8 bits of exponent, and 15 of the mantissa, so that it is right to one part in 65,000.
/// What is kept of each device has many of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Short([u8; 3]);

impl Short {
    /// The one that is nearest to a float.
    #[must_use]
    pub fn of(number: f64) -> Self {
        let bits = single(number).to_bits();
        let [high, middle, low, rest] = bits.to_be_bytes();
        let kept = u32::from_be_bytes([0, high, middle, low]);
        // what rounds up to more than the greatest float is infinite, as it is of any float
        let rounded = kept + u32::from(rest >> 7);
        let [_, high, middle, low] = rounded.to_be_bytes();
        Self([high, middle, low])
    }
}

impl From<Short> for f64 {
    fn from(short: Short) -> Self {
        let [high, middle, low] = short.0;
        Self::from(f32::from_be_bytes([high, middle, low, 0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_float_is_near_and_is_itself_again() {
        for number in [0.0, 1.0, -1.5, 0.1, 123_456.789, 1e-20, -3e30] {
            let short = Short::of(number);
            let near = f64::from(short);
            assert!((near - number).abs() <= number.abs() / 65_000.0, "{number}");
            assert_eq!(Short::of(near), short);
        }
    }
}
