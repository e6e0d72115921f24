//! `insight_models`: the models of failures that were trained.

use sea_orm::entity::prelude::*;

/// A model, trained on what was known at a midnight.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "insight_models")]
pub struct Model {
    /// 0 REAL, 1 CONTROLLED, 2 SIMULATED.
    #[sea_orm(primary_key, auto_increment = false)]
    pub provenance: i64,
    /// Of which form the model is.
    #[sea_orm(primary_key, auto_increment = false)]
    pub version: i64,
    /// The midnight: microseconds since 1970, UTC. The newest that was accepted is in force.
    #[sea_orm(primary_key, auto_increment = false)]
    pub day: i64,
    /// When it was trained: microseconds since 1970, UTC.
    pub trained_at: i64,
    /// 1 when it took the place of the one before it, 0 when that stayed in force.
    pub is_accepted: i64,
    /// The model.
    pub model: Vec<u8>,
    /// The one that stands for it in trials, if there is one.
    pub tried: Option<Vec<u8>>,
    /// What is told of the training, as JSON.
    pub report: String,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
