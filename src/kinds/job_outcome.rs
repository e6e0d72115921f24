//! `jobOutcome`: a job ended, on one device or as a whole.

use entity::job_outcomes::Column;

use super::{
    Audience, Dimension, Field, Identity, Keeping, Kind, Measure, Measured, Person, Refusal,
    Source, Spec, Type, default_to, enums,
};
use crate::event::Fact;

/// A job ended, on one device or as a whole.
pub(super) static SPEC: Spec = Spec {
    kind: Kind::JobOutcome,
    wire: "jobOutcome",
    type_name: "JobOutcome",
    list: "jobOutcomes",
    stream: "jobOutcomes",
    table: "job_outcomes",
    description: "A job ended, on one device or as a whole.",
    identity: Identity::EventId,
    recordable: true,
    audience: Audience::Readers,
    commanded: false,
    source: Some(Source {
        expected_interval_seconds: None,
        method: "recorded when a job ends",
        purpose: "when to run jobs, and whether they work",
    }),
    derived: None,
    measured: Some(MEASURED),
    keeping: Keeping::Archived { after_days: 730 },
    person: Some(Person::by("initiatedBy", &["initiatedBy"])),
    fields: &[
        Field::required("jobId", &Column::JobId, Type::Text { max: 255 }, "The job."),
        Field::required(
            "jobType",
            &Column::JobType,
            Type::Text { max: 255 },
            "What kind of job, such as FIRMWARE_UPDATE.",
        ),
        Field::optional(
            "scope",
            &Column::Scope,
            Type::Enum(&enums::JOB_SCOPE),
            "Whether this speaks of one device or of the whole job.",
        ),
        Field::required(
            "status",
            &Column::Status,
            Type::Enum(&enums::JOB_STATUS),
            "How it ended.",
        ),
        Field::optional(
            "durationMs",
            &Column::DurationMs,
            Type::Int {
                min: 0,
                max: 2_147_483_647,
            },
            "How long it ran, in milliseconds: at most 2147483647, which is 24.8 days. It is left out when it ran longer.",
        ),
        Field::optional(
            "deviceId",
            &Column::DeviceKey,
            Type::Device,
            "The device on which it ran.",
        ),
        Field::optional(
            "siteId",
            &Column::SiteKey,
            Type::Site,
            "The site at which it ran.",
        ),
        Field::optional(
            "errorCode",
            &Column::ErrorCode,
            Type::Text { max: 255 },
            "Code of the failure.",
        ),
        Field::optional(
            "errorMessage",
            &Column::ErrorMessage,
            Type::Text { max: 10_000 },
            "What went wrong, for people.",
        )
        .not_filtered(),
        Field::optional(
            "retryCount",
            &Column::RetryCount,
            Type::Int {
                min: 0,
                max: 1_000_000,
            },
            "How often it was tried again.",
        ),
        Field::optional(
            "initiatedBy",
            &Column::InitiatedBy,
            Type::Text { max: 255 },
            "Who started the job.",
        ),
        Field::optional(
            "devicesTargeted",
            &Column::DevicesTargeted,
            Type::Int {
                min: 0,
                max: 2_147_483_647,
            },
            "Devices the job was meant for.",
        ),
        Field::optional(
            "devicesSucceeded",
            &Column::DevicesSucceeded,
            Type::Int {
                min: 0,
                max: 2_147_483_647,
            },
            "Devices on which it completed.",
        ),
        Field::optional(
            "devicesFailed",
            &Column::DevicesFailed,
            Type::Int {
                min: 0,
                max: 2_147_483_647,
            },
            "Devices on which it did not.",
        ),
    ],
    finish,
};

/// Outcomes of devices and of whole jobs are told apart, so that none is counted twice.
const MEASURED: Measured = Measured::events("JOB_OUTCOMES")
    .of(&[Measure::gauge(
        "JOB_DURATION_MS",
        "durationMs",
        "milliseconds",
    )])
    .by(&[
        Dimension::text("JOB_TYPE", "jobType", "What kind of job it was."),
        Dimension::text("JOB_STATUS", "status", "How it ended."),
        Dimension::text(
            "JOB_SCOPE",
            "scope",
            "Whether it speaks of one device or of a whole job.",
        ),
    ]);

/// An outcome that names a device speaks of that device, unless it says otherwise.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the form is that of the kinds that have such rules"
)]
fn finish(fact: &mut Fact) -> Result<(), Refusal> {
    let scope = if fact.cell(Column::DeviceKey).is_null() {
        "JOB"
    } else {
        "DEVICE"
    };
    default_to(fact, Column::Scope, scope);
    Ok(())
}
