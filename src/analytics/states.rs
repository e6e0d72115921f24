//! The states of devices over time: each lasts from the report of it to the first report of another, in order of
//! (`occurred_at`, position), so that a late report falls into its place; ONLINE only while the device is heard of. A
//! report tells also after its event was archived or deleted for good.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use thiserror::Error;

use super::ask::AskError;
use super::question::Scope;
use super::silent::Silent;
use crate::event::{Instant, Position, Provenance};
use crate::projections::rollups::tables::all;
use crate::projections::silences::LEAST;
use crate::store::{Allowance, Doing, List, Sql, Store, StoreError};

/// Reports of states at most that are read for an answer.
pub const REPORTS_MAX: usize = 500_000;
/// Intervals at most of a timeline.
pub const INTERVALS_MAX: usize = 10_000;

const READ: &str = "read the states of devices";
/// What a report takes in memory.
const BYTES: usize = 64;

/// A state of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It works.
    Online,
    /// It is not heard of.
    Offline,
    /// It is heard of, and does not work.
    Error,
    /// It is being worked on.
    Maintenance,
    /// Nobody knows.
    #[default]
    Unknown,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Online,
        Self::Offline,
        Self::Error,
        Self::Maintenance,
        Self::Unknown,
    ];

    /// Its word in the tables and on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Online => "ONLINE",
            Self::Offline => "OFFLINE",
            Self::Error => "ERROR",
            Self::Maintenance => "MAINTENANCE",
            Self::Unknown => "UNKNOWN",
        }
    }

    fn of_word(word: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|state| state.word() == word).unwrap_or_default()
    }

    /// Whether a device in it does not serve, and is not meant not to.
    pub(super) const fn is_down(self) -> bool {
        matches!(self, Self::Offline | Self::Error)
    }
}

/// From when on a device was in a state.
pub(super) type Report = (i64, State);
/// From when until when a device was told to be ONLINE again and again.
pub(super) type Sign = (i64, i64);

/// Why states are not told.
#[derive(Debug, Error)]
pub enum StatesError {
    /// As of any question.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// There would be more buckets in all groups together.
    #[error(
        "each group has {buckets} buckets, and all groups together have at most {max}: give a coarser `resolution`, a \
         greater `every`, a narrower `filter`, or a shorter range from `from` to `to`"
    )]
    Buckets {
        /// How many each group has.
        buckets: usize,
        /// How many are answered.
        max: usize,
    },
    /// There are more groups, of one bucket each.
    #[error("there are more than {max} groups: give a narrower `filter`, or another `groupBy`")]
    Groups {
        /// How many are answered.
        max: usize,
    },
    /// There are more reports.
    #[error("there are more than {max} reports of states: ask for less time or fewer devices")]
    Reports {
        /// How many are read.
        max: usize,
    },
    /// There are more silences.
    #[error(
        "there are more than {max} times in which devices were silent: ask for less time or fewer devices"
    )]
    Silences {
        /// How many are read.
        max: usize,
    },
    /// There are more intervals.
    #[error("there are more than {max} intervals: ask for less time")]
    Intervals {
        /// How many are told.
        max: usize,
    },
}

impl StatesError {
    /// Groups have more buckets together than are answered: what would help depends on how many each has.
    pub(super) const fn too_many(buckets: usize, max: usize) -> Self {
        if buckets > 1 {
            Self::Buckets { buckets, max }
        } else {
            Self::Groups { max }
        }
    }
}

impl From<StoreError> for StatesError {
    fn from(error: StoreError) -> Self {
        Self::Ask(error.into())
    }
}

/// What was reported of some devices before the end of a range.
#[derive(Debug)]
pub(super) struct Reports {
    /// All events up to this position are in it.
    pub(super) position: Position,
    /// The numbers of the provenances that are in it.
    pub(super) provenances: BTreeSet<i64>,
    /// Of each device: the last report before the range, if there is any, and all changes in it.
    pub(super) of: BTreeMap<i64, Vec<Report>>,
    /// Of each device: when it was told to be ONLINE, also where that was no change.
    pub(super) signs: BTreeMap<i64, Vec<Sign>>,
}

