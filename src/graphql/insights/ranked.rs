//! Lists that are made in memory: the whole is put in order, and a page is cut from it.

use std::cmp::Ordering;

use async_graphql::{Context, Error};
use futures_util::future::BoxFuture;

use crate::graphql::access;
use crate::graphql::listed::{Ends, Listed};
use crate::graphql::loaders;
use crate::graphql::pages::{DeviceFilterInput, PageInfo, condition};
use crate::graphql::{api, of_failed};
use crate::history::device_keys::{SERVING, device_keys};
use crate::history::fleet::DeviceFilter;
use crate::history::{Part, Place, Within};

/// Which page of a list is asked for.
#[derive(Clone, Debug, Default)]
pub(in crate::graphql) struct PageOf {
    pub(in crate::graphql) first: Option<i32>,
    pub(in crate::graphql) after: Option<String>,
    pub(in crate::graphql) last: Option<i32>,
    pub(in crate::graphql) before: Option<String>,
}

/// A page of a list, those first that rank highest, and of one rank in order of their ids.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct Page<T> {
    pub(in crate::graphql) rows: Vec<(Place, T)>,
    /// How many there are on all pages.
    pub(in crate::graphql) total: usize,
    ends: Ends,
    list: Listed,
}

fn order(one: &Place, other: &Place) -> Ordering {
    other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1))
}

impl<T> Page<T> {
    /// Puts rows in order and cuts a page from them.
    pub(in crate::graphql) fn of(
        list: Listed,
        mut rows: Vec<(Place, T)>,
        asked: PageOf,
    ) -> Result<Self, Error> {
        let (size, part) = list.part((asked.first, asked.after), (asked.last, asked.before))?;
        rows.sort_by(|one, other| order(&one.0, &other.0));
        let total = rows.len();
        let (begin, end) = bounds(&rows, &part);
        let within = end.saturating_sub(begin);
        let (skipped, taken) = if part.from_end {
            (begin + within.saturating_sub(size), within.min(size))
        } else {
            (begin, within.min(size))
        };
        let ends = Ends {
            from_end: part.from_end,
            more: within > size,
            other: if part.from_end {
                end < total
            } else {
                begin > 0
            },
        };
        let rows = rows.into_iter().skip(skipped).take(taken).collect();
        Ok(Self {
            rows,
            total,
            ends,
            list,
        })
    }

    /// The same page with something else in its rows, told one after another.
    pub(in crate::graphql) fn map_in_turn<U>(self, mut of: impl FnMut() -> Option<U>) -> Page<U> {
        let rows = self.rows.into_iter();
        let rows = rows.filter_map(|(place, _)| Some((place, of()?)));
        Page {
            rows: rows.collect(),
            total: self.total,
            ends: self.ends,
            list: self.list,
        }
    }

    /// The place of a row as text.
    pub(in crate::graphql) fn cursor(&self, place: &Place) -> String {
        self.list.write(place)
    }

    /// Where it stands among the others.
    pub(in crate::graphql) fn info(&self) -> PageInfo {
        let place = |row: Option<&(Place, T)>| row.map(|(place, _)| place.clone());
        let (first, last) = (place(self.rows.first()), place(self.rows.last()));
        self.list.info(self.ends, first.as_ref(), last.as_ref())
    }
}

/// Where the rows of a part begin, and where they end.
fn bounds<T>(rows: &[(Place, T)], part: &Part) -> (usize, usize) {
    let after = part.after.as_ref().map_or(0, |after| {
        rows.partition_point(|(place, _)| order(place, after) != Ordering::Greater)
    });
    let before = part.before.as_ref().map_or(rows.len(), |before| {
        rows.partition_point(|(place, _)| order(place, before) == Ordering::Less)
    });
    (after, before)
}

/// A number that is not negative as a rank: greater numbers have greater ones.
pub(in crate::graphql) fn rank(number: f64) -> i64 {
    i64::try_from(number.max(0.0).to_bits()).unwrap_or(i64::MAX)
}

