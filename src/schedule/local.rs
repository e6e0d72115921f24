//! Rows as hours in local time, and the days of a calendar strung together: no zone comes in here.

use std::collections::VecDeque;

use serde_json::Value as Json;

use super::calendar::{Calendar, Sort};
use crate::kinds::time_of_day;
use crate::store::Place;

/// Seconds of a day on a clock.
pub(super) const DAY_SECONDS: i64 = 86_400;
/// The same as hours of a day are kept.
const DAY: u32 = 86_400;

/// Hours of a day, in seconds since its midnight: more than a day's are on the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    const DAY: Self = Self { start: 0, end: DAY };

    /// From one time of day to the first such time after it as the other says.
    fn of(start: &str, end: &str) -> Option<Self> {
        let start = time_of_day(start)?;
        let mut end = time_of_day(end)?;
        while end <= start {
            end += DAY;
        }
        Some(Self { start, end })
    }
}

/// A stretch of time, with the day, counted from 1970, to which its beginning belongs. On local time it is
/// counted in seconds since 1970 as the clock shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) day: i64,
    pub(super) start: i64,
    pub(super) end: i64,
}

impl Stretch {
    /// The hours of a day.
    pub(super) fn of(span: Span, day: i64) -> Self {
        let midnight = day.saturating_mul(DAY_SECONDS);
        Self {
            day,
            start: midnight.saturating_add(span.start.into()),
            end: midnight.saturating_add(span.end.into()),
        }
    }
}

/// What was said of a day, as far as a calendar asks for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a> {
    /// The event that said it.
    pub(crate) place: Place,
    /// Whether it is closed all day.
    pub(crate) is_closed: bool,
    /// When it opens and when it closes, if both were said.
    pub(crate) times: Option<(&'a str, &'a str)>,
    /// When most customers come: a list of windows.
    pub(crate) peaks: Option<&'a Json>,
    /// When jobs may disturb: a list of windows.
    pub(crate) maintenance: Option<&'a Json>,
}

/// The same in numbers: some 60 bytes, and 8 more for each window.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) place: Place,
    open: Option<Span>,
    peaks: Box<[Span]>,
    maintenance: Box<[Span]>,
}

impl Row {
    pub(super) fn of(said: Said<'_>) -> Self {
        let times = said.times.filter(|_| !said.is_closed);
        Self {
            place: said.place,
            open: times.and_then(|(open, close)| Span::of(open, close)),
            peaks: windows(said.peaks.filter(|_| !said.is_closed)),
            maintenance: windows(said.maintenance),
        }
    }

    /// What it takes in memory.
    pub(super) fn weight_bytes(&self) -> usize {
        let windows = self.peaks.len() + self.maintenance.len();
        size_of::<Self>() + windows * size_of::<Span>()
    }

    /// Its hours of a sort, in no order.
    pub(super) fn spans(&self, sort: Sort) -> impl Iterator<Item = Span> {
        let none: &[Span] = &[];
        let (day, open, windows) = match sort {
            Sort::Known => (Some(Span::DAY), self.open, &*self.maintenance),
            Sort::Open => (None, self.open, none),
            Sort::Peak => (None, None, &*self.peaks),
            Sort::Maintenance => (None, None, &*self.maintenance),
        };
        let windows = windows.iter().copied();
        day.into_iter().chain(open).chain(windows)
    }
}

fn windows(windows: Option<&Json>) -> Box<[Span]> {
    let span = |window: &Json| {
        let (start, end) = window.get("start").zip(window.get("end"))?;
        Span::of(start.as_str()?, end.as_str()?)
    };
    let windows = windows.and_then(Json::as_array).into_iter().flatten();
    windows.filter_map(span).collect()
}

/// The stretches of a sort in local time, day by day: in order, and those that touch are one.
pub(super) struct Local<'a> {
    calendar: &'a Calendar,
    sort: Sort,
    /// The day that is read next, and the last one.
    day: i64,
    last: i64,
    waiting: VecDeque<Stretch>,
}

impl<'a> Local<'a> {
    /// Those of the days from one to another.
    pub(super) fn new(calendar: &'a Calendar, sort: Sort, (day, last): (i64, i64)) -> Self {
        let waiting = VecDeque::new();
        Self {
            calendar,
            sort,
            day,
            last,
            waiting,
        }
    }

    /// Reads another day.
    fn read(&mut self) {
        let row = self.calendar.row(self.day).into_iter();
        let spans = row.flat_map(|row| row.spans(self.sort));
        let mut stretches: Vec<Stretch> = spans.map(|s| Stretch::of(s, self.day)).collect();
        self.day += 1;
        if stretches.is_empty() {
            return;
        }
        stretches.extend(self.waiting.drain(..));
        stretches.sort_by_key(|stretch| (stretch.start, stretch.day));
        for stretch in stretches {
            match self.waiting.back_mut() {
                Some(before) if stretch.start <= before.end => {
                    before.end = before.end.max(stretch.end);
                }
                _ => self.waiting.push_back(stretch),
            }
        }
    }
}

impl Iterator for Local<'_> {
    type Item = Stretch;

    fn next(&mut self) -> Option<Stretch> {
        loop {
            // what is read later begins no earlier than its day
            let midnight = self.day.saturating_mul(DAY_SECONDS);
            let is_whole = |first: &Stretch| self.day > self.last || first.end < midnight;
            if self.waiting.front().is_some_and(is_whole) {
                return self.waiting.pop_front();
            }
            if self.day > self.last {
                return None;
            }
            self.read();
        }
    }
}
