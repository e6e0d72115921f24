//! What is registered and filed holds as of each instant as it was said until then, in whatever order it came.

use chrono::NaiveDate;
use entity::device_registrations as devices;
use proptest::prelude::*;

use super::*;
use crate::event::Provenance;
use crate::insights::jobs::schedule::Opening;
use crate::kinds::Draft;

fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

fn event(position: i64, draft: Draft) -> Event {
    let fact = draft.finish().unwrap().fact;
    Event {
        position: Position(position),
        recorded_at: fact.occurred_at,
        fact,
    }
}

fn draft(kind: Kind, on: &str) -> Draft {
    Draft::new(kind, at(on), Provenance::Real)
}

fn site(position: i64, zone: &str, on: &str) -> Event {
    let draft = draft(Kind::SiteRegistration, on)
        .set(sites::Column::SiteKey, "shop")
        .set(sites::Column::Name, "shop")
        .set(sites::Column::TimeZone, zone);
    event(position, draft)
}

fn device(position: i64, site: &str, on: &str) -> Event {
    let draft = draft(Kind::DeviceRegistration, on)
        .set(devices::Column::DeviceKey, "till")
        .set(devices::Column::SiteKey, site)
        .set(devices::Column::DeviceType, "POS_TERMINAL");
    event(position, draft)
}

fn open(position: i64, day: &str, on: &str) -> Event {
    let draft = draft(Kind::SiteSchedule, on)
        .set(schedules::Column::SiteKey, "shop")
        .set(schedules::Column::DayOfWeek, day)
        .set(schedules::Column::OpenTime, "09:00:00")
        .set(schedules::Column::CloseTime, "17:00:00");
    event(position, draft)
}

fn said() -> Vec<Event> {
    vec![
        site(1, "Europe/London", "2026-01-10T00:00:00Z"),
        device(2, "shop", "2026-01-10T00:00:00Z"),
        open(3, "MONDAY", "2026-01-11T00:00:00Z"),
        site(4, "Asia/Tokyo", "2026-01-20T00:00:00Z"),
        device(5, "elsewhere", "2026-01-30T00:00:00Z"),
    ]
}

#[test]
fn what_is_registered_first_holds_before_as_well_and_what_is_later_from_then_on() {
    let mut sites = Sites::default();
    sites.take(&said());
    let zone = |on: &str| sites.local("till", at(on)).zone;
    assert_eq!(zone("2026-01-01T00:00:00Z"), Tz::Europe__London);
    assert_eq!(zone("2026-01-19T23:59:59Z"), Tz::Europe__London);
    assert_eq!(zone("2026-01-20T00:00:00Z"), Tz::Asia__Tokyo);
    assert_eq!(
        zone("2026-01-30T00:00:00Z"),
        Tz::UTC,
        "of a site that nobody knows"
    );
    let stood = |on: &str| sites.device("till", at(on)).unwrap().site.clone();
    assert_eq!(stood("2026-01-29T00:00:00Z"), "shop");
    assert_eq!(stood("2026-02-01T00:00:00Z"), "elsewhere");
    assert!(sites.device("other", at("2026-02-01T00:00:00Z")).is_none());
    assert_eq!(sites.ids().collect::<Vec<_>>(), ["till"]);
}

#[test]
fn hours_are_known_from_when_they_were_filed_and_move_with_the_zone() {
    let mut sites = Sites::default();
    sites.take(&said());
    // a Monday at nine by the clock of London, and of Tokyo
    let opening = |on: &str, of: &str| {
        let schedule = sites.local("till", at(of)).schedule;
        schedule.opening(schedule.local(at(on)))
    };
    let (london, tokyo) = ("2026-01-12T09:00:00Z", "2026-01-12T00:00:00Z");
    assert_eq!(opening(london, "2026-01-10T12:00:00Z"), Opening::Unknown);
    assert_eq!(opening(london, "2026-01-12T00:00:00Z"), Opening::Open);
    assert_eq!(opening(tokyo, "2026-01-12T00:00:00Z"), Opening::Closed);
    assert_eq!(opening(tokyo, "2026-01-21T00:00:00Z"), Opening::Open);
    let monday = NaiveDate::from_ymd_opt(2026, 1, 12).unwrap();
    let schedule = sites.local("till", at(london)).schedule;
    assert_eq!(schedule.local(at(london)).date, monday);
}

