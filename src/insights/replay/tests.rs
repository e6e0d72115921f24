//! What is told when, and to whom it is handed on.

use std::io::Cursor;

use chrono::NaiveDate;
use chrono_tz::Tz;
use serde_json::{Value as Json, json};

use super::{Answer, Closed, Known, Question, Replayed, Told, in_order, replay, weeks};
use crate::clock::Clock;
use crate::event::{Fact, Instant};
use crate::ingest::Parsed;
use crate::insights::input::{Hour, Measure};
use crate::insights::shape::Status;
use crate::kinds::Kind;

fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

fn facts(events: &[Json]) -> Vec<Fact> {
    let lines: Vec<String> = events.iter().map(|event| format!("{event}\n")).collect();
    let mut parsed = Parsed::default();
    let refused = parsed.read(Cursor::new(lines.concat()), &Clock::system());
    assert!(refused.unwrap().is_empty());
    parsed.facts
}

fn site(id: &str, zone: &str, at: &str) -> Json {
    json!({ "siteRegistration": { "siteId": id, "name": id, "timeZone": zone, "occurredAt": at } })
}

fn device(id: &str, site: &str, at: &str) -> Json {
    json!({ "deviceRegistration": { "deviceId": id, "siteId": site, "name": id,
        "deviceType": "POS_TERMINAL", "occurredAt": at } })
}

fn reading(at: &str, field: &str, value: f64) -> Json {
    json!({ "deviceMetrics": { "deviceId": "till", "occurredAt": at, field: value } })
}

fn count(at: &str, sales: i64) -> Json {
    json!({ "deviceMetrics": { "deviceId": "till", "occurredAt": at, "transactionCount": sales,
        "collectionIntervalSeconds": 60 } })
}

/// Answers how much it was told.
#[derive(Default)]
struct Counting {
    told: Vec<Fact>,
}

impl Replayed for Counting {
    fn take(&mut self, fact: &Fact) {
        self.told.push(fact.clone());
    }

    fn answer(&mut self, question: &Question) -> Answer {
        assert!(self.told.iter().all(|fact| fact.occurred_at <= question.at));
        let told = u32::try_from(self.told.len()).unwrap();
        Answer {
            value: Some(f64::from(told)),
            low: None,
            high: None,
            status: Status::Ok,
        }
    }
}

fn question(text: &str) -> Question {
    Question {
        device: "till".to_owned(),
        at: at(text),
        timestamp: text.to_owned(),
    }
}

#[test]
fn each_question_knows_what_happened_until_its_instant_in_whatever_order_they_are_asked() {
    let facts = facts(&[
        reading("2026-01-01T03:00:00Z", "cpuPercent", 3.0),
        reading("2026-01-01T01:00:00Z", "cpuPercent", 1.0),
        reading("2026-01-01T02:00:00Z", "cpuPercent", 2.0),
    ]);
    let asked = ["02:30", "00:59", "04:00", "02:00", "02:30"];
    let questions = asked.map(|time| question(&format!("2026-01-01T{time}:00Z")));
    let answers = replay(&facts, &questions, &mut Counting::default());
    let told: Vec<Option<f64>> = answers.iter().map(|answer| answer.value).collect();
    assert_eq!(told, [2.0, 0.0, 3.0, 2.0, 2.0].map(Some));
}

#[test]
fn facts_of_one_instant_have_one_order_however_they_come() {
    const NOON: &str = "2026-01-01T12:00:00Z";
    let error = |message: &str| {
        json!({ "errorLog": { "deviceId": "till", "occurredAt": NOON, "category": "DEVICE",
            "severity": "ERROR", "errorMessage": message } })
    };
    let state = json!({ "deviceStateChange": { "deviceId": "till", "occurredAt": NOON,
        "newState": "ERROR", "changedBy": "agent" } });
    let before = reading("2026-01-01T11:00:00Z", "cpuPercent", 1.0);
    let mut events = vec![
        site("shop", "UTC", NOON),
        device("till", "shop", NOON),
        reading(NOON, "cpuPercent", 5.0),
        error("one"),
        error("two"),
        state,
        before,
    ];
    let told = |events: &[Json]| -> Vec<Fact> {
        let facts = facts(events);
        in_order(&facts).into_iter().cloned().collect()
    };
    let as_written = told(&events);
    let kinds: Vec<Kind> = as_written.iter().map(|fact| fact.kind).collect();
    let expected = [
        Kind::DeviceMetrics,
        Kind::SiteRegistration,
        Kind::DeviceRegistration,
        Kind::DeviceMetrics,
        Kind::ErrorLog,
        Kind::ErrorLog,
        Kind::DeviceStateChange,
    ];
    assert_eq!(kinds, expected);
    for turn in 0..events.len() {
        events.rotate_left(1);
        assert_eq!(told(&events), as_written, "turned {turn} times");
    }
    events.reverse();
    assert_eq!(told(&events), as_written);
}

