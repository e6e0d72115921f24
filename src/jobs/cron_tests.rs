//! Tests of when cron expressions come, on both days on which clocks change and on all others.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const DAY_MS: i64 = 24 * 3_600 * 1_000;

fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

/// All times from an instant until another, as the zone's clocks show them, with how far they are ahead.
fn told(text: &str, zone: Tz, (from, until): (&str, &str)) -> Vec<String> {
    let (cron, until) = (read_cron(text).unwrap(), at(until));
    let (mut told, mut after) = (Vec::new(), Instant(at(from).0 - 1));
    while let Some(next) = next_after(&cron, zone, after).filter(|next| *next < until) {
        let shown = next.date_time().with_timezone(&zone);
        told.push(shown.format("%H:%M %:::z").to_string());
        after = next;
    }
    told
}

const SPRING: (&str, &str) = ("2026-03-28T23:00:00Z", "2026-03-29T04:00:00Z");
const AUTUMN: (&str, &str) = ("2026-10-24T22:00:00Z", "2026-10-25T04:00:00Z");

#[test]
fn times_of_some_hours_come_once_a_day_whatever_the_clocks_do() {
    let berlin = Tz::Europe__Berlin;
    let rows: [(&str, &[&str], &[&str]); 8] = [
        ("30 2 * * *", &["03:00 +02"], &["02:30 +02"]),
        ("15,45 2 * * *", &["03:00 +02"], &["02:15 +02", "02:45 +02"]),
        ("*/30 2 * * *", &["03:00 +02"], &["02:00 +02", "02:30 +02"]),
        (
            "0-59/30 2 * * *",
            &["03:00 +02"],
            &["02:00 +02", "02:30 +02"],
        ),
        ("0 2,3 * * *", &["03:00 +02"], &["02:00 +02", "03:00 +01"]),
        (
            "30 1-3 * * *",
            &["01:30 +01", "03:00 +02", "03:30 +02"],
            &["01:30 +02", "02:30 +02", "03:30 +01"],
        ),
        (
            "0 */2 * * *",
            &["00:00 +01", "03:00 +02", "04:00 +02"],
            &["00:00 +02", "02:00 +02", "04:00 +01"],
        ),
        ("0 4 * * *", &["04:00 +02"], &["04:00 +01"]),
    ];
    for (cron, spring, autumn) in rows {
        assert_eq!(told(cron, berlin, SPRING), spring, "{cron}");
        assert_eq!(told(cron, berlin, AUTUMN), autumn, "{cron}");
    }
}

#[test]
fn times_of_every_hour_come_as_time_passes() {
    let berlin = Tz::Europe__Berlin;
    for cron in ["30 * * * *", "30 0-23 * * *", "30 */1 * * *"] {
        let spring = [
            "00:30 +01",
            "01:30 +01",
            "03:30 +02",
            "04:30 +02",
            "05:30 +02",
        ];
        assert_eq!(told(cron, berlin, SPRING), spring, "{cron}");
        let autumn = [
            "00:30 +02",
            "01:30 +02",
            "02:30 +02",
            "02:30 +01",
            "03:30 +01",
            "04:30 +01",
        ];
        assert_eq!(told(cron, berlin, AUTUMN), autumn, "{cron}");
    }
    let every_20_minutes = told("*/20 * * * *", berlin, AUTUMN);
    assert_eq!(every_20_minutes.len(), 18);
    // the clocks of Lord Howe Island are changed by half an hour
    let lord_howe = ("2026-04-04T14:00:00Z", "2026-04-04T17:00:00Z");
    let told = told("15,45 * * * *", Tz::Australia__Lord_Howe, lord_howe);
    assert_eq!(
        told,
        [
            "01:15 +11",
            "01:45 +11",
            "01:45 +10",
            "02:15 +10",
            "02:45 +10",
            "03:15 +10"
        ]
    );
}

#[test]
fn times_are_found_across_changes_that_lie_between() {
    let berlin = Tz::Europe__Berlin;
    let leap_day = read_cron("0 * 29 2 *").unwrap();
    let next = next_after(&leap_day, berlin, at("2026-10-08T12:00:00Z"));
    assert_eq!(next, Some(at("2028-02-28T23:00:00Z")));
    let summer = read_cron("30 2 1 7 *").unwrap();
    let next = next_after(&summer, berlin, at("2026-10-08T12:00:00Z"));
    assert_eq!(next, Some(at("2027-07-01T00:30:00Z")));
    // Samoa had no 30 December 2011
    let noon = told(
        "0 12 * * *",
        Tz::Pacific__Apia,
        ("2011-12-29T12:00:00Z", "2011-12-31T12:00:00Z"),
    );
    assert_eq!(noon, ["12:00 -10", "00:00 +14", "12:00 +14"]);
}

