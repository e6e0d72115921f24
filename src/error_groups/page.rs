//! Pages of groups: which there are in a part of the fleet as of an instant, with what is told of each.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono_tz::Tz;
use futures_util::future::BoxFuture;

use super::GroupId;
use super::causes;
use super::counted::{self, Cut, Rest, Sums};
use super::standing::{Groups, Moment, Standing};
use crate::event::{Instant, Provenance};
use crate::history::error_groups::{self, Counts, DecisionRow, Devices};
use crate::history::{Part, Place};
use crate::insights::errors::fingerprint::{Fingerprint, hash};
use crate::insights::errors::group::{HOURS_KEPT, Mark, OnDevice, Status, hour_of};
use crate::insights::errors::part::Counted;
use crate::insights::errors::read::{Asked, ErrorGroup};
use crate::insights::errors::whole::Whole;
use crate::insights::input::Severity;
use crate::insights::number::float;
use crate::projections::groups::{ALL_DEVICES, NO_DEVICE, Tally};
use crate::store::{Store, StoreError};

/// Which groups: all conditions given must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Which {
    /// Of one of these categories.
    pub(crate) categories: Option<Vec<String>>,
    /// Of one of these severities.
    pub(crate) severities: Option<Vec<Severity>>,
    /// In one of these states.
    pub(crate) statuses: Option<Vec<Status>>,
    /// Seen at this instant or later.
    pub(crate) seen_since: Option<Instant>,
    /// Seen before this instant.
    pub(crate) seen_before: Option<Instant>,
}

/// In which order groups are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum By {
    /// Those first that were seen last.
    #[default]
    LastSeen,
    /// Those first that were seen most often.
    Count,
}

/// What is asked of groups.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// Provenances, of which the first is taken that has any groups there.
    pub(crate) provenances: Vec<Provenance>,
    /// Of when: nothing that happened later counts.
    pub(crate) as_of: Instant,
    /// Of what, and until when.
    pub(crate) cut: Cut,
    /// How many devices and sites that is.
    pub(crate) fleet: (usize, usize),
    /// Which of them.
    pub(crate) which: Which,
    /// In which order.
    pub(crate) by: By,
    /// Which part of the list.
    pub(crate) part: Part,
    /// Groups at most.
    pub(crate) rows: usize,
    /// In which times are told.
    pub(crate) zone: Tz,
}

/// A group as it is told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// Its id.
    pub(crate) id: GroupId,
    /// What is read of it.
    pub(crate) group: ErrorGroup,
    /// The last decision about it, be it a merge.
    pub(crate) decided: Option<DecisionRow>,
    /// Position of the last decision, also of one after the instant that was asked for; 0 for none.
    pub(crate) version: i64,
}

/// A page of groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    /// The groups.
    pub(crate) groups: Vec<Told>,
    /// How many there are on all pages.
    pub(crate) total: usize,
    /// Whether more follow, and whether some come before.
    pub(crate) sides: (bool, bool),
    /// Of which provenance they are; `None` if there is none anywhere.
    pub(crate) provenance: Option<Provenance>,
}

/// A group with what is known of it before it is on a page.
struct Found {
    id: Fingerprint,
    whole: Whole,
}

impl By {
    fn place(self, found: &Found) -> Place {
        let group = &found.whole.group;
        let first = match self {
            Self::LastSeen => group.last.0,
            Self::Count => i64::try_from(group.count).unwrap_or(i64::MAX),
        };
        (first, found.id.to_string())
    }

    /// The place of a group that is told.
    pub(crate) fn place_of(self, told: &Told) -> Place {
        let first = match self {
            Self::LastSeen => told.group.last.0,
            Self::Count => i64::try_from(told.group.count).unwrap_or(i64::MAX),
        };
        (first, told.id.id.to_string())
    }
}

