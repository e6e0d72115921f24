//! Devices in a state for a time: one timer for each that is in one. It does no I/O and reads no clock.

use std::collections::HashMap;
use std::sync::Arc;

use super::fleet::{Fleet, Scope};
use super::renew::Watches;
use super::rule::{InState, Rule};
use super::verdict::{Begin, Cause, End, Verdict};
use crate::event::Instant;
use crate::timers::Timers;

/// The states of devices by one rule.
#[derive(Debug)]
pub(super) struct States {
    rule: Arc<Rule>,
    state: InState,
    scope: Scope,
    /// Devices that are in one of the states, since when, and whether there is an alert of it.
    within: HashMap<i64, (Instant, bool)>,
    due: Timers<i64>,
}

impl Watches for States {
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

impl States {
    /// No device is in one of the states yet.
    pub(super) fn new(rule: Arc<Rule>, state: InState, scope: Scope) -> Self {
        Self {
            rule,
            state,
            scope,
            within: HashMap::new(),
            due: Timers::default(),
        }
    }

    /// The rule.
    pub(super) fn rule_id(&self) -> &str {
        &self.rule.rule_id
    }

    /// Whether a state is one of those that the rule is for.
    pub(super) fn is_one(&self, state: &str) -> bool {
        self.state.states.iter().any(|known| known == state)
    }

    /// Whether a device is in one of the states, is in use, and is one that the rule is for.
    pub(super) fn has(&self, fleet: &Fleet, key: i64) -> bool {
        fleet.devices.get(&key).is_some_and(|device| {
            let state = device.state.as_deref();
            device.is_active
                && self.scope.has(key, device.site)
                && state.is_some_and(|state| self.is_one(state))
        })
    }

    /// Begins with a device that came into its state before.
    pub(super) fn remember(&mut self, key: i64, since: Instant, is_told: bool) {
        self.within.insert(key, (since, is_told));
        if !is_told {
            self.due.set(key, self.due_at(since));
        }
    }

    /// A device is in another state, or registered otherwise.
    pub(super) fn changed(
        &mut self,
        fleet: &Fleet,
        (key, at): (i64, Instant),
        verdicts: &mut Vec<Verdict>,
    ) {
        let is_within = self.has(fleet, key);
        match self.within.get(&key).copied() {
            None if is_within => self.remember(key, at, false),
            Some((_, is_told)) if !is_within => {
                self.within.remove(&key);
                self.due.clear(&key);
                if is_told {
                    verdicts.push(Verdict::Ends(End {
                        rule_id: self.rule.rule_id.clone(),
                        cause: Cause::Device(key),
                        at,
                        reason: "it is in another state".to_owned(),
                    }));
                }
            }
            None | Some(_) => {}
        }
    }

    /// Finds what has lasted long enough.
    pub(super) fn look(&mut self, fleet: &Fleet, now: Instant, verdicts: &mut Vec<Verdict>) {
        for (at, key) in self.due.due(now) {
            self.due.clear(&key);
            let Some((since, is_told)) = self.within.get_mut(&key) else {
                continue;
            };
            *is_told = true;
            let Some(device) = fleet.devices.get(&key) else {
                continue;
            };
            let state = device.state.as_deref().unwrap_or_default();
            verdicts.push(Verdict::Begins(Begin {
                rule: Arc::clone(&self.rule),
                cause: Cause::Device(key),
                since: *since,
                at,
                measured: None,
                reason: format!("it is {state} for {} s", self.state.for_seconds),
                provenance: device.provenance,
                site: None,
            }));
        }
    }

    fn due_at(&self, since: Instant) -> Instant {
        since.plus_ms(i64::from(self.state.for_seconds) * 1_000)
    }
}
