//! Walks the commits and the tables side by side, in order of positions.

use std::collections::{BTreeMap, VecDeque};

use futures_util::TryStreamExt;
use sea_orm::StreamTrait;
use serde::de::IgnoredAny;

use super::{Check, Verifier};
use crate::event::Position;
use crate::kinds::{Identity, Kind, Spec};
use crate::store::error::{Doing, StoreError};
use crate::store::joined::TRIES;
use crate::store::slice::counts_of;
use crate::store::sql::Sql;

/// Positions that are looked at together.
const WINDOW: i64 = 10_000;
/// Commits that are read together.
const COMMITS_MAX: i64 = 1_000;

/// An event as far as it is checked.
struct Row {
    position: i64,
    kind: Kind,
    recorded_at: i64,
    has_no_key: bool,
    has_no_reference: bool,
    /// A column whose text is no JSON.
    no_json: Option<&'static str>,
}

struct Commit {
    first: i64,
    last: i64,
    recorded_at: i64,
    counts: Option<BTreeMap<Kind, i64>>,
}

/// How far the walk has come.
#[derive(Default)]
struct Walk {
    waiting: VecDeque<Commit>,
    /// First position of the commit that was read last.
    read_first: i64,
    /// The commit at which the walk is, and what was seen of it.
    current: Option<Commit>,
    seen: BTreeMap<Kind, i64>,
    /// Events of which nothing is there any more, or nothing can be read.
    deleted: BTreeMap<Kind, i64>,
    /// Where the commit before ended.
    last: i64,
    recorded_at: i64,
    /// The last position that was seen.
    position: i64,
}

impl Walk {
    /// How many events of each kind are fewer than a commit says; more are fewer than none.
    fn missing_of(&self, counts: &BTreeMap<Kind, i64>) -> BTreeMap<Kind, i64> {
        let mut missing = counts.clone();
        for (kind, seen) in &self.seen {
            *missing.entry(*kind).or_default() -= seen;
        }
        missing.retain(|_, events| *events != 0);
        missing
    }
}

