//! The errors of a group, the newest first: looked for in the hours in which it was seen, so that no more is read than
//! what else was recorded then.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use entity::error_logs::Column;
use futures_util::future::BoxFuture;

use super::GroupId;
use super::counted::{Cut, placed, query};
use super::standing::{Groups, Moment, Standing};
use crate::event::{Cell, Event, Instant, Position, Provenance};
use crate::history::error_groups::{self, Counts, Devices};
use crate::insights::errors::group::hour_of;
use crate::insights::input::HOUR;
use crate::kinds::{Envelope, Filter, Operand, Operator};
use crate::projections::groups::ALL_DEVICES;
use crate::store::{Allowance, PageQuery, Place, Store, StoreError};

/// Errors of other groups that are read for one page at most: then the page ends, and the next goes on from there.
const READ_MAX: usize = 20_000;
/// Devices by which errors are looked for; of more they are left out behind.
const DEVICES_MAX: usize = 500;

/// Of which group errors are looked for, and of what time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TimesAsk {
    /// The group.
    pub(crate) id: GroupId,
    /// Of what, and until when.
    pub(crate) cut: Arc<Cut>,
    /// After this place.
    pub(crate) after: Option<Place>,
    /// Errors at most.
    pub(crate) rows: usize,
}

/// When a group was seen.
#[derive(Debug)]
pub(crate) struct Times {
    standing: Arc<Standing>,
    labels: Vec<u64>,
    hours: BTreeSet<i64>,
    /// Where there may be more before those hours.
    rest: Option<Place>,
}

/// Which errors of a group.
#[derive(Debug)]
pub(crate) struct ErrorsAsk<'a> {
    /// Those of this group.
    pub(crate) of: &'a TimesAsk,
    /// When it was seen.
    pub(crate) times: &'a Times,
    /// What lets through only what the caller may read.
    pub(crate) seen: Filter,
}

/// Errors of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Errors {
    /// The errors, the newest first.
    pub(crate) events: Vec<Event>,
    /// Up to where it was looked for them, if there may be more.
    pub(crate) upto: Option<Place>,
}

impl Groups {
    /// When each of some groups was seen, all of them read of one moment.
    pub(crate) fn times<'a>(
        &'a self,
        store: &'a Store,
        asks: &'a [TimesAsk],
    ) -> BoxFuture<'a, Result<HashMap<TimesAsk, Arc<Times>>, StoreError>> {
        Box::pin(async move {
            let mut by_provenance: BTreeMap<Provenance, Vec<&TimesAsk>> = BTreeMap::new();
            for ask in asks {
                let of = by_provenance.entry(ask.id.provenance);
                of.or_default().push(ask);
            }
            let mut all = HashMap::with_capacity(asks.len());
            let moment = self.moment(store, None).await?;
            for (provenance, asks) in by_provenance {
                let standing = Arc::new(self.undecided(&moment, provenance).await?);
                for ask in asks {
                    let labels = standing.state.labels(ask.id.id);
                    let (hours, rest) = hours(&moment, (&standing, &labels), ask).await?;
                    let times = Times {
                        standing: Arc::clone(&standing),
                        labels,
                        hours,
                        rest,
                    };
                    all.insert(ask.clone(), Arc::new(times));
                }
            }
            moment.end().await?;
            Ok(all)
        })
    }
}

impl Errors {
    /// A page of the errors of a group. It may take its time, and needs no moment.
    pub(crate) fn find<'a>(
        store: &'a Store,
        (ask, allowance): (&'a ErrorsAsk<'a>, &'a Allowance),
    ) -> BoxFuture<'a, Result<Self, StoreError>> {
        Box::pin(async move {
            let mut search = Search {
                store,
                standing: &ask.times.standing,
                labels: &ask.times.labels,
                ask,
                allowance,
                left: READ_MAX,
                found: Self::default(),
            };
            for run in runs(&ask.times.hours) {
                if search.look(run).await? {
                    return Ok(search.found);
                }
            }
            search.found.upto = ask.times.rest;
            Ok(search.found)
        })
    }
}

