//! What of the fleet somebody reads: all of it, what is at some sites now, or one device.

use entity::{devices, job_targets, jobs, sites};
use sea_orm::sea_query::{Query, SelectStatement};
use sea_orm::{ColumnTrait, Condition, DbBackend};

use crate::store::{List, Names, is_among};

/// What of the fleet is read, by keys; a key that is in no table reads nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Within {
    /// All of it.
    #[default]
    Whole,
    /// These sites, and the devices that are registered there; of their history, what happened there.
    Sites(Vec<i64>),
    /// One device, and of the site at which it is registered what is of the site itself.
    Device {
        /// The device.
        device_key: i64,
        /// Its site.
        site_key: i64,
    },
}

impl Within {
    /// Whether a device that is registered at a site is within.
    #[must_use]
    pub fn has_device(&self, key: i64, site: Option<i64>) -> bool {
        match self {
            Self::Whole => true,
            Self::Sites(sites) => site.is_some_and(|site| sites.contains(&site)),
            Self::Device { device_key, .. } => *device_key == key,
        }
    }

    /// Whether all sites of another part of the fleet are in this one.
    #[must_use]
    pub fn includes_sites(&self, other: &Self) -> bool {
        match other {
            Self::Sites(sites) => match self {
                Self::Whole => true,
                Self::Sites(own) => sites.iter().all(|site| own.contains(site)),
                Self::Device { .. } => false,
            },
            Self::Whole | Self::Device { .. } => *self == Self::Whole,
        }
    }

    /// Whether a device is within, where it is registered now.
    #[must_use]
    pub fn reaches_device(&self, names: &Names, key: i64) -> bool {
        self.has_device(key, names.site_of_device(key))
    }

    /// Whether a site is within.
    #[must_use]
    pub fn has_site(&self, key: i64) -> bool {
        match self {
            Self::Whole => true,
            Self::Sites(sites) => sites.contains(&key),
            Self::Device { site_key, .. } => *site_key == key,
        }
    }

    /// The condition on devices.
    pub(super) fn of_devices(&self, backend: DbBackend) -> Condition {
        let condition = match self {
            Self::Whole => None,
            Self::Sites(keys) => {
                let keys = List::Int(keys.clone());
                Some(is_among(devices::Column::SiteKey, keys, backend))
            }
            Self::Device { device_key, .. } => Some(devices::Column::DeviceKey.eq(*device_key)),
        };
        Condition::all().add_option(condition)
    }

    /// The condition on sites.
    pub(super) fn of_sites(&self, backend: DbBackend) -> Condition {
        let condition = match self {
            Self::Whole => None,
            Self::Sites(keys) => {
                let keys = List::Int(keys.clone());
                Some(is_among(sites::Column::SiteKey, keys, backend))
            }
            Self::Device { site_key, .. } => Some(sites::Column::SiteKey.eq(*site_key)),
        };
        Condition::all().add_option(condition)
    }

    /// The condition on devices of jobs.
    pub(super) fn of_targets(&self, backend: DbBackend) -> Condition {
        let key = job_targets::Column::DeviceKey;
        match self {
            Self::Whole => Condition::all(),
            Self::Sites(_) => Condition::all().add(key.in_subquery(self.devices(backend))),
            Self::Device { device_key, .. } => Condition::all().add(key.eq(*device_key)),
        }
    }

    fn devices(&self, backend: DbBackend) -> SelectStatement {
        Query::select()
            .column(devices::Column::DeviceKey)
            .from(devices::Entity)
            .cond_where(self.of_devices(backend))
            .to_owned()
    }

    /// The condition on jobs: one of their devices at least is within each of some parts.
    pub(super) fn jobs_of(parts: &[&Self], backend: DbBackend) -> Condition {
        if parts.iter().all(|part| **part == Self::Whole) {
            return Condition::all();
        }
        let of_targets = |all: Condition, part: &&Self| all.add(part.of_targets(backend));
        let of_targets = parts.iter().fold(Condition::all(), of_targets);
        let targets = Query::select()
            .column(job_targets::Column::JobId)
            .from(job_targets::Entity)
            .cond_where(of_targets)
            .to_owned();
        Condition::all().add(jobs::Column::JobId.in_subquery(targets))
    }
}
