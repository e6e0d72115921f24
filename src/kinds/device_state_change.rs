//! `deviceStateChange`: a device was seen in a state.

use entity::device_state_history::Column;

use super::{
    Audience, Derived, Dimension, Field, Identity, Keeping, Kind, Measured, Person, Source, Spec,
    Type, enums,
};

/// A device was seen in a state.
pub(super) static SPEC: Spec = Spec {
    kind: Kind::DeviceStateChange,
    wire: "deviceStateChange",
    type_name: "DeviceStateChange",
    list: "deviceStateHistory",
    stream: "deviceStateChanges",
    table: "device_state_history",
    description: "A device was seen in a state.",
    identity: Identity::EventId,
    recordable: true,
    audience: Audience::Readers,
    commanded: false,
    source: Some(Source {
        expected_interval_seconds: None,
        method: "health checks and agents",
        purpose: "availability",
    }),
    derived: Some(Derived { field: "previousState", from: "newState", table: "device_states" }),
    measured: Some(MEASURED),
    keeping: Keeping::Archived { after_days: 730 },
    person: Some(Person::by("changedBy", &["changedBy"])),
    fields: &[
        Field::required("deviceId", &Column::DeviceKey, Type::Device, "The device."),
        Field::optional("previousState", &Column::PreviousState, Type::Enum(&enums::DEVICE_STATE), "The state before this one in order of time, derived from the history; what the source reported is only a hint. Subscriptions and a data lake have it as of when the event was recorded, without what came late after it.").not_filtered(),
        Field::required("newState", &Column::NewState, Type::Enum(&enums::DEVICE_STATE), "The state it is in from this instant."),
        Field::optional("changedBy", &Column::ChangedBy, Type::Text { max: 255 }, "Who or what changed it."),
        Field::optional("reason", &Column::Reason, Type::Text { max: 1_000 }, "Why.").not_filtered(),
        Field::optional("responseTimeMs", &Column::ResponseTimeMs, Type::Float { min: 0.0, max: 86_400_000.0 }, "Time the health check took, in milliseconds."),
        Field::optional("healthStatus", &Column::HealthStatus, Type::Text { max: 255 }, "What the health check said."),
    ],
    finish: super::nothing_more,
};

const MEASURED: Measured = Measured::events("STATE_REPORTS").by(&[Dimension::text(
    "STATE",
    "newState",
    "The state that was reported.",
)]);
