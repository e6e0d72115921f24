//! How many values were expected: one of each device in each of its intervals, while it was in service.
//!
//! The interval is the one that the device told last, not long ago, or else that of the kind. Of a kind that comes when
//! something happens nothing is expected, and neither is it known of a label how many were to bear it.

use std::collections::{BTreeMap, HashMap, HashSet};

use entity::device_metrics::Column;
use num_traits::AsPrimitive;

use super::ask::AskError;
use super::question::{By, GroupKey, Part, Place, Question, Scope};
use super::stays::{Stay, stays};
use crate::event::{Instant, Position};
use crate::kinds::Kind;
use crate::projections::rollups::tables::all;
use crate::store::{Allowance, Columns, Doing, List, Sql, Store, StoreError};

const READ: &str = "read how often devices report";
const SECOND: f64 = 1_000_000.0;
/// What an interval takes in memory, and a bucket of a group.
const INTERVAL_BYTES: usize = 64;
const BUCKET_BYTES: usize = 48;
/// Readings of a device at most in which its interval is looked for: what it has not told for longer holds no more.
const TOLD_WITHIN: usize = 20;
/// Archived readings that are looked for at once.
const READINGS_MAX: usize = 1_000;

/// How many values were expected in each bucket, of each group.
#[derive(Debug)]
pub(super) struct Expected(Alike);

/// The same by the places of groups.
pub(super) type Alike = BTreeMap<Place, Vec<f64>>;

/// How much of each bucket some devices that report as often were to report in.
#[derive(Clone, Debug)]
struct Service {
    /// By how many devices more than the bucket before each is served wholly, and one more.
    whole: Vec<i64>,
    /// Of buckets that are not: microseconds of all devices together.
    parts: Vec<i64>,
}

/// What was expected of what is asked for, as it was known at a position; nothing where that is not known.
pub(super) async fn expected(
    store: &Store,
    (question, upto): (&Question, Position),
    allowance: &Allowance,
) -> Result<Option<Expected>, AskError> {
    let source = question.shape.kind.spec().source.as_ref();
    let usual = source.and_then(|source| source.expected_interval_seconds);
    let is_labelled = question.by.iter().any(|by| matches!(by, By::Label(_)))
        || question.scope.labels.iter().any(Option::is_some);
    let (Some(usual), false) = (usual, is_labelled) else {
        return Ok(None);
    };
    let db = store.readers();
    let stays = stays(db, (&question.scope, upto.0), allowance).await?;
    let intervals = intervals(store, (&question.scope, upto.0), allowance).await?;
    // nothing is expected of what is to come
    let (from, to) = question.range;
    let range = (from, to.min(store.clock().now().0));
    let buckets = question.ends.len().saturating_sub(1);
    let mut served: BTreeMap<(Place, i64), Service> = BTreeMap::new();
    for stay in stays {
        let within = (stay.from.max(range.0), stay.until.min(range.1));
        if within.0 >= within.1 {
            continue;
        }
        let interval = intervals.get(&stay.device).copied();
        let interval = interval.unwrap_or_else(|| i64::from(usual));
        let key = (question.place_of(group_of(question, &stay)), interval);
        if !served.contains_key(&key) {
            allowance.take(BUCKET_BYTES * buckets)?;
        }
        let service = served.entry(key).or_insert_with(|| Service::new(buckets));
        service.add(question, within);
    }
    let mut expected = Alike::new();
    for ((key, interval), service) in served {
        let held = expected.entry(key).or_insert_with(|| vec![0.0; buckets]);
        let interval: f64 = interval.max(1).as_();
        for (held, micros) in held.iter_mut().zip(service.micros(question)) {
            let micros: f64 = micros.as_();
            *held += micros / SECOND / interval;
        }
    }
    Ok(Some(Expected(expected)))
}

