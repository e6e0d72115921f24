//! Pages of groups: which there are in a part of the fleet as of an instant, with what is told of each.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono_tz::Tz;
use futures_util::future::BoxFuture;

use super::GroupId;
use super::causes;
use super::counted::{self, Cut};
use super::found::{Found, Parts, fill, found};
use super::standing::{Groups, Moment, Standing};
use crate::event::{Instant, Provenance};
use crate::history::error_groups::{self, DecisionRow};
use crate::history::{Part, Place};
use crate::insights::errors::group::Status;
use crate::insights::errors::read::{Asked, ErrorGroup};
use crate::insights::input::Severity;
use crate::insights::number::float;
use crate::store::{Store, StoreError};

/// Which groups: all conditions given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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
            let mut pages = self.pages(store, ask, &Parts::Together).await?;
            Ok(pages.remove(&0).unwrap_or_default())
        })
    }

    /// A page of groups of each of some parts of the fleet, which are asked for together; of a part without groups
    /// there is none.
    pub(crate) fn pages<'a>(
        &'a self,
        store: &'a Store,
        ask: &'a Ask,
        parts: &'a Parts,
    ) -> BoxFuture<'a, Result<BTreeMap<i64, Page>, StoreError>> {
        Box::pin(async move {
            let moment = self.moment(store, ask.cut.until).await?;
            let mut pages: BTreeMap<i64, Page> = BTreeMap::new();
            for provenance in &ask.provenances {
                let standing = self.standing(&moment, *provenance).await?;
                let rest = counted::rest(&moment, &standing);
                let of = (&standing, &ask.cut);
                let mut all = found(&moment, of, (None, parts), &rest).await?;
                all.retain(|part, found| !found.is_empty() && !pages.contains_key(part));
                let mut chosen = Vec::new();
                for (part, found) in all {
                    let (found, mut page) = choose(found, ask);
                    page.provenance = Some(*provenance);
                    pages.insert(part, page);
                    chosen.extend(found);
                }
                fill(&moment, of, (&rest, parts), &mut chosen).await?;
                for (part, told) in tell(store, (&moment, &standing), ask, chosen).await? {
                    pages.entry(part).or_default().groups.push(told);
                }
                if pages.len() == parts.count() {
                    break;
                }
            }
            moment.end().await?;
            Ok(pages)
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
            let moment = self.moment(store, ask.cut.until).await?;
            let standing = self.standing(&moment, id.provenance).await?;
            let labels = standing.state.labels(id.id);
            let mut told = Vec::new();
            if !labels.is_empty() {
                let (rest, parts) = (counted::rest(&moment, &standing), Parts::Together);
                let of = (&standing, &ask.cut);
                let found = found(&moment, of, (Some(&labels), &parts), &rest).await?;
                let mut found: Vec<Found> = found.into_values().flatten().collect();
                fill(&moment, of, (&rest, &parts), &mut found).await?;
                told = tell(store, (&moment, &standing), ask, found).await?;
            }
            moment.end().await?;
            Ok(told.pop().map(|(_, told)| told))
        })
    }
}

impl Which {
    fn has(&self, found: &Found) -> bool {
        let group = &found.whole.group;
        let categories = self.categories.as_ref();
        let severities = self.severities.as_ref();
        let statuses = self.statuses.as_ref();
        categories.is_none_or(|of| of.contains(&group.category))
            && severities.is_none_or(|of| of.contains(&group.severity))
            && statuses.is_none_or(|of| of.contains(&group.status()))
            && self.seen_since.is_none_or(|since| group.last >= since)
            && self
                .seen_before
                .is_none_or(|before| group.founder.0 < before)
    }
}

/// The groups that are on a page, and the page without them.
fn choose(mut found: Vec<Found>, ask: &Ask) -> (Vec<Found>, Page) {
    found.retain(|found| ask.which.has(found));
    let total = found.len();
    found.sort_by_cached_key(|found| Reverse(ask.by.place(found)));
    let (found, sides) = cut(found, ask);
    let page = Page {
        total,
        sides,
        ..Page::default()
    };
    (found, page)
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

/// Tells groups with all their evidence, each with the part of the fleet that it is of.
async fn tell(
    store: &Store,
    (moment, standing): (&Moment, &Standing),
    ask: &Ask,
    mut found: Vec<Found>,
) -> Result<Vec<(i64, Told)>, StoreError> {
    if found.is_empty() {
        return Ok(Vec::new());
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
    for Found { id, whole, part } in found {
        let decisions = standing.decisions_of(&whole.labels);
        let by_then = decisions.iter().rev();
        let decided = by_then.copied().find(|row| row.occurred_at <= ask.as_of.0);
        let version = decisions.last().map_or(0, |row| row.position);
        let decided = decided.cloned();
        let provenance = standing.provenance;
        if let Some(group) = standing.state.tell(id, whole, &changes, &asked) {
            let id = GroupId { provenance, id };
            let told = Told {
                id,
                group,
                decided,
                version,
            };
            all.push((part, told));
        }
    }
    Ok(all)
}
