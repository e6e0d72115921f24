//! The tables of groups: how they are read whole, and written.

use entity::{error_group_forms, error_group_states, error_groups};
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, Value};
use tokio::task::spawn_blocking;

use super::super::upsert::upsert;
use super::changed::{Changed, Step};
use super::told::{self, Taken};
use crate::event::{Event, Instant, Position, Provenance};
use crate::insights::errors::kept::{Head, VERSION};
use crate::insights::errors::state::State;
use crate::store::{Doing, Sql, StoreError};

const READ: &str = "read the groups of errors";
const FOLD: &str = "fold errors into groups";

/// What is kept of a provenance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// The last event that it was told.
    pub(crate) position: Position,
    /// What tells all events that it was told from others.
    pub(crate) chain: u64,
    /// The groups.
    pub(crate) state: State,
}

impl Kept {
    /// Takes an event, and tells what that has done.
    pub(crate) fn take(&mut self, event: &Event) -> Taken {
        let taken = told::take(&mut self.state, (self.chain, event));
        (self.position, self.chain) = (taken.position, taken.chain);
        taken
    }
}

/// How far it is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upto {
    /// The last event that it was told.
    pub(crate) position: Position,
    /// What tells all events that it was told from others.
    pub(crate) chain: u64,
    head: Head,
}

/// How far the groups of a provenance are kept; `None` where this version has kept none.
pub(crate) async fn head(
    db: &impl ConnectionTrait,
    provenance: Provenance,
) -> Result<Option<Upto>, StoreError> {
    let query = error_group_states::Entity::find_by_id(provenance.code());
    let row = query.one(db).await.doing(READ)?;
    let row = row.filter(|row| row.version == VERSION);
    Ok(row.map(|row| Upto {
        position: Position(row.position),
        chain: row.chain_at_position.cast_unsigned(),
        head: Head {
            watched: row
                .from_at
                .zip(row.until_at)
                .map(|(from, until)| (Instant(from), Instant(until))),
            tidied: Instant(row.tidied_at),
        },
    }))
}

/// The groups of a provenance, as they are kept so far. There may be megabytes of them, which are unpacked where nobody
/// waits behind it.
pub(crate) async fn load(
    db: &impl ConnectionTrait,
    provenance: Provenance,
    upto: Upto,
) -> Result<Kept, StoreError> {
    let form = error_group_forms::Entity::find_by_id(provenance.code());
    let form = form.one(db).await.doing(READ)?;
    let form = form.ok_or_else(|| malformed("error_group_forms"))?;
    let groups =
        error_groups::Entity::find().filter(error_groups::Column::Provenance.eq(provenance.code()));
    let groups = groups.all(db).await.doing(READ)?;
    let unpack = move || {
        let groups = groups
            .iter()
            .map(|row| (row.label.cast_unsigned(), row.cells.as_slice()));
        State::of_parts(upto.head, &form.cells, groups)
    };
    let state = spawn_blocking(unpack).await;
    let state = state.map_err(|_| StoreError::Panicked)?;
    Ok(Kept {
        position: upto.position,
        chain: upto.chain,
        state: state.map_err(|_| malformed("error_groups"))?,
    })
}

const fn malformed(table: &'static str) -> StoreError {
    StoreError::Row {
        table,
        column: "cells",
    }
}

const INSERT_STATE: &str = "INSERT INTO error_group_states \
    (provenance, version, position, chain_at_position, from_at, until_at, tidied_at)";
const MERGE_STATE: &str = "ON CONFLICT (provenance) DO UPDATE SET version = excluded.version, \
    position = excluded.position, chain_at_position = excluded.chain_at_position, from_at = excluded.from_at, \
    until_at = excluded.until_at, tidied_at = excluded.tidied_at";
const INSERT_FORM: &str = "INSERT INTO error_group_forms (provenance, cells)";
const MERGE_FORM: &str = "ON CONFLICT (provenance) DO UPDATE SET cells = excluded.cells";
const INSERT_GROUP: &str = "INSERT INTO error_groups (provenance, label, cells)";
const MERGE_GROUP: &str = "ON CONFLICT (provenance, label) DO UPDATE SET cells = excluded.cells";
const INSERT_HOUR: &str = "INSERT INTO error_group_hours (provenance, label, device_key, hour, events, first_at, last_at, severity)";
const MERGE_HOUR: &str = "ON CONFLICT (provenance, label, device_key, hour) DO UPDATE SET \
    events = error_group_hours.events + excluded.events, \
    first_at = CASE WHEN excluded.first_at < error_group_hours.first_at THEN excluded.first_at \
    ELSE error_group_hours.first_at END, \
    last_at = CASE WHEN excluded.last_at > error_group_hours.last_at THEN excluded.last_at \
    ELSE error_group_hours.last_at END, \
    severity = CASE WHEN excluded.severity > error_group_hours.severity THEN excluded.severity \
    ELSE error_group_hours.severity END";
