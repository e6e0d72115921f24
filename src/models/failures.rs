//! When devices failed, as it is known now: also what was archived, deleted, or came late.

use std::collections::BTreeSet;

use sea_orm::ConnectionTrait;

use crate::event::{Instant, Provenance};
use crate::insights::risk::features::hash;
use crate::insights::risk::learning::Failures;
use crate::store::{Doing, List, Sql, Store, StoreError};

/// Failures that may have come late without anything being learned anew for them, and how many of those that were
/// known, in a hundred.
const LATE_MAX: usize = 2;
const LATE_PERCENT: usize = 5;
const DOING: &str = "read when devices failed";
/// A report of an error says what the one before it of that device and provenance did not: repeats are one failure. It is
/// looked for from the key, of reports of errors alone.
const IS_CHANGE: &str = " AND (SELECT p.state FROM device_states p WHERE p.device_key = s.device_key \
    AND p.provenance = s.provenance AND (p.occurred_at, p.position) < (s.occurred_at, s.position) \
    ORDER BY p.occurred_at DESC, p.position DESC LIMIT 1) IS DISTINCT FROM 'ERROR'";

/// When some devices failed until an instant, that is changed to an error.
pub(super) async fn failures(
    store: &Store,
    keys: &BTreeSet<i64>,
    (provenance, until): (Provenance, Instant),
) -> Result<Failures, StoreError> {
    let mut sql = Sql::new(
        "SELECT d.device_id, s.occurred_at FROM device_states s \
         JOIN devices d ON d.device_key = s.device_key WHERE s.state = 'ERROR' AND s.provenance = ",
    );
    sql.bind(provenance.code()).push(" AND s.occurred_at <= ");
    sql.bind(until.0).push(" AND ");
    sql.among("s.device_key", List::Int(keys.iter().copied().collect()));
    sql.push(IS_CHANGE)
        .push(" ORDER BY s.occurred_at, s.position");
    let rows = store
        .readers()
        .query_all_raw(sql.statement(store.backend()));
    let mut failures = Failures::default();
    for row in rows.await.doing(DOING)? {
        let id: String = row.try_get_by_index(0).doing(DOING)?;
        let at = row.try_get_by_index(1).doing(DOING)?;
        failures.add(hash(&id), Instant(at));
    }
    Ok(failures)
}

/// Whether so many failures more are known of a time from which was learned that it is learned from anew.
pub(super) const fn is_outdated(learned: usize, now: usize) -> bool {
    let differ = now.abs_diff(learned);
    differ > LATE_MAX && differ * 100 > learned * LATE_PERCENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_failures_that_came_late_change_nothing_and_many_do() {
        assert!(!is_outdated(0, 2) && is_outdated(0, 3));
        assert!(!is_outdated(100, 105) && is_outdated(100, 106));
        assert!(!is_outdated(58, 58) && is_outdated(58, 0));
    }
}
