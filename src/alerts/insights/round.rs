//! Rounds: devices are read and judged beside the log that is followed, so that neither waits for the other.

use std::collections::HashSet;
use std::future::pending;

use futures_util::future::BoxFuture;

use super::judged::{Incident, Judged, Said, Valued};
use super::rule::Insight;
use super::state::Insights;
use super::turns::Turns;
use crate::alerts::fleet::Fleet;
use crate::event::Instant;
use crate::held::{Ask, DeviceRead, FleetRead, FleetsAt, Held, Lean};
use crate::insights::anomaly;
use crate::insights::risk::model::Horizon;
use crate::insights::shape;
use crate::store::{Store, StoreError};
use crate::telemetry::chain;

/// What rounds call themselves where faults are told.
const SOURCE: &str = "the alerts of insights";
/// How long it is from one round to the next.
const EVERY_MS: i64 = 60_000;
/// Devices that are judged before others go first.
const AT_ONCE: usize = 64;
/// Devices that are read at once, and then let go.
const READ_AT_ONCE: usize = 1_000;
/// Devices that are read whole at once, and then let go.
const WHOLE_AT_ONCE: usize = 100;

/// The rounds of all rules.
pub(in crate::alerts) struct Rounds {
    held: Held,
    began_at: Option<Instant>,
    running: Option<BoxFuture<'static, Result<Vec<Judged>, StoreError>>>,
    /// Devices that are read whole in the round that is running.
    whole: Vec<i64>,
}

/// What is asked in a round.
#[derive(Debug, Default)]
struct Asked {
    /// Devices of which it is asked how likely they are to fail, or how well they are.
    lean: Vec<i64>,
    /// The least chance by which a rule is not over, for 24 and for 72 hours.
    chances: [Option<f64>; 2],
    is_health: bool,
    /// Devices of which it is asked what is unusual.
    whole: Vec<i64>,
}

impl Rounds {
    /// None was begun.
    pub(in crate::alerts) fn new(held: Held) -> Self {
        Self {
            held,
            began_at: None,
            running: None,
            whole: Vec::new(),
        }
    }

    /// A rule has changed: the next round begins at once, in place of one that is running.
    pub(in crate::alerts) fn hurry(&mut self, turns: &mut Turns) {
        self.began_at = None;
        if self.running.take().is_some() {
            turns.give_back(&self.whole);
        }
    }

    /// Begins a round when it is time for one.
    pub(in crate::alerts) fn begin(
        &mut self,
        (rules, turns): (&[Insights], &mut Turns),
        fleet: &Fleet,
        now: Instant,
    ) {
        let passed = self.began_at.map(|at| (now.0 - at.0).abs());
        let is_early = passed.is_some_and(|passed| passed < EVERY_MS * 1_000);
        if rules.is_empty() || is_early || self.running.is_some() {
            return;
        }
        self.began_at = Some(now);
        let asked = Asked::of((rules, turns), fleet, now);
        self.whole.clone_from(&asked.whole);
        self.running = Some(Box::pin(judge(self.held.clone(), asked, now)));
    }

    /// What comes of the round that was begun; nothing of one that fails, and the next is another.
    pub(in crate::alerts) async fn ended(&mut self) -> Result<Vec<Judged>, StoreError> {
        let Some(running) = &mut self.running else {
            return pending().await;
        };
        let judged = running.await;
        self.running = None;
        judged
    }

    /// The round that has ended has failed.
    pub(in crate::alerts) fn failed(&self, store: &Store, turns: &mut Turns, error: &StoreError) {
        turns.give_back(&self.whole);
        let error = chain(error);
        let message = format!("devices are not judged for alerts, will be in a minute: {error}");
        store.faults().tell(SOURCE, store.clock().now(), message);
    }
}

