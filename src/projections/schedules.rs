//! The rows of each site's schedule that hold now: the newest for each day counts.

use entity::site_operating_schedules::Column;
use futures_util::future::BoxFuture;
use sea_orm::DatabaseTransaction;

use super::upsert::{newest, upsert};
use crate::event::{Event, Fact};
use crate::kinds::Kind;
use crate::store::{Fold, StoreError};

/// Folds schedules into `current_schedules`.
#[derive(Debug)]
pub(super) struct Schedules;

impl Fold for Schedules {
    fn name(&self) -> &'static str {
        "schedules"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::SiteSchedule]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["current_schedules"]
    }

    fn changes(&self, fact: &Fact) -> Option<String> {
        let site = fact.cell(Column::SiteKey).text();
        Some(entity_of(site.unwrap_or_default(), day_of(fact)))
    }

    fn apply<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        events: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let newest = newest(events.iter().copied(), |event| {
                let site = event.fact.cell(Column::SiteKey).int()?;
                Some((site, day_of(&event.fact)))
            });
            let rows = newest.into_iter().map(|((site, day), event)| {
                vec![
                    site.into(),
                    day.into(),
                    event.fact.occurred_at.0.into(),
                    event.position.0.into(),
                ]
            });
            upsert(tx, INSERT, rows.collect(), MERGE).await
        })
    }
}

/// Name under which the changes of a site's hours on a day are counted.
pub(crate) fn entity_of(site_id: &str, day: &str) -> String {
    format!("schedule/{site_id}/{day}")
}

/// The day of the week or the date of which a row of a schedule speaks.
pub(crate) fn day_of(fact: &Fact) -> &str {
    let day = fact.cell(Column::DayOfWeek).text();
    day.or(fact.cell(Column::Date).text()).unwrap_or_default()
}

const INSERT: &str = "INSERT INTO current_schedules (site_key, day, occurred_at, position)";
const MERGE: &str = "ON CONFLICT (site_key, day) DO UPDATE SET \
    occurred_at = excluded.occurred_at, position = excluded.position \
    WHERE (excluded.occurred_at, excluded.position) > \
    (current_schedules.occurred_at, current_schedules.position)";
