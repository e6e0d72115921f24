//! The yardstick: the same rows into the same tables with the same indexes, by the driver alone.
//!
//! On SQLite nothing but the rows; on PostgreSQL also the lock on the head of the log and the look
//! for duplicates, without which several nodes could not append.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use homepot_analytics::event::{Cell, NewEvent};
use homepot_analytics::kinds::{Field, Kind, Storage};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection, query};

use crate::load::Commit;

/// Rows at most in one statement.
const ROWS_MAX: usize = 512;

/// How rows are given to SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// A prepared statement for each row.
    OneByOne,
    /// Prepared statements of 1, 2, 4 … rows.
    Together,
}

fn fields() -> &'static [Field] {
    Kind::DeviceMetrics.spec().fields
}

fn columns() -> String {
    let fields: Vec<&str> = fields().iter().map(|field| field.column.name()).collect();
    let fields = fields.join(", ");
    format!("position, event_id, occurred_at, recorded_at, provenance, {fields}, extra")
}

/// Key of the device that an event speaks of.
fn key_of(keys: &HashMap<String, i64>, event: &NewEvent) -> anyhow::Result<i64> {
    let id = event.fact.cells.first().and_then(Cell::text);
    let key = id.and_then(|id| keys.get(id)).copied();
    key.context("a device is not registered")
}

const KEYS: &str = "SELECT entity_id, entity_key FROM entity_keys WHERE entity_type = 'DEVICE'";

/// The bare driver on SQLite.
pub(crate) struct BareSqlite {
    connection: SqliteConnection,
    keys: HashMap<String, i64>,
    position: i64,
    rows: Rows,
    statements: HashMap<usize, Arc<str>>,
}

impl BareSqlite {
    /// Opens a log that the store has made, as the store does.
    pub(crate) async fn open(file: &std::path::Path, rows: Rows) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5))
            .pragma("cache_size", "-32768")
            .pragma("wal_autocheckpoint", "8000");
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let found = query(KEYS).fetch_all(&mut connection).await?;
        let keys = found.iter().map(|row| (row.get(0), row.get(1))).collect();
        let position = "SELECT position FROM log_head";
        let position = query(position).fetch_one(&mut connection).await?.get(0);
        Ok(Self {
            connection,
            keys,
            position,
            rows,
            statements: HashMap::new(),
        })
    }

    fn statement(&mut self, rows: usize) -> Arc<str> {
        let made = self.statements.entry(rows).or_insert_with(|| {
            let row = format!("({})", vec!["?"; fields().len() + 6].join(", "));
            let rows = vec![row; rows].join(", ");
            let columns = columns();
            format!("INSERT INTO device_metrics ({columns}) VALUES {rows}").into()
        });
        Arc::clone(made)
    }

    async fn insert(&mut self, events: &[NewEvent]) -> anyhow::Result<()> {
        let mut left = events;
        while !left.is_empty() {
            let size = match self.rows {
                Rows::OneByOne => 1,
                Rows::Together => (1 << left.len().ilog2()).min(ROWS_MAX),
            };
            let (now, later) = left.split_at(size);
            left = later;
            let mut insert = query(AssertSqlSafe(self.statement(size)));
            for event in now {
                let fact = &event.fact;
                self.position += 1;
                insert = insert
                    .bind(self.position)
                    .bind(None::<Vec<u8>>)
                    .bind(fact.occurred_at.0)
                    .bind(fact.occurred_at.0)
                    .bind(fact.provenance.code());
                for cell in &fact.cells {
                    insert = match cell {
                        Cell::Int(number) => insert.bind(*number),
                        Cell::Float(number) => insert.bind(*number),
                        Cell::Reference(_) => insert.bind(key_of(&self.keys, event)?),
                        Cell::Null | Cell::Text(_) | Cell::Json(_) => insert.bind(None::<String>),
                    };
                }
                insert = insert.bind(None::<String>);
            }
            insert.execute(&mut self.connection).await?;
        }
        Ok(())
    }
}

impl Commit for BareSqlite {
    const EVENTS_MAX: usize = 4_000;

