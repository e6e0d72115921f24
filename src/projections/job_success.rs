//! How jobs ended on devices, summed up by the site at which the device stood, by the type of the job and by six hours
//! of the site's day: for each day and each month of UTC, and of the whole fleet as well.
//!
//! They are sums, and each outcome is in those of its own time, so it does not matter in which order outcomes come. At
//! which site a device stood, and what its clock showed, is as it was known when the outcome was recorded: a
//! registration that comes late moves no sum. What is summed up stays when events are deleted for good.
//!
//! Another method has another name, and tables of its own that a migration makes: it is folded beside this one until
//! it has come as far, and only then is this one given up.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, NaiveTime};
use chrono_tz::Tz;
use entity::job_outcomes::Column;
use futures_util::future::BoxFuture;
use sea_orm::{DatabaseTransaction, Value};

use super::rollups::places::Places;
use super::upsert::upsert;
use crate::event::{Event, Instant};
use crate::insights::input::DAY;
use crate::insights::jobs::schedule::Schedule;
use crate::insights::jobs::success::{block, is_success};
use crate::kinds::Kind;
use crate::rollups::days::instant_of;
use crate::store::{Deleted, Fold, StoreError};

/// Key of the whole fleet, which no site has.
pub(crate) const FLEET: i64 = 0;

/// Folds outcomes into `job_tallies`.
#[derive(Debug)]
pub(super) struct JobSuccess;

/// Over how long is summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Span {
    /// A day of UTC.
    Day,
    /// A month of UTC.
    Month,
}

impl Span {
    const ALL: [Self; 2] = [Self::Day, Self::Month];

    /// Its number in the table.
    pub(crate) const fn code(self) -> i64 {
        match self {
            Self::Day => 0,
            Self::Month => 1,
        }
    }

    /// When the one begins that an instant lies in.
    pub(crate) fn start(self, at: Instant) -> Instant {
        let day = Instant(at.0.div_euclid(DAY) * DAY);
        let first = day.date_time().date_naive().with_day(1);
        match (self, first) {
            (Self::Month, Some(first)) => Instant(instant_of(first, NaiveTime::MIN, Tz::UTC)),
            (Self::Day | Self::Month, _) => day,
        }
    }
}

/// What a row is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// The site, or the whole fleet.
    pub(crate) site: i64,
    /// The number of the provenance.
    pub(crate) provenance: i64,
    /// Over how long.
    pub(crate) span: Span,
    /// When that begins.
    pub(crate) start: Instant,
    /// What kind of job.
    pub(crate) job_type: String,
    /// Which six hours of the day.
    pub(crate) block: usize,
}

/// What a row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    /// How many ended well.
    pub(crate) succeeded: i64,
    /// How many did not.
    pub(crate) failed: i64,
    /// When the first of them ended.
    pub(crate) first: Instant,
    /// When the last of them ended.
    pub(crate) last: Instant,
}

impl Sum {
    fn add(&mut self, is_success: bool, at: Instant) {
        if is_success {
            self.succeeded += 1;
        } else {
            self.failed += 1;
        }
        (self.first, self.last) = (self.first.min(at), self.last.max(at));
    }
}

/// The sums of some outcomes of devices that stood at some places. Nobody knows how one would have ended that was
/// stopped before, and the outcome of a job as a whole is that of its devices.
pub(crate) fn tallied(outcomes: &[&Event], places: &Places) -> BTreeMap<Key, Sum> {
    let mut sums = BTreeMap::new();
    for event in outcomes {
        let (fact, at) = (&event.fact, event.fact.occurred_at);
        let text = |column: Column| fact.cell(column).text();
        let place = device_of(event).and_then(|device| places.at(device, at.0));
        let ended = text(Column::Status).and_then(is_success);
        let (Some(place), Some(ended)) = (place, ended) else {
            continue;
        };
        let block = block(&Schedule::new(place.zone), at);
        for (site, span) in [place.site, FLEET]
            .into_iter()
            .flat_map(|site| Span::ALL.map(|span| (site, span)))
        {
            let key = Key {
                site,
                provenance: fact.provenance.code(),
                span,
                start: span.start(at),
                job_type: text(Column::JobType).unwrap_or_default().to_owned(),
                block,
            };
            let sum = sums.entry(key).or_insert(Sum {
                succeeded: 0,
                failed: 0,
                first: at,
                last: at,
            });
            sum.add(ended, at);
        }
    }
    sums
}