impl Groups {
    /// A page of groups.
    pub(crate) fn page<'a>(
        &'a self,
        store: &'a Store,
        ask: &'a Ask,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(async move {
            let moment = Moment::of(store, ask.cut.until).await?;
            let mut page = Page::default();
            for provenance in &ask.provenances {
                let standing = self.standing(&moment, *provenance).await?;
                let rest = counted::rest(&moment, &standing);
                let found = found(&moment, (&standing, &ask.cut), None, &rest).await?;
                if !found.is_empty() {
                    let reading = (&moment, &standing, &rest);
                    page = told_page(store, reading, ask, found).await?;
                    page.provenance = Some(*provenance);
                    break;
                }
            }
            moment.end().await?;
            Ok(page)
        })
    }

    /// A group by its id, or by that of one that went into it.
    pub(crate) fn one<'a>(
        &'a self,
        store: &'a Store,
        id: GroupId,
        ask: &'a Ask,
    ) -> BoxFuture<'a, Result<Option<Told>, StoreError>> {
        Box::pin(async move {
            let moment = Moment::of(store, ask.cut.until).await?;
            let standing = self.standing(&moment, id.provenance).await?;
            let labels = standing.state.labels(id.id);
            let mut told = None;
            if !labels.is_empty() {
                let rest = counted::rest(&moment, &standing);
                let of = (&standing, &ask.cut);
                let found = found(&moment, of, Some(&labels), &rest).await?;
                let reading = (&moment, &standing, &rest);
                told = tell(store, reading, ask, found).await?.pop();
            }
            moment.end().await?;
            Ok(told)
        })
    }
}

/// The groups of a cut, some or all, as yet without hours and devices where they are not of all that there is.
async fn found(
    moment: &Moment,
    (standing, cut): (&Standing, &Cut),
    labels: Option<&[u64]>,
    rest: &Rest,
) -> Result<Vec<Found>, StoreError> {
    let wholes = match labels.and_then(|labels| labels.first()) {
        Some(label) => standing.state.current(*label).into_iter().collect(),
        None => standing.state.wholes(),
    };
    let found = |whole: Whole| Found {
        id: whole.id(),
        whole,
    };
    if cut.is_whole() {
        return Ok(wholes.into_iter().map(found).collect());
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
    let mut by_label: BTreeMap<u64, Tally> = BTreeMap::new();
    for ((label, _), tally) in sums {
        let held = by_label.entry(label);
        held.and_modify(|held| held.add(tally)).or_insert(tally);
    }
    let mut all = Vec::new();
    for mut whole in wholes {
        let tallies = whole.labels.iter().filter_map(|label| by_label.get(label));
        let Some(tally) = tallies.copied().reduce(|mut one, other| {
            one.add(other);
            one
        }) else {
            continue;
        };
        let id = whole.id();
        let mark = match cut.until {
            Some(until) => mark_at(moment, (standing, &together), &whole, until).await?,
            None => whole.group.mark,
        };
        let counted = Counted {
            events: tally.events.unsigned_abs(),
            first: tally.first,
            last: tally.last,
            severity: tally.severity,
        };
        whole.group = whole.group.part(&counted, mark);
        all.push(Found { id, whole });
    }
    Ok(all)
}

/// What was decided about a group by an instant, and whether it had come back by then.
async fn mark_at(
    moment: &Moment,
    (standing, together): (&Standing, &Sums),
    whole: &Whole,
    until: Instant,
) -> Result<Option<Mark>, StoreError> {
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
    let Some((at, status)) = marks.max() else {
        return Ok(None);
    };
    let lasts = whole.labels.iter();
    let last = lasts
        .filter_map(|label| together.get(&(*label, ALL_DEVICES)))
        .map(|of| of.last);
    let last = last
        .max()
        .filter(|last| status == Status::Resolved && *last > at);
    let mut reopened = None;
    if let Some(last) = last {
        let written = standing.written(&whole.labels);
        let counts = Counts {
            provenance: standing.provenance,
            labels: Some(&written),
            devices: Devices::Together,
            from: i64::from(hour_of(at)),
            before: i64::from(hour_of(until)),
        };
        let first = error_groups::first_after(&moment.tx, &counts, at).await?;
        reopened = Some(first.unwrap_or(last));
    }
    Ok(Some(Mark {
        at,
        status,
        reopened,
    }))
}

impl Which {
    fn has(&self, found: &Found) -> bool {
        let group = &found.whole.group;
        let among = |words: &Option<Vec<String>>, word: &String| {
            words.as_ref().is_none_or(|words| words.contains(word))
        };
        among(&self.categories, &group.category)
            && self
                .severities
                .as_ref()
                .is_none_or(|of| of.contains(&group.severity))
            && self
                .statuses
                .as_ref()
                .is_none_or(|of| of.contains(&group.status()))
            && self.seen_since.is_none_or(|since| group.last >= since)
            && self
                .seen_before
                .is_none_or(|before| group.founder.0 < before)
    }
}

/// What is read at one moment of a provenance.
type Reading<'a> = (&'a Moment, &'a Standing, &'a Rest);

