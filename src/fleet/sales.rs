//! The sales counters of a till: how many and how much since the site's local midnight.

use chrono::NaiveDate;
use rand::RngExt;

use super::day::Day;
use super::random::{Rng, hash, whole};
use chrono::{DateTime, Utc};

/// Sales that a till can have in a day at least and at most, before any fail.
const TARGET: std::ops::RangeInclusive<f64> = 75.0..=290.0;

/// Seconds of an ordinary open day.
const ORDINARY_DAY_SECONDS: f64 = 12.0 * 3_600.0;

/// Share of sales that fail on a sound till.
const FAILURES: f64 = 0.006;

/// Counters of one till.
#[derive(Debug)]
pub(super) struct Sales {
    /// What the till's own days are drawn from.
    key: u64,
    /// Sales of an ordinary day.
    usual: f64,
    /// Amount of an ordinary sale, in hundredths.
    basket: i64,
    date: NaiveDate,
    target: f64,
    tried: u32,
    count: u32,
    hundredths: i64,
}

/// What was sold since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sold {
    pub(super) tried: u32,
    pub(super) failed: u32,
}

impl Sales {
    pub(super) fn new(key: u64, rng: &mut Rng) -> Self {
        Self {
            key,
            usual: rng.random_range(120.0..225.0),
            basket: rng.random_range(600..2_400),
            date: NaiveDate::MIN,
            target: 0.0,
            tried: 0,
            count: 0,
            hundredths: 0,
        }
    }

    /// Sales since the site's local midnight.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Money taken since the site's local midnight, such as `1234.50`.
    pub(super) fn volume(&self) -> String {
        format!("{}.{:02}", self.hundredths / 100, self.hundredths % 100)
    }

    /// Sells what is due by an instant; `lost` is the share of sales that trouble makes fail.
    pub(super) fn sell(&mut self, day: &Day, at: DateTime<Utc>, lost: f64, rng: &mut Rng) -> Sold {
        if self.date != day.date {
            self.begin(day);
        }
        let due = self.due(day, at);
        let mut sold = Sold::default();
        while self.tried < due {
            self.tried += 1;
            sold.tried += 1;
            if rng.random_bool((lost + FAILURES).clamp(0.0, 1.0)) {
                sold.failed += 1;
            } else {
                self.count += 1;
                self.hundredths += self.amount(rng);
            }
        }
        sold
    }

    fn begin(&mut self, day: &Day) {
        let length = f64::from(day.open_seconds) / ORDINARY_DAY_SECONDS;
        let draw = u32::try_from(hash(&[self.key, day.number()]) % 1_000).unwrap_or_default();
        let chance = 0.85 + f64::from(draw) * 0.3 / 1_000.0;
        self.date = day.date;
        self.target = (self.usual * length * chance).clamp(*TARGET.start(), *TARGET.end());
        self.tried = 0;
        self.count = 0;
        self.hundredths = 0;
    }

    /// Sales due by an instant: one in each n-th part of the day's trade, at a place in it drawn
    /// for that sale, so that any slicing of time gives the same sales.
    fn due(&self, day: &Day, at: DateTime<Utc>) -> u32 {
        let sales = day.share(at) * self.target;
        let complete = whole(sales);
        let part = sales - f64::from(complete);
        let draw = hash(&[self.key, day.number(), u64::from(complete)]) % 1_000;
        let place = f64::from(u32::try_from(draw).unwrap_or_default()) / 1_000.0;
        complete + u32::from(part > place)
    }

    fn amount(&self, rng: &mut Rng) -> i64 {
        let usual = rng.random_range(self.basket / 5..=self.basket * 9 / 5);
        if rng.random_bool(0.06) {
            usual * 4
        } else {
            usual
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use chrono_tz::Tz;

    use super::*;
    use crate::fleet::hours::Week;
    use crate::fleet::random::stream;

    #[test]
    fn counters_begin_again_with_the_local_day() {
        let mut rng = stream(&[1]);
        let mut sales = Sales::new(7, &mut rng);
        let noon: DateTime<Utc> = "2026-06-03T12:00:00Z".parse().unwrap();
        let week = Week::of_site(0, noon.date_naive());
        let mut sell = |at: DateTime<Utc>| {
            sales.sell(&Day::at(Tz::Europe__London, &week, at), at, 0.0, &mut rng);
            (sales.count(), sales.volume())
        };
        assert!(sell(noon).0 > 20);
        assert!(sell(noon + TimeDelta::hours(10)).0 > 75);
        assert_eq!(sell(noon + TimeDelta::hours(11)), (0, "0.00".to_owned()));
    }
}
