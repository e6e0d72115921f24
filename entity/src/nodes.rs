//! `nodes`: the servers that share a database of PostgreSQL.

use sea_orm::entity::prelude::*;

/// A server. Its instants are those of the clock of the database.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "nodes")]
pub struct Model {
    /// Given when it started.
    #[sea_orm(primary_key, auto_increment = false)]
    pub node_id: String,
    /// What people call it.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Version of its program.
    pub version: String,
    /// When it joined.
    pub started_at: i64,
    /// Until when it is taken for alive, unless it says so again.
    pub alive_until: i64,
    /// The names of the works that it can do, with blanks between them.
    pub able: String,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
