//! Erasures of what is personal in the events of a person: they are recorded when they are asked for, and
//! carried out behind that, by one server for all.

use std::time::Duration;

use entity::person_erasures;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use tokio::time::{Instant as Moment, sleep};
use uuid::Uuid;

use super::{CLAIM, RetentionError};
use crate::event::Position;
use crate::store::{Doing, Erasing, Sql, Store, StoreError};
use crate::telemetry::chain;

/// Characters at most of the id of a person.
const PERSON_CHARACTERS_MAX: usize = 255;
/// Erasures at most that are not done.
pub(super) const UNDONE_MAX: i64 = 1_000;
/// How often it is looked whether an erasure is done.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// An erasure.
pub type ErasureRow = person_erasures::Model;

/// How far an erasure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErasureState {
    /// It waits for its turn.
    Queued,
    /// Something is erased already.
    Running,
    /// It is done.
    Done,
}

impl ErasureState {
    /// How far one is.
    #[must_use]
    pub fn of(row: &ErasureRow) -> Self {
        match row.state.as_str() {
            "QUEUED" => Self::Queued,
            "DONE" => Self::Done,
            _ => Self::Running,
        }
    }
}

/// Asks that the id of a person, and what else is personal, is erased from all that is recorded of them until
/// now. An event stays one of the log: its time, its kind and what it counts as.
///
/// # Errors
/// When the id is none, too many erasures are not done, or it cannot be kept.
pub async fn erase_person(
    store: &Store,
    person: &str,
    by: &str,
) -> Result<ErasureRow, RetentionError> {
    let characters = person.chars().count();
    if !(1..=PERSON_CHARACTERS_MAX).contains(&characters) || person.contains('\0') {
        return Err(RetentionError::Person);
    }
    let now = store.clock().now().0;
    let row = ErasureRow {
        erasure_id: Uuid::now_v7().to_string(),
        person: Some(person.to_owned()),
        person_sha256: store.mark_of(person),
        position: store.committed_head().await?.0,
        state: "QUEUED".to_owned(),
        events: 0,
        segments: 0,
        asked_at: now,
        asked_by: by.to_owned(),
        changed_at: now,
        failure: None,
    };
    let sql = insertion(row.clone());
    store
        .transact_durably(move |tx| Box::pin(run(tx, sql)))
        .await?;
    let kept = erasure(store, &row.erasure_id).await?;
    kept.ok_or(RetentionError::TooMany)
}

/// Puts an erasure in, unless too many are not done.
fn insertion(row: ErasureRow) -> Sql {
    let mut sql = Sql::new(
        "INSERT INTO person_erasures (erasure_id, person, person_sha256, position, state, events, \
         segments, asked_at, asked_by, changed_at) SELECT ",
    );
    let values: [sea_orm::Value; 10] = [
        row.erasure_id.into(),
        row.person.into(),
        row.person_sha256.into(),
        row.position.into(),
        row.state.into(),
        row.events.into(),
        row.segments.into(),
        row.asked_at.into(),
        row.asked_by.into(),
        row.changed_at.into(),
    ];
    for (ordinal, value) in values.into_iter().enumerate() {
        sql.push(if ordinal > 0 { ", " } else { "" });
        sql.bind(value);
    }
    sql.push(" WHERE (SELECT count(*) FROM person_erasures WHERE state <> 'DONE') < ");
    sql.bind(UNDONE_MAX);
    sql
}

async fn run(tx: &DatabaseTransaction, sql: Sql) -> Result<(), StoreError> {
    let done = tx.execute_raw(sql.statement(tx.get_database_backend()));
    done.await.doing("keep an erasure").map(drop)
}

/// An erasure by its id.
///
/// # Errors
/// When the table cannot be read.
pub async fn erasure(store: &Store, erasure_id: &str) -> Result<Option<ErasureRow>, StoreError> {
    if erasure_id.contains('\0') {
        // no id has it, and PostgreSQL takes no such text
        return Ok(None);
    }
    let query = person_erasures::Entity::find_by_id(erasure_id);
    query.one(store.readers()).await.doing("read an erasure")
}

/// The newest erasures, the newest first.
///
/// # Errors
/// When the table cannot be read.
pub async fn erasures(store: &Store, limit: u64) -> Result<Vec<ErasureRow>, StoreError> {
    let query = person_erasures::Entity::find()
        .order_by_desc(person_erasures::Column::AskedAt)
        .order_by_desc(person_erasures::Column::ErasureId)
        .limit(limit);
    query.all(store.readers()).await.doing("read erasures")
}

/// An erasure, when it is done, or after some time as far as it is then.
///
/// # Errors
/// When the table cannot be read.
pub async fn erasure_within(
    store: &Store,
    asked: ErasureRow,
    within: Duration,
) -> Result<ErasureRow, StoreError> {
    let until = Moment::now() + within;
    let mut row = asked;
    while ErasureState::of(&row) != ErasureState::Done && Moment::now() < until {
        sleep(LOOK_EVERY).await;
        row = erasure(store, &row.erasure_id).await?.unwrap_or(row);
    }
    Ok(row)
}

/// Carries all erasures out that are not done, the oldest first. One that fails is told why and left for later,
/// as far as it is; it does not keep the others.
///
/// # Errors
/// When others archive or erase just now, or an erasure failed.
pub async fn erase_waiting(store: &Store) -> Result<(), RetentionError> {
    erase_all(store, waiting(store).await?).await
}

/// All erasures that are not done, the oldest first.
pub(super) async fn waiting(store: &Store) -> Result<Vec<ErasureRow>, StoreError> {
    let waiting = person_erasures::Entity::find()
        .filter(person_erasures::Column::State.ne("DONE"))
        .order_by_asc(person_erasures::Column::AskedAt)
        .order_by_asc(person_erasures::Column::ErasureId);
    let waiting = waiting.all(store.readers()).await;
    waiting.doing("read erasures")
}

/// Carries erasures out, one after the other.
pub(super) async fn erase_all(
    store: &Store,
    waiting: Vec<ErasureRow>,
) -> Result<(), RetentionError> {
    if waiting.is_empty() {
        return Ok(());
    }
    let _claim = store.claim_patiently(CLAIM).await?;
    let mut failed = Ok(());
    for row in waiting {
        let erasing = Erasing {
            erasure_id: row.erasure_id,
            person: row.person.unwrap_or_default(),
            upto: Position(row.position),
        };
        match store.erase(&erasing).await {
            Ok(()) => tracing::info!(erasure.id = erasing.erasure_id, "a person was erased"),
            Err(error) => {
                fail(store, &erasing, &error).await?;
                failed = failed.and(Err(error.into()));
            }
        }
    }
    failed
}

/// Tells why an erasure cannot be gone on with.
async fn fail(store: &Store, erasing: &Erasing, error: &StoreError) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE person_erasures SET failure = ");
    sql.bind(chain(error).to_string());
    sql.push(", changed_at = ").bind(store.clock().now().0);
    sql.push(" WHERE state <> 'DONE' AND erasure_id = ");
    sql.bind(erasing.erasure_id.as_str());
    store
        .transact_durably(move |tx| Box::pin(run(tx, sql)))
        .await
}
