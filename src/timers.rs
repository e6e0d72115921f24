//! Timers: when each of many things is due, in order of that; no scan.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use crate::event::Instant;

/// The instants at which things are due, one for each. To set one takes as long as a look into a tree.
#[derive(Clone, Debug)]
pub(crate) struct Timers<K> {
    due: BTreeSet<(Instant, K)>,
    of: HashMap<K, Instant>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self {
            due: BTreeSet::new(),
            of: HashMap::new(),
        }
    }
}

impl<K: Clone + Ord + Hash> Timers<K> {
    /// Sets when a thing is due, in place of when it was.
    pub(crate) fn set(&mut self, key: K, at: Instant) {
        if let Some(before) = self.of.insert(key.clone(), at) {
            if before == at {
                return;
            }
            self.due.remove(&(before, key.clone()));
        }
        self.due.insert((at, key));
    }

    /// The thing is not due any more.
    pub(crate) fn clear(&mut self, key: &K) {
        if let Some(before) = self.of.remove(key) {
            self.due.remove(&(before, key.clone()));
        }
    }

    /// What is due by now, the longest due first. It stays so until it is set anew or cleared.
    pub(crate) fn due(&self, now: Instant) -> Vec<(Instant, K)> {
        let due = self.due.iter().take_while(|(at, _)| *at <= now);
        due.cloned().collect()
    }

    /// Everything is due earlier by so many microseconds: the clock was set back by that.
    pub(crate) fn set_back(&mut self, microseconds: i64) {
        for at in self.of.values_mut() {
            at.0 = at.0.saturating_sub(microseconds);
        }
        let due = self.of.iter().map(|(key, at)| (*at, key.clone()));
        self.due = due.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_anew_is_due_then_only() {
        let mut timers = Timers::default();
        timers.set("a", Instant(5));
        timers.set("b", Instant(7));
        timers.set("a", Instant(9));
        assert_eq!(timers.due(Instant(8)), [(Instant(7), "b")]);
        timers.clear(&"b");
        assert_eq!(timers.due(Instant(8)), []);
        timers.set_back(4);
        assert_eq!(timers.due(Instant(8)), [(Instant(5), "a")]);
    }
}
