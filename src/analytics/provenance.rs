//! Which provenance is read when none was asked for: the first of which there is anything that is asked for, which
//! is the most real one, save on a demo. Nothing is ever read of two of them together that was not asked for so.

use std::collections::BTreeSet;

use super::read::{QUARTER, ReadError, Reader};
use super::unfolded::Unfolded;
use crate::event::Provenance;
use crate::projections::rollups::gather::key_of;
use crate::projections::rollups::tables::{DEVICE_QUARTERS, SITE_QUARTERS, all, row};
use crate::rollups::packed::span;

/// Which provenance is looked for first when none was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preferred {
    /// What is real: all else is a stand-in for it.
    #[default]
    Real,
    /// What is simulated, as on a demo: what people do there is real, and beside its fleet it is next to nothing.
    Simulated,
}

impl Preferred {
    /// All provenances, in the order in which they are looked for.
    #[must_use]
    pub const fn order(self) -> [Provenance; 3] {
        match self {
            Self::Real => Provenance::ALL,
            Self::Simulated => [
                Provenance::Simulated,
                Provenance::Real,
                Provenance::Controlled,
            ],
        }
    }
}

impl Reader<'_> {
    /// Answers of the provenances that are asked for, or else of what is preferred of what there is.
    pub(super) async fn preferred(&mut self, tail: &Unfolded) -> Result<(), ReadError> {
        let scope = &self.question.scope;
        if let Some(provenances) = &scope.provenances {
            self.provenances.clone_from(provenances);
        } else if scope.labels.iter().any(Option::is_some) {
            return self.labelled(tail).await;
        } else {
            self.choose(tail).await?;
        }
        self.answer(tail).await
    }

    /// Answers of the first provenance of which anything has the labels that are asked for: whether there is any
    /// the answer alone tells, since a label may be hidden by those that are not told apart.
    async fn labelled(&mut self, tail: &Unfolded) -> Result<(), ReadError> {
        let order = self.question.scope.preferred.order();
        for provenance in order.map(Provenance::code) {
            self.provenances = BTreeSet::from([provenance]);
            self.events = 0;
            self.answer(tail).await?;
            if !self.groups.rows.is_empty() {
                return Ok(());
            }
        }
        self.provenances.clear();
        Ok(())
    }

    /// Chooses what is read, whatever its labels.
    async fn choose(&mut self, tail: &Unfolded) -> Result<(), ReadError> {
        let order = self.question.scope.preferred.order();
        for provenance in order.map(Provenance::code) {
            let mut waiting = tail.readings.iter();
            let waits = waiting.any(|reading| {
                reading.provenance == provenance
                    && self.question.bucket_of(reading.at).is_some()
                    && self.has(&key_of(&self.question.shape, reading, &tail.places))
            });
            if waits || self.is_summed_up(provenance).await? {
                self.provenances.insert(provenance);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether anything of a provenance is summed up of the range that is asked for, to the instant.
    async fn is_summed_up(&self, provenance: i64) -> Result<bool, ReadError> {
        let (level, (from, to)) = (
            if self.of_sites {
                SITE_QUARTERS
            } else {
                DEVICE_QUARTERS
            },
            self.question.range,
        );
        let of = (level, &*self.owners);
        let whole = (level.bucket(from + QUARTER - 1), level.bucket(to));
        if whole.0 < whole.1 {
            let mut sql = self.select(of, (provenance, provenance), whole);
            sql.push(" LIMIT 1");
            if !all(self.tx, sql).await?.is_empty() {
                return Ok(true);
            }
        }
        let mut cut = vec![level.bucket(from), level.bucket(to)];
        cut.dedup();
        for quarter in cut {
            let within = (quarter.max(from), (quarter + QUARTER).min(to));
            let is_whole = within == (quarter, quarter + QUARTER);
            if is_whole || within.0 >= within.1 {
                continue;
            }
            let sql = self.select(of, (provenance, provenance), (quarter, quarter + 1));
            let mut is_cut = false;
            for found in all(self.tx, sql).await? {
                let (key, packed) = row(&found)?;
                let span = span(&packed, key.bucket).map_err(|_| level.malformed())?;
                if span.0 >= from && span.1 < to {
                    return Ok(true);
                }
                is_cut |= !self.question.is_beyond(span);
            }
            if is_cut && self.is_recorded(provenance, within).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
