//! When devices are taken by jobs that are planned already, as far as that can be said beforehand.
//!
//! A job takes a device for as long as it may: until its `timeoutSeconds` are over, or, of one that was given a
//! window, until that ends. One that is paused is not planned, and of one that recurs each time counts at which the
//! device is one of its own, however often it comes: times between which no quarter of an hour begins that is free are
//! one, since a job starts on a quarter.

use std::collections::HashMap;
use std::sync::Arc;

use chrono_tz::Tz;
use futures_util::future::BoxFuture;

use super::cron::{next_after, read_cron};
use super::machine::Opening;
use super::windows::Windows;
use super::{Plan, Start};
use crate::event::Instant;
use crate::history::fleet::{DeviceRow, devices_by_key, sites_by_key};
use crate::history::planned::{OnDevice, each_scheduled, on_devices};
use crate::insights::input::{DAY, MINUTE, SECOND};
use crate::insights::jobs::window::{Stretch, quarter_from};
use crate::store::{Store, StoreError};

/// As far ahead as a job may be given a window, and as long as one lasts.
const AHEAD: i64 = 9 * DAY;

/// The times at which some devices are taken, by their keys, as was known at an instant.
///
/// # Errors
/// When the tables cannot be read.
pub(super) fn planned<'a>(
    store: &'a Store,
    device_keys: &'a [i64],
    as_of: Instant,
) -> BoxFuture<'a, Result<HashMap<i64, Vec<Stretch>>, StoreError>> {
    Box::pin(async move {
        let allowance = Store::own_allowance();
        let past = Some(as_of).filter(|as_of| *as_of < store.clock().now());
        let rows = on_devices(store, device_keys, past, &allowance).await?;
        let keys = device_keys.iter().copied();
        let windows = Windows::read(store, keys, as_of).await?.at(as_of);
        let mut taken: HashMap<i64, Vec<Stretch>> = HashMap::new();
        for row in rows {
            let site = store.names().site_of_device(row.device_key);
            let window = site.and_then(|site| windows.get(&site)).copied();
            let site = site.and_then(|site| store.names().id(site));
            let given = given(&row, (site.as_deref(), window), as_of);
            taken.entry(row.device_key).or_default().extend(given);
        }
        for (device, stretch) in recurring(store, device_keys, (as_of, past)).await? {
            taken.entry(device).or_default().push(stretch);
        }
        Ok(taken)
    })
}

/// When a device has a job that it was to do once; its site has a maintenance window then, or will have.
fn given(
    row: &OnDevice,
    (site, window): (Option<&str>, Option<Opening>),
    as_of: Instant,
) -> Option<Stretch> {
    if row.state == "PAUSED" {
        return None;
    }
    let plan = Plan::of_text(row.plan.as_deref());
    let lasts = i64::from(plan.timeout_seconds) * SECOND;
    if row.step == "ACKNOWLEDGED" {
        let to = Instant(row.step_at.saturating_add(lasts));
        return (to > as_of).then_some(Stretch { from: as_of, to });
    }
    let best = plan
        .best_windows
        .iter()
        .find(|window| Some(window.site_id.as_str()) == site);
    let (from, lasts) = match (&plan.start, best) {
        (_, Some(best)) => (best.starts_at, best.ends_at.0 - best.starts_at.0),
        (Start::At(at), None) => (*at, lasts),
        (Start::InMaintenanceWindow, None) => match window? {
            Opening::From(at) => (at, lasts),
            Opening::Open | Opening::Until(_) => (as_of, lasts),
            Opening::Never => return None,
        },
        (Start::Now | Start::Recurring(_), None) => (as_of, lasts),
    };
    let from = from.max(as_of);
    let to = Instant(from.0.saturating_add(lasts));
    Some(Stretch { from, to })
}

