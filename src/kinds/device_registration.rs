//! `deviceRegistration`: a device was registered at a site, or what is known of it changed.

use entity::device_registrations::Column;

use super::{Audience, Field, Identity, Keeping, Kind, Refusal, Spec, Type, default_to, enums};
use crate::event::Fact;

/// A device was registered at a site, or what is known of it changed.
pub(super) static SPEC: Spec = Spec {
    kind: Kind::DeviceRegistration,
    wire: "deviceRegistration",
    type_name: "DeviceRegistration",
    list: "deviceRegistrations",
    stream: "deviceRegistrations",
    table: "device_registrations",
    description: "A device was registered at a site, or what is known of it changed.",
    identity: Identity::EventId,
    recordable: true,
    audience: Audience::Readers,
    commanded: false,
    source: None,
    derived: None,
    measured: None,
    keeping: Keeping::Here,
    person: None,
    fields: &[
        Field::required(
            "deviceId",
            &Column::DeviceKey,
            Type::NewDevice,
            "The device, by the id that its operator gave it.",
        ),
        Field::required(
            "siteId",
            &Column::SiteKey,
            Type::Site,
            "The site at which it stands.",
        ),
        Field::optional(
            "name",
            &Column::Name,
            Type::Text { max: 255 },
            "Name for people.",
        ),
        Field::required(
            "deviceType",
            &Column::DeviceType,
            Type::Enum(&enums::DEVICE_TYPE),
            "What it is.",
        ),
        Field::optional(
            "model",
            &Column::Model,
            Type::Text { max: 255 },
            "Model, as its maker calls it.",
        ),
        Field::optional(
            "firmware",
            &Column::Firmware,
            Type::Text { max: 255 },
            "Version of its firmware.",
        ),
        Field::optional(
            "os",
            &Column::Os,
            Type::Text { max: 255 },
            "Operating system and version.",
        ),
        Field::optional(
            "tags",
            &Column::Tags,
            Type::Tags,
            "Labels for grouping, at most 64 of 64 characters.",
        )
        .not_filtered(),
        Field::optional(
            "lifecycle",
            &Column::Lifecycle,
            Type::Enum(&enums::DEVICE_LIFECYCLE),
            "Whether it is in use; ACTIVE when absent.",
        ),
    ],
    finish,
};

#[expect(
    clippy::unnecessary_wraps,
    reason = "the form is that of the kinds that have such rules"
)]
fn finish(fact: &mut Fact) -> Result<(), Refusal> {
    default_to(fact, Column::Lifecycle, "ACTIVE");
    Ok(())
}
