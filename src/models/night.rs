//! A night of a fleet: its devices are summed up as of midnight, examples are taken of the days before, and it is learned
//! from them.
//!
//! The night is done when the sums are written, which is last, together with the model. What is broken off before that
//! goes on with the first day of which no examples are kept.

use futures_util::future::BoxFuture;

use super::examples::{self, Taken};
use super::failures::{failures, is_outdated};
use super::sample::{self, Device};
use super::written::{Sums, forget_fleets, put_model, put_sums};
use super::{pruning, training};
use crate::event::{Instant, Provenance};
use crate::held::fleet::summed;
use crate::held::models::{Which, model};
use crate::held::walk::{Stood, Walk};
use crate::held::{Ask, Held};
use crate::insights::fleet::{FleetState, Summing, is_kept};
use crate::insights::input::DAY;
use crate::insights::risk::fleet::Fleet;
use crate::insights::risk::learning::{EXAMPLE_EVERY, example};
use crate::store::{Store, StoreError};

/// Devices of which the states are in memory at once when a fleet is summed up.
const DEVICES_AT_ONCE: usize = 100;
/// Days, and examples, that are written at once.
const DAYS_AT_ONCE: usize = 32;
const EXAMPLES_AT_ONCE: usize = 2_000;
/// By how much what is known of devices may begin before their first examples.
const BEGINS_BEFORE: i64 = 7 * DAY;

/// A night of a fleet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Night<'a> {
    pub(super) store: &'a Store,
    pub(super) held: &'a Held,
    pub(super) provenance: Provenance,
    pub(super) midnight: Instant,
}

/// The devices of which examples are taken.
#[derive(Debug)]
struct Sampled {
    keys: Vec<i64>,
    /// Whether they are all that there are.
    is_whole: bool,
    /// The first hour of which anything is known of one of them.
    begins: Option<Instant>,
}

