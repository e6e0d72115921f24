//! A calendar agrees with a reading minute by minute: at each the clock of the site is looked at, and then
//! whether a row of its date or of those before covers what it shows.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, TimeDelta};
use chrono_tz::Tz;
use homepot_analytics::event::{Event, Instant};
use homepot_analytics::kinds::DAYS;
use homepot_analytics::schedule::{Calendar, Hours};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value as Json, json};

use super::rows;

/// Zones, each with days about which its clocks change.
const CHANGES: [(&str, &str); 11] = [
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("Africa/Cairo", "2026-04-24"),
    ("Africa/Cairo", "2026-10-30"),
    ("America/Sao_Paulo", "2018-02-18"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("Asia/Kathmandu", "2026-06-01"),
];
/// Days that are read before the range, from it on, and after it.
const BEFORE: u64 = 4;
const RANGE: u64 = 5;
const AFTER: u64 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sort {
    Known,
    Open,
    Peak,
    Maintenance,
}

/// The reading: for each minute what holds.
struct Minutes {
    zone: Tz,
    first: DateTime<chrono::Utc>,
    /// What the clock shows at each minute.
    shown: Vec<NaiveDateTime>,
    /// Whether it shows that at another minute too.
    twice: Vec<bool>,
    /// The hours of each date, from one time that the clock shows to another.
    spans: BTreeMap<(Sort, NaiveDate), Vec<(NaiveDateTime, NaiveDateTime)>>,
    held: BTreeMap<Sort, Vec<bool>>,
    /// All of that at each minute, in the order of the sorts.
    flags: Vec<[bool; 4]>,
}

const SORTS: [Sort; 4] = [Sort::Known, Sort::Open, Sort::Peak, Sort::Maintenance];

fn seconds(text: &str) -> i64 {
    let parts: Vec<i64> = text.split(':').map(|part| part.parse().unwrap()).collect();
    parts[0] * 3_600 + parts[1] * 60
}

/// Hours as text, from one time to the first such time after it as the other says.
fn span(start: &Json, end: &Json) -> (i64, i64) {
    let (start, end) = (
        seconds(start.as_str().unwrap()),
        seconds(end.as_str().unwrap()),
    );
    let later = [0, 86_400, 172_800].map(|day| end + day);
    (start, later.into_iter().find(|end| *end > start).unwrap())
}

/// The hours of a row.
fn spans(row: &Json, sort: Sort) -> Vec<(i64, i64)> {
    let is_closed = row["isClosed"] == true;
    let windows = |name: &str| {
        let windows = row[name].as_array().unwrap().iter();
        windows
            .map(|w| span(&w["start"], &w["end"]))
            .collect::<Vec<_>>()
    };
    let open = || vec![span(&row["openTime"], &row["closeTime"])];
    match sort {
        Sort::Open if is_closed => Vec::new(),
        Sort::Peak if is_closed => Vec::new(),
        Sort::Open => open(),
        Sort::Peak => windows("peakHours"),
        Sort::Maintenance => windows("maintenanceWindows"),
        Sort::Known => {
            let day = vec![(0, 86_400)];
            [day, spans(row, Sort::Open), windows("maintenanceWindows")].concat()
        }
    }
}

fn row_of(rows: &[Json], date: NaiveDate) -> Option<&Json> {
    let day = DAYS[usize::try_from(date.weekday().num_days_from_monday()).unwrap()];
    let dated = rows.iter().find(|row| row["date"] == date.to_string());
    dated.or_else(|| rows.iter().find(|row| row["dayOfWeek"] == day))
}

impl Minutes {
    fn read(zone: Tz, about: NaiveDate, rows: &[Json]) -> Self {
        let first = about - Days::new(BEFORE + RANGE / 2);
        let first = first.and_time(chrono::NaiveTime::MIN).and_utc();
        let minutes = i64::try_from((BEFORE + RANGE + AFTER) * 1_440).unwrap();
        let shown: Vec<NaiveDateTime> = (0..minutes)
            .map(|minute| {
                (first + TimeDelta::minutes(minute))
                    .with_timezone(&zone)
                    .naive_local()
            })
            .collect();
        let mut times: BTreeMap<NaiveDateTime, usize> = BTreeMap::new();
        for shown in &shown {
            *times.entry(*shown).or_default() += 1;
        }
        let twice = shown.iter().map(|shown| times[shown] > 1).collect();
        let mut hours = BTreeMap::new();
        for date in (first.date_naive() - Days::new(4)).iter_days().take(30) {
            let midnight = date.and_time(chrono::NaiveTime::MIN);
            let time = |seconds: i64| midnight + TimeDelta::seconds(seconds);
            for (sort, row) in SORTS.into_iter().zip([row_of(rows, date); 4]) {
                let spans = row.map(|row| spans(row, sort)).unwrap_or_default();
                let spans = spans
                    .into_iter()
                    .map(|(start, end)| (time(start), time(end)));
                hours.insert((sort, date), spans.collect());
            }
        }
        let mut read = Self {
            zone,
            first,
            shown,
            twice,
            spans: hours,
            held: BTreeMap::new(),
            flags: Vec::new(),
        };
        for sort in SORTS {
            let held = (0..read.shown.len()).map(|minute| read.covered(sort, minute).is_some());
            let held = held.collect();
            read.held.insert(sort, held);
        }
        let open = read.held[&Sort::Open].clone();
        for (peak, open) in read.held.get_mut(&Sort::Peak).unwrap().iter_mut().zip(open) {
            *peak &= open;
        }
        let held = SORTS.map(|sort| &read.held[&sort]);
        let flags = (0..read.shown.len()).map(|minute| held.map(|held| held[minute]));
        read.flags = flags.collect();
        read
    }

    /// The earliest date whose row covers a minute.
    fn covered(&self, sort: Sort, minute: usize) -> Option<NaiveDate> {
        let date = self.shown[minute].date();
        let mut dates = (0..3).rev().map(|days| date - Days::new(days));
        dates.find(|date| {
            let mut spans = self.spans[&(sort, *date)].iter();
            spans.any(|(start, end)| self.is_within(minute, *start, *end))
        })
    }

    /// Whether a minute is within hours. Of a minute that the clock shows once that is what it shows. Of
    /// one that it shows twice: the beginning was shown already, and the end will be.
    fn is_within(&self, minute: usize, start: NaiveDateTime, end: NaiveDateTime) -> bool {
        let shown = self.shown[minute];
        if !self.twice[minute] {
            return start <= shown && shown < end;
        }
        // no clock goes back by more than two hours
        let begun = self.shown[minute.saturating_sub(121)..=minute]
            .iter()
            .any(|t| *t >= start);
        let later = self.shown.len().min(minute + 122);
        let to_end = self.shown[minute + 1..later].iter().any(|t| *t <= end);
        begun && (shown < end || to_end)
    }

    fn instant(&self, minute: usize) -> Instant {
        Instant::of(self.first + TimeDelta::minutes(i64::try_from(minute).unwrap()))
    }

    fn range() -> std::ops::Range<usize> {
        let day = |days: u64| usize::try_from(days * 1_440).unwrap();
        day(BEFORE)..day(BEFORE + RANGE)
    }
}

fn time() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => Just("00:00".to_owned()),
        1 => Just("24:00".to_owned()),
        // about the hours at which clocks change
        4 => (0..4, select(vec![0, 15, 30, 45])).prop_map(|(h, m)| format!("{h:02}:{m:02}")),
        6 => (0..24, 0..60).prop_map(|(h, m)| format!("{h:02}:{m:02}")),
    ]
}

