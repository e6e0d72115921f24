//! How much of the time devices were available: of the time in which they were in service and it is known.
//!
//! A device is available while it is ONLINE, and down while it is OFFLINE or in ERROR. MAINTENANCE is meant, so
//! it counts neither way, and what is UNKNOWN is told as that: also what of ONLINE is not known since the device was
//! silent. An outage is a time over which a device is down without a pause; it counts in each bucket in which some
//! of it lies.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{NaiveTime, Weekday};
use chrono_tz::Tz;
use num_traits::AsPrimitive;

use super::ask::{ALL_BUCKETS_MAX, AskError, BUCKETS_MAX, zone_of};
use super::buckets::Resolution;
use super::calendar::Calendar;
use super::question::{By, GroupKey, Part, Scope};
use super::silent::Silent;
use super::states::{Held, State, StatesError, held, reports};
use super::stays::{Stay, stays};
use super::subject::types;
use crate::event::{Instant, Position};
use crate::store::{Allowance, Doing, Store};

const READ: &str = "read how available devices were";
const SECOND: f64 = 1_000_000.0;
/// What a bucket of a group takes in memory.
const BYTES: usize = 96;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Of which devices.
    pub scope: Scope,
    /// From an instant until just before another; what is to come is left out.
    pub range: (Instant, Instant),
    /// How long a bucket is; left out, all of it is one.
    pub resolution: Option<Resolution>,
    /// On whose clock; left out, that of the sites if they have one, else UTC.
    pub zone: Option<Tz>,
    /// When a business day begins.
    pub day_start: NaiveTime,
    /// With which day a week begins.
    pub week_start: Weekday,
    /// What groups are told apart by; labels tell nothing apart.
    pub by: Vec<By>,
}

/// How available devices were.
#[derive(Debug)]
pub(crate) struct Availability {
    /// All events up to this position are in it.
    pub(crate) position: Position,
    /// The numbers of the provenances that are in it.
    pub(crate) provenances: BTreeSet<i64>,
    pub(crate) zone: Tz,
    /// What is told of the range.
    pub(crate) range: (i64, i64),
    /// In the order of their names.
    pub(crate) groups: Vec<Group>,
}

/// Of some devices.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) key: GroupKey,
    /// How many devices.
    pub(crate) devices: usize,
    pub(crate) buckets: Vec<Span>,
    /// All of them.
    pub(crate) total: Span,
}

/// Of some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// From then until just before the other: microseconds since 1970, UTC.
    pub(crate) from: i64,
    pub(crate) until: i64,
    /// How long devices were in each state, in the order of the states.
    micros: [i64; State::ALL.len()],
    pub(crate) outages: u64,
    longest: i64,
}

impl Span {
    /// How long devices were in a state, in seconds.
    pub(crate) fn seconds(&self, state: State) -> f64 {
        seconds(self.micros(state))
    }

    /// The share of the known time, without what is maintenance, in which devices were available.
    pub(crate) fn availability(&self) -> Option<f64> {
        let known = self.micros(State::Online) + self.down();
        let share = seconds(self.micros(State::Online)) / seconds(known);
        (known > 0).then_some(share)
    }

    /// How long the longest outage was, as far as it lies in the time, in seconds.
    pub(crate) fn longest_outage(&self) -> Option<f64> {
        (self.outages > 0).then(|| seconds(self.longest))
    }

    /// Seconds for which devices were down, for each outage.
    pub(crate) fn mean_time_to_repair(&self) -> Option<f64> {
        self.for_each_outage(self.down())
    }

    /// Seconds for which devices were available, for each outage.
    pub(crate) fn mean_time_between_failures(&self) -> Option<f64> {
        self.for_each_outage(self.micros(State::Online))
    }

    fn for_each_outage(&self, micros: i64) -> Option<f64> {
        let outages: f64 = self.outages.as_();
        (self.outages > 0).then(|| seconds(micros) / outages)
    }

    fn down(&self) -> i64 {
        let down = State::ALL.into_iter().filter(|state| state.is_down());
        down.map(|state| self.micros(state)).sum()
    }

    fn micros(&self, state: State) -> i64 {
        let states = State::ALL.iter().zip(self.micros);
        let mut of = states.filter(|(other, _)| **other == state);
        of.next().map_or(0, |(_, micros)| micros)
    }

    /// Adds what of a state lies in the time.
    fn add(&mut self, state: State, (from, until): (i64, i64)) {
        let micros = until.min(self.until) - from.max(self.from);
        for (other, held) in State::ALL.iter().zip(&mut self.micros) {
            if *other == state {
                *held += micros.max(0);
            }
        }
    }

    /// Adds what of an outage lies in the time.
    fn add_outage(&mut self, (from, until): (i64, i64)) {
        let micros = until.min(self.until) - from.max(self.from);
        if micros > 0 {
            self.outages += 1;
            self.longest = self.longest.max(micros);
        }
    }
}

fn seconds(micros: i64) -> f64 {
    let micros: f64 = micros.as_();
    micros / SECOND
}

