//! The ids of sites and devices and the keys that stand for them in the tables.
//!
//! A key never changes and is never given again, so what is known here stays true; what is not
//! known here is looked up in the database, since another process may have registered it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use sea_orm::{ConnectionTrait, DbBackend};

use super::error::{Doing, StoreError};
use super::lists::List;
use super::read::Place;
use super::sql::Sql;
use crate::event::{Cell, Instant, Position, Reference};

/// What a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntityType {
    /// A site.
    Site,
    /// A device.
    Device,
}

impl EntityType {
    /// The word in the table.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Site => "SITE",
            Self::Device => "DEVICE",
        }
    }
}

/// The key of each site and device.
const NAMES: &str = "SELECT entity_key, entity_type, entity_id FROM entity_keys";
/// At which site each device was registered when.
const PLACES: &str = "SELECT device_key, site_key, occurred_at, position FROM device_registrations";

#[derive(Debug, Default)]
struct Maps {
    sites: HashMap<Arc<str>, i64>,
    devices: HashMap<Arc<str>, i64>,
    ids: HashMap<i64, Arc<str>>,
    registrations: HashMap<i64, Registrations>,
}

impl Maps {
    fn add(&mut self, entity: EntityType, id: Arc<str>, key: i64) {
        match entity {
            EntityType::Site => self.sites.insert(Arc::clone(&id), key),
            EntityType::Device => self.devices.insert(Arc::clone(&id), key),
        };
        self.ids.insert(key, id);
    }
}

/// All registrations of a device, each with its site, in order of time and position: one that comes late
/// parts what the others say. They are few.
#[derive(Debug, Default)]
struct Registrations(Vec<(Place, i64)>);

/// The time since a device came to the site where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// When it began; the oldest instant when it was at no other site before.
    pub began: Instant,
    /// How often the device was registered since.
    pub registrations: usize,
    /// As of when it was registered last.
    pub last: Instant,
}

impl Registrations {
    fn add(&mut self, registered: Place, site: i64) {
        let order = |place: &Place| (place.occurred_at, place.position);
        let found = self
            .0
            .binary_search_by_key(&order(&registered), |(place, _)| order(place));
        if let Err(index) = found {
            self.0.insert(index, (registered, site));
        }
    }

    /// The site now.
    fn last(&self) -> Option<i64> {
        self.0.last().map(|(_, site)| *site)
    }

    /// The site at an instant; before the first registration the one that it names.
    fn at(&self, at: Instant) -> Option<i64> {
        let after = self.0.partition_point(|(place, _)| place.occurred_at <= at);
        let of = self.0.get(after.saturating_sub(1));
        of.map(|(_, site)| *site)
    }

    /// Since it came to the site where it is.
    fn stay(&self) -> Option<Stay> {
        let site = self.last()?;
        let since = |(_, of): &&(Place, i64)| *of == site;
        let registrations = self.0.iter().rev().take_while(since).count();
        let before = self.0.len() - registrations;
        let began = self
            .0
            .get(before)
            .filter(|_| before > 0)
            .map_or(Instant::OLDEST, |(place, _)| place.occurred_at);
        let last = self.0.last().map_or(began, |(place, _)| place.occurred_at);
        Some(Stay {
            began,
            registrations,
            last,
        })
    }

    /// How often it came to a site.
    fn stays_at(&self, site: i64) -> usize {
        let sites = || self.0.iter().map(|(_, site)| *site);
        let before = std::iter::once(None).chain(sites().map(Some));
        sites()
            .zip(before)
            .filter(|(now, before)| *now == site && *before != Some(site))
            .count()
    }
}

/// Ids and keys of all sites and devices that this process has met.
#[derive(Debug, Default)]
pub struct Names {
    maps: RwLock<Maps>,
}

impl Names {
    /// Reads all names of the database.
    pub(crate) async fn load(&self, db: &impl ConnectionTrait) -> Result<(), StoreError> {
        let found = found(db, Sql::new(NAMES)).await?;
        // whoever has met a device knows where it is, so that comes first
        let mut sites = self.learn_places(db, Sql::new(PLACES)).await?;
        for (_, _, key) in &found {
            sites.remove(key);
        }
        self.learn_sites(db, sites).await?;
        self.add_all(found);
        Ok(())
    }

