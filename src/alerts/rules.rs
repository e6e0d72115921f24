//! The commands on rules, and the rules as they stand: those that exist without being made, as long as
//! nobody has changed them, and those that were made.

use entity::alert_rule_changes::Column;
use uuid::Uuid;

use super::reach::Reach;
use super::rule::{RULES_MAX, RULES_WITHIN_MAX, Rule};
use super::{AlertError, DECISIONS_MAX};
use crate::event::Provenance;
use crate::history::Within;
use crate::history::alerts::{self, RuleRow};
use crate::ingest::Ingest;
use crate::kinds::{Draft, Kind};
use crate::projections::alerts::rule_entity;
use crate::store::{AppendError, Expect, Outcome, Store, StoreError};

/// Namespace of the ids of rules that follow from the ids of the commands that make them.
const RULES: Uuid = Uuid::from_u128(0x51c3_6f0e_7a18_4b6d_9d0f_3b0c_7e94_21d5);
/// What counts how many rules there are, so that two who make one at once do not make one too many.
const ALL: &str = "alert-rules";
/// What the rules call themselves where faults are told.
const SOURCE: &str = "the rules of alerts";

/// How a command on a rule is known again, on what it was decided, and who gives it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Id of its event, under which a repeat is known.
    pub event_id: Uuid,
    /// Version of the rule as the caller has read it.
    pub expected: Option<i64>,
    /// Who gives it.
    pub by: &'a str,
}

/// All rules that are not deleted, the default ones first.
///
/// # Errors
/// When the tables cannot be read.
pub async fn all_rules(store: &Store) -> Result<Vec<Rule>, StoreError> {
    let rows = alerts::rules(store).await?;
    let is_changed = |rule: &Rule| rows.iter().any(|row| row.rule_id == rule.rule_id);
    let mut rules: Vec<Rule> = Rule::defaults().into();
    rules.retain(|rule| !is_changed(rule));
    let rows = rows.into_iter().filter(|row| row.state != "DELETED");
    rules.extend(rows.filter_map(|row| of_row(store, row)));
    let is_made = |rule: &Rule| !Rule::defaults().iter().any(|d| d.rule_id == rule.rule_id);
    rules.sort_by_key(is_made);
    Ok(rules)
}

/// A rule that is not deleted.
///
/// # Errors
/// When the tables cannot be read.
pub async fn rule_by_id(store: &Store, rule_id: &str) -> Result<Option<Rule>, StoreError> {
    let rules = all_rules(store).await?;
    Ok(rules.into_iter().find(|rule| rule.rule_id == rule_id))
}

/// A rule as it was written. One that cannot be read is told as a fault, since nobody is alerted by it.
fn of_row(store: &Store, row: RuleRow) -> Option<Rule> {
    let spec = match serde_json::from_str(&row.spec) {
        Ok(spec) => spec,
        Err(error) => {
            let message = format!("rule {} cannot be read: {error}", row.rule_id);
            store.faults().tell(SOURCE, store.clock().now(), message);
            return None;
        }
    };
    Some(Rule {
        spec,
        rule_id: row.rule_id,
        name: row.name,
        severity: row.severity,
        is_enabled: row.state == "ENABLED",
        version: row.position,
    })
}

