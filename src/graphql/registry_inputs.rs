//! What the commands on the registry are given. What is left out stays as it is, and what is null is to be
//! absent.

use async_graphql::{ID, InputObject, InputType, MaybeUndefined, Value};
use serde_json::Value as Json;

use super::commands::{DeviceLifecycle, DeviceState, DeviceType};
use super::scalars::{Long, TimeZone};
use crate::registry::Given;

/// A site that is not registered yet.
#[derive(Debug, InputObject)]
pub(super) struct RegisterSiteInput {
    /// Id that its operator gives it; it never changes.
    pub(super) site_id: ID,
    /// Name for people.
    pub(super) name: String,
    /// IANA time zone in which it keeps its hours; UTC when it is left out.
    pub(super) time_zone: MaybeUndefined<TimeZone>,
    /// ISO 4217 code of the money taken at it.
    pub(super) currency: MaybeUndefined<String>,
    /// Postal address.
    pub(super) address: MaybeUndefined<String>,
    /// Labels for grouping, at most 64 of 64 characters.
    pub(super) tags: MaybeUndefined<Vec<String>>,
    /// A repeat with the same key records nothing further; 1 to 255 characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    pub(super) idempotency_key: Option<String>,
}

/// What is to change of a site.
#[derive(Debug, InputObject)]
pub(super) struct UpdateSiteInput {
    /// The site.
    pub(super) site_id: ID,
    /// Name for people.
    pub(super) name: MaybeUndefined<String>,
    /// IANA time zone in which it keeps its hours; null is UTC.
    pub(super) time_zone: MaybeUndefined<TimeZone>,
    /// ISO 4217 code of the money taken at it.
    pub(super) currency: MaybeUndefined<String>,
    /// Postal address.
    pub(super) address: MaybeUndefined<String>,
    /// Labels for grouping, all of them; at most 64 of 64 characters.
    pub(super) tags: MaybeUndefined<Vec<String>>,
    /// A repeat with the same key records nothing further; 1 to 255 characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    pub(super) idempotency_key: Option<String>,
    /// Refused as CONFLICT when the site has another `version`.
    pub(super) expected_version: Option<Long>,
}

/// A device that is not registered yet.
#[derive(Debug, InputObject)]
pub(super) struct RegisterDeviceInput {
    /// Id that its operator gives it; it never changes.
    pub(super) device_id: ID,
    /// The site at which it stands.
    pub(super) site_id: ID,
    /// What it is.
    pub(super) device_type: DeviceType,
    /// Name for people.
    pub(super) name: MaybeUndefined<String>,
    /// Model, as its maker calls it.
    pub(super) model: MaybeUndefined<String>,
    /// Version of its firmware.
    pub(super) firmware: MaybeUndefined<String>,
    /// Operating system and version.
    pub(super) os: MaybeUndefined<String>,
    /// Labels for grouping, at most 64 of 64 characters.
    pub(super) tags: MaybeUndefined<Vec<String>>,
    /// A repeat with the same key records nothing further; 1 to 255 characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    pub(super) idempotency_key: Option<String>,
}

/// What is to change of a device.
#[derive(Debug, InputObject)]
pub(super) struct UpdateDeviceInput {
    /// The device.
    pub(super) device_id: ID,
    /// What it is.
    pub(super) device_type: MaybeUndefined<DeviceType>,
    /// Name for people.
    pub(super) name: MaybeUndefined<String>,
    /// Model, as its maker calls it.
    pub(super) model: MaybeUndefined<String>,
    /// Version of its firmware.
    pub(super) firmware: MaybeUndefined<String>,
    /// Operating system and version.
    pub(super) os: MaybeUndefined<String>,
    /// Labels for grouping, all of them; at most 64 of 64 characters.
    pub(super) tags: MaybeUndefined<Vec<String>>,
    /// Whether it is in use: ACTIVE or SUSPENDED; `retireDevice` retires it. It brings a device that is
    /// retired back, without its access keys.
    pub(super) lifecycle: Option<DeviceLifecycle>,
    /// A repeat with the same key records nothing further; 1 to 255 characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    pub(super) idempotency_key: Option<String>,
    /// Refused as CONFLICT when the device has another `version`.
    pub(super) expected_version: Option<Long>,
}

