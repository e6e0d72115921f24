//! What is switched off while its site is closed is not missed; what is off while it is open is.

use chrono_tz::Tz;

use super::{Dice, START, device, hour, untrained};
use crate::event::Instant;
use crate::insights::input::{DAY, HOUR, Measure, State as Reported, StateSeen};
use crate::insights::jobs::schedule::{Day, DayPlan, Schedule};
use crate::insights::risk::answer::Context;
use crate::insights::risk::features::{Facts, State};
use crate::insights::risk::fleet::Fleet;
use crate::insights::risk::{forecast, health};
use crate::insights::shape::Insight;

/// Open from eight to eighteen, but for Sundays.
fn filed() -> Schedule {
    let mut schedule = Schedule::new(Tz::UTC);
    for day in 0..6 {
        schedule.file(Day::Weekday(day), DayPlan::open(8 * 60, 18 * 60));
    }
    schedule.file(Day::Weekday(6), DayPlan::closed());
    schedule
}

/// Two weeks and so many hours of a device that is switched off at `off` and on at `on` of each day, but for Sundays,
/// on which it stays off. At some hours it is in another state.
fn lived(hours: i64, (on, off): (i64, i64), more: &[(i64, Reported)]) -> State {
    let (mut state, mut dice, filed) = (State::default(), Dice(3), filed());
    for n in 0..14 * 24 + hours {
        let start = START + n * HOUR;
        let (of_day, sunday) = (n % 24, START / DAY + n / 24);
        let is_on = (on..off).contains(&of_day) && (sunday + 3) % 7 != 6;
        let measures = [(
            Measure::CpuPercent,
            hour(start, 120, 40.0 + 4.0 * dice.roll()),
        )];
        let change = match of_day {
            at if at == on && is_on => Some(Reported::Online),
            at if at == off && (sunday + 3) % 7 != 6 => Some(Reported::Offline),
            _ => None,
        };
        let more = more.iter().find(|(at, _)| *at == n - 14 * 24);
        let change = more.map(|(_, to)| *to).or(change);
        let states: Vec<StateSeen> = change
            .map(|to| StateSeen {
                at: Instant(start),
                to,
            })
            .into_iter()
            .collect();
        // hours in which nothing happened are not folded
        if is_on || !states.is_empty() {
            state.fold(&Facts {
                start: Instant(start),
                measures: if is_on { &measures } else { &[] },
                states: &states,
                schedule: Some(&filed),
                ..Facts::default()
            });
        }
    }
    state
}

fn read(state: &State, schedule: &Schedule, hours: i64) -> Insight {
    let as_of = Instant(START + (14 * 24 + hours) * HOUR);
    let (fleet, model) = untrained(as_of);
    let context = Context {
        device: &device(),
        zone: Tz::UTC,
        schedule,
        fleet: &fleet,
        model: &model,
    };
    health::read(state, &context, &Facts::default(), as_of)
}

/// The points that downtime and silence take.
fn taken(health: &Insight) -> f64 {
    let by = health.reasons.iter();
    let by = by.filter(|by| ["stability", "freshness"].contains(&by.factor));
    -by.map(|by| by.contribution).sum::<f64>()
}

fn value(state: &State, schedule: &Schedule, hours: i64) -> f64 {
    read(state, schedule, hours).value.unwrap()
}

#[test]
fn nights_and_sundays_take_nothing_where_hours_are_filed() {
    let (filed, unfiled) = (filed(), Schedule::new(Tz::UTC));
    // at each hour of a week: what is switched off after closing time and on before the first customer
    for hours in 0..7 * 24 {
        let state = lived(hours, (8, 18), &[]);
        let taken = taken(&read(&state, &filed, hours));
        assert!(taken < 1e-9, "hour {hours}: {taken}");
        assert!(value(&state, &unfiled, hours) < 80.0, "hour {hours}");
    }
    let night = read(&lived(22, (8, 18), &[]), &filed, 22);
    let of = |factor: &str| {
        let mut reasons = night.reasons.iter();
        reasons.find(|reason| reason.factor == factor).unwrap()
    };
    let stability = &of("stability").sentence;
    assert!(
        stability.starts_with("It is OFFLINE now, and its site is closed."),
        "{stability}"
    );
    assert_eq!(
        of("freshness").sentence,
        "Metrics came in 100 % of the last 24 hours but for 14 hours in which its site was closed."
    );
}

