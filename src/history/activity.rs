//! What people do, counted from the log over a range of time: by page, by search, by user, by session.
//!
//! The statements are texts: they group and number rows in windows, for which the library has no words, and
//! are the same on both databases. Each reads the activity of its range by the index on its time.

use std::collections::HashMap;

use sea_orm::{DbErr, QueryResult};

use crate::event::{Instant, Provenance};
use crate::kinds::Kind;
use crate::store::{Doing, List, Sql, Store, StoreError};

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// From this instant on.
    pub from: Instant,
    /// Before this instant.
    pub to: Instant,
    /// Where it comes from.
    pub provenance: Provenance,
    /// Rows at most.
    pub limit: i64,
}

/// How long at most somebody is taken to look at a page: after as long a session ends.
const STAY_MS_MAX: i64 = 30 * 60 * 1_000;

/// How often a page was seen.
#[derive(Clone, Debug)]
pub struct PageRow {
    /// Its address.
    pub page_url: String,
    /// How often.
    pub views: i64,
    /// By how many users that are known.
    pub users: i64,
    /// In how many sessions.
    pub sessions: i64,
}

/// How often a text was searched for.
#[derive(Clone, Debug)]
pub struct SearchRow {
    /// The text.
    pub query: String,
    /// How often.
    pub searches: i64,
    /// By how many users that are known.
    pub users: i64,
    /// In how many sessions.
    pub sessions: i64,
}

/// What a user or a session came to.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Of what.
    pub id: String,
    /// The first time.
    pub first_at: Instant,
    /// The last time.
    pub last_at: Instant,
    /// Everything that was done.
    pub events: i64,
    /// Of it, pages seen.
    pub page_views: i64,
    /// Buttons pressed.
    pub clicks: i64,
    /// Searches.
    pub searches: i64,
    /// Forms sent.
    pub forms: i64,
    /// Sessions.
    pub sessions: i64,
}

/// Who had a session, and where it began and ended.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// The user, as last told.
    pub user_id: Option<String>,
    /// The page that was seen first.
    pub entry: Option<String>,
    /// The page that was seen last.
    pub exit: Option<String>,
}

/// Where the activity of a range comes from that is counted when nothing else is asked for: the first in an order
/// of which there is any.
///
/// # Errors
/// When the log cannot be read.
pub async fn provenance(
    store: &Store,
    order: [Provenance; 3],
    (from, to): (Instant, Instant),
) -> Result<Option<Provenance>, StoreError> {
    for provenance in order {
        let limit = 1;
        let mut sql = Sql::new("SELECT 1 FROM user_activity");
        let of = Counted {
            from,
            to,
            provenance,
            limit,
        };
        during(&mut sql, &of);
        sql.push(" LIMIT 1");
        if !rows(store, &of, || sql.clone()).await?.is_empty() {
            return Ok(Some(provenance));
        }
    }
    Ok(None)
}

/// The pages that were seen most, those first.
///
/// # Errors
/// When the log cannot be read.
pub async fn pages(store: &Store, of: &Counted) -> Result<Vec<PageRow>, StoreError> {
    let mut sql = Sql::new(
        "SELECT page_url, count(*), count(DISTINCT user_id), count(DISTINCT session_id) \
         FROM user_activity",
    );
    during(&mut sql, of);
    sql.push(" AND activity_type = 'PAGE_VIEW' AND page_url IS NOT NULL GROUP BY page_url");
    most(&mut sql, "page_url", of);
    let page = |row: &QueryResult| -> Result<PageRow, DbErr> {
        Ok(PageRow {
            page_url: row.try_get_by_index(0)?,
            views: row.try_get_by_index(1)?,
            users: row.try_get_by_index(2)?,
            sessions: row.try_get_by_index(3)?,
        })
    };
    let rows = rows(store, of, || sql.clone()).await?;
    rows.iter().map(page).collect::<Result<_, _>>().doing(DOING)
}

