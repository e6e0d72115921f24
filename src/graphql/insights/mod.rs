//! What the log says of the fleet, with its evidence: one part of the roots for each insight.
//!
//! All of them are told in one [`shape`]; what an insight says beside that is an object of its own.

mod as_of;
mod ask;
mod health;
mod model_report;
mod reads;
mod shape;

use async_graphql::MergedObject;

use super::order::CanFail;

pub(super) use reads::InsightLoaders;
pub(super) use shape::Interface;

/// The queries of insights.
#[derive(Debug, Default, MergedObject)]
pub struct Queries(
    CanFail<health::HealthQueries>,
    CanFail<model_report::ModelQueries>,
);
