//! Rankings: what each thing comes to over some time, beside all of them and beside an earlier time.
//!
//! Amounts of money are ranked by currency. Whoever comes to the same has the same rank, and stands in the order
//! of names. What adds up has shares of all; of what adds up nothing is zero, so that what has fallen silent
//! since the earlier time is told with zero.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{NaiveTime, Weekday};
use chrono_tz::Tz;

use super::ask::{AskError, are_told, zone_of};
use super::calendar::Calendar;
use super::earlier::Earlier;
use super::question::{GroupKey, Part, Question};
use super::read::{Read, compared};
use super::series::{Aggregate, Bucket, What, adds_up, merged, usual_rank};
use super::subject::Subject;
use crate::event::{Instant, Position};
use crate::rollups::packed::Row;
use crate::store::{Allowance, Store};

/// Things at most that are told one by one.
pub const TOP_MAX: usize = 1_000;

/// Which come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum First {
    /// Those that come to most.
    #[default]
    Highest,
    /// Those that come to least.
    Lowest,
}

/// A ranking that is asked for.
#[derive(Clone, Debug)]
pub struct Ranked {
    /// What is measured, of what, and what is ranked.
    pub subject: Subject,
    /// From an instant until just before another.
    pub range: (Instant, Instant),
    /// On whose clock an earlier time is found; left out, that of the sites if they have one, else UTC.
    pub zone: Option<Tz>,
    /// By what; left out, by what suits each measure.
    pub aggregate: Option<Aggregate>,
    /// Which come first.
    pub first: First,
    /// So many of them, and all others as one.
    pub top: usize,
    /// With what it is compared.
    pub earlier: Option<Earlier>,
}

/// A ranking.
#[derive(Debug)]
pub(crate) struct Ranking {
    /// All events up to this position are in it.
    pub(crate) position: Position,
    /// The numbers of the provenances that are in it.
    pub(crate) provenances: BTreeSet<i64>,
    pub(crate) zone: Tz,
    /// The range with which it is compared.
    pub(crate) earlier: Option<(i64, i64)>,
    /// One for each measure, and of money one for each currency.
    pub(crate) lists: Vec<Ranks>,
}

/// The ranking of one measure.
#[derive(Debug)]
pub(crate) struct Ranks {
    /// The place of the measure among those that were asked for.
    pub(crate) measure: usize,
    pub(crate) aggregate: Aggregate,
    pub(crate) currency: String,
    /// How many things there are; what is not told apart is one.
    pub(crate) things: usize,
    pub(crate) total: Bucket,
    pub(crate) earlier_total: Option<Bucket>,
    pub(crate) rows: Vec<Standing>,
}

/// What a thing comes to.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) key: GroupKey,
    /// 1 is the first; none of all others together.
    pub(crate) rank: Option<usize>,
    /// How many things it is of.
    pub(crate) things: usize,
    pub(crate) value: Option<f64>,
    /// Its part of all.
    pub(crate) share: Option<f64>,
    pub(crate) earlier: Option<f64>,
    /// Everything else that is told of it.
    pub(crate) bucket: Bucket,
}