/// When devices have jobs that recur.
async fn recurring(
    store: &Store,
    device_keys: &[i64],
    (as_of, past): (Instant, Option<Instant>),
) -> Result<Vec<(i64, Stretch)>, StoreError> {
    let mut plans = Vec::new();
    each_scheduled(store, past, |text| {
        let plan = Plan::of_text(text);
        if matches!(plan.start, Start::Recurring(_)) {
            plans.push(plan);
        }
    })
    .await?;
    if plans.is_empty() {
        return Ok(Vec::new());
    }
    let allowance = Store::own_allowance();
    let devices = devices_by_key(store, device_keys, &allowance).await?;
    let mut site_keys: Vec<i64> = devices.values().map(|row| row.device.site_key).collect();
    site_keys.sort_unstable();
    site_keys.dedup();
    let sites = sites_by_key(store, &site_keys, &allowance).await?;
    let mut taken = Vec::new();
    for plan in &plans {
        // the times of a zone are the same for all of its devices
        let mut of_zones: HashMap<Tz, Vec<Stretch>> = HashMap::new();
        for (key, row) in &devices {
            let Some(site) = sites.get(&row.device.site_key) else {
                continue;
            };
            if !is_for(plan, row, &site.site_id) {
                continue;
            }
            let zone = site.time_zone.parse().unwrap_or(Tz::UTC);
            let times = of_zones.entry(zone);
            let times = times.or_insert_with(|| times_of(plan, zone, as_of));
            taken.extend(times.iter().map(|stretch| (*key, *stretch)));
        }
    }
    Ok(taken)
}

/// Whether a device is one of those of a job that recurs.
fn is_for(plan: &Plan, row: &Arc<DeviceRow>, site_id: &str) -> bool {
    let reach = plan.reach.as_ref();
    let is_reached = reach.is_none_or(|sites| sites.iter().any(|site| site == site_id));
    let selection = plan.selection.as_ref();
    is_reached && selection.is_some_and(|selection| selection.has(row, site_id))
}

/// The times at which a job that recurs takes its devices, in order. They are looked up once a quarter of an hour at
/// most: what ends before the next one begins takes no start from it.
fn times_of(plan: &Plan, zone: Tz, as_of: Instant) -> Vec<Stretch> {
    let Start::Recurring(text) = &plan.start else {
        return Vec::new();
    };
    // it was read when it was given
    let Ok(cron) = read_cron(text) else {
        return Vec::new();
    };
    let lasts = i64::from(plan.timeout_seconds) * SECOND;
    let after = |at: i64| {
        let next = next_after(&cron, zone, Instant(at));
        next.filter(|next| next.0 < as_of.0 + AHEAD)
    };
    let mut times: Vec<Stretch> = Vec::new();
    let mut next = after(as_of.0.saturating_sub(lasts));
    while let Some(at) = next {
        let to = Instant(at.0 + lasts);
        match times.last_mut() {
            Some(last) if !is_free_between(last.to, at) => last.to = to,
            Some(_) | None => times.push(Stretch { from: at, to }),
        }
        next = after(quarter_from(to) - lasts);
    }
    times
}