/// Reads the reports of the devices of a scope; of the preferred provenance of which there is any before the
/// end of the range, if nothing else is asked for.
pub(super) async fn reports(
    tx: &DatabaseTransaction,
    (scope, (from, to)): (&Scope, (i64, i64)),
    allowance: &Allowance,
) -> Result<Reports, StatesError> {
    let head = all(tx, Sql::new("SELECT position FROM log_head WHERE id = 1")).await?;
    let head = head.first().map(|row| row.try_get_by_index(0));
    let position = Position(head.transpose().doing(READ)?.unwrap_or_default());
    let devices = devices(tx, scope).await?;
    let mut reports = Reports {
        position,
        provenances: chosen(tx, scope, (&devices, to)).await?,
        of: BTreeMap::new(),
        signs: BTreeMap::new(),
    };
    let sql = last_before(from, &devices, &reports.provenances);
    reports.add(tx, sql, allowance).await?;
    let mut sql = Sql::new(REPORTS);
    sql.push("occurred_at >= ").bind(from);
    sql.push(" AND occurred_at < ").bind(to).push(" AND ");
    sql.among("device_key", List::Int(devices)).push(" AND ");
    let provenances = reports.provenances.iter().copied().collect();
    sql.among("provenance", List::Int(provenances));
    let limit = i64::try_from(REPORTS_MAX).unwrap_or(i64::MAX) + 1;
    sql.push(" ORDER BY device_key, occurred_at, position LIMIT ");
    sql.bind(limit);
    if reports.add(tx, sql, allowance).await? > REPORTS_MAX {
        return Err(StatesError::Reports { max: REPORTS_MAX });
    }
    Ok(reports)
}

const REPORTS: &str = "SELECT device_key, occurred_at, state FROM device_states WHERE ";

/// The last report of each of some devices before an instant, by looks at the key.
fn last_before(at: i64, devices: &[i64], provenances: &BTreeSet<i64>) -> Sql {
    let mut sql = Sql::new("SELECT l.* FROM (SELECT d.device_key");
    for column in ["occurred_at", "state"] {
        sql.push(&format!(
            ", (SELECT s.{column} FROM device_states s WHERE s.device_key = d.device_key \
             AND s.occurred_at < "
        ));
        sql.bind(at).push(" AND ");
        let provenances = provenances.iter().copied().collect();
        sql.among("s.provenance", List::Int(provenances));
        sql.push(" ORDER BY s.occurred_at DESC, s.position DESC LIMIT 1) AS ");
        sql.push(column);
    }
    sql.push(" FROM devices d WHERE ");
    sql.among("d.device_key", List::Int(devices.to_vec()));
    sql.push(") AS l WHERE l.occurred_at IS NOT NULL ORDER BY l.device_key");
    sql
}

impl Reports {
    /// Adds what a statement answers, but for what changes nothing; how many reports there were.
    async fn add(
        &mut self,
        tx: &DatabaseTransaction,
        sql: Sql,
        allowance: &Allowance,
    ) -> Result<usize, StoreError> {
        let rows = all(tx, sql).await?;
        for row in &rows {
            let device: i64 = row.try_get_by_index(0).doing(READ)?;
            let at: i64 = row.try_get_by_index(1).doing(READ)?;
            let state: String = row.try_get_by_index(2).doing(READ)?;
            let state = State::of_word(&state);
            if state == State::Online {
                self.sign(device, at, allowance)?;
            }
            let held = self.of.entry(device).or_default();
            if held.last().is_some_and(|(_, last)| *last == state) {
                continue;
            }
            allowance.take(BYTES)?;
            match held.last_mut().filter(|(last, _)| *last == at) {
                // of one instant what was recorded last holds
                Some(last) => last.1 = state,
                None => held.push((at, state)),
            }
        }
        Ok(rows.len())
    }

    /// Adds when a device was told to be ONLINE: what comes before it can have been lost is of one time.
    fn sign(&mut self, device: i64, at: i64, allowance: &Allowance) -> Result<(), StoreError> {
        let signs = self.signs.entry(device).or_default();
        if let Some((_, last)) = signs.last_mut().filter(|(_, last)| at - *last <= LEAST) {
            *last = at;
        } else {
            allowance.take(BYTES)?;
            signs.push((at, at));
        }
        Ok(())
    }

    /// When a device was told to be ONLINE.
    pub(super) fn signs_of(&self, device: i64) -> &[Sign] {
        self.signs.get(&device).map_or(&[][..], Vec::as_slice)
    }
}

