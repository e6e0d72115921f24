//! Records what follows for alerts: each step under a fixed id, on a version of its cause.
//!
//! The id of an alert follows from its rule, its cause and when that began. So what is decided twice,
//! after a crash or on two nodes, is recorded once, and one that a person has resolved is not opened
//! again while its cause lasts.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use entity::alert_transitions::Column;
use uuid::Uuid;

use super::rule::THRESHOLD_MAX;
use super::verdict::{Begin, Cause, Verdict};
use super::{AlertError, DECISIONS_MAX};
use crate::event::{Instant, NewEvent, Provenance, own_id};
use crate::history::alerts::{self, AlertRow};
use crate::ingest::{Given, Ingest, Patience, Registering};
use crate::kinds::alert_transition::SILENCED_SECONDS_MAX;
use crate::kinds::{Draft, Kind, Refusal};
use crate::projections::alerts::cause_entity;
use crate::store::{AppendError, Appended, Expect, Outcome, Store, StoreError};

/// Namespace of the ids of alerts and their steps.
const ALERTS: Uuid = Uuid::from_u128(0xc2a7_94d1_0e5b_4f83_8a60_5f27_d1b9_4e36);
/// What moves alerts that no person moves.
pub(super) const BY: &str = "alerts";
/// Verdicts at most that are recorded together.
const AT_ONCE: usize = 200;

/// Records verdicts in their order. What is recorded already, or has nothing to do, is left out.
pub(super) async fn record(ingest: &Ingest, verdicts: &[Verdict]) -> Result<(), AlertError> {
    let mut rest = verdicts;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(apart(rest));
        if !together(ingest, now).await? {
            for one in now {
                alone(ingest, std::slice::from_ref(one)).await?;
            }
        }
        rest = later;
    }
    Ok(())
}

/// How many of the first verdicts are each of another cause.
fn apart(verdicts: &[Verdict]) -> usize {
    let mut met = BTreeSet::new();
    let first = verdicts.iter().take(AT_ONCE);
    first.take_while(|verdict| met.insert(of(verdict))).count()
}

fn of(verdict: &Verdict) -> (&str, &Cause) {
    match verdict {
        Verdict::Begins(begin) => (&begin.rule.rule_id, &begin.cause),
        Verdict::Ends(end) => (&end.rule_id, &end.cause),
    }
}

async fn alone(ingest: &Ingest, one: &[Verdict]) -> Result<(), AlertError> {
    for _ in 0..DECISIONS_MAX {
        if together(ingest, one).await? {
            return Ok(());
        }
    }
    Err(AlertError::Contended)
}

/// Records verdicts of different causes in one commit; false when others moved one of these meanwhile.
async fn together(ingest: &Ingest, verdicts: &[Verdict]) -> Result<bool, AlertError> {
    let store = ingest.store();
    let now = ingest.clock().now();
    let mut named = Vec::with_capacity(verdicts.len());
    for verdict in verdicts {
        named.push(Named::of(store, verdict).await?);
    }
    let entities: Vec<String> = named.iter().map(|named| named.entity.clone()).collect();
    let mut versions = store.versions(entities).await?;
    let held = held(store, verdicts, &named, now).await?;
    let (mut events, mut expect) = (Vec::new(), Vec::new());
    for (verdict, named) in verdicts.iter().zip(named) {
        let of_cause = held.get(&named.entity).map_or(&[][..], Vec::as_slice);
        let event = match step(store, (verdict, &named), of_cause, now).await {
            // it would be refused again and again, and hold all others up
            Err(AlertError::Refused(refusal)) => {
                tracing::error!(refusal.message, "a step of an alert is not in order");
                continue;
            }
            event => event?,
        };
        let Some(event) = event else { continue };
        events.push(event);
        let version = versions.remove(&named.entity).unwrap_or(0);
        expect.push(Expect::changing(named.entity, version));
    }
    if events.is_empty() {
        return Ok(true);
    }
    let appended = match append(ingest, events, expect).await {
        Err(AppendError::Stale { .. }) => return Ok(false),
        appended => appended?,
    };
    for outcome in appended.outcomes {
        if let Outcome::Rejected(refusal) = outcome {
            tracing::warn!(refusal.message, "a step of an alert was refused");
        }
    }
    Ok(true)
}

/// Appends steps on the versions that they were decided on, and waits for a place in the queue: to begin
/// anew because others have filled it would give every device its time once more.
async fn append(
    ingest: &Ingest,
    events: Vec<NewEvent>,
    expect: Vec<Expect>,
) -> Result<Appended, AppendError> {
    let given = |event| (Some(Kind::AlertTransition), Ok(event));
    let given: Vec<Given> = events.into_iter().map(given).collect();
    let expecting = Registering {
        registrations: Vec::new(),
        expect,
    };
    let patience = Patience::Unlimited;
    ingest
        .record_registering(expecting, (given, None), patience)
        .await
}

