//! An access key to be made, as it is given.

use async_graphql::{ID, InputObject};

use super::access_keys::RoleWord;
use super::command::{UserError, UserErrorCode};
use super::scalars::DateTime;
use super::words::{EventKinds, Shown};
use crate::identity::{Grant, More};

/// An access key to be made.
#[derive(Debug, InputObject)]
pub(super) struct CreateAccessKeyInput {
    /// Name for people, such as that of the program that is to have it; 1 to 100 characters.
    name: String,
    /// What its holder may do.
    role: RoleWord,
    /// Binds its holder to these sites, 1 to 100; for VIEWER, OPERATOR and INGEST. Left out or null, it is
    /// bound to none.
    site_ids: Option<Vec<ID>>,
    /// The device that its holder is; for DEVICE, and for no other.
    device_id: Option<ID>,
    /// From when on it holds no more; left out, it holds until it is revoked.
    expires_at: Option<DateTime>,
    /// Has what it records of a device that is not known register that device at its site, with the type
    /// UNKNOWN; for INGEST with exactly one site.
    #[graphql(default)]
    registers_devices: bool,
    /// Binds it to the pages of these origins, 1 to 20, such as `https://shop.example`: from elsewhere, and
    /// from what is no page, it lets nobody in. For INGEST with `kinds`, since whoever is shown such a page
    /// can read its key. Left out or null, it is bound to none.
    origins: Option<Vec<String>>,
    /// The kinds of events that alone it records, at least 1; for INGEST. Left out or null, it records all.
    kinds: Option<Vec<Shown<EventKinds>>>,
    /// A repeat with the same key makes no second access key, and does not show the first again; 1 to
    /// 255 characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    idempotency_key: Option<String>,
}

impl CreateAccessKeyInput {
    /// What is granted, and the key under which a repeat is known; or why not: a list without anything in
    /// it would bind to nothing.
    pub(super) fn grant(self) -> Result<(Grant, Option<String>), UserError> {
        let site_ids = bound("siteIds", self.site_ids)?;
        let kinds = bound("kinds", self.kinds)?;
        let grant = Grant {
            name: self.name,
            prefix: String::new(),
            role: self.role.into(),
            site_ids: site_ids.into_iter().map(|id| id.0).collect(),
            device_id: self.device_id.map(|id| id.0),
            expires_at: self.expires_at.map(|at| at.0),
            more: More {
                registers_devices: self.registers_devices,
                origins: bound("origins", self.origins)?,
                kinds: kinds.iter().map(Shown::word).collect(),
                ..More::default()
            },
        };
        Ok((grant, self.idempotency_key))
    }
}

fn bound<T>(field: &'static str, given: Option<Vec<T>>) -> Result<Vec<T>, UserError> {
    match given {
        Some(list) if list.is_empty() => {
            let message = format!("{field} is empty: leave it out for a key that is bound to none");
            Err(UserError::new(field, UserErrorCode::Invalid, message))
        }
        given => Ok(given.unwrap_or_default()),
    }
}
