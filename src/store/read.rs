//! Bounded reads of the tables: by position, and by time with a filter. Always by key, never by
//! offset, so that a page costs the same wherever it is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sea_orm::{ConnectionTrait, DatabaseConnection, Value};

use super::error::{Doing, StoreError};
use super::names::Names;
use super::rows::{self, Reading};
use super::sql::{Polarity, Sql};
use crate::event::{Cell, Event, Instant, Position};
use crate::kinds::{Filter, Kind, Operand, Operator, Spec};

/// Reads tables on the connections for readers.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    db: DatabaseConnection,
    names: Arc<Names>,
}

/// Events after a position, and how far they were looked for.
#[derive(Debug)]
pub struct Slice {
    /// The events, in order of positions.
    pub events: Vec<Arc<Event>>,
    /// The last position that was looked at: the next slice begins after it.
    pub upto: Position,
}

/// Order of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// By `occurred_at`, then position, the newest first.
    #[default]
    NewestFirst,
    /// By `occurred_at`, then position, the oldest first.
    OldestFirst,
    /// By position, the last appended first.
    LastRecordedFirst,
    /// By position, the first appended first.
    FirstRecordedFirst,
}

impl Order {
    /// The order the other way round.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::NewestFirst => Self::OldestFirst,
            Self::OldestFirst => Self::NewestFirst,
            Self::LastRecordedFirst => Self::FirstRecordedFirst,
            Self::FirstRecordedFirst => Self::LastRecordedFirst,
        }
    }

    const fn ascending(self) -> bool {
        matches!(self, Self::OldestFirst | Self::FirstRecordedFirst)
    }

    /// Whether it is by time, not by position.
    #[must_use]
    pub const fn by_time(self) -> bool {
        matches!(self, Self::NewestFirst | Self::OldestFirst)
    }

    /// Compares two events in this order.
    #[must_use]
    pub fn compare(self, left: &Place, right: &Place) -> std::cmp::Ordering {
        let ordering = if self.by_time() {
            (left.occurred_at, left.position).cmp(&(right.occurred_at, right.position))
        } else {
            left.position.cmp(&right.position)
        };
        if self.ascending() {
            ordering
        } else {
            ordering.reverse()
        }
    }
}

/// Where an event stands in either order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// When it happened.
    pub occurred_at: Instant,
    /// Its position.
    pub position: Position,
}

impl Place {
    /// The place of an event.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        Self {
            occurred_at: event.fact.occurred_at,
            position: event.position,
        }
    }
}

/// A page of the events of one kind.
#[derive(Clone, Debug)]
pub struct PageQuery {
    /// The kind.
    pub kind: Kind,
    /// Which of them.
    pub filter: Filter,
    /// In which order.
    pub order: Order,
    /// Begins after this place in the order.
    pub after: Option<Place>,
    /// Ends before this place in the order.
    pub before: Option<Place>,
    /// Nothing after this position, so that a page and what follows it live do not overlap.
    pub upto: Option<Position>,
    /// Of a kind that derives states: only changes, not each report.
    pub scope: Scope,
    /// Events at most.
    pub limit: usize,
}

/// Which events of a kind that derives states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Those that changed the state.
    #[default]
    Changes,
    /// All that were reported.
    All,
}

impl Tables {
    /// Reads on these connections.
    pub(crate) const fn new(db: DatabaseConnection, names: Arc<Names>) -> Self {
        Self { db, names }
    }

    /// The names that rows are shown with.
    pub(crate) fn names(&self) -> Arc<Names> {
        Arc::clone(&self.names)
    }

