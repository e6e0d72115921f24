//! `siteRegistration`: a site was registered, or what is known of it changed.

use entity::site_registrations::Column;

use super::{Audience, Field, Identity, Keeping, Kind, Refusal, Spec, Type, default_to};
use crate::event::Fact;

/// A site was registered, or what is known of it changed.
pub(super) static SPEC: Spec = Spec {
    kind: Kind::SiteRegistration,
    wire: "siteRegistration",
    type_name: "SiteRegistration",
    list: "siteRegistrations",
    stream: "siteRegistrations",
    table: "site_registrations",
    description: "A site was registered, or what is known of it changed.",
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
            "siteId",
            &Column::SiteKey,
            Type::NewSite,
            "The site, by the id that its operator gave it.",
        ),
        Field::required(
            "name",
            &Column::Name,
            Type::Text { max: 255 },
            "Name for people.",
        ),
        Field::optional(
            "timeZone",
            &Column::TimeZone,
            Type::TimeZone,
            "IANA time zone in which the site keeps its hours; UTC when absent.",
        ),
        Field::optional(
            "currency",
            &Column::Currency,
            Type::Currency,
            "ISO 4217 code of the money taken at the site.",
        ),
        Field::optional(
            "address",
            &Column::Address,
            Type::Text { max: 1_000 },
            "Postal address.",
        )
        .not_filtered(),
        Field::optional(
            "tags",
            &Column::Tags,
            Type::Tags,
            "Labels for grouping, at most 64 of 64 characters.",
        )
        .not_filtered(),
    ],
    finish,
};

#[expect(
    clippy::unnecessary_wraps,
    reason = "the form is that of the kinds that have such rules"
)]
fn finish(fact: &mut Fact) -> Result<(), Refusal> {
    default_to(fact, Column::TimeZone, "UTC");
    Ok(())
}
