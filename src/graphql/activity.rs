//! What people do: their sessions, the pages that they see, what they search for, and what each of them does.
//!
//! Activity is of no site, so that whoever is bound to sites or to a device is answered as if there were
//! none.

use std::sync::Arc;

use async_graphql::{Context, Error, Object, SimpleObject};
use tokio::sync::OwnedSemaphorePermit;

use super::error::too_much;
use super::listed::at_most;
use super::order::InOrder;
use super::scalars::{DateTime, Long};
use super::series_input::reversed;
use super::types::{PAGE_DEFAULT, PAGE_MAX};
use super::words::{Provenances, Shown};
use super::{access, api, loaders, of_failed, take};
use crate::event::{Instant, Provenance};
use crate::history::Within;
use crate::history::activity::{self, Counted, Ends, PageRow, SearchRow, Tally};

/// Days of a range when none is given.
const DAYS_DEFAULT: i64 = 7;
/// Days at most of a range.
const DAYS_MAX: i64 = 400;
const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// A page that people saw.
#[derive(Debug, SimpleObject)]
struct PageUse {
    /// Its address, as it was told.
    page_url: String,
    /// How often it was seen.
    views: Long,
    /// By how many users; those who were not named are not counted.
    users: Long,
    /// In how many sessions.
    sessions: Long,
    /// How long it was looked at, in milliseconds: the median of its views. A view lasts as long as was
    /// told, or else until the next page of its session was seen; one of more than 30 minutes, and the last
    /// of a session, is not known. Null when none is.
    median_view_ms: Option<f64>,
}

/// Pages that people saw.
#[derive(Debug, SimpleObject)]
struct TopPages {
    /// The first instant of the range.
    from: DateTime,
    /// The first instant after the range.
    to: DateTime,
    /// Where what was counted comes from; null when there is nothing.
    provenance: Option<Shown<Provenances>>,
    /// The pages, those first that were seen most.
    nodes: Vec<InOrder<PageUse>>,
}

/// A text that people searched for.
#[derive(Debug, SimpleObject)]
struct SearchUse {
    /// The text, as it was told.
    query: String,
    /// How often it was searched for.
    searches: Long,
    /// By how many users; those who were not named are not counted.
    users: Long,
    /// In how many sessions.
    sessions: Long,
}

/// What people searched for.
#[derive(Debug, SimpleObject)]
struct TopSearches {
    /// The first instant of the range.
    from: DateTime,
    /// The first instant after the range.
    to: DateTime,
    /// Where what was counted comes from; null when there is nothing.
    provenance: Option<Shown<Provenances>>,
    /// The texts, those first that were searched for most.
    nodes: Vec<InOrder<SearchUse>>,
}

/// What a user did.
#[derive(Debug, SimpleObject)]
struct UserUse {
    /// The user.
    user_id: String,
    /// The first time in the range that something was done.
    first_at: DateTime,
    /// The last time.
    last_at: DateTime,
    /// Everything that was done.
    events: Long,
    /// Of it, pages seen.
    page_views: Long,
    /// Buttons pressed.
    button_clicks: Long,
    /// Searches.
    search_queries: Long,
    /// Forms sent.
    form_submits: Long,
    /// In how many sessions.
    sessions: Long,
}

/// What users did.
#[derive(Debug, SimpleObject)]
struct ActivityByUser {
    /// The first instant of the range.
    from: DateTime,
    /// The first instant after the range.
    to: DateTime,
    /// Where what was counted comes from; null when there is nothing.
    provenance: Option<Shown<Provenances>>,
    /// The users, those first who did most.
    nodes: Vec<InOrder<UserUse>>,
}

/// What was done in a session, as far as it is in the range.
#[derive(Debug, SimpleObject)]
struct UserSession {
    /// Its id.
    session_id: String,
    /// The user, as last named in it; null when nobody was.
    user_id: Option<String>,
    /// The first time that something was done in it.
    first_at: DateTime,
    /// The last time.
    last_at: DateTime,
    /// From the first time to the last, in milliseconds.
    duration_ms: Long,
    /// Everything that was done.
    events: Long,
    /// Of it, pages seen.
    page_views: Long,
    /// The page that was seen first; null when none was.
    entry_page: Option<String>,
    /// The page that was seen last; null when none was.
    exit_page: Option<String>,
}

