//! A log as it is found: whoever may have to leave it alone looks at it before anything of it is changed, which
//! opening it does when it lacks migrations.

use sea_orm::ConnectionTrait;

use super::claim::{Claim, ClaimError};
use super::error::{Doing, StoreError};
use super::location::Location;
use super::migrations::{missing_migrations, table_names};
use super::open::{Connections, OpenError, connect};
use super::reset::is_marked;
use super::sql::Sql;

/// A log that is not open.
#[derive(Debug)]
pub struct Found {
    connections: Connections,
}

impl Found {
    /// Finds a log, or what may become one.
    ///
    /// # Errors
    /// When the database cannot be opened, is not ours, or was written by a newer version.
    pub async fn at(location: &Location) -> Result<Self, OpenError> {
        let connections = connect(location).await?;
        Ok(Self { connections })
    }

    /// Where it is, without a password.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.connections.address
    }

    /// How many migrations it lacks.
    ///
    /// # Errors
    /// When that cannot be read.
    pub async fn missing(&self) -> Result<usize, OpenError> {
        let missing = missing_migrations(&self.connections).await?;
        Ok(missing.len())
    }

    /// Whether it has events, and is not marked as one that may be thrown away.
    ///
    /// # Errors
    /// When that cannot be read.
    pub async fn is_kept(&self) -> Result<bool, StoreError> {
        let db = &self.connections.writer;
        let doing = "look whose log it is";
        let tables = table_names(db).await.doing(doing)?;
        if !tables.iter().any(|table| table == "log_head") {
            return Ok(false);
        }
        let sql = Sql::new("SELECT position FROM log_head WHERE position > 0");
        let row = db.query_one_raw(sql.statement(db.get_database_backend()));
        let has_events = row.await.doing(doing)?.is_some();
        Ok(has_events && !is_marked(db).await?)
    }

    /// Claims what only one process at a time may do with it, as [`Store::claim`] does.
    ///
    /// # Errors
    /// When another process has claimed it, or that cannot be found out.
    ///
    /// [`Store::claim`]: super::Store::claim
    pub async fn claim(&self, what: &'static str) -> Result<Claim, ClaimError> {
        self.connections.claim(what).await
    }

    /// Lets go of it; what was claimed stays so.
    pub async fn close(self) {
        self.connections.close().await;
    }
}
