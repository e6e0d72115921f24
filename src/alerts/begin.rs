//! What is known when the rules begin to be evaluated: it is read from what is folded, so that nothing of
//! it is kept anywhere else.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use entity::{device_metrics as metrics, device_status};

use super::AlertError;
use super::evaluate::Evaluator;
use super::fleet::{Device, Fleet, Scope};
use super::gaps::{Gaps, Sign, Told};
use super::rates::Rates;
use super::recall;
use super::rule::{Rule, Watch};
use super::rules::all_rules;
use super::runs::Runs;
use super::states::States;
use super::verdict::{Cause, End, Verdict};
use crate::event::{Event, Instant, Position, Provenance};
use crate::history::alerts::{self, AlertRow};
use crate::history::{fleet, schedules};
use crate::ingest::Ingest;
use crate::kinds::Kind;
use crate::schedule::{Dates, RANGE_DAYS_MAX};
use crate::store::{Columns, EVENTS_MAX, EntityType, Place, Store, StoreError};

/// Devices that were heard of this long before are watched; of those that were not, it is known.
const REMEMBERED_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// Days before and after now of which the hours of dates are known. A device that may be silent for longer than
/// a tenth of those before is judged by the days of the week for what is older.
const HOURS_DAYS: (i64, i64) = (100, RANGE_DAYS_MAX);

/// Reads the rules, the fleet, what was heard of it last, and the open alerts.
pub(super) async fn evaluator(ingest: &Ingest) -> Result<Evaluator, AlertError> {
    let store = ingest.store();
    let now = ingest.clock().now();
    let mut evaluator = Evaluator::default();
    let statuses = read_fleet(store, &mut evaluator).await?;
    let open = alerts::open(store).await?;
    let rules = all_rules(store).await?;
    for rule in rules.into_iter().filter(|rule| rule.is_enabled) {
        let scope = scope(store, &rule).await?;
        let rule = Arc::new(rule);
        match &rule.spec.watch {
            Watch::CollectionGap(gap) => {
                let gaps = Gaps::new(Arc::clone(&rule), gap.clone(), scope.clone());
                evaluator.gaps.push(gaps);
            }
            Watch::State(state) => {
                let states = States::new(Arc::clone(&rule), state.clone(), scope.clone());
                evaluator.states.push(states);
            }
            Watch::Metric(metric) => {
                let runs = Runs::new(Arc::clone(&rule), metric.clone(), scope.clone());
                evaluator.runs.push(runs);
            }
            Watch::ErrorRate(rate) => {
                let rates = Rates::new(Arc::clone(&rule), rate.clone(), scope.clone());
                evaluator.rates.push(rates);
            }
            Watch::JobFailure(failure) => {
                evaluator
                    .failures
                    .push((Arc::clone(&rule), failure.clone()));
            }
        }
        evaluator.rules.insert(rule.rule_id.clone(), scope);
    }
    let open = Open::of(&open);
    remember(store, &mut evaluator, (&statuses, &open), now).await?;
    recall::all(store, &mut evaluator, &open, now).await?;
    let outdated = outdated(&evaluator, open.rows, now);
    evaluator.verdicts.extend(outdated);
    Ok(evaluator)
}

/// The open alerts, and by the ids of their rules those of devices and of whole sites.
#[derive(Debug)]
pub(super) struct Open<'a> {
    pub(super) rows: &'a [AlertRow],
    devices: HashSet<(&'a str, i64)>,
    /// Since when the sites are silent.
    sites: HashMap<(&'a str, i64), Instant>,
}

impl<'a> Open<'a> {
    fn of(rows: &'a [AlertRow]) -> Self {
        let (mut devices, mut sites) = (HashSet::new(), HashMap::new());
        for row in rows {
            let rule_id = row.rule_id.as_str();
            match (row.device_key, row.site_key) {
                (Some(device), _) => {
                    devices.insert((rule_id, device));
                }
                (None, Some(site)) => {
                    let since = Instant(row.started_at);
                    sites.entry((rule_id, site)).or_insert(since);
                }
                (None, None) => {}
            }
        }
        Self {
            rows,
            devices,
            sites,
        }
    }

    /// Whether there is one of a device by a rule.
    pub(super) fn has_device(&self, rule_id: &str, device: i64) -> bool {
        self.devices.contains(&(rule_id, device))
    }

    /// Since when there is one of a site by a rule.
    fn site_since(&self, rule_id: &str, site: i64) -> Option<Instant> {
        self.sites.get(&(rule_id, site)).copied()
    }
}

/// Reads all devices and sites, and answers with what is newest of each device.
async fn read_fleet(
    store: &Store,
    evaluator: &mut Evaluator,
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
    read_hours(store, &mut evaluator.fleet, &sites).await?;
    Ok(statuses)
}

/// Reads the hours of some sites.
async fn read_hours(
    store: &Store,
    fleet: &mut Fleet,
    sites: &BTreeSet<i64>,
) -> Result<(), StoreError> {
    let sites: Vec<i64> = sites.iter().copied().collect();
    let dates = Dates::around(store.clock().now(), HOURS_DAYS);
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
    }
}

