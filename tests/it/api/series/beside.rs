//! The time with which a range is compared, and what of it stands beside each bucket: reckoned minute by minute and
//! day by day, or by walking back from bucket to bucket.

use std::collections::BTreeMap;

use chrono::{Datelike as _, Months, NaiveDate, NaiveTime, TimeDelta};
use chrono_tz::Tz;

use super::asked::Asked;
use super::clock::Clock;
use super::recorded::MICROS;

/// From an instant until just before another.
type Span = (i64, i64);

/// What stands beside the buckets of what is asked.
pub(super) struct Beside<'a> {
    asked: &'a Asked,
    clock: Clock,
    /// The earlier time; none if there is no such time.
    pub(super) range: Option<Span>,
    /// What is known to stand beside buckets, by when they begin.
    spans: BTreeMap<i64, Option<Span>>,
}

impl<'a> Beside<'a> {
    /// Beside the buckets of what is asked, from the beginning of the first to the end of the last; nothing if it is
    /// not compared.
    pub(super) fn of(asked: &'a Asked, bounds: Span, zone: Tz) -> Option<Self> {
        let (range, spans) = match asked.compare_with? {
            "PREVIOUS_PERIOD" => {
                let (range, spans) = asked.before(bounds, zone);
                (Some(range), spans)
            }
            _ => (asked.moved_range(zone), BTreeMap::new()),
        };
        Some(Self {
            asked,
            clock: asked.clock(zone),
            range,
            spans,
        })
    }

    /// What stands beside a bucket; nothing where nothing does.
    pub(super) fn span(&mut self, bucket: Span) -> Option<Span> {
        if let Some(known) = self.spans.get(&bucket.0) {
            return *known;
        }
        let span = self.reckoned(bucket);
        self.spans.insert(bucket.0, span);
        span
    }

    fn reckoned(&self, (start, end): Span) -> Option<Span> {
        let range = self.range?;
        let span = match self.asked.unit {
            "MINUTE" | "HOUR" => self.of_minutes((start, end))?,
            "DAY" | "WEEK" => self.of_days((start, end))?,
            // all of a month is beside a month
            _ => {
                let moved = |at: i64| self.asked.moved(self.clock, at);
                (moved(start), moved(end))
            }
        };
        (span.0.max(range.0) < span.1.min(range.1)).then_some(span)
    }

    /// From the first to the last of the minutes that the clock shows then as in the bucket, when it shows them first.
    fn of_minutes(&self, (start, end): Span) -> Option<Span> {
        let (clock, minute) = (self.clock, 60 * MICROS);
        let minutes = (0..).map(|minutes| start + minutes * minute);
        let minutes = minutes.take_while(|at| *at < end);
        let shown = minutes.filter_map(|at| {
            let (local, day) = (clock.local(at), clock.day(at));
            let moved = local + (self.asked.day_before(day)? - day);
            let before = clock.first(moved);
            let is_shown = clock.first(local) == at && clock.local(before) == moved;
            is_shown.then_some(before)
        });
        let shown: Vec<i64> = shown.collect();
        Some((*shown.iter().min()?, *shown.iter().max()? + minute))
    }

    /// From the first to the last of its days that the earlier time has.
    fn of_days(&self, (start, end): Span) -> Option<Span> {
        let (first, last) = (self.clock.day(start), self.clock.day(end - 1));
        let days = first.iter_days().take_while(|day| *day <= last);
        let before = days.filter_map(|day| self.asked.day_before(day));
        let before: Vec<NaiveDate> = before.collect();
        let (first, last) = (*before.first()?, *before.last()?);
        let end = self.clock.begin(last + TimeDelta::days(1));
        Some((self.clock.begin(first), end))
    }
}

impl Asked {
    /// The time with which it is compared if it is not cut into buckets; none if there is no such time.
    pub(super) fn earlier(&self, zone: Tz) -> Option<Span> {
        match self.compare_with? {
            "PREVIOUS_PERIOD" => Some(self.just_before(zone)),
            _ => self.moved_range(zone),
        }
    }

