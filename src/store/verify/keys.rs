//! Checks the keys under which repeats are known.

use std::collections::{BTreeMap, HashSet};

use sea_orm::Value;
use uuid::Uuid;

use super::{Check, Verifier};
use crate::event::Position;
use crate::kinds::{Identity, Kind};
use crate::store::error::{Doing, StoreError};
use crate::store::sql::Sql;

/// Keys that are looked at together.
const PAGE: i64 = 1_000;
/// Devices that are looked at together.
const DEVICES: i64 = 20;

impl Verifier<'_> {
    /// Each id of an event has its event. That each event has its id is seen with the events.
    pub(super) async fn event_keys(&mut self) -> Result<(), StoreError> {
        let doing = "check event ids";
        let (mut after, mut done) = (None, 0);
        loop {
            let mut sql = Sql::new("SELECT event_id, position, kind FROM event_keys");
            if let Some(after) = after {
                sql.push(" WHERE event_id > ")
                    .bind(Value::Uuid(Some(after)));
            }
            sql.push(" ORDER BY event_id LIMIT ").bind(PAGE);
            let mut keys: BTreeMap<i64, Vec<(Uuid, i64)>> = BTreeMap::new();
            let rows = self.rows(sql, doing).await?;
            for row in &rows {
                let id: Uuid = row.try_get_by_index(0).doing(doing)?;
                let position: i64 = row.try_get_by_index(1).doing(doing)?;
                let kind = row.try_get_by_index(2).doing(doing)?;
                if position <= self.head.0 {
                    keys.entry(kind).or_default().push((id, position));
                }
                after = Some(id);
                done += 1;
            }
            for (code, keys) in keys {
                self.keys_of(code, &keys).await?;
            }
            self.told("checking event ids", done);
            if rows.is_empty() {
                return Ok(());
            }
        }
    }

    async fn keys_of(&mut self, code: i64, keys: &[(Uuid, i64)]) -> Result<(), StoreError> {
        let doing = "check event ids";
        let mut stored: HashSet<(Uuid, i64)> = HashSet::new();
        if let Some(kind) = Kind::of_code(code) {
            let table = kind.spec().table;
            let mut sql = Sql::new(format!("SELECT event_id, position FROM {table}"));
            let positions = keys.iter().map(|(_, position)| Value::from(*position));
            sql.push(" WHERE event_id IS NOT NULL AND position IN ")
                .bind_list(positions);
            for row in self.rows(sql, doing).await? {
                let id = row.try_get_by_index(0).doing(doing)?;
                stored.insert((id, row.try_get_by_index(1).doing(doing)?));
            }
        }
        let missing = keys.iter().filter(|key| !stored.contains(key));
        let missing: Vec<i64> = missing.map(|(_, position)| *position).collect();
        if let Some(kind) = Kind::of_code(code).filter(|_| !missing.is_empty()) {
            // it may have been archived, or deleted, since its key was read
            self.tables.segments.renew(self.db).await?;
            stored.extend(self.archived_ids(kind, missing).await?);
            let catalog = self.tables.segments.catalog();
            let is_gone = |(_, position): &&(Uuid, i64)| {
                let at = (Position(*position), Position(*position));
                catalog.may_have_deleted(kind, at) || self.may_be_unread(kind, at)
            };
            stored.extend(keys.iter().filter(is_gone).copied());
        }
        for key in keys.iter().filter(|key| !stored.contains(key)) {
            let (id, position) = key;
            let detail = format!("event id {id} has no event at position {position}");
            self.found(Check::EventKeys, detail);
        }
        Ok(())
    }

    /// An event that is known by device and time is there once.
    pub(super) async fn natural_keys(&mut self) -> Result<(), StoreError> {
        let kinds = Kind::all().map(Kind::spec);
        for spec in kinds.filter(|spec| spec.identity == Identity::DeviceAndTime) {
            let device = spec.device_index().and_then(|index| spec.fields.get(index));
            let Some(device) = device.map(|field| field.column.name()) else {
                continue;
            };
            let mut after = i64::MIN;
            loop {
                let devices = self.devices_after(after).await?;
                let Some(last) = devices.last() else { break };
                after = *last;
                self.natural_keys_of(spec.table, device, devices).await?;
                self.told("checking devices and times", self.head.0);
            }
        }
        Ok(())
    }

    async fn devices_after(&self, after: i64) -> Result<Vec<i64>, StoreError> {
        let doing = "check natural keys";
        let mut sql = Sql::new(
            "SELECT entity_key FROM entity_keys WHERE entity_type = 'DEVICE' AND entity_key > ",
        );
        sql.bind(after)
            .push(" ORDER BY entity_key LIMIT ")
            .bind(DEVICES);
        let rows = self.rows(sql, doing).await?;
        let read = |row: &sea_orm::QueryResult| row.try_get_by_index(0).doing(doing);
        rows.iter().map(read).collect()
    }

    async fn natural_keys_of(
        &mut self,
        table: &str,
        device: &str,
        devices: Vec<i64>,
    ) -> Result<(), StoreError> {
        let doing = "check natural keys";
        let mut sql = Sql::new(format!(
            "SELECT min(position) FROM {table} WHERE {device} IN "
        ));
        sql.bind_list(devices.into_iter().map(Value::from));
        sql.push(" GROUP BY ").push(device);
        sql.push(", occurred_at, part HAVING count(*) > 1 LIMIT 100");
        for row in self.rows(sql, doing).await? {
            let position: i64 = row.try_get_by_index(0).doing(doing)?;
            let detail = format!("position {position} in {table} has a second one of its time");
            self.found(Check::NaturalKeys, detail);
        }
        Ok(())
    }
}