#[test]
fn the_last_time_is_found_as_far_back_as_it_is_made_up_for() {
    let cron = read_cron("15,45 2 * * *").unwrap();
    let now = at("2026-10-25T01:20:00Z");
    let (last, next) = times(&cron, Tz::Europe__Berlin, (now.plus_ms(-3_600_000), now));
    assert_eq!(last, Some(at("2026-10-25T00:45:00Z")));
    assert_eq!(next, Some(at("2026-10-26T01:15:00Z")));
    let (last, _) = times(&cron, Tz::Europe__Berlin, (now.plus_ms(-60_000), now));
    assert_eq!(last, None);
    let (last, _) = times(&cron, Tz::Europe__Berlin, (at("2026-10-25T00:45:00Z"), now));
    assert_eq!(last, Some(at("2026-10-25T00:45:00Z")));
}

#[test]
fn what_is_no_expression_or_never_comes_is_refused() {
    for text in ["", "every day", "0 0 0 0 0", "0 3 * * * *", "0 0 30 2 *"] {
        assert!(read_cron(text).is_err(), "{text}");
    }
}

fn listed(numbers: &BTreeSet<u32>) -> String {
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    numbers.join(",")
}

proptest! {
    #[test]
    fn each_time_of_a_list_comes_once_a_day_and_what_is_skipped_together(
        hours in proptest::collection::btree_set(0_u32..24, 1..23),
        minutes in proptest::collection::btree_set(0_u32..60, 1..5),
        zone in prop::sample::select(vec![
            Tz::Europe__Berlin, Tz::America__New_York, Tz::America__Havana, Tz::Australia__Lord_Howe,
            Tz::Antarctica__Troll, Tz::Asia__Kolkata, Tz::Pacific__Chatham,
        ]),
        start in 0_i64..365,
    ) {
        let cron = read_cron(&format!("{} {} * * *", listed(&minutes), listed(&hours))).unwrap();
        let from = at("2026-01-01T00:00:00Z").plus_ms(start * DAY_MS);
        let until = from.plus_ms(40 * DAY_MS);
        let first = |shown: i64| Instant(first_shown(zone, shown) * MICROS);
        // what the clocks show of all days around, each by its first instant
        let days = from.0.div_euclid(DAY_MS * 1_000) - 2..=until.0.div_euclid(DAY_MS * 1_000) + 2;
        let times = hours.iter().flat_map(|h| minutes.iter().map(move |m| i64::from(h * 60 + m) * 60));
        let times: Vec<i64> = times.collect();
        let shown = days.flat_map(|day| times.iter().map(move |time| day * 86_400 + time));
        let expected: BTreeSet<Instant> = shown.map(first).filter(|t| *t > from && *t <= until).collect();
        let (mut found, mut after) = (BTreeSet::new(), from);
        while let Some(next) = next_after(&cron, zone, after).filter(|next| *next <= until) {
            prop_assert!(next > after);
            found.insert(next);
            after = next;
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn times_of_every_hour_are_all_minutes_that_the_clocks_show_so(
        minutes in proptest::collection::btree_set(0_u32..60, 1..5),
        zone in prop::sample::select(vec![
            Tz::Europe__Berlin, Tz::America__Havana, Tz::Australia__Lord_Howe, Tz::Antarctica__Troll,
        ]),
        start in 0_i64..365,
    ) {
        let cron = read_cron(&format!("{} * * * *", listed(&minutes))).unwrap();
        let from = at("2026-01-01T00:00:00Z").plus_ms(start * DAY_MS);
        let minute_of = |at: Instant| {
            let shown = at.0 / MICROS + offset(zone, at.0 / MICROS);
            u32::try_from(shown.div_euclid(60).rem_euclid(60)).unwrap()
        };
        let all = (1..=2 * 24 * 60).map(|minute| from.plus_ms(minute * 60_000));
        let expected: Vec<Instant> = all.filter(|at| minutes.contains(&minute_of(*at))).collect();
        let (mut found, mut after) = (Vec::new(), from);
        while let Some(next) = next_after(&cron, zone, after) {
            if next > from.plus_ms(2 * DAY_MS) {
                break;
            }
            found.push(next);
            after = next;
        }
        prop_assert_eq!(found, expected);
    }
}
