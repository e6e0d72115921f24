//! What a change of the configuration did to its device.

use std::sync::Arc;

use async_graphql::{Context, Error, ID, Object};
use entity::configuration_history::Column;
use futures_util::future::{BoxFuture, try_join_all};
use tokio::task::spawn_blocking;

use super::ask::{ask, device};
use super::effects::{Changed, ConfigurationImpact, reading};
use super::ranked::among;
use super::reads;
use super::shape::Reading;
use crate::event::{Event, Instant, Provenance};
use crate::graphql::error::{ErrorCode, bad_input, error, internal};
use crate::graphql::ids::{self, Named};
use crate::graphql::loaders::EventKey;
use crate::graphql::scalars::DateTime;
use crate::graphql::words::{Provenances, Shown};
use crate::graphql::{access, api, loaders, of_failed};
use crate::held::{Ask, DeviceRead, Unchanged};
use crate::history::changes::last_change;
use crate::history::states::first_error;
use crate::insights::impact::change::{
    INCIDENT, Impact, Peers, Subject, compared, configuration_impact,
};
use crate::insights::input::{ConfigSeen, DAY, State, StateSeen};
use crate::kinds::Kind;
use crate::store::Columns;

/// When what a change did is known, at the latest: nothing later is read.
const KNOWN_AFTER: i64 = 15 * DAY;
/// Devices at most that are read to compare one with them; those that were changed too are not among them.
const PEERS_MAX: usize = 40;

/// The change that an event tells of; none if it is of no device.
fn changed(event: &Event) -> Option<Changed> {
    let parameter = event.fact.cell(Column::ParameterName).text();
    Some(Changed {
        key: event.fact.cell(Column::DeviceKey).int()?,
        id: ids::of_event(event),
        parameter: parameter.unwrap_or_default().to_owned(),
        at: event.fact.occurred_at,
    })
}

/// The change of an id, if it happened within reach, and its device is within reach now: it may have moved, and what is
/// told is of where it is.
fn by_id<'a>(
    ctx: &'a Context<'a>,
    id: &'a ID,
    as_of: Instant,
) -> BoxFuture<'a, Result<Changed, Error>> {
    Box::pin(async move {
        let none = || error(ErrorCode::NotFound, "there is no such change of a device");
        let Some(named) = ids::read(id) else {
            return Err(bad_input("changeId is not an id of this API"));
        };
        let Named::Event(Kind::ConfigurationChange, place) = named else {
            return Err(none());
        };
        let columns = Columns::SMALL.with_subject(Kind::ConfigurationChange.spec());
        let key = EventKey(Kind::ConfigurationChange, place, columns);
        let event = loaders(ctx).events.load(key).await;
        let event = event.map_err(|error| of_failed(api(ctx), &error))?;
        let names = api(ctx).store().names();
        let seen = event.filter(|event| access::sees(access::caller(ctx), names, event));
        let seen = seen.filter(|event| event.fact.occurred_at <= as_of);
        let changed = seen.and_then(|event| changed(&event));
        let within = access::within(ctx).await?;
        let reached = changed.filter(|changed| within.reaches_device(names, changed.key));
        reached.ok_or_else(none)
    })
}

/// The last change of a device, of one parameter or of any.
pub(in crate::graphql) fn last<'a>(
    ctx: &'a Context<'a>,
    (key, parameter): (i64, Option<String>),
    as_of: Instant,
) -> BoxFuture<'a, Result<Option<Changed>, Error>> {
    Box::pin(async move {
        let (store, allowance) = (api(ctx).store(), loaders(ctx).allowance());
        let of = (key, parameter.as_deref());
        let event = last_change(store, of, as_of, allowance).await;
        let event = event.map_err(|error| of_failed(api(ctx), &error))?;
        Ok(event.and_then(|event| changed(&event)))
    })
}

/// Devices, by what is read of them.
type Read = Vec<Arc<DeviceRead>>;

/// Those of some devices that have not had the change of one that was changed, and of which anything was measured in the
/// provenance of that one.
fn others<'a>(
    ctx: &'a Context<'a>,
    keys: Vec<i64>,
    (change, of): (&'a ConfigSeen, &'a DeviceRead),
    ask: Ask,
) -> BoxFuture<'a, Result<Read, Error>> {
    Box::pin(async move {
        let keys: Vec<i64> = keys.into_iter().filter(|key| *key != of.key).collect();
        let asked = Unchanged {
            parameter: &change.parameter,
            time: compared(change, subject(of), of.as_of),
            provenance: of.provenance,
            max: PEERS_MAX,
        };
        let keys = api(ctx).held.unchanged(&keys, &asked).await;
        let keys = keys.map_err(|error| of_failed(api(ctx), &error))?;
        let ask = Ask {
            provenance: Some(of.provenance),
            ..ask
        };
        let read = keys.into_iter().map(|key| reads::device(ctx, key, ask));
        let read = try_join_all(read).await?.into_iter().flatten();
        let is_measured = |read: &Arc<DeviceRead>| read.state.levels.measures().next().is_some();
        Ok(read.filter(is_measured).collect())
    })
}