    async fn commit(&mut self, events: &[NewEvent]) -> anyhow::Result<()> {
        query("BEGIN IMMEDIATE")
            .execute(&mut self.connection)
            .await?;
        self.insert(events).await?;
        query("COMMIT").execute(&mut self.connection).await?;
        Ok(())
    }
}

/// The bare driver on PostgreSQL.
pub(crate) struct BarePostgres {
    connection: PgConnection,
    keys: HashMap<String, i64>,
    insert: Arc<str>,
}

const LOCK: &str = "SELECT position FROM log_head WHERE id = 1 FOR UPDATE";
const DUPLICATES: &str = "SELECT m.position FROM UNNEST($1::bigint[], $2::bigint[]) AS v(d, o) \
    JOIN device_metrics m ON m.device_key = v.d AND m.occurred_at = v.o AND m.part = 0";
const MOVE: &str = "UPDATE log_head SET position = $1 WHERE id = 1";

impl BarePostgres {
    /// Connects to a log that the store has made.
    pub(crate) async fn open(url: &str) -> anyhow::Result<Self> {
        let mut connection = PgConnection::connect(url).await?;
        let found = query(KEYS).fetch_all(&mut connection).await?;
        let keys = found.iter().map(|row| (row.get(0), row.get(1))).collect();
        let types = fields().iter().map(|field| match field.ty.storage() {
            Storage::Int => "bigint[]",
            Storage::Float => "double precision[]",
            Storage::Text => "text[]",
        });
        let envelope = ["bigint[]", "uuid[]", "bigint[]", "bigint[]", "bigint[]"];
        let types = envelope.into_iter().chain(types).chain(["text[]"]);
        let arrays: Vec<String> = types
            .enumerate()
            .map(|(index, ty)| format!("${}::{ty}", index + 1))
            .collect();
        let (columns, arrays) = (columns(), arrays.join(", "));
        let insert =
            format!("INSERT INTO device_metrics ({columns}) SELECT * FROM UNNEST({arrays})");
        Ok(Self {
            connection,
            keys,
            insert: insert.into(),
        })
    }

    fn keys_of(&self, events: &[NewEvent]) -> anyhow::Result<Vec<i64>> {
        events.iter().map(|e| key_of(&self.keys, e)).collect()
    }
}

impl Commit for BarePostgres {
    const EVENTS_MAX: usize = 1_000;

    async fn commit(&mut self, events: &[NewEvent]) -> anyhow::Result<()> {
        let devices = self.keys_of(events)?;
        let instants: Vec<i64> = events.iter().map(|e| e.fact.occurred_at.0).collect();
        let mut tx = self.connection.begin().await?;
        let head: i64 = query(LOCK).fetch_one(&mut *tx).await?.get(0);
        let found = query(DUPLICATES).bind(&devices).bind(&instants);
        let found = found.fetch_all(&mut *tx).await?;
        anyhow::ensure!(found.is_empty(), "an event came twice");
        let positions: Vec<i64> = (head + 1..).take(events.len()).collect();
        let provenances: Vec<i64> = events.iter().map(|e| e.fact.provenance.code()).collect();
        let mut insert = query(AssertSqlSafe(Arc::clone(&self.insert)))
            .bind(&positions)
            .bind(vec![None::<uuid::Uuid>; events.len()])
            .bind(&instants)
            .bind(&instants)
            .bind(provenances);
        for (index, field) in fields().iter().enumerate() {
            let cells = events.iter().map(|event| event.fact.cells.get(index));
            insert = match field.ty.storage() {
                Storage::Int if field.ty.is_reference() => insert.bind(&devices),
                Storage::Int => insert.bind(cells.map(|c| c?.int()).collect::<Vec<_>>()),
                Storage::Float => insert.bind(cells.map(|c| float_of(c?)).collect::<Vec<_>>()),
                Storage::Text => insert.bind(vec![None::<String>; events.len()]),
            };
        }
        insert = insert.bind(vec![None::<String>; events.len()]);
        insert.execute(&mut *tx).await?;
        let last = positions.last().copied().unwrap_or(head);
        query(MOVE).bind(last).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }
}

fn float_of(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Float(number) => Some(*number),
        Cell::Null | Cell::Int(_) | Cell::Text(_) | Cell::Json(_) | Cell::Reference(_) => None,
    }
}