#[test]
fn it_does_not_matter_in_which_order_and_how_often_it_is_taken() {
    let (mut at_once, mut one_by_one) = (Sites::default(), Sites::default());
    at_once.take(&said());
    for event in said().iter().rev().chain(&said()) {
        one_by_one.take([event]);
    }
    for on in [
        "2026-01-01T00:00:00Z",
        "2026-01-15T00:00:00Z",
        "2026-01-25T00:00:00Z",
    ] {
        let (one, other) = (
            at_once.local("till", at(on)),
            one_by_one.local("till", at(on)),
        );
        assert_eq!(
            (one.zone, one.schedule),
            (other.zone, other.schedule),
            "{on}"
        );
    }
}

/// What holds as of an instant, made by taking all that was said until then in order.
fn one_by_one(said: &BTreeMap<When, Said>, until: Instant) -> Local {
    let first = said.values().find_map(Said::zone).unwrap_or(Tz::UTC);
    let until = said
        .range(..=(until, Position(i64::MAX)))
        .map(|(_, said)| said);
    let (mut zone, mut filed) = (first, Vec::new());
    for said in until {
        match said {
            Said::Zone(of) => zone = *of,
            Said::Filed(day, plan) => filed.push((*day, plan.clone())),
        }
    }
    let mut schedule = Schedule::new(zone);
    for (day, plan) in filed {
        schedule.file(day, plan);
    }
    Local {
        zone,
        schedule: Arc::new(schedule),
    }
}

fn some_said() -> impl Strategy<Value = Said> {
    let plan = (0_u16..24).prop_map(|hour| DayPlan::open(hour * 60, 0));
    let day = prop_oneof![
        1 => (0_usize..7).prop_map(Day::Weekday),
        9 => (0_i32..900).prop_map(|day| Day::Date(NaiveDate::from_num_days_from_ce_opt(730_000 + day).unwrap())),
    ];
    let zone = prop_oneof![
        Just(Tz::UTC),
        Just(Tz::Asia__Tokyo),
        Just(Tz::Europe__London)
    ];
    prop_oneof![
        1 => zone.prop_map(Said::Zone),
        60 => (day, plan).prop_map(|(day, plan)| Said::Filed(day, plan)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn as_of_any_instant_hours_are_what_all_filings_until_then_come_to(
        said in proptest::collection::vec((0_i64..400, some_said()), 1..900),
        is_in_order: bool,
    ) {
        let mut said = said;
        if is_in_order {
            said.sort_by_key(|(at, _)| *at);
        }
        let (mut site, mut is_settled) = (Site::default(), true);
        let last = i64::try_from(said.len()).unwrap();
        for (position, (at, said)) in (1..).zip(said) {
            let when = (Instant(at), Position(position));
            is_settled &= site.go_on(when, &said);
            site.said.insert(when, said);
            if !is_settled && (position % 50 == 0 || position == last) {
                site.settle();
                is_settled = true;
            }
        }
        let first = site.said.first_key_value().map(|((at, _), _)| *at).unwrap();
        for at in (0..400).step_by(29) {
            let (at, made) = (Instant(at), site.at(Instant(at)));
            // it is the same when it is asked for again
            prop_assert_eq!(&made, &site.at(at));
            if at >= first {
                prop_assert_eq!(made, one_by_one(&site.said, at));
            } else {
                let zone = site.said.values().find_map(Said::zone).unwrap_or(Tz::UTC);
                prop_assert_eq!(&*made.schedule, &Schedule::new(zone));
                prop_assert_eq!(made.zone, one_by_one(&site.said, first).zone);
            }
        }
    }
}

#[test]
fn who_files_hours_each_night_has_them_once() {
    let mut site = Site::default();
    for night in 0..2_000_i32 {
        let date = NaiveDate::from_num_days_from_ce_opt(730_000 + night).unwrap();
        let said = Said::Filed(Day::Date(date), DayPlan::open(540, 1_020));
        let when = (Instant(i64::from(night)), Position(i64::from(night) + 1));
        let is_settled = site.go_on(when, &said);
        site.said.insert(when, said);
        // nothing is made anew of what was filed before
        assert_eq!(is_settled, night > 0);
        if !is_settled {
            site.settle();
        }
    }
    assert_eq!(
        site.at(Instant(1_000)),
        one_by_one(&site.said, Instant(1_000))
    );
    let held = site.made.held().clone().map(|((at, _), _)| at);
    assert_eq!(held, Some(Instant(1_000)));
}
