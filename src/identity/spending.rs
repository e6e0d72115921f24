//! What each caller may spend: points for what is asked, and events for what is recorded, so many a second.
//!
//! Of each a caller has a bucket that leaks: what is spent fills it, a second empties it by the rate, and
//! it holds ten seconds of the rate. Whoever asks for more than it has room for is told when to come back.
//! What alone is more than a whole bucket is let through when the bucket is empty, so that no request is
//! refused for ever.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

use super::{Caller, Role};
use crate::event::Instant;

/// Seconds of its rate that a bucket holds.
const BURST_SECONDS: i64 = 10;
/// A device has this part of what others have, and so have those who prove nothing, and each network from
/// which a key is given that stands in pages.
const DEVICE_PART: i64 = 100;
/// Accounts from which on those that owe nothing are forgotten: there are no more than there are keys.
const ACCOUNTS_MAX: usize = 10_000;

/// What is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spent {
    /// Points: values that a request may be answered with.
    Cost,
    /// Events that are to be recorded.
    Events,
}

impl Spent {
    /// The word of the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cost => "COST",
            Self::Events => "EVENTS",
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::Cost => "points of cost",
            Self::Events => "events",
        }
    }

    const fn flag(self) -> &'static str {
        match self {
            Self::Cost => "--cost-per-second-max",
            Self::Events => "--events-per-second-max",
        }
    }
}

/// What every caller may spend in a second; 0 is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// Points.
    pub cost_per_second: i64,
    /// Events.
    pub events_per_second: i64,
}

/// What a caller has left after spending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// What was spent.
    pub requested: i64,
    /// What the bucket holds.
    pub limit: i64,
    /// What may be spent at once now.
    pub remaining: i64,
    /// When nothing is owed any more, if nothing is spent until then.
    pub reset_at: Instant,
}

/// Why something is not spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a caller may spend {per_second} {} a second, for ten seconds at once ({}); nothing was done, come back \
     in {retry_after_ms} ms", what.unit(), what.flag()
)]
pub struct Exceeded {
    /// Which limit it is.
    pub what: Spent,
    /// What may be spent in a second.
    pub per_second: i64,
    /// When there is room for it.
    pub retry_after_ms: i64,
}

/// What callers have spent.
#[derive(Debug)]
pub struct Spending {
    rates: Rates,
    accounts: Mutex<Accounts>,
}

#[derive(Debug, Default)]
struct Accounts {
    buckets: HashMap<(Arc<str>, Spent), Bucket>,
    swept_at: Instant,
}

impl Accounts {
    /// Forgets those that owe nothing, when there are many; once a second, since it looks at all.
    fn sweep(&mut self, now: Instant) {
        if self.buckets.len() < ACCOUNTS_MAX || now < self.swept_at.plus_ms(1_000) {
            return;
        }
        self.swept_at = now;
        self.buckets.retain(|_, bucket| {
            bucket.leak(now);
            bucket.owed_millionths > 0
        });
    }
}

/// What is owed, in millionths, at an instant.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    owed_millionths: i128,
    at: Instant,
    rate: i64,
}

const MILLION: i128 = 1_000_000;

impl Bucket {
    fn leak(&mut self, now: Instant) {
        // millionths a second are units a microsecond
        let micros = i128::from(now.0.saturating_sub(self.at.0).max(0));
        self.owed_millionths = (self.owed_millionths - micros * i128::from(self.rate)).max(0);
        self.at = self.at.max(now);
    }
}

impl Spending {
    /// Nobody has spent anything.
    #[must_use]
    pub fn new(rates: Rates) -> Self {
        Self {
            rates,
            accounts: Mutex::default(),
        }
    }

    /// What a caller may spend in a second; 0 is no limit.
    fn rate(&self, caller: &Caller, what: Spent) -> i64 {
        let rate = match what {
            Spent::Cost => self.rates.cost_per_second,
            Spent::Events => self.rates.events_per_second,
        };
        let is_one_of_many = matches!(caller.role, Role::Device | Role::Enrol) || caller.is_public;
        if is_one_of_many && rate > 0 {
            return (rate / DEVICE_PART).max(1);
        }
        rate
    }

