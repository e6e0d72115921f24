//! What groups of answers are told apart by.

use async_graphql::{Context, Error, Object};

use super::api;
use super::fleet::{Device, Site};
use super::order::InOrder;
use super::series_words::Dimension;
use crate::analytics::question::{GroupKey, Part};

/// What a group is told apart by.
#[derive(Debug)]
pub(super) struct SeriesKey {
    dimension: Dimension,
    part: Part,
}

/// What a group is told apart by.
#[Object]
impl SeriesKey {
    /// What it is.
    async fn dimension(&self) -> Dimension {
        self.dimension
    }

    /// Which one: a label, or the id of a site or a device; null for what has none.
    async fn value(&self, ctx: &Context<'_>) -> Option<String> {
        self.shown(ctx)
    }

    /// The site, if it is one.
    async fn site(&self, ctx: &Context<'_>) -> Result<Option<Site>, Error> {
        match self.part {
            Part::Key(key) if self.dimension == Dimension::SITE => Site::load(ctx, key).await,
            Part::Key(_) | Part::Text(_) | Part::None | Part::Others => Ok(None),
        }
    }

    /// The device, if it is one.
    async fn device(&self, ctx: &Context<'_>) -> Result<Option<Device>, Error> {
        match self.part {
            Part::Key(key) if self.dimension != Dimension::SITE => Device::load(ctx, key).await,
            Part::Key(_) | Part::Text(_) | Part::None | Part::Others => Ok(None),
        }
    }
}

impl SeriesKey {
    /// The keys of a group, in the order in which its dimensions were asked for.
    pub(super) fn of(dimensions: &[Dimension], key: &GroupKey) -> Vec<InOrder<Self>> {
        let parts = dimensions.iter().zip(&key.parts);
        let key = |(dimension, part): (&Dimension, &Part)| Self {
            dimension: *dimension,
            part: part.clone(),
        };
        parts.map(key).map(InOrder).collect()
    }

    fn shown(&self, ctx: &Context<'_>) -> Option<String> {
        match &self.part {
            Part::Key(key) => api(ctx).store().names().id(*key).map(|id| id.to_string()),
            Part::Text(text) => Some(text.clone()),
            Part::None | Part::Others => None,
        }
    }
}
