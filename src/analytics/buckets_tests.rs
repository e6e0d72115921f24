//! Tests of days, weeks, months and years about the days on which clocks change: each begins when the clock of
//! its zone shows that it does.

use chrono::{DateTime, NaiveTime, Weekday};
use chrono_tz::Tz;

use super::buckets::{Resolution, Unit};
use super::calendar::Calendar;
use super::earlier::Earlier;

const LONG: [Unit; 5] = [
    Unit::Day,
    Unit::Week,
    Unit::Month,
    Unit::Quarter,
    Unit::Year,
];

fn at(text: &str) -> i64 {
    let time = DateTime::parse_from_rfc3339(text).unwrap();
    time.timestamp_micros()
}

fn calendar(zone: Tz, day_start_hour: u32) -> Calendar {
    Calendar {
        zone,
        day_start: NaiveTime::from_hms_opt(day_start_hour, 0, 0).unwrap(),
        week_start: Weekday::Sun,
    }
}

fn shown(zone: Tz, at: i64) -> DateTime<Tz> {
    let time = DateTime::from_timestamp_micros(at).unwrap();
    time.with_timezone(&zone)
}

fn buckets(unit: Unit, calendar: &Calendar, (from, to): (&str, &str)) -> Vec<String> {
    let ends = Resolution::of(unit).buckets(calendar, (at(from), at(to)), 1_000);
    let ends = ends.unwrap().into_iter();
    ends.map(|at| shown(calendar.zone, at).to_rfc3339())
        .collect()
}

#[test]
fn months_about_the_changes_of_clocks_are_from_midnight_to_midnight() {
    let london = calendar(Tz::Europe__London, 0);
    let months = ("2016-10-01T00:00:00+01:00", "2017-05-01T00:00:00+01:00");
    assert_eq!(
        buckets(Unit::Month, &london, months),
        [
            "2016-10-01T00:00:00+01:00",
            "2016-11-01T00:00:00+00:00",
            "2016-12-01T00:00:00+00:00",
            "2017-01-01T00:00:00+00:00",
            "2017-02-01T00:00:00+00:00",
            "2017-03-01T00:00:00+00:00",
            "2017-04-01T00:00:00+01:00",
            "2017-05-01T00:00:00+01:00",
        ]
    );
}

#[test]
fn what_is_longer_than_hours_begins_when_a_business_day_does_on_both_sides_of_a_change() {
    for zone in [Tz::Europe__London, Tz::America__New_York] {
        for hour in [0, 4, 9] {
            let calendar = calendar(zone, hour);
            let range = (at("2016-09-11T12:34:56Z"), at("2017-04-11T12:34:56Z"));
            for unit in LONG {
                let ends = Resolution::of(unit).buckets(&calendar, range, 1_000);
                for end in ends.unwrap() {
                    let shown = shown(zone, end);
                    assert_eq!(shown.time(), calendar.day_start, "{unit:?} {shown}");
                }
            }
        }
    }
}

#[test]
fn a_day_without_a_midnight_begins_when_the_clock_has_jumped_over_it() {
    let sao_paulo = calendar(Tz::America__Sao_Paulo, 0);
    let of = |unit, range| buckets(unit, &sao_paulo, range);
    let days = ("2018-11-03T12:00:00Z", "2018-11-04T12:00:00Z");
    assert_eq!(
        of(Unit::Day, days),
        [
            "2018-11-03T00:00:00-03:00",
            "2018-11-04T01:00:00-02:00",
            "2018-11-05T00:00:00-02:00",
        ]
    );
    // it was a Sunday
    assert_eq!(
        of(Unit::Week, days),
        [
            "2018-10-28T00:00:00-03:00",
            "2018-11-04T01:00:00-02:00",
            "2018-11-11T00:00:00-02:00",
        ]
    );
    assert_eq!(
        of(Unit::Month, days),
        ["2018-11-01T00:00:00-03:00", "2018-12-01T00:00:00-02:00"]
    );
    assert_eq!(
        of(Unit::Year, days),
        ["2018-01-01T00:00:00-02:00", "2019-01-01T00:00:00-02:00"]
    );
    // the last hour before it was shown twice
    let night = ("2018-02-18T01:30:00Z", "2018-02-18T02:30:00Z");
    assert_eq!(
        of(Unit::Day, night),
        ["2018-02-17T00:00:00-02:00", "2018-02-18T00:00:00-03:00"]
    );
}