impl Verifier<'_> {
    /// As many events are gone as were deleted, or are in segments that cannot be read.
    fn deleted(&mut self, walk: &Walk) {
        for kind in Kind::all() {
            let gone = walk.deleted.get(&kind).copied().unwrap_or(0);
            let deleted = self.tables.segments.catalog().deleted_events(kind);
            let unread = self.unread_events(kind);
            if gone != deleted + unread {
                let table = kind.spec().table;
                let mut detail =
                    format!("{gone} events of {table} are gone, of which {deleted} were deleted");
                if unread > 0 {
                    let more = format!(" and {unread} are in segments that cannot be read");
                    detail.push_str(&more);
                }
                self.found(Check::Counts, detail);
            }
        }
    }

    /// Positions are 1 to the head, each once, and as the commits say.
    pub(super) async fn spine(&mut self) -> Result<(), StoreError> {
        let mut walk = Walk::default();
        let mut low = i64::MIN;
        while low < self.head.0 {
            let high = low.max(0).saturating_add(WINDOW).min(self.head.0);
            let mut rows = self.rows_within(low, high).await?;
            rows.sort_unstable_by_key(|row| row.position);
            for row in rows {
                self.step(&mut walk, &row).await?;
            }
            self.told("checking events", high);
            low = high;
        }
        self.gap(walk.position, self.head.0 + 1);
        while self.next_commit(&mut walk).await? {}
        self.deleted(&walk);
        if walk.last != self.head.0 {
            let (last, head) = (walk.last, self.head);
            let detail = format!("the last commit ends at {last}, the head is at {head}");
            self.found(Check::Commits, detail);
        }
        Ok(())
    }

    /// What tables and segments have after a position and up to another. If something was archived
    /// meanwhile, it is read again.
    async fn rows_within(&self, low: i64, high: i64) -> Result<Vec<Row>, StoreError> {
        for _ in 0..TRIES {
            let catalog = self.readable();
            let mut rows = Vec::new();
            for kind in Kind::all() {
                rows.extend(self.window(kind, low, high).await?);
                let archived = self.archived(&catalog, (kind, low, high)).await;
                for (event, has_no_key, has_no_reference) in self
                    .tables
                    .settled(&catalog, archived)
                    .await?
                    .unwrap_or_default()
                {
                    rows.push(Row {
                        position: event.position.0,
                        kind,
                        recorded_at: event.recorded_at.0,
                        has_no_key,
                        has_no_reference,
                        no_json: None,
                    });
                }
            }
            if self.tables.is_of(Some(catalog.generation)).await? {
                return Ok(rows);
            }
        }
        Err(StoreError::SegmentsMoved)
    }

    async fn window(&self, kind: Kind, low: i64, high: i64) -> Result<Vec<Row>, StoreError> {
        let doing = "check events";
        let json = json_columns(kind.spec());
        let mut sql = Sql::new(window_sql(kind.spec(), &json));
        sql.push(" WHERE t.position > ").bind(low);
        sql.push(" AND t.position <= ").bind(high);
        let read = |row: &sea_orm::QueryResult| {
            let number = |index| row.try_get_by_index::<i64>(index).doing(doing);
            let mut no_json = None;
            for (index, column) in json.iter().enumerate() {
                let text: Option<String> = row.try_get_by_index(4 + index).doing(doing)?;
                if text.is_some_and(|text| serde_json::from_str::<IgnoredAny>(&text).is_err()) {
                    no_json = Some(*column);
                }
            }
            Ok::<_, StoreError>(Row {
                no_json,
                position: number(0)?,
                kind,
                recorded_at: number(1)?,
                has_no_key: number(2)? != 0,
                has_no_reference: number(3)? != 0,
            })
        };
        // one row at a time, since those of a window may have gigabytes of JSON
        let statement = sql.statement(self.db.get_database_backend());
        let rows = self.db.stream_raw(statement).await.doing(doing)?;
        let mut rows = std::pin::pin!(rows);
        let mut window = Vec::new();
        while let Some(row) = rows.try_next().await.doing(doing)? {
            window.push(read(&row)?);
        }
        Ok(window)
    }

    async fn step(&mut self, walk: &mut Walk, row: &Row) -> Result<(), StoreError> {
        let (position, table) = (row.position, row.kind.spec().table);
        self.events += 1;
        if position <= walk.position {
            let detail = format!("position {position} is once more in {table}");
            self.found(Check::Positions, detail);
        } else {
            self.gap(walk.position, position);
            walk.position = position;
        }
        while walk
            .current
            .as_ref()
            .is_none_or(|commit| commit.last < position)
        {
            if !self.next_commit(walk).await? {
                break;
            }
        }
        match walk
            .current
            .as_ref()
            .filter(|commit| commit.first <= position)
        {
            Some(commit) => {
                *walk.seen.entry(row.kind).or_default() += 1;
                if commit.recorded_at != row.recorded_at {
                    let detail = format!("position {position} bears another time than its commit");
                    self.found(Check::RecordedAt, detail);
                }
            }
            None => self.found(
                Check::Commits,
                format!("position {position} is in no commit"),
            ),
        }
        if row.has_no_key {
            let detail = format!("the id of position {position} in {table} is not in event_keys");
            self.found(Check::EventKeys, detail);
        }
        if let Some(column) = row.no_json {
            let detail = format!("{column} of position {position} in {table} is no JSON");
            self.found(Check::Json, detail);
        }
        if row.has_no_reference {
            let detail = format!("position {position} in {table} names what has no key");
            self.found(Check::References, detail);
        }
        Ok(())
    }

    /// What was deleted for good is in no table, and what is in a segment that cannot be read is not seen; how many
    /// these are is counted by commits.
    fn gap(&mut self, seen: i64, next: i64) {
        let (catalog, places) = (
            self.tables.segments.catalog(),
            (Position(seen + 1), Position(next - 1)),
        );
        let may_be_gone =
            |kind| catalog.may_have_deleted(kind, places) || self.may_be_unread(kind, places);
        if next > seen + 1 && !Kind::all().any(may_be_gone) {
            let detail = match next - seen {
                2 => format!("position {} is in no table", seen + 1),
                _ => format!("positions {} to {} are in no table", seen + 1, next - 1),
            };
            self.found(Check::Positions, detail);
        }
    }

    /// Closes the commit at which the walk is and goes to the next; false when there is none.
    async fn next_commit(&mut self, walk: &mut Walk) -> Result<bool, StoreError> {
        if let Some(commit) = walk.current.take() {
            let first = commit.first;
            let (catalog, places) = (
                self.tables.segments.catalog(),
                (Position(first), Position(commit.last)),
            );
            let missing = commit.counts.as_ref().map(|counts| walk.missing_of(counts));
            let is_gone = |(kind, events): (&Kind, &i64)| {
                let may_be_unread = || self.may_be_unread(*kind, places);
                *events > 0 && (catalog.may_have_deleted(*kind, places) || may_be_unread())
            };
            if missing.as_ref().is_some_and(|all| all.iter().all(is_gone)) {
                for (kind, events) in missing.into_iter().flatten() {
                    *walk.deleted.entry(kind).or_default() += events;
                }
            } else if missing.is_some() {
                let detail = format!("the commit at {first} does not have the events it says");
                self.found(Check::Counts, detail);
            }
            walk.seen.clear();
        }
        if walk.waiting.is_empty() {
            walk.waiting = self.commits_after(walk.read_first).await?;
            walk.read_first = walk.waiting.back().map_or(i64::MAX, |commit| commit.first);
        }
        let Some(commit) = walk.waiting.pop_front() else {
            return Ok(false);
        };
        self.check_commit(walk, &commit);
        walk.last = commit.last;
        walk.recorded_at = commit.recorded_at;
        walk.current = Some(commit);
        Ok(true)
    }

    fn check_commit(&mut self, walk: &Walk, commit: &Commit) {
        let Commit { first, last, .. } = *commit;
        if first != walk.last + 1 {
            let detail = format!(
                "a commit begins at {first}, the one before ends at {}",
                walk.last
            );
            self.found(Check::Commits, detail);
        }
        if commit.recorded_at < walk.recorded_at {
            let detail = format!("the commit at {first} is older than the one before");
            self.found(Check::RecordedAt, detail);
        }
        match &commit.counts {
            Some(counts) if counts.values().sum::<i64>() == last - first + 1 => {}
            Some(_) => {
                let detail = format!("the counts of the commit at {first} do not add up to {last}");
                self.found(Check::Counts, detail);
            }
            None => {
                let detail = format!("the counts of the commit at {first} cannot be read");
                self.found(Check::Counts, detail);
            }
        }
    }

    async fn commits_after(&self, first: i64) -> Result<VecDeque<Commit>, StoreError> {
        let doing = "check commits";
        let mut sql = Sql::new(
            "SELECT first_position, last_position, recorded_at, counts FROM commits \
             WHERE first_position > ",
        );
        sql.bind(first).push(" AND first_position <= ");
        sql.bind(self.head.0)
            .push(" ORDER BY first_position LIMIT ");
        sql.bind(COMMITS_MAX);
        let rows = self.rows(sql, doing).await?;
        let read = |row: &sea_orm::QueryResult| {
            let number = |index| row.try_get_by_index::<i64>(index).doing(doing);
            let counts: String = row.try_get_by_index(3).doing(doing)?;
            Ok(Commit {
                first: number(0)?,
                last: number(1)?,
                recorded_at: number(2)?,
                counts: counts_of(&counts).ok().map(|c| c.into_iter().collect()),
            })
        };
        rows.iter().map(read).collect()
    }
}

