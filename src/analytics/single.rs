//! Reads single events, where rollups are too coarse: each is added as it comes, so that none is held but for
//! what counters show, which is a few bytes each.

use std::collections::BTreeSet;

use super::cut::Cut;
use super::read::{EVENTS_MAX, ReadError, Reader, keys};
use crate::projections::rollups::gather::{
    Single, Who, devices as devices_of, each_recorded, key_of,
};
use crate::projections::rollups::places::Places;
use crate::projections::rollups::shows::Shows;
use crate::projections::rollups::tables::Key;
use crate::rollups::shape::Reading;
use crate::store::{Lent, List, Sql, StoreError};

/// Events that are held until it is known where their devices stood: where that has to be read of more of them,
/// it is of all devices.
const FEW: usize = 2_000;

/// Why no more of single events is read.
enum Seen {
    /// One is as it is looked for, or there are too many.
    Enough,
    Failed(ReadError),
}

impl From<StoreError> for Seen {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl Reader<'_> {
    /// Adds single events of some time: all that is asked for, or what is cut of it.
    pub(super) async fn events(
        &mut self,
        (from, to): (i64, i64),
        cut: Option<&Cut>,
    ) -> Result<(), ReadError> {
        let scope = &self.question.scope;
        let is_of_all = cut.is_none() && scope.devices.is_none() && scope.sites.is_none();
        let devices = if is_of_all {
            None
        } else {
            Some(self.devices(cut.map(Cut::owners)).await?)
        };
        let (tx, question, upto) = (self.tx, self.question, self.upto);
        let (shape, wants_growth) = (&question.shape, question.wants_growth());
        let single = Single {
            who: devices.as_deref(),
            time: (from, to),
            upto,
            max: EVENTS_MAX.saturating_sub(self.events),
        };
        let (mut shows, mut lent) = (Shows::default(), self.allowance.lend());
        let few = self.few(single, &mut lent).await?;
        let of = (few.as_deref(), single.who);
        let places = self.places(of, &mut lent).await?;
        let mut add = |reading: Reading| {
            self.count()?;
            if wants_growth {
                let shown = shows.add(shape, &reading);
                lent.take(shown * Shows::BYTES)?;
            }
            let key = key_of(shape, &reading, &places);
            if let Some(bucket) = self.asked((&key, cut), reading.at) {
                self.add_reading(&key, bucket, &reading)?;
            }
            Ok::<_, ReadError>(())
        };
        match few {
            Some(readings) => readings.into_iter().try_for_each(&mut add)?,
            None => settled(each_recorded(tx, shape, single, add).await?)?,
        }
        if !wants_growth {
            return Ok(());
        }
        let shape = self.whole().await?;
        let beside = shows.beside(tx, &shape, ((from, to), upto)).await?;
        shows.grown(&shape, (&places, beside), |(at, key, more)| {
            match self.asked((&key, cut), at) {
                Some(bucket) => self.grow_by(&key, bucket, more),
                None => Ok(()),
            }
        })
    }

    /// All of the events, if they are few.
    async fn few(
        &self,
        single: Single<'_>,
        lent: &mut Lent<'_>,
    ) -> Result<Option<Vec<Reading>>, ReadError> {
        let mut few = Vec::new();
        let each = |reading: Reading| {
            if few.len() == FEW {
                return Err(Seen::Enough);
            }
            lent.take(reading.weight_bytes())?;
            few.push(reading);
            Ok(())
        };
        let single = Single {
            max: single.max.min(FEW),
            ..single
        };
        match each_recorded(self.tx, &self.question.shape, single, each).await {
            Err(Seen::Enough) => Ok(None),
            Err(Seen::Failed(failed)) => Err(failed),
            Ok(is_settled) => settled(is_settled).map(|()| Some(few)),
        }
    }

    /// Where the devices of a few events stood, or else those of which there may be any.
    async fn places(
        &self,
        (few, who): (Option<&[Reading]>, Who<'_>),
        lent: &mut Lent<'_>,
    ) -> Result<Places, StoreError> {
        let devices = match (few, who) {
            (Some(few), _) => devices_of(few),
            (None, Some(keys)) => keys.iter().copied().collect(),
            (None, None) => self.devices(None).await?.into_iter().collect(),
        };
        let places = Places::said(self.tx, &devices, self.upto).await?;
        lent.take(places.weight_bytes())?;
        Ok(places)
    }

    /// Counts an event.
    fn count(&mut self) -> Result<(), ReadError> {
        self.events += 1;
        if self.events > EVENTS_MAX {
            return Err(ReadError::Events { max: EVENTS_MAX });
        }
        Ok(())
    }

    /// The bucket of what happened at an instant, if it is asked for. A device may have moved to where all is
    /// known.
    fn asked(&self, (key, cut): (&Key, Option<&Cut>), at: i64) -> Option<usize> {
        let is_cut = |cut: &Cut| cut.has(&self.unit(key, self.least(at)));
        let is_asked =
            self.provenances.contains(&key.provenance) && self.has(key) && cut.is_none_or(is_cut);
        self.question.bucket_of(at).filter(|_| is_asked)
    }

    /// Whether there is an event of a provenance within some time.
    pub(super) async fn is_recorded(
        &self,
        provenance: i64,
        time: (i64, i64),
    ) -> Result<bool, ReadError> {
        let (shape, devices) = (&self.question.shape, self.devices(None).await?);
        let single = Single {
            who: Some(&devices),
            time,
            upto: self.upto,
            max: EVENTS_MAX,
        };
        let mut lent = self.allowance.lend();
        let few = self.few(single, &mut lent).await?;
        let of = (few.as_deref(), single.who);
        let places = self.places(of, &mut lent).await?;
        let is_one = |reading: &Reading| {
            reading.provenance == provenance && self.has(&key_of(shape, reading, &places))
        };
        if let Some(few) = few {
            return Ok(few.iter().any(is_one));
        }
        let mut events = 0;
        let each = |reading: Reading| {
            events += 1;
            if is_one(&reading) {
                return Err(Seen::Enough);
            }
            if events > EVENTS_MAX {
                return Err(Seen::Failed(ReadError::Events { max: EVENTS_MAX }));
            }
            Ok(())
        };
        match each_recorded(self.tx, shape, single, each).await {
            Err(Seen::Enough) => Ok(true),
            Err(Seen::Failed(failed)) => Err(failed),
            Ok(is_settled) => settled(is_settled).map(|()| false),
        }
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

/// Refuses what is not all of one state of the log.
fn settled(is_settled: bool) -> Result<(), ReadError> {
    if is_settled {
        return Ok(());
    }
    Err(StoreError::SegmentsMoved.into())
}
