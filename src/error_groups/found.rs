//! Which groups there are in parts of the fleet, and what they come to there.

use std::collections::{BTreeMap, BTreeSet};

use super::counted::{self, Cut, Rest, Sums};
use super::standing::{Moment, Standing};
use crate::event::Instant;
use crate::history::error_groups::{self, Devices};
use crate::insights::errors::fingerprint::{Fingerprint, hash};
use crate::insights::errors::group::{HOURS_KEPT, Mark, OnDevice, Status, hour_of};
use crate::insights::errors::part::Counted;
use crate::insights::errors::whole::Whole;
use crate::projections::groups::{ALL_DEVICES, NO_DEVICE, Tally};
use crate::store::StoreError;

/// The parts of what is asked for that are told apart.
#[derive(Clone, Debug)]
pub(crate) enum Parts {
    /// All of it is one part, 0.
    Together,
    /// By the keys of the devices, each of which is of one part.
    Apart(BTreeMap<i64, i64>),
}

impl Parts {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Together => 1,
            Self::Apart(parts) => {
                let parts = parts.values().copied();
                parts.collect::<BTreeSet<i64>>().len()
            }
        }
    }

    /// The part of a device.
    pub(super) fn of(&self, device: i64) -> Option<i64> {
        match self {
            Self::Together => Some(0),
            Self::Apart(parts) => parts.get(&device).copied(),
        }
    }
}

/// A group with what is known of it before it is on a page.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: Fingerprint,
    pub(super) whole: Whole,
    /// The part that it is of.
    pub(super) part: i64,
}

/// The groups of each part of a cut, some or all, as yet without hours and devices where they are not of all that there
/// is.
pub(super) async fn found(
    moment: &Moment,
    (standing, cut): (&Standing, &Cut),
    (labels, parts): (Option<&[u64]>, &Parts),
    rest: &Rest,
) -> Result<BTreeMap<i64, Vec<Found>>, StoreError> {
    let wholes = match labels.and_then(|labels| labels.first()) {
        Some(label) => standing.state.current(*label).into_iter().collect(),
        None => standing.state.wholes(),
    };
    if cut.is_whole() {
        let found = |whole: Whole| Found {
            id: whole.id(),
            whole,
            part: 0,
        };
        return Ok(BTreeMap::from([(
            0,
            wholes.into_iter().map(found).collect(),
        )]));
    }
    let of = (standing, cut);
    let whole = (labels, Devices::Together);
    // of an instant before, what held follows from when all of it was seen
    let together = match cut.until {
        Some(_) => counted::sums(moment, of, whole, rest).await?,
        None => Sums::new(),
    };
    let sums = match &cut.devices {
        Some(keys) => counted::sums(moment, of, (labels, Devices::Of(keys)), rest).await?,
        None => together.clone(),
    };
    let by_part = by_part(&wholes, sums, parts);
    let seen: BTreeSet<usize> = by_part.values().flat_map(BTreeMap::keys).copied().collect();
    let seen = seen
        .into_iter()
        .filter_map(|place| Some((place, wholes.get(place)?)));
    // they are the same in all parts
    let marks: BTreeMap<usize, Mark> = match cut.until {
        Some(until) => {
            let seen: Vec<(usize, &Whole)> = seen.collect();
            marks_at(moment, (standing, &together), &seen, until).await?
        }
        None => seen
            .filter_map(|(place, whole)| Some((place, whole.group.mark?)))
            .collect(),
    };
    let mut all = BTreeMap::new();
    for (part, tallies) in by_part {
        let found = tallies.into_iter().filter_map(|(place, here)| {
            let mark = marks.get(&place).copied();
            let of = (standing, wholes.get(place)?);
            Some(counted_as(of, (&here, mark), part))
        });
        all.insert(part, found.collect());
    }
    Ok(all)
}

/// What was counted of a group in a part, and of which of its labels there was any.
struct Here {
    tally: Tally,
    labels: BTreeSet<u64>,
}

/// What was counted of each group in each part, by its place in a list.
fn by_part(wholes: &[Whole], sums: Sums, parts: &Parts) -> BTreeMap<i64, BTreeMap<usize, Here>> {
    let labels = wholes.iter().enumerate();
    let places: BTreeMap<u64, usize> = labels
        .flat_map(|(place, whole)| whole.labels.iter().map(move |label| (*label, place)))
        .collect();
    let mut by_part: BTreeMap<i64, BTreeMap<usize, Here>> = BTreeMap::new();
    for ((label, device), tally) in sums {
        if let Some((part, place)) = parts.of(device).zip(places.get(&label)) {
            let held = by_part.entry(part).or_default().entry(*place);
            held.and_modify(|held| {
                held.tally.add(tally);
                held.labels.insert(label);
            })
            .or_insert_with(|| Here {
                tally,
                labels: BTreeSet::from([label]),
            });
        }
    }
    by_part
}

