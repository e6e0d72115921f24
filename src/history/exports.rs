//! Exports that were asked for over the API. They are read from the primary: what becomes of one has no position
//! in the log by which it would be known whether a replica has heard of it.

use std::collections::HashMap;

use entity::exports;
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Select,
};

use super::{Part, gathered};
use crate::event::Instant;
use crate::store::{Allowance, Doing, Store, StoreError};

/// An export.
pub type ExportRow = exports::Model;

/// Whose exports are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's.
    All,
    /// Those of an account, that it asked for reaching what it reaches.
    Of {
        /// The account.
        account: String,
        /// What it reaches; everything it ever reached when it reaches all.
        reach: Option<String>,
    },
}

impl Whose {
    fn condition(&self) -> Condition {
        match self {
            Self::All => Condition::all(),
            Self::Of { account, reach } => Condition::all()
                .add(exports::Column::Account.eq(account.as_str()))
                .add(exports::Column::Administrators.eq(0))
                .add_option(
                    reach
                        .as_ref()
                        .map(|reach| exports::Column::Reach.eq(reach.as_str())),
                ),
        }
    }
}

/// What of the list of exports, the newest first.
#[derive(Clone, Debug)]
pub struct ExportsPage {
    /// Whose.
    pub whose: Whose,
    /// Which part of them.
    pub part: Part,
}

impl ExportsPage {
    fn rows(&self) -> Select<exports::Entity> {
        exports::Entity::find().filter(self.whose.condition())
    }
}

/// An export by its id.
///
/// # Errors
/// When the table cannot be read.
pub async fn export(
    store: &Store,
    whose: &Whose,
    export_id: &str,
) -> Result<Option<ExportRow>, StoreError> {
    if export_id.contains('\0') {
        // no id has it, and PostgreSQL takes no such text
        return Ok(None);
    }
    let query = exports::Entity::find_by_id(export_id).filter(whose.condition());
    let store = store.of_primary();
    query.one(store.readers()).await.doing("read an export")
}

/// Exports, the newest first; those of a page from the end too.
///
/// # Errors
/// When the table cannot be read, or the allowance does not suffice.
pub async fn exports_page(
    store: &Store,
    page: &ExportsPage,
    (limit, allowance): (u64, &Allowance),
) -> Result<Vec<ExportRow>, StoreError> {
    let columns = (exports::Column::CreatedAt, exports::Column::ExportId);
    let query = page.part.of(page.rows(), columns).limit(limit);
    let store = store.of_primary();
    let rows = query.stream(store.readers()).await.doing("read exports")?;
    let rows = gathered(rows, (allowance, weight_bytes), "read exports").await?;
    Ok(page.part.in_order(rows))
}

/// How many exports there are on all pages.
///
/// # Errors
/// When the table cannot be read.
pub async fn exports_count(store: &Store, page: &ExportsPage) -> Result<u64, StoreError> {
    let count = page.rows().count(store.of_primary().readers()).await;
    count.doing("count exports")
}

/// Exports that wait, and those whose time is over by now and that have a file; the oldest first.
///
/// # Errors
/// When the table cannot be read.
pub async fn due(store: &Store, now: Instant) -> Result<Vec<ExportRow>, StoreError> {
    let state = exports::Column::State;
    let is_over = state.eq("DONE").and(exports::Column::ExpiresAt.lte(now.0));
    let query = exports::Entity::find()
        .filter(state.eq("QUEUED").or(is_over))
        .order_by_asc(exports::Column::CreatedAt)
        .order_by_asc(exports::Column::ExportId);
    query.all(store.readers()).await.doing("read exports")
}

/// When something last became of an export of each account that was begun or is over: roughly, when each had its
/// last turn.
///
/// # Errors
/// When the table cannot be read.
pub async fn turns(store: &Store) -> Result<HashMap<String, i64>, StoreError> {
    let changed = exports::Column::ChangedAt.max();
    let query = exports::Entity::find()
        .select_only()
        .column(exports::Column::Account)
        .column_as(changed, "changed_at")
        .filter(exports::Column::State.ne("QUEUED"))
        .group_by(exports::Column::Account);
    let turns = query.into_tuple::<(String, i64)>().all(store.readers());
    let turns = turns.await.doing("read whose turn it was")?;
    Ok(turns.into_iter().collect())
}

/// All exports in some states, the oldest first.
///
/// # Errors
/// When the table cannot be read.
pub async fn in_states(store: &Store, states: &[&str]) -> Result<Vec<ExportRow>, StoreError> {
    let query = exports::Entity::find()
        .filter(exports::Column::State.is_in(states.iter().copied()))
        .order_by_asc(exports::Column::CreatedAt)
        .order_by_asc(exports::Column::ExportId);
    query.all(store.readers()).await.doing("read exports")
}

/// Bytes that an export takes in memory, roughly.
fn weight_bytes(row: &ExportRow) -> usize {
    size_of::<ExportRow>() + 2 * row.asked.len() + row.reach.len()
}
