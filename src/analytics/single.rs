//! Reads single events, where rollups are too coarse.

use std::collections::BTreeSet;

use super::read::{EVENTS_MAX, ReadError, Reader, keys};
use crate::projections::rollups::counters::grown_to;
use crate::projections::rollups::gather::{devices as devices_of, key_of, recorded, whole};
use crate::projections::rollups::places::Places;
use crate::projections::rollups::tables::Key;
use crate::store::{List, Sql, StoreError};

impl Reader<'_> {
    /// Adds single events of some time: of all that is asked for, or of some owners.
    pub(super) async fn events(
        &mut self,
        (from, to): (i64, i64),
        owners: Option<BTreeSet<i64>>,
    ) -> Result<(), ReadError> {
        let scope = &self.question.scope;
        let is_of_all = owners.is_none() && scope.devices.is_none() && scope.sites.is_none();
        let devices = if is_of_all {
            None
        } else {
            Some(self.devices(owners.clone()).await?)
        };
        // a device may have moved to where all is known
        let is_owned = |reader: &Self, key: &Key| {
            let owner = reader.owner_of(key);
            owners.as_ref().is_none_or(|owners| owners.contains(&owner))
        };
        let shape = &self.question.shape;
        let within = ((from, to), self.upto);
        let readings = recorded(self.tx, shape, devices.as_deref(), within, EVENTS_MAX).await?;
        let readings = readings.ok_or(ReadError::Events { max: EVENTS_MAX })?;
        let places = Places::said(self.tx, &devices_of(&readings), self.upto).await?;
        for reading in &readings {
            let key = key_of(shape, reading, &places);
            let bucket = self.question.bucket_of(reading.at);
            let is_asked = self.provenances.contains(&reading.provenance)
                && self.has(&key)
                && is_owned(self, &key);
            if let (Some(bucket), true) = (bucket, is_asked) {
                self.add_reading(&key, bucket, reading)?;
            }
        }
        if self.question.wants_growth() {
            let of = (&places, from, self.upto);
            let shape = whole(self.tx, shape).await?;
            for (at, key, more) in grown_to(self.tx, &shape, &readings, of).await? {
                let bucket = self.question.bucket_of(at);
                let is_asked = self.provenances.contains(&key.provenance)
                    && self.has(&key)
                    && is_owned(self, &key);
                if let (Some(bucket), true) = (bucket, is_asked) {
                    self.grow_by(&key, bucket, more)?;
                }
            }
        }
        Ok(())
    }

    /// The devices whose events are read: those at some sites, if the owners are sites.
    pub(super) async fn devices(
        &self,
        owners: Option<BTreeSet<i64>>,
    ) -> Result<Vec<i64>, StoreError> {
        let owners = owners.map_or_else(|| self.owners.clone(), Vec::from_iter);
        if !self.of_sites {
            return Ok(owners);
        }
        let mut sql = Sql::new("SELECT DISTINCT device_key FROM device_stays WHERE ");
        sql.among("site_key", List::Int(owners));
        keys(self.tx, sql).await
    }
}