const INSERT_NEWS: &str =
    "INSERT INTO error_group_news (provenance, label, device_key, since, position)";
const MERGE_NEWS: &str = "ON CONFLICT (provenance, label, device_key, since) DO UPDATE SET \
    position = CASE WHEN excluded.position < error_group_news.position THEN excluded.position \
    ELSE error_group_news.position END";

/// Writes what has changed of the groups of a provenance.
pub(super) async fn write(
    tx: &DatabaseTransaction,
    (provenance, kept): (Provenance, &Kept),
    changed: Changed,
) -> Result<(), StoreError> {
    let of = provenance.code();
    for step in &changed.steps {
        match step {
            Step::Moved(before, now) => take_over(tx, of, (*before, *now)).await?,
            Step::Gone(label) => forget(tx, of, *label).await?,
        }
    }
    let (mut groups, mut gone) = (Vec::new(), Vec::new());
    for label in changed.labels {
        match kept
            .state
            .packed(label)
            .map_err(|_| malformed("error_groups"))?
        {
            Some(cells) => groups.push(vec![of.into(), label.cast_signed().into(), cells.into()]),
            None => gone.push(label),
        }
    }
    for label in gone {
        delete(tx, "error_groups", (of, label)).await?;
    }
    upsert(tx, INSERT_GROUP, groups, MERGE_GROUP).await?;
    let hours = changed.hours.iter().map(|((label, device, hour), tally)| {
        vec![
            of.into(),
            label.cast_signed().into(),
            (*device).into(),
            (*hour).into(),
            tally.events.into(),
            tally.first.0.into(),
            tally.last.0.into(),
            super::severity_code(tally.severity).into(),
        ]
    });
    upsert(tx, INSERT_HOUR, hours.collect(), MERGE_HOUR).await?;
    let news = changed
        .news
        .iter()
        .map(|((label, device, since), position)| {
            vec![
                of.into(),
                label.cast_signed().into(),
                (*device).into(),
                (*since).into(),
                (*position).into(),
            ]
        });
    upsert(tx, INSERT_NEWS, news.collect(), MERGE_NEWS).await?;
    write_state(tx, (of, kept), changed.has_new_form).await
}

/// Writes how far it is kept, and which messages belong together if that has changed: of many messages it is megabytes,
/// while most errors say what others have said before.
async fn write_state(
    tx: &DatabaseTransaction,
    (of, kept): (i64, &Kept),
    has_new_form: bool,
) -> Result<(), StoreError> {
    let head = kept.state.head();
    let (from, until) = head.watched.unzip();
    let row: Vec<Value> = vec![
        of.into(),
        VERSION.into(),
        kept.position.0.into(),
        kept.chain.cast_signed().into(),
        from.map(|at| at.0).into(),
        until.map(|at| at.0).into(),
        head.tidied.0.into(),
    ];
    upsert(tx, INSERT_STATE, vec![row], MERGE_STATE).await?;
    if !has_new_form {
        return Ok(());
    }
    let form = kept.state.form();
    let form = form.map_err(|_| malformed("error_group_forms"))?;
    let row: Vec<Value> = vec![of.into(), form.into()];
    upsert(tx, INSERT_FORM, vec![row], MERGE_FORM).await
}

/// Has the rows of a group that went into another be of that.
async fn take_over(
    tx: &DatabaseTransaction,
    of: i64,
    (before, now): (u64, u64),
) -> Result<(), StoreError> {
    for (insert, rest, merge) in [
        (
            INSERT_HOUR,
            "device_key, hour, events, first_at, last_at, severity FROM error_group_hours",
            MERGE_HOUR,
        ),
        (
            INSERT_NEWS,
            "device_key, since, position FROM error_group_news",
            MERGE_NEWS,
        ),
    ] {
        let mut sql = Sql::new(format!("{insert} SELECT provenance, CAST("));
        sql.bind(now.cast_signed());
        sql.push(" AS BIGINT), ").push(rest);
        sql.push(" WHERE provenance = ").bind(of);
        sql.push(" AND label = ").bind(before.cast_signed());
        sql.push(" ").push(merge);
        run(tx, sql).await?;
    }
    forget(tx, of, before).await
}

/// Deletes what was counted of a group.
async fn forget(tx: &DatabaseTransaction, of: i64, label: u64) -> Result<(), StoreError> {
    delete(tx, "error_group_hours", (of, label)).await?;
    delete(tx, "error_group_news", (of, label)).await
}

async fn delete(
    tx: &DatabaseTransaction,
    table: &str,
    (of, label): (i64, u64),
) -> Result<(), StoreError> {
    let mut sql = Sql::new(format!("DELETE FROM {table} WHERE provenance = "));
    sql.bind(of).push(" AND label = ").bind(label.cast_signed());
    run(tx, sql).await
}

async fn run(tx: &DatabaseTransaction, sql: Sql) -> Result<(), StoreError> {
    let done = tx.execute_raw(sql.statement(tx.get_database_backend()));
    done.await.doing(FOLD).map(drop)
}