/// Sessions of users.
#[derive(Debug, SimpleObject)]
struct UserSessions {
    /// The first instant of the range.
    from: DateTime,
    /// The first instant after the range.
    to: DateTime,
    /// Where what was counted comes from; null when there is nothing.
    provenance: Option<Shown<Provenances>>,
    /// The sessions, that first in which something was done last.
    nodes: Vec<InOrder<UserSession>>,
}

/// What is asked for, as it is given.
struct Asked {
    from: Option<DateTime>,
    to: Option<DateTime>,
    first: Option<i32>,
    provenance: Option<Shown<Provenances>>,
}

/// What is answered, and what is counted for it if there is anything.
struct Range {
    from: Instant,
    to: Instant,
    counted: Option<Counted>,
    /// That it is read, as long as it is.
    turn: Option<OwnedSemaphorePermit>,
}

impl Range {
    async fn of(ctx: &Context<'_>, asked: Asked) -> Result<Self, Error> {
        let first = asked.first.map(|first| at_most("`first`", first, PAGE_MAX));
        let first = first.transpose()?.unwrap_or(PAGE_DEFAULT);
        // what happens at this moment is in it
        let now = api(ctx).ingest.clock().now();
        let to = asked.to.map_or(Instant(now.0.saturating_add(1)), |to| to.0);
        let from = asked.from.map(|from| from.0);
        let from = from.unwrap_or_else(|| to.plus_ms(-DAYS_DEFAULT * DAY_MS));
        if from >= to {
            return Err(reversed(DateTime(from), asked.to, now));
        }
        if from.plus_ms(DAYS_MAX * DAY_MS) < to {
            let message = format!("from `from` to `to` it is more than {DAYS_MAX} days");
            return Err(too_much(message));
        }
        let mut range = Self {
            from,
            to,
            counted: None,
            turn: None,
        };
        if access::within(ctx).await? != Within::Whole {
            return Ok(range);
        }
        range.turn = Arc::clone(&api(ctx).counting).acquire_owned().await.ok();
        let given = asked.provenance.map(|word| word.word());
        let mut provenance = given.as_deref().and_then(Provenance::of_word);
        if provenance.is_none() {
            let order = api(ctx).preferred.order();
            let found = activity::provenance(api(ctx).store(), order, (from, to)).await;
            provenance = found.map_err(|error| of_failed(api(ctx), &error))?;
        }
        let limit = i64::try_from(first).unwrap_or_default();
        range.counted = provenance.map(|provenance| Counted {
            from,
            to,
            provenance,
            limit,
        });
        Ok(range)
    }

    fn provenance(&self) -> Option<Shown<Provenances>> {
        let counted = self.counted.as_ref();
        counted.map(|counted| Shown::new(counted.provenance.word()))
    }
}

/// Counts rows that are answered, with the bytes of their texts.
fn told<'a>(
    ctx: &Context<'_>,
    rows: usize,
    texts: impl Iterator<Item = &'a String>,
) -> Result<(), Error> {
    loaders(ctx).count(rows)?;
    let bytes: usize = texts.map(String::len).sum();
    take(ctx, bytes + rows * size_of::<Tally>())
}

/// The queries of what people do.
#[derive(Debug)]
pub(super) struct Activity;