    /// Learns at which sites devices are, and answers the keys of these.
    async fn learn_places(
        &self,
        db: &impl ConnectionTrait,
        sql: Sql,
    ) -> Result<HashSet<i64>, StoreError> {
        let rows = db
            .query_all_raw(sql.statement(db.get_database_backend()))
            .await
            .doing("read the devices")?;
        let mut sites = HashSet::new();
        for row in rows {
            let device = row.try_get_by_index(0).doing("read a device")?;
            let site = row.try_get_by_index(1).doing("read a device")?;
            let registered = Place {
                occurred_at: Instant(row.try_get_by_index(2).doing("read a device")?),
                position: Position(row.try_get_by_index(3).doing("read a device")?),
            };
            self.place(device, site, registered);
            sites.insert(site);
        }
        Ok(sites)
    }

    /// The key of an id, if this process has met it.
    #[must_use]
    pub fn key(&self, entity: EntityType, id: &str) -> Option<i64> {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        match entity {
            EntityType::Site => maps.sites.get(id).copied(),
            EntityType::Device => maps.devices.get(id).copied(),
        }
    }

    /// How many names this process has met: it grows with each.
    #[must_use]
    pub fn count(&self) -> usize {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        maps.ids.len()
    }

    /// The id of a key, if this process has met it.
    #[must_use]
    pub fn id(&self, key: i64) -> Option<Arc<str>> {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        maps.ids.get(&key).map(Arc::clone)
    }

    /// The site at which a device is registered.
    #[must_use]
    pub fn site_of_device(&self, device_key: i64) -> Option<i64> {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        maps.registrations.get(&device_key)?.last()
    }

    /// The site at which a device was registered at an instant.
    #[must_use]
    pub fn site_of_device_at(&self, device_key: i64, at: Instant) -> Option<i64> {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        maps.registrations.get(&device_key)?.at(at)
    }

    /// Since when a device is where it is now.
    #[must_use]
    pub fn stay_of_device(&self, device_key: i64) -> Option<Stay> {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        maps.registrations.get(&device_key)?.stay()
    }

    /// How many devices came to each of some sites, a device that came again counted again.
    pub(crate) fn stays_at(&self, sites: &[i64]) -> HashMap<i64, usize> {
        let mut stays: HashMap<i64, usize> = sites.iter().map(|site| (*site, 0)).collect();
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        for registrations in maps.registrations.values() {
            for (site, stays) in &mut stays {
                *stays += registrations.stays_at(*site);
            }
        }
        stays
    }

