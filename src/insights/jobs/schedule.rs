//! The filed hours of a site: by weekday, by date (a date overrides its weekday), past midnight, in its own time.

use std::collections::BTreeMap;

use crate::event::Instant;
use chrono::{DateTime, Datelike, Days, NaiveDate, Timelike};
use chrono_tz::Tz;

/// Minutes of a day.
pub const DAY_MINUTES: u16 = 24 * 60;

/// At most so many dated exceptions are kept, the oldest go first.
const DATES_MAX: usize = 400;

/// Sales outside of the filed hours are made mostly in so many hours before and after them,
const BEFORE_HOURS: usize = 1;
const AFTER_HOURS: usize = 4;
/// and fewer farther away.
const NIGHT_WEIGHT: f64 = 0.25;

/// A part of a day in minutes since local midnight. It passes midnight when `to` is not after `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first minute of it.
    pub from: u16,
    /// The first minute after it.
    pub to: u16,
}

impl Span {
    fn holds_today(self, minute: u16) -> bool {
        minute >= self.from && (self.to <= self.from || minute < self.to)
    }

    fn holds_next_day(self, minute: u16) -> bool {
        self.to <= self.from && minute < self.to
    }

    fn minutes(self) -> u16 {
        if self.to > self.from {
            self.to - self.from
        } else {
            DAY_MINUTES - self.from.min(DAY_MINUTES) + self.to
        }
    }
}

/// What is filed for one day.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DayPlan {
    /// When the site is open; `None` is closed all day.
    pub open: Option<Span>,
    /// When it is busiest.
    pub peaks: Vec<Span>,
    /// When work on devices is welcome.
    pub maintenance: Vec<Span>,
    /// Transactions that the site expects on such a day.
    pub expected_transactions: Option<f64>,
}

impl DayPlan {
    /// A site that is closed all day.
    #[must_use]
    pub fn closed() -> Self {
        Self::default()
    }

    /// A site that is open from one minute of the day to another.
    #[must_use]
    pub fn open(from: u16, to: u16) -> Self {
        Self {
            open: Some(Span { from, to }),
            ..Self::default()
        }
    }

    fn hourly(&self) -> Option<f64> {
        let minutes = self.open?.minutes();
        let expected = self
            .expected_transactions
            .filter(|count| count.is_finite() && *count >= 0.0)?;
        Some(expected / (f64::from(minutes.max(15)) / 60.0))
    }
}

/// For which day a plan is filed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Day {
    /// 0 is Monday.
    Weekday(usize),
    /// One date: a holiday or another exception.
    Date(NaiveDate),
}

/// Whether a site is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It is open.
    Open,
    /// It is closed.
    Closed,
    /// Nothing is filed for the day.
    Unknown,
}

/// An instant in the site's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// The date by the calendar on the wall.
    pub date: NaiveDate,
    /// 0 is Monday.
    pub weekday: usize,
    /// Since midnight by the clock on the wall.
    pub minute: u16,
}

impl Local {
    /// The hour of the week, 0 to 167, from Monday 00:00.
    #[must_use]
    pub fn hour_of_week(self) -> usize {
        self.weekday * 24 + usize::from(self.minute / 60)
    }

    /// Counts weeks, each from Monday to Sunday.
    #[must_use]
    pub fn week(self) -> i64 {
        i64::from(self.date.num_days_from_ce() - 1).div_euclid(7)
    }
}

/// What the filed hours say of one hour of the week.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellPlan {
    /// Quarters of the hour in which the site is open or unknown.
    pub open_quarters: u8,
    /// Its demand relative to other open hours, or other closed ones, before anything is counted.
    pub weight: f64,
}

/// The filed hours of a site, as known at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    zone: Tz,
    weekdays: [Option<DayPlan>; 7],
    dates: BTreeMap<NaiveDate, DayPlan>,
}

impl Schedule {
    /// Nothing is filed yet.
    #[must_use]
    pub fn new(zone: Tz) -> Self {
        Self {
            zone,
            weekdays: Default::default(),
            dates: BTreeMap::new(),
        }
    }

    /// Takes what is filed, in order of time. The later plan of a day replaces the earlier.
    pub fn file(&mut self, day: Day, plan: DayPlan) {
        match day {
            Day::Weekday(weekday) => {
                if let Some(slot) = self.weekdays.get_mut(weekday) {
                    *slot = Some(plan);
                }
            }
            Day::Date(date) => {
                self.dates.insert(date, plan);
                if self.dates.len() > DATES_MAX {
                    self.dates.pop_first();
                }
            }
        }
    }