/// An hour that is handed on: its device, the zone in which that stood, and what was measured.
type HandedOn = (String, Tz, Vec<(Measure, Hour)>);

fn hand_on(hours: &mut Vec<HandedOn>) -> impl FnMut(&Known, &str, &Closed) {
    move |known: &Known, id: &str, over: &Closed| {
        hours.push((id.to_owned(), known.zone_of(id), over.measures.clone()));
    }
}

#[test]
fn an_hour_is_handed_on_once_when_it_is_over() {
    let events = [
        reading("2026-01-01T10:10:00Z", "cpuPercent", 10.0),
        reading("2026-01-01T10:50:00Z", "cpuPercent", 30.0),
        reading("2026-01-01T11:05:00Z", "cpuPercent", 50.0),
    ];
    let (mut told, mut hours) = (Told::default(), Vec::new());
    let mut handed_on = Vec::new();
    for fact in &facts(&events) {
        told.take(fact, hand_on(&mut hours));
        handed_on.push(hours.len());
    }
    assert_eq!(handed_on, [0, 0, 1], "by what comes after it");
    told.close(at("2026-01-01T11:59:59Z"), hand_on(&mut hours));
    assert_eq!(hours.len(), 1);
    assert_eq!(told.open("till").unwrap().readings.len(), 1);
    told.close_of("till", at("2026-01-01T12:00:00Z"), hand_on(&mut hours));
    told.close(at("2026-01-02T00:00:00Z"), hand_on(&mut hours));
    assert_eq!(hours.len(), 2, "also without anything after it");
    assert_eq!(told.open("till").unwrap().readings.len(), 0);

    let (measure, hour) = hours[0].2[0];
    assert_eq!(measure, Measure::CpuPercent);
    let expected = Hour {
        start: at("2026-01-01T10:00:00Z"),
        count: 2,
        sum: 40.0,
        sum_squares: 1_000.0,
        min: 10.0,
        max: 30.0,
        increase: 0.0,
    };
    assert_eq!(hour, expected);
}

#[test]
fn a_counter_that_shows_less_than_before_began_anew() {
    let events = [
        count("2026-01-01T22:30:00Z", 95),
        count("2026-01-01T22:59:00Z", 100),
        count("2026-01-01T23:59:00Z", 100),
        // midnight of the site
        count("2026-01-02T00:10:00Z", 3),
        count("2026-01-02T00:50:00Z", 8),
        count("2026-01-02T03:00:00Z", 9),
    ];
    let (mut told, mut hours) = (Told::default(), Vec::new());
    for fact in &facts(&events) {
        told.take(fact, |_, _, over| {
            hours.push((over.interval_seconds, over.measures[0].1.increase));
        });
    }
    let every = Some(60.0);
    assert_eq!(hours, [(every, 100.0), (every, 0.0), (every, 8.0)]);
}

/// By how much the sales of a till in London grew in each hour in which it was heard of.
fn grown(counts: &[(&str, i64)]) -> Vec<f64> {
    let start = "2026-01-01T00:00:00Z";
    let registered = [
        site("shop", "Europe/London", start),
        device("till", "shop", start),
    ];
    let counted = counts.iter().map(|(at, sales)| count(at, *sales));
    let events: Vec<Json> = registered.into_iter().chain(counted).collect();
    let (mut told, mut hours) = (Told::default(), Vec::new());
    let mut hand_on = |_: &Known, _: &str, over: &Closed| hours.push(over.measures[0].1.increase);
    for fact in &facts(&events) {
        told.take(fact, &mut hand_on);
    }
    told.close(at("2027-01-01T00:00:00Z"), &mut hand_on);
    hours
}

