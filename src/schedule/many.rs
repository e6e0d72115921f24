//! The hours of many days of many sites are set by one command: all of them or none.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use entity::site_operating_schedules::Column;
use uuid::Uuid;

use super::{DECISIONS_MAX, ScheduleError};
use crate::event::{Instant, NewEvent};
use crate::history::schedules;
use crate::ingest::Ingest;
use crate::kinds::{Code, Refusal, check};
use crate::projections::schedules::{day_of, entity_of};
use crate::store::{AppendError, EntityType, Expect, Outcome, Store, StoreError};

/// Why none of many rows was set.
#[derive(Debug)]
pub enum ManyError {
    /// Some of them are not as they must be: the index of each, and why.
    Rows(Vec<(usize, Refusal)>),
    /// The command as a whole was not done.
    Whole(ScheduleError),
}

impl<E: Into<ScheduleError>> From<E> for ManyError {
    fn from(error: E) -> Self {
        Self::Whole(error.into())
    }
}

/// A row that may be set: its site by key, its site by id, and its day.
type Day = (i64, String, String);

/// Sets the hours of sites on days, at most as many as a request has events, and answers each row in their
/// order. They hold from now on, also when those before are from a source whose clock is ahead. A repeat
/// with the same id does nothing.
///
/// # Errors
/// When a row is out of bounds, names a site that is not registered, or is of the same day of the same site
/// as another; when the id was used for other rows; when the hours cannot be recorded. Nothing is then.
pub async fn set_many(
    ingest: &Ingest,
    rows: Vec<Result<NewEvent, Refusal>>,
    command: Option<Uuid>,
) -> Result<Vec<Outcome>, ManyError> {
    let store = ingest.store();
    let (mut rows, days) = checked(store, rows, command).await?;
    let once = command.map(|id| Expect::changing(format!("command/{id}"), 0));
    let names: Vec<String> = days.iter().map(|(_, id, day)| entity_of(id, day)).collect();
    let sites: BTreeSet<i64> = days.iter().map(|(site, ..)| *site).collect();
    let sites: Vec<i64> = sites.into_iter().collect();
    let of_sites: BTreeSet<&String> = days.iter().map(|(.., day)| day).collect();
    let of_sites: Vec<String> = of_sites.into_iter().cloned().collect();
    for _ in 0..DECISIONS_MAX {
        // before what holds is read, so that a change after it is noticed
        let versions = store.versions(names.clone()).await?;
        let holding = holding(store, &sites, &of_sites).await?;
        let now = ingest.clock().now();
        for (row, (site, _, day)) in rows.iter_mut().zip(&days) {
            let since = holding.get(&(*site, day.clone()));
            let since = since.map_or(0, |occurred_at| occurred_at + 1);
            row.fact.occurred_at = now.max(Instant(since));
        }
        let expected = names.iter().map(|entity| {
            let version = versions.get(entity).copied().unwrap_or(0);
            Expect::changing(entity.clone(), version)
        });
        let expected = once.clone().into_iter().chain(expected);
        let appended = match ingest.command(rows.clone(), expected).await {
            Err(AppendError::Stale { entity, .. }) => {
                if once.as_ref().is_some_and(|once| once.entity == entity) {
                    return Err(ScheduleError::OtherRepeat.into());
                }
                continue;
            }
            appended => appended?,
        };
        return answered(appended.outcomes);
    }
    Err(ScheduleError::Contended.into())
}

/// The rows with their ids, and the days that they are of.
async fn checked(
    store: &Store,
    rows: Vec<Result<NewEvent, Refusal>>,
    command: Option<Uuid>,
) -> Result<(Vec<NewEvent>, Vec<Day>), ManyError> {
    let (mut events, mut days, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    let mut met: BTreeMap<Day, usize> = BTreeMap::new();
    for (index, row) in rows.into_iter().enumerate() {
        let row = row.and_then(|mut row| check(&mut row.fact).map(|()| row));
        let mut row = match row {
            Ok(row) => row,
            Err(refusal) => {
                refused.push((index, refusal));
                continue;
            }
        };
        let site = row.fact.cell(Column::SiteKey).text();
        let site = site.unwrap_or_default().to_owned();
        let Some(key) = store.key(EntityType::Site, &site).await? else {
            refused.push((index, unknown_site()));
            continue;
        };
        let day: Day = (key, site, day_of(&row.fact).to_owned());
        if let Some(first) = met.insert(day.clone(), index) {
            refused.push((index, same_day(&row, first)));
        }
        let id = command.map(|id| Uuid::new_v5(&id, index.to_string().as_bytes()));
        row.fact.event_id = id;
        // a repeat comes later and is the same command all the same
        row.occurred_at_given = false;
        events.push(row);
        days.push(day);
    }
    if refused.is_empty() {
        Ok((events, days))
    } else {
        Err(ManyError::Rows(refused))
    }
}

/// What is said of a site that is not registered, or out of reach, which is the same.
pub(crate) fn unknown_site() -> Refusal {
    let message = "siteId names no registered site";
    Refusal::of("siteId", Code::UnknownSite, message)
}

fn same_day(row: &NewEvent, first: usize) -> Refusal {
    let has_date = !row.fact.cell(Column::Date).is_null();
    let field = if has_date { "date" } else { "dayOfWeek" };
    let message = format!("row {first} is of the same day of the same site");
    Refusal::of(field, Code::Invalid, message)
}

/// Since when the hours of some sites hold on some days, by site and day.
async fn holding(
    store: &Store,
    sites: &[i64],
    days: &[String],
) -> Result<HashMap<(i64, String), i64>, StoreError> {
    let allowance = Store::own_allowance();
    let rows = schedules::current_schedules(store, sites, Some(days), &allowance).await?;
    let since = |row: entity::current_schedules::Model| ((row.site_key, row.day), row.occurred_at);
    Ok(rows.into_iter().map(since).collect())
}

/// The outcomes, if none is a refusal. All was checked before, so that a refusal here is of all rows: the
/// ids are new or the rows are a repeat.
fn answered(outcomes: Vec<Outcome>) -> Result<Vec<Outcome>, ManyError> {
    for (index, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Outcome::Rejected(refusal) => {
                return Err(ManyError::Rows(vec![(index, refusal.clone())]));
            }
            Outcome::Conflict(_) => return Err(ScheduleError::OtherRepeat.into()),
            Outcome::Recorded(_) | Outcome::Duplicate(_) => {}
        }
    }
    Ok(outcomes)
}
