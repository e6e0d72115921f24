//! Bounded reads of the tables by time or position, with a filter. Always by key, never by offset, so
//! that a page costs the same wherever it is.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use sea_orm::{ConnectionTrait, DbBackend};

use super::allowance::Allowance;
use super::derived;
use super::duplicates::padded;
use super::error::{Doing, StoreError};
use super::lists::List;
use super::names::Names;
use super::parents::{self, Parents, Reach};
use super::readers::Readers;
use super::rows::{self, Columns, Reading};
use super::segments::{GENERATION, Segments};
use super::sql::{Polarity, Sql};
use crate::event::{Event, Instant, Position};
use crate::kinds::{Filter, Kind, Operand, Spec};

/// Reads tables on the connections for readers.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    pub(super) db: Readers,
    pub(super) names: Arc<Names>,
    pub(super) segments: Arc<Segments>,
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
    /// What of them.
    pub columns: Columns,
    /// Events at most.
    pub limit: usize,
}

impl PageQuery {
    /// All events of a kind, in the order in which they were recorded.
    #[must_use]
    pub fn all_of(kind: Kind, columns: Columns) -> Self {
        Self {
            kind,
            filter: Filter::default(),
            order: Order::FirstRecordedFirst,
            after: None,
            before: None,
            upto: None,
            scope: Scope::All,
            columns,
            limit: usize::MAX,
        }
    }

    /// Whether what is derived is derived in it.
    pub(crate) const fn reading(&self) -> Reading {
        match self.scope {
            Scope::Changes | Scope::All => Reading::Whole,
            Scope::AsReported => Reading::Reported,
        }
    }
}

/// Which events of a kind that derives states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Those that changed the state.
    #[default]
    Changes,
    /// All that were reported.
    All,
    /// The same, each as it was reported: with what its source said where the others have what is derived.
    AsReported,
}

/// A page as it is asked of a table.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) query: PageQuery,
    /// The generation of the list of segments that is held beside it: there is nothing in the page if the
    /// table is of another. `None` for a kind that is not archived.
    pub(super) generation: Option<i64>,
}

impl Deref for Asked {
    type Target = PageQuery;

    fn deref(&self) -> &PageQuery {
        &self.query
    }
}

impl Tables {
    /// Reads on these connections.
    pub(crate) const fn new(db: Readers, names: Arc<Names>, segments: Arc<Segments>) -> Self {
        Self {
            db,
            names,
            segments,
        }
    }

    /// The same on other connections.
    pub(crate) fn on(&self, db: Readers) -> Self {
        Self { db, ..self.clone() }
    }

    /// The names that rows are shown with.
    pub(crate) fn names(&self) -> Arc<Names> {
        Arc::clone(&self.names)
    }

    /// A page of a table.
    pub(super) async fn page_of_table(
        &self,
        query: &Asked,
        allowance: &Allowance,
    ) -> Result<Vec<Event>, StoreError> {
        if let Some((query, parent, keys)) = parents::narrowed(query) {
            let devices = self.devices(parent, &keys).into_values().sum();
            let reach = Reach::of(devices, &query);
            let sql = match reach {
                Reach::Devices => self.parents(&query, parent, reach).merged(&keys),
                Reach::Time => parents::by_time(&query, parent, &keys),
            };
            let kind = (query.kind, query.columns);
            return rows::read(&self.db, &self.names, kind, (sql, allowance)).await;
        }
        let spec = query.kind.spec();
        let columns = rows::columns(spec, query.reading(), query.columns);
        let mut sql = Sql::new(format!("SELECT {columns} FROM {} t WHERE ", spec.table));
        conditions(&mut sql, query);
        ordered(&mut sql, query, "t");
        let kind = (query.kind, query.columns);
        rows::read(&self.db, &self.names, kind, (sql, allowance)).await
    }

    /// How many events a page of a table would have without a limit.
    pub(super) async fn count_of_table(&self, query: &Asked) -> Result<i64, StoreError> {
        if let Some((query, parent, keys)) = parents::narrowed(query) {
            let counts = self.counts_of_table(&query, (parent, &keys)).await?;
            return Ok(counts.into_values().sum());
        }
        let table = query.kind.spec().table;
        let mut sql = Sql::new(format!("SELECT count(*) FROM {table} t WHERE "));
        conditions(&mut sql, query);
        self.counted(sql, table).await
    }

    /// The number that a statement over a table comes to.
    pub(super) async fn counted(&self, sql: Sql, table: &'static str) -> Result<i64, StoreError> {
        let statement = sql.statement(self.db.get_database_backend());
        let row = self.db.query_one_raw(statement).await;
        let row = row.doing("count events")?.ok_or(StoreError::Row {
            table,
            column: "count",
        })?;
        row.try_get_by_index(0).doing("count events")
    }