#[test]
fn what_is_off_while_the_site_is_open_counts_by_day_and_through_the_night() {
    let filed = filed();
    let well = value(&lived(36, (8, 18), &[]), &filed, 36);
    // off since eleven
    let off = lived(36, (8, 18), &[(35, Reported::Offline)]);
    let by_day = value(&off, &filed, 36);
    assert!(by_day < 0.6 * well, "{by_day} {well}");
    // off since noon, and still in the night after it
    let off = [(36, Reported::Offline), (42, Reported::Offline)];
    let by_night = value(&lived(46, (8, 18), &off), &filed, 46);
    assert!(by_night < 0.6 * well, "{by_night} {well}");
    // what fails in the night has failed
    let failed = lived(46, (8, 18), &[(43, Reported::Error)]);
    let failed = value(&failed, &filed, 46);
    assert!(failed < 0.4 * well, "{failed} {well}");
}

#[test]
fn more_time_off_never_raises_health_whatever_is_filed() {
    let filed = filed();
    let mut before = f64::INFINITY;
    // off from noon on, for longer and longer, and through the night
    for hours in 1..20 {
        let changes = [(12, Reported::Offline), (12 + hours, Reported::Online)];
        // as of one instant, two days later
        let state = lived(60, (8, 24), &changes);
        let health = value(&state, &filed, 60);
        assert!(
            health <= before + 1e-9,
            "{hours} hours: {before} then {health}"
        );
        before = health;
    }
}

#[test]
fn a_longer_silence_never_raises_health_whenever_it_begins_and_whatever_is_filed() {
    let (filed, fleet) = (filed(), Fleet::default());
    for hours in (0..7 * 24).step_by(5) {
        let state = lived(hours, (8, 18), &[]);
        let mut before = f64::INFINITY;
        for silent in 0..5 * 24 {
            let as_of = Instant(START + (14 * 24 + hours + silent) * HOUR);
            let shut = state.shut(Some(&filed), as_of);
            let factors = health::factors(&state, &fleet, &shut, as_of);
            let left = factors.stability * factors.freshness;
            assert!(
                left <= before + 1e-9,
                "from hour {hours} for {silent} hours: {before} then {left}"
            );
            before = left;
        }
        assert!(before < 0.41, "from hour {hours}: {before}");
    }
}

#[test]
fn what_was_down_before_the_site_closed_is_down_whatever_is_told_in_the_night() {
    let filed = filed();
    let told = |more: &[(i64, Reported)]| value(&lived(46, (8, 18), more), &filed, 46);
    let off = [(38, Reported::Offline), (42, Reported::Offline)];
    let by_night = told(&off);
    let and_error = [off[0], (42, Reported::Error), (43, Reported::Offline)];
    assert!(told(&and_error) <= by_night, "{by_night}");
    let error = told(&[(38, Reported::Error), (42, Reported::Error)]);
    let and_off = told(&[(38, Reported::Error), (42, Reported::Offline)]);
    assert!(and_off < 0.6 * told(&[]), "{and_off} {error}");
}

