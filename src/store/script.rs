//! Statements of a transaction that are run together where that is cheaper.
//!
//! An SQLite connection lives on a thread of its own, and the way to it and back takes longer than a
//! small statement does. So what writes a batch of one kind goes there as one text. A text is prepared
//! once and kept, so those of batches of several kinds, which hardly ever come again, go one by one.
//! PostgreSQL takes one prepared statement at a time.

use sea_orm::{ConnectionTrait, DbBackend};

use super::error::{Doing, StoreError};
use super::sql::Sql;

/// Values at most in one text.
const VALUES_MAX: usize = 32_000;

/// Statements that wait to be run.
pub(crate) struct Script<'c, C> {
    db: &'c C,
    joins: bool,
    waiting: Option<(Sql, &'static str)>,
}

impl<'c, C: ConnectionTrait> Script<'c, C> {
    /// An empty one; `alike` when its statements come in few forms.
    pub(crate) fn new(db: &'c C, alike: bool) -> Self {
        Self {
            db,
            joins: alike && db.get_database_backend() == DbBackend::Sqlite,
            waiting: None,
        }
    }

    /// Which database it is for.
    pub(crate) fn backend(&self) -> DbBackend {
        self.db.get_database_backend()
    }

    /// Adds a statement; those before it are run now or together with it.
    pub(crate) async fn add(&mut self, sql: Sql, doing: &'static str) -> Result<(), StoreError> {
        match &mut self.waiting {
            Some((waiting, _)) if self.joins && waiting.values() + sql.values() <= VALUES_MAX => {
                waiting.join(sql);
            }
            _ => {
                self.run().await?;
                self.waiting = Some((sql, doing));
            }
        }
        Ok(())
    }

    /// Runs what waits.
    pub(crate) async fn run(&mut self) -> Result<(), StoreError> {
        if let Some((sql, doing)) = self.waiting.take() {
            let statement = sql.statement(self.backend());
            self.db.execute_raw(statement).await.doing(doing)?;
        }
        Ok(())
    }
}