impl Asked {
    fn of((rules, turns): (&[Insights], &mut Turns), fleet: &Fleet, now: Instant) -> Self {
        let mut asked = Self::default();
        let (mut lean, mut whole, mut told) = (HashSet::new(), HashSet::new(), HashSet::new());
        for rule in rules {
            let of_rule = match rule.insight() {
                Insight::FailureRisk(risk) => {
                    let [day, three_days] = &mut asked.chances;
                    let least = match risk.horizon() {
                        Some(Horizon::ThreeDays) => three_days,
                        Some(Horizon::Day) | None => day,
                    };
                    *least = Some(least.map_or(risk.over(), |least| least.min(risk.over())));
                    &mut lean
                }
                Insight::Health(_) => {
                    asked.is_health = true;
                    &mut lean
                }
                Insight::Anomaly(_) => {
                    told.extend(rule.told());
                    &mut whole
                }
            };
            of_rule.extend(rule.devices(fleet));
        }
        asked.lean = lean.into_iter().collect();
        asked.lean.sort_unstable();
        asked.whole = turns.take(&whole, &told, now);
        asked
    }
}

/// Reads and judges devices. One that is judged both ways is told twice.
async fn judge(held: Held, asked: Asked, now: Instant) -> Result<Vec<Judged>, StoreError> {
    let ask = Ask {
        as_of: now,
        provenance: None,
    };
    let mut judged = Vec::new();
    let mut fleets = FleetsAt::new(&held, now);
    for keys in asked.lean.chunks(READ_AT_ONCE) {
        let lean = held.lean(Some(keys), ask).await?;
        for some in lean.chunks(AT_ONCE) {
            for lean in some {
                let fleet = fleets.of(lean.provenance).await?;
                judged.push(judge_lean(&asked, (lean, &fleet), now));
            }
            tokio::task::yield_now().await;
        }
    }
    for keys in asked.whole.chunks(WHOLE_AT_ONCE) {
        for read in held.devices(keys, ask).await?.into_iter().flatten() {
            let fleet = fleets.of(read.provenance).await?;
            let incidents = Some(incidents(&read, &fleet));
            judged.push(Judged {
                incidents,
                ..Judged::new((read.key, read.provenance), now)
            });
        }
        tokio::task::yield_now().await;
    }
    Ok(judged)
}

fn judge_lean(asked: &Asked, (lean, fleet): (&Lean, &FleetRead), now: Instant) -> Judged {
    let [day, three_days] = asked.chances;
    let risk = |least: Option<f64>, horizon: Horizon| {
        let least = least?;
        // of most devices no more is asked than that
        let chance = lean.chance(fleet, (now, horizon));
        if chance.is_some_and(|chance| chance < least) {
            return Some(Said::Little);
        }
        Some(said(lean.failure_risk(fleet, (now, horizon))))
    };
    let health = asked.is_health;
    let health = health.then(|| said(lean.health(fleet, now)));
    Judged {
        risks: [
            risk(day, Horizon::Day),
            risk(three_days, Horizon::ThreeDays),
        ],
        health,
        ..Judged::new((lean.key, lean.provenance), now)
    }
}

fn said(insight: shape::Insight) -> Said {
    let Some((value, interval)) = insight.value.zip(insight.interval) else {
        return Said::Nothing;
    };
    let reason = insight.reasons.into_iter().next();
    Said::Value(Valued {
        value,
        interval: (interval.low, interval.high),
        is_its_own: insight.status == shape::Status::Ok,
        reason: reason.map(|reason| reason.sentence),
    })
}

/// What is unusual about a device and not over.
fn incidents(read: &DeviceRead, fleet: &FleetRead) -> Vec<Incident> {
    let mut all = Vec::new();
    for (measure, state) in &read.state.anomalies {
        let (subject, samples) = (read.subject(fleet, *measure), read.samples_of(*measure));
        let found = anomaly::incidents(state, &subject, samples, read.as_of);
        let Some(open) = found.iter().find(|one| one.is_open) else {
            continue;
        };
        let insight = anomaly::read(state, &subject, samples, read.as_of);
        let reason = insight.reasons.into_iter().next();
        all.push(Incident {
            measure: *measure,
            score: open.worst,
            reason: reason.map(|reason| reason.sentence),
        });
    }
    all
}
