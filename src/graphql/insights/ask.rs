//! Of whom and of when an insight is asked.

use async_graphql::{Context, Error, ID};
use futures_util::future::BoxFuture;

use super::as_of::as_of;
use crate::event::Provenance;
use crate::graphql::access::{self, key_or_none};
use crate::graphql::api;
use crate::graphql::error::{ErrorCode, error};
use crate::graphql::scalars::DateTime;
use crate::graphql::words::{Provenances, Shown};
use crate::held::Ask;
use crate::insights::shape::Insight;
use crate::store::EntityType;

/// As of when something is asked, and of which events.
pub(in crate::graphql) fn ask<'a>(
    ctx: &'a Context<'a>,
    asked: Option<DateTime>,
    provenance: Option<Shown<Provenances>>,
) -> BoxFuture<'a, Result<Ask, Error>> {
    Box::pin(async move {
        let provenance = provenance.and_then(|word| Provenance::of_word(&word.word()));
        let as_of = as_of(ctx, asked).await?;
        Ok(Ask { as_of, provenance })
    })
}

/// The key of a device that the caller reaches; for others it is as if there were none.
pub(in crate::graphql) fn device<'a>(
    ctx: &'a Context<'a>,
    device_id: &'a ID,
) -> BoxFuture<'a, Result<i64, Error>> {
    Box::pin(async move {
        let key = key_or_none(ctx, EntityType::Device, device_id).await?;
        let within = access::within(ctx).await?;
        if key == access::NONE || !within.reaches_device(api(ctx).store().names(), key) {
            return Err(error(ErrorCode::NotFound, "there is no such device"));
        }
        Ok(key)
    })
}

/// The key of a site that the caller reaches; for others it is as if there were none.
pub(in crate::graphql) fn site<'a>(
    ctx: &'a Context<'a>,
    site_id: &'a ID,
) -> BoxFuture<'a, Result<i64, Error>> {
    Box::pin(async move {
        let key = key_or_none(ctx, EntityType::Site, site_id).await?;
        if key == access::NONE || !access::within(ctx).await?.has_site(key) {
            return Err(error(ErrorCode::NotFound, "there is no such site"));
        }
        Ok(key)
    })
}

/// Where the events of an insight come from, if it rests on any.
pub(in crate::graphql) fn source(insight: &Insight, provenance: Provenance) -> Option<Provenance> {
    let evidence = &insight.evidence;
    let is_of_any = evidence.events > 0 || evidence.from.is_some();
    is_of_any.then_some(provenance)
}