#[test]
fn the_healths_that_are_kept_are_of_midnights_and_know_the_filed_hours_and_silence() {
    let filed = filed();
    let mut state = State::default();
    let mut live = |days: std::ops::Range<i64>| {
        let hours = days.flat_map(|day| (8..18).map(move |hour| day * 24 + hour));
        let open = hours.filter(|n| (START / DAY + n / 24 + 3) % 7 != 6);
        for start in open.map(|n| START + n * HOUR) {
            state.fold(&Facts {
                start: Instant(start),
                measures: &[(Measure::CpuPercent, hour(start, 120, 40.0))],
                schedule: Some(&filed),
                ..Facts::default()
            });
        }
        state.clone()
    };
    let well = live(0..25);
    assert!(well.healths.len() > 18, "{:?}", well.healths);
    assert!(
        well.healths.iter().all(|health| *health == 100),
        "{:?}",
        well.healths
    );
    // silent for ten days, of which nothing is folded, and back again
    let mut silent = well.clone();
    silent.note_healths(Some(&filed), Instant(START + 35 * DAY));
    let back = live(35..36);
    for state in [&silent, &back] {
        let low = state.healths.iter().filter(|health| **health < 60).count();
        assert!((8..=10).contains(&low), "{:?}", state.healths);
    }
    assert_eq!(silent.healths, back.healths);
    // and what is foretold of it is no recovery
    let as_of = Instant(START + 35 * DAY);
    let (fleet, model) = untrained(as_of);
    let context = Context {
        device: &device(),
        zone: Tz::UTC,
        schedule: &filed,
        fleet: &fleet,
        model: &model,
    };
    let foretold = forecast::read(&well, &context, &Facts::default(), as_of, 1);
    assert!(foretold.value.unwrap() < 60.0, "{foretold:?}");
}

#[test]
fn a_device_that_means_to_report_once_a_day_is_heard_of_until_the_next_report_is_due() {
    let (filed, fleet) = (Schedule::new(Tz::UTC), Fleet::default());
    let mut state = State::default();
    for day in 0..10 {
        // not to the second
        let start = START + day * DAY + (day % 2) * HOUR;
        state.fold(&Facts {
            start: Instant(start),
            measures: &[(Measure::CpuPercent, hour(start, 1, 40.0))],
            interval_seconds: Some(86_400.0),
            ..Facts::default()
        });
    }
    let freshness = |hours: i64| {
        let as_of = Instant(START + 9 * DAY + hours * HOUR);
        let shut = state.shut(Some(&filed), as_of);
        health::factors(&state, &fleet, &shut, as_of).freshness
    };
    for hours in 2..26 {
        assert!((freshness(hours) - 1.0).abs() < 1e-9, "{hours}");
    }
    assert!(freshness(36) < 0.8 && freshness(36) > freshness(48));
    assert!((freshness(60) - 0.4).abs() < 1e-9, "{}", freshness(60));
}

#[test]
fn a_till_that_is_off_on_sundays_is_not_unlike_itself_by_its_first_readings_and_its_last() {
    let filed = filed();
    for hours in 0..7 * 24 {
        let state = lived(hours, (8, 18), &[]);
        let by_resources = read(&state, &filed, hours).reasons;
        let mut by_resources = by_resources.iter().filter(|by| by.factor == "resources");
        let taken = by_resources.next().unwrap().contribution;
        assert!(taken > -10.0, "hour {hours}: {taken}");
    }
}

#[test]
fn what_is_told_of_the_time_down_is_how_long_it_was_and_one_fall_is_one() {
    // in ERROR for half an hour at noon is told of the whole hours in which it was
    let more = [
        (36, Reported::Error),
        (37, Reported::Online),
        (42, Reported::Offline),
    ];
    let health = read(&lived(46, (8, 18), &more), &filed(), 46);
    let told = |health: &Insight| {
        let mut reasons = health.reasons.iter();
        let stability = reasons.find(|by| by.factor == "stability").unwrap();
        stability.sentence.clone()
    };
    let hour = "It was down for 60 minutes of the last 7 days, 60 minutes of the last 24 hours, in which it went down 1 \
        time.";
    assert!(told(&health).contains(hour), "{}", told(&health));
    // one that goes from ERROR to OFFLINE fell once
    let more = [(41, Reported::Error), (42, Reported::Offline)];
    let health = read(&lived(46, (8, 18), &more), &filed(), 46);
    assert!(
        told(&health).contains("it went down 1 time."),
        "{}",
        told(&health)
    );
}
