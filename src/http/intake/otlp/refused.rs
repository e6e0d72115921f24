//! What of a request was not taken, and why, as one sentence says it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Reasons that are told at most.
const TOLD_MAX: usize = 10;
/// Characters of a name that are told at most.
const NAME_CHARACTERS_MAX: usize = 100;
/// Different reasons that are kept at most.
const REASONS_MAX: usize = 1_000;

/// How many points or records were not taken, and why.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// How many.
    pub(super) count: i64,
    reasons: BTreeMap<String, i64>,
}

impl Refused {
    /// Counts some of a name, for a reason.
    pub(super) fn add(&mut self, name: &str, reason: &str, count: i64) {
        self.count += count;
        let name = name.chars().filter(|c| !c.is_control());
        let name: String = name.take(NAME_CHARACTERS_MAX).collect();
        let reason = format!("{name} {reason}");
        if self.reasons.len() < REASONS_MAX || self.reasons.contains_key(&reason) {
            *self.reasons.entry(reason).or_default() += count;
        }
    }

    /// What is said of all; empty if there is nothing to be said.
    pub(super) fn message(&self) -> String {
        let mut message = String::new();
        for (reason, count) in self.reasons.iter().take(TOLD_MAX) {
            let between = if message.is_empty() { "" } else { "; " };
            // writing to a text does not fail
            let _ = write!(message, "{between}{reason} ({count})");
        }
        let more = self.reasons.len().saturating_sub(TOLD_MAX);
        if more > 0 {
            let _ = write!(message, "; and for {more} other reasons");
        }
        message
    }
}
