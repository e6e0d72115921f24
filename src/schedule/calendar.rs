//! The calendar of a site: what its rows mean at an instant and over a range, in its own time zone.
//!
//! It is pure: rows, a zone and instants go in, half-open stretches of UTC come out. Nothing here reads a
//! clock or a database, and nothing is expanded further than it is asked for.
//!
//! # How rows are read
//!
//! - The row of a date replaces that of its day of the week wholly. What no row speaks of is not known,
//!   which is not the same as closed.
//! - Hours belong to the day on which they begin. They end at the first such time of day after their
//!   beginning: an end that is earlier than the beginning is on the next day, and one that is equal to it
//!   is a day later, so that 00:00 to 00:00 is the whole day, as 00:00 to 24:00 is.
//! - A time that the clocks skip is the first instant after the gap. Of a time that they show twice a
//!   beginning takes the first and an end the last, so that no hours are cut.
//! - A day that is closed has no hours and no peaks; its maintenance windows hold still. A peak is one only
//!   while the site is open.
//! - Stretches of one sort that touch or overlap are one, also across midnight.

use std::collections::BTreeMap;
use std::iter::Peekable;

use chrono::{DateTime, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;
use entity::site_operating_schedules::Column;
use serde_json::Value as Json;
use thiserror::Error;

use super::local::{DAY_SECONDS, Local, Row, Said, Stretch};
use crate::event::{Cell, Event, Instant};
use crate::kinds::DAYS;
use crate::projections::schedules::day_of as day_said;
use crate::store::Place;

/// Days at most that are expanded at once, and that are looked ahead.
pub const RANGE_DAYS_MAX: i64 = 400;
/// Days before an instant whose rows may reach it: hours last two days at most, from 24:00 of their day on,
/// and the clocks may skip a day.
pub(super) const REACH_DAYS: i64 = 3;
/// Further from UTC no clock is, in seconds, with a day for those who cross the date line.
const OFFSET_SECONDS_MAX: i64 = 26 * 3_600;
const MICROS: i64 = 1_000_000;

/// What a site does in a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hours {
    /// It is open.
    Open,
    /// It is open, and most customers come.
    Peak,
    /// Jobs may disturb.
    Maintenance,
}

/// What stretches are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// A row speaks of it.
    Known,
    /// Opening hours.
    Open,
    /// Peak hours of days that are not closed.
    Peak,
    /// Maintenance windows.
    Maintenance,
}

impl Hours {
    const ALL: [Self; 3] = [Self::Open, Self::Peak, Self::Maintenance];

    const fn sort(self) -> Sort {
        match self {
            Self::Open => Sort::Open,
            Self::Peak => Sort::Peak,
            Self::Maintenance => Sort::Maintenance,
        }
    }
}

/// A stretch of time: from its start on, and no longer at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// What the site does in it.
    pub hours: Hours,
    /// Its first instant.
    pub start: Instant,
    /// The first instant after it.
    pub end: Instant,
    /// The local date of the row by which it holds at its start: the earliest, if several do.
    pub date: NaiveDate,
}

/// When jobs may disturb: from its start on, and no longer at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first instant.
    pub start: Instant,
    /// The first instant after it; never more than [`RANGE_DAYS_MAX`] days after what was asked for.
    pub end: Instant,
}

/// How a site stands at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a site may be maintained while it is open, and be closed without either"
)]
pub struct Status {
    /// Whether a row speaks of it; if not, the others are false and mean nothing.
    pub is_known: bool,
    /// Whether it is open.
    pub is_open: bool,
    /// Whether it is open and most customers come.
    pub is_peak: bool,
    /// Whether jobs may disturb.
    pub in_maintenance: bool,
    /// The next instant at which one of these changes; `None` when none does within
    /// [`RANGE_DAYS_MAX`] days.
    pub next_change: Option<Instant>,
}

/// The row that applies at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The local date to which its hours belong.
    pub date: NaiveDate,
    /// The event that said them.
    pub place: Place,
}