#[test]
fn what_is_whole_is_compared_with_what_is_whole_before_it() {
    let london = calendar(Tz::Europe__London, 0);
    for (unit, range, before) in [
        (
            Unit::Day,
            ("2017-03-26T00:00:00Z", "2017-03-27T00:00:00+01:00"),
            ("2017-03-25T00:00:00Z", "2017-03-26T00:00:00Z"),
        ),
        (
            Unit::Week,
            ("2017-03-26T00:00:00Z", "2017-04-02T00:00:00+01:00"),
            ("2017-03-19T00:00:00Z", "2017-03-26T00:00:00Z"),
        ),
        (
            Unit::Month,
            ("2016-11-01T00:00:00Z", "2016-12-01T00:00:00Z"),
            ("2016-10-01T00:00:00+01:00", "2016-11-01T00:00:00Z"),
        ),
        // of what is cut as much
        (
            Unit::Month,
            ("2016-11-01T00:00:00Z", "2016-11-03T00:00:00Z"),
            ("2016-10-01T00:00:00+01:00", "2016-10-03T00:00:00+01:00"),
        ),
        // also if it is cut at its beginning alone
        (
            Unit::Month,
            ("2017-02-10T00:00:00Z", "2017-03-01T00:00:00Z"),
            ("2017-01-10T00:00:00Z", "2017-01-29T00:00:00Z"),
        ),
        // unless the one before has no more
        (
            Unit::Month,
            ("2017-03-10T00:00:00Z", "2017-04-01T00:00:00+01:00"),
            ("2017-02-10T00:00:00Z", "2017-03-01T00:00:00Z"),
        ),
        // the last of several that is whole is compared with what is whole
        (
            Unit::Month,
            ("2017-02-10T00:00:00Z", "2017-04-01T00:00:00+01:00"),
            ("2016-12-10T00:00:00Z", "2017-02-01T00:00:00Z"),
        ),
    ] {
        let (resolution, range) = (Resolution::of(unit), (at(range.0), at(range.1)));
        let ends = resolution.buckets(&london, range, 1_000).unwrap();
        let told = resolution.before(&london, &ends, range).unwrap();
        assert_eq!(told, (at(before.0), at(before.1)), "{unit:?} {range:?}");
    }
}

#[test]
fn without_buckets_whole_months_and_days_are_compared_with_whole_ones() {
    let london = calendar(Tz::Europe__London, 0);
    for (range, before) in [
        // months
        (
            ("2016-09-01T00:00:00+01:00", "2016-10-01T00:00:00+01:00"),
            ("2016-08-01T00:00:00+01:00", "2016-09-01T00:00:00+01:00"),
        ),
        (
            ("2017-02-01T00:00:00Z", "2017-04-01T00:00:00+01:00"),
            ("2016-12-01T00:00:00Z", "2017-02-01T00:00:00Z"),
        ),
        (
            ("2016-01-01T00:00:00Z", "2017-01-01T00:00:00Z"),
            ("2015-01-01T00:00:00Z", "2016-01-01T00:00:00Z"),
        ),
        // a week and a day of other hours
        (
            ("2017-03-20T00:00:00Z", "2017-03-27T00:00:00+01:00"),
            ("2017-03-13T00:00:00Z", "2017-03-20T00:00:00Z"),
        ),
        (
            ("2016-10-30T00:00:00+01:00", "2016-10-31T00:00:00Z"),
            ("2016-10-29T00:00:00+01:00", "2016-10-30T00:00:00+01:00"),
        ),
        // no whole days
        (
            ("2017-03-26T00:00:00Z", "2017-03-26T12:00:00+01:00"),
            ("2017-03-25T13:00:00Z", "2017-03-26T00:00:00Z"),
        ),
        (
            ("2017-03-20T00:00:01Z", "2017-03-27T00:00:01+01:00"),
            ("2017-03-13T01:00:01Z", "2017-03-20T00:00:01Z"),
        ),
    ] {
        let told = Earlier::Period.range(&london, (at(range.0), at(range.1)));
        assert_eq!(told, Some((at(before.0), at(before.1))), "{range:?}");
    }
}
