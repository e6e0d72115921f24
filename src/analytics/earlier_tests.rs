//! Tests of the same time a week, a month and a year before: beside each bucket stands what the clock shows alike
//! then, whatever it does and however long months are.

use chrono::{DateTime, NaiveTime, Weekday};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::buckets::tests::any_resolution;
use super::buckets::{Resolution, Unit};
use super::calendar::Calendar;
use super::earlier::Earlier;

const HOUR: i64 = 3_600 * 1_000_000;

fn at(text: &str) -> i64 {
    let time = DateTime::parse_from_rfc3339(text).unwrap();
    time.timestamp_micros()
}

fn calendar(zone: Tz, day_start_minute: u32) -> Calendar {
    let day_start = NaiveTime::from_num_seconds_from_midnight_opt(day_start_minute * 60, 0);
    Calendar {
        zone,
        day_start: day_start.unwrap(),
        week_start: Weekday::Mon,
    }
}

type Span = (i64, i64);

/// The buckets of a range, and what stands beside each.
fn paired(
    (earlier, unit): (Earlier, Unit),
    calendar: &Calendar,
    range: (&str, &str),
) -> Vec<(Span, Option<Span>)> {
    let (resolution, range) = (Resolution::of(unit), (at(range.0), at(range.1)));
    let ends = resolution.buckets(calendar, range, 1_000).unwrap();
    let before = earlier.before((calendar, resolution), &ends, range);
    let before = before.unwrap().unwrap();
    assert_eq!(before.places.len(), ends.len() - 1);
    let buckets = ends.windows(2).zip(&before.places);
    let span = |place: usize| (before.ends[place], before.ends[place + 1]);
    buckets
        .map(|(pair, place)| ((pair[0], pair[1]), place.map(span)))
        .collect()
}

/// The same as the clock shows it.
fn shown(
    asked: (Earlier, Unit),
    calendar: &Calendar,
    range: (&str, &str),
) -> Vec<(String, Option<(String, String)>)> {
    let shown = |at: i64| {
        let time = DateTime::from_timestamp_micros(at).unwrap();
        let local = time.with_timezone(&calendar.zone);
        local.format("%F %R").to_string()
    };
    let paired = paired(asked, calendar, range).into_iter();
    let paired = paired.map(|((start, _), beside)| {
        let beside = beside.map(|(start, end)| (shown(start), shown(end)));
        (shown(start), beside)
    });
    paired.collect()
}

fn expected(pairs: &[(&str, Option<(&str, &str)>)]) -> Vec<(String, Option<(String, String)>)> {
    let pairs = pairs.iter().map(|(start, beside)| {
        let beside = beside.map(|(start, end)| (start.to_owned(), end.to_owned()));
        ((*start).to_owned(), beside)
    });
    pairs.collect()
}

#[test]
fn beside_a_day_stands_the_same_day_of_the_month_before_or_nothing() {
    let utc = calendar(Tz::UTC, 0);
    let range = ("2026-03-27T00:00:00Z", "2026-04-03T00:00:00Z");
    let days = [
        (
            "2026-03-27 00:00",
            Some(("2026-02-27 00:00", "2026-02-28 00:00")),
        ),
        (
            "2026-03-28 00:00",
            Some(("2026-02-28 00:00", "2026-03-01 00:00")),
        ),
        ("2026-03-29 00:00", None),
        ("2026-03-30 00:00", None),
        ("2026-03-31 00:00", None),
        (
            "2026-04-01 00:00",
            Some(("2026-03-01 00:00", "2026-03-02 00:00")),
        ),
        (
            "2026-04-02 00:00",
            Some(("2026-03-02 00:00", "2026-03-03 00:00")),
        ),
    ];
    assert_eq!(
        shown((Earlier::Month, Unit::Day), &utc, range),
        expected(&days)
    );
    // one day has one day beside it, though the month before has more
    let range = ("2026-02-28T00:00:00Z", "2026-03-02T00:00:00Z");
    let days = [
        (
            "2026-02-28 00:00",
            Some(("2026-01-28 00:00", "2026-01-29 00:00")),
        ),
        (
            "2026-03-01 00:00",
            Some(("2026-02-01 00:00", "2026-02-02 00:00")),
        ),
    ];
    assert_eq!(
        shown((Earlier::Month, Unit::Day), &utc, range),
        expected(&days)
    );
    let range = ("2028-02-28T00:00:00Z", "2028-03-02T00:00:00Z");
    let days = [
        (
            "2028-02-28 00:00",
            Some(("2027-02-28 00:00", "2027-03-01 00:00")),
        ),
        ("2028-02-29 00:00", None),
        (
            "2028-03-01 00:00",
            Some(("2027-03-01 00:00", "2027-03-02 00:00")),
        ),
    ];
    assert_eq!(
        shown((Earlier::Year, Unit::Day), &utc, range),
        expected(&days)
    );
}