/// Why a range is not expanded.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RangeError {
    /// There is nothing between its ends.
    #[error("the range ends where it begins, or before")]
    Empty,
    /// It is longer than any that is expanded.
    #[error("the range is longer than {RANGE_DAYS_MAX} days")]
    TooLong,
}

/// The rows of a site that hold now, with its time zone.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: Tz,
    week: [Option<Row>; 7],
    dates: BTreeMap<i64, Row>,
}

impl Calendar {
    /// The calendar of a site: the name of its IANA zone (UTC if there is none of that name), and the
    /// `siteSchedule` events that hold now, one for each day at most.
    pub fn new<'a>(zone: &str, rows: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut calendar = Self::of_zone(zone);
        for event in rows {
            let cell = |column: Column| event.fact.cell(column);
            let (open, close) = (cell(Column::OpenTime), cell(Column::CloseTime));
            let said = Said {
                place: Place::of(event),
                is_closed: matches!(cell(Column::IsClosed), Cell::Int(1)),
                times: open.text().zip(close.text()),
                peaks: json(cell(Column::PeakHours)),
                maintenance: json(cell(Column::MaintenanceWindows)),
            };
            calendar.say(day_said(&event.fact), said);
        }
        calendar
    }

    /// The calendar of a site of whose hours nothing is known: the name of its IANA zone (UTC if there is
    /// none of that name).
    pub(crate) fn of_zone(zone: &str) -> Self {
        Self {
            zone: zone.parse().unwrap_or(Tz::UTC),
            week: Default::default(),
            dates: BTreeMap::new(),
        }
    }

    /// Takes what was said of a day of the week or of a date, and answers with what that takes in memory.
    pub(crate) fn say(&mut self, day: &str, said: Said<'_>) -> usize {
        let row = Row::of(said);
        let weight_bytes = size_of::<i64>() + row.weight_bytes();
        if let Some(index) = DAYS.iter().position(|word| *word == day) {
            if let Some(place) = self.week.get_mut(index) {
                *place = Some(row);
            }
        } else if let Ok(date) = day.parse() {
            self.dates.insert(day_of(date), row);
        }
        weight_bytes
    }

    /// The time zone in which the site keeps its hours.
    #[must_use]
    pub const fn zone(&self) -> Tz {
        self.zone
    }

    /// The date and time that a clock at the site shows at an instant.
    #[must_use]
    pub fn local(&self, at: Instant) -> NaiveDateTime {
        at.date_time().with_timezone(&self.zone).naive_local()
    }

    /// How the site stands at an instant.
    #[must_use]
    pub fn status_at(&self, at: Instant) -> Status {
        let of = |sort: Sort| self.around(sort, at);
        let ((is_known, known), (is_open, open)) = (of(Sort::Known), of(Sort::Open));
        let ((is_peak, peak), (in_maintenance, maintenance)) =
            (of(Sort::Peak), of(Sort::Maintenance));
        let changes = [known, open, peak, maintenance];
        Status {
            is_known,
            is_open,
            is_peak,
            in_maintenance,
            next_change: changes.into_iter().flatten().min(),
        }
    }

    /// The row that applies at an instant: that by whose hours the site is open, be they of the day
    /// before, else that of the local date; `None` when there is none of it.
    #[must_use]
    pub fn applied_at(&self, at: Instant) -> Option<Applied> {
        let open = self.covering(Sort::Open, at);
        let day = open.unwrap_or_else(|| day_of(self.local(at).date()));
        self.row(day).map(|row| Applied {
            date: date_of(day),
            place: row.place,
        })
    }

    /// The next maintenance window: one that is open at the instant begins there. It is looked for
    /// [`RANGE_DAYS_MAX`] days ahead; `None` when none comes.
    #[must_use]
    pub fn next_maintenance(&self, after: Instant) -> Option<Window> {
        let horizon = ahead(after);
        let mut windows = self.merged(Sort::Maintenance, (after, horizon));
        let window = windows.find(|window| window.end > after.0)?;
        (window.start < horizon.0).then_some(Window {
            start: after.max(Instant(window.start)),
            end: horizon.min(Instant(window.end)),
        })
    }

    /// What the site does from an instant on until another: stretches that begin before are cut there, and
    /// so are those that end after. They come in the order of their starts, those that begin together as
    /// [`Hours`] has them.
    ///
    /// # Errors
    /// When the range is empty or longer than [`RANGE_DAYS_MAX`] days.
    pub fn intervals(&self, from: Instant, to: Instant) -> Result<Vec<Interval>, RangeError> {
        if to <= from {
            return Err(RangeError::Empty);
        }
        if to > ahead(from) {
            return Err(RangeError::TooLong);
        }
        let mut intervals = Vec::new();
        for hours in Hours::ALL {
            let stretches = self.merged(hours.sort(), (from, to));
            let ends_later = stretches.skip_while(|stretch| stretch.end <= from.0);
            for stretch in ends_later.take_while(|stretch| stretch.start < to.0) {
                let start = from.max(Instant(stretch.start));
                // what is cut, and a peak by the opening, may begin by another row than the stretch
                let is_cut = stretch.start < from.0 || hours == Hours::Peak;
                let cut = is_cut.then(|| self.covering(hours.sort(), start)).flatten();
                intervals.push(Interval {
                    hours,
                    start,
                    end: to.min(Instant(stretch.end)),
                    date: date_of(cut.unwrap_or(stretch.day)),
                });
            }
        }
        intervals.sort_by_key(|interval| (interval.start, interval.hours));
        Ok(intervals)
    }

    /// Whether a sort of stretch holds at an instant, and when that changes next.
    fn around(&self, sort: Sort, at: Instant) -> (bool, Option<Instant>) {
        let horizon = ahead(at);
        let mut stretches = self.merged(sort, (at, horizon));
        let Some(next) = stretches.find(|stretch| stretch.end > at.0) else {
            return (false, None);
        };
        let holds = next.start <= at.0;
        let change = Instant(if holds { next.end } else { next.start });
        (holds, (change <= horizon).then_some(change))
    }

    /// The stretches of a sort of the days that may reach into a range, in order and apart from each other:
    /// microseconds since 1970, UTC. Those at the ends of the range may be cut anywhere outside of it.
    fn merged(
        &self,
        sort: Sort,
        (from, to): (Instant, Instant),
    ) -> Box<dyn Iterator<Item = Stretch> + '_> {
        let day = |at: Instant| day_of(self.local(at).date());
        let days = (day(from) - REACH_DAYS, day(to) + 1);
        let zoned = |sort: Sort| Zoned {
            calendar: self,
            local: Local::new(self, sort, days).peekable(),
        };
        if sort == Sort::Peak {
            return Box::new(Both {
                left: zoned(Sort::Peak).peekable(),
                right: zoned(Sort::Open).peekable(),
            });
        }
        Box::new(zoned(sort))
    }

    /// The day, counted from 1970, of the row by which a sort of stretch holds at an instant: the earliest.
    fn covering(&self, sort: Sort, at: Instant) -> Option<i64> {
        let day = day_of(self.local(at).date());
        (day - REACH_DAYS..=day).find(|day| {
            let spans = self.row(*day).into_iter().flat_map(|row| row.spans(sort));
            let mut stretches = spans.map(|span| self.in_utc(Stretch::of(span, *day)));
            stretches.any(|stretch| stretch.start <= at.0 && at.0 < stretch.end)
        })
    }

    /// The row that applies to hours which begin on a day, counted from 1970.
    pub(super) fn row(&self, day: i64) -> Option<&Row> {
        // 1970 began on a Thursday
        let weekday = usize::try_from((day + 3).rem_euclid(7)).unwrap_or(0);
        let usual = || self.week.get(weekday).and_then(Option::as_ref);
        self.dates.get(&day).or_else(usual)
    }

    fn in_utc(&self, stretch: Stretch) -> Stretch {
        let start = first_shown(self.zone, stretch.start);
        let end = last_shown(self.zone, stretch.end);
        Stretch {
            day: stretch.day,
            start: start.saturating_mul(MICROS),
            end: end.saturating_mul(MICROS),
        }
    }
}

