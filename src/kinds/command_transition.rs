//! `commandTransition`: what a device was told to do for a job, and how that went on.

use entity::command_transitions::Column;

use super::{Audience, Field, Identity, Keeping, Kind, Person, Spec, Type, enums};

/// Characters at most of the id of a command: those of a job and of a device, and a number.
pub(crate) const COMMAND_ID_MAX: usize = 512;

/// A command to a device passed from one state to the next.
pub(super) static SPEC: Spec = Spec {
    kind: Kind::CommandTransition,
    wire: "commandTransition",
    type_name: "CommandTransition",
    list: "commandTransitions",
    stream: "commandTransitions",
    table: "command_transitions",
    description: "A command to a device passed from one state to the next.",
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
            "commandId",
            &Column::CommandId,
            Type::Text {
                max: COMMAND_ID_MAX,
            },
            "The command.",
        ),
        Field::required(
            "jobId",
            &Column::JobId,
            Type::Text { max: 255 },
            "The job that it is part of.",
        ),
        Field::required(
            "jobType",
            &Column::JobType,
            Type::Text { max: 255 },
            "What kind of job.",
        ),
        Field::required(
            "deviceId",
            &Column::DeviceKey,
            Type::Device,
            "The device that it is for.",
        ),
        Field::required(
            "attempt",
            &Column::Attempt,
            Type::Int {
                min: 1,
                max: 1_000_000,
            },
            "Which command of the job to the device it is, from 1: more than 1 is a retry.",
        ),
        Field::required(
            "state",
            &Column::State,
            Type::Enum(&enums::COMMAND_STATE),
            "The state from now on.",
        ),
        Field::optional(
            "durationMs",
            &Column::DurationMs,
            Type::Int {
                min: 0,
                max: 2_147_483_647,
            },
            "How long the device worked on it, in milliseconds; when it has ended.",
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
            "What went wrong.",
        )
        .not_filtered(),
        Field::optional(
            "result",
            &Column::Result,
            Type::Json { max_bytes: 65_536 },
            "What the device gave back.",
        )
        .not_filtered(),
        Field::optional(
            "changedBy",
            &Column::ChangedBy,
            Type::Text { max: 255 },
            "Who or what moved it.",
        ),
    ],
    finish: super::nothing_more,
};
