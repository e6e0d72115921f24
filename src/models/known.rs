//! How much is known of the time before a midnight: whether it is so much more than when the fleet was summed up that it
//! is done again on the same day.

use sea_orm::ConnectionTrait;

use super::failures::{failures, is_outdated};
use super::sample;
use crate::event::{Instant, Provenance};
use crate::held::fleet::summed;
use crate::held::models::{Which, model};
use crate::insights::input::DAY;
use crate::insights::risk::features::days;
use crate::store::{Doing, Sql, Store, StoreError};

/// By how much more device days are known than were summed up when that is much: a twentieth, and half a day.
const GROWN: f64 = 1.05;
const GROWN_DAYS: f64 = 0.5;

/// How much is known of the time before a midnight.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Known {
    /// Device days since each was heard of first, until a day after something was measured of it last.
    pub(super) days: f64,
    /// Failures of the devices that are learned from.
    pub(super) failures: usize,
}

impl Known {
    /// How much it is now.
    pub(super) async fn now(
        store: &Store,
        (provenance, midnight): (Provenance, Instant),
    ) -> Result<Self, StoreError> {
        let mut sql = Sql::new(
            "SELECT s.first_at, s.measured_at FROM device_insights s WHERE s.provenance = ",
        );
        sql.bind(provenance.code()).push(" AND s.first_at < ");
        sql.bind(midnight.0);
        let rows = store
            .readers()
            .query_all_raw(sql.statement(store.backend()));
        let doing = "read since when anything is known of devices";
        let mut known = Self::default();
        for row in rows.await.doing(doing)? {
            let first: i64 = row.try_get_by_index(0).doing(doing)?;
            let measured: i64 = row.try_get_by_index(1).doing(doing)?;
            // as it is summed up: one that is silent is not watched
            let until = if measured > 0 {
                midnight.min(Instant(measured + DAY))
            } else {
                midnight
            };
            known.days += days(Instant(first), until).max(0.0);
        }
        let devices = sample::devices(store, provenance).await?;
        let keys = sample::sampled(&devices).into_iter().collect();
        let failures = failures(store, &keys, (provenance, midnight)).await?;
        known.failures = failures.count();
        Ok(known)
    }

    /// How much it was when the fleet was summed up as of that midnight, by what is kept of that.
    pub(super) async fn when_summed(
        store: &Store,
        (provenance, midnight): (Provenance, Instant),
    ) -> Result<Self, StoreError> {
        let summed = summed(store, provenance, midnight).await?;
        let newest = model(store, provenance, (Which::Newest, midnight)).await?;
        Ok(Self {
            days: summed.map_or(0.0, |summed| summed.risk.days),
            failures: newest.map_or(0, |newest| newest.report.learned.failures),
        })
    }

    /// Whether so much more is known now, or else than was.
    pub(super) fn is_outgrown(self, now: Self) -> bool {
        let is_longer = now.days > self.days * GROWN + GROWN_DAYS;
        is_longer || is_outdated(self.failures, now.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_that_came_is_much_and_what_is_late_is_not() {
        let of = |days, failures| Known { days, failures };
        assert!(of(0.0, 0).is_outgrown(of(12.0, 0)));
        assert!(of(12.0, 0).is_outgrown(of(240.0, 0)));
        assert!(of(240.0, 0).is_outgrown(of(240.0, 8)));
        assert!(!of(240.0, 107).is_outgrown(of(240.2, 109)));
        assert!(!of(0.0, 0).is_outgrown(of(0.4, 2)));
        assert!(!of(240.0, 9).is_outgrown(of(239.0, 9)));
    }
}