    /// Spends; `None` where there is no limit.
    ///
    /// # Errors
    /// When there is no room for it; nothing is spent then.
    pub fn spend(
        &self,
        caller: &Caller,
        (what, amount): (Spent, i64),
        now: Instant,
    ) -> Result<Option<Balance>, Exceeded> {
        let rate = self.rate(caller, what);
        if rate <= 0 {
            return Ok(None);
        }
        let limit = rate.saturating_mul(BURST_SECONDS);
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.sweep(now);
        let key = (Arc::clone(&caller.account), what);
        let bucket = accounts.buckets.entry(key).or_insert(Bucket {
            owed_millionths: 0,
            at: now,
            rate,
        });
        bucket.leak(now);
        let owed = bucket.owed_millionths + i128::from(amount) * MILLION;
        let over = owed - i128::from(limit) * MILLION;
        if over > 0 && bucket.owed_millionths > 0 {
            // what alone is more than the bucket holds waits until that is empty
            let wait = over.min(bucket.owed_millionths);
            return Err(Exceeded {
                what,
                per_second: rate,
                retry_after_ms: whole(ceiling(wait, i128::from(rate) * 1_000)),
            });
        }
        bucket.owed_millionths = owed;
        let empty_in_ms = whole(ceiling(owed, i128::from(rate) * 1_000));
        Ok(Some(Balance {
            requested: amount,
            limit,
            remaining: limit.saturating_sub(whole(ceiling(owed, MILLION))).max(0),
            reset_at: now.plus_ms(empty_in_ms),
        }))
    }
}

fn ceiling(of: i128, by: i128) -> i128 {
    (of + by - 1) / by
}

fn whole(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spending() -> Spending {
        Spending::new(Rates {
            cost_per_second: 100,
            events_per_second: 0,
        })
    }

    fn spend(spending: &Spending, amount: i64, at_ms: i64) -> Result<i64, i64> {
        let now = Instant(0).plus_ms(at_ms);
        let spent = spending.spend(&Caller::local(), (Spent::Cost, amount), now);
        spent
            .map(|balance| balance.unwrap().remaining)
            .map_err(|exceeded| exceeded.retry_after_ms)
    }

    #[test]
    fn ten_seconds_of_the_rate_are_spent_at_once_and_no_more() {
        let spending = spending();
        assert_eq!(spend(&spending, 400, 0), Ok(600));
        assert_eq!(spend(&spending, 600, 0), Ok(0));
        assert_eq!(spend(&spending, 50, 0), Err(500));
        assert_eq!(spend(&spending, 50, 499), Err(1));
        assert_eq!(spend(&spending, 50, 500), Ok(0));
        assert_eq!(spend(&spending, 0, 10_500), Ok(1_000));
    }

    #[test]
    fn what_is_more_than_a_bucket_waits_until_that_is_empty() {
        let spending = spending();
        assert_eq!(spend(&spending, 5_000, 0), Ok(0));
        assert_eq!(spend(&spending, 5_000, 0), Err(50_000));
        assert_eq!(spend(&spending, 5_000, 50_000), Ok(0));
    }

    #[test]
    fn what_has_no_limit_has_no_balance() {
        let spent = spending().spend(&Caller::local(), (Spent::Events, i64::MAX), Instant(0));
        assert_eq!(spent, Ok(None));
    }

    #[test]
    fn a_device_may_spend_a_hundredth_and_nobody_spends_for_another() {
        let spending = spending();
        let device = Caller {
            role: Role::Device,
            account: Arc::from("device"),
            ..Caller::local()
        };
        let of_device = |amount| spending.spend(&device, (Spent::Cost, amount), Instant(0));
        assert_eq!(of_device(10).unwrap().unwrap().limit, 10);
        assert_eq!(of_device(1).unwrap_err().per_second, 1);
        assert_eq!(spend(&spending, 1_000, 0), Ok(0));
    }

    #[test]
    fn a_clock_that_goes_back_forgives_nothing() {
        let spending = spending();
        assert_eq!(spend(&spending, 1_000, 5_000), Ok(0));
        assert_eq!(spend(&spending, 100, 0), Err(1_000));
        assert_eq!(spend(&spending, 100, 6_000), Ok(0));
    }
}