/// The devices that a scope speaks of: those that were ever at its sites.
async fn devices(tx: &DatabaseTransaction, scope: &Scope) -> Result<Vec<i64>, StoreError> {
    let mut sql = Sql::new("SELECT DISTINCT device_key FROM device_stays WHERE 1 = 1");
    if let Some(sites) = &scope.sites {
        let sites = sites.iter().copied().collect();
        sql.push(" AND ").among("site_key", List::Int(sites));
    }
    if let Some(devices) = &scope.devices {
        let devices = devices.iter().copied().collect();
        sql.push(" AND ").among("device_key", List::Int(devices));
    }
    let rows = all(tx, sql).await?;
    let keys = rows.iter().map(|row| row.try_get_by_index(0));
    keys.collect::<Result<_, _>>().doing(READ)
}

async fn chosen(
    tx: &DatabaseTransaction,
    scope: &Scope,
    (devices, to): (&[i64], i64),
) -> Result<BTreeSet<i64>, StoreError> {
    if let Some(provenances) = &scope.provenances {
        return Ok(provenances.clone());
    }
    for provenance in scope.preferred.order().map(Provenance::code) {
        let mut sql = Sql::new("SELECT 1 FROM device_states WHERE provenance = ");
        sql.bind(provenance).push(" AND occurred_at < ");
        sql.bind(to).push(" AND ");
        sql.among("device_key", List::Int(devices.to_vec()));
        sql.push(" LIMIT 1");
        if !all(tx, sql).await?.is_empty() {
            return Ok(BTreeSet::from([provenance]));
        }
    }
    Ok(BTreeSet::new())
}

/// A state that lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) state: State,
    /// From then until just before the other, within what is asked for.
    pub(crate) from: i64,
    pub(crate) until: i64,
    /// When it began by what was reported, also if that was before; none of what was never reported. Of what is not
    /// known since the device was silent it is when that had lasted too long.
    pub(crate) since: Option<i64>,
}

/// The states of a device.
#[derive(Debug)]
pub(crate) struct Timeline {
    /// All events up to this position are in it.
    pub(crate) position: Position,
    /// The numbers of the provenances that are in it.
    pub(crate) provenances: BTreeSet<i64>,
    /// What is told of the range: nothing of what is to come.
    pub(crate) range: (i64, i64),
    /// Without a gap, save where the device stood at another site than those that are asked for.
    pub(crate) intervals: Vec<Held>,
}

/// The states of one device over some time, as far as it stood at the sites of a scope.
pub(crate) async fn timeline(
    store: &Store,
    (device, scope): (i64, &Scope),
    (from, to): (Instant, Instant),
    allowance: &Allowance,
) -> Result<Timeline, StatesError> {
    if from >= to {
        return Err(AskError::Reversed.into());
    }
    let scope = Scope {
        devices: Some(BTreeSet::from([device])),
        ..scope.clone()
    };
    // nobody knows what is to come
    let now = store.clock().now().0.saturating_add(1);
    let range = (from.0, to.0.min(now).max(from.0));
    let tx = store.readers().snapshot().await.doing(READ)?;
    let reports = reports(&tx, (&scope, range), allowance).await?;
    let stays = stays(&tx, device, &scope).await?;
    let said = reports.of.get(&device).map_or(&[][..], Vec::as_slice);
    let mut intervals = held(said, range);
    if let Some(first) = intervals.first_mut().filter(|first| first.since.is_some()) {
        let provenances = &reports.provenances;
        first.since = began(&tx, (device, provenances), (first.state, first.from)).await?;
    }
    let silent = Silent::read(&tx, (&reports, range), allowance).await?;
    tx.rollback().await.doing(READ)?;
    let intervals = silent.known(device, intervals, reports.signs_of(device));
    let intervals = within(intervals, &stays);
    if intervals.len() > INTERVALS_MAX {
        return Err(StatesError::Intervals { max: INTERVALS_MAX });
    }
    Ok(Timeline {
        position: reports.position,
        provenances: reports.provenances,
        range,
        intervals,
    })
}