/// Devices of which a list is made, of those that the caller reaches.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct Among {
    /// Their keys, in order.
    pub(in crate::graphql) keys: Vec<i64>,
    /// Whether it is all devices in use.
    pub(in crate::graphql) is_all: bool,
}

/// The condition on devices that is asked for; without one on the lifecycle it is that they are in use.
pub(in crate::graphql) fn filter_of<'a>(
    ctx: &'a Context<'a>,
    filter: Option<DeviceFilterInput>,
) -> BoxFuture<'a, Result<DeviceFilter, Error>> {
    Box::pin(async move {
        let filter = match filter {
            Some(filter) => condition(ctx, filter).await?,
            None => DeviceFilter::default(),
        };
        let in_use = || SERVING.map(str::to_owned).to_vec();
        Ok(DeviceFilter {
            lifecycles: Some(filter.lifecycles.unwrap_or_else(in_use)),
            ..filter
        })
    })
}

/// Devices within reach for which a condition holds; without one on the lifecycle those that are in use.
pub(in crate::graphql) fn among<'a>(
    ctx: &'a Context<'a>,
    filter: Option<DeviceFilterInput>,
) -> BoxFuture<'a, Result<Among, Error>> {
    Box::pin(async move {
        let is_filtered = filter.is_some();
        let within = access::within(ctx).await?;
        let is_all = !is_filtered && within == Within::Whole;
        let filter = DeviceFilter {
            within,
            ..filter_of(ctx, filter).await?
        };
        let keys = device_keys(api(ctx).store(), &filter).await;
        let keys = keys.map_err(|error| of_failed(api(ctx), &error))?;
        Ok(Among {
            keys: keys.into_iter().collect(),
            is_all,
        })
    })
}

/// Counts devices that are looked at for a list, so many of them as one row, before they are.
pub(in crate::graphql) fn count(
    ctx: &Context<'_>,
    devices: usize,
    to_a_row: usize,
) -> Result<(), Error> {
    loaders(ctx).count(devices.div_ceil(to_a_row))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: Listed = Listed {
        name: "test",
        rows: 2,
        rows_max: 10,
    };

    fn rows() -> Vec<(Place, char)> {
        let of = |rank: f64, id: &str, name| ((super::rank(rank), id.to_owned()), name);
        vec![
            of(0.1, "a", 'd'),
            of(0.5, "b", 'b'),
            of(0.5, "c", 'c'),
            of(0.9, "d", 'a'),
            of(0.0, "e", 'e'),
        ]
    }

    fn page(asked: PageOf) -> (String, bool, bool, PageOf) {
        let page = Page::of(LIST, rows(), asked).unwrap();
        let info = page.info();
        let next = PageOf {
            after: info.end_cursor,
            ..PageOf::default()
        };
        let names = page.rows.iter().map(|(_, name)| name).collect();
        (names, info.has_next_page, info.has_previous_page, next)
    }

    #[test]
    fn pages_follow_each_other_without_a_row_twice_or_missing() {
        let (names, next, previous, after) = page(PageOf::default());
        assert_eq!((names.as_str(), next, previous), ("ab", true, false));
        let (names, next, previous, after) = page(after);
        assert_eq!((names.as_str(), next, previous), ("cd", true, true));
        let (names, next, previous, after) = page(after);
        assert_eq!((names.as_str(), next, previous), ("e", false, true));
        let before = PageOf {
            before: after.after,
            last: Some(2),
            ..PageOf::default()
        };
        let (names, next, previous, _) = page(before);
        assert_eq!((names.as_str(), next, previous), ("cd", true, true));
    }

    #[test]
    fn the_end_of_the_list_is_asked_for_too() {
        let last = PageOf {
            last: Some(3),
            ..PageOf::default()
        };
        let (names, next, previous, _) = page(last);
        assert_eq!((names.as_str(), next, previous), ("cde", false, true));
        let none = PageOf {
            first: Some(0),
            ..PageOf::default()
        };
        assert_eq!(page(none).0, "");
    }
}