#[Object]
impl Activity {
    /// The pages that people saw most in a range of at most 400 days.
    #[expect(clippy::too_many_arguments, reason = "they are those of every count")]
    async fn top_pages(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first instant of the range; 7 days before its end when left out.")]
        from: Option<DateTime>,
        #[graphql(desc = "The first instant after the range; now when left out.")] to: Option<
            DateTime,
        >,
        #[graphql(desc = "Pages at most: 50 when left out, 1,000 at most.")] first: Option<i32>,
        #[graphql(
            desc = "What is counted; left out, REAL if there is any, else CONTROLLED, else \
            SIMULATED; on a demo SIMULATED first."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<InOrder<TopPages>>, Error> {
        let asked = Asked {
            from,
            to,
            first,
            provenance,
        };
        let range = Range::of(ctx, asked).await?;
        let nodes = match &range.counted {
            Some(counted) => pages(ctx, counted).await?,
            None => Vec::new(),
        };
        Ok(Some(InOrder(TopPages {
            from: DateTime(range.from),
            to: DateTime(range.to),
            provenance: range.provenance(),
            nodes,
        })))
    }

    /// What people searched for most in a range of at most 400 days.
    #[expect(clippy::too_many_arguments, reason = "they are those of every count")]
    async fn top_searches(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first instant of the range; 7 days before its end when left out.")]
        from: Option<DateTime>,
        #[graphql(desc = "The first instant after the range; now when left out.")] to: Option<
            DateTime,
        >,
        #[graphql(desc = "Texts at most: 50 when left out, 1,000 at most.")] first: Option<i32>,
        #[graphql(
            desc = "What is counted; left out, REAL if there is any, else CONTROLLED, else \
            SIMULATED; on a demo SIMULATED first."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<InOrder<TopSearches>>, Error> {
        let asked = Asked {
            from,
            to,
            first,
            provenance,
        };
        let range = Range::of(ctx, asked).await?;
        let nodes = match &range.counted {
            Some(counted) => {
                let rows = activity::searches(api(ctx).store(), counted).await;
                let rows = rows.map_err(|error| of_failed(api(ctx), &error))?;
                told(ctx, rows.len(), rows.iter().map(|row| &row.query))?;
                rows.into_iter().map(SearchUse::of).map(InOrder).collect()
            }
            None => Vec::new(),
        };
        Ok(Some(InOrder(TopSearches {
            from: DateTime(range.from),
            to: DateTime(range.to),
            provenance: range.provenance(),
            nodes,
        })))
    }

    /// What each user did in a range of at most 400 days, those first who did most. Who was not named is not
    /// among them.
    #[expect(clippy::too_many_arguments, reason = "they are those of every count")]
    async fn activity_by_user(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first instant of the range; 7 days before its end when left out.")]
        from: Option<DateTime>,
        #[graphql(desc = "The first instant after the range; now when left out.")] to: Option<
            DateTime,
        >,
        #[graphql(desc = "Users at most: 50 when left out, 1,000 at most.")] first: Option<i32>,
        #[graphql(
            desc = "What is counted; left out, REAL if there is any, else CONTROLLED, else \
            SIMULATED; on a demo SIMULATED first."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<InOrder<ActivityByUser>>, Error> {
        let asked = Asked {
            from,
            to,
            first,
            provenance,
        };
        let range = Range::of(ctx, asked).await?;
        let nodes = match &range.counted {
            Some(counted) => {
                let rows = activity::users(api(ctx).store(), counted).await;
                let rows = rows.map_err(|error| of_failed(api(ctx), &error))?;
                told(ctx, rows.len(), rows.iter().map(|row| &row.id))?;
                rows.into_iter().map(UserUse::of).map(InOrder).collect()
            }
            None => Vec::new(),
        };
        Ok(Some(InOrder(ActivityByUser {
            from: DateTime(range.from),
            to: DateTime(range.to),
            provenance: range.provenance(),
            nodes,
        })))
    }

    /// The sessions in which something was done in a range of at most 400 days, that first in which
    /// something was done last. For those before them, `to` is the `lastAt` of the last of these.
    #[expect(clippy::too_many_arguments, reason = "they are those of every count")]
    async fn user_sessions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Those alone in which this user was named.")] user_id: Option<String>,
        #[graphql(desc = "The first instant of the range; 7 days before its end when left out.")]
        from: Option<DateTime>,
        #[graphql(desc = "The first instant after the range; now when left out.")] to: Option<
            DateTime,
        >,
        #[graphql(desc = "Sessions at most: 50 when left out, 1,000 at most.")] first: Option<i32>,
        #[graphql(
            desc = "What is counted; left out, REAL if there is any, else CONTROLLED, else \
            SIMULATED; on a demo SIMULATED first."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<InOrder<UserSessions>>, Error> {
        let asked = Asked {
            from,
            to,
            first,
            provenance,
        };
        let range = Range::of(ctx, asked).await?;
        let nodes = match &range.counted {
            Some(counted) => sessions(ctx, counted, user_id.as_deref()).await?,
            None => Vec::new(),
        };
        Ok(Some(InOrder(UserSessions {
            from: DateTime(range.from),
            to: DateTime(range.to),
            provenance: range.provenance(),
            nodes,
        })))
    }
}

async fn pages(ctx: &Context<'_>, counted: &Counted) -> Result<Vec<InOrder<PageUse>>, Error> {
    let (store, failed) = (api(ctx).store(), |error| of_failed(api(ctx), &error));
    let rows = activity::pages(store, counted).await.map_err(failed)?;
    told(ctx, rows.len(), rows.iter().map(|row| &row.page_url))?;
    let median = ctx.look_ahead().field("nodes").field("medianViewMs");
    let stays = if median.exists() {
        let urls = rows.iter().map(|row| row.page_url.clone()).collect();
        let stays = activity::stays(store, counted, urls).await;
        stays.map_err(failed)?
    } else {
        std::collections::HashMap::new()
    };
    let page = |row: PageRow| {
        InOrder(PageUse {
            median_view_ms: stays.get(&row.page_url).copied(),
            page_url: row.page_url,
            views: Long(row.views),
            users: Long(row.users),
            sessions: Long(row.sessions),
        })
    };
    Ok(rows.into_iter().map(page).collect())
}

async fn sessions(
    ctx: &Context<'_>,
    counted: &Counted,
    user_id: Option<&str>,
) -> Result<Vec<InOrder<UserSession>>, Error> {
    let (store, failed) = (api(ctx).store(), |error| of_failed(api(ctx), &error));
    let rows = activity::sessions(store, counted, user_id).await;
    let rows = rows.map_err(failed)?;
    told(ctx, rows.len(), rows.iter().map(|row| &row.id))?;
    let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    let ends = activity::ends(store, counted, &ids).await;
    let mut ends = ends.map_err(failed)?;
    let texts = ends
        .values()
        .flat_map(|ends| [&ends.user_id, &ends.entry, &ends.exit]);
    told(ctx, 0, texts.flatten())?;
    let session = |row: Tally| {
        let ends = ends.remove(&row.id).unwrap_or_default();
        InOrder(UserSession::of(row, ends))
    };
    Ok(rows.into_iter().map(session).collect())
}

impl SearchUse {
    fn of(row: SearchRow) -> Self {
        Self {
            query: row.query,
            searches: Long(row.searches),
            users: Long(row.users),
            sessions: Long(row.sessions),
        }
    }
}

impl UserUse {
    fn of(row: Tally) -> Self {
        Self {
            user_id: row.id,
            first_at: DateTime(row.first_at),
            last_at: DateTime(row.last_at),
            events: Long(row.events),
            page_views: Long(row.page_views),
            button_clicks: Long(row.clicks),
            search_queries: Long(row.searches),
            form_submits: Long(row.forms),
            sessions: Long(row.sessions),
        }
    }
}

impl UserSession {
    fn of(row: Tally, ends: Ends) -> Self {
        Self {
            session_id: row.id,
            user_id: ends.user_id,
            first_at: DateTime(row.first_at),
            last_at: DateTime(row.last_at),
            duration_ms: Long((row.last_at.0 - row.first_at.0) / 1_000),
            events: Long(row.events),
            page_views: Long(row.page_views),
            entry_page: ends.entry,
            exit_page: ends.exit,
        }
    }
}