/// What was reported, as states that last, over a range.
pub(super) fn held(said: &[Report], (from, to): (i64, i64)) -> Vec<Held> {
    let first = said.first().map_or(to, |(at, _)| *at);
    let unknown = (from, State::Unknown, None);
    let before = (first > from).then_some(unknown);
    let said = said.iter().map(|(at, state)| (*at, *state, Some(*at)));
    let all: Vec<(i64, State, Option<i64>)> = before.into_iter().chain(said).collect();
    let ends = all.iter().skip(1).map(|(at, ..)| *at).chain([to]);
    let lasting = all.iter().zip(ends);
    let mut held: Vec<Held> = Vec::with_capacity(all.len());
    for ((at, state, since), until) in lasting {
        let (start, until) = ((*at).max(from), until.min(to));
        if start >= until {
            continue;
        }
        match held.last_mut().filter(|last| last.state == *state) {
            // that nobody knows was reported after nobody knew
            Some(last) => last.until = until,
            None => held.push(Held {
                state: *state,
                from: start,
                until,
                since: *since,
            }),
        }
    }
    held
}

/// What of intervals lies in some times.
fn within(intervals: Vec<Held>, times: &[(i64, i64)]) -> Vec<Held> {
    let parts = intervals.into_iter().flat_map(|held| {
        times.iter().filter_map(move |(from, until)| {
            let since = held.since.map(|since| since.max(*from));
            let (from, until) = (held.from.max(*from), held.until.min(*until));
            (from < until).then_some(Held {
                state: held.state,
                from,
                until,
                since,
            })
        })
    });
    parts.collect()
}

/// When a device stood at the sites of a scope.
async fn stays(
    tx: &DatabaseTransaction,
    device: i64,
    scope: &Scope,
) -> Result<Vec<(i64, i64)>, StoreError> {
    let Some(sites) = &scope.sites else {
        return Ok(vec![(0, i64::MAX)]);
    };
    let mut sql = Sql::new("SELECT from_at, until_at FROM device_stays WHERE device_key = ");
    sql.bind(device).push(" AND ");
    sql.among("site_key", List::Int(sites.iter().copied().collect()));
    sql.push(" ORDER BY from_at");
    let rows = all(tx, sql).await?;
    let stay =
        |row: &sea_orm::QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
    rows.iter().map(stay).collect::<Result<_, _>>().doing(READ)
}

/// When the state began that holds at an instant: with the first report of it after the last of another.
async fn began(
    tx: &impl ConnectionTrait,
    (device, provenances): (i64, &BTreeSet<i64>),
    (state, at): (State, i64),
) -> Result<Option<i64>, StoreError> {
    let of = |sql: &mut Sql| {
        sql.push("device_key = ").bind(device).push(" AND ");
        sql.among(
            "provenance",
            List::Int(provenances.iter().copied().collect()),
        );
        sql.push(" AND occurred_at <= ").bind(at);
    };
    let mut other = Sql::new("SELECT occurred_at, position FROM device_states WHERE ");
    of(&mut other);
    other.push(" AND state <> ").bind(state.word());
    other.push(" ORDER BY occurred_at DESC, position DESC LIMIT 1");
    let other = all(tx, other).await?;
    let mut first = Sql::new("SELECT min(occurred_at) FROM device_states WHERE ");
    of(&mut first);
    if let Some(row) = other.first() {
        let at: i64 = row.try_get_by_index(0).doing(READ)?;
        let position: i64 = row.try_get_by_index(1).doing(READ)?;
        first.push(" AND (occurred_at > ").bind(at);
        first.push(" OR occurred_at = ").bind(at);
        first.push(" AND position > ").bind(position).push(")");
    }
    let first = all(tx, first).await?;
    let first = first.first().map(|row| row.try_get_by_index(0));
    Ok(first.transpose().doing(READ)?.flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_lasts_until_another_is_reported_and_before_the_first_nobody_knows() {
        let said = [(5, State::Online), (12, State::Error), (30, State::Online)];
        let shown = |range| {
            let held = held(&said, range).into_iter();
            held.map(|held| (held.state, held.from, held.until, held.since))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            shown((0, 20)),
            [
                (State::Unknown, 0, 5, None),
                (State::Online, 5, 12, Some(5)),
                (State::Error, 12, 20, Some(12))
            ]
        );
        assert_eq!(shown((40, 50)), [(State::Online, 40, 50, Some(30))]);
        assert_eq!(held(&[], (3, 4))[0].state, State::Unknown);
    }

    #[test]
    fn of_one_bucket_no_coarser_ones_are_advised() {
        let told = |buckets| StatesError::too_many(buckets, 100).to_string();
        assert_eq!(
            told(1),
            "there are more than 100 groups: give a narrower `filter`, or another `groupBy`"
        );
        assert!(told(2).starts_with("each group has 2 buckets, and all groups together"));
    }
}
