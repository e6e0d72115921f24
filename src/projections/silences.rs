//! When each device told nothing for long: between two of its readings that follow one another, before the first of
//! them, and after the last.
//!
//! A silence is parted by each reading that falls into it, and no other is touched, so it does not matter in which
//! order they come. There is hardly ever one of a device that is well, so that who asks whether a device was heard
//! of reads few rows, and no readings, archived or not. Readings of all provenances count: each is a sign of life.

use std::collections::{BTreeMap, BTreeSet};

use entity::device_metrics::Column;
use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseTransaction, Value};

use super::upsert::upsert;
use crate::event::Event;
use crate::kinds::Kind;
use crate::store::{Doing, Fold, List, Sql, StoreError};

/// What is not longer than this between two readings is no silence: an hour, in microseconds.
pub(crate) const LEAST: i64 = 3_600 * 1_000_000;
/// When the silence before the first reading begins: nothing is taken that is as old.
pub(crate) const EVER: i64 = 0;
/// When the silence after the last reading ends.
pub(crate) const ENDLESS: i64 = i64::MAX;

/// Readings that are folded at once.
const READINGS_MAX: usize = 1_000;
const FOLD: &str = "fold when devices were silent";

/// Folds metrics into `device_silences`.
#[derive(Debug)]
pub(super) struct Silent;

impl Fold for Silent {
    fn name(&self) -> &'static str {
        "silences"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::DeviceMetrics]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["device_silences"]
    }

    /// Of silences that are not folded yet none is known.
    fn is_waited_for(&self) -> bool {
        false
    }

    fn apply<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        events: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let reading = |event: &&Event| {
                let device = event.fact.cell(Column::DeviceKey).int()?;
                Some([device, event.fact.occurred_at.0])
            };
            let readings: BTreeSet<[i64; 2]> = events.iter().filter_map(reading).collect();
            let readings: Vec<[i64; 2]> = readings.into_iter().collect();
            for readings in readings.chunks(READINGS_MAX) {
                fold(tx, readings).await?;
            }
            Ok(())
        })
    }
}

const INSERT: &str = "INSERT INTO device_silences (device_key, until_at, from_at)";
const MERGE: &str = "ON CONFLICT (device_key, until_at) DO UPDATE SET from_at = excluded.from_at";

/// Folds readings: of which device, and when.
async fn fold(tx: &DatabaseTransaction, readings: &[[i64; 2]]) -> Result<(), StoreError> {
    let before = kept(tx, readings).await?;
    let mut after = before.clone();
    for [device, at] in readings {
        let silences = after.entry(*device).or_insert_with(Silences::ever);
        silences.part(*at);
    }
    let none = Silences::default();
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for (device, silences) in after {
        let before = before.get(&device).unwrap_or(&none);
        for (from, until) in silences.beyond(before) {
            rows.push(vec![device.into(), until.into(), from.into()]);
        }
        let over = before.ends_beyond(&silences);
        if over.is_empty() {
            continue;
        }
        let mut sql = Sql::new("DELETE FROM device_silences WHERE device_key = ");
        sql.bind(device).push(" AND ");
        sql.among("until_at", List::Int(over));
        let statement = sql.statement(tx.get_database_backend());
        tx.execute_raw(statement).await.doing(FOLD)?;
    }
    upsert(tx, INSERT, rows, MERGE).await
}

/// Of each device of which there was any reading before: the silences into which readings may fall.
async fn kept(
    tx: &DatabaseTransaction,
    readings: &[[i64; 2]],
) -> Result<BTreeMap<i64, Silences>, StoreError> {
    let backend = tx.get_database_backend();
    let next = "FROM device_silences s WHERE s.device_key = v.column1 AND s.until_at > v.column2 \
        ORDER BY s.until_at LIMIT 1)";
    let mut sql = Sql::new(format!(
        "SELECT v.column1, (SELECT s.from_at {next}, (SELECT s.until_at {next} FROM "
    ));
    sql.rows_of(backend, readings);
    let mut kept: BTreeMap<i64, Silences> = BTreeMap::new();
    let rows = tx.query_all_raw(sql.statement(backend)).await;
    for row in rows.doing(FOLD)? {
        let device: i64 = row.try_get_by_index(0).doing(FOLD)?;
        let from: Option<i64> = row.try_get_by_index(1).doing(FOLD)?;
        let until: Option<i64> = row.try_get_by_index(2).doing(FOLD)?;
        if let (Some(from), Some(until)) = (from, until) {
            kept.entry(device).or_default().add((from, until));
        }
    }
    Ok(kept)
}

/// The silences of a device, or some of them: when each ended, and when it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Silences(BTreeMap<i64, i64>);

impl Silences {
    /// Those of a device of which there is no reading: it was silent ever.
    pub(crate) fn ever() -> Self {
        Self(BTreeMap::from([(ENDLESS, EVER)]))
    }

    /// Adds one that is kept.
    pub(crate) fn add(&mut self, (from, until): (i64, i64)) {
        self.0.insert(until, from);
    }

    /// Parts the one into which a reading falls, if there is one.
    pub(crate) fn part(&mut self, at: i64) {
        let next = self.0.range(at.saturating_add(1)..).next();
        let Some((until, from)) = next.map(|(until, from)| (*until, *from)) else {
            return;
        };
        if from >= at {
            return;
        }
        if until == ENDLESS || until - at > LEAST {
            self.0.insert(until, at);
        } else {
            self.0.remove(&until);
        }
        if from == EVER || at - from > LEAST {
            self.0.insert(at, from);
        }
    }

    /// From when until when they were, in order of time.
    pub(crate) fn times(&self) -> impl Iterator<Item = (i64, i64)> {
        self.0.iter().map(|(until, from)| (*from, *until))
    }

    /// Those of them that others have not.
    fn beyond(&self, other: &Self) -> impl Iterator<Item = (i64, i64)> {
        let times = self.times();
        times.filter(move |(from, until)| other.0.get(until) != Some(from))
    }

    /// The ends at which none of others ends.
    fn ends_beyond(&self, other: &Self) -> Vec<i64> {
        let ends = self.0.keys().copied();
        ends.filter(|until| !other.0.contains_key(until)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;
    use rand::seq::SliceRandom as _;

    use super::*;

    const MINUTE: i64 = 60_000_000;

    proptest! {
        #[test]
        fn silences_are_what_lies_between_readings_in_whatever_order_they_come(
            minutes in proptest::collection::btree_set(1_i64..2_000, 1..60),
            seed: u64,
        ) {
            let readings: Vec<i64> = minutes.iter().map(|minute| minute * MINUTE).collect();
            let mut expected = vec![(EVER, readings[0])];
            for pair in readings.windows(2) {
                expected.extend((pair[1] - pair[0] > LEAST).then_some((pair[0], pair[1])));
            }
            expected.push((readings[readings.len() - 1], ENDLESS));
            let mut shuffled = [readings.clone(), readings].concat();
            shuffled.shuffle(&mut StdRng::seed_from_u64(seed));
            let mut silences = Silences::ever();
            for at in shuffled {
                silences.part(at);
            }
            prop_assert_eq!(silences.times().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn of_what_is_read_in_part_no_other_is_touched() {
        let (first, second) = ((10 * LEAST, 20 * LEAST), (30 * LEAST, ENDLESS));
        let mut silences = Silences::default();
        silences.add(first);
        silences.add(second);
        let before = silences.clone();
        for at in [5 * LEAST, 10 * LEAST, 20 * LEAST, 25 * LEAST, 30 * LEAST] {
            silences.part(at);
        }
        assert_eq!(silences, before);
    }
}