/// Answers what is asked.
pub(crate) async fn availability(
    store: &Store,
    asked: &Asked,
    allowance: &Allowance,
) -> Result<Availability, StatesError> {
    let (from, to) = (asked.range.0.0, asked.range.1.0);
    if from >= to {
        return Err(AskError::Reversed.into());
    }
    // nobody knows what is to come
    let now = store.clock().now().0.saturating_add(1);
    let range = (from, to.min(now).max(from));
    let zone = match asked.zone {
        Some(zone) => zone,
        None => zone_of(store, &asked.scope).await?,
    };
    let ends = asked.ends(zone, range)?;
    let tx = store.readers().snapshot().await.doing(READ)?;
    let reports = reports(&tx, (&asked.scope, range), allowance).await?;
    let stays = stays(&tx, (&asked.scope, reports.position.0), allowance).await?;
    let silent = Silent::read(&tx, (&reports, range), allowance).await?;
    tx.rollback().await.doing(READ)?;
    let mut counter = Counter {
        asked,
        ends: &ends,
        range,
        types: types(store, &asked.by).await?,
        groups: BTreeMap::new(),
    };
    for of_device in stays.chunk_by(|left, right| left.device == right.device) {
        let Some(first) = of_device.first() else {
            continue;
        };
        let said = reports.of.get(&first.device);
        let said = said.map_or(&[][..], Vec::as_slice);
        let states = held(said, range);
        let states = silent.known(first.device, states, reports.signs_of(first.device));
        counter.add(&states, of_device, allowance)?;
        // others go on meanwhile
        tokio::task::yield_now().await;
    }
    Ok(Availability {
        position: reports.position,
        provenances: reports.provenances,
        zone,
        range,
        groups: counter.groups.into_values().collect(),
    })
}

impl Asked {
    /// The beginnings of the buckets, and the end of the last one.
    fn ends(&self, zone: Tz, range: (i64, i64)) -> Result<Vec<i64>, AskError> {
        let Some(resolution) = self.resolution else {
            return Ok(vec![range.0, range.1]);
        };
        let calendar = Calendar {
            zone,
            day_start: self.day_start,
            week_start: self.week_start,
        };
        Ok(resolution.buckets(&calendar, range, BUCKETS_MAX)?)
    }
}

struct Counter<'a> {
    asked: &'a Asked,
    ends: &'a [i64],
    range: (i64, i64),
    types: HashMap<i64, String>,
    groups: BTreeMap<GroupKey, Group>,
}

impl Counter<'_> {
    /// Adds a device: what it was in, and where it stood.
    fn add(
        &mut self,
        states: &[Held],
        stays: &[Stay],
        allowance: &Allowance,
    ) -> Result<(), StatesError> {
        let mut seen: BTreeSet<GroupKey> = BTreeSet::new();
        for (key, (from, until)) in self.times(stays) {
            let times = states.iter().filter_map(|held| {
                let time = (held.from.max(from), held.until.min(until));
                (time.0 < time.1).then_some((held.state, time))
            });
            let times: Vec<(State, (i64, i64))> = times.collect();
            if times.is_empty() {
                continue;
            }
            let is_new = seen.insert(key.clone());
            let group = self.group(&key, allowance)?;
            group.devices += usize::from(is_new);
            for (state, time) in &times {
                group.spans(*time, |span| span.add(*state, *time));
            }
            for run in times.chunk_by(|left, right| left.0.is_down() == right.0.is_down()) {
                if let (Some((state, (from, _))), Some((_, (_, until)))) = (run.first(), run.last())
                    && state.is_down()
                {
                    let outage = (*from, *until);
                    group.spans(outage, |span| span.add_outage(outage));
                }
            }
        }
        Ok(())
    }

    /// The times of a device in each group, those that follow one another in one group as one.
    fn times(&self, stays: &[Stay]) -> Vec<(GroupKey, (i64, i64))> {
        let mut times: Vec<(GroupKey, (i64, i64))> = Vec::new();
        for stay in stays {
            let key = self.key(stay);
            let before = times.last_mut();
            match before.filter(|(last, (_, end))| *last == key && *end == stay.from) {
                Some((_, (_, end))) => *end = stay.until,
                None => times.push((key, (stay.from, stay.until))),
            }
        }
        times
    }

    fn key(&self, stay: &Stay) -> GroupKey {
        let part = |by: &By| match by {
            By::Device => Part::Key(stay.device),
            By::Site => Part::Key(stay.site),
            By::DeviceType => {
                let ty = self.types.get(&stay.device).cloned();
                ty.map_or(Part::None, Part::Text)
            }
            By::Label(_) => Part::None,
        };
        GroupKey {
            parts: self.asked.by.iter().map(part).collect(),
            currency: String::new(),
        }
    }

    fn group(&mut self, key: &GroupKey, allowance: &Allowance) -> Result<&mut Group, StatesError> {
        let buckets = self.ends.len().saturating_sub(1);
        let is_new = !self.groups.contains_key(key);
        if is_new {
            if (self.groups.len() + 1) * buckets > ALL_BUCKETS_MAX {
                return Err(StatesError::too_many(buckets, ALL_BUCKETS_MAX));
            }
            allowance.take(BYTES * buckets).map_err(AskError::from)?;
        }
        let (range, ends) = (self.range, self.ends);
        let span = |from: i64, until: i64| Span {
            from,
            until,
            ..Span::default()
        };
        let group = || Group {
            key: key.clone(),
            devices: 0,
            buckets: ends
                .windows(2)
                .filter_map(|pair| match pair {
                    [from, until] => Some(span((*from).max(range.0), (*until).min(range.1))),
                    _ => None,
                })
                .collect(),
            total: span(range.0, range.1),
        };
        Ok(self.groups.entry(key.clone()).or_insert_with(group))
    }
}

impl Group {
    /// Adds something to all of it, and to each bucket in which some of a time lies.
    fn spans(&mut self, (from, until): (i64, i64), add: impl Fn(&mut Span)) {
        add(&mut self.total);
        let first = self.buckets.partition_point(|span| span.until <= from);
        let buckets = self.buckets.iter_mut().skip(first);
        for span in buckets.take_while(|span| span.from < until) {
            add(span);
        }
    }
}
