//! Sums the log up by time: a row for each device and each quarter of an hour, hour and day in which it was
//! said anything of, and of measurements one for each site as well, of the last days by minutes too.
//!
//! By `occurred_at`, so that a late event lands in its own bucket; by the site at which its device stood then,
//! so that a device that moves counts where it was; by currency, so that no sum crosses two. What has come up
//! to the checkpoint is in the tables, and what came after it is added by whoever asks.
//!
//! Rollups are kept for ever, also of events that were deleted for good. What happened on a day of UTC or before
//! one of which such an event was is not made of the log again: what comes late is added to its rows, a device
//! that is found to have stood elsewhere stays where it was known to stand then, and by how much a counter grew
//! is told from what its rows say ([`spans`]). They are not rebuilt from then on, and after a restore they go on
//! from what was restored; a migration that has them folded anew is to keep those rows.
//!
//! Of labels that clients make up so many are told apart in a bucket of each level, and all others are summed up
//! together ([`others`]).
//!
//! What a late registration means for what is past is done in parts ([`refold`]): until then answers are as they
//! were before it, for the days and sites that are still to come.

pub(crate) mod counters;
mod days;
pub(crate) mod gather;
mod hours;
pub(crate) mod minutes;
mod others;
pub(crate) mod places;
mod refold;
pub(crate) mod shows;
mod spans;
pub(crate) mod tables;

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use entity::{device_registrations, site_registrations};
use futures_util::future::BoxFuture;
use sea_orm::DatabaseTransaction;

use self::counters::{Latest, Source, grown};
use self::gather::{Sums, devices, shapes, shapes_in, whole_from};
use self::places::{Places, renew};
use self::tables::{DEVICE_DAYS, LEVELS, SITE_MINUTES};
use crate::event::{Event, Position};
use crate::kinds::Kind;
use crate::rollups::shape::{Reading, Shape};
use crate::store::{Archive, Deleted, Fold, Needed, Part, StoreError};

/// For so long after events that were deleted for good a counter may have grown from what one of them showed.
const BLURRED: i64 = 3 * DEVICE_DAYS.width;

/// Folds what is measured into the tables of rollups.
#[derive(Debug, Default)]
pub(super) struct Rollups {
    /// What was archived: a late event has its day read again.
    archive: RwLock<Option<Archive>>,
}

impl Rollups {
    fn archive(&self) -> Option<Archive> {
        let held = self.archive.read().unwrap_or_else(PoisonError::into_inner);
        held.clone()
    }
}

impl Fold for Rollups {
    fn name(&self) -> &'static str {
        "rollups"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[
            Kind::SiteRegistration,
            Kind::DeviceRegistration,
            Kind::DeviceMetrics,
            Kind::JobOutcome,
            Kind::DeviceStateChange,
            Kind::ErrorLog,
            Kind::UserActivity,
            Kind::ApiRequest,
        ]
    }

    fn tables(&self) -> &'static [&'static str] {
        &[
            "device_rollups_15m",
            "device_rollups_1h",
            "device_rollups_1d",
            "site_rollups_1m",
            "site_rollups_15m",
            "site_rollups_1h",
            "site_rollups_1d",
            "rollup_minutes",
            "rollup_places",
            "rollup_counters",
            "rollup_moves",
            "rollup_moved_sites",
        ]
    }

    fn puts_off(&self) -> &'static [&'static str] {
        &refold::TABLES
    }

    fn needs(&self) -> &'static [Needed] {
        &[
            ("rollup_moves", "from_at"),
            ("rollup_moved_sites", "day_at"),
        ]
    }

    fn next_part<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        upto: Position,
    ) -> BoxFuture<'a, Result<Option<Box<dyn Part>>, StoreError>> {
        Box::pin(async move {
            let shapes = shapes_in(tx, self.archive().as_ref()).await?;
            let piece = refold::next(tx, shapes, upto.0).await?;
            Ok(piece.map(|piece| -> Box<dyn Part> { Box::new(piece) }))
        })
    }

    /// What devices and sites were summed up as before that stays, and so does what their counters showed last.
    fn untouched(&self, table: &str, deleted: Deleted<'_>) -> Option<String> {
        if table == "rollup_places" {
            return Some("TRUE".to_owned());
        }
        let is_kept = LEVELS.iter().any(|level| level.table == table);
        let since = shapes().into_iter().map(|shape| {
            let since = whole_from(deleted.whole_since, shape.kind) + BLURRED;
            format!("kind = {} AND bucket_at >= {since}", shape.kind.code())
        });
        is_kept.then(|| since.collect::<Vec<_>>().join(" OR "))
    }

    fn attach(&self, archive: &Archive) {
        let mut held = self.archive.write().unwrap_or_else(PoisonError::into_inner);
        *held = Some(archive.clone());
    }

    fn apply<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        events: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let Some(last) = events.last() else {
                return Ok(());
            };
            let upto = last.position.0;
            let moved = renew(tx, registered(events), upto).await?;
            refold::note(tx, &moved).await?;
            let minutes = minutes::forget(tx, last).await?;
            for shape in shapes_in(tx, self.archive().as_ref()).await? {
                let of_kind = events.iter().filter(|e| e.fact.kind == shape.kind);
                let readings: Vec<Reading> = of_kind.map(|e| shape.reading(e)).collect();
                fold(tx, &shape, (&readings, upto), minutes).await?;
            }
            Ok(())
        })
    }
}

/// The devices and the sites of which something was said.
fn registered(events: &[&Event]) -> (BTreeSet<i64>, BTreeSet<i64>) {
    let key = |kind: Kind, key: fn(&Event) -> Option<i64>| {
        let of_kind = events.iter().filter(move |event| event.fact.kind == kind);
        of_kind.filter_map(|event| key(event)).collect()
    };
    let device = |event: &Event| {
        let cell = event.fact.cell(device_registrations::Column::DeviceKey);
        cell.int()
    };
    let site = |event: &Event| event.fact.cell(site_registrations::Column::SiteKey).int();
    (
        key(Kind::DeviceRegistration, device),
        key(Kind::SiteRegistration, site),
    )
}

async fn fold(
    tx: &DatabaseTransaction,
    shape: &Shape,
    (readings, upto): (&[Reading], i64),
    minutes: i64,
) -> Result<(), StoreError> {
    if readings.is_empty() {
        return Ok(());
    }
    let places = Places::of(tx, devices(readings)).await?;
    let mut latest = Latest::of(tx, shape, devices(readings)).await?;
    let mut sums = Sums::of(shape, readings, &places);
    sums.growth = grown(
        tx,
        shape,
        readings,
        (&places, &mut latest, Source::Log(upto)),
    )
    .await?;
    latest.put(tx).await?;
    if shape.measured.by_site {
        let minutes = Sums::minutes(shape, readings, (&places, minutes));
        minutes.add_to(tx, shape, SITE_MINUTES).await?;
    }
    sums.add(tx, shape).await
}
