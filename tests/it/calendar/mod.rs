//! What the rows of a site's schedule mean: single facts here, laws over all rows and zones in `laws`.

mod laws;

use chrono::NaiveDate;
use homepot_analytics::event::{Event, Instant, Position};
use homepot_analytics::kinds;
use homepot_analytics::schedule::{Calendar, Hours, Interval, RangeError, Window};
use serde_json::{Value as Json, json};

use crate::support::at;

/// Events of rows, at positions in their order.
pub(crate) fn rows(rows: &[Json]) -> Vec<Event> {
    let event = |(index, row): (usize, &Json)| {
        let mut row = row.clone();
        row["siteId"] = json!("shop");
        let mut new = kinds::parse(kinds::Kind::SiteSchedule, &row, Instant::OLDEST).unwrap();
        kinds::check(&mut new.fact).unwrap();
        Event {
            position: Position(i64::try_from(index).unwrap() + 1),
            recorded_at: Instant::OLDEST,
            fact: new.fact,
        }
    };
    rows.iter().enumerate().map(event).collect()
}

fn calendar(zone: &str, given: &[Json]) -> Calendar {
    Calendar::new(zone, &rows(given))
}

fn on(day: &str, open: &str, close: &str) -> Json {
    json!({ "dayOfWeek": day, "openTime": open, "closeTime": close })
}

/// The opening hours of a range, as texts.
fn open(calendar: &Calendar, from: &str, to: &str) -> Vec<(String, String, String)> {
    let intervals = calendar.intervals(at(from), at(to)).unwrap();
    let open = intervals.into_iter().filter(|i| i.hours == Hours::Open);
    let texts = |i: Interval| (i.date.to_string(), i.start.to_string(), i.end.to_string());
    open.map(texts).collect()
}

fn told(date: &str, start: &str, end: &str) -> (String, String, String) {
    (date.to_owned(), start.to_owned(), end.to_owned())
}

