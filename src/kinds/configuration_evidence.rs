//! `configurationEvidence`: what a device measured in the hour before or after it applied a change of its configuration.

use entity::configuration_evidence::Column;

use super::{
    Audience, Field, Identity, Keeping, Kind, Spec, Type, command_transition::COMMAND_ID_MAX, enums,
};

/// What a device measured in the hour before or after it applied a change of its configuration.
pub(super) static SPEC: Spec = Spec {
    kind: Kind::ConfigurationEvidence,
    wire: "configurationEvidence",
    type_name: "ConfigurationEvidence",
    list: "configurationEvidence",
    stream: "configurationEvidence",
    table: "configuration_evidence",
    description: "What a device measured in the hour before or after it applied a change of its configuration.",
    identity: Identity::EventId,
    recordable: false,
    audience: Audience::Readers,
    commanded: false,
    source: None,
    derived: None,
    measured: None,
    keeping: Keeping::Here,
    person: None,
    fields: &[
        Field::required("commandId", &Column::CommandId, Type::Text { max: COMMAND_ID_MAX }, "The command with which the device applied the change: that of the `configurationChange`."),
        Field::required("deviceId", &Column::DeviceKey, Type::Device, "The device."),
        Field::required("phase", &Column::Phase, Type::Enum(&enums::EVIDENCE_PHASE), "Which hour: it ends at `occurredAt`, which is not part of it."),
        Field::required("readings", &Column::Readings, Type::Int { min: 0, max: 2_147_483_647 }, "Readings of the device in the hour."),
        Field::optional("readingsProvenance", &Column::ReadingsProvenance, Type::Text { max: 16 }, "Of which provenance these are: REAL if there are any, else CONTROLLED, else SIMULATED; absent when there are none."),
        Field::required("measures", &Column::Measures, Type::Json { max_bytes: 65_536 }, "For each measure that has values, by its name in `deviceMetrics`: their `count`, `mean`, `p95` (the least value that is not below 95 % of them) and `max`.").not_filtered(),
    ],
    finish: super::nothing_more,
};
