//! The rules are taken up, when the evaluation begins and whenever one has changed. A rule that watches for
//! the same as before, for the same devices, goes on with all that it knows: neither a name nor another rule
//! gives anybody new time. One that is new, or watches otherwise, begins with what is known of the fleet: with
//! the last signs of life of the devices, the log and the open alerts.

use std::collections::{HashMap, HashSet};
use std::mem::take;
use std::sync::Arc;

use super::evaluate::Evaluator;
use super::fleet::{Fleet, Scope};
use super::gaps::{Gaps, Told};
use super::insights::{Insights, Turns};
use super::rates::Rates;
use super::recall;
use super::rule::{Insight, Rule, Watch};
use super::rules::all_rules;
use super::runs::Runs;
use super::states::States;
use super::verdict::{Cause, End, Verdict};
use crate::event::Instant;
use crate::history::alerts::AlertRow;
use crate::store::{EntityType, Store, StoreError};

/// What watches by one rule.
pub(super) trait Watches {
    /// The rule.
    fn rule(&self) -> &Arc<Rule>;

    /// What it is for.
    fn scope(&self) -> &Scope;

    /// Goes on by the rule as it stands now.
    fn go_on(&mut self, rule: Arc<Rule>);
}

/// What has watched by a rule for the same things, which is taken out of what was.
fn taken<W: Watches>(before: &mut Vec<W>, rule: &Arc<Rule>, scope: &Scope) -> Option<W> {
    let is_same = |watches: &W| {
        let known = watches.rule();
        known.rule_id == rule.rule_id && known.spec == rule.spec && watches.scope() == scope
    };
    let place = before.iter().position(is_same)?;
    let mut watches = before.swap_remove(place);
    watches.go_on(Arc::clone(rule));
    Some(watches)
}

/// Has what watches by a rule go on, if there is such, or else begin.
fn take_up<W: Watches>(
    (before, kept, fresh): (&mut Vec<W>, &mut Vec<W>, &mut Vec<W>),
    (rule, scope): (&Arc<Rule>, &Scope),
    begin: impl FnOnce(Arc<Rule>, Scope) -> W,
) {
    match taken(before, rule, scope) {
        Some(watches) => kept.push(watches),
        None => fresh.push(begin(Arc::clone(rule), scope.clone())),
    }
}

/// Takes the rules up as they stand, and ends what they have no reason for any more.
pub(super) async fn rules(
    store: &Store,
    evaluator: &mut Evaluator,
    open: &[AlertRow],
    now: Instant,
) -> Result<(), StoreError> {
    let mut before = Evaluator {
        gaps: take(&mut evaluator.gaps),
        states: take(&mut evaluator.states),
        runs: take(&mut evaluator.runs),
        rates: take(&mut evaluator.rates),
        insights: take(&mut evaluator.insights),
        ..Evaluator::default()
    };
    // what begins is told what was before, and what goes on is not
    let mut fresh = Evaluator {
        fleet: take(&mut evaluator.fleet),
        heard_from: evaluator.heard_from,
        ..Evaluator::default()
    };
    evaluator.rules.clear();
    evaluator.failures.clear();
    let rules = all_rules(store).await?;
    for rule in rules.into_iter().filter(|rule| rule.is_enabled) {
        let scope = scope(store, &rule).await?;
        let rule = Arc::new(rule);
        let asked = (&rule, &scope);
        match &rule.spec.watch {
            Watch::CollectionGap(gap) => {
                let gaps = (&mut before.gaps, &mut evaluator.gaps, &mut fresh.gaps);
                take_up(gaps, asked, |rule, scope| {
                    Gaps::new(rule, gap.clone(), scope)
                });
            }
            Watch::State(state) => {
                let states = (&mut before.states, &mut evaluator.states, &mut fresh.states);
                take_up(states, asked, |rule, scope| {
                    States::new(rule, state.clone(), scope)
                });
            }
            Watch::Metric(metric) => {
                let runs = (&mut before.runs, &mut evaluator.runs, &mut fresh.runs);
                take_up(runs, asked, |rule, scope| {
                    Runs::new(rule, metric.clone(), scope)
                });
            }
            Watch::ErrorRate(rate) => {
                let rates = (&mut before.rates, &mut evaluator.rates, &mut fresh.rates);
                take_up(rates, asked, |rule, scope| {
                    Rates::new(rule, rate.clone(), scope)
                });
            }
            Watch::JobFailure(failure) => {
                let failure = (Arc::clone(&rule), failure.clone());
                evaluator.failures.push(failure);
            }
            Watch::Insight(insight) => {
                let (before, kept) = (&mut before.insights, &mut evaluator.insights);
                take_up((before, kept, &mut fresh.insights), asked, |rule, scope| {
                    Insights::new(rule, insight.clone(), scope)
                });
            }
        }
        evaluator.rules.insert(rule.rule_id.clone(), scope);
    }
    let open = Open::of(open);
    remember(&mut fresh, &open, now);
    recall::all(store, &mut fresh, &open, now).await?;
    join(evaluator, fresh);
    let outdated = outdated(evaluator, open.rows, now);
    evaluator.verdicts.extend(outdated);
    Ok(())
}

