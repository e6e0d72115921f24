//! Streams of what insights say of devices when that changes: the log is followed, and the devices that were heard of are
//! judged in rounds.
//!
//! A stream remembers what it said last of each device that it has judged, and tells what is another now. Of one that it
//! has not judged yet it looks at what was to be said when the stream began. What changes and changes back within a round
//! is not told. A round that has changes is one item, so that its cursor says exactly what was told: the place in the log
//! up to which devices were heard of, and the instant as of which they were judged.

use std::collections::BTreeSet;
use std::mem::take;
use std::time::Duration;

use async_graphql::{Context, Error};
use futures_util::future::BoxFuture;

use super::ranked::filter_of;
use crate::event::{Instant, Position, Provenance};
use crate::graphql::access;
use crate::graphql::loaders::Loaders;
use crate::graphql::pages::DeviceFilterInput;
use crate::graphql::subscription::{SLICE_BYTES_MAX, resumed};
use crate::graphql::words::{Provenances, Shown};
use crate::graphql::{Api, api, cursor, loaders, of_failed, spending};
use crate::held::Ask;
use crate::history::device_keys::device_keys;
use crate::history::fleet::DeviceFilter;
use crate::identity::Caller;
use crate::kinds::Kind;
use crate::store::{Place, StoreError, Tail};
use crate::telemetry::chain;

/// What has devices judged.
const KINDS: &[Kind] = &[Kind::DeviceMetrics, Kind::DeviceStateChange, Kind::ErrorLog];
/// How long it is between two rounds at least.
const PAUSE: Duration = Duration::from_secs(2);
/// Rounds in a row at most that are put off.
const FAILURES_MAX: usize = 10;
/// Devices that are judged for one point of what a caller may spend.
const DEVICES_A_POINT: usize = 20;

/// The rounds of a stream.
pub(in crate::graphql) struct Rounds<'a> {
    pub(in crate::graphql) api: Api,
    caller: &'a Caller,
    loaders: &'a Loaders,
    filter: DeviceFilter,
    provenance: Option<Provenance>,
    tail: Tail,
    /// As of when what is not judged yet counts as told.
    base: Instant,
    /// Devices that are still to be judged, since that could not be done.
    put_off: Vec<i64>,
    /// How often in a row that was.
    failures: usize,
}

/// A round.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct Round {
    /// The devices that were heard of, by their keys.
    pub(in crate::graphql) keys: Vec<i64>,
    /// Of when they are judged.
    pub(in crate::graphql) ask: Ask,
    /// As of when what is not judged yet counts as told.
    pub(in crate::graphql) base: Ask,
    /// As `after`: what comes next.
    pub(in crate::graphql) cursor: String,
}

/// What is asked of a stream.
#[derive(Debug, Default)]
pub(in crate::graphql) struct Asked {
    pub(in crate::graphql) filter: Option<DeviceFilterInput>,
    pub(in crate::graphql) provenance: Option<Shown<Provenances>>,
    pub(in crate::graphql) after: Option<String>,
}

impl<'a> Rounds<'a> {
    /// Begins a stream after a cursor, or with what comes from now on.
    pub(in crate::graphql) fn begin<'c>(
        ctx: &'c Context<'a>,
        asked: Asked,
    ) -> BoxFuture<'c, Result<Self, Error>>
    where
        'a: 'c,
    {
        Box::pin(async move {
            let (api, loaders) = (api(ctx).clone(), loaders(ctx));
            let now = loaders.now();
            let (from, base) = match resumed(ctx, asked.after.as_deref()) {
                Some(text) => {
                    let from = cursor::read_to_follow(&api, text, Some(KINDS)).await?;
                    let place = cursor::read(api.store().identity(), text)?;
                    (from, place.occurred_at)
                }
                // what is committed is old, also when this node has not heard of it yet
                None => (crate::graphql::head(&api).await?, now),
            };
            let tail = api.store().tail(from, Some(KINDS));
            let provenance = asked.provenance;
            Ok(Self {
                caller: access::caller(ctx),
                loaders,
                filter: filter_of(ctx, asked.filter).await?,
                provenance: provenance.and_then(|word| Provenance::of_word(&word.word())),
                tail: tail.in_slices_of(SLICE_BYTES_MAX),
                // a cursor that is of no instant says nothing of what was told
                base: if base.0 > 0 { base.min(now) } else { now },
                put_off: Vec::new(),
                failures: 0,
                api,
            })
        })
    }

    /// Waits until devices are heard of.
    pub(in crate::graphql) fn next(&mut self) -> BoxFuture<'_, Result<Round, Error>> {
        Box::pin(async move {
            loop {
                let mut heard: BTreeSet<i64> = take(&mut self.put_off).into_iter().collect();
                if heard.is_empty() {
                    let new = self.heard().await;
                    heard = new.map_err(|error| of_failed(&self.api, &error))?;
                }
                // a device may have moved, or have become another
                let reach = &self.caller.reach;
                let within = access::of_reach(self.api.store(), reach).await;
                let within = within.map_err(|error| of_failed(&self.api, &error))?;
                let filter = DeviceFilter {
                    within,
                    ..self.filter.clone()
                };
                let among = device_keys(self.api.store(), &filter).await;
                let among = among.map_err(|error| of_failed(&self.api, &error))?;
                let keys: Vec<i64> = heard.intersection(&among).copied().collect();
                if !keys.is_empty() {
                    return Ok(self.round(keys).await);
                }
                self.pause().await;
            }
        })
    }

    /// The devices of a round were judged.
    pub(in crate::graphql) const fn judged(&mut self) {
        self.failures = 0;
    }

    /// The devices of a round could not be judged: that is done in the next one, unless it does not pass.
    pub(in crate::graphql) fn put_off(
        &mut self,
        round: Round,
        error: &StoreError,
    ) -> Result<(), Error> {
        self.failures += 1;
        if self.failures > FAILURES_MAX || !error.may_pass() {
            return Err(of_failed(&self.api, error));
        }
        tracing::debug!(error = %chain(error), "devices are judged in the next round");
        self.put_off = round.keys;
        Ok(())
    }

    /// Until the next round: what comes meanwhile is judged together.
    pub(in crate::graphql) async fn pause(&self) {
        tokio::time::sleep(PAUSE).await;
    }

    fn round(&self, keys: Vec<i64>) -> BoxFuture<'_, Round> {
        Box::pin(async move {
            let cost = i64::try_from(keys.len().div_ceil(DEVICES_A_POINT)).unwrap_or(i64::MAX);
            spending::pay(&self.api, self.caller, cost).await;
            self.loaders.begin();
            let ask = |as_of| Ask {
                as_of,
                provenance: self.provenance,
            };
            let now = self.loaders.now();
            let place = Place {
                position: self.tail.position(),
                occurred_at: now,
            };
            Round {
                keys,
                ask: ask(now),
                base: ask(self.base.min(now)),
                cursor: cursor::write(self.api.store().identity(), place),
            }
        })
    }

    /// The devices of which something has come, up to what is recorded by now.
    async fn heard(&mut self) -> Result<BTreeSet<i64>, StoreError> {
        let first = self.tail.next().await?;
        let mut heard: BTreeSet<i64> = first
            .iter()
            .filter_map(|event| event.fact.device_key())
            .collect();
        drop(first);
        let head: Position = self.api.store().head();
        while self.tail.position() < head {
            let more = self.tail.next_looked_at().await?;
            heard.extend(more.iter().filter_map(|event| event.fact.device_key()));
        }
        Ok(heard)
    }
}
