//! What came last and is not summed up yet: it is added to what is, so that an answer is never behind.

use std::collections::BTreeSet;

use super::read::{QUARTER, ReadError, Reader, TAIL_MAX};
use crate::projections::rollups::counters::{Latest, STEP_BYTES, Source, grown};
use crate::projections::rollups::gather::{Growth, appended, devices, key_of};
use crate::projections::rollups::places::Places;
use crate::projections::rollups::tables::Key;
use crate::rollups::shape::Reading;
use crate::store::StoreError;

/// What is not summed up yet.
#[derive(Default)]
pub(super) struct Unfolded {
    pub(super) readings: Vec<Reading>,
    growth: Growth,
    pub(super) places: Places,
}

impl Reader<'_> {
    /// What is not summed up yet; if that is too much, the answer is of what is.
    pub(super) async fn tail(
        &mut self,
        checkpoint: i64,
        head: i64,
    ) -> Result<Unfolded, StoreError> {
        if head - checkpoint > TAIL_MAX {
            self.upto = checkpoint;
            return Ok(Unfolded::default());
        }
        if head == checkpoint {
            return Ok(Unfolded::default());
        }
        let shape = &self.question.shape;
        let readings = appended(self.tx, shape, (checkpoint, head), &mut self.lent).await?;
        let devices = devices(&readings);
        let places = Places::said(self.tx, &devices, head).await?;
        self.lent.take(places.weight_bytes())?;
        let mut growth = Growth::new();
        if self.question.wants_growth() {
            self.lent.take(readings.len() * STEP_BYTES)?;
            let mut latest = Latest::of(self.tx, shape, devices).await?;
            let of = (&places, &mut latest, Source::Log(head));
            let shape = self.whole().await?;
            growth = grown(self.tx, &shape, &readings, of).await?;
        }
        Ok(Unfolded {
            readings,
            growth,
            places,
        })
    }

    /// Has those quarters be read event by event of which something is not summed up yet and a part is not
    /// asked for: by how much a counter grew is known of a whole quarter.
    pub(super) fn mark(&mut self, tail: &Unfolded) {
        if !self.question.wants_growth() {
            return;
        }
        let shape = &self.question.shape;
        let readings = tail.readings.iter();
        let keys = readings.map(|reading| key_of(shape, reading, &tail.places));
        let keys: BTreeSet<Key> = keys.chain(tail.growth.keys().cloned()).collect();
        for key in keys {
            let quarter = (key.bucket, key.bucket + QUARTER - 1);
            let is_cut = self.question.bucket_of_span(quarter).is_none();
            if is_cut && !self.question.is_beyond(quarter) {
                let owner = self.owner_of(&key);
                let raw = self.raw.entry(key.bucket).or_default();
                raw.add_owner(key.bucket, owner);
            }
        }
    }

    /// Adds what is not summed up yet.
    pub(super) fn unfolded(&mut self, tail: &Unfolded) -> Result<(), ReadError> {
        let shape = &self.question.shape;
        for reading in &tail.readings {
            let key = key_of(shape, reading, &tail.places);
            let Some(bucket) = self.question.bucket_of(reading.at) else {
                continue;
            };
            let is_asked = self.provenances.contains(&reading.provenance) && self.has(&key);
            if is_asked && !self.is_raw(&key, reading.at) {
                self.add_reading(&key, bucket, reading)?;
            }
        }
        self.grow(&tail.growth)
    }

    /// Adds what counters grew by.
    fn grow(&mut self, growth: &Growth) -> Result<(), ReadError> {
        for (key, growth) in growth {
            // a quarter that is cut is read event by event
            let quarter = (key.bucket, key.bucket + QUARTER - 1);
            let Some(bucket) = self.question.bucket_of_span(quarter) else {
                continue;
            };
            let is_asked = self.provenances.contains(&key.provenance) && self.has(key);
            if !is_asked || self.is_raw(key, key.bucket) {
                continue;
            }
            for (measure, more) in growth {
                self.grow_by(key, bucket, (*measure, *more))?;
            }
        }
        Ok(())
    }
}