/// The columns of a table that hold JSON.
fn json_columns(spec: &Spec) -> Vec<&'static str> {
    let fields = spec.fields.iter().filter(|field| field.ty.is_json());
    let own = fields.map(|field| field.column.name());
    own.chain(["extra"]).collect()
}

/// Position, time of recording, whether the id or a reference is amiss, and what is to be JSON.
fn window_sql(spec: &Spec, json: &[&str]) -> String {
    let code = spec.kind.code();
    let keyed = match spec.identity {
        Identity::EventId => format!(
            "t.event_id IS NULL OR EXISTS (SELECT 1 FROM event_keys k WHERE k.event_id = \
             t.event_id AND k.position = t.position AND k.kind = {code})"
        ),
        Identity::DeviceAndTime => "TRUE".to_owned(),
    };
    let mut referred = vec!["TRUE".to_owned()];
    for field in spec.fields.iter().filter(|field| field.ty.is_reference()) {
        let column = field.column.name();
        let entity = if field.ty.is_site() { "SITE" } else { "DEVICE" };
        referred.push(format!(
            "(t.{column} IS NULL OR EXISTS (SELECT 1 FROM entity_keys e WHERE e.entity_key = \
             t.{column} AND e.entity_type = '{entity}'))"
        ));
    }
    format!(
        "SELECT t.position, t.recorded_at, CAST(CASE WHEN {keyed} THEN 0 ELSE 1 END AS BIGINT), \
         CAST(CASE WHEN {} THEN 0 ELSE 1 END AS BIGINT), t.{} FROM {} t",
        referred.join(" AND "),
        json.join(", t."),
        spec.table
    )
}
