//! `apiRequest`: a request to an API was answered.

use entity::api_request_logs::Column;

use super::{
    Audience, Dimension, Field, Identity, Keeping, Kind, Label, Measure, Measured, Person, Source,
    Spec, Type, enums,
};

/// A request to an API was answered.
pub(super) static SPEC: Spec = Spec {
    kind: Kind::ApiRequest,
    wire: "apiRequest",
    type_name: "ApiRequest",
    list: "apiRequestLogs",
    stream: "apiRequests",
    table: "api_request_logs",
    description: "A request to an API was answered.",
    identity: Identity::EventId,
    recordable: true,
    audience: Audience::Readers,
    commanded: false,
    source: Some(Source {
        expected_interval_seconds: None,
        method: "this server and others log their requests",
        purpose: "load and latency",
    }),
    derived: None,
    measured: Some(MEASURED),
    keeping: Keeping::Archived { after_days: 30 },
    person: Some(Person::of(
        "userId",
        &["userId", "ipAddress", "userAgent", "errorMessage"],
    )),
    fields: &[
        Field::required(
            "endpoint",
            &Column::Endpoint,
            Type::Text { max: 2_048 },
            "Route template, not the raw path.",
        ),
        Field::required(
            "method",
            &Column::Method,
            Type::Enum(&enums::HTTP_METHOD),
            "HTTP method.",
        ),
        Field::required(
            "statusCode",
            &Column::StatusCode,
            Type::Int { min: 100, max: 599 },
            "HTTP status.",
        ),
        Field::required(
            "responseTimeMs",
            &Column::ResponseTimeMs,
            Type::Float {
                min: 0.0,
                max: 86_400_000.0,
            },
            "Time to answer, in milliseconds.",
        ),
        Field::optional(
            "operationName",
            &Column::OperationName,
            Type::Text { max: 255 },
            "GraphQL operation.",
        ),
        Field::optional(
            "userId",
            &Column::UserId,
            Type::Text { max: 255 },
            "The caller.",
        ),
        Field::optional(
            "ipAddress",
            &Column::IpAddress,
            Type::Text { max: 64 },
            "Address of the caller.",
        ),
        Field::optional(
            "userAgent",
            &Column::UserAgent,
            Type::Text { max: 1_000 },
            "What the caller says it is.",
        )
        .not_filtered(),
        Field::optional(
            "requestBytes",
            &Column::RequestBytes,
            Type::Long {
                min: 0,
                max: 9_007_199_254_740_991,
            },
            "Size of the request, in bytes.",
        ),
        Field::optional(
            "responseBytes",
            &Column::ResponseBytes,
            Type::Long {
                min: 0,
                max: 9_007_199_254_740_991,
            },
            "Size of the answer, in bytes.",
        ),
        Field::optional(
            "errorMessage",
            &Column::ErrorMessage,
            Type::Text { max: 10_000 },
            "What went wrong, for people.",
        )
        .not_filtered(),
    ],
    finish: super::nothing_more,
};

const MEASURED: Measured = Measured::events("API_REQUESTS")
    .of(&[Measure::gauge(
        "RESPONSE_TIME_MS",
        "responseTimeMs",
        "milliseconds",
    )])
    .by(&[
        Dimension::text("ENDPOINT", "endpoint", "Route template of the request."),
        Dimension::text(
            "STATUS_CLASS",
            "statusCode",
            "Class of the HTTP status, such as `2xx`.",
        )
        .labelled(Label::StatusClass),
    ]);