    /// Looks ids up in the database that this process has not met.
    pub(crate) async fn look_up(
        &self,
        db: &impl ConnectionTrait,
        entity: EntityType,
        ids: &[Arc<str>],
    ) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut sql = Sql::new(NAMES);
        let ids = ids.iter().map(ToString::to_string).collect();
        sql.push(" WHERE entity_type = ").bind(entity.word());
        sql.push(" AND ").among("entity_id", List::Text(ids));
        let found = found(db, sql).await?;
        let keys: Vec<i64> = found.iter().map(|(_, _, key)| *key).collect();
        // whoever has met a device knows where it is, so that comes first
        self.load_places_of(db, &keys).await?;
        self.add_all(found);
        Ok(())
    }

    /// Looks keys up in the database that this process has not met.
    pub(crate) async fn look_up_keys(
        &self,
        db: &impl ConnectionTrait,
        keys: &[i64],
    ) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut sql = Sql::new(NAMES);
        sql.push(" WHERE ")
            .among("entity_key", List::Int(keys.to_vec()));
        let found = found(db, sql).await?;
        self.load_places_of(db, keys).await?;
        self.add_all(found);
        Ok(())
    }

    async fn load_places_of(
        &self,
        db: &impl ConnectionTrait,
        keys: &[i64],
    ) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut sql = Sql::new(PLACES);
        sql.push(" WHERE ")
            .among("device_key", List::Int(keys.to_vec()));
        let sites = self.learn_places(db, sql).await?;
        self.learn_sites(db, sites).await
    }

    /// Learns the names of those sites that it has not met: an event may name a device alone, and be looked
    /// for by its site.
    async fn learn_sites(
        &self,
        db: &impl ConnectionTrait,
        mut sites: HashSet<i64>,
    ) -> Result<(), StoreError> {
        sites.retain(|site| self.id(*site).is_none());
        if sites.is_empty() {
            return Ok(());
        }
        let mut sql = Sql::new(NAMES);
        let sites = sites.into_iter().collect();
        sql.push(" WHERE ").among("entity_key", List::Int(sites));
        self.add_all(found(db, sql).await?);
        Ok(())
    }

    /// Remembers names, all at once: of a device that is met its site is met too.
    pub(crate) fn add_all(&self, names: Vec<(EntityType, Arc<str>, i64)>) {
        let mut maps = self.maps.write().unwrap_or_else(PoisonError::into_inner);
        for (entity, id, key) in names {
            maps.add(entity, id, key);
        }
    }

    /// Remembers at which site a registration put a device. One may be late, or be heard of late or twice;
    /// they count in order of time, as in the registry.
    pub(crate) fn place(&self, device_key: i64, site_key: i64, registered: Place) {
        let mut maps = self.maps.write().unwrap_or_else(PoisonError::into_inner);
        let registrations = maps.registrations.entry(device_key).or_default();
        registrations.add(registered, site_key);
    }

    /// The reference of a key; one that this process has not met bears its number as id.
    pub(crate) fn reference(&self, key: i64) -> Cell {
        let id = self.id(key).unwrap_or_else(|| Arc::from(key.to_string()));
        Cell::Reference(Reference { key, id })
    }
}

/// Names that are in the database.
async fn found(
    db: &impl ConnectionTrait,
    sql: Sql,
) -> Result<Vec<(EntityType, Arc<str>, i64)>, StoreError> {
    let backend: DbBackend = db.get_database_backend();
    let rows = db
        .query_all_raw(sql.statement(backend))
        .await
        .doing("read the keys")?;
    let mut names = Vec::with_capacity(rows.len());
    for row in rows {
        let key: i64 = row.try_get_by_index(0).doing("read a key")?;
        let word: String = row.try_get_by_index(1).doing("read a key")?;
        let id: String = row.try_get_by_index(2).doing("read a key")?;
        let entity = if word == "SITE" {
            EntityType::Site
        } else {
            EntityType::Device
        };
        names.push((entity, Arc::from(id), key));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_that_is_late_or_heard_of_late_does_not_count() {
        let names = Names::default();
        let registered = |at, position| Place {
            occurred_at: Instant(at),
            position: Position(position),
        };
        names.place(1, 20, registered(5, 8));
        names.place(1, 10, registered(5, 7));
        assert_eq!(names.site_of_device(1), Some(20));
        names.place(1, 10, registered(4, 9));
        assert_eq!(names.site_of_device(1), Some(20));
        names.place(1, 10, registered(5, 9));
        assert_eq!(names.site_of_device(1), Some(10));
    }

    #[test]
    fn a_device_was_where_the_last_registration_before_says() {
        let names = Names::default();
        let registered = |at, position| Place {
            occurred_at: Instant(at),
            position: Position(position),
        };
        names.place(1, 10, registered(10, 1));
        names.place(1, 20, registered(20, 2));
        names.place(1, 10, registered(30, 3));
        // late, and heard of twice
        names.place(1, 40, registered(15, 4));
        names.place(1, 40, registered(15, 4));
        let at = |at| names.site_of_device_at(1, Instant(at)).unwrap();
        let found = [1, 10, 14, 15, 19, 20, 29, 30, 99].map(at);
        assert_eq!(found, [10, 10, 10, 40, 40, 20, 20, 10, 10]);
        assert_eq!(
            names.stays_at(&[10, 20, 50]),
            HashMap::from([(10, 2), (20, 1), (50, 0)])
        );
        assert_eq!(names.site_of_device_at(2, Instant(5)), None);
        names.place(1, 10, registered(33, 5));
        let stay = Stay {
            began: Instant(30),
            registrations: 2,
            last: Instant(33),
        };
        assert_eq!(names.stay_of_device(1), Some(stay));
    }
}
