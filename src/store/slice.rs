//! Reads of the log in the order of its positions, slice by slice.
//!
//! The commits say how many events of each kind there must be; fewer are a hole, never silence.

use std::collections::BTreeMap;
use std::sync::Arc;

use sea_orm::ConnectionTrait;

use super::allowance::Allowance;
use super::error::{Doing, StoreError};
use super::joined::TRIES;
use super::read::Tables;
use super::rows::{self, Columns, Reading};
use super::segments::{Ask, Catalog};
use super::sql::Sql;
use crate::event::{Event, Position};
use crate::kinds::Kind;

/// Events after a position, and how far they were looked for.
#[derive(Debug)]
pub struct Slice {
    /// The events, in order of positions.
    pub events: Vec<Arc<Event>>,
    /// The last position that was looked at: the next slice begins after it.
    pub upto: Position,
}

/// How much is read at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// Events: no further commit is read once there are so many.
    pub(crate) events_min: usize,
    /// Positions at most, of whatever kinds.
    pub(crate) positions_max: i64,
    /// Bytes at most, unless one event has more.
    pub(crate) bytes_max: usize,
}

impl Extent {
    /// Bytes at most where a slice is soon let go.
    const BYTES_MAX: usize = 8 * 1024 * 1024;

    /// Whole commits, unless one is very large.
    pub(crate) const fn of_events(events_min: usize) -> Self {
        Self {
            events_min,
            positions_max: i64::MAX,
            bytes_max: Self::BYTES_MAX,
        }
    }
}

struct Commit {
    first: Position,
    last: Position,
    counts: Vec<(Kind, i64)>,
}

impl Tables {
    /// Commits after a position: at least one, or a part of one that is larger than the extent.
    pub(crate) async fn after(
        &self,
        position: Position,
        extent: Extent,
        kinds: Option<&[Kind]>,
    ) -> Result<Slice, StoreError> {
        let is_asked = |kind: &Kind| kinds.is_none_or(|kinds| kinds.contains(kind));
        let mut commits = self.commits_after(position, extent.events_min).await?;
        for commit in &mut commits {
            commit.counts.retain(|(kind, _)| is_asked(kind));
        }
        let wanted = i64::try_from(extent.events_min).unwrap_or(i64::MAX);
        let mut total = 0;
        commits.retain(|commit| {
            let before = total;
            total += commit.counts.iter().map(|(_, count)| *count).sum::<i64>();
            before < wanted
        });
        let from = position.next();
        let mut expected = from;
        for commit in &commits {
            if commit.first > expected {
                return Err(StoreError::Hole { missing: expected });
            }
            expected = commit.last.next();
        }
        let mut upto = commits.last().map_or(position, |commit| commit.last);
        upto.0 = upto.0.min(position.0.saturating_add(extent.positions_max));
        commits.retain(|commit| commit.first <= upto);
        loop {
            // one event alone is of a size that could be appended
            let is_one = upto == from;
            let bytes_max = if is_one { usize::MAX } else { extent.bytes_max };
            match self.between((from, upto), &commits, bytes_max).await {
                Err(StoreError::TooLarge { .. }) if commits.len() > 1 => {
                    commits.truncate(commits.len().div_ceil(2));
                    upto = commits.last().map_or(position, |commit| commit.last);
                }
                Err(StoreError::TooLarge { .. }) => {
                    upto = Position(from.0 + (upto.0 - from.0) / 2);
                }
                slice => return slice,
            }
        }
    }

    /// What the commits have between two positions, which are in the first and in the last of them. If
    /// something was archived meanwhile, it is read again.
    async fn between(
        &self,
        places: (Position, Position),
        commits: &[Commit],
        bytes_max: usize,
    ) -> Result<Slice, StoreError> {
        let mut counts: BTreeMap<Kind, i64> = BTreeMap::new();
        for (kind, count) in commits.iter().flat_map(|commit| &commit.counts) {
            *counts.entry(*kind).or_default() += count;
        }
        let first = commits.first().map_or(places.0, |commit| commit.first);
        let last = commits.last().map_or(places.1, |commit| commit.last);
        for _ in 0..TRIES {
            let ends = (first, last);
            let catalog = self.segments.catalog();
            let read = self.try_between(places, (&counts, ends), bytes_max).await;
            if let Some(slice) = self.settled(&catalog, read).await?.flatten() {
                return Ok(slice);
            }
        }
        Err(StoreError::SegmentsMoved)
    }

    async fn try_between(
        &self,
        (from, upto): (Position, Position),
        (counts, ends): (&BTreeMap<Kind, i64>, (Position, Position)),
        bytes_max: usize,
    ) -> Result<Option<Slice>, StoreError> {
        let (first, last) = ends;
        let allowance = Allowance::of(bytes_max);
        let mut events = Vec::new();
        for (kind, count) in counts {
            let (kind, count) = (*kind, *count);
            let (catalog, generation) = self.held(kind);
            let read = self
                .appended(kind, (&catalog, (from, upto)), &allowance)
                .await?;
            // the rest of a commit that is not read whole
            let before = self.count_within(kind, (&catalog, (first, Position(from.0 - 1))));
            let behind = self.count_within(kind, (&catalog, (upto.next(), last)));
            let rest = before.await? + behind.await?;
            let found = i64::try_from(read.len()).unwrap_or(i64::MAX) + rest;
            if found != count {
                if !self.is_of(generation).await? {
                    return Ok(None);
                }
                // what was deleted for good is no hole
                if found > count || !catalog.may_have_deleted(kind, ends) {
                    return Err(StoreError::Hole { missing: from });
                }
            }
            events.extend(read.into_iter().map(Arc::new));
        }
        events.sort_unstable_by_key(|event| event.position);
        Ok(Some(Slice { events, upto }))
    }

