//! The maintenance windows of the sites at which a job is carried out.

use std::collections::{BTreeSet, HashMap};

use super::JobError;
use super::machine::Opening;
use crate::event::Instant;
use crate::history::schedules;
use crate::schedule::Calendar;
use crate::store::{EntityType, Store, StoreError};

/// How long calendars that were read are gone by: the hours of a site may be set meanwhile.
const READ_FOR_MS: i64 = 60_000;
/// Sites at most that are named when they have no window.
const NAMED_MAX: usize = 5;

/// The calendars of some sites, as they were read.
#[derive(Debug)]
pub(super) struct Windows {
    read_at: Instant,
    calendars: HashMap<i64, Calendar>,
}

impl Windows {
    /// Reads the calendars of the sites at which some devices are now.
    pub(super) async fn read(
        store: &Store,
        device_keys: impl Iterator<Item = i64>,
        now: Instant,
    ) -> Result<Self, StoreError> {
        let sites = device_keys.filter_map(|key| store.names().site_of_device(key));
        let sites: BTreeSet<i64> = sites.collect();
        let sites: Vec<i64> = sites.into_iter().collect();
        let calendars = schedules::calendars_of_many(store, &sites).await?;
        let read_at = now;
        Ok(Self { read_at, calendars })
    }

    /// When they are to be read anew.
    pub(super) const fn read_until(&self) -> Instant {
        self.read_at.plus_ms(READ_FOR_MS)
    }

    /// For each site, whether it has a window at an instant.
    pub(super) fn at(&self, now: Instant) -> HashMap<i64, Opening> {
        let opening = |calendar: &Calendar| match calendar.next_maintenance(now) {
            Some(window) if window.start <= now => Opening::Until(window.end),
            Some(window) => Opening::From(window.start),
            None => Opening::Never,
        };
        let sites = self.calendars.iter();
        sites
            .map(|(site, calendar)| (*site, opening(calendar)))
            .collect()
    }
}

/// When the first of some devices may be given a job that waits for the maintenance windows of their
/// sites.
///
/// # Errors
/// When a site has no window, or the tables cannot be read.
pub async fn first_window(
    store: &Store,
    device_ids: &[String],
    now: Instant,
) -> Result<Instant, JobError> {
    let names = store.names();
    let keys = device_ids.iter();
    let keys: Vec<i64> = keys
        .filter_map(|id| names.key(EntityType::Device, id))
        .collect();
    let windows = Windows::read(store, keys.iter().copied(), now).await?;
    let (mut first, mut without) = (None, BTreeSet::new());
    for (site, opening) in windows.at(now) {
        let at = match opening {
            Opening::Open | Opening::Until(_) => now,
            Opening::From(at) => at,
            Opening::Never => {
                without.extend(names.id(site));
                continue;
            }
        };
        first = Some(first.map_or(at, |first: Instant| first.min(at)));
    }
    first.filter(|_| without.is_empty()).ok_or_else(|| {
        let some: Vec<&str> = without.iter().take(NAMED_MAX).map(AsRef::as_ref).collect();
        let why = format!("no maintenance window comes at {}", some.join(", "));
        JobError::NeverStarts { why }
    })
}