#[test]
fn a_day_of_the_business_is_moved_as_one() {
    let range = ("2026-03-28T12:00:00Z", "2026-04-01T12:00:00Z");
    let days = [
        (
            "2026-03-28 04:00",
            Some(("2026-02-28 04:00", "2026-03-01 04:00")),
        ),
        ("2026-03-29 04:00", None),
        ("2026-03-30 04:00", None),
        ("2026-03-31 04:00", None),
        (
            "2026-04-01 04:00",
            Some(("2026-03-01 04:00", "2026-03-02 04:00")),
        ),
    ];
    let at_four = calendar(Tz::UTC, 240);
    assert_eq!(
        shown((Earlier::Month, Unit::Day), &at_four, range),
        expected(&days)
    );
    // one that begins within what the clock jumps over
    let range = ("2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z");
    let days = [
        (
            "2026-03-28 02:30",
            Some(("2026-03-21 02:30", "2026-03-22 02:30")),
        ),
        (
            "2026-03-29 03:00",
            Some(("2026-03-22 02:30", "2026-03-23 02:30")),
        ),
        (
            "2026-03-30 02:30",
            Some(("2026-03-23 02:30", "2026-03-24 02:30")),
        ),
    ];
    let berlin = calendar(Tz::Europe__Berlin, 150);
    assert_eq!(
        shown((Earlier::Week, Unit::Day), &berlin, range),
        expected(&days)
    );
}

#[test]
fn beside_a_week_stands_a_whole_week_and_beside_a_month_all_of_one() {
    let berlin = calendar(Tz::Europe__Berlin, 0);
    let weeks = ("2026-03-22T23:00:00Z", "2026-04-05T22:00:00Z");
    assert_eq!(
        shown((Earlier::Year, Unit::Week), &berlin, weeks),
        expected(&[
            (
                "2026-03-23 00:00",
                Some(("2025-03-24 00:00", "2025-03-31 00:00"))
            ),
            (
                "2026-03-30 00:00",
                Some(("2025-03-31 00:00", "2025-04-07 00:00"))
            ),
        ])
    );
    let months = ("2026-01-31T23:00:00Z", "2026-03-31T22:00:00Z");
    assert_eq!(
        shown((Earlier::Month, Unit::Month), &berlin, months),
        expected(&[
            (
                "2026-02-01 00:00",
                Some(("2026-01-01 00:00", "2026-02-01 00:00"))
            ),
            (
                "2026-03-01 00:00",
                Some(("2026-02-01 00:00", "2026-03-01 00:00"))
            ),
        ])
    );
    assert_eq!(
        shown((Earlier::Year, Unit::Month), &berlin, months),
        expected(&[
            (
                "2026-02-01 00:00",
                Some(("2025-02-01 00:00", "2025-03-01 00:00"))
            ),
            (
                "2026-03-01 00:00",
                Some(("2025-03-01 00:00", "2025-04-01 00:00"))
            ),
        ])
    );
}

/// Two days about a change of clocks, their hours, and those beside which nothing stands a week before.
const CHANGES: [((&str, &str), usize, usize); 4] = [
    // 02 is shown twice
    (("2026-10-23T22:00:00Z", "2026-10-25T23:00:00Z"), 49, 1),
    // 02 is not shown
    (("2026-03-27T23:00:00Z", "2026-03-29T22:00:00Z"), 47, 0),
    // and was not a week before
    (("2026-04-03T22:00:00Z", "2026-04-05T22:00:00Z"), 48, 1),
    // 02 was shown twice a week before
    (("2026-10-30T23:00:00Z", "2026-11-01T23:00:00Z"), 48, 0),
];

#[test]
fn beside_an_hour_stands_the_hour_that_the_clock_shows_alike() {
    let berlin = calendar(Tz::Europe__Berlin, 0);
    let shown = |at: i64| {
        let time = DateTime::from_timestamp_micros(at).unwrap();
        let local = time.with_timezone(&berlin.zone);
        local.format("%a %R").to_string()
    };
    for (range, hours, without) in CHANGES {
        let paired = paired((Earlier::Week, Unit::Hour), &berlin, range);
        assert_eq!(paired.len(), hours, "{range:?}");
        let alone = paired.iter().filter(|(_, beside)| beside.is_none());
        assert_eq!(alone.count(), without, "{range:?}");
        for ((start, _), beside) in paired {
            if let Some((from, to)) = beside {
                assert_eq!(shown(start), shown(from), "{range:?}");
                assert_eq!(to - from, HOUR, "{range:?} {}", shown(start));
            }
        }
    }
}

