//! Records what a caller gives: it is spent first, then held against what the caller reaches.

use thiserror::Error;

use super::recordable::{Passed, recordable};
use super::{Caller, Exceeded, Spending, Spent};
use crate::ingest::{Given, Ingest, Patience, RequestKey};
use crate::store::{Allowance, AppendError, Appended, StoreError};

/// How often a request is let in anew when devices that it registers were registered meanwhile.
const DECISIONS_MAX: usize = 8;

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
        let own = key.map(|of| (self.caller.reach.own(of.key), of.first));
        let own = own
            .as_ref()
            .map(|(key, first)| RequestKey { key, first: *first });
        let recorded = self.passed((given, own), allowance).await?;
        recorded.map_err(RecordError::Append)
    }

    /// Records what the caller may. Who registers devices by what is recorded of them is let in anew when
    /// somebody else has registered one meanwhile.
    async fn passed(
        &self,
        (mut given, key): (Vec<Given>, Option<RequestKey<'_>>),
        allowance: &Allowance,
    ) -> Result<Result<Appended, AppendError>, RecordError> {
        let tries = if self.caller.registers_devices {
            DECISIONS_MAX
        } else {
            1
        };
        for left in (0..tries).rev() {
            let again = (left > 0).then(|| given.clone());
            let passed = recordable(self.ingest, (self.caller, allowance), given).await;
            let Passed {
                given: may,
                registering,
            } = passed.map_err(RecordError::Read)?;
            let recorded = self
                .ingest
                .record_registering(registering, (may, key), Patience::None);
            match (recorded.await, again) {
                (Err(AppendError::Stale { .. }), Some(again)) => given = again,
                (recorded, _) => return Ok(recorded),
            }
        }
        Ok(Err(AppendError::Overloaded))
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
