//! Properties of the fold: ids that stay, restarts, joins, limits.

use super::*;
use crate::insights::input::{DAY, SECOND};

fn error(at: i64, message: &str) -> ErrorSeen {
    ErrorSeen {
        at: Instant(at),
        severity: Severity::Error,
        category: "DEVICE".into(),
        code: None,
        message: message.into(),
    }
}

fn seen<'a>(error: &'a ErrorSeen, device: &'a str) -> Seen<'a> {
    Seen {
        error,
        stack: None,
        device: Some(device),
        site: None,
    }
}

fn folded(errors: &[ErrorSeen]) -> State {
    let mut state = State::default();
    for (number, error) in errors.iter().enumerate() {
        let device = ["dev-1", "dev-2", "dev-3"][number % 3];
        state.fold(&[Fact::Error(seen(error, device))]);
    }
    state
}

#[test]
fn an_id_stays_when_the_template_widens() {
    let mut errors: Vec<ErrorSeen> = ["red", "blue", "green"]
        .map(|ink| error(SECOND, &format!("cartridge is {ink} and empty")))
        .into();
    for (place, error) in errors.iter_mut().enumerate() {
        error.at = Instant(i64::try_from(place).unwrap() * HOUR);
    }
    let before = folded(&errors).group_of(&seen(&errors[0], "dev-1"));
    errors.push(error(9 * HOUR, "cartridge is black and empty"));
    let state = folded(&errors);
    assert_eq!(state.groups.len(), 1);
    assert!(
        errors
            .iter()
            .all(|error| state.group_of(&seen(error, "dev-1")) == before)
    );
}

#[test]
fn ids_of_groups_that_went_into_another_still_lead_to_it() {
    let inks = ["red", "blue", "green", "black"];
    let errors: Vec<ErrorSeen> = inks
        .iter()
        .zip(1_i64..)
        .map(|(ink, at)| error(at * HOUR, &format!("cartridge is {ink} and empty")))
        .collect();
    let young = folded(&errors[..2]).group_of(&seen(&errors[1], "dev-1"));
    let state = folded(&errors);
    let label = state.label(young).unwrap();
    assert_eq!(
        state.current(label).unwrap().id(),
        state.group_of(&seen(&errors[0], "dev-1"))
    );
}

#[test]
fn a_restart_changes_nothing() {
    let errors: Vec<ErrorSeen> = (0..200_i64)
        .map(|n| {
            error(
                n * HOUR,
                &format!(
                    "job {n} of {} failed",
                    ["a", "b", "c", "d", "e"][usize::try_from(n).unwrap() % 5]
                ),
            )
        })
        .collect();
    let whole = folded(&errors);
    let text = serde_json::to_string(&folded(&errors[..99])).unwrap();
    let mut again: State = serde_json::from_str(&text).unwrap();
    for (number, error) in errors.iter().enumerate().skip(99) {
        again.fold(&[Fact::Error(seen(
            error,
            ["dev-1", "dev-2", "dev-3"][number % 3],
        ))]);
    }
    assert_eq!(whole, again);
}

#[test]
fn code_category_and_stack_tell_apart() {
    let plain = error(SECOND, "no answer");
    let coded = ErrorSeen {
        code: Some("E7".into()),
        ..plain.clone()
    };
    let other = ErrorSeen {
        category: "DATABASE".into(),
        ..plain.clone()
    };
    let traced = Seen {
        stack: Some("E: x\n at shop.A.b(A.java:1)"),
        ..seen(&plain, "dev-1")
    };
    let state = State::default();
    let ids = [
        seen(&plain, "d"),
        seen(&coded, "d"),
        seen(&other, "d"),
        traced,
    ]
    .map(|seen| state.group_of(&seen));
    assert_eq!(BTreeSet::from(ids).len(), 4);
}

#[test]
fn a_stack_joins_messages_of_any_wording() {
    let (one, other) = (
        error(SECOND, "no answer from bank"),
        error(2 * SECOND, "it broke"),
    );
    let trace = |line: u32| {
        format!("IOException: x\n at java.io.R.r(R.java:{line})\n at shop.A.b(A.java:{line})")
    };
    let (first, second) = (trace(1), trace(2));
    let mut state = State::default();
    state.fold(&[
        Fact::Error(Seen {
            stack: Some(&first),
            ..seen(&one, "d")
        }),
        Fact::Error(Seen {
            stack: Some(&second),
            ..seen(&other, "d")
        }),
    ]);
    assert_eq!(state.groups.len(), 1);
}

#[test]
fn operators_join_groups() {
    let errors = [
        error(SECOND, "paper is out"),
        error(2 * SECOND, "card reader lost"),
        error(3 * SECOND, "paper is out"),
    ];
    let mut state = folded(&errors);
    let (one, other) = (
        state.group_of(&seen(&errors[0], "d")),
        state.group_of(&seen(&errors[1], "d")),
    );
    state.fold(&[Fact::Join {
        groups: (other, one),
    }]);
    assert_eq!(state.group_of(&seen(&errors[1], "d")), one);
    assert_eq!(state.list().len(), 1);
}

#[test]
fn what_does_not_fit_goes_to_the_others() {
    let mut state = State::default();
    let letters = |number: u64| {
        hash(&[&number.to_string()])
            .to_string()
            .chars()
            .map(|digit| char::from(b'g' + u8::try_from(digit.to_digit(10).unwrap()).unwrap()))
            .collect::<String>()
    };
    for number in 0..8_000_u64 {
        let words: Vec<String> = (0..2 + number % 30)
            .map(|place| letters(number * 100 + place))
            .collect();
        let error = error(SECOND, &words.join(" "));
        state.fold(&[Fact::Error(seen(&error, "dev-1"))]);
    }
    assert!(state.groups.len() <= GROUPS_MAX + 1);
    assert_eq!(
        state.groups.values().map(|group| group.count).sum::<u64>(),
        8_000
    );
    let late = error(2 * DAY, "something else entirely happened");
    state.fold(&[Fact::Error(seen(&late, "dev-1"))]);
    assert_ne!(
        state.group_of(&seen(&late, "dev-1")),
        Fingerprint(rest("DEVICE", Severity::Error)),
        "room is made of what was seen once"
    );
}
