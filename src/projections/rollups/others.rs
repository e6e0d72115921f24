//! Keeps the number of labels bounded: so many of them have rows of their own in a bucket of one owner, and all
//! others are summed up together ([`labels`](crate::rollups::labels)).
//!
//! A row of others says what the least rank is that is in it. What comes then and has no lesser one is added to
//! it without asking what else there is, so that a flood of labels costs no more than other events do.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::DatabaseTransaction;

use super::gather::merge_packed;
use super::tables::{Key, Level};
use crate::rollups::labels::{Open, TOLD_MAX};
use crate::rollups::packed::{self, Row};
use crate::rollups::shape::Shape;
use crate::rollups::sketch::Room;
use crate::store::StoreError;

type Rows = BTreeMap<Key, Row>;

/// Puts what is not told apart together: of rows that are to be added to a table, and of those that are there
/// and so far were told apart. Takes what is held of the rows to be added, and adds the rows of others to it.
pub(super) async fn bound(
    tx: &DatabaseTransaction,
    (shape, level): (&Shape, Level),
    rows: &mut Rows,
    held: &mut BTreeMap<Key, Vec<u8>>,
) -> Result<(), StoreError> {
    if shape.open.is_none() {
        return Ok(());
    }
    let kind = shape.kind.code();
    let new = rows.keys().filter(|key| !held.contains_key(*key));
    let new: Vec<(Key, Open)> = new
        .filter_map(|key| Some((key.clone(), shape.open(&key.labels)?)))
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    let others = new.iter().map(|(key, open)| key.labelled(&open.others));
    let others: BTreeSet<Key> = others.collect();
    held.extend(level.load(tx, kind, others.iter()).await?);
    let mut buckets: BTreeMap<Key, usize> = BTreeMap::new();
    for (key, open) in new {
        let others = held.get(&key.labelled(&open.others));
        let least = others.map_or(Ok(None), |others| packed::rank(others));
        let least = least.map_err(|_| level.malformed())?;
        if least.is_some_and(|least| least <= open.rank) {
            join(rows, &key, &open);
        } else {
            *buckets.entry(key.labelled("")).or_default() += 1;
        }
    }
    let there = level.count(tx, kind, buckets.keys()).await?;
    for (bucket, new) in buckets {
        let there = there.get(&bucket).copied().unwrap_or_default();
        if there + new > TOLD_MAX {
            displace(tx, (shape, level), &bucket, rows).await?;
        }
    }
    let unknown = rows.iter().filter(|(key, row)| {
        // one that was told apart until now may have others of its own
        row.rank.is_some() && !held.contains_key(*key)
    });
    let unknown: Vec<Key> = unknown.map(|(key, _)| key.clone()).collect();
    held.extend(level.load(tx, kind, unknown.iter()).await?);
    Ok(())
}

/// Puts what is not told apart in a bucket any more together, and takes what is there of it out of the table.
async fn displace(
    tx: &DatabaseTransaction,
    (shape, level): (&Shape, Level),
    bucket: &Key,
    rows: &mut Rows,
) -> Result<(), StoreError> {
    let kind = shape.kind.code();
    let there = level.beside(tx, kind, bucket).await?;
    let more = rows.range(bucket.clone()..).map(|(key, _)| key);
    let more = more.take_while(|key| key.labelled("") == *bucket);
    let keys: BTreeSet<&Key> = there.iter().chain(more).collect();
    let beyond = beyond(shape, keys.into_iter(), TOLD_MAX);
    let gone = beyond.iter().map(|(key, _)| key);
    let gone: Vec<&Key> = gone.filter(|key| there.contains(*key)).collect();
    let mut room = Room::default();
    for (key, packed) in level.load(tx, kind, gone.iter().copied()).await? {
        let row = rows.entry(key.clone());
        let row = row.or_insert_with(|| Row::new(shape.forms.len()));
        merge_packed(row, shape, (&key, &packed), &mut room)?;
    }
    level.remove(tx, kind, (bucket, &gone)).await?;
    for (key, open) in &beyond {
        join(rows, key, open);
    }
    Ok(())
}

/// Puts together what is not told apart of rows that are all there is of their buckets.
pub(super) fn joined(shape: &Shape, rows: &mut Rows, max: usize) {
    if shape.open.is_none() {
        return;
    }
    let mut buckets: BTreeMap<Key, Vec<Key>> = BTreeMap::new();
    for key in rows.keys() {
        let bucket = buckets.entry(key.labelled("")).or_default();
        bucket.push(key.clone());
    }
    for keys in buckets.into_values() {
        for (key, open) in beyond(shape, keys.iter(), max) {
            join(rows, &key, &open);
        }
    }
}

/// Of the labels of one bucket those that are not told apart: all but those of the least rank.
fn beyond<'a>(shape: &Shape, keys: impl Iterator<Item = &'a Key>, max: usize) -> Vec<(Key, Open)> {
    let open = keys.filter_map(|key| Some((key.clone(), shape.open(&key.labels)?)));
    let mut open: Vec<(Key, Open)> = open.collect();
    // what has a label in common has the rank in common
    open.sort_unstable_by(|(one, left), (other, right)| {
        (left.rank, &one.labels).cmp(&(right.rank, &other.labels))
    });
    open.split_off(max.min(open.len()))
}