/// The alerts that concern verdicts, by the names of their causes.
async fn held(
    store: &Store,
    verdicts: &[Verdict],
    named: &[Named],
    now: Instant,
) -> Result<HashMap<String, Vec<AlertRow>>, StoreError> {
    let rules: BTreeSet<&str> = verdicts.iter().map(|verdict| of(verdict).0).collect();
    let rules = rules.into_iter().map(str::to_owned).collect();
    let causes = named.iter().map(|named| named.cause.clone()).collect();
    let since = verdicts.iter().filter_map(|verdict| match verdict {
        Verdict::Begins(begin) => Some(begin.since),
        Verdict::Ends(_) => None,
    });
    let since = since.min().unwrap_or(now);
    let rows = alerts::of_causes(store, (rules, causes), (since, now)).await?;
    let mut held: HashMap<String, Vec<AlertRow>> = HashMap::new();
    for row in rows {
        let entity = cause_entity(&row.rule_id, &row.cause);
        held.entry(entity).or_default().push(row);
    }
    Ok(held)
}

/// The step that follows from a verdict, if one does.
async fn step(
    store: &Store,
    (verdict, named): (&Verdict, &Named),
    held: &[AlertRow],
    now: Instant,
) -> Result<Option<NewEvent>, AlertError> {
    let open = held.iter().find(|row| row.state != "RESOLVED");
    match (verdict, open) {
        (Verdict::Begins(_), Some(_)) | (Verdict::Ends(_), None) => Ok(None),
        (Verdict::Begins(begin), None) => {
            // it had begun when somebody closed the alert of it
            let is_known = |row: &AlertRow| {
                let ended_at = row.ended_at.unwrap_or(i64::MIN);
                Some(&row.alert_id) == named.alert_id.as_ref() || ended_at > begin.since.0
            };
            if held.iter().any(is_known) {
                return Ok(None);
            }
            let silenced = held.iter().filter_map(|row| row.silenced_until).max();
            let silenced = silenced.filter(|until| *until > now.0);
            let silenced = silenced.map(|until| silenced_seconds(begin.at, Instant(until)));
            Ok(Some(opened(begin, named, silenced)?))
        }
        (Verdict::Ends(end), Some(row)) => {
            let Some(at) = ended_at(row, end.at, now) else {
                return Ok(None);
            };
            let step = Step {
                state: "RESOLVED",
                at,
                by: BY,
                reason: Some(&end.reason),
                silenced_seconds: None,
            };
            Ok(Some(moved(store, row, &step).await?))
        }
    }
}

/// For how long an alert is silenced from an instant on, so that it is open again when that was to be, or within
/// a second of it.
pub(super) fn silenced_seconds(at: Instant, until: Instant) -> i64 {
    let microseconds = until.0.saturating_sub(at.0);
    let seconds = microseconds.saturating_add(999_999).div_euclid(1_000_000);
    seconds.clamp(1, SILENCED_SECONDS_MAX)
}

/// When an alert ends by an end of its cause; `None` for the end of what was before it, which is told late
/// or by a node that lags behind. One that begins in the future is of a clock that was wrong.
fn ended_at(row: &AlertRow, at: Instant, now: Instant) -> Option<Instant> {
    let started_at = Instant(row.started_at);
    if at >= started_at {
        return Some(at);
    }
    (started_at > now).then_some(now)
}

/// A cause by the names that people use.
#[derive(Debug)]
struct Named {
    entity: String,
    cause: String,
    device: Option<Arc<str>>,
    site: Option<Arc<str>>,
    job: Option<String>,
    /// The alert that a cause that begins is.
    alert_id: Option<String>,
}

impl Named {
    async fn of(store: &Store, verdict: &Verdict) -> Result<Self, StoreError> {
        let (rule_id, cause) = of(verdict);
        let (mut device, mut site, mut job) = (None, None, None);
        let cause = match cause {
            Cause::Device(key) => {
                device = store.id(*key).await?;
                if let Some(key) = store.names().site_of_device(*key) {
                    site = store.id(key).await?;
                }
                device_cause(device.as_deref())
            }
            Cause::Site(key) => {
                site = store.id(*key).await?;
                format!("site/{}", site.as_deref().unwrap_or_default())
            }
            Cause::Job(id) => {
                job = Some(id.clone());
                format!("job/{id}")
            }
            Cause::Fleet => "fleet".to_owned(),
        };
        let mut alert_id = None;
        if let Verdict::Begins(begin) = verdict {
            if let Some(key) = begin.site {
                site = store.id(key).await?;
            }
            let beginning = format!("{rule_id}/{cause}/{}", begin.since.0);
            alert_id = Some(own_id(&ALERTS, beginning.as_bytes()).to_string());
        }
        Ok(Self {
            entity: cause_entity(rule_id, &cause),
            cause,
            device,
            site,
            job,
            alert_id,
        })
    }
}

/// A device as the cause of an alert.
pub(super) fn device_cause(id: Option<&str>) -> String {
    format!("device/{}", id.unwrap_or_default())
}

