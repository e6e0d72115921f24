//! What is known when the rules begin to be evaluated: it is read from what is folded, so that nothing of
//! it is kept anywhere else.

use std::collections::{BTreeSet, HashSet};

use entity::{device_metrics as metrics, device_status};

use super::evaluate::Evaluator;
use super::fleet::{Device, Fleet};
use super::gaps::Sign;
use super::{AlertError, renew};
use crate::event::{Event, Instant, Position, Provenance};
use crate::history::alerts::{self, AlertRow};
use crate::history::{fleet, schedules};
use crate::ingest::Ingest;
use crate::kinds::Kind;
use crate::schedule::Dates;
use crate::store::{Columns, EVENTS_MAX, Place, Store, StoreError};

/// Devices that were heard of this long before are watched; of those that were not, it is known.
const REMEMBERED_MS: i64 = 7 * 24 * 3_600 * 1_000;
/// Days before and after now of which the hours of dates are known: those after now only until the hours are
/// read anew. A device that may be silent for longer than a tenth of those before is judged by the days of
/// the week for what is older.
const HOURS_DAYS: (i64, i64) = (100, 8);

/// Reads the rules, the fleet, what was heard of it last, and the open alerts.
pub(super) async fn evaluator(ingest: &Ingest) -> Result<Evaluator, AlertError> {
    let store = ingest.store();
    let now = ingest.clock().now();
    let mut evaluator = Evaluator {
        heard_from: now,
        looked_at: now,
        hours_read_at: now,
        ..Evaluator::default()
    };
    let statuses = read_fleet(store, &mut evaluator, now).await?;
    let open = alerts::open(store).await?;
    remember(store, &mut evaluator, (&statuses, &open), now).await?;
    for row in &open {
        if let Some(until) = row.silenced_until.filter(|_| row.state == "SILENCED") {
            evaluator.silenced.set(row.alert_id.clone(), Instant(until));
        }
    }
    renew::rules(store, &mut evaluator, &open, now).await?;
    Ok(evaluator)
}

/// Reads all devices and sites, and answers with what is newest of each device.
async fn read_fleet(
    store: &Store,
    evaluator: &mut Evaluator,
    now: Instant,
) -> Result<Vec<device_status::Model>, StoreError> {
    let mut statuses = Vec::new();
    let mut sites = BTreeSet::new();
    let mut page = fleet::IdPage {
        limit: u64::try_from(EVENTS_MAX).unwrap_or(u64::MAX),
        ..fleet::IdPage::default()
    };
    let all = fleet::DeviceFilter::default();
    loop {
        let rows = fleet::devices_page(store, &all, &page, &Store::own_allowance()).await?;
        let Some(last) = rows.last() else { break };
        page.after = Some(last.device.device_id.clone());
        for row in rows {
            sites.insert(row.device.site_key);
            let device = device_of(&row);
            evaluator
                .fleet
                .devices
                .insert(row.device.device_key, device);
            statuses.extend(row.status.clone());
        }
    }
    read_hours(store, &mut evaluator.fleet, &sites, now).await?;
    Ok(statuses)
}

/// Reads the hours of some sites.
async fn read_hours(
    store: &Store,
    fleet: &mut Fleet,
    sites: &BTreeSet<i64>,
    now: Instant,
) -> Result<(), StoreError> {
    let sites: Vec<i64> = sites.iter().copied().collect();
    let dates = Dates::around(now, HOURS_DAYS);
    let calendars = schedules::calendars(store, &sites, dates).await?;
    fleet.calendars.extend(calendars);
    Ok(())
}

fn device_of(row: &fleet::DeviceRow) -> Device {
    let registered_at = Instant(row.device.registered_at);
    let status = row.status.as_ref();
    let state_at = status.and_then(|status| status.state_at.zip(status.state_position));
    let (state_at, position) = state_at.unwrap_or((Instant::OLDEST.0, 0));
    Device {
        site: row.device.site_key,
        is_active: row.device.lifecycle == "ACTIVE",
        registered: (registered_at, Position(row.device.position)),
        state: status.and_then(|status| status.state.clone()),
        state_at: (Instant(state_at), Position(position)),
        provenance: Provenance::Real,
        interval_seconds: None,
        sign: None,
    }
}

/// Reads when those devices were heard of last that were so not long ago, or have an open alert.
async fn remember(
    store: &Store,
    evaluator: &mut Evaluator,
    (statuses, open): (&[device_status::Model], &[AlertRow]),
    now: Instant,
) -> Result<(), StoreError> {
    let since = now.plus_ms(-REMEMBERED_MS).0;
    let rows = open.iter();
    let silent: HashSet<i64> = rows.clone().filter_map(|row| row.device_key).collect();
    let sites: HashSet<i64> = rows.filter_map(|row| row.site_key).collect();
    let is_remembered = |row: &&device_status::Model| {
        let device = evaluator.fleet.devices.get(&row.device_key);
        row.last_seen_at.is_some_and(|at| at > since)
            || silent.contains(&row.device_key)
            || device.is_some_and(|device| sites.contains(&device.site))
    };
    let rows: Vec<&device_status::Model> = statuses.iter().filter(is_remembered).collect();
    for rows in rows.chunks(EVENTS_MAX) {
        let places: Vec<Place> = rows.iter().filter_map(|row| place(row)).collect();
        let kind = (Kind::DeviceMetrics, Columns::SMALL);
        for event in store.at(kind, &places, &Store::own_allowance()).await? {
            remember_one(&mut evaluator.fleet, &event, now);
        }
    }
    Ok(())
}

fn remember_one(fleet: &mut Fleet, event: &Event, now: Instant) {
    let fact = &event.fact;
    let Some(device) = fact.cell(metrics::Column::DeviceKey).int() else {
        return;
    };
    let Some(known) = fleet.devices.get_mut(&device) else {
        return;
    };
    known.provenance = fact.provenance;
    let interval = fact.cell(metrics::Column::CollectionIntervalSeconds);
    let interval_seconds = known.reports_every(interval.int());
    known.heard_of(Sign {
        device,
        reported_at: fact.occurred_at,
        heard_at: fact.occurred_at.min(now),
        interval_seconds,
        provenance: fact.provenance,
    });
}

/// The newest metrics of a device.
fn place(row: &device_status::Model) -> Option<Place> {
    Some(Place {
        position: Position(row.metrics_position?),
        occurred_at: Instant(row.metrics_at?),
    })
}

/// Reads the hours of some sites anew.
pub(super) async fn reschedule(
    store: &Store,
    evaluator: &mut Evaluator,
    now: Instant,
) -> Result<(), StoreError> {
    let sites = std::mem::take(&mut evaluator.rescheduled);
    if sites.is_empty() {
        return Ok(());
    }
    read_hours(store, &mut evaluator.fleet, &sites, now).await?;
    evaluator.renewed(&sites);
    Ok(())
}
