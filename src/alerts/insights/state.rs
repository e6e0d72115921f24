//! What insights say of devices, by one rule: of which devices it is told. It does no I/O and reads no clock.

use std::collections::HashSet;
use std::sync::Arc;

use super::judged::{Incident, Judged, Said, Valued};
use super::rule::{AtRisk, Insight, Unusual, Unwell};
use crate::alerts::fleet::{Fleet, Scope};
use crate::alerts::renew::Watches;
use crate::alerts::rule::Rule;
use crate::alerts::verdict::{Begin, Cause, End, Verdict};
use crate::event::Instant;
use crate::insights::risk::model::Horizon;

/// Characters at most of a reason.
const REASON_MAX: usize = 1_000;

/// The devices by one rule.
#[derive(Debug)]
pub(in crate::alerts) struct Insights {
    rule: Arc<Rule>,
    insight: Insight,
    scope: Scope,
    /// Devices of which it is told, or was until somebody has resolved it.
    told: HashSet<i64>,
}

/// What a rule makes of what was said.
#[derive(Debug)]
enum Met {
    /// It was not asked.
    NotAsked,
    /// It is so.
    Is(Is),
    /// It is not so, and is not over either.
    Wavers,
    /// It is over.
    Over(&'static str),
}

#[derive(Debug)]
struct Is {
    measured: (f64, f64),
    reason: String,
}

impl Watches for Insights {
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

impl Insights {
    /// Nothing is known yet.
    pub(in crate::alerts) fn new(rule: Arc<Rule>, insight: Insight, scope: Scope) -> Self {
        Self {
            rule,
            insight,
            scope,
            told: HashSet::new(),
        }
    }

    /// The rule.
    pub(in crate::alerts) fn rule_id(&self) -> &str {
        &self.rule.rule_id
    }

    /// What it watches for.
    pub(in crate::alerts) const fn insight(&self) -> &Insight {
        &self.insight
    }

    /// The devices of which it is told.
    pub(in crate::alerts) const fn told(&self) -> &HashSet<i64> {
        &self.told
    }

    /// The devices that it is for.
    pub(in crate::alerts) fn devices<'a>(
        &'a self,
        fleet: &'a Fleet,
    ) -> impl Iterator<Item = i64> + 'a {
        let devices = fleet.devices.keys().copied();
        devices.filter(|key| self.scope.means(fleet, *key))
    }

    /// Begins with a device of which it is told.
    pub(in crate::alerts) fn remember(&mut self, device: i64) {
        self.told.insert(device);
    }

    /// Takes what was said of a device.
    pub(in crate::alerts) fn hear(
        &mut self,
        fleet: &Fleet,
        judged: &Judged,
        verdicts: &mut Vec<Verdict>,
    ) {
        if !self.scope.means(fleet, judged.device) {
            return;
        }
        match self.met(judged) {
            Met::Is(is) => {
                if self.told.insert(judged.device) {
                    verdicts.push(Verdict::Begins(Begin {
                        rule: Arc::clone(&self.rule),
                        cause: Cause::Device(judged.device),
                        since: judged.as_of,
                        at: judged.as_of,
                        measured: Some(is.measured),
                        reason: is.reason,
                        provenance: judged.provenance,
                        site: None,
                    }));
                }
            }
            Met::Over(reason) => self.forget((judged.device, judged.as_of), reason, verdicts),
            Met::NotAsked | Met::Wavers => {}
        }
    }

    /// A device is registered otherwise: of one that is out of use nothing is said.
    pub(in crate::alerts) fn changed(
        &mut self,
        fleet: &Fleet,
        (key, now): (i64, Instant),
        verdicts: &mut Vec<Verdict>,
    ) {
        if !self.scope.means(fleet, key) {
            self.forget((key, now), "it is out of use or elsewhere", verdicts);
        }
    }

    fn forget(&mut self, (key, at): (i64, Instant), reason: &str, verdicts: &mut Vec<Verdict>) {
        if self.told.remove(&key) {
            verdicts.push(Verdict::Ends(End {
                rule_id: self.rule.rule_id.clone(),
                cause: Cause::Device(key),
                at,
                reason: reason.to_owned(),
            }));
        }
    }

    fn met(&self, judged: &Judged) -> Met {
        match &self.insight {
            Insight::FailureRisk(risk) => {
                let horizon = risk.horizon().unwrap_or(Horizon::Day);
                let said = judged.risk(horizon);
                said.map_or(Met::NotAsked, |said| of_risk(risk, said))
            }
            Insight::Health(health) => {
                let said = judged.health.as_ref();
                said.map_or(Met::NotAsked, |said| of_health(health, said))
            }
            Insight::Anomaly(unusual) => {
                let incidents = judged.incidents.as_deref();
                incidents.map_or(Met::NotAsked, |all| of_incidents(unusual, all))
            }
        }
    }
}

/// As a text of a percentage without a fraction.
fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

/// What is said, with the reason for it, as far as there is room for that.
fn with_reason(said: String, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{said}: {reason}")
            .chars()
            .take(REASON_MAX)
            .collect(),
        None => said,
    }
}

fn of_risk(risk: &AtRisk, said: &Said) -> Met {
    let valued = match said {
        Said::Nothing => return Met::Over("nothing is known of it any more"),
        Said::Little => return Met::Over("it is not likely to fail any more"),
        Said::Value(valued) => valued,
    };
    let Valued {
        value,
        interval: (low, high),
        ..
    } = *valued;
    let is_beyond = value >= risk.chance && (!risk.certain || low >= risk.chance);
    if value < risk.over() {
        Met::Over("it is not likely to fail any more")
    } else if is_beyond && valued.is_its_own {
        let said = format!(
            "the chance that it fails within {} hours is {} ({} to {}), and {} were allowed",
            risk.horizon_hours,
            percent(value),
            percent(low),
            percent(high),
            percent(risk.chance),
        );
        Met::Is(Is {
            measured: (value, risk.chance),
            reason: with_reason(said, valued.reason.as_deref()),
        })
    } else {
        Met::Wavers
    }
}

fn of_health(health: &Unwell, said: &Said) -> Met {
    let Said::Value(valued) = said else {
        return Met::Over("nothing is known of it any more");
    };
    let Valued {
        value,
        interval: (low, high),
        ..
    } = *valued;
    let is_beyond = value < health.below && (!health.certain || high < health.below);
    if value >= health.over() {
        Met::Over("it is well again")
    } else if is_beyond {
        let said = format!(
            "its health is {value:.0} ({low:.0} to {high:.0}), less than {}",
            health.below
        );
        Met::Is(Is {
            measured: (value, health.below),
            reason: with_reason(said, valued.reason.as_deref()),
        })
    } else {
        Met::Wavers
    }
}

fn of_incidents(unusual: &Unusual, incidents: &[Incident]) -> Met {
    let of_rule = incidents.iter();
    let of_rule = of_rule.filter(|one| unusual.is_of(one.measure) && one.score >= unusual.score);
    let worst = of_rule.max_by(|left, right| left.score.total_cmp(&right.score));
    let Some(worst) = worst else {
        return Met::Over("nothing unusual is seen any more");
    };
    let said = format!("{} is unusual", worst.measure.name());
    Met::Is(Is {
        measured: (worst.score, unusual.score),
        reason: with_reason(said, worst.reason.as_deref()),
    })
}
