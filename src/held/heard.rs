//! When devices were heard of in hours that are not folded: from when on, and until when.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait as _, DatabaseTransaction};

use super::brought::Heard;
use crate::event::{Instant, Provenance};
use crate::insights::input::HOUR;
use crate::insights::replay::hour_of;
use crate::projections::insights::facts::Whose;
use crate::projections::insights::rows::Head;
use crate::store::{Doing, List, Sql, StoreError};

const READ: &str = "read when devices were heard of last";
/// Devices of which the first reading is looked for at once.
const AT_ONCE: usize = 256;

/// Which readings are looked for.
pub(super) struct Readings<'a> {
    pub(super) tx: &'a DatabaseTransaction,
    /// The states in use.
    pub(super) present: &'a BTreeMap<i64, Head>,
    /// Whether they are of few devices, which are named.
    pub(super) is_some: bool,
    pub(super) as_of: Instant,
    /// Up to when what happened to a device is folded.
    pub(super) folded: &'a (dyn Fn(&Head) -> i64 + Sync),
}

/// A device of which something was measured since it was folded.
struct Newest {
    whose: Whose,
    from: i64,
    until: i64,
    /// Whether it was heard of right before, so that nothing was missed in between.
    goes_on: bool,
}

impl Readings<'_> {
    /// The hours that are over in which devices were heard of since they were folded, by the provenance of their
    /// states. Of one that reported up to then it is taken that it did in each of them.
    pub(super) fn heard(&self) -> BoxFuture<'_, Result<BTreeMap<Whose, Heard>, StoreError>> {
        Box::pin(self.read())
    }

    async fn read(&self) -> Result<BTreeMap<Whose, Heard>, StoreError> {
        let mut heard = BTreeMap::new();
        let mut returned: Vec<Newest> = Vec::new();
        for newest in self.newest().await? {
            if newest.goes_on {
                heard.insert(newest.whose, newest.from(newest.from));
            } else {
                returned.push(newest);
            }
        }
        for some in returned.chunks(AT_ONCE) {
            let first = self.first(some).await?;
            for newest in some {
                if let Some(first) = first.get(&newest.whose) {
                    let from = hour_of(Instant(*first)).0;
                    heard.insert(newest.whose, newest.from(from));
                }
            }
        }
        Ok(heard)
    }

    /// The devices whose newest reading is of the provenance of their state, and after what is folded.
    async fn newest(&self) -> Result<Vec<Newest>, StoreError> {
        let open = hour_of(self.as_of).0;
        let from = self.present.values().map(self.folded).min();
        let Some(from) = from.filter(|from| *from < open) else {
            return Ok(Vec::new());
        };
        let mut sql = Sql::new(
            "SELECT s.device_key, s.metrics_at, m.provenance FROM device_status s JOIN device_metrics m \
             ON m.position = s.metrics_position AND m.occurred_at = s.metrics_at WHERE s.metrics_at >= ",
        );
        sql.bind(from);
        // by that PostgreSQL picks the partitions
        sql.push(" AND m.occurred_at >= ").bind(from);
        if self.is_some {
            let keys = self.present.keys().copied().collect();
            sql.push(" AND ").among("s.device_key", List::Int(keys));
        }
        let backend = self.tx.get_database_backend();
        let rows = self.tx.query_all_raw(sql.statement(backend));
        let mut newest = Vec::new();
        for row in rows.await.doing(READ)? {
            let key: i64 = row.try_get_by_index(0).doing(READ)?;
            let at: i64 = row.try_get_by_index(1).doing(READ)?;
            let provenance: i64 = row.try_get_by_index(2).doing(READ)?;
            let Some(head) = self.present.get(&key) else {
                continue;
            };
            let from = (self.folded)(head);
            let until = open.min(hour_of(Instant(at)).0 + HOUR);
            if Provenance::of_code(provenance) == Some(head.whose.1) && from < until {
                newest.push(Newest {
                    whose: head.whose,
                    from,
                    until,
                    goes_on: head.measured_at >= from && at <= self.as_of.0,
                });
            }
        }
        Ok(newest)
    }

    /// When the first reading of some devices came since they were folded.
    async fn first(&self, devices: &[Newest]) -> Result<BTreeMap<Whose, i64>, StoreError> {
        let rows = devices.iter().map(|newest| {
            let (key, provenance) = newest.whose;
            [key, newest.from, newest.until, provenance.code()]
        });
        let mut rows: Vec<[i64; 4]> = rows.collect();
        let from = rows.iter().map(|[_, from, ..]| *from).min();
        // filled up, so that one text of the statement serves all numbers of them
        rows.resize(AT_ONCE, [0, i64::MAX, 0, 0]);
        let mut sql = Sql::new(
            "SELECT v.column1, v.column4, (SELECT t.occurred_at FROM device_metrics t \
             WHERE t.device_key = v.column1 AND t.occurred_at >= v.column2 AND t.occurred_at < v.column3 \
             AND t.provenance = v.column4 AND t.occurred_at >= ",
        );
        sql.bind(from.unwrap_or_default());
        sql.push(" AND t.occurred_at <= ").bind(self.as_of.0);
        sql.push(" ORDER BY t.occurred_at LIMIT 1) FROM ");
        let backend = self.tx.get_database_backend();
        sql.rows_of(backend, &rows);
        let mut first = BTreeMap::new();
        for row in self
            .tx
            .query_all_raw(sql.statement(backend))
            .await
            .doing(READ)?
        {
            let key: i64 = row.try_get_by_index(0).doing(READ)?;
            let provenance: i64 = row.try_get_by_index(1).doing(READ)?;
            let at: Option<i64> = row.try_get_by_index(2).doing(READ)?;
            let whose = Provenance::of_code(provenance).map(|provenance| (key, provenance));
            first.extend(whose.zip(at));
        }
        Ok(first)
    }
}

impl Newest {
    const fn from(&self, from: i64) -> Heard {
        (Instant(self.until), Instant(from))
    }
}