/// How long people looked at pages, in milliseconds: the median for each of some pages. A view lasts as long
/// as was told, or else until the next page of its session is seen; of the last page of a session that
/// is not known.
///
/// # Errors
/// When the log cannot be read.
pub async fn stays(
    store: &Store,
    of: &Counted,
    page_urls: Vec<String>,
) -> Result<HashMap<String, f64>, StoreError> {
    let mut sql = Sql::new(
        "SELECT page_url, CAST(avg(ms) AS DOUBLE PRECISION) FROM (SELECT page_url, ms, \
         row_number() OVER (PARTITION BY page_url ORDER BY ms) AS ordinal, \
         count(*) OVER (PARTITION BY page_url) AS in_all FROM (SELECT page_url, \
         coalesce(duration_ms, (lead(occurred_at) OVER (PARTITION BY session_id \
         ORDER BY occurred_at, position) - occurred_at) / 1000) AS ms FROM user_activity",
    );
    during(&mut sql, of);
    sql.push(" AND activity_type = 'PAGE_VIEW' AND page_url IS NOT NULL ");
    sql.push("AND session_id IS NOT NULL) AS stays WHERE ms BETWEEN 0 AND ");
    sql.bind(STAY_MS_MAX).push(" AND ");
    sql.among("page_url", List::Text(page_urls));
    sql.push(
        ") AS numbered WHERE ordinal IN ((in_all + 1) / 2, (in_all + 2) / 2) GROUP BY page_url",
    );
    let stay = |row: &QueryResult| -> Result<(String, f64), DbErr> {
        Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))
    };
    let rows = rows(store, of, || sql.clone()).await?;
    rows.iter().map(stay).collect::<Result<_, _>>().doing(DOING)
}

/// What was searched for most, that first.
///
/// # Errors
/// When the log cannot be read.
pub async fn searches(store: &Store, of: &Counted) -> Result<Vec<SearchRow>, StoreError> {
    let mut sql = Sql::new(
        "SELECT search_query, count(*), count(DISTINCT user_id), count(DISTINCT session_id) \
         FROM user_activity",
    );
    during(&mut sql, of);
    sql.push(" AND activity_type = 'SEARCH_QUERY' AND search_query IS NOT NULL");
    sql.push(" GROUP BY search_query");
    most(&mut sql, "search_query", of);
    let search = |row: &QueryResult| -> Result<SearchRow, DbErr> {
        Ok(SearchRow {
            query: row.try_get_by_index(0)?,
            searches: row.try_get_by_index(1)?,
            users: row.try_get_by_index(2)?,
            sessions: row.try_get_by_index(3)?,
        })
    };
    let rows = rows(store, of, || sql.clone()).await?;
    let searches = rows.iter().map(search);
    searches.collect::<Result<_, _>>().doing(DOING)
}

/// What each user did, those first who did most.
///
/// # Errors
/// When the log cannot be read.
pub async fn users(store: &Store, of: &Counted) -> Result<Vec<Tally>, StoreError> {
    let mut sql = tally("user_id", of);
    sql.push(" GROUP BY user_id");
    most(&mut sql, "user_id", of);
    tallied(store, of, sql).await
}

/// The sessions, or those of a user, that first in which something was done last.
///
/// # Errors
/// When the log cannot be read.
pub async fn sessions(
    store: &Store,
    of: &Counted,
    user_id: Option<&str>,
) -> Result<Vec<Tally>, StoreError> {
    let mut sql = tally("session_id", of);
    if let Some(user_id) = user_id {
        sql.push(" AND session_id IN (SELECT session_id FROM user_activity");
        during(&mut sql, of);
        sql.push(" AND user_id = ").bind(user_id).push(")");
    }
    sql.push(" GROUP BY session_id ORDER BY max(occurred_at) DESC, max(position) DESC LIMIT ");
    sql.bind(of.limit);
    tallied(store, of, sql).await
}

