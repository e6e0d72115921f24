//! What is kept of errors where more come than there is room for.

use proptest::prelude::*;

use super::{START, device, error, hour};
use crate::event::Instant;
use crate::insights::input::{DAY, ErrorSeen, HOUR, Measure, Severity};
use crate::insights::risk::entries::{BLOCK, ENTRIES_KEPT, OTHERS, Seen, weight, weighted};
use crate::insights::risk::features::{Facts, State, hash};
use crate::insights::risk::fleet::Fleet;
use crate::insights::risk::health;
use crate::insights::risk::shut::Shut;
use crate::insights::risk::signs::signs;

const MINUTE: i64 = HOUR / 60;
const SEVERITIES: [Severity; 4] = [
    Severity::Info,
    Severity::Warning,
    Severity::Error,
    Severity::Critical,
];

/// A device that reports for so many hours, to which errors happen; they are in order of time.
fn told(errors: &[ErrorSeen], hours: i64) -> State {
    let mut state = State::default();
    let mut rest = errors;
    for number in 0..hours {
        let start = START + number * HOUR;
        let within = rest.partition_point(|error| error.at.0 < start + HOUR);
        let (now, later) = rest.split_at(within);
        rest = later;
        let measures = [(Measure::CpuPercent, hour(start, 120, 40.0))];
        state.fold(&Facts {
            start: Instant(start),
            measures: &measures,
            errors: now,
            ..Facts::default()
        });
    }
    state
}

/// What errors of the last 24 hours weigh, as the sentence of health says.
fn weighs(state: &State, as_of: i64) -> f64 {
    let factors = health::factors(state, &Fleet::default(), &Shut::default(), Instant(as_of));
    factors.told.errors.new
}

fn count<'a>(seen: impl Iterator<Item = &'a Seen>) -> u32 {
    seen.map(|seen| seen.count).sum()
}

fn of(severity: Severity) -> impl Fn(&&Seen) -> bool {
    move |seen| seen.severity == severity
}

#[test]
fn what_comes_steadily_weighs_what_came_within_a_day_however_long_it_goes_on() {
    for (codes, block_weighs) in [(1, 0.0), (7, 6.0)] {
        let errors = (0..61 * 48).map(|number| {
            let at = START + number * HOUR / 2 + MINUTE;
            error(at, &format!("E{}", number % codes), Severity::Warning)
        });
        let errors: Vec<ErrorSeen> = errors.collect();
        for hours in [3 * 24, 60 * 24, 60 * 24 + 1, 60 * 24 + 3, 60 * 24 + 5] {
            let state = told(&errors, hours);
            let new = weighs(&state, START + hours * HOUR);
            // no more than of the block in which the day begins, and exact where it begins with one
            let is_exact = hours % 6 == 0;
            let most = if is_exact { 24.0 } else { 24.0 + block_weighs };
            assert!(
                24.0 - 1e-9 <= new && new <= most + 1e-9,
                "{codes} codes, {hours} hours: {new}"
            );
            let usual = state.error_weight / state.error_days;
            let is_usual = (usual - 24.0).abs() < 0.5;
            assert!(is_usual || hours < 10 * 24, "{codes} codes: {usual} a day");
        }
    }
}

#[test]
fn one_critical_error_stays_one_whatever_comes_after_it() {
    let critical = error(START, "E0", Severity::Critical);
    let others = (1..=400).map(|number| {
        let code = format!("E{}", number % 50);
        error(START + number * HOUR / 20, &code, Severity::Info)
    });
    let errors: Vec<ErrorSeen> = [critical].into_iter().chain(others).collect();
    let state = told(&errors, 21);
    assert_eq!(state.errors.len(), ENTRIES_KEPT);
    let kept = |severity| count(state.errors.iter().filter(of(severity)));
    assert_eq!(SEVERITIES.map(kept), [400, 0, 0, 1]);
    let new = weighs(&state, START + 21 * HOUR);
    let expected = weight(Severity::Critical) + 400.0 * weight(Severity::Info);
    assert!((new - expected).abs() < 1e-9, "{new}");
}

#[test]
fn information_takes_nothing_of_health_however_much_there_is() {
    let hours = 10 * 24;
    let errors = |severity| {
        let last_day = (0..100).map(move |number| {
            let at = START + (hours - 24) * HOUR + number * 14 * MINUTE;
            error(at, &format!("E{}", number % 9), severity)
        });
        last_day.collect::<Vec<ErrorSeen>>()
    };
    let health = |errors: &[ErrorSeen]| {
        let state = told(errors, hours);
        let as_of = Instant(START + hours * HOUR);
        health::factors(&state, &Fleet::default(), &Shut::default(), as_of).health()
    };
    let calm = health(&[]);
    assert!((health(&errors(Severity::Info)) - calm).abs() < 1e-9);
    assert!(health(&errors(Severity::Warning)) < calm / 10.0);
}

