//! Opening hours of a site: the usual ones, and the rows that differ from them.

use chrono::{Datelike, NaiveDate, Weekday};
use serde_json::{Value, json};

/// Minutes of a day.
const DAY_MINUTES: u16 = 24 * 60;

/// When most customers come, in minutes since midnight: lunch and after work.
pub(super) const PEAKS: [Hours; 2] = [Hours::new(12 * 60, 14 * 60), Hours::new(17 * 60, 19 * 60)];

/// When jobs may disturb: two hours of the night in which every site is closed.
pub(super) const MAINTENANCE: Hours = Hours::new(2 * 60, 4 * 60);

/// A part of a day in the site's time, in minutes since midnight; 1440 is the end of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hours {
    /// The first minute.
    pub(super) open: u16,
    /// The minute after the last one.
    pub(super) close: u16,
}

impl Hours {
    pub(super) const fn new(open: u16, close: u16) -> Self {
        Self { open, close }
    }

    fn whole_hours(open: u16, close: u16) -> Self {
        Self::new(open * 60, (close * 60).min(DAY_MINUTES))
    }

    fn within(self, other: Self) -> Option<Self> {
        let common = Self::new(self.open.max(other.open), self.close.min(other.close));
        (common.open < common.close).then_some(common)
    }

    fn window(self) -> Value {
        json!({ "start": time_of_day(self.open), "end": time_of_day(self.close) })
    }
}

fn time_of_day(minutes: u16) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// The day that a row speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RowDay {
    Weekday(Weekday),
    Date(NaiveDate),
}

/// The hours of one day of the week, or of one date.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    day: RowDay,
    hours: Option<Hours>,
    notes: Option<&'static str>,
}

impl Row {
    fn weekday(day: Weekday, open: u16, close: u16) -> Self {
        Self::open(day, Hours::whole_hours(open, close))
    }

    fn open(day: Weekday, hours: Hours) -> Self {
        Self {
            day: RowDay::Weekday(day),
            hours: Some(hours),
            notes: None,
        }
    }

    /// The fields of the row in a `siteSchedule` event, apart from the site.
    pub(super) fn fields(&self, devices: usize) -> Value {
        let peaks = self.hours.map(|hours| {
            let peaks = PEAKS.iter().filter_map(|peak| peak.within(hours));
            peaks.map(Hours::window).collect::<Vec<_>>()
        });
        let (weekday, date) = match self.day {
            RowDay::Weekday(day) => (Some(weekday_name(day)), None),
            RowDay::Date(date) => (None, Some(date.format("%Y-%m-%d").to_string())),
        };
        let hourly = self.hours.map(|hours| (hours.close - hours.open) / 60 * 15);
        json!({
            "dayOfWeek": weekday,
            "date": date,
            "openTime": self.hours.map(|hours| time_of_day(hours.open)),
            "closeTime": self.hours.map(|hours| time_of_day(hours.close)),
            "isClosed": self.hours.is_none(),
            "peakHours": peaks,
            "maintenanceWindows": [MAINTENANCE.window()],
            "expectedTransactions": usize::from(hourly.unwrap_or(0)) * devices,
            "notes": self.notes,
        })
    }
}

fn weekday_name(day: Weekday) -> &'static str {
    match day {
        Weekday::Mon => "MONDAY",
        Weekday::Tue => "TUESDAY",
        Weekday::Wed => "WEDNESDAY",
        Weekday::Thu => "THURSDAY",
        Weekday::Fri => "FRIDAY",
        Weekday::Sat => "SATURDAY",
        Weekday::Sun => "SUNDAY",
    }
}

const WEEK: [Weekday; 7] = [
    Weekday::Mon,
    Weekday::Tue,
    Weekday::Wed,
    Weekday::Thu,
    Weekday::Fri,
    Weekday::Sat,
    Weekday::Sun,
];

/// The week of a site.
#[derive(Clone, Debug)]
pub(super) struct Week {
    usual: Hours,
    rows: Vec<Row>,
}

impl Week {
    /// The week of the site with this index.
    ///
    /// Each site has a row for every day of the week; the third also has one for a date. `today` is
    /// the day on which the simulation starts: the row for a date lies in the week after it.
    pub(super) fn of_site(index: usize, today: NaiveDate) -> Self {
        let (usual, mut rows) = match index {
            0 => (
                Hours::whole_hours(8, 20),
                vec![
                    Row::weekday(Weekday::Mon, 8, 20),
                    Row::weekday(Weekday::Sat, 9, 21),
                    Row::weekday(Weekday::Sun, 11, 17),
                ],
            ),
            1 => (
                Hours::whole_hours(7, 21),
                vec![
                    Row::weekday(Weekday::Fri, 7, 23),
                    Row::weekday(Weekday::Sun, 9, 18),
                ],
            ),
            2 => (
                Hours::whole_hours(10, 22),
                vec![closed_mondays(), stocktaking(today)],
            ),
            _ => (
                Hours::whole_hours(8, 20),
                vec![
                    Row::weekday(Weekday::Sat, 9, 18),
                    Row::weekday(Weekday::Sun, 10, 17),
                ],
            ),
        };
        for day in WEEK {
            if !rows.iter().any(|row| row.day == RowDay::Weekday(day)) {
                rows.push(Row::open(day, usual));
            }
        }
        Self { usual, rows }
    }

    /// The rows, as the site has filed them.
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The hours of a date, or `None` when the site is closed: the row of the date if there is
    /// one, else that of its day of the week, else the usual hours.
    pub(super) fn on(&self, date: NaiveDate) -> Option<Hours> {
        let row_of = |day: RowDay| self.rows.iter().find(|row| row.day == day);
        row_of(RowDay::Date(date))
            .or_else(|| row_of(RowDay::Weekday(date.weekday())))
            .map_or(Some(self.usual), |row| row.hours)
    }
}

fn closed_mondays() -> Row {
    Row {
        day: RowDay::Weekday(Weekday::Mon),
        hours: None,
        notes: Some("Closed on Mondays."),
    }
}

/// The first Wednesday that is at least three days away.
fn stocktaking(today: NaiveDate) -> Row {
    let date = today
        .iter_days()
        .skip(3)
        .find(|date| date.weekday() == Weekday::Wed);
    Row {
        day: RowDay::Date(date.unwrap_or(today)),
        hours: Some(Hours::whole_hours(10, 18)),
        notes: Some("Stocktaking: closes at 18:00."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monday() -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 6, 1).unwrap()
    }

    #[test]
    fn every_site_has_a_row_for_every_day_of_the_week() {
        for index in 0..5 {
            let week = Week::of_site(index, monday());
            for day in WEEK {
                let of_day = week
                    .rows()
                    .iter()
                    .filter(|row| row.day == RowDay::Weekday(day));
                assert_eq!(of_day.count(), 1, "{day} of site {index}");
            }
        }
    }

    #[test]
    fn a_row_for_a_date_goes_before_the_usual_hours() {
        let week = Week::of_site(2, monday());
        let wednesday = |week_of: u64| monday() + chrono::Days::new(2 + 7 * week_of);
        assert_eq!(week.on(wednesday(0)), Some(Hours::whole_hours(10, 22)));
        assert_eq!(week.on(wednesday(1)), Some(Hours::whole_hours(10, 18)));
        assert_eq!(week.on(monday()), None);
    }

    #[test]
    fn a_closed_day_has_no_hours_on_the_wire() {
        let fields = closed_mondays().fields(4);
        assert_eq!(fields["isClosed"], json!(true));
        assert!(fields["openTime"].is_null());
    }
}
