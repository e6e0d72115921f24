//! `errorGroupChange`: somebody decided about a group of errors that are one error.
//!
//! It also says what the group is of, so that it is told to others without what came before, and is found again by
//! a version of this program that makes other groups.

use entity::error_group_changes::Column;

use super::{Audience, Field, Identity, Keeping, Kind, Person, Spec, Type, enums};

/// Characters at most of the id of a group.
const GROUP_ID_MAX: usize = 64;
/// Characters at most of what the messages of a group have in common.
const TEMPLATE_MAX: usize = 1_000;

/// Somebody decided about a group of errors.
pub(super) static SPEC: Spec = Spec {
    kind: Kind::ErrorGroupChange,
    wire: "errorGroupChange",
    type_name: "ErrorGroupChange",
    list: "errorGroupChanges",
    stream: "errorGroupChanges",
    table: "error_group_changes",
    description: "Somebody decided about a group of errors that are one error.",
    identity: Identity::EventId,
    recordable: false,
    audience: Audience::Readers,
    commanded: true,
    source: None,
    derived: None,
    measured: None,
    keeping: Keeping::Here,
    person: Some(Person::by("changedBy", &["changedBy"])),
    fields: FIELDS,
    finish: super::nothing_more,
};

const FIELDS: &[Field] = &[
    Field::required(
        "groupId",
        &Column::GroupId,
        Type::Text { max: GROUP_ID_MAX },
        "The group, by the id that it had then.",
    ),
    Field::required(
        "change",
        &Column::Change,
        Type::Enum(&enums::ERROR_GROUP_CHANGE),
        "What was decided.",
    ),
    Field::optional(
        "intoGroupId",
        &Column::IntoGroupId,
        Type::Text { max: GROUP_ID_MAX },
        "The group that it was merged into, if it was.",
    ),
    Field::required(
        "category",
        &Column::Category,
        Type::Enum(&enums::ERROR_CATEGORY),
        "The category of its errors.",
    ),
    Field::optional(
        "errorCode",
        &Column::ErrorCode,
        Type::Text { max: 255 },
        "The code of its errors, if they have one.",
    ),
    Field::required(
        "template",
        &Column::Template,
        Type::Text { max: TEMPLATE_MAX },
        "What their messages had in common then, with `<*>` for what differs; the first 1000 characters of it.",
    ),
    Field::optional(
        "changedBy",
        &Column::ChangedBy,
        Type::Text { max: 255 },
        "Who decided it.",
    ),
    Field::optional("reason", &Column::Reason, Type::Text { max: 1_000 }, "Why.").not_filtered(),
];
