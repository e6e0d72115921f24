//! `leases`: which server does what only one may do, where several share a database.

use sea_orm::entity::prelude::*;

/// What only one server does at a time.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "leases")]
pub struct Model {
    /// Its name.
    #[sea_orm(primary_key, auto_increment = false)]
    pub work: String,
    /// Who does it, as long as that server is alive.
    pub node_id: Option<String>,
    /// Raised each time that somebody takes it.
    pub token: i64,
    /// When it was taken, by the clock of the database.
    pub since: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