    fn parents<'q>(&self, query: &'q Asked, parent: Operand, reach: Reach) -> Parents<'q> {
        Parents {
            query,
            parent,
            reach,
            backend: self.db.get_database_backend(),
        }
    }

    /// How many devices each of some parents stands for.
    fn devices(&self, parent: Operand, keys: &[i64]) -> HashMap<i64, usize> {
        if parent == Operand::Site {
            return self.names.stays_at(keys);
        }
        keys.iter().map(|key| (*key, 1)).collect()
    }

    /// The same page of a table for each of some devices or sites, as [`Tables::by_size`] parts them, in a
    /// statement for each part that there is.
    pub(super) async fn pages_of_table(
        &self,
        query: &Asked,
        (parent, small, large): (Operand, &[i64], &[i64]),
        allowance: &Allowance,
    ) -> Result<HashMap<i64, Vec<Event>>, StoreError> {
        let mut pages: HashMap<i64, Vec<Event>> = HashMap::new();
        for (keys, reach) in [(small, Reach::Devices), (large, Reach::Time)] {
            if keys.is_empty() {
                continue;
            }
            let sql = self.parents(query, parent, reach).pages(keys);
            let kind = (query.kind, query.columns);
            let read = rows::read_keyed(&self.db, &self.names, kind, (sql, allowance));
            for (key, event) in read.await? {
                pages.entry(key).or_default().push(event);
            }
        }
        for page in pages.values_mut() {
            page.sort_by(|left, right| query.order.compare(&Place::of(left), &Place::of(right)));
        }
        Ok(pages)
    }

    /// Those of some parents whose pages are found by their devices, and those by time.
    pub(super) fn by_size(
        &self,
        query: &Asked,
        (parent, keys): (Operand, &[i64]),
    ) -> (Vec<i64>, Vec<i64>) {
        let devices = self.devices(parent, keys);
        let is_small = |key: &i64| {
            let devices = devices.get(key).copied().unwrap_or_default();
            Reach::of(devices, query) == Reach::Devices
        };
        keys.iter().partition(|key| is_small(key))
    }

    /// How many events the same page of a table would have for each of some devices or sites, without a
    /// limit.
    pub(super) async fn counts_of_table(
        &self,
        query: &Asked,
        (parent, keys): (Operand, &[i64]),
    ) -> Result<HashMap<i64, i64>, StoreError> {
        let sql = parents::counts(query, parent, keys);
        let statement = sql.statement(self.db.get_database_backend());
        let rows = self.db.query_all_raw(statement).await;
        let read = |row: sea_orm::QueryResult| {
            let key: i64 = row.try_get_by_index(0).doing("count events")?;
            let count: i64 = row.try_get_by_index(1).doing("count events")?;
            Ok((key, count))
        };
        rows.doing("count events")?.into_iter().map(read).collect()
    }

    /// Events by their positions, in one statement; the instants let PostgreSQL pick its partitions.
    pub(super) async fn at_in_table(
        &self,
        kind: (Kind, Columns),
        (places, generation): (&[Place], Option<i64>),
        allowance: &Allowance,
    ) -> Result<Vec<Event>, StoreError> {
        let spec = kind.0.spec();
        let columns = rows::columns(spec, Reading::Whole, kind.1);
        let mut sql = Sql::new(format!("SELECT {columns} FROM {} t WHERE ", spec.table));
        let positions = places.iter().map(|place| place.position.0).collect();
        sql.among("t.position", List::Int(positions));
        let times = places.iter().map(|place| place.occurred_at.0);
        if let (Some(from), Some(to)) = (times.clone().min(), times.max()) {
            sql.push(" AND t.occurred_at >= ").bind(from);
            sql.push(" AND t.occurred_at <= ").bind(to);
        }
        of_generation(&mut sql, generation);
        rows::read(&self.db, &self.names, kind, (sql, allowance)).await
    }
}

impl Tables {
    /// The events of some devices at an instant of each: the parts of their readings. One may come twice.
    pub(super) async fn together_in_table(
        &self,
        kind: (Kind, Columns),
        (readings, generation): (&[(i64, Instant)], Option<i64>),
        allowance: &Allowance,
    ) -> Result<Vec<Event>, StoreError> {
        let spec = kind.0.spec();
        let device = spec.device_index().and_then(|index| spec.fields.get(index));
        let (Some(device), false) = (device, readings.is_empty()) else {
            return Ok(Vec::new());
        };
        let columns = rows::columns(spec, Reading::Whole, kind.1);
        let backend = self.db.get_database_backend();
        let readings: Vec<[i64; 2]> = readings.iter().map(|(key, at)| [*key, at.0]).collect();
        let mut sql = Sql::new(format!("SELECT {columns} FROM "));
        sql.rows_of(backend, &padded(readings));
        sql.push(if backend == DbBackend::Postgres {
            " JOIN "
        } else {
            " CROSS JOIN "
        });
        let (table, device) = (spec.table, device.column.name());
        sql.push(&format!(
            "{table} t ON t.{device} = v.column1 AND t.occurred_at = v.column2"
        ));
        of_generation(&mut sql, generation);
        rows::read(&self.db, &self.names, kind, (sql, allowance)).await
    }
}

/// Nothing is found in a table that is not of the generation of the list of segments that is held.
fn of_generation(sql: &mut Sql, generation: Option<i64>) {
    if let Some(generation) = generation {
        sql.push(" AND ").push(GENERATION).bind(generation);
    }
}

/// What a page asks of its rows.
pub(super) fn conditions(sql: &mut Sql, query: &Asked) {
    let spec: &Spec = query.kind.spec();
    sql.filter(spec, &query.filter, Polarity::Plain);
    of_generation(sql, query.generation);
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
            let before = derived::value(spec, derived, Reading::Whole);
            sql.push(" AND t.")
                .push(from.column.name())
                .push(" IS DISTINCT FROM ")
                .push(&before);
        }
    }
}

/// In which order a page has its rows, and how many.
pub(super) fn ordered(sql: &mut Sql, query: &PageQuery, table: &str) {
    let direction = if query.order.ascending() { "" } else { " DESC" };
    sql.push(" ORDER BY ");
    if query.order.by_time() {
        sql.push(&format!("{table}.occurred_at{direction}, "));
    }
    sql.push(&format!("{table}.position{direction}"));
    // were it bound, SQLite would prepare the statement anew each time it is run, and PostgreSQL plan it
    sql.push(&format!(" LIMIT {}", query.limit));
}