/// Those with which a device is compared: of its site, or of the whole reach when none of the site will do.
fn peers<'a>(
    ctx: &'a Context<'a>,
    (change, read): (&'a ConfigSeen, &'a DeviceRead),
    ask: Ask,
) -> BoxFuture<'a, Result<(Read, Read), Error>> {
    Box::pin(async move {
        let within = access::within(ctx).await?;
        let at_site = reads::at_site(ctx, read.site_key).await?;
        let at_site = at_site.iter().copied();
        let seen = at_site.filter(|key| within.has_device(*key, Some(read.site_key)));
        let site = others(ctx, seen.collect(), (change, read), ask).await?;
        if !site.is_empty() {
            return Ok((site, Vec::new()));
        }
        let all = among(ctx, None).await?.keys;
        Ok((site, others(ctx, all, (change, read), ask).await?))
    })
}

/// A device; of its states nothing is said.
fn subject(read: &DeviceRead) -> Subject<'_> {
    Subject {
        zone: read.zone,
        state: &read.state.levels,
        changes: &read.configs,
        states: &[],
    }
}

/// The first error that a device reported within a day before it was changed, as the state that it took.
fn incident<'a>(
    ctx: &'a Context<'a>,
    change: &'a Changed,
    provenance: Provenance,
) -> BoxFuture<'a, Result<Option<StateSeen>, Error>> {
    Box::pin(async move {
        let store = api(ctx).store();
        let from = Instant(change.at.0.saturating_sub(INCIDENT));
        let at = first_error(store, (change.key, provenance), (from, change.at)).await;
        let at = at.map_err(|error| of_failed(api(ctx), &error))?;
        let to = State::Error;
        Ok(at.map(|at| StateSeen { at, to }))
    })
}

fn judge(
    change: &ConfigSeen,
    (read, states): (&DeviceRead, &[StateSeen]),
    (site, fleet): &(Read, Read),
) -> Impact {
    let site: Vec<Subject<'_>> = site.iter().map(|read| subject(read)).collect();
    let fleet: Vec<Subject<'_>> = fleet.iter().map(|read| subject(read)).collect();
    let peers = Peers {
        site: &site,
        fleet: &fleet,
    };
    let device = Subject {
        states,
        ..subject(read)
    };
    configuration_impact(change, device, peers, read.as_of)
}

/// What a change did.
pub(in crate::graphql) fn of<'a>(
    ctx: &'a Context<'a>,
    change: Changed,
    asked: Ask,
) -> BoxFuture<'a, Result<Option<Reading<ConfigurationImpact>>, Error>> {
    Box::pin(async move {
        let known_at = Instant(change.at.0.saturating_add(KNOWN_AFTER));
        let ask = Ask {
            as_of: asked.as_of.min(known_at),
            ..asked
        };
        let Some(read) = reads::device(ctx, change.key, ask).await? else {
            return Ok(None);
        };
        let seen = ConfigSeen {
            at: change.at,
            parameter: change.parameter.clone(),
        };
        let peers = peers(ctx, (&seen, &*read), ask).await?;
        let incident = incident(ctx, &change, read.provenance).await?;
        let provenance = read.provenance;
        let judge = move || judge(&seen, (&*read, incident.as_slice()), &peers);
        let judged = spawn_blocking(judge).await;
        let impact = judged.map_err(|failed| {
            let now = loaders(ctx).now();
            internal(&api(ctx).background, now, ("SYSTEM", &failed.to_string()))
        })?;
        Ok(Some(reading(change, impact, (provenance, asked.as_of))))
    })
}

/// The queries of what changes did.
#[derive(Debug, Default)]
pub(in crate::graphql) struct ImpactQueries;

#[Object]
impl ImpactQueries {
    /// What a change of the configuration of a device did: the change of an id, or the last one of a device. Null when
    /// the device was never changed.
    ///
    /// Up to 28 days before the change are compared with up to 14 days after it, so that it is final 15 days after the
    /// change; until there are 3 full days after it, it is INSUFFICIENT and says when a first reading is possible.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn configuration_impact(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The change: id of an event of `configurationHistory`.")]
        change_id: Option<ID>,
        #[graphql(desc = "The device, whose last change is meant; in place of `changeId`.")]
        device_id: Option<ID>,
        #[graphql(
            desc = "The parameter of the device, whose last change is meant; any when left out."
        )]
        parameter_name: Option<String>,
        #[graphql(desc = "As of when: nothing that happened later is read; now when left out.")]
        as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which events; left out, REAL if there are any of the device, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<Reading<ConfigurationImpact>>, Error> {
        let ask = ask(ctx, as_of, provenance).await?;
        let change = match (change_id, device_id) {
            (Some(id), None) if parameter_name.is_none() => Some(by_id(ctx, &id, ask.as_of).await?),
            (None, Some(device_id)) => {
                let key = device(ctx, &device_id).await?;
                last(ctx, (key, parameter_name), ask.as_of).await?
            }
            (_, _) => {
                return Err(bad_input(
                    "either changeId is given, or deviceId, and with that parameterName if one is meant",
                ));
            }
        };
        match change {
            Some(change) => of(ctx, change, ask).await,
            None => Ok(None),
        }
    }
}
