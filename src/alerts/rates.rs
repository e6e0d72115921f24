//! Errors that come too often: for each thing that they are counted for, the newest of them, no more than
//! it takes to say so. It does no I/O and reads no clock.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::fleet::{Fleet, Scope};
use super::renew::Watches;
use super::rule::{ErrorRate, Per, Rule};
use super::verdict::{Begin, Cause, End, Verdict};
use crate::event::{Instant, Position, Provenance};
use crate::kinds::enums;
use crate::timers::Timers;

/// An error, as far as it is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault<'a> {
    pub(super) at: Instant,
    pub(super) position: Position,
    pub(super) severity: &'a str,
    pub(super) device: Option<i64>,
    pub(super) provenance: Provenance,
}

/// The errors that one rule counts.
#[derive(Debug)]
pub(super) struct Rates {
    rule: Arc<Rule>,
    pub(super) rate: ErrorRate,
    scope: Scope,
    /// The newest errors of each thing, as many as it takes at most.
    newest: HashMap<Cause, BTreeSet<(Instant, Position)>>,
    told: HashSet<Cause>,
    due: Timers<Cause>,
}

impl Watches for Rates {
    fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    fn go_on(&mut self, rule: Arc<Rule>) {
        self.rule = rule;
    }
}

impl Rates {
    /// Nothing is counted yet.
    pub(super) fn new(rule: Arc<Rule>, rate: ErrorRate, scope: Scope) -> Self {
        Self {
            rule,
            rate,
            scope,
            newest: HashMap::new(),
            told: HashSet::new(),
            due: Timers::default(),
        }
    }

    /// The rule.
    pub(super) fn rule_id(&self) -> &str {
        &self.rule.rule_id
    }

    /// The window in which errors are counted, in milliseconds.
    pub(super) fn window_ms(&self) -> i64 {
        i64::from(self.rate.window_seconds) * 1_000
    }

    /// Begins with a thing of which there is an alert; it is over unless errors keep it so.
    pub(super) fn remember(&mut self, cause: Cause, now: Instant) {
        self.due.set(cause.clone(), now);
        self.told.insert(cause);
    }

    /// Takes an error.
    pub(super) fn hear(
        &mut self,
        fleet: &Fleet,
        (fault, now): (Fault<'_>, Instant),
        verdicts: &mut Vec<Verdict>,
    ) {
        let Some(cause) = self.cause(fleet, fault) else {
            return;
        };
        if fault.at.plus_ms(self.window_ms()) <= now {
            return;
        }
        let needed = usize::try_from(self.rate.errors).unwrap_or(usize::MAX);
        let window_ms = self.window_ms();
        let newest = self.newest.entry(cause.clone()).or_default();
        newest.insert((fault.at, fault.position));
        if newest.len() > needed {
            newest.pop_first();
        }
        let ends = newest.first().zip(newest.last());
        let Some((first, last)) = ends.map(|(first, last)| (first.0, last.0)) else {
            return;
        };
        let is_full = newest.len() >= needed;
        self.due.set(cause.clone(), first.plus_ms(window_ms));
        if !is_full || last > first.plus_ms(window_ms) || !self.told.insert(cause.clone()) {
            return;
        }
        let (errors, seconds) = (self.rate.errors, self.rate.window_seconds);
        let measured = f64::from(errors);
        verdicts.push(Verdict::Begins(Begin {
            rule: Arc::clone(&self.rule),
            cause,
            since: last,
            at: last,
            measured: Some((measured, measured)),
            reason: format!("{errors} errors within {seconds} s"),
            provenance: fault.provenance,
            site: None,
        }));
    }

    /// Finds what errors have become rare again.
    pub(super) fn look(&mut self, now: Instant, verdicts: &mut Vec<Verdict>) {
        let window_ms = self.window_ms();
        let needed = usize::try_from(self.rate.errors).unwrap_or(usize::MAX);
        for (at, cause) in self.due.due(now) {
            let newest = self.newest.entry(cause.clone()).or_default();
            newest.retain(|(error_at, _)| error_at.plus_ms(window_ms) > now);
            if newest.len() < needed && self.told.remove(&cause) {
                verdicts.push(Verdict::Ends(End {
                    rule_id: self.rule.rule_id.clone(),
                    cause: cause.clone(),
                    at,
                    reason: "errors are rare again".to_owned(),
                }));
            }
            if let Some((first, _)) = newest.first() {
                self.due.set(cause, first.plus_ms(window_ms));
            } else {
                self.newest.remove(&cause);
                self.due.clear(&cause);
            }
        }
    }

    /// What an error is counted for, if it counts.
    fn cause(&self, fleet: &Fleet, fault: Fault<'_>) -> Option<Cause> {
        if !counts(fault.severity, &self.rate.severity) {
            return None;
        }
        let site = fault
            .device
            .and_then(|key| Some(fleet.devices.get(&key)?.site));
        let place = fault.device.zip(site);
        if !place.map_or(matches!(self.scope, Scope::All), |(device, site)| {
            self.scope.has(device, site)
        }) {
            return None;
        }
        let is_active = |key: &i64| fleet.devices.get(key).is_some_and(|known| known.is_active);
        match self.rate.per {
            Per::Device => fault.device.filter(is_active).map(Cause::Device),
            Per::Site => site.map(Cause::Site),
            Per::Fleet => Some(Cause::Fleet),
        }
    }
}

/// Whether a severity is at least another: the set begins with the worst.
fn counts(severity: &str, least: &str) -> bool {
    let rank = |word: &str| {
        let mut words = enums::ERROR_SEVERITY.values.iter();
        words.position(|(known, _)| *known == word)
    };
    rank(severity)
        .zip(rank(least))
        .is_some_and(|(rank, least)| rank <= least)
}

/// The severities that are at least one.
pub(super) fn at_least(least: &str) -> Vec<String> {
    let words = enums::ERROR_SEVERITY.values.iter().map(|(word, _)| *word);
    words
        .filter(|word| counts(word, least))
        .map(str::to_owned)
        .collect()
}
