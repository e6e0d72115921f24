//! `userActivity`: somebody did something in a console or an app.

use entity::user_activity::Column;

use super::{
    Audience, Code, Dimension, Field, Identity, Keeping, Kind, Label, Measure, Measured, Person,
    Refusal, Source, Spec, Type, enums,
};
use crate::event::Fact;

/// Somebody did something in a console or an app.
pub(super) static SPEC: Spec = Spec {
    kind: Kind::UserActivity,
    wire: "userActivity",
    type_name: "UserActivity",
    list: "userActivity",
    stream: "userActivity",
    table: "user_activity",
    description: "Somebody did something in a console or an app.",
    identity: Identity::EventId,
    recordable: true,
    audience: Audience::Readers,
    commanded: false,
    source: Some(Source {
        expected_interval_seconds: None,
        method: "consoles and apps",
        purpose: "what people use",
    }),
    derived: None,
    measured: Some(MEASURED),
    keeping: Keeping::Archived { after_days: 180 },
    person: Some(Person::of(
        "userId",
        &["userId", "sessionId", "searchQuery"],
    )),
    fields: &[
        Field::optional(
            "userId",
            &Column::UserId,
            Type::Text { max: 255 },
            "The user.",
        ),
        Field::optional(
            "sessionId",
            &Column::SessionId,
            Type::Text { max: 255 },
            "The session.",
        ),
        Field::required(
            "activityType",
            &Column::ActivityType,
            Type::Enum(&enums::ACTIVITY_TYPE),
            "What was done.",
        ),
        Field::optional(
            "name",
            &Column::Name,
            Type::Text { max: 255 },
            "Name of the action when `activityType` is OTHER.",
        ),
        Field::optional(
            "pageUrl",
            &Column::PageUrl,
            Type::Text { max: 2_048 },
            "The page on which it was done.",
        ),
        Field::optional(
            "elementId",
            &Column::ElementId,
            Type::Text { max: 255 },
            "The element that was used.",
        ),
        Field::optional(
            "searchQuery",
            &Column::SearchQuery,
            Type::Text { max: 1_000 },
            "What was searched for.",
        ),
        Field::optional(
            "durationMs",
            &Column::DurationMs,
            Type::Int {
                min: 0,
                max: 2_147_483_647,
            },
            "How long it took, in milliseconds.",
        ),
    ],
    finish,
};

/// Pages are told apart by their paths: what follows is of one visit.
const MEASURED: Measured = Measured::events("ACTIVITIES")
    .of(&[Measure::gauge(
        "ACTIVITY_DURATION_MS",
        "durationMs",
        "milliseconds",
    )])
    .by(&[
        Dimension::text("ACTIVITY_TYPE", "activityType", "What was done."),
        Dimension::text("PAGE", "pageUrl", "Path of the page on which it was done.")
            .labelled(Label::Path),
    ]);

/// An action of type OTHER is told by its name.
fn finish(fact: &mut Fact) -> Result<(), Refusal> {
    let other = fact.cell(Column::ActivityType).text() == Some("OTHER");
    if other && fact.cell(Column::Name).is_null() {
        let message = "name is missing, and activityType is OTHER";
        return Err(Refusal::of("name", Code::Missing, message));
    }
    Ok(())
}
