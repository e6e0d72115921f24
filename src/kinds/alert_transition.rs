//! `alertTransition`: an alert passed from one state to the next.
//!
//! Each says all of the alert, so that it can be told to others without what came before.

use entity::alert_transitions::Column;

use super::{Audience, Field, Identity, Keeping, Kind, Person, Spec, Type, enums};

/// Seconds at most for which an alert is silenced: 31 days.
pub(crate) const SILENCED_SECONDS_MAX: i64 = 31 * 86_400;
/// Bounds of what is measured, either way.
const VALUE_MAX: f64 = 1e15;
const VALUE: Type = Type::Float {
    min: -VALUE_MAX,
    max: VALUE_MAX,
};

/// An alert passed from one state to the next.
pub(super) static SPEC: Spec = Spec {
    kind: Kind::AlertTransition,
    wire: "alertTransition",
    type_name: "AlertTransition",
    list: "alertTransitions",
    stream: "alertTransitions",
    table: "alert_transitions",
    description: "An alert passed from one state to the next.",
    identity: Identity::EventId,
    recordable: false,
    audience: Audience::Readers,
    commanded: false,
    source: None,
    derived: None,
    measured: None,
    keeping: Keeping::Here,
    person: Some(Person::by("changedBy", &["changedBy"])),
    fields: FIELDS,
    finish: super::nothing_more,
};

const FIELDS: &[Field] = &[
    Field::required(
        "alertId",
        &Column::AlertId,
        Type::Text { max: 64 },
        "The alert.",
    ),
    Field::required(
        "ruleId",
        &Column::RuleId,
        Type::Text { max: 64 },
        "The rule that raised it.",
    ),
    Field::optional(
        "ruleName",
        &Column::RuleName,
        Type::Text { max: 255 },
        "What people call the rule.",
    ),
    Field::required(
        "condition",
        &Column::AlertCondition,
        Type::Enum(&enums::ALERT_CONDITION),
        "What the rule watches for.",
    ),
    Field::required(
        "cause",
        &Column::Cause,
        Type::Text { max: 512 },
        "What the alert is for: `device/…`, `site/…`, `job/…`, each with an id, or `fleet`.",
    ),
    Field::required(
        "state",
        &Column::State,
        Type::Enum(&enums::ALERT_STATE),
        "The state from now on.",
    ),
    Field::required(
        "severity",
        &Column::Severity,
        Type::Enum(&enums::ALERT_SEVERITY),
        "How bad it is.",
    ),
    Field::optional(
        "deviceId",
        &Column::DeviceKey,
        Type::Device,
        "The device, if it is for one.",
    ),
    Field::optional(
        "siteId",
        &Column::SiteKey,
        Type::Site,
        "The site, if it is for one, or for a device or a job at one.",
    ),
    Field::optional(
        "jobId",
        &Column::JobId,
        Type::Text { max: 255 },
        "The job, if it is for one.",
    ),
    Field::optional(
        "durationMs",
        &Column::DurationMs,
        Type::Long {
            min: 0,
            max: i64::MAX,
        },
        "How long what it is for has lasted by then, in milliseconds; when it is resolved, in all.",
    ),
    Field::optional(
        "silencedSeconds",
        &Column::SilencedSeconds,
        Type::Int {
            min: 1,
            max: SILENCED_SECONDS_MAX,
        },
        "For how long nobody is told of it from now on, in seconds.",
    ),
    Field::optional(
        "value",
        &Column::Value,
        VALUE,
        "What was measured, in the unit of what the rule watches.",
    ),
    Field::optional(
        "threshold",
        &Column::Threshold,
        VALUE,
        "Beyond what the rule raises an alert, in the same unit.",
    ),
    Field::optional(
        "changedBy",
        &Column::ChangedBy,
        Type::Text { max: 255 },
        "Who or what moved it.",
    ),
    Field::optional("reason", &Column::Reason, Type::Text { max: 1_000 }, "Why.").not_filtered(),
];
