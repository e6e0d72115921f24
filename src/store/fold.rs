//! State that is folded from events.

use std::collections::HashMap;

use futures_util::future::BoxFuture;
use prometheus_client::registry::Registry;
use sea_orm::DatabaseTransaction;

use super::error::StoreError;
use super::segments::Archive;
use crate::event::{Event, Fact, Instant, Position};
use crate::kinds::{Kind, Refusal};

/// A table, and its column with the instant from which on events are needed for each of its rows.
pub type Needed = (&'static str, &'static str);

/// What was deleted for good of the log.
#[derive(Clone, Copy, Debug)]
pub struct Deleted<'a> {
    /// From when on what happened is whole, of each kind of which something was.
    pub whole_since: &'a HashMap<Kind, Instant>,
    /// The schema of the tables in use, beside which there may be others of their names.
    pub schema: &'a str,
}

/// Folds events into tables of its own.
///
/// A fold may be applied inside the append transaction, so that it is never behind, or follow the
/// log with a checkpoint. Either way it sees each event once and in order of positions, and its
/// result must not depend on how the events are cut into batches.
pub trait Fold: Send + Sync + std::fmt::Debug {
    /// Name, for the checkpoint and for people.
    fn name(&self) -> &'static str;

    /// The kinds that it wants to see.
    fn kinds(&self) -> &'static [Kind];

    /// The tables that it fills, which a rebuild empties.
    fn tables(&self) -> &'static [&'static str];

    /// Whether whoever needs what is folded waits for this one too: the health check, the alerts, and who asks whether
    /// the server is ready. They need not for one of which whoever asks finds out how far it is. When that is far
    /// behind, since a newer version has brought it, the others do not wait for it either. Only asked of what follows
    /// the log.
    fn is_waited_for(&self) -> bool {
        true
    }

    /// Whether what its tables have was folded by another version of it: then they are emptied, and the whole log is
    /// folded anew. Only asked of what follows the log, when somebody begins to follow.
    fn is_of_another_version<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let _ = tx;
        Box::pin(std::future::ready(Ok(false)))
    }

    /// Tells it what was archived of the log that it folds, in which it may have to look.
    fn attach(&self, archive: &Archive) {
        let _ = archive;
    }

    /// Shows what it tells of itself.
    fn register(&self, registry: &mut Registry) {
        let _ = registry;
    }

    /// Tables in which there is something as long as something is put off: what an event means for what was
    /// folded long before it may be too much for one transaction. They are among those that it fills.
    fn puts_off(&self) -> &'static [&'static str] {
        &[]
    }

    /// Of tables in which there is what was put off, the columns with the instant from which on events are still
    /// needed for it: a day that one of them lies in, or that comes after it, is not deleted.
    fn needs(&self) -> &'static [Needed] {
        &[]
    }

    /// Reads what the next bounded part of what was put off is made of, once all events up to a position are
    /// folded, in a transaction that sees what was folded and writes nothing; `None` if nothing is put off. What
    /// comes of all parts is what would have come of it at once, whatever is folded between them.
    fn next_part<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        upto: Position,
    ) -> BoxFuture<'a, Result<Option<Box<dyn Part>>, StoreError>> {
        let _ = (tx, upto);
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Does the next part at once, in one transaction.
    fn go_on<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        upto: Position,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            match self.next_part(tx, upto).await? {
                Some(part) => part.put(tx).await,
                None => Ok(()),
            }
        })
    }

    /// Which rows of a table the log still folds to after events were deleted for good, as a condition on them that
    /// calls the table by its name; none do unless it is known better. The same rows are meant in the table in use
    /// and in the one beside it, so it is the tables in use that say what was deleted of them.
    fn untouched(&self, table: &str, deleted: Deleted<'_>) -> Option<String> {
        let _ = (table, deleted);
        None
    }

    /// Name of the thing that an event of those kinds changes, when it is also changed by those who
    /// expect a version: its version is raised with the event, whoever appends it. Only asked of
    /// what is folded inside the appends.
    fn changes(&self, fact: &Fact) -> Option<String> {
        let _ = fact;
        None
    }

    /// What keeps events of a batch out by what is folded, if any of them may be; whoever appends them. Only
    /// asked of what is folded inside the appends.
    fn guard<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        facts: &'a [&'a Fact],
    ) -> BoxFuture<'a, Result<Option<Box<dyn Guard>>, StoreError>> {
        let _ = (tx, facts);
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Folds events of those kinds, in order of positions.
    fn apply<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        events: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// A part of what was put off, with all that was read for it.
pub trait Part: Send + Sync {
    /// Does it, while what is folded is as it was when this was read. If something else that it is made of has
    /// changed it does nothing: it is to be read anew then.
    fn put<'a>(&'a self, tx: &'a DatabaseTransaction) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Keeps events out of a batch. What was recorded before is answered as it was then, and not asked about.
pub trait Guard: Send + Sync {
    /// Why an event is kept out, behind those of the batch that were placed so far.
    fn refusal(&self, fact: &Fact) -> Option<Refusal>;

    /// An event of the batch was given its place.
    fn placed(&mut self, fact: &Fact);
}