    /// The events of a kind between two positions, as they were appended: those in the table, and those in
    /// segments.
    async fn appended(
        &self,
        kind: Kind,
        (catalog, places): (&Catalog, (Position, Position)),
        allowance: &Allowance,
    ) -> Result<Vec<Event>, StoreError> {
        let reading = Reading::AsAppended;
        let mut sql = Sql::new(rows::select(kind.spec(), reading));
        within(&mut sql, places);
        sql.push(" ORDER BY t.position");
        let all = (kind, Columns::ALL);
        let mut events = rows::read(&self.db, &self.names, all, (sql, allowance)).await?;
        let ask = Ask::slice(all, (places.0.0, places.1.0));
        let archived = self.archived((catalog, ask), (reading, allowance));
        events.extend(archived.await?);
        Ok(events)
    }

    async fn count_within(
        &self,
        kind: Kind,
        (catalog, (from, upto)): (&Catalog, (Position, Position)),
    ) -> Result<i64, StoreError> {
        if from > upto {
            return Ok(0);
        }
        let table = kind.spec().table;
        let mut sql = Sql::new(format!("SELECT count(*) FROM {table} t"));
        within(&mut sql, (from, upto));
        let hot = self.counted(sql, table).await?;
        let ask = Ask::slice((kind, Columns::NONE), (from.0, upto.0));
        let archived = self.segments.count(catalog, ask, self).await?;
        Ok(hot + archived.values().sum::<i64>())
    }

    /// The event at a position; `None` beyond the head, and if it was deleted for good.
    pub(crate) async fn event(&self, position: Position) -> Result<Option<Event>, StoreError> {
        let before = Position(position.0.saturating_sub(1));
        let Some(commit) = self.commits_after(before, 1).await?.into_iter().next() else {
            return Ok(None);
        };
        if position < commit.first {
            return Ok(None);
        }
        for _ in 0..TRIES {
            let catalog = self.segments.catalog();
            let read = self.try_event(position, &commit).await;
            match self.settled(&catalog, read).await? {
                Some(Some(event)) => return Ok(Some(event)),
                Some(None) => {}
                None => continue,
            }
            let (catalog, generation) = self.held_of(&commit);
            if self.is_of(generation).await? {
                let place = (position, position);
                let mut kinds = commit.counts.iter();
                return if kinds.any(|(kind, _)| catalog.may_have_deleted(*kind, place)) {
                    Ok(None)
                } else {
                    Err(StoreError::Hole { missing: position })
                };
            }
        }
        Err(StoreError::SegmentsMoved)
    }

    async fn try_event(
        &self,
        position: Position,
        commit: &Commit,
    ) -> Result<Option<Event>, StoreError> {
        for (kind, _) in &commit.counts {
            let allowance = Allowance::of(usize::MAX);
            let (catalog, _) = self.held(*kind);
            let place = (&*catalog, (position, position));
            let read = self.appended(*kind, place, &allowance).await?;
            if let Some(event) = read.into_iter().next() {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The list of segments that is held, and its generation if some kind of a commit is archived.
    fn held_of(&self, commit: &Commit) -> (Arc<Catalog>, Option<i64>) {
        let held = commit.counts.iter().map(|(kind, _)| self.held(*kind));
        let archived = held.max_by_key(|(_, generation)| *generation);
        archived.unwrap_or_else(|| (self.segments.catalog(), None))
    }

    async fn commits_after(
        &self,
        position: Position,
        commits_max: usize,
    ) -> Result<Vec<Commit>, StoreError> {
        let mut sql = Sql::new(
            "SELECT first_position, last_position, counts FROM commits WHERE first_position >= \
             coalesce((SELECT max(first_position) FROM commits WHERE first_position <= ",
        );
        sql.bind(position.next().0)
            .push("), 0) AND last_position > ")
            .bind(position.0);
        let limit = commits_max.clamp(1, 1_000);
        sql.push(&format!(" ORDER BY first_position LIMIT {limit}"));
        let statement = sql.statement(self.db.get_database_backend());
        let rows = self
            .db
            .query_all_raw(statement)
            .await
            .doing("read commits")?;
        rows.iter()
            .map(|row| {
                let counts: String = row.try_get_by_index(2).doing("read a commit")?;
                Ok(Commit {
                    first: Position(row.try_get_by_index(0).doing("read a commit")?),
                    last: Position(row.try_get_by_index(1).doing("read a commit")?),
                    counts: counts_of(&counts)?,
                })
            })
            .collect()
    }
}

fn within(sql: &mut Sql, (from, upto): (Position, Position)) {
    sql.push(" WHERE t.position >= ").bind(from.0);
    sql.push(" AND t.position <= ").bind(upto.0);
}

/// Reads `kind:events` pairs.
pub(crate) fn counts_of(text: &str) -> Result<Vec<(Kind, i64)>, StoreError> {
    let pair = |pair: &str| {
        let (kind, count) = pair.split_once(':')?;
        Some((Kind::of_code(kind.parse().ok()?)?, count.parse().ok()?))
    };
    let pairs: Option<Vec<_>> = text.split(' ').map(pair).collect();
    pairs.ok_or(StoreError::Row {
        table: "commits",
        column: "counts",
    })
}