/// Makes a rule, with an id that follows from that of the command, and answers with it. Whoever is bound to
/// a part of the fleet makes a few for it, so that places are left for all others.
///
/// # Errors
/// When a value is out of bounds, there are too many rules, or it cannot be recorded.
pub async fn create(
    ingest: &Ingest,
    mut rule: Rule,
    (within, asked): (&Within, Asked<'_>),
) -> Result<String, AlertError> {
    rule.rule_id = Uuid::new_v5(&RULES, asked.event_id.as_bytes()).to_string();
    rule.check()?;
    let store = ingest.store();
    for _ in 0..DECISIONS_MAX {
        let all = Expect::changing(ALL.to_owned(), store.version(ALL).await?);
        let entity = rule_entity(&rule.rule_id);
        let one = Expect::changing(entity, 0);
        let rules = all_rules(store).await?;
        let is_there = rules.iter().any(|other| other.rule_id == rule.rule_id);
        if rules.len() >= RULES_MAX && !is_there {
            return Err(AlertError::TooMany);
        }
        if !is_there && count_within(store, &rules, within).await? >= RULES_WITHIN_MAX {
            return Err(AlertError::TooManyWithin);
        }
        let state = state_of(&rule);
        match append(ingest, &rule, (state, asked), [one, all]).await {
            Err(AlertError::Append(AppendError::Stale { .. })) if is_there => {
                return Err(AlertError::OtherRepeat);
            }
            Err(AlertError::Append(AppendError::Stale { .. })) => {}
            appended => return appended.map(|()| rule.rule_id),
        }
    }
    Err(AlertError::Contended)
}

/// How many rules are for nothing but a part of the fleet; of all of it they are not counted.
async fn count_within(store: &Store, rules: &[Rule], within: &Within) -> Result<usize, StoreError> {
    let mut count = 0;
    if *within == Within::Whole {
        return Ok(count);
    }
    for rule in rules {
        let reach = Reach::of(store, &rule.spec, within).await?;
        count += usize::from(reach.is_whole());
    }
    Ok(count)
}

/// Changes a rule: all of it that is not its id and what it watches for.
///
/// # Errors
/// When there is none, it has changed, a value is out of bounds, or it cannot be recorded.
pub async fn update(
    ingest: &Ingest,
    rule_id: &str,
    change: impl Fn(&mut Rule) + Send + Sync,
    asked: Asked<'_>,
) -> Result<(), AlertError> {
    decide(ingest, rule_id, asked, |rule| {
        let condition = rule.spec.watch.word();
        change(rule);
        if rule.spec.watch.word() != condition {
            return Err(AlertError::OtherCondition);
        }
        rule.check()?;
        Ok(state_of(rule))
    })
    .await
}

/// Deletes a rule: its open alerts are resolved. One that existed without being made raises nothing more.
///
/// # Errors
/// When there is none, it has changed, or it cannot be recorded.
pub async fn delete(ingest: &Ingest, rule_id: &str, asked: Asked<'_>) -> Result<(), AlertError> {
    decide(ingest, rule_id, asked, |_| Ok("DELETED")).await
}

async fn decide(
    ingest: &Ingest,
    rule_id: &str,
    asked: Asked<'_>,
    change: impl Fn(&mut Rule) -> Result<&'static str, AlertError>,
) -> Result<(), AlertError> {
    let store = ingest.store();
    for _ in 0..DECISIONS_MAX {
        // before the rule is read, so that a change after it is noticed
        let entity = rule_entity(rule_id);
        let version = store.version(&entity).await?;
        if let Some(is_same) = is_repeated(store, rule_id, asked.event_id).await? {
            return if is_same {
                Ok(())
            } else {
                Err(AlertError::OtherRepeat)
            };
        }
        let rule = rule_by_id(store, rule_id).await?;
        let mut rule = rule.ok_or(AlertError::Unknown("rule"))?;
        if asked
            .expected
            .is_some_and(|expected| expected != rule.version)
        {
            let version = rule.version;
            return Err(AlertError::Stale { version });
        }
        let state = change(&mut rule)?;
        let expect = [Expect::changing(entity, version)];
        match append(ingest, &rule, (state, asked), expect).await {
            Err(AlertError::Append(AppendError::Stale { .. })) => {}
            appended => return appended,
        }
    }
    Err(AlertError::Contended)
}

/// Whether the command was given before, and was one on the same rule.
async fn is_repeated(
    store: &Store,
    rule_id: &str,
    event_id: Uuid,
) -> Result<Option<bool>, StoreError> {
    let positions = store.positions(&[event_id]).await?;
    let Some(first) = positions.get(&event_id) else {
        return Ok(None);
    };
    let first = store.event(*first).await?;
    let of = first
        .as_ref()
        .map(|event| event.fact.cell(Column::RuleId).text());
    Ok(Some(of == Some(Some(rule_id))))
}

fn state_of(rule: &Rule) -> &'static str {
    if rule.is_enabled {
        "ENABLED"
    } else {
        "DISABLED"
    }
}

async fn append(
    ingest: &Ingest,
    rule: &Rule,
    (state, asked): (&str, Asked<'_>),
    expect: impl IntoIterator<Item = Expect>,
) -> Result<(), AlertError> {
    let spec = serde_json::to_value(&rule.spec).unwrap_or_default();
    let draft = Draft::new(
        Kind::AlertRuleChange,
        ingest.clock().now(),
        Provenance::Real,
    );
    let mut event = draft
        .event_id(asked.event_id)
        .set(Column::RuleId, rule.rule_id.as_str())
        .given(Column::Name, Some(rule.name.trim()))
        .set(Column::AlertCondition, rule.spec.watch.word())
        .set(Column::Spec, spec)
        .given(Column::Severity, Some(&rule.severity))
        .set(Column::State, state)
        .set(Column::ChangedBy, asked.by)
        .finish()?;
    // a repeat comes later and is the same command all the same
    event.occurred_at_given = false;
    let appended = ingest.command(vec![event], expect).await?;
    match appended.outcomes.into_iter().next() {
        Some(Outcome::Recorded(_) | Outcome::Duplicate(_)) => Ok(()),
        Some(Outcome::Conflict(_)) => Err(AlertError::OtherRepeat),
        Some(Outcome::Rejected(refusal)) => Err(refusal.into()),
        None => Err(StoreError::Closed.into()),
    }
}
