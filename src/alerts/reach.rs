//! What of a rule somebody reaches who is bound to a part of the fleet.

use super::rule::Spec;
use crate::history::Within;
use crate::store::{EntityType, Store, StoreError};

/// The sites and devices that a rule names and that are within reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The sites.
    pub site_ids: Vec<String>,
    /// The devices.
    pub device_ids: Vec<String>,
    /// How many it names that are not.
    others: usize,
    /// Whether all of the fleet is within reach.
    is_all: bool,
}

impl Reach {
    /// What of a rule is within a part of the fleet, by where the devices are registered now.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub async fn of(store: &Store, spec: &Spec, within: &Within) -> Result<Self, StoreError> {
        if *within == Within::Whole {
            return Ok(Self {
                site_ids: spec.site_ids.clone(),
                device_ids: spec.device_ids.clone(),
                others: 0,
                is_all: true,
            });
        }
        let (mut site_ids, mut device_ids) = (Vec::new(), Vec::new());
        for id in &spec.site_ids {
            let key = store.key(EntityType::Site, id).await?;
            if key.is_some_and(|key| within.has_site(key)) {
                site_ids.push(id.clone());
            }
        }
        for id in &spec.device_ids {
            let key = store.key(EntityType::Device, id).await?;
            if key.is_some_and(|key| within.reaches_device(store.names(), key)) {
                device_ids.push(id.clone());
            }
        }
        let named = spec.site_ids.len() + spec.device_ids.len();
        Ok(Self {
            others: named - site_ids.len() - device_ids.len(),
            site_ids,
            device_ids,
            is_all: false,
        })
    }

    /// Whether nothing that the rule is for is beyond it; a rule that names nothing is for all.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_all || self.others == 0 && !self.names_nothing()
    }

    /// Whether nothing that the rule is for is within it.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.others > 0 && self.names_nothing()
    }

    fn names_nothing(&self) -> bool {
        self.site_ids.is_empty() && self.device_ids.is_empty()
    }
}
