//! `alertRuleChange`: a rule by which alerts are raised was made, changed or deleted.

use entity::alert_rule_changes::Column;

use super::{Audience, Field, Identity, Keeping, Kind, Person, Spec, Type, enums};

/// A rule of alerts was made, changed or deleted.
pub(super) static SPEC: Spec = Spec {
    kind: Kind::AlertRuleChange,
    wire: "alertRuleChange",
    type_name: "AlertRuleChange",
    list: "alertRuleChanges",
    stream: "alertRuleChanges",
    table: "alert_rule_changes",
    description: "A rule by which alerts are raised was made, changed or deleted.",
    identity: Identity::EventId,
    recordable: false,
    audience: Audience::Readers,
    commanded: true,
    source: None,
    derived: None,
    measured: None,
    keeping: Keeping::Here,
    person: Some(Person::by("changedBy", &["changedBy"])),
    fields: &[
        Field::required(
            "ruleId",
            &Column::RuleId,
            Type::Text { max: 64 },
            "The rule.",
        ),
        Field::required(
            "name",
            &Column::Name,
            Type::Text { max: 255 },
            "What people call it.",
        ),
        Field::required(
            "condition",
            &Column::AlertCondition,
            Type::Enum(&enums::ALERT_CONDITION),
            "What it watches for.",
        ),
        Field::required(
            "spec",
            &Column::Spec,
            Type::Json { max_bytes: 65_536 },
            "Its bounds, and the sites and devices that it is for.",
        )
        .not_filtered(),
        Field::required(
            "severity",
            &Column::Severity,
            Type::Enum(&enums::ALERT_SEVERITY),
            "How bad it is when it holds.",
        ),
        Field::required(
            "state",
            &Column::State,
            Type::Enum(&enums::ALERT_RULE_STATE),
            "Whether it raises alerts from now on.",
        ),
        Field::optional(
            "changedBy",
            &Column::ChangedBy,
            Type::Text { max: 255 },
            "Who changed it.",
        ),
    ],
    finish: super::nothing_more,
};
