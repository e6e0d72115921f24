//! One measured value, in a form in which sums do not depend on the order of their terms.

use std::cmp::Ordering;

use num_traits::{AsPrimitive, ToPrimitive};

/// Units of a decimal: four places, as money has them.
pub(crate) const UNITS: i64 = 10_000;
/// Above this a number of units is no longer exact as a float.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A value as it is kept in a rollup.
///
/// What people and devices write down has few places: then it is a whole number of units of 10⁻⁴, sums are
/// exact, and it takes two bytes rather than eight. All else is the float that it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    /// So many units of 10⁻⁴.
    Decimal(i64),
    /// Any other number.
    Binary(f64),
}

impl Value {
    /// A finite float.
    pub(crate) fn of_float(number: f64) -> Self {
        let scale: f64 = UNITS.as_();
        let units = (number * scale).round();
        // to the bit: a decimal comes back as the number that it was
        let is_decimal = units.abs() <= EXACT_MAX && (units / scale).to_bits() == number.to_bits();
        match units.to_i64() {
            Some(units) if is_decimal => Self::Decimal(units),
            _ => Self::Binary(number),
        }
    }

    /// A whole number.
    pub(crate) fn of_int(number: i64) -> Self {
        number
            .checked_mul(UNITS)
            .map_or_else(|| Self::Binary(number.as_()), Self::Decimal)
    }

    /// An amount of money, in its units.
    pub(crate) const fn of_money(units: i64) -> Self {
        Self::Decimal(units)
    }

    /// The number.
    pub(crate) fn number(self) -> f64 {
        match self {
            Self::Decimal(units) => number_of(units.into()),
            Self::Binary(number) => number,
        }
    }

    /// Which of two is greater. A number that is decimal is never kept as another, so no two forms are equal.
    pub(crate) fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Decimal(left), Self::Decimal(right)) => left.cmp(&right),
            _ => self.number().total_cmp(&other.number()),
        }
    }
}

/// Units of 10⁻⁴ as a number.
pub(crate) fn number_of(units: i128) -> f64 {
    let (units, scale): (f64, f64) = (units.as_(), UNITS.as_());
    units / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_few_places_is_decimal_and_comes_back_the_same() {
        for number in [0.0, 45.37, 0.0001, 100.0, 86_400_000.0, 12.3456] {
            assert!(
                matches!(Value::of_float(number), Value::Decimal(_)),
                "{number}"
            );
            assert!((Value::of_float(number).number() - number).abs() < f64::EPSILON);
        }
        for number in [1.0 / 3.0, 1e-7, 45.370_01, 1e300] {
            assert_eq!(Value::of_float(number), Value::Binary(number));
        }
    }

    #[test]
    fn numbers_are_compared_across_forms() {
        let (low, high) = (Value::of_float(0.1), Value::of_float(1.0 / 3.0));
        assert_eq!(low.compare(high), Ordering::Less);
        assert_eq!(high.compare(Value::of_int(1)), Ordering::Less);
    }
}
