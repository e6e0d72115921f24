//! The models of failures that were trained, with what is told of each.

use std::sync::Arc;

use entity::insight_models;
use futures_util::future::BoxFuture;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, Select};
use serde::de::DeserializeOwned;

use super::Held;
use crate::event::{Instant, Provenance};
use crate::insights::fleet::VERSION;
use crate::insights::risk::model::Model;
use crate::insights::risk::succession::Report;
use crate::store::{Doing, Store, StoreError};

/// A model that was trained.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRead {
    /// The midnight (UTC) until which it knows.
    pub day: Instant,
    /// When it was trained.
    pub trained_at: Instant,
    /// Whether it took the place of the one before it.
    pub is_accepted: bool,
    /// The model.
    pub model: Model,
    /// The one that stands for it in trials.
    pub tried: Option<Model>,
    /// What is told of its training.
    pub report: Report,
}

/// Which model of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The one that was in force.
    InForce,
    /// The one that was trained last, whether it took the place of another or not.
    Newest,
}

impl Held {
    /// The model of a fleet that was in force at an instant, and the one that was trained last by then; `None` where
    /// there was none.
    ///
    /// # Errors
    /// When the table cannot be read.
    #[must_use]
    pub fn trained(
        &self,
        provenance: Provenance,
        as_of: Instant,
    ) -> BoxFuture<'_, Result<[Option<Arc<ModelRead>>; 2], StoreError>> {
        Box::pin(async move {
            let in_force = model(&self.store, provenance, (Which::InForce, as_of)).await?;
            let newest = model(&self.store, provenance, (Which::Newest, as_of)).await?;
            Ok([in_force, newest].map(|found| found.map(Arc::new)))
        })
    }
}

/// The rows of models of a fleet until an instant, the newest first.
pub(super) fn rows(
    provenance: Provenance,
    (which, as_of): (Which, Instant),
) -> Select<insight_models::Entity> {
    let query = insight_models::Entity::find()
        .filter(insight_models::Column::Provenance.eq(provenance.code()))
        .filter(insight_models::Column::Version.eq(VERSION))
        .filter(insight_models::Column::Day.lte(as_of.0))
        .order_by_desc(insight_models::Column::Day);
    match which {
        Which::InForce => query.filter(insight_models::Column::IsAccepted.eq(1)),
        Which::Newest => query,
    }
}

/// A model of a fleet as of an instant. What was not written by this version counts as absent.
pub(crate) fn model(
    store: &Store,
    provenance: Provenance,
    asked: (Which, Instant),
) -> BoxFuture<'_, Result<Option<ModelRead>, StoreError>> {
    Box::pin(async move {
        let store = store.of_primary();
        let row = rows(provenance, asked).one(store.readers()).await;
        let row = row.doing("read a model")?;
        row.as_ref().map(read).transpose()
    })
}

fn read(row: &insight_models::Model) -> Result<ModelRead, StoreError> {
    let tried = row.tried.as_deref().map(|bytes| decoded(bytes, "tried"));
    let report = serde_json::from_str(&row.report).map_err(|_| malformed("report"))?;
    Ok(ModelRead {
        day: Instant(row.day),
        trained_at: Instant(row.trained_at),
        is_accepted: row.is_accepted == 1,
        model: decoded(&row.model, "model")?,
        tried: tried.transpose()?,
        report,
    })
}

fn decoded<T: DeserializeOwned>(bytes: &[u8], column: &'static str) -> Result<T, StoreError> {
    postcard::from_bytes(bytes).map_err(|_| malformed(column))
}

const fn malformed(column: &'static str) -> StoreError {
    let table = "insight_models";
    StoreError::Row { table, column }
}
