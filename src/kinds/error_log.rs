//! `errorLog`: something went wrong, on a device, in a service or in this server.

use entity::error_logs::Column;

use super::{
    Audience, Dimension, Field, Identity, Keeping, Kind, Measured, Person, Source, Spec, Type,
    enums,
};

/// Something went wrong, on a device, in a service or in this server.
pub(super) static SPEC: Spec = Spec {
    kind: Kind::ErrorLog,
    wire: "errorLog",
    type_name: "ErrorLog",
    list: "errorLogs",
    stream: "errorLogs",
    table: "error_logs",
    description: "Something went wrong, on a device, in a service or in this server.",
    identity: Identity::EventId,
    recordable: true,
    audience: Audience::Readers,
    commanded: false,
    source: Some(Source {
        expected_interval_seconds: None,
        method: "agents, services and this server",
        purpose: "what fails, and how often",
    }),
    derived: None,
    measured: Some(MEASURED),
    keeping: Keeping::Archived { after_days: 730 },
    person: Some(Person::of(
        "userId",
        &["userId", "errorMessage", "stackTrace", "context"],
    )),
    fields: &[
        Field::required(
            "category",
            &Column::Category,
            Type::Enum(&enums::ERROR_CATEGORY),
            "Where it went wrong.",
        ),
        Field::required(
            "severity",
            &Column::Severity,
            Type::Enum(&enums::ERROR_SEVERITY),
            "How bad it is.",
        ),
        Field::required(
            "errorMessage",
            &Column::ErrorMessage,
            Type::Text { max: 10_000 },
            "What went wrong, for people.",
        ),
        Field::optional(
            "errorCode",
            &Column::ErrorCode,
            Type::Text { max: 255 },
            "Code of the error.",
        ),
        Field::optional(
            "stackTrace",
            &Column::StackTrace,
            Type::Text { max: 65_536 },
            "Stack trace.",
        )
        .not_filtered(),
        Field::optional(
            "deviceId",
            &Column::DeviceKey,
            Type::Device,
            "The device on which it happened.",
        ),
        Field::optional(
            "userId",
            &Column::UserId,
            Type::Text { max: 255 },
            "The user to whom it happened.",
        ),
        Field::optional(
            "endpoint",
            &Column::Endpoint,
            Type::Text { max: 2_048 },
            "Route template of the request that failed.",
        ),
        Field::optional(
            "context",
            &Column::Context,
            Type::Json { max_bytes: 65_536 },
            "More that the source knows.",
        )
        .not_filtered(),
    ],
    finish: super::nothing_more,
};

const MEASURED: Measured = Measured::events("ERRORS").by(&[
    Dimension::text("ERROR_CATEGORY", "category", "Where it went wrong."),
    Dimension::text("ERROR_SEVERITY", "severity", "How bad it was."),
    Dimension::text("ERROR_CODE", "errorCode", "Code of the error."),
]);