#[test]
fn a_till_that_tells_its_sales_once_a_day_has_sold_what_it_shows() {
    let daily = [
        ("2026-01-05T12:00:00Z", 100),
        ("2026-01-06T12:00:00Z", 104),
        ("2026-01-07T12:00:00Z", 110),
        ("2026-01-08T12:00:00Z", 110),
        ("2026-01-09T12:00:00Z", 101),
    ];
    assert_eq!(grown(&daily), [100.0, 104.0, 110.0, 110.0, 101.0]);
}

#[test]
fn a_till_that_was_away_over_midnight_has_sold_what_it_shows_since() {
    let away = [
        ("2026-01-05T20:00:00Z", 60),
        ("2026-01-06T15:00:00Z", 75),
        ("2026-01-06T15:30:00Z", 75),
        ("2026-01-06T16:00:00Z", 80),
        // it began anew by itself
        ("2026-01-06T17:00:00Z", 4),
    ];
    assert_eq!(grown(&away), [60.0, 75.0, 5.0, 4.0]);
}

#[test]
fn a_day_begins_at_midnight_of_the_site_when_clocks_change_as_well() {
    let forward = [
        ("2026-03-28T23:30:00Z", 40),
        ("2026-03-29T00:30:00Z", 45),
        // 23:30 by the clock of the site, which went forward, and 00:10
        ("2026-03-29T22:30:00Z", 50),
        ("2026-03-29T23:10:00Z", 60),
    ];
    assert_eq!(grown(&forward), [40.0, 45.0, 5.0, 60.0]);
    let back = [
        ("2026-10-24T22:30:00Z", 30),
        // 00:30, and after 25 hours 23:30 and 00:10
        ("2026-10-24T23:30:00Z", 31),
        ("2026-10-25T23:30:00Z", 33),
        ("2026-10-26T00:10:00Z", 34),
    ];
    assert_eq!(grown(&back), [30.0, 31.0, 2.0, 34.0]);
}

#[test]
fn what_is_over_is_of_where_its_device_stood() {
    let events = [
        site("shop", "Europe/London", "2026-01-01T00:00:00Z"),
        device("till", "shop", "2026-01-01T00:00:00Z"),
        reading("2026-01-01T10:10:00Z", "cpuPercent", 10.0),
        site("shop", "Asia/Tokyo", "2026-01-01T11:00:00Z"),
        reading("2026-01-01T12:10:00Z", "cpuPercent", 10.0),
    ];
    let (mut told, mut hours) = (Told::default(), Vec::new());
    for fact in &facts(&events) {
        told.take(fact, hand_on(&mut hours));
    }
    told.close(at("2026-01-02T00:00:00Z"), hand_on(&mut hours));
    let zones: Vec<Tz> = hours.iter().map(|(_, zone, _)| *zone).collect();
    assert_eq!(zones, [Tz::Europe__London, Tz::Asia__Tokyo]);
}

#[test]
fn weeks_begin_at_midnight_by_the_clock_of_the_site() {
    let mondays = |zone: &str, from: &str, to: &str| -> Vec<String> {
        let start = "2015-01-01T00:00:00Z";
        let facts = facts(&[site("shop", zone, start), device("till", "shop", start)]);
        let date = |text: &str| text.parse::<NaiveDate>().unwrap();
        let weeks = weeks(&facts, (date(from), date(to)));
        weeks.iter().map(|week| week.at.to_string()).collect()
    };
    assert_eq!(
        mondays("Europe/London", "2017-03-20", "2017-04-02"),
        ["2017-03-20T00:00:00Z", "2017-03-26T23:00:00Z"],
        "summer time began on the Sunday between"
    );
    assert_eq!(
        mondays("Asia/Tehran", "2021-03-22", "2021-03-22"),
        ["2021-03-21T20:30:00Z"],
        "the clocks went from midnight to 01:00"
    );
    assert_eq!(
        mondays("Europe/London", "2017-03-21", "2017-03-20").len(),
        0
    );
}

#[test]
fn a_device_stands_where_it_was_registered_last_whatever_comes_first() {
    let monday = NaiveDate::from_ymd_opt(2026, 1, 5).unwrap();
    let mut events = [
        site("shop", "Europe/London", "2026-01-01T00:00:00Z"),
        site("shop", "Asia/Tokyo", "2026-01-02T00:00:00Z"),
        device("till", "shop", "2026-01-01T00:00:00Z"),
    ];
    let first = weeks(&facts(&events), (monday, monday));
    events.reverse();
    assert_eq!(weeks(&facts(&events), (monday, monday)), first);
    assert_eq!(first[0].at, at("2026-01-04T15:00:00Z"));
}
