//! What was counted of groups in a part of the fleet, or until an instant.

use std::collections::BTreeMap;

use super::found::Parts;
use super::standing::{Moment, Standing};
use crate::event::{Cell, Event, Instant};
use crate::history::error_groups::{self, Counts, Devices};
use crate::insights::errors::group::hour_of;
use crate::insights::input::Severity;
use crate::kinds::{Envelope, Filter, Kind, Operand, Operator};
use crate::projections::groups::told::Failed;
use crate::projections::groups::{ALL_DEVICES, NO_DEVICE, Tally};
use crate::store::{Columns, Order, PageQuery, Scope, StoreError};
use entity::error_logs as errors;

/// Errors that are read at once.
const PAGE_EVENTS: usize = 1_000;

/// Of which part of the fleet, and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Cut {
    /// Of these devices, in the order of their keys; `None` for the whole fleet.
    pub(crate) devices: Option<Vec<i64>>,
    /// Until an instant that is past; `None` until now.
    pub(crate) until: Option<Instant>,
}

impl Cut {
    /// Whether it is all that there is.
    pub(super) const fn is_whole(&self) -> bool {
        self.devices.is_none() && self.until.is_none()
    }

    /// On which devices is counted, of the whole fleet as is said.
    pub(super) fn on<'a>(&'a self, of_fleet: Devices<'a>) -> Devices<'a> {
        self.devices.as_deref().map_or(of_fleet, Devices::Of)
    }

    fn before(&self) -> i64 {
        self.until
            .map_or(i64::MAX, |until| i64::from(hour_of(until)))
    }

    fn has(&self, device: i64) -> bool {
        match &self.devices {
            Some(devices) => devices.binary_search(&device).is_ok(),
            None => true,
        }
    }
}

/// What was counted of each group, by its label, on each device, or on all together.
pub(super) type Sums = BTreeMap<(u64, i64), Tally>;

/// What was counted of groups in the hour that an instant before lies in, until that: by label, device and hour.
pub(super) type Rest = Vec<((u64, i64, i64), Tally)>;

/// What was counted in the hour in which the end of a cut lies, up to that.
pub(super) fn rest(moment: &Moment, standing: &Standing) -> Rest {
    let counted = moment.hour.of(standing.provenance);
    let counted = counted.flat_map(|(alike, devices)| {
        let label = standing.state.label_of_alike(alike);
        devices.iter().map(move |(device, tally)| {
            let place = (label, *device, i64::from(hour_of(tally.first)));
            (place, *tally)
        })
    });
    counted.collect()
}

/// The label of the group of an error, its device, and how severe it is.
pub(super) fn placed(standing: &Standing, event: &Event) -> (u64, i64, Severity) {
    let device = event.fact.cell(errors::Column::DeviceKey).int();
    let failed = Failed::of(event);
    let seen = failed.seen();
    let label = standing.state.label_of(&seen);
    (label, device.unwrap_or(NO_DEVICE), seen.error.severity)
}

/// All errors from an instant to another, the newest first.
pub(super) fn query((from, to): (Instant, Instant)) -> PageQuery {
    let at = |operator| Filter::Is(Operand::Envelope(Envelope::OccurredAt), operator);
    PageQuery {
        kind: Kind::ErrorLog,
        filter: Filter::And(vec![
            at(Operator::AtLeast(Cell::Int(from.0))),
            at(Operator::AtMost(Cell::Int(to.0))),
        ]),
        order: Order::NewestFirst,
        after: None,
        before: None,
        upto: None,
        scope: Scope::All,
        columns: Columns::ALL,
        limit: PAGE_EVENTS,
    }
}

/// The counts of a cut that are not in the tables: those of the hour in which it ends, and what was counted since the
/// groups were folded.
fn beside<'a>(
    standing: &'a Standing,
    cut: &'a Cut,
    rest: &'a Rest,
) -> impl Iterator<Item = ((u64, i64, i64), Tally)> + 'a {
    let before = cut.before();
    let fresh = standing.fresh.hours.iter();
    let fresh = fresh
        .filter(move |((_, device, hour), _)| *device != ALL_DEVICES && *hour < before)
        .map(|(place, tally)| (*place, *tally));
    fresh.chain(rest.iter().copied())
}

/// What was counted of each group in a cut, of some groups or all: on each device, or where it is of the whole fleet on
/// all together.
pub(super) async fn sums(
    moment: &Moment,
    (standing, cut): (&Standing, &Cut),
    (labels, devices): (Option<&[u64]>, Devices<'_>),
    rest: &Rest,
) -> Result<Sums, StoreError> {
    let written = labels.map(|labels| standing.written(labels));
    let counts = Counts {
        provenance: standing.provenance,
        labels: written.as_deref(),
        devices,
        from: i64::MIN,
        before: cut.before(),
    };
    let mut sums = Sums::new();
    let mut add = |place: (u64, i64), tally: Tally| {
        let held = sums.entry(place);
        held.and_modify(|held| held.add(tally)).or_insert(tally);
    };
    for (label, device, tally) in error_groups::sums(&moment.tx, &counts).await? {
        if let Some(label) = standing.label(label) {
            add((label, device), tally);
        }
    }
    for ((label, device, _), tally) in beside(standing, cut, rest) {
        if labels.is_some_and(|labels| !labels.contains(&label)) {
            continue;
        }
        match devices {
            Devices::Together => add((label, ALL_DEVICES), tally),
            Devices::Each => add((label, device), tally),
            Devices::Of(keys) if keys.binary_search(&device).is_ok() => add((label, device), tally),
            Devices::Of(_) => {}
        }
    }
    Ok(sums)
}

/// How often each of some groups was seen in each part of a cut in each hour, from an hour on: by part, label and hour.
pub(super) async fn hours(
    moment: &Moment,
    (standing, cut): (&Standing, &Cut),
    (labels, from, parts): (&[u64], i64, &Parts),
    rest: &Rest,
) -> Result<BTreeMap<(i64, u64, i64), i64>, StoreError> {
    let written = standing.written(labels);
    let counts = Counts {
        provenance: standing.provenance,
        labels: Some(&written),
        devices: cut.on(Devices::Together),
        from,
        before: cut.before(),
    };
    let rows = match parts {
        Parts::Together => error_groups::hours(&moment.tx, &counts).await?,
        Parts::Apart(_) => error_groups::hours_of_each(&moment.tx, &counts).await?,
    };
    let mut hours: BTreeMap<(i64, u64, i64), i64> = BTreeMap::new();
    let mut add = |(label, device, hour): (u64, i64, i64), events: i64| {
        if let Some(part) = parts.of(device) {
            *hours.entry((part, label, hour)).or_default() += events;
        }
    };
    for ((label, device, hour), events) in rows {
        if let Some(label) = standing.label(label) {
            add((label, device, hour), events);
        }
    }
    for (place, tally) in beside(standing, cut, rest) {
        let (label, device, hour) = place;
        if labels.contains(&label) && hour >= from && cut.has(device) {
            add(place, tally.events);
        }
    }
    Ok(hours)
}
