//! Of what an insight is that is told of a device as of several together.

use std::collections::BTreeMap;

use async_graphql::{Context, Error, ID};
use futures_util::future::{BoxFuture, try_join_all};

use super::ask;
use super::ranked::{among, count};
use super::reads;
use crate::event::Provenance;
use crate::graphql::error::{bad_input, too_much};
use crate::graphql::fleet::{Device, Site};
use crate::graphql::{access, api, of_failed};
use crate::held::{Ask, DeviceRead, FleetRead};

/// Devices at most that are read whole for one answer.
const DEVICES_MAX: usize = 10_000;
/// Devices that are read at once for a list over many, and then let go.
const AT_ONCE: usize = 200;

/// Of what an insight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::graphql) enum Of {
    /// A device, by its key.
    Device(i64),
    /// The devices in use at a site, by its key.
    Site(i64),
    /// The devices in use within reach.
    All,
}

impl Of {
    /// The device, if it is one.
    pub(in crate::graphql) fn device<'a>(
        self,
        ctx: &'a Context<'a>,
    ) -> BoxFuture<'a, Result<Option<Device>, Error>> {
        Box::pin(async move {
            match self {
                Self::Device(key) => Device::load(ctx, key).await,
                Self::Site(_) | Self::All => Ok(None),
            }
        })
    }

    /// The site, if it is the devices of one.
    pub(in crate::graphql) fn site<'a>(
        self,
        ctx: &'a Context<'a>,
    ) -> BoxFuture<'a, Result<Option<Site>, Error>> {
        Box::pin(async move {
            match self {
                Self::Site(key) => Site::load(ctx, key).await,
                Self::Device(_) | Self::All => Ok(None),
            }
        })
    }
}

/// Of what is asked: of a device, of a site, or of neither and so of all.
pub(in crate::graphql) fn of<'a>(
    ctx: &'a Context<'a>,
    device_id: Option<ID>,
    site_id: Option<ID>,
) -> BoxFuture<'a, Result<Of, Error>> {
    Box::pin(async move {
        match (device_id, site_id) {
            (Some(id), None) => Ok(Of::Device(ask::device(ctx, &id).await?)),
            (None, Some(id)) => Ok(Of::Site(ask::site(ctx, &id).await?)),
            (None, None) => Ok(Of::All),
            (Some(_), Some(_)) => Err(bad_input("deviceId and siteId are both given")),
        }
    })
}

/// What devices come to together, by where their events come from: these are never mixed.
#[derive(Debug)]
pub(in crate::graphql) struct ByProvenance<G> {
    sums: BTreeMap<Provenance, G>,
    /// Devices of which there are no events.
    without: usize,
}

impl<G> Default for ByProvenance<G> {
    fn default() -> Self {
        Self {
            sums: BTreeMap::new(),
            without: 0,
        }
    }
}

impl<G> ByProvenance<G> {
    /// The sum to which a device is added; none for one of which there are no events.
    pub(in crate::graphql) fn sum_of(
        &mut self,
        provenance: Option<Provenance>,
        empty: impl FnOnce() -> G,
    ) -> Option<&mut G> {
        self.without += usize::from(provenance.is_none());
        let sum = self.sums.entry(provenance?);
        Some(sum.or_insert_with(empty))
    }

    /// The sum of what is preferred of what there is, and of how many devices there are no events.
    pub(in crate::graphql) fn preferred(
        mut self,
        ctx: &Context<'_>,
    ) -> (Option<(Provenance, G)>, usize) {
        let mut order = api(ctx).preferred.order().into_iter();
        let first = order.find_map(|of| Some((of, self.sums.remove(&of)?)));
        (first, self.without)
    }
}

/// Refuses more devices than are read whole for one answer.
pub(in crate::graphql) fn not_too_many(devices: usize) -> Result<(), Error> {
    if devices > DEVICES_MAX {
        return Err(too_much(format!(
            "this is made of {devices} devices, of {DEVICES_MAX} at most; narrow it by `filter`"
        )));
    }
    Ok(())
}

/// Looks at devices, a few at a time so that they are not held all at once.
pub(in crate::graphql) fn each_of<'a>(
    ctx: &'a Context<'a>,
    (keys, ask): (Vec<i64>, Ask),
    mut look: impl FnMut(&DeviceRead, &FleetRead) + Send + 'a,
) -> BoxFuture<'a, Result<(), Error>> {
    Box::pin(async move {
        not_too_many(keys.len())?;
        count(ctx, keys.len(), 1)?;
        let api = api(ctx);
        for some in keys.chunks(AT_ONCE) {
            let read = api.held.devices(some, ask).await;
            let read = read.map_err(|error| of_failed(api, &error))?;
            for read in read.iter().flatten() {
                let fleet = reads::fleet(ctx, read.provenance, ask.as_of).await?;
                look(read, &fleet);
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    })
}

/// Looks at each of the devices, those of a site together with what else is asked of them.
pub(in crate::graphql) fn each<'a>(
    ctx: &'a Context<'a>,
    (of, asked): (Of, Ask),
    mut look: impl FnMut(&DeviceRead, &FleetRead) + Send + 'a,
) -> BoxFuture<'a, Result<(), Error>> {
    Box::pin(async move {
        let keys = match of {
            Of::Device(key) => vec![key],
            Of::Site(site) => {
                let within = access::within(ctx).await?;
                let keys = reads::at_site(ctx, site).await?;
                let keys = keys.iter().copied();
                keys.filter(|key| within.has_device(*key, Some(site)))
                    .collect()
            }
            Of::All => {
                let keys = among(ctx, None).await?.keys;
                return each_of(ctx, (keys, asked), look).await;
            }
        };
        let read = keys.into_iter().map(|key| reads::device(ctx, key, asked));
        for read in try_join_all(read).await?.into_iter().flatten() {
            let fleet = reads::fleet(ctx, read.provenance, asked.as_of).await?;
            look(&read, &fleet);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_devices_than_are_read_whole_are_refused() {
        assert!(not_too_many(DEVICES_MAX).is_ok());
        let refused = not_too_many(DEVICES_MAX + 1).unwrap_err();
        assert!(refused.message.contains("10001 devices"), "{refused:?}");
    }
}