/// A group as far as it was counted. What its messages say is told of those alone that were seen there: of the others
/// that operators joined with them, whoever reaches no more than this part is told nothing.
fn counted_as(
    (standing, whole): (&Standing, &Whole),
    (here, mark): (&Here, Option<Mark>),
    part: i64,
) -> Found {
    let counted = Counted {
        events: here.tally.events.unsigned_abs(),
        first: here.tally.first,
        last: here.tally.last,
        severity: here.tally.severity,
    };
    let of_part = standing.state.founder(&here.labels);
    let (founder, group) = of_part.unwrap_or((whole.founder, &whole.group));
    let mut group = group.part(&counted, mark);
    // its id is that of all of it
    group.founder.1 = whole.group.founder.1;
    Found {
        id: whole.id(),
        whole: Whole {
            labels: whole.labels.clone(),
            founder,
            group,
        },
        part,
    }
}

/// What was decided by an instant about groups, each with its place in a list, and when those had come back by then that
/// did: read for all of them together.
async fn marks_at(
    moment: &Moment,
    (standing, together): (&Standing, &Sums),
    wholes: &[(usize, &Whole)],
    until: Instant,
) -> Result<BTreeMap<usize, Mark>, StoreError> {
    let mut marks = BTreeMap::new();
    let (mut asked, mut places) = (Vec::new(), BTreeMap::new());
    for (place, whole) in wholes {
        let Some(mark) = mark_at(standing, (whole, together), until) else {
            continue;
        };
        marks.insert(*place, mark);
        if mark.reopened.is_some() {
            for label in standing.written(&whole.labels) {
                let hour = i64::from(hour_of(mark.at));
                asked.push([label.cast_signed(), mark.at.0, hour]);
                places.insert(label, *place);
            }
        }
    }
    let of = (standing.provenance, i64::from(hour_of(until)));
    let firsts = error_groups::firsts_after(&moment.tx, of, &asked).await?;
    let mut came_back: BTreeMap<usize, Instant> = BTreeMap::new();
    for (label, first) in firsts {
        if let Some(place) = places.get(&label) {
            let held = came_back.entry(*place).or_insert(first);
            *held = first.min(*held);
        }
    }
    for (place, first) in came_back {
        if let Some(mark) = marks.get_mut(&place) {
            mark.reopened = Some(first);
        }
    }
    Ok(marks)
}

/// What was decided about a group by an instant; if it had come back by then, with its last error as when it did.
fn mark_at(
    standing: &Standing,
    (whole, together): (&Whole, &Sums),
    until: Instant,
) -> Option<Mark> {
    let decisions = standing.decisions_of(&whole.labels);
    let by_then = decisions.iter().filter(|row| row.occurred_at <= until.0);
    let marks = by_then.filter_map(|row| {
        let status = match row.change.as_str() {
            "RESOLVED" => Status::Resolved,
            "IGNORED" => Status::Ignored,
            "REOPENED" => Status::Open,
            _ => return None,
        };
        Some((Instant(row.occurred_at), status))
    });
    let (at, status) = marks.max()?;
    let lasts = whole.labels.iter();
    let lasts = lasts.filter_map(|label| together.get(&(*label, ALL_DEVICES)));
    let last = lasts.map(|of| of.last).max();
    Some(Mark {
        at,
        status,
        reopened: last.filter(|last| status == Status::Resolved && *last > at),
    })
}

/// Adds hours and devices to groups that are made of what was counted.
pub(super) async fn fill(
    moment: &Moment,
    (standing, cut): (&Standing, &Cut),
    (rest, parts): (&Rest, &Parts),
    found: &mut [Found],
) -> Result<(), StoreError> {
    if cut.is_whole() || found.is_empty() {
        return Ok(());
    }
    let labels = found.iter().flat_map(|found| &found.whole.labels);
    let labels: BTreeSet<u64> = labels.copied().collect();
    let labels: Vec<u64> = labels.into_iter().collect();
    let lasts = found.iter().map(|found| hour_of(found.whole.group.last));
    let from = i64::from(lasts.min().unwrap_or_default()) - HOURS_KEPT;
    let of = (standing, cut);
    let hours = counted::hours(moment, of, (&labels, from, parts), rest).await?;
    let devices = cut.on(Devices::Each);
    let sums = counted::sums(moment, of, (Some(&labels), devices), rest).await?;
    for Found { whole, part, .. } in found {
        for label in &whole.labels {
            let of_label = hours.range((*part, *label, i64::MIN)..=(*part, *label, i64::MAX));
            for ((_, _, hour), events) in of_label {
                let hour = i32::try_from(*hour).unwrap_or(i32::MAX);
                let events = u32::try_from(*events).unwrap_or(u32::MAX);
                whole.group.fill_hour(hour, events);
            }
            let of_label = sums.range((*label, i64::MIN)..=(*label, i64::MAX));
            let of_part = of_label.filter(|((_, device), _)| parts.of(*device) == Some(*part));
            for ((_, device), tally) in of_part.filter(|((_, device), _)| *device > NO_DEVICE) {
                let seen = OnDevice {
                    count: u32::try_from(tally.events).unwrap_or(u32::MAX),
                    first: tally.first,
                    last: tally.last,
                    after: Vec::new(),
                };
                let device = hash(&[&device.to_string()]);
                whole.group.fill_device(device, seen);
            }
        }
    }
    Ok(())
}
