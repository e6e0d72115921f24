//! For which devices a job is: those named, those at sites, those with a tag, and those that a filter
//! finds. Of the last three, devices that are retired are none.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::history::Within;
use crate::history::fleet::{DeviceFilter, DeviceRow, IdPage, devices_page};
use crate::jobs::TARGETS_MAX;
use crate::store::{EntityType, Store, StoreError};

/// Lifecycles of devices that a job is for without being named.
const SERVING: [&str; 2] = ["ACTIVE", "SUSPENDED"];

/// For which devices a job is: all that one of these finds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Selection {
    /// Devices by their ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_ids: Vec<String>,
    /// All devices at these sites.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub site_ids: Vec<String>,
    /// All devices with one of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// All devices that these conditions find together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Conditions>,
    /// The reach of whoever made the job, as it was kept before it had a place in the plan.
    #[serde(skip_serializing)]
    pub reach: Option<Vec<String>>,
}

/// Conditions on devices, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Conditions {
    /// At this site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site_id: Option<String>,
    /// Of one of these types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_types: Option<Vec<String>>,
    /// In one of these states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub states: Option<Vec<String>>,
    /// With this firmware.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// Of this model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// With this in id or name, upper and lower case of A to Z alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
}

/// What a selection names that is not there, or not within reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotThere {
    /// The list that names it.
    pub list: &'static str,
    /// The id.
    pub id: String,
}

impl Selection {
    /// Whether it is found anew each time: its devices are not those of a list.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.site_ids.is_empty() || !self.tags.is_empty() || self.filter.is_some()
    }

    /// Whether it finds a device, which stands at a site of an id.
    #[must_use]
    pub(super) fn has(&self, row: &DeviceRow, site_id: &str) -> bool {
        let device = &row.device;
        if self.device_ids.contains(&device.device_id) {
            return true;
        }
        let tags: Option<Vec<String>> = device
            .tags
            .as_deref()
            .and_then(|tags| serde_json::from_str(tags).ok());
        let is_tagged = tags.is_some_and(|tags| tags.iter().any(|tag| self.tags.contains(tag)));
        let is_at_site = self.site_ids.iter().any(|site| site == site_id);
        let is_found = |conditions: &Conditions| conditions.hold(row, site_id);
        SERVING.contains(&device.lifecycle.as_str())
            && (is_at_site || is_tagged || self.filter.as_ref().is_some_and(is_found))
    }

    /// The devices within a part of the fleet, as they are found long after: what it names and is not
    /// there any more is passed over.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub(super) async fn resolve_what_is_there(
        &self,
        store: &Store,
        within: &Within,
    ) -> Result<Vec<String>, StoreError> {
        let mut there = self.clone();
        there.device_ids.clear();
        for id in &self.device_ids {
            let key = store.key(EntityType::Device, id).await?;
            if key.is_some_and(|key| within.reaches_device(store.names(), key)) {
                there.device_ids.push(id.clone());
            }
        }
        loop {
            match there.resolve(store, within).await? {
                Ok(devices) => return Ok(devices),
                Err(gone) => there.forget(&gone),
            }
        }
    }

    fn forget(&mut self, gone: &NotThere) {
        match gone.list {
            "deviceIds" => self.device_ids.retain(|id| *id != gone.id),
            "siteIds" => self.site_ids.retain(|id| *id != gone.id),
            _ => self.filter = None,
        }
    }

    /// The devices within a part of the fleet, in the order of their ids; one more than a job may be
    /// for when there are more.
    ///
    /// # Errors
    /// When the tables cannot be read. The first id that is not registered, or not within, is told.
    pub async fn resolve(
        &self,
        store: &Store,
        within: &Within,
    ) -> Result<Result<Vec<String>, NotThere>, StoreError> {
        let mut found = BTreeSet::new();
        for id in &self.device_ids {
            let key = store.key(EntityType::Device, id).await?;
            if !key.is_some_and(|key| within.reaches_device(store.names(), key)) {
                return Ok(Err(not_there("deviceIds", id)));
            }
            found.insert(id.clone());
        }
        for id in &self.site_ids {
            let Some(site_key) = site(store, within, id).await? else {
                return Ok(Err(not_there("siteIds", id)));
            };
            let of_site = DeviceFilter {
                site_key: Some(site_key),
                ..serving(within)
            };
            find(store, &of_site, &mut found).await?;
        }
        if !self.tags.is_empty() {
            let tagged = DeviceFilter {
                tags: Some(self.tags.clone()),
                ..serving(within)
            };
            find(store, &tagged, &mut found).await?;
        }
        if let Some(conditions) = &self.filter {
            let site_key = match &conditions.site_id {
                None => None,
                Some(id) => match site(store, within, id).await? {
                    Some(key) => Some(key),
                    None => return Ok(Err(not_there("filter.siteId", id))),
                },
            };
            let filter = DeviceFilter {
                site_key,
                ..conditions.filter(within)
            };
            find(store, &filter, &mut found).await?;
        }
        Ok(Ok(found.into_iter().collect()))
    }
}

impl Conditions {
    /// Whether they hold for a device, which stands at a site of an id.
    fn hold(&self, row: &DeviceRow, site_id: &str) -> bool {
        let device = &row.device;
        let state = row
            .status
            .as_ref()
            .and_then(|status| status.state.as_deref());
        let state = state.unwrap_or("UNKNOWN");
        let is = |wanted: &Option<String>, has: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| has == Some(wanted))
        };
        let one_of = |wanted: &Option<Vec<String>>, has: &str| {
            let wanted = wanted.as_ref();
            wanted.is_none_or(|wanted| wanted.iter().any(|one| one == has))
        };
        let named = [Some(&device.device_id), device.name.as_ref()];
        let is_searched = self.search.as_ref().is_none_or(|search| {
            let search = search.to_ascii_lowercase();
            let mut named = named.into_iter().flatten();
            named.any(|name| name.to_ascii_lowercase().contains(&search))
        });
        is(&self.site_id, Some(site_id))
            && one_of(&self.device_types, &device.device_type)
            && one_of(&self.states, state)
            && is(&self.firmware, device.firmware.as_deref())
            && is(&self.model, device.model.as_deref())
            && is_searched
    }

    fn filter(&self, within: &Within) -> DeviceFilter {
        DeviceFilter {
            states: self.states.clone(),
            types: self.device_types.clone(),
            search: self.search.clone(),
            model: self.model.clone(),
            firmware: self.firmware.clone(),
            ..serving(within)
        }
    }
}

fn serving(within: &Within) -> DeviceFilter {
    DeviceFilter {
        within: within.clone(),
        lifecycles: Some(SERVING.map(str::to_owned).to_vec()),
        ..DeviceFilter::default()
    }
}

fn not_there(list: &'static str, id: &str) -> NotThere {
    let id = id.to_owned();
    NotThere { list, id }
}

async fn site(store: &Store, within: &Within, id: &str) -> Result<Option<i64>, StoreError> {
    let key = store.key(EntityType::Site, id).await?;
    Ok(key.filter(|key| within.has_site(*key)))
}

/// Finds devices, until there are more than a job may be for.
async fn find(
    store: &Store,
    filter: &DeviceFilter,
    found: &mut BTreeSet<String>,
) -> Result<(), StoreError> {
    let limit = u64::try_from(TARGETS_MAX + 1).unwrap_or(u64::MAX);
    let page = IdPage {
        limit,
        ..IdPage::default()
    };
    for row in devices_page(store, filter, &page, &Store::own_allowance()).await? {
        found.insert(row.device.device_id.clone());
    }
    Ok(())
}
