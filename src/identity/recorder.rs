//! Records what a caller gives: it is spent first, then held against what the caller reaches.

use thiserror::Error;

use super::recordable::recordable;
use super::{Caller, Exceeded, Spending, Spent};
use crate::ingest::{Given, Ingest, Patience, RequestKey};
use crate::store::{Allowance, AppendError, Appended, StoreError};

/// Why nothing of what a caller gave was recorded.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The caller has recorded too much of late.
    #[error("the caller has spent too much")]
    Exceeded(#[source] Exceeded),
    /// What the events name cannot be looked up.
    #[error("cannot look up what the events name")]
    Read(#[source] StoreError),
    /// The log did not take them.
    #[error("cannot record")]
    Append(#[source] AppendError),
}

/// A door for one caller.
#[derive(Clone, Copy, Debug)]
pub struct Recorder<'a> {
    /// The door.
    pub ingest: &'a Ingest,
    /// What callers spend, where it is counted.
    pub spending: Option<&'a Spending>,
    /// Who records.
    pub caller: &'a Caller,
}

impl Recorder<'_> {
    /// Records events and answers each, in their order; one that the caller may not record is refused in
    /// its place. The key of a request is the caller's own: it never meets that of another reach.
    ///
    /// # Errors
    /// When nothing was recorded.
    pub async fn record(
        &self,
        given: Vec<Given>,
        key: Option<RequestKey<'_>>,
        allowance: &Allowance,
    ) -> Result<Appended, RecordError> {
        self.spend(given.len())?;
        let given = recordable(self.ingest, (self.caller, allowance), given).await;
        let given = given.map_err(RecordError::Read)?;
        let own = key.map(|of| (self.caller.reach.own(of.key), of.first));
        let own = own
            .as_ref()
            .map(|(key, first)| RequestKey { key, first: *first });
        let recorded = self.ingest.record(given, own, Patience::None).await;
        recorded.map_err(RecordError::Append)
    }

    fn spend(&self, events: usize) -> Result<(), RecordError> {
        let Some(spending) = self.spending else {
            return Ok(());
        };
        let events = i64::try_from(events).unwrap_or(i64::MAX);
        let now = self.ingest.clock().now();
        let spent = spending.spend(self.caller, (Spent::Events, events), now);
        spent.map(drop).map_err(RecordError::Exceeded)
    }
}
