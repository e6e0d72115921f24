//! `parameterRegistration`: a parameter of configuration was registered, or registered anew.

use entity::parameter_registrations::Column;

use super::{Audience, Field, Identity, Keeping, Kind, Person, Spec, Type};

/// A parameter of configuration was registered, or registered anew.
pub(super) static SPEC: Spec = Spec {
    kind: Kind::ParameterRegistration,
    wire: "parameterRegistration",
    type_name: "ParameterRegistration",
    list: "parameterRegistrations",
    stream: "parameterRegistrations",
    table: "parameter_registrations",
    description: "A parameter of configuration was registered, or registered anew.",
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
            "parameterName",
            &Column::ParameterName,
            Type::Text { max: 255 },
            "Name of the parameter.",
        ),
        Field::required(
            "version",
            &Column::Version,
            Type::Long {
                min: 1,
                max: 2_147_483_647,
            },
            "Which registration of the parameter it is, from 1.",
        ),
        Field::required(
            "schema",
            &Column::Schema,
            Type::Json { max_bytes: 65_536 },
            "JSON Schema of its values.",
        )
        .not_filtered(),
        Field::optional(
            "description",
            &Column::Description,
            Type::Text { max: 1_000 },
            "What it is for.",
        )
        .not_filtered(),
        Field::required(
            "sensitive",
            &Column::Sensitive,
            Type::Bool,
            "Whether its values are secret.",
        ),
        Field::required(
            "scopes",
            &Column::Scopes,
            Type::Tags,
            "On what it may be set: DEVICE, SITE, SYSTEM.",
        )
        .not_filtered(),
        Field::required(
            "changedBy",
            &Column::ChangedBy,
            Type::Text { max: 255 },
            "Who registered it.",
        ),
    ],
    finish: super::nothing_more,
};