/// When the clocks of a zone first show a local time, or the first second after a gap in which they would.
/// Both are seconds since 1970, there and in UTC.
pub(crate) fn first_shown(zone: Tz, local: i64) -> i64 {
    match zone.from_local_datetime(&naive(local)) {
        MappedLocalTime::Single(time) | MappedLocalTime::Ambiguous(time, _) => time.timestamp(),
        MappedLocalTime::None => after_gap(zone, local),
    }
}

/// The same when they show it last.
fn last_shown(zone: Tz, local: i64) -> i64 {
    match zone.from_local_datetime(&naive(local)) {
        MappedLocalTime::Single(time) | MappedLocalTime::Ambiguous(_, time) => time.timestamp(),
        MappedLocalTime::None => after_gap(zone, local),
    }
}

/// The first second at which the clocks show a local time that they skip, or a later one.
fn after_gap(zone: Tz, local: i64) -> i64 {
    let shown = |seconds: i64| {
        let offset = zone.offset_from_utc_datetime(&naive(seconds));
        seconds + i64::from(offset.fix().local_minus_utc())
    };
    let (mut before, mut after) = (local - OFFSET_SECONDS_MAX, local + OFFSET_SECONDS_MAX);
    while after - before > 1 {
        let middle = before.midpoint(after);
        if shown(middle) < local {
            before = middle;
        } else {
            after = middle;
        }
    }
    after
}