/// Has what begins join what goes on.
fn join(evaluator: &mut Evaluator, mut fresh: Evaluator) {
    evaluator.fleet = fresh.fleet;
    evaluator.gaps.append(&mut fresh.gaps);
    evaluator.states.append(&mut fresh.states);
    evaluator.runs.append(&mut fresh.runs);
    evaluator.rates.append(&mut fresh.rates);
    let mut new = fresh.insights.iter();
    if new.any(|rule| matches!(rule.insight(), Insight::Anomaly(_))) {
        // what others have read of devices, a new rule has not heard
        evaluator.turns = Turns::default();
    }
    evaluator.insights.append(&mut fresh.insights);
    evaluator.verdicts.append(&mut fresh.verdicts);
}

/// Gives rules of silence that begin the devices that were heard of.
fn remember(fresh: &mut Evaluator, open: &Open<'_>, now: Instant) {
    let heard_from = fresh.heard_from.min(now);
    for gaps in &mut fresh.gaps {
        for device in fresh.fleet.devices.values() {
            let Some(sign) = device.sign else { continue };
            let told = Told {
                device: open.has_device(gaps.rule_id(), sign.device),
                site: open.site_since(gaps.rule_id(), device.site),
            };
            gaps.remember(&fresh.fleet, sign, told, heard_from);
        }
    }
}

/// The open alerts, and by the ids of their rules those of devices and of whole sites.
#[derive(Debug)]
pub(super) struct Open<'a> {
    pub(super) rows: &'a [AlertRow],
    devices: HashSet<(&'a str, i64)>,
    /// Since when the sites are silent.
    sites: HashMap<(&'a str, i64), Instant>,
}

impl<'a> Open<'a> {
    fn of(rows: &'a [AlertRow]) -> Self {
        let (mut devices, mut sites) = (HashSet::new(), HashMap::new());
        for row in rows {
            let rule_id = row.rule_id.as_str();
            match (row.device_key, row.site_key) {
                (Some(device), _) => {
                    devices.insert((rule_id, device));
                }
                (None, Some(site)) => {
                    let since = Instant(row.started_at);
                    sites.entry((rule_id, site)).or_insert(since);
                }
                (None, None) => {}
            }
        }
        Self {
            rows,
            devices,
            sites,
        }
    }

    /// Whether there is one of a device by a rule.
    pub(super) fn has_device(&self, rule_id: &str, device: i64) -> bool {
        self.devices.contains(&(rule_id, device))
    }

    /// Since when there is one of a site by a rule.
    fn site_since(&self, rule_id: &str, site: i64) -> Option<Instant> {
        self.sites.get(&(rule_id, site)).copied()
    }
}

/// Which sites and devices a rule is for.
async fn scope(store: &Store, rule: &Rule) -> Result<Scope, StoreError> {
    if rule.is_for_all() {
        return Ok(Scope::All);
    }
    let (mut sites, mut devices) = (HashSet::new(), HashSet::new());
    for id in &rule.spec.site_ids {
        sites.extend(store.key(EntityType::Site, id).await?);
    }
    for id in &rule.spec.device_ids {
        devices.extend(store.key(EntityType::Device, id).await?);
    }
    Ok(Scope::Some { sites, devices })
}

/// Alerts that are open and have no reason to be any more: their rule is gone, or their device is out of
/// use or of the rule.
fn outdated(evaluator: &Evaluator, open: &[AlertRow], now: Instant) -> Vec<Verdict> {
    let end = |row: &AlertRow, cause: Cause, reason: &str| {
        Verdict::Ends(End {
            rule_id: row.rule_id.clone(),
            cause,
            at: now,
            reason: reason.to_owned(),
        })
    };
    let gaps = evaluator.gaps.iter().map(|gaps| (gaps.rule_id(), gaps));
    let gaps: HashMap<&str, &Gaps> = gaps.collect();
    let mut verdicts = Vec::new();
    for row in open {
        let Some(cause) = cause_of(row) else { continue };
        let Some(scope) = evaluator.rules.get(&row.rule_id) else {
            verdicts.push(end(row, cause, "its rule was deleted or disabled"));
            continue;
        };
        let is_meant = match gaps.get(row.rule_id.as_str()) {
            Some(gaps) => gaps.is_concerned_with(&cause),
            None => is_meant(&evaluator.fleet, scope, &cause),
        };
        if !is_meant {
            let reason = "it is out of use, or the rule is not for it any more";
            verdicts.push(end(row, cause, reason));
        }
    }
    verdicts
}

/// Whether a rule is for a cause, and that is in use.
fn is_meant(fleet: &Fleet, scope: &Scope, cause: &Cause) -> bool {
    match cause {
        Cause::Device(key) => scope.means(fleet, *key),
        Cause::Site(key) => scope.reaches_site(fleet, *key),
        Cause::Job(_) | Cause::Fleet => true,
    }
}

/// The cause of an alert, by keys.
pub(super) fn cause_of(row: &AlertRow) -> Option<Cause> {
    match row.cause.split_once('/') {
        Some(("device", _)) => row.device_key.map(Cause::Device),
        Some(("site", _)) => row.site_key.map(Cause::Site),
        Some(("job", id)) => Some(Cause::Job(id.to_owned())),
        _ => Some(Cause::Fleet),
    }
}
