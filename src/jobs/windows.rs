//! The maintenance windows of the sites at which a job is carried out.

use std::collections::{BTreeSet, HashMap};

use super::JobError;
use super::machine::Opening;
use crate::event::Instant;
use crate::history::schedules;
use crate::schedule::{Calendar, Dates, RANGE_DAYS_MAX};
use crate::store::{EntityType, Store, StoreError};

/// How long calendars that were read are gone by: the hours of a site may be set meanwhile.
const READ_FOR_MS: i64 = 60_000;
/// A day.
const DAY_MS: i64 = 24 * 3_600 * 1_000;
/// Sites at most that are named when they have no window.
const NAMED_MAX: usize = 5;

/// Days ahead of which rows of dates are read first, and as far as any window is looked for: most sites have
/// one within the first, and of a large fleet what is further would be most of what is read.
const DAYS_AHEAD: [i64; 2] = [14, RANGE_DAYS_MAX];

/// The calendars of some sites, as they were read, as far ahead as to their next windows.
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
        let mut sites: Vec<i64> = sites.into_iter().collect();
        let mut calendars = HashMap::with_capacity(sites.len());
        let read_until = now.plus_ms(READ_FOR_MS);
        for days in DAYS_AHEAD {
            let dates = Dates::around(now, (0, days));
            calendars.extend(schedules::calendars(store, &sites, dates).await?);
            let known_until = now.plus_ms(days * DAY_MS);
            let has_next = |calendar: &Calendar| {
                let next = calendar.next_maintenance(read_until);
                next.is_some_and(|window| window.end < known_until)
            };
            sites.retain(|site| calendars.get(site).is_some_and(|found| !has_next(found)));
            if sites.is_empty() {
                break;
            }
        }
        let read_at = now;
        Ok(Self { read_at, calendars })
    }

    /// Whether they may be gone by at an instant. A clock that was set back may be before all that was read.
    pub(super) fn hold_at(&self, now: Instant) -> bool {
        (self.read_at..self.read_until()).contains(&now)
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
