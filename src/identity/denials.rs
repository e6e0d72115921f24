//! Counts those who are refused until they are told in the audit: sign-ins, and what a role or a reach does
//! not allow.
//!
//! Whoever tries keys by the thousand does not fill the log: alike refusals of a moment, from one
//! network and for one reason, are one entry that says how many they were.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Caller, Deed, SignInError};
use crate::ingest::{Given, Ingest, Patience};
use crate::kinds::Kind;

/// How often they are told.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// Networks and reasons told apart at most between two tellings.
const APART_MAX: usize = 100;

/// Denials that are not told yet.
#[derive(Debug, Default)]
pub struct Denials {
    counts: Mutex<HashMap<(Option<String>, Denied), u32>>,
}

/// What was refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Denied {
    SignIn(SignInError),
    /// Somebody who is known asked for what they may not, and why they may not.
    Asking {
        actor: String,
        why: String,
    },
}

impl Denials {
    /// Counts a refused sign-in, from a network.
    pub fn sign_in(&self, network: Option<&str>, why: &SignInError) {
        self.add(network, Denied::SignIn(why.clone()));
    }

    /// Counts that a caller was not allowed something.
    pub fn forbidden(&self, caller: &Caller, why: &str) {
        let actor = caller.name.to_string();
        let why = why.to_owned();
        self.add(caller.network.as_deref(), Denied::Asking { actor, why });
    }

    fn add(&self, network: Option<&str>, what: Denied) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (network.map(str::to_owned), what);
        let is_apart = counts.len() < APART_MAX || counts.contains_key(&key);
        let key = match key {
            key if is_apart => key,
            (_, Denied::SignIn(why)) => (None, Denied::SignIn(why)),
            (_, Denied::Asking { why, .. }) => {
                let actor = "several".to_owned();
                (None, Denied::Asking { actor, why })
            }
        };
        let count = counts.entry(key).or_insert(0);
        *count = count.saturating_add(1);
    }

    /// Tells them every so often until it is told to stop, and once more then.
    pub async fn run(&self, ingest: Ingest, stop: CancellationToken) {
        loop {
            let waited = stop.run_until_cancelled(sleep(TELL_EVERY)).await;
            self.tell(&ingest).await;
            if waited.is_none() {
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
        let entry = |((network, what), times): (&(Option<String>, Denied), &u32)| {
            let deed = match what {
                Denied::SignIn(why) => {
                    Deed::new("SIGN_IN", "nobody", now).refused(&why.to_string())
                }
                Denied::Asking { actor, why } => Deed::new("COMMAND", actor, now).refused(why),
            };
            let deed = deed.from(network.as_deref());
            (Some(Kind::AuditEntry), deed.times(*times).entry())
        };
        let entries: Vec<Given> = taken.iter().map(entry).collect();
        if let Err(error) = ingest.record(entries, None, Patience::Unlimited).await {
            let error = crate::telemetry::chain(&error).to_string();
            tracing::warn!(error, "cannot record who was refused; trying again");
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, times) in taken {
                let count = counts.entry(key).or_insert(0);
                *count = count.saturating_add(times);
            }
        }
    }
}