    fn moved_range(&self, zone: Tz) -> Option<Span> {
        let clock = self.clock(zone);
        let (from, to) = (self.moved(clock, self.from), self.moved(clock, self.to));
        (from < to).then_some((from, to))
    }

    /// The same day a week, a month or a year before; none in a month that has no such day.
    fn day_before(&self, day: NaiveDate) -> Option<NaiveDate> {
        let months = match self.compare_with? {
            "PREVIOUS_WEEK" => return Some(day - TimeDelta::days(7)),
            // weeks are compared with weeks
            "PREVIOUS_YEAR" if self.unit == "WEEK" => return Some(day - TimeDelta::days(364)),
            "PREVIOUS_MONTH" => 1,
            _ => 12,
        };
        let month = day.year() * 12 + i32::try_from(day.month0()).unwrap() - months;
        let (year, month) = (month.div_euclid(12), month.rem_euclid(12));
        NaiveDate::from_ymd_opt(year, u32::try_from(month).unwrap() + 1, day.day())
    }

    /// An end moved: as the clock shows it, or to where the first day after it begins that there is.
    fn moved(&self, clock: Clock, at: i64) -> i64 {
        let is_begin = clock.begin(clock.day(at)) == at;
        let at = clock.unrepeated(at);
        let day = clock.day(at);
        let later = day.iter_days();
        let mut moved = later.filter_map(|later| Some((later, self.day_before(later)?)));
        let (later, before) = moved.next().unwrap();
        if is_begin || later != day {
            return clock.begin(before);
        }
        clock.first(clock.local(at) + (before - day))
    }

    /// As many buckets before those from one instant to another, found by walking back from label to label,
    /// and of the first and the last of them as much as is asked for of those: all, if they are whole, and of
    /// a single one that is not as long a time, as far as it goes. And which of them stands beside each.
    fn before(&self, (first, last): Span, zone: Tz) -> (Span, BTreeMap<i64, Option<Span>>) {
        let step = if self.unit == "MINUTE" { 60 } else { 900 } * MICROS;
        let begins_before = |end: i64| {
            let label = self.label(end - step, zone);
            let back = (1..).map(|many| end - many * step);
            let last = back.take_while(|at| self.label(*at, zone) == label).last();
            last.unwrap()
        };
        // from the last on
        let (mut starts, mut at) = (Vec::new(), last);
        while at > first {
            at = begins_before(at);
            starts.push(at);
        }
        assert_eq!(at, first, "buckets begin where labels change");
        let count = starts.len();
        let mut begins = vec![first];
        for _ in 0..count {
            begins.push(begins_before(*begins.last().unwrap()));
        }
        let is_begin_whole = self.from == first;
        let is_end_whole = self.to == last;
        let mut from = begins[count];
        if !is_begin_whole {
            from = (from + (self.from - first)).min(begins[count - 1] - 1);
        }
        let to = if count == 1 && !(is_begin_whole && is_end_whole) {
            from + (self.to - self.from)
        } else if is_end_whole {
            first
        } else {
            begins[1] + (self.to - starts[0])
        };
        let spans = starts.into_iter().zip(begins.windows(2));
        let spans = spans.map(|(start, pair)| (start, Some((pair[1], pair[0]))));
        ((from, to.min(first)), spans.collect())
    }

    /// As much before a time that is not cut: as many months, if it is from midnight to midnight of the first days of
    /// some, as many days, if it is from one midnight to another, else as long a time.
    fn just_before(&self, zone: Tz) -> Span {
        let clock = self.clock(zone);
        let (from, to) = (clock.local(self.from), clock.local(self.to));
        if from.time() != NaiveTime::MIN || to.time() != NaiveTime::MIN {
            return (self.from - (self.to - self.from), self.from);
        }
        let years = to.year() - from.year();
        let months =
            years * 12 + i32::try_from(to.month()).unwrap() - i32::try_from(from.month()).unwrap();
        let before = if from.day() == 1 && to.day() == 1 {
            from - Months::new(u32::try_from(months).unwrap())
        } else {
            from - (to - from)
        };
        (clock.first(before), self.from)
    }
}