async fn told_page(
    store: &Store,
    reading: Reading<'_>,
    ask: &Ask,
    mut found: Vec<Found>,
) -> Result<Page, StoreError> {
    found.retain(|found| ask.which.has(found));
    let total = found.len();
    found.sort_by_cached_key(|found| Reverse(ask.by.place(found)));
    let (found, sides) = cut(found, ask);
    Ok(Page {
        groups: tell(store, reading, ask, found).await?,
        total,
        sides,
        provenance: None,
    })
}

/// The part of a list that is asked for, and whether more follow it and some come before it.
fn cut(found: Vec<Found>, ask: &Ask) -> (Vec<Found>, (bool, bool)) {
    let is_after = |place: &Place| ask.part.after.as_ref().is_none_or(|after| place < after);
    let is_before = |place: &Place| ask.part.before.as_ref().is_none_or(|before| place > before);
    let places: Vec<Place> = found.iter().map(|found| ask.by.place(found)).collect();
    let first = places.iter().position(is_after).unwrap_or(places.len());
    let last = places
        .iter()
        .rposition(is_before)
        .map_or(0, |last| last + 1);
    let (mut first, mut last) = (first, last.max(first));
    if ask.part.from_end {
        first = first.max(last.saturating_sub(ask.rows));
    } else {
        last = last.min(first + ask.rows);
    }
    let sides = (last < places.len(), first > 0);
    let part = found.into_iter().skip(first).take(last - first);
    (part.collect(), sides)
}

/// Tells groups with all their evidence.
async fn tell(
    store: &Store,
    (moment, standing, rest): Reading<'_>,
    ask: &Ask,
    mut found: Vec<Found>,
) -> Result<Vec<Told>, StoreError> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    if !ask.cut.is_whole() {
        fill(moment, (standing, &ask.cut), rest, &mut found).await?;
    }
    let heard = error_groups::heard(&moment.tx, standing.provenance).await?;
    let asked = Asked {
        as_of: ask.as_of,
        heard: heard.map_or(ask.as_of, |(_, last)| last.min(ask.as_of)),
        from: heard.map(|(first, _)| first),
        devices: float(ask.fleet.0),
        per_site: float(ask.fleet.0) / float(ask.fleet.1.max(1)),
        zone: ask.zone,
    };
    let groups = found.iter_mut().map(|found| &mut found.whole.group);
    let changes =
        causes::before(store, (moment, standing), (ask, &asked), groups.collect()).await?;
    let mut all = Vec::with_capacity(found.len());
    for Found { id, whole } in found {
        let decisions = standing.decisions_of(&whole.labels);
        let by_then = decisions.iter().rev();
        let decided = by_then.copied().find(|row| row.occurred_at <= ask.as_of.0);
        let version = decisions.last().map_or(0, |row| row.position);
        let decided = decided.cloned();
        let Some(group) = standing.state.tell(id, whole, &changes, &asked) else {
            continue;
        };
        let provenance = standing.provenance;
        all.push(Told {
            id: GroupId { provenance, id },
            group,
            decided,
            version,
        });
    }
    Ok(all)
}

/// Adds hours and devices to groups that are made of what was counted.
async fn fill(
    moment: &Moment,
    (standing, cut): (&Standing, &Cut),
    rest: &Rest,
    found: &mut [Found],
) -> Result<(), StoreError> {
    let labels: Vec<u64> = found
        .iter()
        .flat_map(|found| found.whole.labels.clone())
        .collect();
    let lasts = found.iter().map(|found| hour_of(found.whole.group.last));
    let from = i64::from(lasts.min().unwrap_or_default()) - HOURS_KEPT;
    let of = (standing, cut);
    let hours = counted::hours(moment, of, (&labels, from), rest).await?;
    let devices = cut.devices.as_deref().map_or(Devices::Each, Devices::Of);
    let sums = counted::sums(moment, of, (Some(&labels), devices), rest).await?;
    for Found { whole, .. } in found {
        for label in &whole.labels {
            let of_label = hours.range((*label, i64::MIN)..=(*label, i64::MAX));
            for ((_, hour), events) in of_label {
                let hour = i32::try_from(*hour).unwrap_or(i32::MAX);
                whole
                    .group
                    .fill_hour(hour, u32::try_from(*events).unwrap_or(u32::MAX));
            }
            let of_label = sums.range((*label, i64::MIN)..=(*label, i64::MAX));
            for ((_, device), tally) in of_label.filter(|((_, device), _)| *device > NO_DEVICE) {
                let seen = OnDevice {
                    count: u32::try_from(tally.events).unwrap_or(u32::MAX),
                    first: tally.first,
                    last: tally.last,
                    after: Vec::new(),
                };
                whole.group.fill_device(hash(&[&device.to_string()]), seen);
            }
        }
    }
    Ok(())
}
