//! `jobTransition`: a job passed from one state to the next.

use entity::job_transitions::Column;

use super::{Audience, Field, Identity, Keeping, Kind, Person, Spec, Type, enums};

/// A job passed from one state to the next.
pub(super) static SPEC: Spec = Spec {
    kind: Kind::JobTransition,
    wire: "jobTransition",
    type_name: "JobTransition",
    list: "jobTransitions",
    stream: "jobTransitions",
    table: "job_transitions",
    description: "A job passed from one state to the next.",
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
        Field::required("jobId", &Column::JobId, Type::Text { max: 255 }, "The job."),
        Field::required(
            "jobType",
            &Column::JobType,
            Type::Text { max: 255 },
            "What kind of job.",
        ),
        Field::required(
            "state",
            &Column::State,
            Type::Enum(&enums::JOB_STATE),
            "The state from now on.",
        ),
        Field::optional(
            "payload",
            &Column::Payload,
            Type::Json { max_bytes: 65_536 },
            "What the device is given to do the job with; on the first step only.",
        )
        .not_filtered(),
        Field::optional(
            "targets",
            &Column::Targets,
            Type::Json {
                max_bytes: 1_048_576,
            },
            "Ids of the devices the job is meant for; on the first step only.",
        )
        .not_filtered(),
        Field::optional(
            "changedBy",
            &Column::ChangedBy,
            Type::Text { max: 255 },
            "Who or what moved it.",
        ),
        Field::optional("reason", &Column::Reason, Type::Text { max: 1_000 }, "Why.")
            .not_filtered(),
        Field::optional(
            "plan",
            &Column::Plan,
            Type::Json { max_bytes: 65_536 },
            "How the job is to be carried out: when, in which batches, how often it is tried; on the first step only.",
        )
        .not_filtered(),
        Field::optional(
            "parentJobId",
            &Column::ParentJobId,
            Type::Text { max: 255 },
            "The job that it comes from: one that recurs, or one whose failed devices it is for; on the first step only.",
        ),
    ],
    finish: super::nothing_more,
};
