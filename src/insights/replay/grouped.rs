//! Which errors are one error.

use super::{Known, in_order, seen};
use crate::event::{Cell, Fact};
use crate::insights::errors::state::{Fact as Told, Seen, State};
use crate::kinds::Kind;
use entity::error_logs::Column;

/// An error and the group it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouped {
    /// The id of its device; empty if it names none.
    pub device: String,
    /// The number that its source gave it (`context.seq`), else where it stands among the errors, from 0.
    pub seq: i64,
    /// The id of its group.
    pub group: String,
}

/// The group of each error, in the order of the facts.
#[must_use]
pub fn groups(facts: &[Fact]) -> Vec<Grouped> {
    let (mut known, mut state) = (Known::new(), State::default());
    for fact in in_order(facts) {
        if known.take(fact) || fact.kind != Kind::ErrorLog {
            continue;
        }
        let error = seen::error(fact);
        state.fold(&[Told::Error(seen_of((fact, &error), &known))]);
    }
    let errors = facts.iter().filter(|fact| fact.kind == Kind::ErrorLog);
    let grouped = (0_i64..).zip(errors).map(|(index, fact)| {
        let error = seen::error(fact);
        let seen = seen_of((fact, &error), &known);
        Grouped {
            device: seen.device.unwrap_or_default().to_owned(),
            seq: numbered(fact).unwrap_or(index),
            group: state.group_of(&seen).to_string(),
        }
    });
    grouped.collect()
}

fn seen_of<'a>(
    (fact, error): (&'a Fact, &'a crate::insights::input::ErrorSeen),
    known: &'a Known,
) -> Seen<'a> {
    let device = seen::device_of(fact);
    let registered = device.and_then(|device| known.devices.get(device));
    Seen {
        error,
        stack: fact.cell(Column::StackTrace).text(),
        device,
        site: registered.map(|device| device.site.as_str()),
    }
}

fn numbered(fact: &Fact) -> Option<i64> {
    let Cell::Json(context) = fact.cell(Column::Context) else {
        return None;
    };
    context.get("seq")?.as_i64()
}
