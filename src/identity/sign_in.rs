//! Counts refused sign-ins until they are told in the audit.
//!
//! Whoever tries keys by the thousand does not fill the log: alike refusals of a moment, from one
//! network and for one reason, are one entry that says how many they were.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Deed, SignInError};
use crate::ingest::{Given, Ingest, Patience};
use crate::kinds::Kind;

/// How often they are told.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// Networks and reasons told apart at most between two tellings.
const APART_MAX: usize = 100;

/// Refused sign-ins that are not told yet.
#[derive(Debug, Default)]
pub struct RefusedSignIns {
    counts: Mutex<HashMap<(Option<String>, SignInError), u32>>,
}

impl RefusedSignIns {
    /// Counts one, from a network.
    pub fn count(&self, network: Option<&str>, why: &SignInError) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (network.map(str::to_owned), why.clone());
        let is_apart = counts.len() < APART_MAX || counts.contains_key(&key);
        let key = if is_apart { key } else { (None, key.1) };
        let count = counts.entry(key).or_insert(0);
        *count = count.saturating_add(1);
    }

    /// Tells them every so often until it is told to stop, and once more then.
    pub async fn run(&self, ingest: Ingest, stop: CancellationToken) {
        loop {
            let is_stopping = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(TELL_EVERY) => false,
            };
            self.tell(&ingest).await;
            if is_stopping {
                break;
            }
        }
    }

    /// Tells them. What cannot be recorded is counted again.
    pub(crate) async fn tell(&self, ingest: &Ingest) {
        let taken = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *counts)
        };
        if taken.is_empty() {
            return;
        }
        let now = ingest.clock().now();
        let entry = |((network, why), times): (&(Option<String>, SignInError), &u32)| {
            let deed = Deed::new("SIGN_IN", "nobody", now)
                .from(network.as_deref())
                .refused(&why.to_string());
            let entry = deed.times(*times).entry()?;
            Some((Some(Kind::AuditEntry), Ok(entry)))
        };
        let entries: Vec<Given> = taken.iter().filter_map(entry).collect();
        if let Err(error) = ingest.record(entries, None, Patience::Unlimited).await {
            let error = crate::telemetry::chain(&error).to_string();
            tracing::warn!(error, "cannot record refused sign-ins; trying again");
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, times) in taken {
                let count = counts.entry(key).or_insert(0);
                *count = count.saturating_add(times);
            }
        }
    }
}