impl Expected {
    /// Of some groups each for itself, and of all that are not among them as one. What is no money is of all
    /// currencies together.
    pub(super) fn like(&self, kept: &HashSet<GroupKey>, is_money: bool) -> Alike {
        let mut alike = Alike::new();
        for ((is_other, key), expected) in &self.0 {
            let mut key = key.clone();
            if !is_money {
                key.currency.clear();
            }
            let held = alike
                .entry(key.among(kept, *is_other))
                .or_insert_with(|| vec![0.0; expected.len()]);
            for (held, more) in held.iter_mut().zip(expected) {
                *held += more;
            }
        }
        alike
    }
}

impl Service {
    fn new(buckets: usize) -> Self {
        Self {
            whole: vec![0; buckets + 1],
            parts: vec![0; buckets],
        }
    }

    /// Adds a device over some time of the range: whole buckets by where they begin and end, and parts of others.
    fn add(&mut self, question: &Question, (from, until): (i64, i64)) {
        let (Some(first), Some(last)) = (question.bucket_of(from), question.bucket_of(until - 1))
        else {
            return;
        };
        for bucket in [first, last].iter().take(if first == last { 1 } else { 2 }) {
            let (start, end) = asked_of(question, *bucket);
            if let Some(part) = self.parts.get_mut(*bucket) {
                *part += end.min(until) - start.max(from);
            }
        }
        if first + 1 < last {
            for (bucket, more) in [(first + 1, 1), (last, -1)] {
                if let Some(whole) = self.whole.get_mut(bucket) {
                    *whole += more;
                }
            }
        }
    }

    /// The microseconds of each bucket, of all devices together.
    fn micros(&self, question: &Question) -> Vec<i64> {
        let mut devices = 0;
        let buckets = self.whole.iter().zip(&self.parts).enumerate();
        let micros = buckets.map(|(bucket, (more, part))| {
            devices += more;
            let (start, end) = asked_of(question, bucket);
            part.saturating_add((end - start).saturating_mul(devices))
        });
        micros.collect()
    }
}

/// What of a bucket is asked for.
fn asked_of(question: &Question, bucket: usize) -> (i64, i64) {
    let end = |place: usize| question.ends.get(place).copied().unwrap_or_default();
    let (from, to) = question.range;
    (end(bucket).max(from), end(bucket + 1).min(to))
}

/// The group in which a device was while it stood somewhere.
fn group_of(question: &Question, stay: &Stay) -> GroupKey {
    let part = |by: &By| match by {
        By::Device => Part::Key(stay.device),
        By::Site => Part::Key(stay.site),
        By::DeviceType => question
            .types
            .get(&stay.device)
            .map_or(Part::None, |ty| Part::Text(ty.clone())),
        By::Label(_) => Part::None,
    };
    GroupKey {
        parts: question.by.iter().map(part).collect(),
        currency: if question.is_money {
            stay.currency.clone()
        } else {
            String::new()
        },
    }
}

/// How often devices report, in seconds, as they told last with one of their newest readings up to a position. Of what
/// was archived the newest alone is looked at.
async fn intervals(
    store: &Store,
    (scope, upto): (&Scope, i64),
    allowance: &Allowance,
) -> Result<HashMap<i64, i64>, StoreError> {
    let (mut intervals, mut elsewhere) = (HashMap::new(), Vec::new());
    for row in all(store.readers(), newest(scope, upto)).await? {
        allowance.take(INTERVAL_BYTES)?;
        let device: i64 = row.try_get_by_index(0).doing(READ)?;
        let at: Option<i64> = row.try_get_by_index(1).doing(READ)?;
        let interval: Option<i64> = row.try_get_by_index(2).doing(READ)?;
        let newest: Option<i64> = row.try_get_by_index(3).doing(READ)?;
        intervals.extend(interval.map(|interval| (device, interval)));
        // what is newer than the newest of the table was archived
        if let Some(newest) = newest.filter(|newest| Some(*newest) > at) {
            elsewhere.push((device, Instant(newest)));
        }
    }
    for readings in elsewhere.chunks(READINGS_MAX) {
        archived(store, (readings, upto), &mut intervals).await?;
    }
    Ok(intervals)
}