    /// Whether anything is filed for weekdays.
    #[must_use]
    pub fn is_filed(&self) -> bool {
        self.weekdays.iter().any(Option::is_some)
    }

    /// Whether the day is an exception: its demand says nothing of its weekday.
    #[must_use]
    pub fn is_exception(&self, date: NaiveDate) -> bool {
        self.dates.contains_key(&date)
    }

    /// An instant by the site's clock.
    #[must_use]
    pub fn local(&self, at: Instant) -> Local {
        let local = DateTime::from_timestamp_micros(at.0)
            .unwrap_or_default()
            .with_timezone(&self.zone);
        let minute = local.hour() * 60 + local.minute();
        Local {
            date: local.date_naive(),
            weekday: usize::try_from(local.weekday().num_days_from_monday()).unwrap_or(0),
            minute: u16::try_from(minute).unwrap_or(0),
        }
    }

    fn plan(&self, date: NaiveDate) -> Option<&DayPlan> {
        let weekday = usize::try_from(date.weekday().num_days_from_monday()).unwrap_or(0);
        self.dates
            .get(&date)
            .or_else(|| self.weekdays.get(weekday)?.as_ref())
    }

    fn plan_before(&self, date: NaiveDate) -> Option<&DayPlan> {
        self.plan(date.checked_sub_days(Days::new(1))?)
    }

    /// Whether the site is open, exceptions taken account of.
    #[must_use]
    pub fn opening(&self, at: Local) -> Opening {
        opening(self.plan(at.date), self.plan_before(at.date), at.minute)
    }

    /// For how many minutes from then on it is as open or closed as then, by a clock that is not changed.
    #[must_use]
    pub fn minutes_alike(&self, at: Local) -> u16 {
        let open = self.plan(at.date).and_then(|plan| plan.open);
        let before = self.plan_before(at.date).and_then(|plan| plan.open);
        let ends = open.map(|span| [span.from, span.to]).into_iter().flatten();
        let ends = ends.chain(before.map(|span| span.to)).chain([DAY_MINUTES]);
        let next = ends.filter(|end| *end > at.minute).min();
        next.map_or(1, |next| next - at.minute)
    }

    /// Whether a maintenance window is filed for then.
    #[must_use]
    pub fn is_maintenance(&self, at: Local) -> bool {
        let holds = |plan: Option<&DayPlan>, holds: fn(Span, u16) -> bool| {
            plan.is_some_and(|plan| plan.maintenance.iter().any(|span| holds(*span, at.minute)))
        };
        holds(self.plan(at.date), Span::holds_today)
            || holds(self.plan_before(at.date), Span::holds_next_day)
    }

    /// The 168 hours of a usual week, from Monday 00:00.
    #[must_use]
    pub fn week(&self) -> Vec<CellPlan> {
        let usual = self.hourly();
        let mut week: Vec<CellPlan> = (0..7)
            .flat_map(|weekday| (0..24).map(move |hour| (weekday, hour)))
            .map(|(weekday, hour)| self.cell(weekday, hour, usual))
            .collect();
        let is_open: Vec<bool> = week.iter().map(|cell| cell.open_quarters > 0).collect();
        let is_near = |cell: usize| {
            let first = cell + is_open.len() - AFTER_HOURS;
            (0..=AFTER_HOURS + BEFORE_HOURS)
                .any(|step| is_open.get((first + step) % is_open.len()) == Some(&true))
        };
        for (index, cell) in week
            .iter_mut()
            .enumerate()
            .filter(|(_, cell)| cell.open_quarters == 0)
        {
            cell.weight = if is_near(index) { 1.0 } else { NIGHT_WEIGHT };
        }
        week
    }

    /// Transactions in an open hour as the site expects them, if filed.
    #[must_use]
    pub fn hourly(&self) -> Option<f64> {
        let filed: Vec<f64> = self
            .weekdays
            .iter()
            .flatten()
            .filter_map(DayPlan::hourly)
            .filter(|hourly| *hourly > 0.0)
            .collect();
        let days = f64::from(u32::try_from(filed.len()).ok().filter(|days| *days > 0)?);
        Some(filed.iter().sum::<f64>() / days)
    }