    /// Whole commits after a position: at least one, and no more once there are `events_min`. The
    /// commits say how many events of each kind there must be; fewer are a hole, never silence.
    pub(crate) async fn after(
        &self,
        position: Position,
        events_min: usize,
        kinds: Option<&[Kind]>,
    ) -> Result<Slice, StoreError> {
        let commits = self.commits_after(position, events_min).await?;
        let mut counts: BTreeMap<Kind, i64> = BTreeMap::new();
        let (mut upto, mut total, mut first) = (position, 0, None);
        for commit in commits {
            let wanted = i64::try_from(events_min).unwrap_or(i64::MAX);
            if total >= wanted {
                break;
            }
            first = first.or(Some(commit.first));
            for (kind, count) in &commit.counts {
                *counts.entry(*kind).or_default() += count;
                let asked = kinds.is_none_or(|kinds| kinds.contains(kind));
                total += if asked { *count } else { 0 };
            }
            upto = commit.last;
        }
        // a cursor inside a commit: the commit is read whole, and its first part passed over
        let from = first.unwrap_or(position.next());
        let mut events = Vec::new();
        for (kind, count) in counts {
            if kinds.is_none_or(|kinds| kinds.contains(&kind)) {
                let mut sql = Sql::new(rows::select(kind.spec(), Reading::AsAppended));
                sql.push(" WHERE t.position >= ").bind(from.0);
                sql.push(" AND t.position <= ")
                    .bind(upto.0)
                    .push(" ORDER BY t.position");
                let read = rows::read(&self.db, &self.names, kind, sql).await?;
                if i64::try_from(read.len()) != Ok(count) {
                    return Err(StoreError::Hole { missing: from });
                }
                events.extend(read);
            }
        }
        events.retain(|event| event.position > position);
        events.sort_unstable_by_key(|event| event.position);
        Ok(Slice {
            events: events.into_iter().map(Arc::new).collect(),
            upto,
        })
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
        sql.push(" ORDER BY first_position LIMIT ");
        sql.bind(i64::try_from(commits_max.clamp(1, 1_000)).unwrap_or(1_000));
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

    /// A page of one kind.
    pub(crate) async fn page(&self, query: &PageQuery) -> Result<Vec<Event>, StoreError> {
        let mut sql = Sql::new(rows::select(query.kind.spec(), Reading::Whole));
        sql.push(" WHERE ");
        conditions(&mut sql, query);
        ordered(&mut sql, query);
        rows::read(&self.db, &self.names, query.kind, sql).await
    }

    /// How many events a page would have without a limit.
    pub(crate) async fn count(&self, query: &PageQuery) -> Result<i64, StoreError> {
        let mut sql = Sql::new(format!(
            "SELECT count(*) FROM {} t WHERE ",
            query.kind.spec().table
        ));
        conditions(&mut sql, query);
        let statement = sql.statement(self.db.get_database_backend());
        let row = self
            .db
            .query_one_raw(statement)
            .await
            .doing("count events")?;
        let row = row.ok_or(StoreError::Row {
            table: query.kind.spec().table,
            column: "count",
        })?;
        row.try_get_by_index(0).doing("count events")
    }

    /// The same page for each of some devices or sites, in one statement.
    pub(crate) async fn pages(
        &self,
        query: &PageQuery,
        parent: Operand,
        keys: &[i64],
    ) -> Result<HashMap<i64, Vec<Event>>, StoreError> {
        let mut pages: HashMap<i64, Vec<Event>> = HashMap::new();
        for keys in keys.chunks(parents_at_once(query, parent)) {
            let mut sql = Sql::new("");
            for (ordinal, key) in keys.iter().enumerate() {
                sql.push(if ordinal > 0 { " UNION ALL " } else { "" })
                    .push("SELECT * FROM (");
                sql.push(&rows::select(query.kind.spec(), Reading::Whole))
                    .push(" WHERE ");
                sql.filter(
                    query.kind.spec(),
                    &of_parent(parent, &[*key]),
                    Polarity::Plain,
                );
                sql.push(" AND ");
                conditions(&mut sql, query);
                ordered(&mut sql, query);
                sql.push(") AS page");
            }
            for event in rows::read(&self.db, &self.names, query.kind, sql).await? {
                if let Some(key) =
                    parent.key_of(&event, &|device| self.names.site_of_device(device))
                {
                    pages.entry(key).or_default().push(event);
                }
            }
        }
        for page in pages.values_mut() {
            page.sort_by(|left, right| query.order.compare(&Place::of(left), &Place::of(right)));
        }
        Ok(pages)
    }

    /// How many events the same page would have for each of some devices or sites, without a limit.
    pub(crate) async fn counts(
        &self,
        query: &PageQuery,
        parent: Operand,
        keys: &[i64],
    ) -> Result<HashMap<i64, i64>, StoreError> {
        let mut counts = HashMap::new();
        for keys in keys.chunks(parents_at_once(query, parent)) {
            let mut sql = Sql::new("");
            for (ordinal, key) in keys.iter().enumerate() {
                sql.push(if ordinal > 0 { " UNION ALL " } else { "" })
                    .push("SELECT CAST(");
                sql.bind(*key)
                    .push(" AS BIGINT), count(*) FROM ")
                    .push(query.kind.spec().table);
                sql.push(" t WHERE ");
                sql.filter(
                    query.kind.spec(),
                    &of_parent(parent, &[*key]),
                    Polarity::Plain,
                );
                sql.push(" AND ");
                conditions(&mut sql, query);
            }
            let statement = sql.statement(self.db.get_database_backend());
            for row in self
                .db
                .query_all_raw(statement)
                .await
                .doing("count events")?
            {
                let key: i64 = row.try_get_by_index(0).doing("count events")?;
                let count: i64 = row.try_get_by_index(1).doing("count events")?;
                counts.insert(key, count);
            }
        }
        Ok(counts)
    }

    /// Events by their positions, in one statement; the instants let PostgreSQL pick its partitions.
    pub(crate) async fn at(&self, kind: Kind, places: &[Place]) -> Result<Vec<Event>, StoreError> {
        let mut events = Vec::with_capacity(places.len());
        for places in places.chunks(1_000) {
            let mut sql = Sql::new(rows::select(kind.spec(), Reading::Whole));
            sql.push(" WHERE t.position IN ");
            sql.bind_list(places.iter().map(|place| Value::from(place.position.0)));
            let times = places.iter().map(|place| place.occurred_at.0);
            if let (Some(from), Some(to)) = (times.clone().min(), times.max()) {
                sql.push(" AND t.occurred_at >= ").bind(from);
                sql.push(" AND t.occurred_at <= ").bind(to);
            }
            events.extend(rows::read(&self.db, &self.names, kind, sql).await?);
        }
        Ok(events)
    }
}

/// Selections at most that are joined in a statement: SQLite takes 500.
const SELECTIONS_MAX: usize = 400;
/// Values at most of a statement: SQLite takes 32,766 and PostgreSQL 65,535.
const VALUES_MAX: usize = 32_000;

/// For how many parents a page is read in one statement: each has all values of the filter again.
fn parents_at_once(query: &PageQuery, parent: Operand) -> usize {
    let mut one = Sql::new("");
    one.bind(0);
    one.filter(query.kind.spec(), &of_parent(parent, &[0]), Polarity::Plain);
    conditions(&mut one, query);
    ordered(&mut one, query);
    (VALUES_MAX / one.values()).clamp(1, SELECTIONS_MAX)
}

fn of_parent(parent: Operand, keys: &[i64]) -> Filter {
    Filter::Is(
        parent,
        Operator::In(keys.iter().map(|key| Cell::Int(*key)).collect()),
    )
}

struct Commit {
    first: Position,
    last: Position,
    counts: Vec<(Kind, i64)>,
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

fn conditions(sql: &mut Sql, query: &PageQuery) {
    let spec: &Spec = query.kind.spec();
    sql.filter(spec, &query.filter, Polarity::Plain);
    if let Some(upto) = query.upto {
        sql.push(" AND t.position <= ").bind(upto.0);
    }
    let bound = |sql: &mut Sql, place: Place, sign: &str| {
        if query.order.by_time() {
            sql.push(" AND (t.occurred_at, t.position) ")
                .push(sign)
                .push(" (");
            sql.bind(place.occurred_at.0)
                .push(", ")
                .bind(place.position.0)
                .push(")");
        } else {
            sql.push(" AND t.position ")
                .push(sign)
                .push(" ")
                .bind(place.position.0);
        }
    };
    let (later, earlier) = if query.order.ascending() {
        (">", "<")
    } else {
        ("<", ">")
    };
    if let Some(place) = query.after {
        bound(sql, place, later);
    }
    if let Some(place) = query.before {
        bound(sql, place, earlier);
    }
    if let (Some(derived), Scope::Changes) = (&spec.derived, query.scope) {
        let from = spec
            .index_of(derived.from)
            .and_then(|index| spec.fields.get(index));
        if let Some(from) = from {
            let before = rows::derived_sql(spec, derived, Reading::Whole);
            sql.push(" AND t.")
                .push(from.column.name())
                .push(" IS DISTINCT FROM ")
                .push(&before);
        }
    }
}

fn ordered(sql: &mut Sql, query: &PageQuery) {
    let direction = if query.order.ascending() { "" } else { " DESC" };
    sql.push(" ORDER BY ");
    if query.order.by_time() {
        sql.push("t.occurred_at").push(direction).push(", ");
    }
    sql.push("t.position").push(direction);
    sql.push(" LIMIT ")
        .bind(i64::try_from(query.limit).unwrap_or(i64::MAX));
}