#[test]
fn an_end_on_a_day_that_there_is_not_is_the_first_of_the_next_month() {
    let utc = calendar(Tz::UTC, 0);
    let moved = |earlier: Earlier, range: (&str, &str)| {
        let text = |day: &str| at(&format!("{day}T00:00:00Z"));
        earlier.range(&utc, (text(range.0), text(range.1)))
    };
    for (earlier, range, before) in [
        (Earlier::Month, ("2026-03-29", "2026-03-31"), None),
        (Earlier::Month, ("2026-03-29", "2026-04-01"), None),
        (
            Earlier::Month,
            ("2026-03-01", "2026-03-31"),
            Some(("2026-02-01", "2026-03-01")),
        ),
        (
            Earlier::Month,
            ("2026-03-01", "2026-04-01"),
            Some(("2026-02-01", "2026-03-01")),
        ),
        (
            Earlier::Month,
            ("2026-03-30", "2026-04-03"),
            Some(("2026-03-01", "2026-03-03")),
        ),
        (Earlier::Year, ("2028-02-29", "2028-03-01"), None),
        (
            Earlier::Year,
            ("2028-02-01", "2028-02-29"),
            Some(("2027-02-01", "2027-03-01")),
        ),
    ] {
        let before = before.map(|(from, to)| {
            let text = |day: &str| at(&format!("{day}T00:00:00Z"));
            (text(from), text(to))
        });
        assert_eq!(moved(earlier, range), before, "{earlier:?} {range:?}");
    }
}

#[test]
fn what_a_clock_shows_again_is_where_what_comes_after_it_is() {
    let berlin = calendar(Tz::Europe__Berlin, 0);
    // from 02:10 to 02:50, both shown again, and from 02:50 until 02:10 is shown again
    for (range, before) in [
        (("2026-10-25T01:10:00Z", "2026-10-25T01:50:00Z"), None),
        (
            ("2026-10-25T00:50:00Z", "2026-10-25T01:10:00Z"),
            Some(("2026-10-18T00:50:00Z", "2026-10-18T01:00:00Z")),
        ),
    ] {
        let told = Earlier::Week.range(&berlin, (at(range.0), at(range.1)));
        assert_eq!(
            told,
            before.map(|(from, to)| (at(from), at(to))),
            "{range:?}"
        );
    }
    // of a second that it jumped over no part is left
    let range = ("2026-04-05T00:30:00.25Z", "2026-04-05T10:00:00Z");
    let told = Earlier::Week.range(&berlin, (at(range.0), at(range.1)));
    let before = ("2026-03-29T01:00:00Z", "2026-03-29T10:00:00Z");
    assert_eq!(told, Some((at(before.0), at(before.1))));
}

proptest! {
    #[test]
    fn what_stands_beside_buckets_is_in_their_order_and_within_the_earlier_range(
        resolution in any_resolution(),
        earlier in prop_oneof![Just(Earlier::Week), Just(Earlier::Month), Just(Earlier::Year)],
        zone in prop_oneof![
            Just(Tz::Europe__Berlin),
            Just(Tz::Australia__Lord_Howe),
            Just(Tz::America__Sao_Paulo),
            Just(Tz::Asia__Kathmandu),
            Just(Tz::Pacific__Apia),
        ],
        from in 946_684_800_000_000_i64..1_900_000_000_000_000,
        length in 1..40_000_000_000_000_i64,
        day_start in 0..1_440_u32,
    ) {
        let (calendar, range) = (calendar(zone, day_start), (from, from + length));
        let Ok(ends) = resolution.buckets(&calendar, range, 500) else {
            return Ok(());
        };
        let Some(before) = earlier.before((&calendar, resolution), &ends, range).unwrap() else {
            return Ok(());
        };
        let cut = &before.ends;
        prop_assert_eq!(before.places.len(), ends.len() - 1);
        prop_assert!(cut.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", before);
        prop_assert!(cut[0] <= before.range.0 && before.range.0 < cut[1], "{:?}", before);
        prop_assert!(cut[cut.len() - 2] < before.range.1, "{:?}", before);
        prop_assert!(before.range.1 <= cut[cut.len() - 1], "{:?}", before);
        let places: Vec<usize> = before.places.iter().flatten().copied().collect();
        prop_assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", before);
        prop_assert!(places.iter().all(|place| place + 1 < cut.len()), "{:?}", before);
    }
}
