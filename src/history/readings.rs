//! Readings that came in parts, made whole.

use std::collections::{BTreeMap, HashMap};

use crate::event::{Cell, Event, Instant, Position};

/// The readings of which events are parts, by their device and instant. Of each measure the one that was
/// recorded last holds, and what is not a measure is of the part that was recorded last. What names no
/// device is left out.
#[must_use]
pub fn merged(parts: Vec<Event>) -> HashMap<(i64, Instant), Event> {
    let by_position = |part: Event| (part.position, part);
    let parts: BTreeMap<Position, Event> = parts.into_iter().map(by_position).collect();
    let mut whole: HashMap<(i64, Instant), Event> = HashMap::new();
    for mut part in parts.into_values() {
        let Some(device) = part.fact.device_key() else {
            continue;
        };
        let reading = (device, part.fact.occurred_at);
        if let Some(before) = whole.remove(&reading) {
            let cells = part.fact.cells.iter_mut().zip(before.fact.cells);
            for (cell, before) in cells.chain([(&mut part.fact.extra, before.fact.extra)]) {
                if *cell == Cell::Null {
                    *cell = before;
                }
            }
        }
        whole.insert(reading, part);
    }
    whole
}