/// Answers what is asked.
pub(crate) async fn rank(
    store: &Store,
    asked: &Ranked,
    allowance: &Allowance,
) -> Result<Ranking, AskError> {
    let subject = &asked.subject;
    let range = (asked.range.0.0, asked.range.1.0);
    if range.0 >= range.1 {
        return Err(AskError::Reversed);
    }
    for measure in &subject.measures {
        if let Some(aggregate) = asked.aggregate {
            subject.makes_sense(*measure, aggregate)?;
        }
    }
    let zone = match asked.zone {
        Some(zone) => zone,
        None => zone_of(store, &subject.scope).await?,
    };
    let before = asked.before(zone, range)?;
    let ends = vec![range.0, range.1];
    let question = subject.question(store, range, ends).await?;
    let ends = before.map(|(from, to)| [from, to]);
    let before = before.zip(ends.as_ref().map(<[i64; 2]>::as_slice));
    let (now, earlier) = compared(store, (&question, before), allowance).await?;
    let mut provenances = now.provenances.clone();
    if let Some((_, read)) = &earlier {
        provenances.extend(&read.provenances);
    }
    let mut ranking = Ranking {
        position: now.position,
        provenances,
        zone,
        earlier: earlier.as_ref().map(|(question, _)| question.range),
        lists: Vec::new(),
    };
    for (place, measure) in subject.measures.iter().enumerate() {
        let what = question.what(*measure);
        let things = asked.things((&question, &now), earlier.as_ref(), *measure);
        for (currency, things) in things {
            let list = List {
                store,
                asked,
                what,
                aggregate: asked.aggregate.unwrap_or_else(|| usual_rank(what)),
                question: &question,
                earlier: earlier.as_ref().map(|(question, _)| question),
            };
            ranking.lists.push(list.ranks(place, currency, things));
        }
    }
    Ok(ranking)
}

/// A thing: what was said of it, and what was said of it in the earlier time.
struct Thing {
    key: GroupKey,
    now: Option<Row>,
    earlier: Option<Row>,
}

impl Ranked {
    /// The range with which one is compared; nothing if it is not, or if there is no such time.
    fn before(&self, zone: Tz, range: (i64, i64)) -> Result<Option<(i64, i64)>, AskError> {
        let calendar = Calendar {
            zone,
            day_start: NaiveTime::MIN,
            week_start: Weekday::Mon,
        };
        let before = self.earlier.and_then(|it| it.range(&calendar, range));
        if before.is_some_and(|(from, to)| !are_told(&[from, to])) {
            return Err(AskError::EarlierYears);
        }
        Ok(before)
    }

    /// What there is of a measure, by currency; without any there is one list, that is empty.
    fn things(
        &self,
        (question, now): (&Question, &Read),
        earlier: Option<&(Question, Read)>,
        measure: Option<usize>,
    ) -> BTreeMap<String, Vec<Thing>> {
        let what = question.what(measure);
        let mut things: BTreeMap<GroupKey, (Option<Row>, Option<Row>)> = BTreeMap::new();
        let said = |row: Option<Row>| row.filter(|row| what.is_said(row));
        let of = |read: &Read| self.subject.of_measure(question, &read.groups, measure);
        for ((_, key), rows) in of(now).rows {
            let row = said(merged(rows.iter().flatten().map(|row| &**row)));
            if row.is_some() {
                things.entry(key).or_default().0 = row;
            }
        }
        for ((_, key), rows) in earlier.map(|(_, read)| of(read).rows).into_iter().flatten() {
            let row = said(merged(rows.iter().flatten().map(|row| &**row)));
            if row.is_some() {
                things.entry(key).or_default().1 = row;
            }
        }
        let mut lists: BTreeMap<String, Vec<Thing>> = BTreeMap::new();
        for (key, (now, earlier)) in things {
            let currency = key.currency.clone();
            let thing = Thing { key, now, earlier };
            lists.entry(currency).or_default().push(thing);
        }
        if lists.is_empty() {
            lists.insert(String::new(), Vec::new());
        }
        lists
    }
}

/// Makes the list of one measure, in one currency.
struct List<'a> {
    store: &'a Store,
    asked: &'a Ranked,
    what: What,
    aggregate: Aggregate,
    question: &'a Question,
    earlier: Option<&'a Question>,
}

