//! The open alerts of devices and of sites, read for all parents at once.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::registry::{MetaField, Registry};
use async_graphql::{Context, Error, OutputType, ServerResult, Value};
use dataloader::BatchFn;

use super::alerts::Alert;
use super::listed::at_most;
use super::loaders::{Loaded, Reads};
use super::meta::{field_with, input};
use super::order::InOrder;
use super::{access, api, loaders, of_failed};
use crate::history::alerts::{self, AlertRow, OpenAlerts, Parent};

/// Open alerts of a device or site when no number is given.
pub(super) const OPEN_DEFAULT: usize = 10;
/// Open alerts of a device or site at most.
pub(super) const OPEN_MAX: usize = 100;

/// Open alerts of a device or site: its key, and what is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct OpenAlertsKey(i64, Arc<OpenAlerts>);

impl BatchFn<OpenAlertsKey, Loaded<Vec<AlertRow>>> for Reads {
    async fn load(
        &mut self,
        keys: &[OpenAlertsKey],
    ) -> HashMap<OpenAlertsKey, Loaded<Vec<AlertRow>>> {
        let mut groups: HashMap<&Arc<OpenAlerts>, Vec<i64>> = HashMap::new();
        for OpenAlertsKey(parent, asked) in keys {
            groups.entry(asked).or_default().push(*parent);
        }
        let mut loaded = HashMap::with_capacity(keys.len());
        for (asked, parents) in groups {
            let read = alerts::open_of(&self.store, &parents, asked, &self.allowance).await;
            let mut read = read.map_err(Arc::new);
            for parent in parents {
                let rows = match &mut read {
                    Ok(rows) => Ok(rows.remove(&parent).unwrap_or_default()),
                    Err(error) => Err(Arc::clone(error)),
                };
                loaded.insert(OpenAlertsKey(parent, Arc::clone(asked)), rows);
            }
        }
        loaded
    }
}

/// `openAlerts` as a field of devices or of sites.
pub(super) fn field(registry: &mut Registry, parent: Parent) -> MetaField {
    let ty = <Option<Vec<InOrder<Alert>>> as OutputType>::create_type_info(registry);
    let description = match parent {
        Parent::Device => {
            "Its alerts that are not resolved, those first that were opened last. What is for all of \
             its site is at the site."
        }
        Parent::Site => {
            "Alerts for it or for something at it that are not resolved, those first that were opened last."
        }
    };
    let first = "Alerts at most; 10 when it is left out, 100 at most.";
    let arguments = vec![input("first", "Int", first)];
    field_with("openAlerts", &ty, description, arguments)
}

/// Resolves `openAlerts` of a device or site by its key.
pub(super) async fn resolve(ctx: &Context<'_>, parent: Parent, key: i64) -> ServerResult<Value> {
    let first = ctx.param_value::<Option<i32>>("first", None)?.1;
    let rows = rows(ctx, (parent, key), first).await;
    let rows = rows.map_err(|error| error.into_server_error(ctx.item.pos))?;
    let set = ctx.with_selection_set(&ctx.item.node.selection_set);
    OutputType::resolve(&rows, &set, ctx.item).await
}

async fn rows(
    ctx: &Context<'_>,
    (parent, key): (Parent, i64),
    first: Option<i32>,
) -> Result<Vec<InOrder<Alert>>, Error> {
    let limit = match first {
        None => OPEN_DEFAULT,
        Some(first) => at_most("first", first, OPEN_MAX)?,
    };
    let asked = Arc::new(OpenAlerts {
        parent,
        within: access::within(ctx).await?,
        limit: i64::try_from(limit).unwrap_or(i64::MAX),
    });
    let rows = loaders(ctx)
        .open_alerts
        .load(OpenAlertsKey(key, asked))
        .await;
    let rows = rows.map_err(|error| of_failed(api(ctx), &error))?;
    loaders(ctx).count(rows.len())?;
    let alerts = rows.into_iter().map(|row| Alert(Arc::new(row)));
    Ok(alerts.map(InOrder).collect())
}