fn windows() -> impl Strategy<Value = Json> {
    let window = (time(), time()).prop_map(|(start, end)| json!({ "start": start, "end": end }));
    proptest::collection::vec(window, 0..3).prop_map(Json::Array)
}

fn hours() -> impl Strategy<Value = Json> {
    let parts = (
        time(),
        time(),
        proptest::bool::weighted(0.15),
        windows(),
        windows(),
    );
    parts.prop_map(|(open, close, is_closed, peaks, maintenance)| {
        json!({ "openTime": open, "closeTime": close, "isClosed": is_closed,
            "peakHours": peaks, "maintenanceWindows": maintenance })
    })
}

/// Rows of some days of the week, and of some dates about a day.
fn schedule(about: NaiveDate) -> impl Strategy<Value = Vec<Json>> {
    let week = proptest::collection::btree_map(0..7_usize, hours(), 0..8);
    let dates = proptest::collection::btree_map(0..13_u64, hours(), 0..4);
    (week, dates).prop_map(move |(week, dates)| {
        let week = week.into_iter().map(|(day, mut row)| {
            row["dayOfWeek"] = json!(DAYS[day]);
            row
        });
        let dates = dates.into_iter().map(|(days, mut row)| {
            let date = about - Days::new(6) + Days::new(days);
            row["date"] = json!(date.to_string());
            row
        });
        week.chain(dates).collect()
    })
}