#[test]
fn hours_past_midnight_belong_to_the_day_on_which_they_begin() {
    let bar = calendar("Europe/Berlin", &[on("FRIDAY", "18:00", "02:00")]);
    assert_eq!(
        open(&bar, "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
        [told(
            "2026-11-27",
            "2026-11-27T17:00:00Z",
            "2026-11-28T01:00:00Z"
        )]
    );
    // from the middle of it on they are of Friday still
    assert_eq!(
        open(&bar, "2026-11-28T00:30:00Z", "2026-11-30T00:00:00Z"),
        [told(
            "2026-11-27",
            "2026-11-28T00:30:00Z",
            "2026-11-28T01:00:00Z"
        )]
    );
    let applied = bar.applied_at(at("2026-11-28T00:30:00Z")).unwrap();
    assert_eq!(applied.date, NaiveDate::from_ymd_opt(2026, 11, 27).unwrap());
    assert_eq!(bar.applied_at(at("2026-11-28T01:00:00Z")), None);
}

#[test]
fn the_same_opening_and_closing_time_is_a_whole_day() {
    for (open_time, close) in [("00:00", "00:00"), ("00:00", "24:00")] {
        let shop = calendar("UTC", &[on("MONDAY", open_time, close)]);
        assert_eq!(
            open(&shop, "2026-11-22T00:00:00Z", "2026-11-28T00:00:00Z"),
            [told(
                "2026-11-23",
                "2026-11-23T00:00:00Z",
                "2026-11-24T00:00:00Z"
            )]
        );
    }
    let shop = calendar("UTC", &[on("MONDAY", "06:00", "06:00")]);
    assert_eq!(
        open(&shop, "2026-11-22T00:00:00Z", "2026-11-28T00:00:00Z"),
        [told(
            "2026-11-23",
            "2026-11-23T06:00:00Z",
            "2026-11-24T06:00:00Z"
        )]
    );
    let shop = calendar("UTC", &[on("MONDAY", "24:00", "24:00")]);
    assert_eq!(
        open(&shop, "2026-11-22T00:00:00Z", "2026-11-28T00:00:00Z"),
        [told(
            "2026-11-23",
            "2026-11-24T00:00:00Z",
            "2026-11-25T00:00:00Z"
        )]
    );
}

#[test]
fn what_touches_at_midnight_is_one() {
    let all = kinds::DAYS.map(|day| on(day, "00:00", "24:00"));
    let shop = calendar("Asia/Kathmandu", &all);
    let (from, to) = ("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
    assert_eq!(open(&shop, from, to), [told("2026-01-01", from, to)]);
    assert_eq!(shop.status_at(at(from)).next_change, None);
}

#[test]
fn the_row_of_a_date_replaces_that_of_its_weekday_wholly() {
    let usual = json!({ "dayOfWeek": "MONDAY", "openTime": "08:00", "closeTime": "20:00",
        "peakHours": [{ "start": "12:00", "end": "14:00" }],
        "maintenanceWindows": [{ "start": "02:00", "end": "04:00" }] });
    let holiday = json!({ "date": "2026-11-23", "openTime": "10:00", "closeTime": "12:00" });
    let shop = calendar("UTC", &[usual, holiday]);
    let of_week = |monday: &str, tuesday: &str| {
        let intervals = shop.intervals(at(monday), at(tuesday)).unwrap();
        intervals.iter().map(|i| i.hours).collect::<Vec<_>>()
    };
    let holiday = of_week("2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z");
    assert_eq!(holiday, [Hours::Open]);
    let usual = of_week("2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z");
    assert_eq!(usual, [Hours::Maintenance, Hours::Open, Hours::Peak]);
    let applied = shop.applied_at(at("2026-11-23T00:00:00Z")).unwrap();
    assert_eq!(applied.place.position, Position(2));
}

#[test]
fn a_closed_day_has_its_maintenance_windows_and_no_peaks() {
    let closed = json!({ "dayOfWeek": "MONDAY", "isClosed": true, "openTime": "08:00",
        "closeTime": "20:00", "peakHours": [{ "start": "12:00", "end": "14:00" }],
        "maintenanceWindows": [{ "start": "23:00", "end": "01:00" }] });
    let shop = calendar("UTC", &[closed]);
    let range = (at("2026-11-23T00:00:00Z"), at("2026-11-25T00:00:00Z"));
    let intervals = shop.intervals(range.0, range.1).unwrap();
    let told: Vec<(Hours, String)> = intervals
        .iter()
        .map(|i| (i.hours, i.end.to_string()))
        .collect();
    assert_eq!(
        told,
        [(Hours::Maintenance, "2026-11-24T01:00:00Z".to_owned())]
    );
    let status = shop.status_at(at("2026-11-23T12:30:00Z"));
    assert!(status.is_known && !status.is_open && !status.is_peak);
}

#[test]
fn of_a_day_without_a_row_nothing_is_known() {
    let none = calendar("UTC", &[]);
    let status = none.status_at(at("2026-11-23T12:00:00Z"));
    assert!(!status.is_known && !status.is_open && status.next_change.is_none());
    assert_eq!(none.next_maintenance(at("2026-11-23T12:00:00Z")), None);
    let monday = calendar("UTC", &[on("MONDAY", "08:00", "20:00")]);
    assert!(monday.status_at(at("2026-11-23T07:00:00Z")).is_known);
    let tuesday = monday.status_at(at("2026-11-24T12:00:00Z"));
    assert!(!tuesday.is_known);
    // on the next Monday it is closed, and then opens
    assert_eq!(tuesday.next_change, Some(at("2026-11-30T00:00:00Z")));
}

#[test]
fn a_peak_is_one_only_while_the_site_is_open() {
    let shop = json!({ "dayOfWeek": "MONDAY", "openTime": "09:00", "closeTime": "18:00",
        "peakHours": [{ "start": "08:00", "end": "10:00" }, { "start": "17:00", "end": "19:00" }] });
    let shop = calendar("UTC", &[shop]);
    let intervals = shop.intervals(at("2026-11-23T00:00:00Z"), at("2026-11-24T00:00:00Z"));
    let peaks: Vec<(String, String)> = intervals
        .unwrap()
        .iter()
        .filter(|i| i.hours == Hours::Peak)
        .map(|i| (i.start.to_string(), i.end.to_string()))
        .collect();
    let told = |start: &str, end: &str| (start.to_owned(), end.to_owned());
    assert_eq!(
        peaks,
        [
            told("2026-11-23T09:00:00Z", "2026-11-23T10:00:00Z"),
            told("2026-11-23T17:00:00Z", "2026-11-23T18:00:00Z")
        ]
    );
}

#[test]
fn a_time_that_the_clocks_skip_is_the_first_instant_after_the_gap() {
    // 02:00 to 03:00 does not exist on 29 March 2026
    let night = |open_time: &str, close: &str| {
        let shop = calendar("Europe/Berlin", &[on("SUNDAY", open_time, close)]);
        open(&shop, "2026-03-28T20:00:00Z", "2026-03-29T20:00:00Z")
    };
    let gap = "2026-03-29T01:00:00Z";
    assert_eq!(
        night("02:30", "06:00"),
        [told("2026-03-29", gap, "2026-03-29T04:00:00Z")]
    );
    assert_eq!(
        night("00:00", "02:30"),
        [told("2026-03-29", "2026-03-28T23:00:00Z", gap)]
    );
    assert_eq!(night("02:15", "02:45"), []);
    // midnight itself does not exist in Cairo on 24 April 2026
    let shop = calendar("Africa/Cairo", &[on("FRIDAY", "00:00", "08:00")]);
    assert_eq!(
        open(&shop, "2026-04-23T12:00:00Z", "2026-04-24T12:00:00Z"),
        [told(
            "2026-04-24",
            "2026-04-23T22:00:00Z",
            "2026-04-24T05:00:00Z"
        )]
    );
}

#[test]
fn of_a_time_that_exists_twice_hours_begin_at_the_first_and_end_at_the_last() {
    // 02:00 to 03:00 exists twice on 25 October 2026
    let night = |open_time: &str, close: &str| {
        let shop = calendar("Europe/Berlin", &[on("SUNDAY", open_time, close)]);
        open(&shop, "2026-10-24T20:00:00Z", "2026-10-25T20:00:00Z")
    };
    let (first, last) = ("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z");
    assert_eq!(
        night("02:30", "06:00"),
        [told("2026-10-25", first, "2026-10-25T05:00:00Z")]
    );
    assert_eq!(
        night("00:00", "02:30"),
        [told("2026-10-25", "2026-10-24T22:00:00Z", last)]
    );
    // by half an hour on Lord Howe Island: 01:30 to 02:00 exists twice on 5 April 2026
    let shop = calendar("Australia/Lord_Howe", &[on("SUNDAY", "01:45", "05:00")]);
    assert_eq!(
        open(&shop, "2026-04-04T10:00:00Z", "2026-04-05T10:00:00Z"),
        [told(
            "2026-04-05",
            "2026-04-04T14:45:00Z",
            "2026-04-04T18:30:00Z"
        )]
    );
}

#[test]
fn a_day_that_a_place_skips_has_no_hours() {
    // Samoa went over the date line after 29 December 2011
    let all = kinds::DAYS.map(|day| on(day, "09:00", "17:00"));
    let shop = calendar("Pacific/Apia", &all);
    assert_eq!(
        open(&shop, "2011-12-29T12:00:00Z", "2011-12-31T12:00:00Z"),
        [
            told("2011-12-29", "2011-12-29T19:00:00Z", "2011-12-30T03:00:00Z"),
            told("2011-12-31", "2011-12-30T19:00:00Z", "2011-12-31T03:00:00Z"),
        ]
    );
}

#[test]
fn a_window_that_is_open_is_the_next_one_from_now_on() {
    let week = json!({ "dayOfWeek": "MONDAY", "isClosed": true,
        "maintenanceWindows": [{ "start": "02:00", "end": "04:00" }] });
    let shop = calendar("UTC", &[week]);
    let next = |after: &str| shop.next_maintenance(at(after)).unwrap();
    let window = |start: &str, end: &str| Window {
        start: at(start),
        end: at(end),
    };
    let end = "2026-11-23T04:00:00Z";
    assert_eq!(
        next("2026-11-20T00:00:00Z"),
        window("2026-11-23T02:00:00Z", end)
    );
    assert_eq!(
        next("2026-11-23T03:59:59.5Z"),
        window("2026-11-23T03:59:59.5Z", end)
    );
    let following = window("2026-11-30T02:00:00Z", "2026-11-30T04:00:00Z");
    assert_eq!(next(end), following);
    // the last window of a site that has but one date is gone
    let once = json!({ "date": "2026-11-23", "isClosed": true,
        "maintenanceWindows": [{ "start": "02:00", "end": "04:00" }] });
    let shop = calendar("UTC", &[once]);
    assert_eq!(shop.next_maintenance(at(end)), None);
}

#[test]
fn a_range_has_400_days_at_most_and_one_instant_at_least() {
    let shop = calendar("UTC", &[on("MONDAY", "08:00", "20:00")]);
    let from = at("2026-01-01T00:00:00Z");
    let days = |days: i64| from.plus_ms(days * 86_400_000);
    assert_eq!(shop.intervals(from, days(400)).unwrap().len(), 57);
    let longer = Instant(days(400).0 + 1);
    assert_eq!(shop.intervals(from, longer), Err(RangeError::TooLong));
    assert_eq!(shop.intervals(from, from), Err(RangeError::Empty));
    // however far away, and however many windows a day has
    let busy = json!({ "dayOfWeek": "MONDAY", "isClosed": true,
        "maintenanceWindows": vec![json!({ "start": "02:00", "end": "04:00" }); 24] });
    let shop = calendar("Europe/Berlin", &[busy]);
    for at in [
        Instant(i64::MIN),
        at("0001-01-01T00:00:00Z"),
        Instant::NEWEST,
        Instant(i64::MAX),
    ] {
        assert!(!shop.status_at(at).is_open);
        assert!(
            shop.next_maintenance(at)
                .is_none_or(|window| window.start >= at)
        );
    }
}
