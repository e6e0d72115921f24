//! What the lines of a source give without a log: facts in memory, each once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Read;

use entity::device_metrics::Column;
use uuid::Uuid;

use super::{ImportError, lines};
use crate::clock::Clock;
use crate::event::{Fact, Instant};
use crate::kinds::{Kind, Refusal, check};

/// What lines give.
#[derive(Debug, Default)]
pub struct Parsed {
    /// What they say, each fact once, in their order.
    pub facts: Vec<Fact>,
    /// Lines that say what an earlier one has said.
    pub duplicates: u64,
    /// Lines whose key an earlier one has with another body: the first holds.
    pub conflicts: u64,
    /// Lines that are refused by themselves, with their numbers and why.
    pub refused: Vec<(u64, Refusal)>,
}

/// Reads a source of JSON lines, plain or gzip, into memory. What is refused by itself is left out; which sites and
/// devices there are is not looked at.
///
/// # Errors
/// When the source cannot be read to its end.
pub fn parse(source: impl Read, clock: &Clock) -> Result<Parsed, ImportError> {
    let mut parsed = Parsed::default();
    let mut places: HashMap<Key, usize> = HashMap::new();
    lines::each(source, clock.clone(), |number, (_, given)| {
        let checked = given.and_then(|mut event| {
            check(&mut event.fact)?;
            Ok(event.fact)
        });
        match checked {
            Ok(fact) => parsed.take(fact, &mut places),
            Err(refusal) => parsed.refused.push((number, refusal)),
        }
    })?;
    Ok(parsed)
}

impl Parsed {
    fn take(&mut self, fact: Fact, places: &mut HashMap<Key, usize>) {
        match places.entry(Key::of(&fact)) {
            Entry::Vacant(place) => {
                place.insert(self.facts.len());
                self.facts.push(fact);
            }
            Entry::Occupied(place) if self.facts.get(*place.get()) == Some(&fact) => {
                self.duplicates += 1;
            }
            Entry::Occupied(_) => self.conflicts += 1,
        }
    }
}

/// By what a repeat is known.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Id(Option<Uuid>),
    /// Of which device, when, and which part.
    Reading(String, Instant, i64),
}

impl Key {
    fn of(fact: &Fact) -> Self {
        if fact.kind != Kind::DeviceMetrics || fact.event_id.is_some() {
            return Self::Id(fact.event_id);
        }
        let device = fact.cell(Column::DeviceKey).text().unwrap_or_default();
        let part = fact.cell(Column::Part).int().unwrap_or_default();
        Self::Reading(device.to_owned(), fact.occurred_at, part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fact_is_there_once_and_what_is_refused_is_told() {
        let reading = |cpu: i64| {
            let at = "2026-01-01T00:00:00Z";
            format!(
                "{{\"deviceMetrics\":{{\"deviceId\":\"d\",\"occurredAt\":\"{at}\",\"cpuPercent\":{cpu}}}}}\n"
            )
        };
        let lines = [
            reading(1),
            reading(1),
            reading(2),
            reading(900),
            "?\n".to_owned(),
        ];
        let parsed = parse(std::io::Cursor::new(lines.concat()), &Clock::system()).unwrap();
        assert_eq!(parsed.facts.len(), 1);
        assert_eq!((parsed.duplicates, parsed.conflicts), (1, 1));
        let numbers: Vec<u64> = parsed.refused.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [4, 5]);
    }
}
