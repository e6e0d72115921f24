//! Looks up in the database what this process has not met: names that another process registered a
//! moment ago, and events by their ids.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::{ConnectionTrait, Value};
use uuid::Uuid;

use super::Store;
use super::duplicates::padded;
use super::error::{Doing, StoreError};
use super::names::EntityType;
use super::sql::Sql;
use crate::event::Position;

/// Ids at most in one statement.
const IDS_MAX: usize = 512;
/// Bytes of the longest id of a site or device: 255 characters.
const ID_BYTES_MAX: usize = 255 * 4;

impl Store {
    /// The key of a site or device; `None` when it is registered nowhere. Commands ask here, not
    /// [`Store::names`]: what another node has just registered is there too.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub async fn key(&self, entity: EntityType, id: &str) -> Result<Option<i64>, StoreError> {
        let names = self.names();
        let known = names.key(entity, id);
        if known.is_some() {
            return Ok(known);
        }
        self.meet([(entity, Arc::from(id))]).await?;
        Ok(names.key(entity, id))
    }

    /// Meets devices and sites by their ids: those of them that are registered are known to
    /// [`Store::names`] from now on.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub(crate) async fn meet(
        &self,
        ids: impl IntoIterator<Item = (EntityType, Arc<str>)>,
    ) -> Result<(), StoreError> {
        let (mut sites, mut devices) = (Vec::new(), Vec::new());
        for (entity, id) in ids.into_iter().filter(|(_, id)| may_be_id(id)) {
            match entity {
                EntityType::Site => sites.push(id),
                EntityType::Device => devices.push(id),
            }
        }
        for (entity, ids) in [(EntityType::Site, sites), (EntityType::Device, devices)] {
            self.names().look_up(self.readers(), entity, &ids).await?;
        }
        Ok(())
    }

    /// The id of a key; `None` when nothing has it.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub async fn id(&self, key: i64) -> Result<Option<Arc<str>>, StoreError> {
        let names = self.names();
        if let Some(id) = names.id(key) {
            return Ok(Some(id));
        }
        names.look_up_keys(self.readers(), &[key]).await?;
        Ok(names.id(key))
    }

    /// The positions of the events that have some ids; those that there are.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub async fn positions(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Position>, StoreError> {
        let doing = "look for events by their ids";
        let mut positions = HashMap::new();
        for ids in ids.chunks(IDS_MAX) {
            let mut sql = Sql::new("SELECT event_id, position FROM event_keys WHERE event_id IN ");
            sql.bind_list(padded(ids.to_vec()).into_iter().map(Value::from));
            let found = self
                .readers()
                .query_all_raw(sql.statement(self.backend()))
                .await;
            for row in found.doing(doing)? {
                let position = Position(row.try_get_by_index(1).doing(doing)?);
                positions.insert(row.try_get_by_index(0).doing(doing)?, position);
            }
        }
        Ok(positions)
    }
}

/// Whether a site or device may have this id: none is longer or has U+0000, and PostgreSQL takes no such
/// text.
fn may_be_id(text: &str) -> bool {
    text.len() <= ID_BYTES_MAX && !text.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::may_be_id;

    #[test]
    fn what_is_longer_than_any_id_is_not_looked_up() {
        assert!(may_be_id(&"\u{1d54f}".repeat(255)));
        assert!(!may_be_id(&"\u{1d54f}".repeat(256)));
        assert!(!may_be_id("pos\0"));
    }
}
