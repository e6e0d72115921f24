//! `configurationSetting`: a parameter was set on a device, a site or the system, or unset; devices apply it later.

use entity::configuration_settings::Column;

use super::{Audience, Field, Identity, Keeping, Kind, Person, Spec, Type, enums, refer_to_entity};

/// A parameter was set on a device, a site or the system, or unset; devices apply it later.
pub(super) static SPEC: Spec = Spec {
    kind: Kind::ConfigurationSetting,
    wire: "configurationSetting",
    type_name: "ConfigurationSetting",
    list: "configurationSettings",
    stream: "configurationSettings",
    table: "configuration_settings",
    description: "A parameter was set on a device, a site or the system, or unset; devices apply it later.",
    identity: Identity::EventId,
    recordable: false,
    audience: Audience::Readers,
    commanded: false,
    source: None,
    derived: None,
    measured: None,
    keeping: Keeping::Here,
    person: Some(Person::by("changedBy", &["changedBy"])),
    fields: &[
        Field::required(
            "entityType",
            &Column::EntityType,
            Type::Enum(&enums::CONFIGURATION_ENTITY),
            "On what it was set.",
        ),
        Field::required(
            "entityId",
            &Column::EntityId,
            Type::Text { max: 255 },
            "Id of the device or site; `system` for the whole system.",
        ),
        Field::required(
            "version",
            &Column::Version,
            Type::Long {
                min: 1,
                max: 2_147_483_647,
            },
            "Which command on that thing it was part of, from 1: all that were set together have one.",
        ),
        Field::required(
            "parameterName",
            &Column::ParameterName,
            Type::Text { max: 255 },
            "Name of the parameter.",
        ),
        Field::optional(
            "value",
            &Column::Value,
            Type::Json { max_bytes: 65_536 },
            "The value from then on; absent when it was unset, so that it is inherited.",
        )
        .not_filtered(),
        Field::required(
            "changedBy",
            &Column::ChangedBy,
            Type::Text { max: 255 },
            "Who set it.",
        ),
        Field::optional("reason", &Column::Reason, Type::Text { max: 1_000 }, "Why.")
            .not_filtered(),
        Field::optional(
            "changeType",
            &Column::ChangeType,
            Type::Enum(&enums::CONFIGURATION_CHANGE_TYPE),
            "How it came about.",
        ),
        Field::optional(
            "rolledBackTo",
            &Column::RolledBackTo,
            Type::Long {
                min: 0,
                max: 2_147_483_647,
            },
            "The version to which it was rolled back.",
        ),
        Field::optional(
            "jobId",
            &Column::JobId,
            Type::Text { max: 255 },
            "The first of the jobs by which devices are told; absent when it changes nothing for any.",
        ),
        Field::optional(
            "deviceId",
            &Column::DeviceKey,
            Type::Device,
            "The device, when it is one.",
        )
        .filled_in(),
        Field::optional(
            "siteId",
            &Column::SiteKey,
            Type::Site,
            "The site, when it is one.",
        )
        .filled_in(),
    ],
    finish: refer_to_entity,
};
