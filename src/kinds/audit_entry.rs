//! `auditEntry`: somebody was refused, gave a command, or was given a key or lost it.

use entity::audit_log::Column;

use super::{Audience, Field, Identity, Keeping, Kind, Person, Spec, Type, enums};

/// Somebody was refused, gave a command, or was given a key or lost it.
pub(super) static SPEC: Spec = Spec {
    kind: Kind::AuditEntry,
    wire: "auditEntry",
    type_name: "AuditEntry",
    list: "auditLog",
    stream: "auditEntries",
    table: "audit_log",
    description: "Somebody was refused, gave a command, or was given an access key or lost it.",
    identity: Identity::EventId,
    recordable: false,
    audience: Audience::Administrators,
    commanded: false,
    source: None,
    derived: None,
    measured: None,
    keeping: Keeping::Here,
    person: Some(Person::by("actor", &["actor", "ipAddress"])),
    fields: &[
        Field::required(
            "action",
            &Column::Action,
            Type::Enum(&enums::AUDIT_ACTION),
            "What was done.",
        ),
        Field::required(
            "outcome",
            &Column::Outcome,
            Type::Enum(&enums::AUDIT_OUTCOME),
            "Whether it was done.",
        ),
        Field::required(
            "actor",
            &Column::Actor,
            Type::Text { max: 255 },
            "Who did it: the name and id of a key, the subject of a token, or `local`; `nobody` where \
             none was proved.",
        ),
        Field::optional(
            "operation",
            &Column::Operation,
            Type::Text { max: 255 },
            "The mutation, or the command of the program.",
        ),
        Field::optional(
            "target",
            &Column::Target,
            Type::Text { max: 255 },
            "Id of what it was done to.",
        ),
        Field::optional("reason", &Column::Reason, Type::Text { max: 1_000 }, "Why.")
            .not_filtered(),
        Field::optional(
            "ipAddress",
            &Column::IpAddress,
            Type::Text { max: 64 },
            "From where: an address without its last part, as /24 or /48.",
        ),
        Field::optional(
            "occurrences",
            &Column::Occurrences,
            Type::Int {
                min: 1,
                max: 2_147_483_647,
            },
            "How many alike this entry stands for: alike refusals of two seconds are one.",
        ),
        Field::optional(
            "keyId",
            &Column::KeyId,
            Type::Text { max: 64 },
            "Id of the access key that was made or revoked.",
        ),
        Field::optional(
            "keyGrant",
            &Column::KeyGrant,
            Type::Json { max_bytes: 65_536 },
            "What the key that was made may do.",
        )
        .not_filtered(),
    ],
    finish: super::nothing_more,
};