/// Who had sessions, and where these began and ended, by their ids.
///
/// # Errors
/// When the log cannot be read.
pub async fn ends(
    store: &Store,
    of: &Counted,
    session_ids: &[String],
) -> Result<HashMap<String, Ends>, StoreError> {
    let mut ends: HashMap<String, Ends> = HashMap::new();
    for (column, condition) in [
        ("page_url", "activity_type = 'PAGE_VIEW'"),
        ("user_id", "TRUE"),
    ] {
        let mut sql = Sql::new("SELECT session_id, ");
        sql.push(column)
            .push(", from_start, from_end FROM (SELECT session_id, ");
        sql.push(column);
        sql.push(", row_number() OVER (PARTITION BY session_id ORDER BY occurred_at, position)");
        sql.push(" AS from_start, row_number() OVER (PARTITION BY session_id");
        sql.push(" ORDER BY occurred_at DESC, position DESC) AS from_end FROM user_activity");
        during(&mut sql, of);
        sql.push(" AND ").push(condition).push(" AND ").push(column);
        sql.push(" IS NOT NULL AND ");
        sql.among("session_id", List::Text(session_ids.to_vec()));
        sql.push(") AS numbered WHERE from_start = 1 OR from_end = 1");
        for row in rows(store, of, || sql.clone()).await? {
            let id: String = row.try_get_by_index(0).doing(DOING)?;
            let text: String = row.try_get_by_index(1).doing(DOING)?;
            let first: i64 = row.try_get_by_index(2).doing(DOING)?;
            let last: i64 = row.try_get_by_index(3).doing(DOING)?;
            let of = ends.entry(id).or_default();
            match (column, first, last) {
                ("user_id", _, 1) => of.user_id = Some(text),
                ("user_id", ..) => {}
                (_, 1, 1) => (of.entry, of.exit) = (Some(text.clone()), Some(text)),
                (_, 1, _) => of.entry = Some(text),
                (..) => of.exit = Some(text),
            }
        }
    }
    Ok(ends)
}

const DOING: &str = "count what people do";

/// The rows of a statement over all that was done within a range, archived or not.
async fn rows(
    store: &Store,
    of: &Counted,
    statement: impl Fn() -> Sql + Send + Sync,
) -> Result<Vec<QueryResult>, StoreError> {
    let range = (Kind::UserActivity, of.from, of.to);
    store.query_within(range, statement, DOING).await
}

/// The condition on what is counted.
fn during(sql: &mut Sql, of: &Counted) {
    sql.push(" WHERE occurred_at >= ").bind(of.from.0);
    sql.push(" AND occurred_at < ").bind(of.to.0);
    sql.push(" AND provenance = ").bind(of.provenance.code());
}

/// Those first of which there is most; of as much, in the order of their bytes on both databases.
fn most(sql: &mut Sql, column: &str, of: &Counted) {
    sql.push(" ORDER BY count(*) DESC, ")
        .push(column)
        .bytewise();
    sql.push(" LIMIT ").bind(of.limit);
}

fn tally(column: &str, of: &Counted) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(column)
        .push(", min(occurred_at), max(occurred_at), count(*)");
    for word in ["PAGE_VIEW", "BUTTON_CLICK", "SEARCH_QUERY", "FORM_SUBMIT"] {
        sql.push(", count(*) FILTER (WHERE activity_type = '");
        sql.push(word).push("')");
    }
    sql.push(", count(DISTINCT session_id) FROM user_activity");
    during(&mut sql, of);
    sql.push(" AND ").push(column).push(" IS NOT NULL");
    sql
}

async fn tallied(store: &Store, of: &Counted, sql: Sql) -> Result<Vec<Tally>, StoreError> {
    let tally = |row: &QueryResult| -> Result<Tally, DbErr> {
        Ok(Tally {
            id: row.try_get_by_index(0)?,
            first_at: Instant(row.try_get_by_index(1)?),
            last_at: Instant(row.try_get_by_index(2)?),
            events: row.try_get_by_index(3)?,
            page_views: row.try_get_by_index(4)?,
            clicks: row.try_get_by_index(5)?,
            searches: row.try_get_by_index(6)?,
            forms: row.try_get_by_index(7)?,
            sessions: row.try_get_by_index(8)?,
        })
    };
    let rows = rows(store, of, || sql.clone()).await?;
    let tallies = rows.iter().map(tally);
    tallies.collect::<Result<_, _>>().doing(DOING)
}
