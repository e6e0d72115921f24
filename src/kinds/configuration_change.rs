//! `configurationChange`: a configuration parameter got a new value.

use entity::configuration_history::Column;

use super::command_transition::COMMAND_ID_MAX;
use super::{
    Audience, Field, Identity, Keeping, Kind, Person, Refusal, Source, Spec, Type, default_to,
    enums, refer_to_entity,
};
use crate::event::Fact;

/// A configuration parameter got a new value.
pub(super) static SPEC: Spec = Spec {
    kind: Kind::ConfigurationChange,
    wire: "configurationChange",
    type_name: "ConfigurationChange",
    list: "configurationHistory",
    stream: "configurationChanges",
    table: "configuration_history",
    description: "A configuration parameter got a new value.",
    identity: Identity::EventId,
    recordable: true,
    audience: Audience::Readers,
    commanded: true,
    source: Some(Source {
        expected_interval_seconds: None,
        method: "recorded when a parameter is set",
        purpose: "what a change did",
    }),
    derived: None,
    measured: None,
    keeping: Keeping::Archived { after_days: 730 },
    person: Some(Person::by("changedBy", &["changedBy"])),
    fields: &[
        Field::required(
            "entityType",
            &Column::EntityType,
            Type::Enum(&enums::CONFIGURATION_ENTITY),
            "What was configured.",
        ),
        Field::required(
            "entityId",
            &Column::EntityId,
            Type::Text { max: 255 },
            "Id of the device or site; `system` for the whole system.",
        ),
        Field::required(
            "parameterName",
            &Column::ParameterName,
            Type::Text { max: 255 },
            "Name of the parameter.",
        ),
        Field::optional(
            "oldValue",
            &Column::OldValue,
            Type::Json { max_bytes: 65_536 },
            "The value before.",
        )
        .not_filtered(),
        Field::required(
            "newValue",
            &Column::NewValue,
            Type::Json { max_bytes: 65_536 },
            "The value from now on.",
        )
        .not_filtered(),
        Field::required(
            "changedBy",
            &Column::ChangedBy,
            Type::Text { max: 255 },
            "Who changed it.",
        ),
        Field::optional("reason", &Column::Reason, Type::Text { max: 1_000 }, "Why.")
            .not_filtered(),
        Field::optional(
            "changeType",
            &Column::ChangeType,
            Type::Enum(&enums::CONFIGURATION_CHANGE_TYPE),
            "How it came about; MANUAL when absent.",
        ),
        Field::optional(
            "deviceId",
            &Column::DeviceKey,
            Type::Device,
            "The device configured, when it is one.",
        )
        .filled_in(),
        Field::optional(
            "siteId",
            &Column::SiteKey,
            Type::Site,
            "The site configured, when it is one.",
        )
        .filled_in(),
        Field::optional(
            "jobId",
            &Column::JobId,
            Type::Text { max: 255 },
            "The job by which the device was told, if it was.",
        ),
        Field::optional(
            "commandId",
            &Column::CommandId,
            Type::Text {
                max: COMMAND_ID_MAX,
            },
            "The command with which the device applied it, if it was told.",
        ),
    ],
    finish,
};

/// What is configured is also kept as a reference, so that it is looked up and can be asked for.
fn finish(fact: &mut Fact) -> Result<(), Refusal> {
    default_to(fact, Column::ChangeType, "MANUAL");
    refer_to_entity(fact)
}
