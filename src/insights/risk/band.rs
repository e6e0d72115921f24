//! Bands of health: what of it is worth a word when it changes.

/// Health from which on a device is in good health, and from which on in fair health.
const GOOD_FROM: f64 = 80.0;
/// See `GOOD_FROM`.
const FAIR_FROM: f64 = 50.0;
/// Points that health must pass the border of a band by to be in another than before, so that what wavers about a
/// border is one change and not many.
const MARGIN: f64 = 3.0;

/// A band of health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Band {
    /// Less than 50.
    Poor,
    /// From 50 to less than 80.
    Fair,
    /// 80 and more.
    Good,
}

impl Band {
    /// The band of a health.
    #[must_use]
    pub fn of(health: f64) -> Self {
        if health >= GOOD_FROM {
            Self::Good
        } else if health >= FAIR_FROM {
            Self::Fair
        } else {
            Self::Poor
        }
    }

    /// The band of a health that was in this one: it stays until a border is passed by more than a margin.
    #[must_use]
    pub fn then(self, health: f64) -> Self {
        let now = Self::of(health);
        if now > self {
            Self::of(health - MARGIN).max(self)
        } else {
            Self::of(health + MARGIN).min(self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_have_their_borders() {
        let bands = [100.0, 80.0, 79.9, 50.0, 49.9, 0.0].map(Band::of);
        let (good, fair, poor) = (Band::Good, Band::Fair, Band::Poor);
        assert_eq!(bands, [good, good, fair, fair, poor, poor]);
    }

    #[test]
    fn what_wavers_about_a_border_stays_where_it_was() {
        let (good, fair, poor) = (Band::Good, Band::Fair, Band::Poor);
        for (before, health, after) in [
            (good, 78.0, good),
            (good, 76.9, fair),
            (fair, 82.0, fair),
            (fair, 83.0, good),
            (fair, 47.1, fair),
            (fair, 46.9, poor),
            (good, 20.0, poor),
            (poor, 100.0, good),
            (poor, 52.0, poor),
        ] {
            assert_eq!(before.then(health), after, "{before:?} {health}");
        }
    }
}
