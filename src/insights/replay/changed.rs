//! What changes of the configuration did.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread::{self, available_parallelism};

use super::{Closed, Known, Replayed, Timed, Told, in_order, replay, seen};
use crate::event::{Fact, Instant};
use crate::insights::impact::change::{Impact, Peers, Subject, configuration_impact};
use crate::insights::impact::daily::State;
use crate::insights::input::{ConfigSeen, DAY, StateSeen};
use crate::kinds::Kind;

/// When what a change did is known, at the latest.
const KNOWN_AFTER: i64 = 15 * DAY;

/// A change of a device, of when what it did is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The id of the device.
    pub device: String,
    /// Of when.
    pub at: Instant,
    /// The change.
    pub change: ConfigSeen,
}

/// All changes of devices among facts, each asked for when what it did is known, or when the facts end.
#[must_use]
pub fn changes(facts: &[Fact]) -> Vec<Asked> {
    let last = facts.iter().map(|fact| fact.occurred_at).max();
    let changes = in_order(facts).into_iter().filter_map(|fact| {
        let is_change = fact.kind == Kind::ConfigurationChange;
        let device = seen::device_of(fact).filter(|_| is_change)?;
        let known_at = Instant(fact.occurred_at.0 + KNOWN_AFTER);
        Some(Asked {
            device: device.to_owned(),
            at: known_at.min(last?).max(fact.occurred_at),
            change: seen::configuration(fact),
        })
    });
    changes.collect()
}

/// The last change of a device until an instant, for each of some.
#[must_use]
pub fn changes_before(facts: &[Fact], asked: &[(String, Instant)]) -> Vec<Option<Asked>> {
    let all = changes(facts);
    let before = asked.iter().map(|(device, at)| {
        let of_device = all.iter().filter(|change| change.device == *device);
        let before = of_device.rev().find(|change| change.change.at <= *at);
        let last = before?;
        Some(Asked {
            at: *at,
            ..last.clone()
        })
    });
    before.collect()
}

/// What each of some changes did, from what happened until it is asked for.
///
/// To answer costs far more than to be told: each processor is told everything, and the questions are dealt out, so
/// that late ones, which have more behind them, fall to all alike.
#[must_use]
pub fn impacts(facts: &[Fact], asked: &[Asked]) -> Vec<Option<Impact>> {
    let processors = available_parallelism().map_or(1, NonZero::get);
    let hands = processors.min(asked.len()).max(1);
    let mut answered: Vec<_> = thread::scope(|scope| {
        let dealt = (0..hands).map(|first| {
            let hand = asked.iter().skip(first).step_by(hands).cloned();
            let hand: Vec<Asked> = hand.collect();
            scope.spawn(move || replay(facts, &hand, &mut Changed::default()))
        });
        let answering: Vec<_> = dealt.collect();
        let answers = answering.into_iter().map(thread::ScopedJoinHandle::join);
        answers
            .map(|answers| answers.unwrap_or_else(|panic| resume_unwind(panic)))
            .map(Vec::into_iter)
            .collect()
    });
    let turns = (0..hands).cycle().take(asked.len());
    turns
        .filter_map(|hand| answered.get_mut(hand)?.next())
        .collect()
}

/// What is kept of a device.
#[derive(Debug, Default)]
struct Kept {
    state: State,
    changes: Vec<ConfigSeen>,
    states: Vec<StateSeen>,
}

/// A fleet that is told what happens.
#[derive(Debug, Default)]
struct Changed {
    told: Told,
    kept: BTreeMap<String, Kept>,
}

impl Timed for Asked {
    fn at(&self) -> Instant {
        self.at
    }
}

impl Replayed<Asked, Option<Impact>> for Changed {
    fn take(&mut self, fact: &Fact) {
        let kept = &mut self.kept;
        self.told
            .take(fact, |known, id, over| fold(kept, (known, id), over));
        let Some(id) = seen::device_of(fact) else {
            return;
        };
        if fact.kind == Kind::ConfigurationChange {
            let kept = self.kept.entry(id.to_owned()).or_default();
            kept.changes.push(seen::configuration(fact));
        } else if fact.kind == Kind::DeviceStateChange {
            let kept = self.kept.entry(id.to_owned()).or_default();
            kept.states.push(seen::state(fact));
        }
    }

    fn answer(&mut self, asked: &Asked) -> Option<Impact> {
        let kept = &mut self.kept;
        self.told
            .close(asked.at, |known, id, over| fold(kept, (known, id), over));
        let site = &self.told.known.devices.get(&asked.device)?.site;
        let device = self.subject(&asked.device, self.kept.get(&asked.device)?);
        let (mut of_site, mut of_fleet) = (Vec::new(), Vec::new());
        for (id, kept) in self.kept.iter().filter(|(id, _)| **id != asked.device) {
            let stands_at = self.told.known.devices.get(id);
            let peers = match stands_at {
                Some(device) if device.site == *site => &mut of_site,
                _ => &mut of_fleet,
            };
            peers.push(self.subject(id, kept));
        }
        let peers = Peers {
            site: &of_site,
            fleet: &of_fleet,
        };
        Some(configuration_impact(&asked.change, device, peers, asked.at))
    }
}

impl Changed {
    fn subject<'a>(&self, id: &str, kept: &'a Kept) -> Subject<'a> {
        Subject {
            zone: self.told.known.zone_of(id),
            state: &kept.state,
            changes: &kept.changes,
            states: &kept.states,
        }
    }
}

fn fold(kept: &mut BTreeMap<String, Kept>, (known, id): (&Known, &str), over: &Closed) {
    let kept = kept.entry(id.to_owned()).or_default();
    let zone = known.zone_of(id);
    for (measure, hour) in &over.measures {
        kept.state.fold(zone, *measure, hour);
    }
    for error in &over.told.errors {
        kept.state.fold_error(zone, error.at);
    }
}
