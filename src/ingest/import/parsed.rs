//! What the lines of sources give without a log: facts in memory, each once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Read;

use entity::device_metrics::Column;
use uuid::Uuid;

use super::{ImportError, lines};
use crate::clock::Clock;
use crate::event::{Fact, Instant};
use crate::kinds::{Kind, Refusal, check};

/// What lines give: those of one source after those of another.
#[derive(Debug, Default)]
pub struct Parsed {
    /// What they say, each fact once, in their order.
    pub facts: Vec<Fact>,
    /// Lines that say what an earlier one has said.
    pub duplicates: u64,
    /// Lines whose key an earlier one has with another body: the first holds.
    pub conflicts: u64,
    /// Where among the facts that with a key is.
    places: HashMap<Key, usize>,
}

impl Parsed {
    /// Reads a source of JSON lines, plain or gzip, into memory. Which sites and devices there are is not looked at.
    /// What is refused by itself is left out: the lines with their numbers and why.
    ///
    /// # Errors
    /// When the source cannot be read to its end.
    pub fn read(
        &mut self,
        source: impl Read,
        clock: &Clock,
    ) -> Result<Vec<(u64, Refusal)>, ImportError> {
        let mut refused = Vec::new();
        lines::each(source, clock.clone(), |number, (_, given)| {
            let checked = given.and_then(|mut event| {
                check(&mut event.fact)?;
                Ok(event.fact)
            });
            match checked {
                Ok(fact) => self.take(fact),
                Err(refusal) => refused.push((number, refusal)),
            }
        })?;
        Ok(refused)
    }

    fn take(&mut self, fact: Fact) {
        match self.places.entry(Key::of(&fact)) {
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
#[derive(Debug, PartialEq, Eq, Hash)]
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

    fn reading(cpu: i64) -> String {
        let at = "2026-01-01T00:00:00Z";
        format!(
            "{{\"deviceMetrics\":{{\"deviceId\":\"d\",\"occurredAt\":\"{at}\",\"cpuPercent\":{cpu}}}}}\n"
        )
    }

    fn read(parsed: &mut Parsed, lines: &[String]) -> Vec<u64> {
        let source = std::io::Cursor::new(lines.concat());
        let refused = parsed.read(source, &Clock::system()).unwrap();
        refused.into_iter().map(|(number, _)| number).collect()
    }

    #[test]
    fn each_fact_is_there_once_and_what_is_refused_is_told() {
        let mut parsed = Parsed::default();
        let lines = [
            reading(1),
            reading(1),
            reading(2),
            reading(900),
            "?\n".to_owned(),
        ];
        assert_eq!(read(&mut parsed, &lines), [4, 5]);
        assert_eq!(parsed.facts.len(), 1);
        assert_eq!((parsed.duplicates, parsed.conflicts), (1, 1));
    }

    #[test]
    fn a_fact_of_two_sources_is_there_once() {
        let mut parsed = Parsed::default();
        let error = "{\"errorLog\":{\"occurredAt\":\"2026-01-01T00:00:00Z\",\"category\":\"SYSTEM\",\
            \"severity\":\"INFO\",\"errorMessage\":\"m\"}}\n";
        let lines = [reading(1), error.to_owned(), error.to_owned()];
        for _ in 0..2 {
            assert_eq!(read(&mut parsed, &lines), [0_u64; 0]);
            // equal lines of one source are events of their own
            assert_eq!(parsed.facts.len(), 3);
        }
        assert_eq!((parsed.duplicates, parsed.conflicts), (3, 0));
    }
}