/// Which sites and devices a rule is for.
async fn scope(store: &Store, rule: &Rule) -> Result<Scope, StoreError> {
    if rule.is_for_all() {
        return Ok(Scope::All);
    }
    let (mut sites, mut devices) = (HashSet::new(), HashSet::new());
    for id in &rule.spec.site_ids {
        sites.extend(store.key(EntityType::Site, id).await?);
    }
    for id in &rule.spec.device_ids {
        devices.extend(store.key(EntityType::Device, id).await?);
    }
    Ok(Scope::Some { sites, devices })
}

/// Gives each rule of silence the devices that were heard of not long ago, or have an open alert.
async fn remember(
    store: &Store,
    evaluator: &mut Evaluator,
    (statuses, open): (&[device_status::Model], &Open<'_>),
    now: Instant,
) -> Result<(), StoreError> {
    let since = now.plus_ms(-REMEMBERED_MS).0;
    let rows = open.rows.iter();
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
            remember_one(evaluator, &event, open, now);
        }
    }
    Ok(())
}

fn remember_one(evaluator: &mut Evaluator, event: &Event, open: &Open<'_>, now: Instant) {
    let fact = &event.fact;
    let Some(device) = fact.cell(metrics::Column::DeviceKey).int() else {
        return;
    };
    let Some(known) = evaluator.fleet.devices.get_mut(&device) else {
        return;
    };
    known.provenance = fact.provenance;
    let site = known.site;
    let interval = fact.cell(metrics::Column::CollectionIntervalSeconds);
    let interval = known.reports_every(interval.int());
    let sign = Sign {
        device,
        reported_at: fact.occurred_at,
        heard_at: fact.occurred_at.min(now),
        interval_seconds: interval,
        provenance: fact.provenance,
    };
    for gaps in &mut evaluator.gaps {
        let told = Told {
            device: open.has_device(gaps.rule_id(), device),
            site: open.site_since(gaps.rule_id(), site),
        };
        gaps.remember(&evaluator.fleet, sign, told, now);
    }
}

/// The newest metrics of a device.
fn place(row: &device_status::Model) -> Option<Place> {
    Some(Place {
        position: Position(row.metrics_position?),
        occurred_at: Instant(row.metrics_at?),
    })
}

/// Alerts that are open and have no reason to be any more: their rule is gone, or their device is out of
/// use or of the rule.
fn outdated(evaluator: &Evaluator, open: &[AlertRow], now: Instant) -> Vec<Verdict> {
    let end = |row: &AlertRow, cause: Cause, reason: &str| {
        Verdict::Ends(End {
            rule_id: row.rule_id.clone(),
            cause,
            at: now,
            reason: reason.to_owned(),
        })
    };
    let gaps = evaluator.gaps.iter().map(|gaps| (gaps.rule_id(), gaps));
    let gaps: HashMap<&str, &Gaps> = gaps.collect();
    let mut verdicts = Vec::new();
    for row in open {
        let Some(cause) = cause_of(row) else { continue };
        let Some(scope) = evaluator.rules.get(&row.rule_id) else {
            verdicts.push(end(row, cause, "its rule was deleted or disabled"));
            continue;
        };
        let is_meant = match gaps.get(row.rule_id.as_str()) {
            Some(gaps) => gaps.is_concerned_with(&cause),
            None => is_meant(&evaluator.fleet, scope, &cause),
        };
        if !is_meant {
            let reason = "it is out of use, or the rule is not for it any more";
            verdicts.push(end(row, cause, reason));
        }
    }
    verdicts
}

/// Whether a rule is for a cause, and that is in use.
fn is_meant(fleet: &Fleet, scope: &Scope, cause: &Cause) -> bool {
    match cause {
        Cause::Device(key) => {
            let device = fleet.devices.get(key);
            device.is_some_and(|device| device.is_active && scope.has(*key, device.site))
        }
        Cause::Site(key) => scope.reaches_site(fleet, *key),
        Cause::Job(_) | Cause::Fleet => true,
    }
}

/// The cause of an alert, by keys.
pub(super) fn cause_of(row: &AlertRow) -> Option<Cause> {
    match row.cause.split_once('/') {
        Some(("device", _)) => row.device_key.map(Cause::Device),
        Some(("site", _)) => row.site_key.map(Cause::Site),
        Some(("job", id)) => Some(Cause::Job(id.to_owned())),
        _ => Some(Cause::Fleet),
    }
}

/// Reads the hours of some sites anew.
pub(super) async fn reschedule(store: &Store, evaluator: &mut Evaluator) -> Result<(), StoreError> {
    let sites = std::mem::take(&mut evaluator.rescheduled);
    if sites.is_empty() {
        return Ok(());
    }
    read_hours(store, &mut evaluator.fleet, &sites).await?;
    evaluator.renewed(&sites);
    Ok(())
}
