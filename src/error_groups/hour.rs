//! What was seen in the hour in which an instant before lies, up to that: the tables count whole hours alone.
//!
//! Errors are read page by page to the end of it and let go again: of those that are alike it is kept only how many there
//! were on each device. Nothing is left out; what is too much is refused.

use std::collections::BTreeMap;

use entity::error_logs::Column;
use futures_util::future::BoxFuture;

use super::counted::query;
use super::standing::aside;
use crate::event::{Event, Instant, Provenance};
use crate::insights::errors::group::hour_of;
use crate::insights::errors::state::Alike;
use crate::insights::input::HOUR;
use crate::projections::groups::told::Failed;
use crate::projections::groups::{NO_DEVICE, Tally};
use crate::store::{Allowance, Place, Store, StoreError};

/// Bytes that it takes beside their texts that errors are alike, roughly.
const ALIKE_BYTES: usize = 256;
/// Bytes that it takes how many there were on a device, roughly.
const TALLY_BYTES: usize = 64;

/// How much is read and kept at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    /// Errors that are read at once.
    page: usize,
    /// Errors in all.
    events: usize,
    /// Bytes that are kept of them, roughly.
    bytes: usize,
}

/// How much is read and kept of an hour for one answer.
pub(super) const MOST: Most = Most {
    page: 1_000,
    events: 1_000_000,
    bytes: 64 * 1024 * 1024,
};

/// What was counted of errors that are alike on each device.
type OnDevices = BTreeMap<i64, Tally>;

/// What was seen in an hour, of all provenances.
#[derive(Debug, Default)]
pub(super) struct Hour {
    tallies: BTreeMap<(Provenance, Alike), OnDevices>,
    events: usize,
    bytes: usize,
}

impl Hour {
    /// What was seen in the hour of an instant, up to that.
    ///
    /// # Errors
    /// When the log cannot be read; [`StoreError::TooMany`] when there are too many errors in it.
    pub(super) fn read<'a>(
        store: &'a Store,
        until: Instant,
        (allowance, most): (&'a Allowance, Most),
    ) -> BoxFuture<'a, Result<Self, StoreError>> {
        Box::pin(async move {
            let from = Instant(i64::from(hour_of(until)) * HOUR);
            let (mut hour, mut query) = (Self::default(), query((from, until)));
            query.limit = most.page;
            loop {
                // the page before has been let go
                allowance.renew();
                let page = match store.page(&query, allowance).await {
                    Err(StoreError::TooLarge { .. }) if query.limit > 1 => {
                        query.limit = query.limit.div_ceil(2);
                        continue;
                    }
                    page => page?,
                };
                let is_last = page.len() < query.limit;
                query.after = page.last().map(Place::of);
                let mut sofar = hour;
                hour = aside(move || {
                    sofar.take(&page);
                    sofar
                })
                .await?;
                if hour.events > most.events || hour.bytes > most.bytes {
                    let events_max = most.events;
                    return Err(StoreError::TooMany { events_max });
                }
                if is_last {
                    allowance.renew();
                    return Ok(hour);
                }
            }
        })
    }

    fn take(&mut self, events: &[Event]) {
        let Self { tallies, bytes, .. } = self;
        for event in events {
            let failed = Failed::of(event);
            let seen = failed.seen();
            let alike = Alike::of(&seen);
            let tally = Tally::of(event.fact.occurred_at, seen.error.severity);
            let text_bytes = alike.category.len() + alike.code.len() + alike.text.len();
            let devices = tallies
                .entry((event.fact.provenance, alike))
                .or_insert_with(|| {
                    *bytes += ALIKE_BYTES + text_bytes;
                    OnDevices::new()
                });
            let device = event.fact.cell(Column::DeviceKey).int();
            devices
                .entry(device.unwrap_or(NO_DEVICE))
                .and_modify(|held| held.add(tally))
                .or_insert_with(|| {
                    *bytes += TALLY_BYTES;
                    tally
                });
        }
        self.events += events.len();
    }

    /// What was counted of errors of a provenance that are alike, on each device.
    pub(super) fn of(&self, provenance: Provenance) -> impl Iterator<Item = (&Alike, &OnDevices)> {
        let tallies = self.tallies.iter();
        let of = tallies.filter(move |((of, _), _)| *of == provenance);
        of.map(|((_, alike), devices)| (alike, devices))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::NewEvent;
    use crate::kinds::{Draft, Kind};
    use crate::store::{Options, Request};

    fn at(text: &str) -> Instant {
        Instant::parse(text).unwrap()
    }

    fn error(then: &str, message: &str) -> NewEvent {
        let draft = Draft::new(Kind::ErrorLog, at(then), Provenance::Real);
        let draft = draft.set(Column::Category, "DEVICE");
        let draft = draft.set(Column::Severity, "ERROR");
        draft.set(Column::ErrorMessage, message).finish().unwrap()
    }

    #[tokio::test]
    async fn an_hour_is_read_to_its_beginning_and_what_is_too_much_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("log.db").display());
        let (store, tasks) = Store::open(Options::of_test(url, at("2026-11-23T12:00:00Z")))
            .await
            .unwrap();
        let long = "printer lost ".repeat(80);
        let mut events = vec![
            error("2026-11-23T09:59:59Z", "before the hour"),
            error("2026-11-23T10:00:00Z", "drawer sticks"),
            error("2026-11-23T10:31:00Z", "after the instant"),
        ];
        for minute in 1..=20 {
            events.push(error(&format!("2026-11-23T10:{minute:02}:00Z"), &long));
        }
        let request = Request {
            events,
            expect: Vec::new(),
            registrations: Vec::new(),
            told: None,
        };
        store.append(request).await.unwrap();

        let until = at("2026-11-23T10:30:00Z");
        let most = Most {
            page: 8,
            events: 21,
            bytes: 10_000,
        };
        // there is no room for a page of eight
        let allowance = Allowance::of(5_000);
        let hour = Hour::read(&store, until, (&allowance, most)).await.unwrap();
        let counted = hour.of(Provenance::Real);
        let counted = counted.map(|(_, devices)| devices[&NO_DEVICE]);
        let counted: Vec<(i64, Instant)> =
            counted.map(|tally| (tally.events, tally.first)).collect();
        let firsts = ["2026-11-23T10:00:00Z", "2026-11-23T10:01:00Z"].map(at);
        assert_eq!(counted, [(1, firsts[0]), (20, firsts[1])]);
        assert_eq!(hour.of(Provenance::Simulated).count(), 0);
        for most in [Most { events: 20, ..most }, Most { bytes: 500, ..most }] {
            let refused = Hour::read(&store, until, (&allowance, most)).await;
            assert!(matches!(refused, Err(StoreError::TooMany { .. })));
        }
        tasks.stop().await;
    }
}