/// The devices of which outcomes speak.
pub(crate) fn devices(outcomes: &[&Event]) -> BTreeSet<i64> {
    let devices = outcomes.iter().filter_map(|event| device_of(event));
    devices.collect()
}

fn device_of(event: &Event) -> Option<i64> {
    let is_of_device = event.fact.cell(Column::Scope).text() == Some("DEVICE");
    let device = event.fact.cell(Column::DeviceKey).int();
    device.filter(|_| is_of_device)
}

impl Fold for JobSuccess {
    fn name(&self) -> &'static str {
        "job_success"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[
            Kind::SiteRegistration,
            Kind::DeviceRegistration,
            Kind::JobOutcome,
        ]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["job_tallies"]
    }

    /// Who reads it needs no more than what has come until a moment ago.
    fn is_waited_for(&self) -> bool {
        false
    }

    /// Registrations are never deleted. Of outcomes the sums of days and months since are whole.
    fn untouched(&self, _table: &str, deleted: Deleted<'_>) -> Option<String> {
        let since = deleted.whole_since.get(&Kind::JobOutcome);
        let since = since.map_or(i64::MIN, |since| since.0);
        Some(format!("start_at >= {since}"))
    }

    fn apply<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        events: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            // where a device stood is what was said of it before its outcome, however events are cut into batches
            for outcomes in events.split(|event| event.fact.kind != Kind::JobOutcome) {
                fold(tx, outcomes).await?;
            }
            Ok(())
        })
    }
}

async fn fold(tx: &DatabaseTransaction, outcomes: &[&Event]) -> Result<(), StoreError> {
    let Some(last) = outcomes.last() else {
        return Ok(());
    };
    let places = Places::said(tx, &devices(outcomes), last.position.0).await?;
    let rows = tallied(outcomes, &places).into_iter().map(row);
    upsert(tx, INSERT, rows.collect(), MERGE).await
}

fn row((key, sum): (Key, Sum)) -> Vec<Value> {
    vec![
        key.site.into(),
        key.provenance.into(),
        key.span.code().into(),
        key.start.0.into(),
        key.job_type.into(),
        i64::try_from(key.block).unwrap_or_default().into(),
        sum.succeeded.into(),
        sum.failed.into(),
        sum.first.0.into(),
        sum.last.0.into(),
    ]
}

const INSERT: &str = "INSERT INTO job_tallies (site_key, provenance, span, start_at, job_type, \
    block, succeeded, failed, first_at, last_at)";
const MERGE: &str = "ON CONFLICT (site_key, provenance, span, start_at, job_type, block) DO UPDATE SET \
    succeeded = job_tallies.succeeded + excluded.succeeded, \
    failed = job_tallies.failed + excluded.failed, \
    first_at = CASE WHEN excluded.first_at < job_tallies.first_at THEN excluded.first_at \
    ELSE job_tallies.first_at END, \
    last_at = CASE WHEN excluded.last_at > job_tallies.last_at THEN excluded.last_at \
    ELSE job_tallies.last_at END";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_months_begin_at_midnight_of_utc() {
        let at = |text: &str| Instant::parse(text).unwrap();
        for (text, day, month) in [
            ("2024-02-29T23:59:59.999999Z", "2024-02-29", "2024-02-01"),
            ("2024-03-01T00:00:00Z", "2024-03-01", "2024-03-01"),
            ("2023-12-31T12:00:00Z", "2023-12-31", "2023-12-01"),
        ] {
            let midnight = |date: &str| at(&format!("{date}T00:00:00Z"));
            assert_eq!(Span::Day.start(at(text)), midnight(day));
            assert_eq!(Span::Month.start(at(text)), midnight(month));
        }
    }
}
