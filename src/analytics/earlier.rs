//! The time with which a range is compared, and what of it stands beside each bucket.
//!
//! Just before a range are as many buckets as it has: they stand beside its own in their order. The same time a
//! week, a month or a year before is found for each bucket by moving its ends on the clock. Beside what the earlier
//! time has not, such as 31 February or an hour that a clock jumps over, stands nothing, and so beside what the clock
//! shows a second time. What of the earlier time then stands beside nothing is in the whole of it alone.

use chrono::{Datelike, Days, Months, NaiveDate};

use super::ask::BUCKETS_MAX;
use super::buckets::{Resolution, TooMany, Unit};
use super::calendar::Calendar;

const SECOND: i64 = 1_000_000;

/// With what a range is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// As many buckets just before it; of what has none as many months or days, if it is whole ones, else as long a
    /// time.
    Period,
    /// The same time a week before.
    Week,
    /// The same time a month before.
    Month,
    /// The same time a year before; of weeks 52 of them.
    Year,
}

/// The time with which a series is compared.
#[derive(Debug)]
pub(super) struct Before {
    pub(super) range: (i64, i64),
    /// The beginnings of its buckets, and the end of the last one.
    pub(super) ends: Vec<i64>,
    /// Which of them stands beside each bucket of the series, by the place of that; none where nothing does.
    pub(super) places: Vec<Option<usize>>,
}

impl Earlier {
    /// The range that is compared with one that is not cut into buckets; none if there is no such time.
    pub(super) fn range(self, calendar: &Calendar, (from, to): (i64, i64)) -> Option<(i64, i64)> {
        let Some(back) = self.back(None) else {
            let whole = whole_before(calendar, (from, to));
            return Some(whole.unwrap_or((from - (to - from), from)));
        };
        back.range(calendar, (from, to))
    }

    /// What is compared with a range that is cut into buckets; nothing if there is no such time.
    ///
    /// # Errors
    /// When there would be too many buckets.
    pub(super) fn before(
        self,
        (calendar, resolution): (&Calendar, Resolution),
        ends: &[i64],
        range: (i64, i64),
    ) -> Result<Option<Before>, TooMany> {
        let Some(back) = self.back(Some(resolution.unit)) else {
            let range = resolution.before(calendar, ends, range)?;
            return Ok(Some(Before {
                range,
                ends: resolution.buckets(calendar, range, BUCKETS_MAX)?,
                places: (0..ends.len().saturating_sub(1)).map(Some).collect(),
            }));
        };
        let buckets = ends.iter().zip(ends.iter().skip(1));
        let spans =
            buckets.map(|(start, end)| back.span((calendar, resolution.unit), (*start, *end)));
        let range = back.range(calendar, range);
        Ok(range.map(|range| Before::of(range, spans)))
    }

    /// How far dates are moved back, of buckets of a unit; nothing where it is not dates that are moved.
    const fn back(self, unit: Option<Unit>) -> Option<Back> {
        match (self, unit) {
            (Self::Period, _) => None,
            (Self::Week, _) => Some(Back::Days(7)),
            (Self::Month, _) => Some(Back::Months(1)),
            // beside a week stands a week
            (Self::Year, Some(Unit::Week)) => Some(Back::Days(52 * 7)),
            (Self::Year, _) => Some(Back::Months(12)),
        }
    }
}

impl Before {
    /// An earlier range, cut into what stands beside buckets, in their order, and what lies between.
    fn of(range: (i64, i64), spans: impl Iterator<Item = (i64, i64)>) -> Self {
        let (mut ends, mut places) = (Vec::new(), Vec::new());
        for (start, end) in spans {
            if start.max(range.0) >= end.min(range.1) {
                places.push(None);
                continue;
            }
            if ends.is_empty() && range.0 < start {
                ends.push(range.0);
            }
            if ends.last() != Some(&start) {
                ends.push(start);
            }
            places.push(Some(ends.len() - 1));
            ends.push(end);
        }
        if ends.is_empty() {
            ends.push(range.0);
        }
        if ends.last().is_some_and(|last| *last < range.1) {
            ends.push(range.1);
        }
        Self {
            range,
            ends,
            places,
        }
    }
}

/// How far dates are moved back.
#[derive(Clone, Copy, Debug)]
enum Back {
    Days(u64),
    Months(u32),
}

/// A date that was moved.
#[derive(Clone, Copy, Debug)]
enum Moved {
    /// The same day.
    Same(NaiveDate),
    /// There is no such day in that month: this is the first after it.
    After(NaiveDate),
}

impl Back {
    /// The date so far before another.
    fn date(self, date: NaiveDate) -> Moved {
        let before = match self {
            Self::Days(days) => date.checked_sub_days(Days::new(days)),
            Self::Months(months) => date.checked_sub_months(Months::new(months)),
        };
        let before = before.unwrap_or(date);
        // it is then the last day of its month
        let is_missing = matches!(self, Self::Months(_)) && before.day() != date.day();
        if is_missing {
            Moved::After(before.succ_opt().unwrap_or(before))
        } else {
            Moved::Same(before)
        }
    }

    /// An instant moved: when the clock shows the same, or the first instant after that if it never does.
    fn instant(self, calendar: &Calendar, at: i64) -> i64 {
        let at = calendar.unrepeated(at);
        match self.date(calendar.date(at)) {
            Moved::Same(date) => calendar.moved(at, date),
            Moved::After(date) => calendar.begin(date),
        }
    }

    /// The same; and with what begins a business day begins one, also where a clock jumps over it.
    fn end(self, calendar: &Calendar, at: i64) -> i64 {
        let date = calendar.date(at);
        if calendar.begin(date) != at {
            return self.instant(calendar, at);
        }
        let (Moved::Same(date) | Moved::After(date)) = self.date(date);
        calendar.begin(date)
    }

    fn range(self, calendar: &Calendar, (from, to): (i64, i64)) -> Option<(i64, i64)> {
        let (from, to) = (self.end(calendar, from), self.end(calendar, to));
        (from < to).then_some((from, to))
    }

    /// What stands beside a bucket: nothing if it ends as it begins.
    ///
    /// It ends just after its last instant, so that 28 February has one day beside it a month before and not four;
    /// but a month has all of a month beside it, however long both are.
    fn span(self, (calendar, unit): (&Calendar, Unit), (start, end): (i64, i64)) -> (i64, i64) {
        match unit {
            Unit::Minute | Unit::Hour => {
                let last = self.instant(calendar, end - 1);
                // all buckets begin and end with a second
                let end = last + (-last).rem_euclid(SECOND);
                (self.instant(calendar, start), end)
            }
            Unit::Day | Unit::Week => {
                let end = match self.date(calendar.date(end - 1)) {
                    Moved::Same(last) => last.succ_opt().unwrap_or(last),
                    Moved::After(next) => next,
                };
                (self.end(calendar, start), calendar.begin(end))
            }
            Unit::Month | Unit::Quarter | Unit::Year => {
                (self.end(calendar, start), self.end(calendar, end))
            }
        }
    }
}

/// As many months just before a range that is whole ones, or else as many days: as series of these are compared, and of
/// weeks, which are seven days.
fn whole_before(calendar: &Calendar, range: (i64, i64)) -> Option<(i64, i64)> {
    let units = [Unit::Month, Unit::Day].map(Resolution::of);
    units.into_iter().find_map(|unit| {
        let ends = unit.buckets(calendar, range, BUCKETS_MAX).ok()?;
        let bounds = ends.first().copied().zip(ends.last().copied());
        if bounds != Some(range) {
            return None;
        }
        unit.before(calendar, &ends, range).ok()
    })
}