/// A device that is to stand at another site.
#[derive(Debug, InputObject)]
pub(super) struct MoveDeviceInput {
    /// The device.
    pub(super) device_id: ID,
    /// The site at which it stands from now on.
    pub(super) site_id: ID,
    /// A repeat with the same key records nothing further; 1 to 255 characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    pub(super) idempotency_key: Option<String>,
    /// Refused as CONFLICT when the device has another `version`.
    pub(super) expected_version: Option<Long>,
}

/// A device that is to be retired.
#[derive(Debug, InputObject)]
pub(super) struct RetireDeviceInput {
    /// The device.
    pub(super) device_id: ID,
    /// Why; it stands in the audit.
    pub(super) reason: Option<String>,
    /// A repeat with the same key records nothing further; 1 to 255 characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    pub(super) idempotency_key: Option<String>,
    /// Refused as CONFLICT when the device has another `version`.
    pub(super) expected_version: Option<Long>,
}

/// A state that a person tells of a device.
#[derive(Debug, InputObject)]
pub(super) struct SetDeviceStateInput {
    /// The device.
    pub(super) device_id: ID,
    /// The state that it is in from now on.
    pub(super) state: DeviceState,
    /// Why.
    pub(super) reason: Option<String>,
    /// A repeat with the same key records nothing further; 1 to 255 characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    pub(super) idempotency_key: Option<String>,
}

/// Adds a field that is given.
pub(super) fn add<T: InputType>(given: &mut Given, name: &str, value: &MaybeUndefined<T>) {
    match value {
        MaybeUndefined::Undefined => {}
        MaybeUndefined::Null => {
            given.insert(name.to_owned(), Json::Null);
        }
        MaybeUndefined::Value(value) => put(given, name, &value.to_value()),
    }
}

/// Puts a field.
pub(super) fn put(given: &mut Given, name: &str, value: &Value) {
    let json = value.clone().into_json().unwrap_or_default();
    given.insert(name.to_owned(), json);
}

impl RegisterSiteInput {
    /// The fields that are given.
    pub(super) fn given(&self) -> Given {
        let mut given = Given::new();
        put(&mut given, "name", &self.name.to_value());
        add(&mut given, "timeZone", &self.time_zone);
        add(&mut given, "currency", &self.currency);
        add(&mut given, "address", &self.address);
        add(&mut given, "tags", &self.tags);
        given
    }
}

impl UpdateSiteInput {
    /// The fields that are given.
    pub(super) fn given(&self) -> Given {
        let mut given = Given::new();
        add(&mut given, "name", &self.name);
        add(&mut given, "timeZone", &self.time_zone);
        add(&mut given, "currency", &self.currency);
        add(&mut given, "address", &self.address);
        add(&mut given, "tags", &self.tags);
        given
    }
}

impl RegisterDeviceInput {
    /// The fields that are given.
    pub(super) fn given(&self) -> Given {
        let mut given = Given::new();
        put(&mut given, "siteId", &self.site_id.to_value());
        put(&mut given, "deviceType", &self.device_type.to_value());
        add(&mut given, "name", &self.name);
        add(&mut given, "model", &self.model);
        add(&mut given, "firmware", &self.firmware);
        add(&mut given, "os", &self.os);
        add(&mut given, "tags", &self.tags);
        given
    }
}

impl UpdateDeviceInput {
    /// The fields that are given.
    pub(super) fn given(&self) -> Given {
        let mut given = Given::new();
        add(&mut given, "deviceType", &self.device_type);
        add(&mut given, "name", &self.name);
        add(&mut given, "model", &self.model);
        add(&mut given, "firmware", &self.firmware);
        add(&mut given, "os", &self.os);
        add(&mut given, "tags", &self.tags);
        if let Some(lifecycle) = &self.lifecycle {
            put(&mut given, "lifecycle", &lifecycle.to_value());
        }
        given
    }
}