/// The last hours before a place in which a group was seen, and where there may be more, the place before them: each
/// has an error at least, so no more are needed than there may be errors, if the caller may read all of them.
async fn hours(
    moment: &Moment,
    (standing, labels): (&Standing, &[u64]),
    ask: &TimesAsk,
) -> Result<(BTreeSet<i64>, Option<Place>), StoreError> {
    let ends = [ask.after.map(|after| after.occurred_at), ask.cut.until];
    let end = ends.into_iter().flatten().min();
    let before = end.map_or(i64::MAX, |end| i64::from(hour_of(end)) + 1);
    let written = standing.written(labels);
    let counts = Counts {
        provenance: standing.provenance,
        labels: Some(&written),
        devices: ask.cut.on(Devices::Together),
        from: i64::MIN,
        before,
    };
    // of the first none may be left, and one more tells whether there are more
    let limit = i64::try_from(ask.rows + 2).unwrap_or(i64::MAX);
    let hours = error_groups::last_hours(&moment.tx, &counts, limit).await?;
    let is_cut = hours.len() > ask.rows + 1;
    let rest = hours.last().filter(|_| is_cut).map(|hour| Place {
        occurred_at: Instant(hour * HOUR),
        position: Position::START,
    });
    let mut hours: BTreeSet<i64> = hours.into_iter().collect();
    let fresh = standing.fresh.hours.keys();
    hours.extend(fresh.filter_map(|(label, device, hour)| {
        let is_asked = labels.contains(label) && *device != ALL_DEVICES && *hour < before;
        is_asked.then_some(*hour)
    }));
    // what is new may be of hours before those, which are then looked at in their turn
    let oldest = rest.map_or(i64::MIN, |rest| i64::from(hour_of(rest.occurred_at)));
    hours.retain(|hour| *hour >= oldest);
    Ok((hours, rest))
}

/// Hours that follow one another, as times from the first to the last instant, the last first.
fn runs(hours: &BTreeSet<i64>) -> Vec<(Instant, Instant)> {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for hour in hours.iter().rev() {
        match runs.last_mut() {
            Some((first, _)) if *first == hour + 1 => *first = *hour,
            _ => runs.push((*hour, *hour)),
        }
    }
    let times = runs.into_iter();
    times
        .map(|(first, last)| (Instant(first * HOUR), Instant((last + 1) * HOUR - 1)))
        .collect()
}

struct Search<'a> {
    store: &'a Store,
    standing: &'a Standing,
    labels: &'a [u64],
    ask: &'a ErrorsAsk<'a>,
    allowance: &'a Allowance,
    /// Events that may still be read.
    left: usize,
    found: Errors,
}

impl Search<'_> {
    /// Looks for errors in some time; whether it is at its end, before all times are.
    async fn look(&mut self, (from, to): (Instant, Instant)) -> Result<bool, StoreError> {
        let to = self.ask.of.cut.until.map_or(to, |until| until.min(to));
        let mut query = self.query((from, to));
        query.after = self.ask.of.after;
        loop {
            let page = self.store.page(&query, self.allowance).await?;
            query.after = page.last().map(Place::of);
            let is_last = page.len() < query.limit;
            self.left = self.left.saturating_sub(page.len());
            for event in page {
                let place = Place::of(&event);
                if self.is_asked(&event) {
                    if self.found.events.len() == self.ask.of.rows {
                        return Ok(true);
                    }
                    self.found.events.push(event);
                }
                self.found.upto = Some(place);
            }
            if is_last {
                return Ok(false);
            }
            if self.left == 0 {
                return Ok(true);
            }
        }
    }

    fn is_asked(&self, event: &Event) -> bool {
        let (label, device, _) = placed(self.standing, event);
        let devices = self.ask.of.cut.devices.as_ref();
        let is_there = devices.is_none_or(|devices| devices.binary_search(&device).is_ok());
        is_there && self.labels.contains(&label)
    }

    /// The errors of some time that may be of the group.
    fn query(&self, times: (Instant, Instant)) -> PageQuery {
        let mut query = query(times);
        let groups = self.labels.iter();
        let groups: Vec<_> = groups
            .filter_map(|label| self.standing.state.group(*label))
            .collect();
        let categories = groups
            .iter()
            .map(|group| Cell::from(group.category.as_str()));
        let provenance = Cell::Int(self.standing.provenance.code());
        let of = Operand::Envelope(Envelope::Provenance);
        let provenance = Filter::Is(of, Operator::In(vec![provenance]));
        let mut filter = query.filter.and(provenance).and(self.ask.seen.clone());
        let spec = query.kind.spec();
        let field = |column: Column| spec.index_of_column(entity::ColumnName::name(&column));
        if let Some(category) = field(Column::Category) {
            let is = Operator::In(categories.collect());
            filter = filter.and(Filter::Is(Operand::Field(category), is));
        }
        let codes: Option<Vec<Cell>> = groups
            .iter()
            .map(|group| group.code.as_deref().map(Cell::from))
            .collect();
        if let Some((code, codes)) = field(Column::ErrorCode).zip(codes) {
            filter = filter.and(Filter::Is(Operand::Field(code), Operator::In(codes)));
        }
        let devices = self.ask.of.cut.devices.as_ref();
        if let Some(devices) = devices.filter(|devices| devices.len() <= DEVICES_MAX) {
            let devices = devices.iter().copied().map(Cell::Int).collect();
            filter = filter.and(Filter::Is(Operand::Device, Operator::In(devices)));
        }
        query.filter = filter;
        query
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_that_follow_one_another_are_one_time() {
        let hours = BTreeSet::from([3, 4, 5, 9, 11]);
        let of = |first: i64, last: i64| (Instant(first * HOUR), Instant((last + 1) * HOUR - 1));
        assert_eq!(runs(&hours), [of(11, 11), of(9, 9), of(3, 5)]);
    }
}
