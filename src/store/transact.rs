//! Transactions beside the appends, in turn with them where the database has one writer.

use futures_util::future::BoxFuture;
use sea_orm::{DatabaseTransaction, DbBackend};
use tokio::sync::oneshot;

use super::error::StoreError;
use super::writer::{Job, Lasting, Statements};
use super::{Store, commit};

impl Store {
    /// Runs statements in a transaction of their own, in turn with the appends where the database
    /// has one writer.
    ///
    /// # Errors
    /// What the statements fail with; nothing of them is kept then.
    pub(crate) async fn transact<F>(&self, statements: F) -> Result<(), StoreError>
    where
        F: for<'t> FnOnce(&'t DatabaseTransaction) -> BoxFuture<'t, Result<(), StoreError>>
            + Send
            + 'static,
    {
        self.run(Box::new(statements), Lasting::WithTheNextAppend)
            .await
    }

    /// The same, and it lasts whatever happens next, as an append does.
    ///
    /// # Errors
    /// What the statements fail with; nothing of them is kept then.
    pub(crate) async fn transact_durably<F>(&self, statements: F) -> Result<(), StoreError>
    where
        F: for<'t> FnOnce(&'t DatabaseTransaction) -> BoxFuture<'t, Result<(), StoreError>>
            + Send
            + 'static,
    {
        self.run(Box::new(statements), Lasting::AtOnce).await
    }

    async fn run(&self, statements: Statements, lasting: Lasting) -> Result<(), StoreError> {
        let statements: Statements = match self.fence.clone() {
            None => statements,
            Some(fence) => Box::new(move |tx| {
                Box::pin(async move {
                    fence.check(tx).await?;
                    statements(tx).await
                })
            }),
        };
        if self.backend() != DbBackend::Sqlite {
            return commit::transact(&self.shared.connections.writer, statements).await;
        }
        let (answer, answered) = oneshot::channel();
        let job = Job {
            statements,
            lasting,
            answer,
        };
        self.shared
            .jobs
            .send(job)
            .await
            .map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}
