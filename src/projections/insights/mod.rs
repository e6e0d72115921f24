//! What is kept of each device for its insights: a small state for each provenance, folded from hours that are over.
//!
//! Which hours are over is told by what happened, not by a clock: those that end some minutes before the newest event
//! ([`due`]). An hour in which something happened to a device is *open* until then; after that the device is *due*
//! from it on, and is folded in parts ([`part`]), each of some devices and of a day at most. What comes late has the
//! device folded again from a state that was kept before it: those of some midnights are ([`days`]), and the one
//! before the last hour. So a state depends on what happened, and not on when that came.
//!
//! Where events were deleted for good a state is not made again that was folded from them: what comes late for a time
//! before the first state that is kept since is not taken.

pub(crate) mod days;
mod due;
pub(crate) mod facts;
mod part;
mod plan;
pub(crate) mod rows;

pub(crate) use due::Horizon;

use std::sync::{PoisonError, RwLock};

use futures_util::future::BoxFuture;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sea_orm::DatabaseTransaction;

use crate::event::{Event, Position};
use crate::kinds::Kind;
use crate::store::{Archive, Deleted, Fold, Names, Needed, Part, Sources, StoreError};

const FOLD: &str = "fold what is kept of devices";

/// What the projection tells of itself.
#[derive(Clone, Debug, Default)]
struct Told {
    due: Gauge,
    until_seconds: Gauge,
}

/// Folds what happens to devices into `device_insights`.
#[derive(Debug, Default)]
pub(super) struct Insights {
    archive: RwLock<Option<Archive>>,
    names: Names,
    at_once: part::AtOnce,
    told: Told,
}

impl Insights {
    fn archive(&self) -> Option<Archive> {
        let held = self.archive.read().unwrap_or_else(PoisonError::into_inner);
        held.clone()
    }
}

impl Fold for Insights {
    fn name(&self) -> &'static str {
        "insights"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[
            Kind::SiteRegistration,
            Kind::DeviceRegistration,
            Kind::SiteSchedule,
            Kind::DeviceMetrics,
            Kind::ErrorLog,
            Kind::DeviceStateChange,
            Kind::ConfigurationChange,
            Kind::JobOutcome,
        ]
    }

    fn tables(&self) -> &'static [&'static str] {
        &[
            "device_insights",
            "device_insight_days",
            "insight_open",
            "insight_due",
            "insight_horizon",
        ]
    }

    /// Whoever asks for a device folds what is not yet by himself.
    fn is_waited_for(&self) -> bool {
        false
    }

    fn attach(&self, archive: &Archive) {
        let mut held = self.archive.write().unwrap_or_else(PoisonError::into_inner);
        *held = Some(archive.clone());
    }

    fn puts_off(&self) -> &'static [&'static str] {
        &["insight_due"]
    }

    fn needs(&self) -> &'static [Needed] {
        &[("insight_due", "from_at")]
    }

    fn next_part<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        upto: Position,
    ) -> BoxFuture<'a, Result<Option<Box<dyn Part>>, StoreError>> {
        Box::pin(async move {
            let archive = self.archive();
            let sources = Sources {
                names: &self.names,
                archive: archive.as_ref(),
            };
            let piece = part::next(tx, sources, (upto, &self.at_once)).await?;
            Ok(piece.map(|piece| -> Box<dyn Part> { Box::new(piece.telling(&self.told)) }))
        })
    }

    /// What was folded from nothing that was deleted.
    fn untouched(&self, table: &str, deleted: Deleted<'_>) -> Option<String> {
        let kinds = facts::KINDS.iter();
        let since = kinds.filter_map(|kind| deleted.whole_since.get(kind)).max();
        let (since, schema) = (since?.0, deleted.schema);
        match table {
            "device_insights" | "device_insight_days" => Some(format!(
                "EXISTS (SELECT 1 FROM {schema}.device_insights i WHERE i.device_key = {table}.device_key \
                 AND i.provenance = {table}.provenance AND i.first_at >= {since})"
            )),
            "insight_open" => Some(format!("{table}.hour_at >= {since}")),
            "insight_due" => Some("TRUE".to_owned()),
            "insight_horizon" => Some(format!("{table}.horizon_at >= {since}")),
            _ => None,
        }
    }

    fn register(&self, registry: &mut Registry) {
        let help = "Devices of which hours that are over are still to be folded for insights, on the server that folds";
        registry.register("insight_devices_due", help, self.told.due.clone());
        let help = "Up to when what happened to all devices is folded for insights, in seconds since 1970, on the \
            server that folds; 0 on others";
        let until = self.told.until_seconds.clone();
        registry.register("insight_folded_until_seconds", help, until);
    }

    fn apply<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        events: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            due::mark(tx, events).await?;
            self.told.look(tx).await
        })
    }
}