    fn cell(&self, weekday: usize, hour: u16, usual: Option<f64>) -> CellPlan {
        let today = self.weekdays.get(weekday).and_then(Option::as_ref);
        let before = self
            .weekdays
            .get((weekday + 6) % 7)
            .and_then(Option::as_ref);
        let is_open = |minute: u16| opening(today, before, minute) != Opening::Closed;
        let open_quarters = (0..4)
            .map(|quarter| u8::from(is_open(hour * 60 + quarter * 15)))
            .sum();
        let day = today
            .and_then(DayPlan::hourly)
            .zip(usual)
            .map_or(1.0, |(day, usual)| day / usual);
        CellPlan {
            open_quarters,
            weight: day * today.map_or(1.0, |plan| hour_weight(plan, hour)),
        }
    }
}

/// How an open hour compares with others of its day before anything is counted: the first and the last are
/// quiet, peaks are busy.
fn hour_weight(plan: &DayPlan, hour: u16) -> f64 {
    let minute = hour * 60;
    if plan
        .peaks
        .iter()
        .any(|span| span.holds_today(minute) || span.holds_today(minute + 59))
    {
        return 1.5;
    }
    let edges = plan.open.map(|span| {
        (
            span.from / 60,
            (span.to + DAY_MINUTES - 1) % DAY_MINUTES / 60,
        )
    });
    if edges.is_some_and(|(first, last)| hour == first || hour == last) {
        0.5
    } else {
        1.0
    }
}

fn opening(today: Option<&DayPlan>, before: Option<&DayPlan>, minute: u16) -> Opening {
    let spills = before
        .and_then(|plan| plan.open)
        .is_some_and(|span| span.holds_next_day(minute));
    match today {
        _ if spills => Opening::Open,
        None => Opening::Unknown,
        Some(plan) if plan.open.is_some_and(|span| span.holds_today(minute)) => Opening::Open,
        Some(_) => Opening::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(schedule: &Schedule, text: &str) -> Local {
        schedule.local(Instant(
            DateTime::parse_from_rfc3339(text)
                .unwrap()
                .timestamp_micros(),
        ))
    }

    #[test]
    fn a_date_overrides_its_weekday() {
        let mut schedule = Schedule::new(Tz::Europe__London);
        schedule.file(Day::Weekday(0), DayPlan::open(8 * 60, 18 * 60));
        schedule.file(
            Day::Date(NaiveDate::from_ymd_opt(2017, 1, 2).unwrap()),
            DayPlan::closed(),
        );
        assert_eq!(
            schedule.opening(at(&schedule, "2017-01-02T10:00:00Z")),
            Opening::Closed
        );
        assert_eq!(
            schedule.opening(at(&schedule, "2017-01-09T10:00:00Z")),
            Opening::Open
        );
        assert_eq!(
            schedule.opening(at(&schedule, "2017-01-10T10:00:00Z")),
            Opening::Unknown
        );
    }

    #[test]
    fn hours_past_midnight_belong_to_the_day_they_began() {
        let mut schedule = Schedule::new(Tz::UTC);
        schedule.file(Day::Weekday(4), DayPlan::open(20 * 60, 2 * 60));
        schedule.file(Day::Weekday(5), DayPlan::closed());
        assert_eq!(
            schedule.opening(at(&schedule, "2017-03-03T19:59:00Z")),
            Opening::Closed
        );
        assert_eq!(
            schedule.opening(at(&schedule, "2017-03-03T23:00:00Z")),
            Opening::Open
        );
        assert_eq!(
            schedule.opening(at(&schedule, "2017-03-04T01:59:00Z")),
            Opening::Open
        );
        assert_eq!(
            schedule.opening(at(&schedule, "2017-03-04T02:00:00Z")),
            Opening::Closed
        );
    }

    #[test]
    fn summer_time_moves_the_hours() {
        let mut schedule = Schedule::new(Tz::Europe__London);
        for day in 0..7 {
            schedule.file(Day::Weekday(day), DayPlan::open(8 * 60, 18 * 60));
        }
        assert_eq!(
            schedule.opening(at(&schedule, "2017-03-25T07:30:00Z")),
            Opening::Closed
        );
        assert_eq!(
            schedule.opening(at(&schedule, "2017-03-26T07:30:00Z")),
            Opening::Open
        );
    }

    #[test]
    fn a_day_open_until_twenty_four_does_not_spill() {
        let mut schedule = Schedule::new(Tz::UTC);
        schedule.file(Day::Weekday(0), DayPlan::open(0, DAY_MINUTES));
        schedule.file(Day::Weekday(1), DayPlan::closed());
        let open = schedule
            .week()
            .iter()
            .filter(|cell| cell.open_quarters == 4)
            .count();
        // Five weekdays are not filed, so they may be open.
        assert_eq!(open, 24 + 5 * 24);
    }
}