#[test]
fn many_groups_within_an_hour_are_counted_and_are_more_than_one() {
    let errors = (0..100).map(|number| {
        let at = START + number * MINUTE / 2;
        error(at, &format!("E{number}"), Severity::Error)
    });
    let errors: Vec<ErrorSeen> = errors.collect();
    let state = told(&errors, 1);
    let as_of = Instant(START + HOUR);
    let signs = signs(&state, &device(), &Fleet::default(), as_of);
    let new: f64 = signs.errors.iter().map(|(_, new, _)| new).sum();
    assert!((new - 100.0).abs() < f64::EPSILON && (signs.severe - 100.0).abs() < f64::EPSILON);
    assert!(signs.kinds_at_once >= 2.0, "{}", signs.kinds_at_once);
    assert_eq!(state.name_of(OTHERS), Some("others"));
    assert_eq!(state.name_of(hash("E99")), Some("E99"));
}

#[test]
fn what_there_is_no_room_for_in_any_block_is_older_than_two_days() {
    let blocks = (0..20).flat_map(|block| {
        let at = START + block * BLOCK + MINUTE;
        SEVERITIES.map(|severity| error(at, "E1", severity))
    });
    let errors: Vec<ErrorSeen> = blocks.collect();
    let as_of = Instant(START + 20 * BLOCK);
    let open = Facts {
        errors: &errors,
        ..Facts::default()
    };
    let state = State::default().with_open(&open, as_of);
    assert_eq!(state.errors.len(), ENTRIES_KEPT);
    let lately = state.errors_between(Instant(as_of.0 - 2 * DAY), as_of);
    assert_eq!(count(lately), 8 * 4);
    let kept: f64 = state.errors.iter().map(weighted).sum();
    let all: f64 = errors.iter().map(|error| weight(error.severity)).sum();
    assert!((kept + state.error_weight - all).abs() < 1e-9);
}

/// The hours that are folded, and errors of them: many of the last two days, and some before.
fn errors() -> impl Strategy<Value = (i64, Vec<ErrorSeen>)> {
    let one = |minutes_ago: std::ops::Range<i64>| (minutes_ago, 0..20_u8, 0..4_usize);
    let new = proptest::collection::vec(one(0..48 * 60), 33..300);
    let old = proptest::collection::vec(one(48 * 60..72 * 60), 0..60);
    (72..78_i64, new, old).prop_map(|(hours, new, old)| {
        let end = START + hours * HOUR;
        let all = new.into_iter().chain(old);
        let errors = all.map(|(minutes_ago, code, severity)| {
            let at = end - minutes_ago * MINUTE - MINUTE / 2;
            error(at, &format!("E{code}"), SEVERITIES[severity])
        });
        let mut errors: Vec<ErrorSeen> = errors.collect();
        errors.sort_by_key(|error| error.at);
        (hours, errors)
    })
}

proptest! {
    #[test]
    fn no_error_changes_its_severity_its_group_or_its_block((hours, errors) in errors()) {
        let state = told(&errors, hours);
        prop_assert!(state.errors.len() <= ENTRIES_KEPT);
        let as_of = START + hours * HOUR;
        let came = |severity: Severity, (from, to): (i64, i64)| {
            let within = |error: &&ErrorSeen| {
                error.severity == severity && error.at.0 >= from && error.at.0 < to
            };
            u32::try_from(errors.iter().filter(within).count()).unwrap()
        };
        let block_of = |at: i64| at.div_euclid(BLOCK) * BLOCK;
        for severity in SEVERITIES {
            for hours_ago in 1..=48 {
                let from = as_of - hours_ago * HOUR;
                let seen = state.errors_between(Instant(from), Instant(as_of));
                let kept = count(seen.filter(of(severity)));
                let (least, most) = (came(severity, (from, as_of)), came(severity, (block_of(from), as_of)));
                prop_assert!(least <= kept && kept <= most, "{hours_ago} h: {least} {kept} {most}");
            }
            // all blocks that began within two days
            let first = block_of(as_of - 2 * DAY + BLOCK - 1);
            for block in (0..8).map(|number| first + number * BLOCK).filter(|block| *block < as_of) {
                let here = state.errors.iter().filter(|seen| block_of(seen.at.0) == block);
                let kept = count(here.filter(of(severity)));
                prop_assert_eq!(kept, came(severity, (block, block + BLOCK)));
            }
        }
        for seen in state.errors.iter().filter(|seen| seen.group != OTHERS) {
            let is_alike = |error: &&ErrorSeen| {
                let group = error.code.as_deref().map(hash);
                let block = block_of(error.at.0) == block_of(seen.at.0);
                group == Some(seen.group) && error.severity == seen.severity && block
            };
            let told = errors.iter().filter(is_alike).count();
            prop_assert!(usize::try_from(seen.count).unwrap() <= told);
            prop_assert!(errors.iter().filter(is_alike).any(|error| error.at == seen.at));
        }
    }
}
