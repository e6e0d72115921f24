//! Sums the log up by time: a row for each device and each quarter of an hour, hour and day in which it was
//! said anything of, and of measurements one for each site as well, of the last days by minutes too.
//!
//! By `occurred_at`, so that a late event lands in its own bucket; by the site at which its device stood then,
//! so that a device that moves counts where it was; by currency, so that no sum crosses two. What has come up
//! to the checkpoint is in the tables, and what came after it is added by whoever asks.

pub(crate) mod counters;
pub(crate) mod gather;
pub(crate) mod minutes;
pub(crate) mod places;
mod refold;
pub(crate) mod shows;
pub(crate) mod tables;

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use entity::{device_registrations, site_registrations};
use futures_util::future::BoxFuture;
use sea_orm::DatabaseTransaction;

use self::counters::{Latest, grown};
use self::gather::{Sums, devices, shapes};
use self::places::{Places, renew};
use self::tables::SITE_MINUTES;
use crate::event::Event;
use crate::kinds::Kind;
use crate::rollups::shape::{Reading, Shape};
use crate::store::{Archive, Fold, StoreError};

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
        ]
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
            let (Some(first), Some(last)) = (events.first(), events.last()) else {
                return Ok(());
            };
            let (before, upto) = (first.position.0 - 1, last.position.0);
            let moved = renew(tx, registered(events), upto).await?;
            let archive = self.archive();
            let minutes = minutes::forget(tx, last).await?;
            for mut shape in shapes() {
                shape.archive.clone_from(&archive);
                if !moved.is_empty() {
                    refold::moved(tx, &shape, (&moved, before)).await?;
                }
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
    sums.growth = grown(tx, shape, readings, (&places, &mut latest, upto)).await?;
    latest.put(tx).await?;
    if shape.measured.by_site {
        let minutes = Sums::minutes(shape, readings, (&places, minutes));
        minutes.add_to(tx, shape, SITE_MINUTES).await?;
    }
    sums.add(tx, shape).await
}
