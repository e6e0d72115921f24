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

use super::beside::BESIDE;
use super::{CLAIM, RetentionError, doubt, require_archive};
use crate::event::Position;
use crate::nodes::Work;
use crate::store::{Doing, Erasing, List, Looked, Sql, Store, StoreError, is_among};
use crate::telemetry::chain;

/// Characters at most of the id of a person.
const PERSON_CHARACTERS_MAX: usize = 255;
/// Erasures at most that are not done.
pub(super) const UNDONE_MAX: i64 = 1_000;
/// How long it is erased before others may archive, and how long they have to begin with it.
const TURN: Duration = Duration::from_secs(2);
const BETWEEN_TURNS: Duration = Duration::from_millis(250);
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
/// now, and from all that tells what they did. An event stays one of the log: its time, its kind and what it counts
/// as.
///
/// # Errors
/// When the id is none, no server that is alive can read what is archived, too many erasures are not done, or it
/// cannot be kept.
pub async fn erase_person(
    store: &Store,
    person: &str,
    by: &str,
) -> Result<ErasureRow, RetentionError> {
    let characters = person.chars().count();
    if !(1..=PERSON_CHARACTERS_MAX).contains(&characters) || person.contains('\0') {
        return Err(RetentionError::Person);
    }
    if person == by {
        return Err(RetentionError::Oneself);
    }
    if !store.can_erase().await? && !store.is_anyone_able(Work::Erasures.name()).await? {
        return Err(RetentionError::NobodyCan);
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
        rows_upto: 0,
        segments_done: 0,
        segments_upto: None,
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

/// Carries all erasures out that are not done, all together: the tables and segments are looked through once. It
/// is done in turns, between which others may archive. If it fails, each of them is told why, and they are left for
/// later as far as they are.
///
/// # Errors
/// When others archive or erase just now, what is archived is not found or cannot be read here, or it failed.
pub async fn erase_waiting(store: &Store) -> Result<(), RetentionError> {
    let waiting = waiting(store, None).await?;
    erase_all(store, waiting, &mut Looked::default()).await
}

/// Carries some erasures out, all together. Whoever tries again need not read again what was looked into already.
pub(super) async fn erase_all(
    store: &Store,
    waiting: Vec<ErasureRow>,
    looked: &mut Looked,
) -> Result<(), RetentionError> {
    let ids: Vec<String> = waiting.into_iter().map(|row| row.erasure_id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    looked.begin(&ids);
    let carried_out = carry_out(store, &ids, looked).await;
    match &carried_out {
        Ok(()) | Err(RetentionError::Busy) => {}
        Err(error) => {
            doubt(store, error);
            let why = chain(error).to_string();
            fail(store, ids, why).await?;
        }
    }
    carried_out
}

async fn carry_out(
    store: &Store,
    ids: &[String],
    looked: &mut Looked,
) -> Result<(), RetentionError> {
    if !store.can_erase().await? {
        return Err(RetentionError::Nowhere);
    }
    // the tables need no segment: they are not to wait for the place of those
    loop {
        let claim = store.claim_patiently(CLAIM).await?;
        let is_done = turn_of_tables(store, ids).await?;
        drop(claim);
        if is_done {
            break;
        }
        sleep(BETWEEN_TURNS).await;
    }
    let claim = store.claim_patiently(CLAIM).await?;
    require_archive(store).await?;
    // what a server that ended had replaced and not removed
    store.sweep_segments().await?;
    drop(claim);
    loop {
        let claim = store.claim_patiently(CLAIM).await?;
        let is_done = turn(store, ids, looked).await?;
        drop(claim);
        if is_done {
            return Ok(());
        }
        sleep(BETWEEN_TURNS).await;
    }
}

/// Those of some erasures, or of all, that are not done, the oldest first.
pub(super) async fn waiting(
    store: &Store,
    ids: Option<&[String]>,
) -> Result<Vec<ErasureRow>, StoreError> {
    let mut query = person_erasures::Entity::find()
        .filter(person_erasures::Column::State.ne("DONE"))
        .order_by_asc(person_erasures::Column::AskedAt)
        .order_by_asc(person_erasures::Column::ErasureId);
    if let Some(ids) = ids {
        let list = List::Text(ids.to_vec());
        let among = is_among(person_erasures::Column::ErasureId, list, store.backend());
        query = query.filter(among);
    }
    query.all(store.readers()).await.doing("read erasures")
}

/// Goes on with erasures in the tables for a while; whether those are done.
async fn turn_of_tables(store: &Store, ids: &[String]) -> Result<bool, StoreError> {
    let erasing = erasing(store, ids).await?;
    if erasing.is_empty() {
        return Ok(true);
    }
    let until = Moment::now() + TURN;
    store.erase_from_tables(erasing, BESIDE, until).await
}

/// Goes on with erasures for a while; whether they are done.
async fn turn(store: &Store, ids: &[String], looked: &mut Looked) -> Result<bool, StoreError> {
    let erasing = erasing(store, ids).await?;
    if erasing.is_empty() {
        return Ok(true);
    }
    let erasures = erasing.len();
    let until = Moment::now() + TURN;
    let is_done = store.erase(erasing, BESIDE, (looked, until)).await?;
    if is_done {
        tracing::info!(
            erasures,
            "what is personal of those who are to be forgotten was erased"
        );
    }
    Ok(is_done)
}

/// Those of some erasures that are not done, each as far as it is by now: whoever had the claim before may have gone
/// on with them.
async fn erasing(store: &Store, ids: &[String]) -> Result<Vec<Erasing>, StoreError> {
    let rows = waiting(store, Some(ids)).await?;
    let erasing = rows.into_iter().map(|row| Erasing {
        erasure_id: row.erasure_id,
        person: row.person.unwrap_or_default(),
        upto: Position(row.position),
        rows_upto: row.rows_upto,
        segments_done: row.segments_done,
        segments_upto: row.segments_upto,
    });
    Ok(erasing.collect())
}

/// Tells why erasures cannot be gone on with.
async fn fail(store: &Store, ids: Vec<String>, why: String) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE person_erasures SET failure = ");
    sql.bind(why);
    sql.push(", changed_at = ").bind(store.clock().now().0);
    sql.push(" WHERE state <> 'DONE' AND ");
    sql.among("erasure_id", List::Text(ids));
    store
        .transact_durably(move |tx| Box::pin(run(tx, sql)))
        .await
}