fn json(cell: &Cell) -> Option<&Json> {
    match cell {
        Cell::Json(json) => Some(json),
        Cell::Null | Cell::Int(_) | Cell::Float(_) | Cell::Text(_) | Cell::Reference(_) => None,
    }
}

/// As far ahead of an instant as anything is looked for.
const fn ahead(at: Instant) -> Instant {
    at.plus_ms(RANGE_DAYS_MAX * DAY_SECONDS * 1_000)
}

fn naive(seconds: i64) -> NaiveDateTime {
    let time = DateTime::<Utc>::from_timestamp(seconds, 0);
    time.unwrap_or_default().naive_utc()
}

/// Days since 1970.
pub(super) fn day_of(date: NaiveDate) -> i64 {
    date.signed_duration_since(NaiveDate::default()).num_days()
}

pub(super) fn date_of(day: i64) -> NaiveDate {
    naive(day.saturating_mul(DAY_SECONDS)).date()
}

/// Stretches in UTC of stretches in local time: the clocks may bring together what is apart.
struct Zoned<'a> {
    calendar: &'a Calendar,
    local: Peekable<Local<'a>>,
}

impl Iterator for Zoned<'_> {
    type Item = Stretch;

    fn next(&mut self) -> Option<Stretch> {
        loop {
            let mut stretch = self.calendar.in_utc(self.local.next()?);
            while let Some(next) = self.local.peek() {
                let next = self.calendar.in_utc(*next);
                if next.start > stretch.end {
                    break;
                }
                if next.start == stretch.start {
                    stretch.day = stretch.day.min(next.day);
                }
                stretch.end = stretch.end.max(next.end);
                self.local.next();
            }
            // the clocks may skip all of it
            if stretch.start < stretch.end {
                return Some(stretch);
            }
        }
    }
}

/// What two sequences of stretches have in common.
struct Both<L: Iterator, R: Iterator> {
    left: Peekable<L>,
    right: Peekable<R>,
}

impl<L: Iterator<Item = Stretch>, R: Iterator<Item = Stretch>> Iterator for Both<L, R> {
    type Item = Stretch;

    fn next(&mut self) -> Option<Stretch> {
        loop {
            let (left, right) = (*self.left.peek()?, *self.right.peek()?);
            let common = Stretch {
                day: left.day,
                start: left.start.max(right.start),
                end: left.end.min(right.end),
            };
            if left.end <= right.end {
                self.left.next();
            } else {
                self.right.next();
            }
            if common.start < common.end {
                return Some(common);
            }
        }
    }
}