/// Whether any job can start between the end of one that recurs and its next time.
fn is_free_between(end: Instant, next: Instant) -> bool {
    quarter_from(end) + MINUTE <= next.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::BestWindow;

    fn on_device(plan: &Plan, (state, step, step_at): (&str, &str, i64)) -> OnDevice {
        OnDevice {
            device_key: 1,
            step: step.to_owned(),
            step_at,
            state: state.to_owned(),
            plan: serde_json::to_string(plan).ok(),
        }
    }

    fn at(start: Start) -> Plan {
        Plan {
            start,
            ..Plan::default()
        }
    }

    #[test]
    fn a_job_takes_its_device_from_its_start_for_as_long_as_it_may() {
        let now = Instant(100 * MINUTE);
        let told = |plan: &Plan, window: Option<Opening>| {
            let row = on_device(plan, ("SCHEDULED", "WAITING", 0));
            let given = given(&row, (Some("site"), window), now)?;
            Some((given.from.0 / MINUTE, given.to.0 / MINUTE))
        };
        let later = Instant(500 * MINUTE);
        assert_eq!(told(&at(Start::Now), None), Some((100, 110)));
        assert_eq!(told(&at(Start::At(later)), None), Some((500, 510)));
        assert_eq!(told(&at(Start::At(Instant(0))), None), Some((100, 110)));
        let waits = at(Start::InMaintenanceWindow);
        assert_eq!(told(&waits, Some(Opening::From(later))), Some((500, 510)));
        assert_eq!(told(&waits, Some(Opening::Until(later))), Some((100, 110)));
        assert_eq!(told(&waits, Some(Opening::Never)), None);
    }

    #[test]
    fn one_that_was_given_a_window_takes_its_device_for_that() {
        let window = BestWindow {
            site_id: "site".to_owned(),
            starts_at: Instant(500 * MINUTE),
            ends_at: Instant(545 * MINUTE),
            ..BestWindow::default()
        };
        let plan = Plan {
            best_windows: vec![window],
            ..at(Start::At(Instant(200 * MINUTE)))
        };
        let row = on_device(&plan, ("SCHEDULED", "WAITING", 0));
        let now = Instant(100 * MINUTE);
        let here = given(&row, (Some("site"), None), now).unwrap();
        assert_eq!(
            (here.from, here.to),
            (Instant(500 * MINUTE), Instant(545 * MINUTE))
        );
        let elsewhere = given(&row, (Some("other"), None), now).unwrap();
        assert_eq!(elsewhere.from, Instant(200 * MINUTE));
    }

    #[test]
    fn a_device_at_work_is_taken_until_its_time_is_over_and_a_paused_job_takes_none() {
        let (now, plan) = (Instant(100 * MINUTE), at(Start::Now));
        let row = on_device(&plan, ("RUNNING", "ACKNOWLEDGED", 95 * MINUTE));
        let taken = given(&row, (None, None), now).unwrap();
        assert_eq!((taken.from, taken.to), (now, Instant(105 * MINUTE)));
        let row = on_device(&plan, ("RUNNING", "ACKNOWLEDGED", 5 * MINUTE));
        assert_eq!(given(&row, (None, None), now), None);
        let row = on_device(&plan, ("PAUSED", "WAITING", 0));
        assert_eq!(given(&row, (None, None), now), None);
    }

    #[test]
    fn each_time_of_a_job_that_recurs_takes_its_device() {
        let now = Instant::parse("2026-11-23T12:00:00Z").unwrap();
        let nightly = at(Start::Recurring("0 3 * * *".to_owned()));
        let times = times_of(&nightly, Tz::Europe__London, now);
        assert_eq!(times.len(), 9);
        let first = Instant::parse("2026-11-24T03:00:00Z").unwrap();
        assert_eq!(times[0].from, first);
        assert_eq!(times[0].to.0 - first.0, 10 * MINUTE);
    }

    #[test]
    fn a_job_that_recurs_often_takes_its_device_until_the_end() {
        let now = Instant::parse("2026-11-23T12:00:00Z").unwrap();
        for cron in ["* * * * *", "*/5 * * * *", "*/15 * * * *"] {
            for timeout_seconds in [1, 30, 60, 600, 86_400] {
                let often = Plan {
                    timeout_seconds,
                    ..at(Start::Recurring(cron.to_owned()))
                };
                let times = times_of(&often, Tz::UTC, now);
                assert_eq!(times.len(), 1, "{cron} {timeout_seconds}");
                assert!(times[0].from.0 <= now.0 + 15 * MINUTE, "{cron}");
                assert!(times[0].to.0 > now.0 + AHEAD - 15 * MINUTE, "{cron}");
            }
        }
    }

    #[test]
    fn what_a_job_that_recurs_leaves_free_is_free() {
        let now = Instant::parse("2026-11-23T12:00:00Z").unwrap();
        let minutes = |cron: &str, timeout_seconds: u32| {
            let plan = Plan {
                timeout_seconds,
                ..at(Start::Recurring(cron.to_owned()))
            };
            let times = times_of(&plan, Tz::UTC, now);
            let minute = |at: Instant| (at.0 - now.0) / MINUTE;
            let told = times.iter().map(|of| (minute(of.from), minute(of.to)));
            told.collect::<Vec<_>>()
        };
        // from a quarter of an hour to two minutes later a job may run
        let often = minutes("2-59/5 * * * *", 60);
        assert_eq!(often.len(), 9 * 24 * 4);
        assert_eq!(often[..3], [(2, 3), (17, 18), (32, 33)]);
        // half an hour is left of each
        let hourly = minutes("10 * * * *", 1_800);
        assert_eq!(hourly.len(), 9 * 24);
        assert_eq!(hourly[..2], [(10, 40), (70, 100)]);
        // the second time begins while the first still runs, and the third when no quarter has begun since
        let thrice = minutes("0,10,27 14 * * *", 900);
        assert_eq!(thrice.len(), 9);
        assert_eq!(thrice[0], (120, 162));
    }
}