impl<'a> Night<'a> {
    /// Does all of it.
    pub(super) fn run(self) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let devices = sample::devices(self.store, self.provenance).await?;
            let keys = sample::sampled(&devices);
            let mut sampled = Sampled {
                is_whole: keys.len() == devices.len(),
                keys,
                begins: None,
            };
            let fleet = self.sum_up(&devices, &mut sampled).await?;
            self.take_all(&sampled).await?;
            self.end(fleet).await
        })
    }

    /// Sums up all devices as they were at midnight, some at a time.
    async fn sum_up(
        &self,
        devices: &[Device],
        sampled: &mut Sampled,
    ) -> Result<FleetState, StoreError> {
        let mut summing = Summing::new(self.midnight);
        let ask = Ask {
            as_of: self.midnight,
            provenance: Some(self.provenance),
        };
        for some in devices.chunks(DEVICES_AT_ONCE) {
            let keys: Vec<i64> = some.iter().map(|device| device.key).collect();
            let reads = self.held.devices(&keys, ask).await?;
            for read in reads.into_iter().flatten() {
                summing.add((&read.device, read.site_key), &read.state);
                let first = read.state.risk.first;
                if first.is_some() && (sampled.is_whole || sampled.keys.contains(&read.key)) {
                    sampled.begins = sampled.begins.min(first).or(first);
                }
            }
        }
        Ok(summing.end())
    }

    /// Takes the examples of the days before midnight of which none are kept.
    async fn take_all(&self, sampled: &Sampled) -> Result<(), StoreError> {
        let Some(mut day) = self.first_day(sampled).await? else {
            return Ok(());
        };
        if day < self.midnight {
            let begin = (self.provenance, day);
            let (mut walk, mut stood) = self.held.walk(&sampled.keys, begin).await?;
            let mut days = Vec::new();
            let mut examples = 0;
            while day < self.midnight {
                let taken = self.take(day, (&mut walk, stood), sampled).await?;
                examples += taken.examples.len();
                days.push((day, taken));
                if days.len() >= DAYS_AT_ONCE || examples >= EXAMPLES_AT_ONCE {
                    examples::put(self.store, self.provenance, &days).await?;
                    days.clear();
                    examples = 0;
                }
                day.0 += DAY;
                stood = walk.to(day).await?;
            }
            examples::put(self.store, self.provenance, &days).await?;
        }
        let too_old = examples::too_old(self.store, self.provenance, self.midnight).await?;
        examples::forget(self.store, self.provenance, too_old).await
    }

    /// The first day of which examples are to be taken: the one after the last of which they are kept, or the first
    /// of which anything is known, if that has changed. Nothing where nothing is known.
    async fn first_day(&self, sampled: &Sampled) -> Result<Option<Instant>, StoreError> {
        let Some(begins) = sampled.begins else {
            return Ok(None);
        };
        let begins = Instant(begins.0.div_euclid(DAY) * DAY);
        let first = begins.max(examples::first_day(self.midnight, sampled.keys.len()));
        let Some((kept_from, kept_to)) = examples::span(self.store, self.provenance).await? else {
            return Ok(Some(first));
        };
        let is_longer = first.0 + BEGINS_BEFORE < kept_from.0;
        if !is_longer && !self.is_outdated(sampled).await? {
            return Ok(Some(Instant(kept_to.0 + DAY)));
        }
        tracing::info!(
            provenance = self.provenance.word(),
            "much came late: what was learned from the fleet is learned anew"
        );
        if sampled.is_whole {
            forget_fleets(self.store, self.provenance).await?;
        }
        let all = Instant(i64::MAX);
        examples::forget(self.store, self.provenance, all).await?;
        Ok(Some(first))
    }

    /// Whether much else is known now of the failures that were learned from.
    async fn is_outdated(&self, sampled: &Sampled) -> Result<bool, StoreError> {
        let which = (Which::Newest, self.midnight);
        let Some(newest) = model(self.store, self.provenance, which).await? else {
            return Ok(false);
        };
        let keys = sampled.keys.iter().copied().collect();
        let known = failures(self.store, &keys, (self.provenance, newest.day)).await?;
        Ok(is_outdated(newest.report.learned.failures, known.count()))
    }

    /// Takes the examples of a day.
    async fn take(
        &self,
        day: Instant,
        (walk, stood): (&mut Walk<'_>, Vec<Stood>),
        sampled: &Sampled,
    ) -> Result<Taken, StoreError> {
        let mut taken = Taken::default();
        let fleet = self.fleet_at(day, &stood, sampled).await?;
        taken.add(&stood, &fleet, day);
        let mut at = Instant(day.0 + EXAMPLE_EVERY);
        while at.0 < day.0 + DAY {
            taken.add(&walk.to(at).await?, &fleet, at);
            at.0 += EXAMPLE_EVERY;
        }
        Ok(taken)
    }

    /// The fleet as it was summed up at a midnight that is past, or as it comes to now.
    async fn fleet_at(
        &self,
        day: Instant,
        stood: &[Stood],
        sampled: &Sampled,
    ) -> Result<Fleet, StoreError> {
        if let Some(fleet) = summed(self.store, self.provenance, day).await? {
            return Ok(fleet.risk);
        }
        let mut summing = Summing::new(day);
        for stood in stood {
            summing.add((&stood.device, stood.site_key), &stood.state);
        }
        let fleet = summing.end();
        if sampled.is_whole && pruning::is_recent(day, self.midnight) {
            let sums = Sums::of((self.provenance, day), &fleet, self.store.clock().now())?;
            let put = self
                .store
                .transact(move |tx| Box::pin(async move { put_sums(tx, sums).await }));
            put.await?;
        }
        Ok(fleet.risk)
    }

    /// Learns from the examples if there is enough more, and writes what the night came to.
    async fn end(&self, fleet: FleetState) -> Result<(), StoreError> {
        let trained = training::train(self, &fleet.risk).await?;
        let now = self.store.clock().now();
        let sums = Sums::of((self.provenance, self.midnight), &fleet, now)?;
        let old = pruning::old(self.store, self.provenance, self.midnight).await?;
        if let Some(trained) = &trained {
            training::tell(self.provenance, trained);
        }
        let of = (self.provenance, self.midnight, now);
        let written = self.store.transact(move |tx| {
            Box::pin(async move {
                put_sums(tx, sums).await?;
                if let Some(trained) = trained {
                    put_model(tx, of, trained).await?;
                }
                pruning::remove(tx, of.0, old).await
            })
        });
        written.await
    }
}

impl Taken {
    /// Takes an example of each of some devices of which anything is kept, in the order in which they are.
    fn add(&mut self, stood: &[Stood], fleet: &Fleet, at: Instant) {
        for stood in stood.iter().filter(|stood| is_kept(&stood.state)) {
            let open = stood.open.open_facts();
            let taken = example(&stood.state.risk, &open, (&stood.device, fleet), at);
            if let Some(example) = taken {
                self.devices.insert(stood.key);
                self.examples.push(example);
            }
        }
    }
}