/// Holds a law against readings of random rows about each change of the clocks.
fn for_all(cases: u32, law: impl Fn(&Minutes, &Calendar, &[Json]) -> Result<(), TestCaseError>) {
    for (zone, about) in CHANGES {
        let (about, tz): (NaiveDate, Tz) = (about.parse().unwrap(), zone.parse().unwrap());
        let config = Config {
            cases,
            failure_persistence: None,
            ..Config::default()
        };
        let ran = TestRunner::new(config).run(&schedule(about), |given| {
            let events: Vec<Event> = rows(&given);
            let read = Minutes::read(tz, about, &given);
            law(&read, &Calendar::new(zone, &events), &given)
        });
        ran.unwrap_or_else(|failed| panic!("{zone}: {failed}"));
    }
}

#[test]
fn the_expansion_agrees_with_a_reading_minute_by_minute() {
    for_all(8, |read, calendar, _| {
        let range = Minutes::range();
        let (from, to) = (read.instant(range.start), read.instant(range.end));
        let intervals = calendar.intervals(from, to).unwrap();
        prop_assert!(intervals.is_sorted_by_key(|i| (i.start, i.hours)));
        for (hours, sort) in [
            (Hours::Open, Sort::Open),
            (Hours::Peak, Sort::Peak),
            (Hours::Maintenance, Sort::Maintenance),
        ] {
            let of_sort: Vec<_> = intervals.iter().filter(|i| i.hours == hours).collect();
            prop_assert!(of_sort.windows(2).all(|two| two[0].end < two[1].start));
            let mut held = vec![false; range.end];
            for interval in of_sort {
                let minute =
                    |at: Instant| usize::try_from((at.0 - read.instant(0).0) / 60_000_000).unwrap();
                let minutes = minute(interval.start)..minute(interval.end);
                prop_assert!(!minutes.is_empty() && minutes.start >= range.start);
                let covered = read.covered(sort, minutes.start);
                prop_assert_eq!(Some(interval.date), covered, "{:?}", interval);
                held[minutes].fill(true);
            }
            for minute in range.clone() {
                let shown = read.shown[minute];
                prop_assert_eq!(
                    held[minute],
                    read.held[&sort][minute],
                    "{:?} {} {}",
                    sort,
                    shown,
                    read.zone
                );
            }
        }
        Ok(())
    });
}

#[test]
fn the_status_and_its_next_change_agree_with_it() {
    for_all(4, |read, calendar, _| {
        for minute in Minutes::range().step_by(67) {
            let at = read.instant(minute);
            let status = calendar.status_at(at);
            let told = [
                status.is_known,
                status.is_open,
                status.is_peak,
                status.in_maintenance,
            ];
            let flags = read.flags[minute];
            prop_assert_eq!(told, flags, "{}", at);
            let mut later = minute + 1..read.shown.len() - 200;
            let change = later.find(|minute| read.flags[*minute] != flags);
            match (change, status.next_change) {
                (Some(minute), change) => {
                    prop_assert_eq!(change, Some(read.instant(minute)), "{}", at);
                }
                (None, None) => {}
                (None, Some(change)) => {
                    prop_assert!(change > read.instant(read.shown.len() - 201), "{}", at);
                }
            }
        }
        Ok(())
    });
}

#[test]
fn the_next_maintenance_window_agrees_with_it() {
    for_all(4, |read, calendar, given| {
        let held = &read.held[&Sort::Maintenance];
        let last = read.shown.len() - 200;
        for minute in Minutes::range().step_by(61) {
            let found = calendar.next_maintenance(read.instant(minute));
            let Some(start) = (minute..last).find(|minute| held[*minute]) else {
                let is_later = |start: Instant| start >= read.instant(last);
                prop_assert!(found.is_none_or(|window| is_later(window.start)));
                let weekly = given.iter().filter(|row| row["date"].is_null());
                let comes = weekly.flat_map(|row| spans(row, Sort::Maintenance)).count() > 0;
                prop_assert!(!comes || found.is_some());
                continue;
            };
            let window = found.unwrap();
            prop_assert_eq!(window.start, read.instant(start));
            match (start..last).find(|minute| !held[*minute]) {
                Some(end) => prop_assert_eq!(window.end, read.instant(end)),
                None => prop_assert!(window.end >= read.instant(last)),
            }
        }
        Ok(())
    });
}
