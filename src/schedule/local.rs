//! Rows as hours in local time, and the days of a calendar strung together: no zone comes in here.

use std::collections::VecDeque;

use entity::site_operating_schedules::Column;
use serde_json::Value as Json;

use super::calendar::{Calendar, Sort};
use crate::event::{Cell, Event, Position};
use crate::kinds::time_of_day;

/// Seconds of a day on a clock.
pub(super) const DAY_SECONDS: i64 = 86_400;

/// Hours of a day, in seconds since its midnight: more than a day's are on the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: i64,
    end: i64,
}

impl Span {
    const DAY: Self = Self {
        start: 0,
        end: DAY_SECONDS,
    };

    /// From one time of day to the first such time after it as the other says.
    fn of(start: &str, end: &str) -> Option<Self> {
        let start = i64::from(time_of_day(start)?);
        let mut end = i64::from(time_of_day(end)?);
        while end <= start {
            end += DAY_SECONDS;
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
    pub(super) const fn of(span: Span, day: i64) -> Self {
        let midnight = day.saturating_mul(DAY_SECONDS);
        Self {
            day,
            start: midnight.saturating_add(span.start),
            end: midnight.saturating_add(span.end),
        }
    }
}

/// What was said of a day.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) position: Position,
    open: Option<Span>,
    peaks: Vec<Span>,
    maintenance: Vec<Span>,
}

impl Row {
    /// What an event says.
    pub(super) fn of(event: &Event) -> Self {
        let cell = |column: Column| event.fact.cell(column);
        let is_closed = matches!(cell(Column::IsClosed), Cell::Int(1));
        let times = cell(Column::OpenTime)
            .text()
            .zip(cell(Column::CloseTime).text());
        let times = times.filter(|_| !is_closed);
        let peaks = windows(cell(Column::PeakHours));
        Self {
            position: event.position,
            open: times.and_then(|(open, close)| Span::of(open, close)),
            peaks: if is_closed { Vec::new() } else { peaks },
            maintenance: windows(cell(Column::MaintenanceWindows)),
        }
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

fn windows(cell: &Cell) -> Vec<Span> {
    let Cell::Json(windows) = cell else {
        return Vec::new();
    };
    let time = |window: &'_ Json, key: &str| window.get(key)?.as_str().map(str::to_owned);
    let span = |window: &Json| Span::of(&time(window, "start")?, &time(window, "end")?);
    let windows = windows.as_array().map(Vec::as_slice).unwrap_or_default();
    windows.iter().filter_map(span).collect()
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