impl List<'_> {
    fn ranks(&self, measure: usize, currency: String, things: Vec<Thing>) -> Ranks {
        let total = self.bucket(merged(things.iter().filter_map(|t| t.now.as_ref())).as_ref());
        let earlier_total =
            self.earlier(merged(things.iter().filter_map(|t| t.earlier.as_ref())).as_ref());
        let count = things.len();
        let mut ranked: Vec<(Option<f64>, Vec<Name>, Thing)> = things
            .into_iter()
            .map(|thing| {
                let value = self.value(&self.bucket(thing.now.as_ref()));
                (value, self.names(&thing.key), thing)
            })
            .collect();
        ranked.sort_by(|(left, a, one), (right, b, other)| {
            // what is not told apart has no rank, and stands among the others
            let is_told = other.key.is_told().cmp(&one.key.is_told());
            let by_value = || self.compare(*left, *right);
            is_told.then_with(by_value).then_with(|| a.cmp(b))
        });
        let told = ranked.iter().filter(|(.., thing)| thing.key.is_told());
        let values: Vec<Option<f64>> = told.map(|(value, ..)| *value).collect();
        let top = self.asked.top.min(values.len());
        let mut things = ranked.into_iter().map(|(.., thing)| thing);
        let mut rows = Vec::with_capacity(top + 1);
        let whole = self.value(&total);
        for (place, thing) in things.by_ref().take(top).enumerate() {
            let value = values.get(place).copied().flatten();
            let better = values.partition_point(|other| self.compare(*other, value).is_lt());
            rows.push(self.standing((thing, 1), Some(better + 1), whole));
        }
        let others: Vec<Thing> = things.collect();
        if let Some(first) = others.first() {
            let joined = Thing {
                key: first.key.other(),
                now: merged(others.iter().filter_map(|thing| thing.now.as_ref())),
                earlier: merged(others.iter().filter_map(|thing| thing.earlier.as_ref())),
            };
            rows.push(self.standing((joined, others.len()), None, whole));
        }
        Ranks {
            measure,
            aggregate: self.aggregate,
            currency,
            things: count,
            total,
            earlier_total,
            rows,
        }
    }

    fn standing(
        &self,
        (thing, things): (Thing, usize),
        rank: Option<usize>,
        whole: Option<f64>,
    ) -> Standing {
        let bucket = self.bucket(thing.now.as_ref());
        let value = self.value(&bucket);
        let share = value.zip(whole).map(|(value, whole)| value / whole);
        let earlier = self.earlier(thing.earlier.as_ref());
        Standing {
            key: thing.key,
            rank,
            things,
            value,
            share: share.filter(|share| adds_up(self.aggregate) && share.is_finite()),
            earlier: earlier.and_then(|bucket| self.value(&bucket)),
            bucket,
        }
    }

    fn bucket(&self, row: Option<&Row>) -> Bucket {
        self.question.whole(self.what, row)
    }

    fn earlier(&self, row: Option<&Row>) -> Option<Bucket> {
        self.earlier.map(|question| question.whole(self.what, row))
    }

    /// What a bucket comes to: of what adds up nothing is zero.
    fn value(&self, bucket: &Bucket) -> Option<f64> {
        let nothing = adds_up(self.aggregate).then_some(0.0);
        bucket.value(self.aggregate).or(nothing)
    }

    /// Which of two comes first; what comes to nothing comes last.
    fn compare(&self, left: Option<f64>, right: Option<f64>) -> Ordering {
        match (left, right) {
            (Some(left), Some(right)) if self.asked.first == First::Highest => {
                right.total_cmp(&left)
            }
            (Some(left), Some(right)) => left.total_cmp(&right),
            (left, right) => right.is_some().cmp(&left.is_some()),
        }
    }

    fn names(&self, key: &GroupKey) -> Vec<Name> {
        let names = self.store.names();
        let name = |part: &Part| match part {
            Part::Key(key) => {
                let id = names.id(*key).map(|id| id.to_string());
                (false, id.unwrap_or_default(), *key)
            }
            Part::Text(text) => (false, text.clone(), 0),
            Part::None | Part::Others => (true, String::new(), 0),
        };
        key.parts.iter().map(name).collect()
    }
}

/// By what equals are ordered: those that have no name come last.
type Name = (bool, String, i64);