/// Adds a row to that of the others.
fn join(rows: &mut Rows, key: &Key, open: &Open) {
    let Some(mut row) = rows.remove(key) else {
        return;
    };
    row.rank = Some(open.rank);
    let others = key.labelled(&open.others);
    match rows.get_mut(&others) {
        Some(held) => held.merge(&row),
        None => {
            rows.insert(others, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;
    use rand::seq::SliceRandom as _;

    use super::*;
    use crate::kinds::Kind;
    use crate::projections::rollups::tables::{DEVICE_HOURS, DEVICE_QUARTERS};
    use crate::rollups::labels::{Ranks, written};
    use crate::rollups::packed::Wanted;
    use crate::rollups::shape::Reading;
    use crate::rollups::value::Value;

    /// Labels that are told apart.
    const MAX: usize = 4;

    /// What is read of a page that was looked at, of one hour.
    fn reading() -> impl Strategy<Value = Reading> {
        let page = proptest::option::weighted(0.9, 0..12_u8);
        let of = (0..3_600_i64, 0..2_usize, page, 1..5_000_i64);
        of.prop_map(|(second, what, page, ms)| Reading {
            at: second * 1_000_000,
            provenance: 0,
            device: 1,
            site: None,
            is_part: false,
            labels: written(&[
                Some(["PAGE_VIEW", "BUTTON_CLICK"][what].to_owned()),
                page.map(|page| format!("/{page}")),
            ]),
            values: vec![Some(Value::of_int(ms))],
        })
    }

    fn shape() -> Shape {
        let mut shape = Shape::of(Kind::UserActivity).unwrap();
        shape.ranks = Ranks::of("a secret");
        shape
    }

    fn key(level: Level, reading: &Reading) -> Key {
        Key {
            owner: reading.device,
            provenance: 0,
            bucket: level.bucket(reading.at),
            site: 0,
            currency: String::new(),
            labels: reading.labels.clone(),
        }
    }

    fn add(rows: &mut Rows, (level, readings): (Level, &[Reading])) {
        let forms = shape().forms;
        for reading in readings {
            let row = rows.entry(key(level, reading));
            let row = row.or_insert_with(|| Row::new(forms.len()));
            row.add(&forms, reading, Wanted::ALL);
        }
    }

    /// All at once.
    fn folded(level: Level, readings: &[Reading]) -> Rows {
        let mut rows = Rows::new();
        add(&mut rows, (level, readings));
        joined(&shape(), &mut rows, MAX);
        rows
    }

    fn packed(rows: &Rows) -> Vec<(Key, Vec<u8>)> {
        let packed = rows.iter().map(|(key, row)| {
            let bytes = row.pack(&shape().forms, key.bucket);
            (key.clone(), bytes)
        });
        packed.collect()
    }

    proptest! {
        #[test]
        fn rows_are_the_same_in_any_order_and_batches(
            readings in proptest::collection::vec(reading(), 1..80),
            batch in 1_usize..20,
            seed: u64,
        ) {
            let mut shuffled = readings.clone();
            shuffled.shuffle(&mut StdRng::seed_from_u64(seed));
            let mut rows = Rows::new();
            for batch in shuffled.chunks(batch) {
                add(&mut rows, (DEVICE_QUARTERS, batch));
                joined(&shape(), &mut rows, MAX);
            }
            prop_assert_eq!(packed(&rows), packed(&folded(DEVICE_QUARTERS, &readings)));
        }

        #[test]
        fn an_hour_of_quarters_is_one_of_events(
            readings in proptest::collection::vec(reading(), 1..80),
        ) {
            let mut hours = Rows::new();
            for (key, row) in folded(DEVICE_QUARTERS, &readings) {
                let held = hours.entry(DEVICE_HOURS.above(&key));
                held.or_insert_with(|| Row::new(1)).merge(&row);
            }
            joined(&shape(), &mut hours, MAX);
            prop_assert_eq!(packed(&hours), packed(&folded(DEVICE_HOURS, &readings)));
        }

        #[test]
        fn nothing_is_lost_and_no_more_are_told_apart_than_may(
            readings in proptest::collection::vec(reading(), 1..80),
        ) {
            let rows = folded(DEVICE_HOURS, &readings);
            let events: u64 = rows.values().map(|row| row.events).sum();
            prop_assert_eq!(events, u64::try_from(readings.len()).unwrap());
            let told = rows.keys().filter(|key| shape().open(&key.labels).is_some());
            prop_assert!(told.count() <= MAX);
            for (key, row) in rows.iter().filter(|(_, row)| row.rank.is_some()) {
                // all that is told apart comes before all that is not
                let told = rows.keys().filter_map(|key| shape().open(&key.labels));
                let told = told.filter(|open| key.labels == open.others);
                prop_assert!(told.map(|open| Some(open.rank)).all(|rank| rank < row.rank));
            }
        }
    }
}