/// Of devices when the newest reading in the table is, the interval that it or else one of those before it tells,
/// and when the newest of all is as far as that is folded. The parts of a reading are rows of one instant.
fn newest(scope: &Scope, upto: i64) -> Sql {
    let mut sql = Sql::new(
        "SELECT q.device_key, q.at, COALESCE((SELECT max(m.collection_interval_seconds) FROM device_metrics m \
         WHERE m.device_key = q.device_key AND m.occurred_at = q.at AND m.position <= ",
    );
    sql.bind(upto);
    // most tell it each time, so that this is read of few
    sql.push(
        "), (SELECT r.told FROM (SELECT n.occurred_at, n.collection_interval_seconds AS told \
         FROM device_metrics n WHERE n.device_key = q.device_key AND n.position <= ",
    );
    sql.bind(upto);
    sql.push(&format!(
        " ORDER BY n.occurred_at DESC LIMIT {TOLD_WITHIN}) r WHERE r.told IS NOT NULL \
         ORDER BY r.occurred_at DESC, r.told DESC LIMIT 1)), q.newest_at"
    ));
    sql.push(
        " FROM (SELECT d.device_key, (SELECT n.occurred_at FROM device_metrics n \
         WHERE n.device_key = d.device_key AND n.position <= ",
    );
    sql.bind(upto);
    sql.push(
        " ORDER BY n.occurred_at DESC LIMIT 1) AS at, (SELECT s.metrics_at FROM device_status s \
         WHERE s.device_key = d.device_key AND s.metrics_position <= ",
    );
    sql.bind(upto);
    sql.push(") AS newest_at FROM devices d WHERE 1 = 1");
    if let Some(devices) = &scope.devices {
        let devices = devices.iter().copied().collect();
        sql.push(" AND ").among("d.device_key", List::Int(devices));
    }
    sql.push(") q");
    sql
}

/// Adds what readings told that are not in the table.
async fn archived(
    store: &Store,
    (readings, upto): (&[(i64, Instant)], i64),
    intervals: &mut HashMap<i64, i64>,
) -> Result<(), StoreError> {
    let kind = Kind::DeviceMetrics;
    let index = kind.spec().index_of("collectionIntervalSeconds");
    let columns = index.map_or(Columns::NONE, |index| Columns::NONE.with(index));
    // a few readings are let go at once
    let allowance = Store::own_allowance();
    let parts = store.together((kind, columns), readings, &allowance);
    let mut told: HashMap<i64, i64> = HashMap::new();
    for event in parts.await?.iter().filter(|part| part.position.0 <= upto) {
        let device = event.fact.cell(Column::DeviceKey).int();
        let interval = event.fact.cell(Column::CollectionIntervalSeconds).int();
        if let Some((device, interval)) = device.zip(interval) {
            let held = told.entry(device).or_insert(interval);
            *held = interval.max(*held);
        }
    }
    // one that tells none leaves what was told before
    intervals.extend(told);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollups::packed::Wanted;
    use crate::rollups::shape::Shape;

    fn question(range: (i64, i64), ends: Vec<i64>) -> Question {
        Question {
            shape: Shape::of(Kind::DeviceMetrics).unwrap(),
            range,
            ends,
            wanted: Wanted::ALL,
            scope: Scope::default(),
            by: Vec::new(),
            types: HashMap::new(),
            is_money: false,
            buckets_max: 100,
            kept: None,
        }
    }

    #[test]
    fn service_is_what_of_each_bucket_a_device_was_there() {
        let question = question((5, 48), vec![0, 10, 20, 30, 40, 50]);
        let micros = |times: &[(i64, i64)]| {
            let mut service = Service::new(5);
            for time in times {
                service.add(&question, *time);
            }
            service.micros(&question)
        };
        assert_eq!(micros(&[(5, 48)]), [5, 10, 10, 10, 8]);
        assert_eq!(micros(&[(12, 14)]), [0, 2, 0, 0, 0]);
        assert_eq!(micros(&[(12, 21), (9, 45)]), [1, 18, 11, 10, 5]);
    }
}
