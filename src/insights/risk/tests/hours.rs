//! What is switched off while its site is closed is not missed; what is off while it is open is.

use chrono_tz::Tz;

use super::{Dice, START, device, hour, untrained};
use crate::event::Instant;
use crate::insights::input::{DAY, HOUR, Measure, State as Reported, StateSeen};
use crate::insights::jobs::schedule::{Day, DayPlan, Schedule};
use crate::insights::risk::answer::Context;
use crate::insights::risk::features::{Facts, State};
use crate::insights::risk::health;
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
    let (mut state, mut dice) = (State::default(), Dice(3));
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
        state.fold(&Facts {
            start: Instant(start),
            measures: if is_on { &measures } else { &[] },
            states: &states,
            ..Facts::default()
        });
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
