//! `siteSchedule`: the hours of a site on a day of the week, or on one date, were set.

use entity::site_operating_schedules::Column;

use super::{
    Audience, Code, Field, Identity, Keeping, Kind, Refusal, Source, Spec, Type, default_to, enums,
};
use crate::event::{Cell, Fact};

/// The hours of a site on a day of the week, or on one date, were set.
pub(super) static SPEC: Spec = Spec {
    kind: Kind::SiteSchedule,
    wire: "siteSchedule",
    type_name: "SiteSchedule",
    list: "siteOperatingSchedules",
    stream: "siteSchedules",
    table: "site_operating_schedules",
    description: "The hours of a site on a day of the week, or on one date, were set.",
    identity: Identity::EventId,
    recordable: true,
    audience: Audience::Readers,
    commanded: true,
    source: Some(Source {
        expected_interval_seconds: None,
        method: "filed by operators",
        purpose: "when a site may be disturbed",
    }),
    derived: None,
    measured: None,
    keeping: Keeping::Here,
    person: None,
    fields: &[
        Field::required("siteId", &Column::SiteKey, Type::Site, "The site."),
        Field::optional(
            "dayOfWeek",
            &Column::DayOfWeek,
            Type::Enum(&enums::DAY_OF_WEEK),
            "Day of the week; either this or `date`.",
        ),
        Field::optional(
            "date",
            &Column::Date,
            Type::Date,
            "One date, a holiday or an exception; either this or `dayOfWeek`.",
        ),
        Field::optional(
            "openTime",
            &Column::OpenTime,
            Type::LocalTime,
            "When it opens, in the site's time.",
        )
        .not_filtered(),
        Field::optional(
            "closeTime",
            &Column::CloseTime,
            Type::LocalTime,
            "When it closes, in the site's time; earlier than `openTime` means after midnight, the same \
             means a day later.",
        )
        .not_filtered(),
        Field::optional(
            "isClosed",
            &Column::IsClosed,
            Type::Bool,
            "Closed all day; false when it is left out and there are hours.",
        ),
        Field::optional(
            "peakHours",
            &Column::PeakHours,
            Type::Windows,
            "When most customers come.",
        )
        .not_filtered(),
        Field::optional(
            "maintenanceWindows",
            &Column::MaintenanceWindows,
            Type::Windows,
            "When jobs may disturb.",
        )
        .not_filtered(),
        Field::optional(
            "expectedTransactions",
            &Column::ExpectedTransactions,
            Type::Int {
                min: 0,
                max: 2_147_483_647,
            },
            "Sales expected on such a day.",
        ),
        Field::optional(
            "notes",
            &Column::Notes,
            Type::Text { max: 1_000 },
            "Notes for people.",
        )
        .not_filtered(),
    ],
    finish,
};

/// A row is for a day of the week or for a date, and says either hours or that it is closed. One
/// with hours that does not say so is open.
fn finish(fact: &mut Fact) -> Result<(), Refusal> {
    let given = |column: Column| !fact.cell(column).is_null();
    match (given(Column::DayOfWeek), given(Column::Date)) {
        (false, false) => {
            return Err(Refusal::of(
                "dayOfWeek",
                Code::Missing,
                "dayOfWeek or date is missing",
            ));
        }
        (true, true) => {
            let message = "dayOfWeek and date are both given, a row has one of them";
            return Err(Refusal::of("date", Code::Invalid, message));
        }
        (true, false) | (false, true) => {}
    }
    let closed = matches!(fact.cell(Column::IsClosed), Cell::Int(1));
    for (name, column) in [
        ("openTime", Column::OpenTime),
        ("closeTime", Column::CloseTime),
    ] {
        if !closed && !given(column) {
            let message = format!("{name} is missing, and the site is not said to be closed");
            return Err(Refusal::of(name, Code::Missing, message));
        }
    }
    if given(Column::OpenTime) != given(Column::CloseTime) {
        let message = "of openTime and closeTime one is given, a day has both or none";
        return Err(Refusal::of("openTime", Code::Invalid, message));
    }
    default_to(fact, Column::IsClosed, Cell::Int(0));
    Ok(())
}
