//! Schedules: the hours of a site on a day of the week or on a date are set, one day at a time or many at
//! once, and what they mean is read from them as a [`Calendar`].

mod calendar;
mod dates;
mod local;
mod many;

use entity::site_operating_schedules::Column;
use thiserror::Error;
use uuid::Uuid;

use crate::configuration::is_of;
use crate::event::{Instant, NewEvent};
use crate::history::schedules;
use crate::ingest::Ingest;
use crate::kinds::{Refusal, check};
use crate::projections::schedules::{day_of, entity_of};
use crate::store::{AppendError, EntityType, Expect, Outcome, StoreError};

pub(crate) use calendar::first_shown;
pub use calendar::{
    Applied, Calendar, Hours, Interval, RANGE_DAYS_MAX, RangeError, Status, Window,
};
pub use dates::Dates;
pub(crate) use local::Said;
pub(crate) use many::unknown_site;
pub use many::{ManyError, set_many};

/// How often hours are set anew when somebody else has set them meanwhile.
const DECISIONS_MAX: usize = 8;

/// Why hours were not set.
#[derive(Debug, Error)]
pub enum ScheduleError {
    /// Others set them each time that they were read.
    #[error("the hours of that day were set by others at the same time; try again")]
    Contended,
    /// They are not what the caller has read.
    #[error("the hours of that day have changed: their version is {version}")]
    Stale {
        /// Position of the row that holds now; 0 for none.
        version: i64,
    },
    /// The key was used before for other hours.
    #[error("the idempotency key was used before for other hours")]
    OtherRepeat,
    /// One of the values is out of bounds.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The log cannot be read.
    #[error("cannot read the schedule")]
    Store(#[from] StoreError),
    /// The log cannot be written.
    #[error("cannot record the schedule")]
    Append(#[from] AppendError),
}

/// Sets the hours of a site on a day. They hold from now on, also when those before are from a
/// source whose clock is ahead. A repeat with the same id does nothing.
///
/// # Errors
/// When there is no such site, a value is out of bounds, or the hours cannot be recorded.
pub async fn set(
    ingest: &Ingest,
    mut hours: NewEvent,
    (event_id, expected): (Option<Uuid>, Option<i64>),
) -> Result<Outcome, ScheduleError> {
    check(&mut hours.fact).map_err(ScheduleError::Refused)?;
    hours.fact.event_id = event_id;
    // a repeat comes later and is the same command all the same
    hours.occurred_at_given = false;
    let store = ingest.store();
    let site = hours.fact.cell(Column::SiteKey).text();
    let site = site.unwrap_or_default().to_owned();
    let day = day_of(&hours.fact).to_owned();
    for _ in 0..DECISIONS_MAX {
        let expect = Expect::changing(
            entity_of(&site, &day),
            store.version(&entity_of(&site, &day)).await?,
        );
        // a site that is not registered has no hours, and is refused as the event is placed
        let since = match store.key(EntityType::Site, &site).await? {
            Some(key) => schedules::scheduled(store, key, &day).await?,
            None => None,
        };
        let holds = since.as_ref().map_or(0, |row| row.position);
        let is_stale = expected.is_some_and(|expected| expected != holds);
        if is_stale && !is_of(store, holds, event_id).await? {
            return Err(ScheduleError::Stale { version: holds });
        }
        let since = since.map_or(0, |row| row.occurred_at + 1);
        hours.fact.occurred_at = ingest.clock().now().max(Instant(since));
        let appended = match ingest.command(vec![hours.clone()], Some(expect)).await {
            Err(AppendError::Stale { .. }) => continue,
            appended => appended?,
        };
        return match appended.outcomes.into_iter().next() {
            Some(Outcome::Rejected(refusal)) => Err(ScheduleError::Refused(refusal)),
            Some(Outcome::Conflict(_)) => Err(ScheduleError::OtherRepeat),
            Some(outcome) => Ok(outcome),
            None => Err(ScheduleError::Store(StoreError::Closed)),
        };
    }
    Err(ScheduleError::Contended)
}
