//! How many values were expected: one of each device in each of its intervals, while it was in service.
//!
//! The interval is the one that the device told last, however long ago, or else that of the kind. Of a kind that comes
//! when something happens nothing is expected, and neither is it known of a label how many were to bear it.

use std::collections::{BTreeMap, HashMap, HashSet};

use num_traits::AsPrimitive;

use super::ask::AskError;
use super::question::{By, GroupKey, Part, Place, Question, Scope};
use super::read::{TAIL_MAX, checkpoint};
use super::stays::{Stay, stays};
use crate::event::Position;
use crate::projections::rollups::tables::all;
use crate::store::{Allowance, Doing, List, Sql, Store, StoreError};

const READ: &str = "read how often devices report";
const SECOND: f64 = 1_000_000.0;
/// What an interval takes in memory, and a bucket of a group.
const INTERVAL_BYTES: usize = 64;
const BUCKET_BYTES: usize = 48;

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
    let range = (from, to.min(question.now));
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

/// How often devices report, in seconds, as they told last: all that they told up to a position counts, wherever it
/// is. What is not folded yet is read from the table, in which it still is; if that is too much, it is left out.
async fn intervals(
    store: &Store,
    (scope, upto): (&Scope, i64),
    allowance: &Allowance,
) -> Result<HashMap<i64, i64>, StoreError> {
    let tx = store.readers().snapshot().await.doing(READ)?;
    let checkpoint = checkpoint(&tx, "intervals").await?;
    let mut told: HashMap<i64, Said> = HashMap::new();
    let mut sources = vec![folded(scope)];
    if (1..=TAIL_MAX).contains(&(upto - checkpoint)) {
        sources.push(unfolded(scope, (checkpoint, upto)));
    }
    for sql in sources {
        for row in all(&tx, sql).await? {
            let device: i64 = row.try_get_by_index(0).doing(READ)?;
            let told_at: i64 = row.try_get_by_index(1).doing(READ)?;
            let position: i64 = row.try_get_by_index(2).doing(READ)?;
            let seconds: i64 = row.try_get_by_index(3).doing(READ)?;
            let said = (told_at, position, seconds);
            if !told.contains_key(&device) {
                allowance.take(INTERVAL_BYTES)?;
            }
            let held = told.entry(device).or_insert(said);
            *held = said.max(*held);
        }
    }
    // nothing was written
    tx.rollback().await.doing(READ)?;
    let seconds = told
        .into_iter()
        .map(|(device, (.., seconds))| (device, seconds));
    Ok(seconds.collect())
}

/// When and with which event a device told how often it reports, and how many seconds it told: the greatest is the
/// newest.
type Said = (i64, i64, i64);

/// What devices told, as far as it is folded.
fn folded(scope: &Scope) -> Sql {
    let mut sql = Sql::new(
        "SELECT i.device_key, i.told_at, i.position, i.seconds FROM device_intervals i WHERE 1 = 1",
    );
    of_devices(&mut sql, ("i.device_key", scope));
    sql
}

/// What devices told last of what is not folded yet.
fn unfolded(scope: &Scope, (after, upto): (i64, i64)) -> Sql {
    let mut sql = Sql::new(
        "SELECT n.device_key, n.occurred_at, n.position, n.seconds FROM (\
         SELECT m.device_key, m.occurred_at, m.position, m.collection_interval_seconds AS seconds, \
         row_number() OVER (PARTITION BY m.device_key ORDER BY m.occurred_at DESC, m.position DESC) AS place \
         FROM device_metrics m WHERE m.collection_interval_seconds IS NOT NULL AND m.position > ",
    );
    sql.bind(after).push(" AND m.position <= ").bind(upto);
    of_devices(&mut sql, ("m.device_key", scope));
    sql.push(") n WHERE n.place = 1");
    sql
}

fn of_devices(sql: &mut Sql, (column, scope): (&str, &Scope)) {
    if let Some(devices) = &scope.devices {
        let devices = devices.iter().copied().collect();
        sql.push(" AND ").among(column, List::Int(devices));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Kind;
    use crate::rollups::packed::Wanted;
    use crate::rollups::shape::Shape;

    fn question(range: (i64, i64), ends: Vec<i64>) -> Question {
        Question {
            shape: Shape::of(Kind::DeviceMetrics).unwrap(),
            range,
            ends,
            now: i64::MAX,
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
