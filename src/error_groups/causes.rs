//! Which parameters changed on the devices of groups, or at their sites, before the devices had the error, and on how
//! many of them before it came in a burst.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::BoxFuture;

use super::page::Ask;
use super::standing::{Moment, Standing};
use crate::event::Instant;
use crate::history::error_groups::{self, ChangeRow, Whose};
use crate::insights::errors::cause::{Changes, WINDOW};
use crate::insights::errors::fingerprint::hash;
use crate::insights::errors::group::Group;
use crate::insights::errors::read::Asked;
use crate::insights::input::DAY;
use crate::store::{Store, StoreError};

/// How long before an instant bursts are told, with the day in which a change may have brought one.
const BURSTS: i64 = 8 * DAY;
/// Devices at most of which changes are looked for in one answer, those of the first groups first.
const DEVICES_MAX: usize = 5_000;

/// Finds what changed before, and notes with each device of each group what may have brought the error there.
pub(super) fn before<'a>(
    store: &'a Store,
    (moment, standing): (&'a Moment, &'a Standing),
    (ask, asked): (&'a Ask, &'a Asked),
    mut groups: Vec<&'a mut Group>,
) -> BoxFuture<'a, Result<Changes, StoreError>> {
    Box::pin(async move {
        let keys = keys(standing, ask, &groups);
        let sites = |key: i64, at: Instant| store.names().site_of_device_at(key, at);
        let (mut of_devices, mut of_sites) = (BTreeSet::new(), BTreeSet::new());
        let seen = groups.iter().flat_map(|group| &group.devices);
        let seen = seen.filter_map(|(device, seen)| Some((*keys.get(device)?, seen.first)));
        for (key, first) in seen.take(DEVICES_MAX) {
            let window = (first.0 - WINDOW, first.0);
            of_devices.insert([key, window.0, window.1]);
            of_devices.insert([key, ask.as_of.0 - BURSTS, ask.as_of.0]);
            of_sites.extend(sites(key, first).map(|site| [site, window.0, window.1]));
        }
        let windows: Vec<[i64; 3]> = of_devices.into_iter().collect();
        let mut rows = error_groups::changes(&moment.tx, Whose::Devices, &windows).await?;
        let windows: Vec<[i64; 3]> = of_sites.into_iter().collect();
        rows.extend(error_groups::changes(&moment.tx, Whose::Sites, &windows).await?);
        rows.retain(|row| row.at <= ask.as_of);
        if rows.is_empty() {
            return Ok(Changes::default());
        }
        let counts = counts(store, (moment, ask), (asked, &rows)).await?;
        let changes = known(&rows, &counts);
        for group in &mut groups {
            for (device, seen) in &mut group.devices {
                let Some(key) = keys.get(device) else {
                    continue;
                };
                let site = sites(*key, seen.first).map(of_key);
                seen.after = changes.before(seen.first, of_key(*key), site);
            }
        }
        Ok(changes)
    })
}

/// What stands for a device or a site among changes: its key, as it does among errors.
fn of_key(key: i64) -> u64 {
    hash(&[&key.to_string()])
}

/// The keys of the devices of groups.
fn keys(standing: &Standing, ask: &Ask, groups: &[&mut Group]) -> BTreeMap<u64, i64> {
    let asked = ask.cut.devices.iter().flatten();
    let mut keys: BTreeMap<u64, i64> = asked.map(|key| (of_key(*key), *key)).collect();
    for device in groups.iter().flat_map(|group| group.devices.keys()) {
        let key = standing
            .state
            .device(*device)
            .and_then(|key| key.parse().ok());
        if let Some(key) = key {
            keys.insert(*device, key);
        }
    }
    keys
}

fn known(rows: &[ChangeRow], counts: &[(String, (u64, u64))]) -> Changes {
    let entities: Vec<String> = rows.iter().map(|row| row.entity.to_string()).collect();
    let latest = rows.iter().zip(&entities);
    let latest = latest.map(|(row, entity)| (row.at, row.parameter.as_str(), entity.as_str()));
    Changes::known(
        latest,
        counts.iter().map(|(name, counts)| (name.as_str(), *counts)),
    )
}

/// How often those parameters changed anyway, in all the time that is looked at.
async fn counts(
    store: &Store,
    (moment, ask): (&Moment, &Ask),
    (asked, rows): (&Asked, &[ChangeRow]),
) -> Result<Vec<(String, (u64, u64))>, StoreError> {
    let parameters: BTreeSet<&str> = rows.iter().map(|row| row.parameter.as_str()).collect();
    let parameters = parameters.into_iter().map(str::to_owned).collect();
    let from = asked.from.unwrap_or(Instant::OLDEST);
    let devices = ask.cut.devices.as_deref();
    let sites: Option<BTreeSet<i64>> = devices.map(|devices| {
        let sites = devices.iter();
        sites
            .filter_map(|key| store.names().site_of_device(*key))
            .collect()
    });
    let sites: Option<Vec<i64>> = sites.map(|sites| sites.into_iter().collect());
    let within = devices.zip(sites.as_deref());
    error_groups::changed(&moment.tx, parameters, (from, ask.as_of), within).await
}