fn opened(begin: &Begin, named: &Named, silenced: Option<i64>) -> Result<NewEvent, Refusal> {
    let rule = &begin.rule;
    let alert_id = named.alert_id.as_deref().unwrap_or_default();
    let lasted_ms = (begin.at.0 - begin.since.0) / 1_000;
    let state = if silenced.is_some() {
        "SILENCED"
    } else {
        "OPEN"
    };
    Draft::new(Kind::AlertTransition, begin.at, begin.provenance)
        .event_id(own_id(&ALERTS, format!("{alert_id}/OPEN").as_bytes()))
        .set(Column::AlertId, alert_id)
        .set(Column::RuleId, rule.rule_id.as_str())
        .set(Column::RuleName, rule.name.as_str())
        .set(Column::AlertCondition, rule.spec.watch.word())
        .set(Column::Cause, named.cause.as_str())
        .set(Column::State, state)
        .set(Column::Severity, rule.severity.as_str())
        .set(Column::DeviceKey, named.device.as_deref())
        .set(Column::SiteKey, named.site.as_deref())
        .set(Column::JobId, named.job.as_deref())
        .set(Column::DurationMs, lasted_ms.max(0))
        .set(Column::SilencedSeconds, silenced)
        .set(Column::Value, begin.measured.map(|(value, _)| told(value)))
        .set(
            Column::Threshold,
            begin.measured.map(|(_, threshold)| told(threshold)),
        )
        .set(Column::ChangedBy, BY)
        .set(Column::Reason, begin.reason.as_str())
        .finish()
}

/// A number within the bounds of what is told of it.
fn told(number: f64) -> f64 {
    number.clamp(-THRESHOLD_MAX, THRESHOLD_MAX)
}

/// A step of an alert that is there.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) state: &'a str,
    pub(super) at: Instant,
    pub(super) by: &'a str,
    pub(super) reason: Option<&'a str>,
    pub(super) silenced_seconds: Option<i64>,
}

/// The event of a step. An alert is resolved once; its other steps have the ids of those that they follow.
pub(super) async fn moved(
    store: &Store,
    row: &AlertRow,
    step: &Step<'_>,
) -> Result<NewEvent, AlertError> {
    let id = if step.state == "RESOLVED" {
        format!("{}/RESOLVED", row.alert_id)
    } else {
        format!("{}/{}/{}", row.alert_id, step.state, row.position)
    };
    let name = async |key: Option<i64>| match key {
        Some(key) => store.id(key).await,
        None => Ok(None),
    };
    let (device, site) = (name(row.device_key).await?, name(row.site_key).await?);
    let provenance = Provenance::of_code(row.provenance).unwrap_or_default();
    let lasted_ms = (step.at.0 - row.started_at).max(0) / 1_000;
    let event = Draft::new(Kind::AlertTransition, step.at, provenance)
        .event_id(own_id(&ALERTS, id.as_bytes()))
        .set(Column::AlertId, row.alert_id.as_str())
        .set(Column::RuleId, row.rule_id.as_str())
        .set(Column::RuleName, row.rule_name.as_deref())
        .set(Column::AlertCondition, row.alert_condition.as_str())
        .set(Column::Cause, row.cause.as_str())
        .set(Column::State, step.state)
        .set(Column::Severity, row.severity.as_str())
        .set(Column::DeviceKey, device.as_deref())
        .set(Column::SiteKey, site.as_deref())
        .set(Column::JobId, row.job_id.as_deref())
        .set(Column::DurationMs, lasted_ms)
        .set(Column::SilencedSeconds, step.silenced_seconds)
        .set(Column::Value, row.value)
        .set(Column::Threshold, row.threshold)
        .set(Column::ChangedBy, step.by)
        .given(Column::Reason, step.reason)
        .finish()?;
    Ok(event)
}

/// An alert whose silence is over is open again; nothing when somebody has moved it meanwhile.
pub(super) async fn reopen(ingest: &Ingest, alert_id: &str) -> Result<(), AlertError> {
    let store = ingest.store();
    let Some(row) = alerts::alert(store, alert_id).await? else {
        return Ok(());
    };
    let entity = cause_entity(&row.rule_id, &row.cause);
    let version = store.version(&entity).await?;
    // read behind the version, so that a step after it is noticed
    let row = alerts::alert(store, alert_id).await?;
    let now = ingest.clock().now();
    let is_over = |row: &AlertRow| row.silenced_until.is_none_or(|until| until <= now.0);
    let Some(row) = row.filter(|row| row.state == "SILENCED" && is_over(row)) else {
        return Ok(());
    };
    let step = Step {
        state: "OPEN",
        at: Instant(row.silenced_until.unwrap_or(now.0)),
        by: BY,
        reason: Some("its silence is over"),
        silenced_seconds: None,
    };
    let event = moved(store, &row, &step).await?;
    let expect = Expect::changing(entity, version);
    match append(ingest, vec![event], vec![expect]).await {
        Ok(_) | Err(AppendError::Stale { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
