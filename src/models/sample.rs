//! The devices of which anything is kept, and those of them of which examples are taken.
//!
//! Of a large fleet some devices teach as much as all: those whose ids have the least hashes, so that they are the
//! same night after night. Of a fleet of no more than [`DEVICES_MAX`] all are taken.

use sea_orm::ConnectionTrait;

use crate::event::Provenance;
use crate::insights::risk::features::hash;
use crate::store::{Doing, Sql, Store, StoreError};

/// Devices at most of which examples are taken.
pub(super) const DEVICES_MAX: usize = 500;
const DOING: &str = "read of which devices anything is kept";

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    /// Its key.
    pub(super) key: i64,
    /// Its id.
    pub(super) id: String,
}

/// Whether anything is kept of any device.
pub(super) async fn is_any(store: &Store, provenance: Provenance) -> Result<bool, StoreError> {
    let mut sql = Sql::new("SELECT 1 FROM device_insights WHERE provenance = ");
    sql.bind(provenance.code()).push(" LIMIT 1");
    let row = store
        .readers()
        .query_one_raw(sql.statement(store.backend()));
    Ok(row.await.doing(DOING)?.is_some())
}

/// All devices of which anything is kept, in order of their ids, as they are replayed.
pub(super) async fn devices(
    store: &Store,
    provenance: Provenance,
) -> Result<Vec<Device>, StoreError> {
    let mut sql = Sql::new(
        "SELECT d.device_key, d.device_id FROM device_insights s \
         JOIN devices d ON d.device_key = s.device_key WHERE s.provenance = ",
    );
    sql.bind(provenance.code());
    let rows = store
        .readers()
        .query_all_raw(sql.statement(store.backend()));
    let mut devices = Vec::new();
    for row in rows.await.doing(DOING)? {
        let key = row.try_get_by_index(0).doing(DOING)?;
        let id = row.try_get_by_index(1).doing(DOING)?;
        devices.push(Device { key, id });
    }
    devices.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(devices)
}

/// Those of which examples are taken, in the same order.
pub(super) fn sampled(devices: &[Device]) -> Vec<i64> {
    let mut chosen: Vec<(u32, usize)> = devices
        .iter()
        .enumerate()
        .map(|(place, device)| (hash(&device.id), place))
        .collect();
    chosen.sort_unstable();
    chosen.truncate(DEVICES_MAX);
    let mut places: Vec<usize> = chosen.into_iter().map(|(_, place)| place).collect();
    places.sort_unstable();
    let devices = places.into_iter().filter_map(|place| devices.get(place));
    devices.map(|device| device.key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(devices: i64) -> Vec<Device> {
        let device = |key: i64| Device {
            key,
            id: format!("till-{key:05}"),
        };
        (0..devices).map(device).collect()
    }

    #[test]
    fn of_a_fleet_that_is_not_large_all_devices_are_taken() {
        let keys = sampled(&fleet(500));
        assert_eq!(keys, (0..500).collect::<Vec<_>>());
        assert!(sampled(&[]).is_empty());
    }

    #[test]
    fn the_devices_of_a_large_fleet_mostly_stay_the_same_when_it_grows() {
        let (small, large) = (sampled(&fleet(2_000)), sampled(&fleet(2_200)));
        assert_eq!((small.len(), large.len()), (500, 500));
        assert!(large.is_sorted());
        let both = small.iter().filter(|key| large.contains(key)).count();
        assert!(both > 400, "{both}");
    }
}
