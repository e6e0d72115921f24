//! Devices that are known to be away: those whose newest state is OFFLINE.

use std::collections::HashSet;

use entity::device_state_history::Column;

use crate::event::Event;
use crate::history::jobs;
use crate::store::{Store, StoreError};

/// The devices that are away.
#[derive(Debug, Default)]
pub(super) struct Away(HashSet<i64>);

impl Away {
    /// Those that are away now.
    pub(super) async fn read(store: &Store) -> Result<Self, StoreError> {
        Ok(Self(jobs::offline(store).await?.into_iter().collect()))
    }

    /// Moves on with a report of a state.
    pub(super) fn hear(&mut self, event: &Event) {
        let Some(device_key) = event.fact.cell(Column::DeviceKey).int() else {
            return;
        };
        if event.fact.cell(Column::NewState).text() == Some("OFFLINE") {
            self.0.insert(device_key);
        } else {
            self.0.remove(&device_key);
        }
    }

    pub(super) fn has(&self, device_key: i64) -> bool {
        self.0.contains(&device_key)
    }
}
