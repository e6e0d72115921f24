//! Remembers what is used, and forgets what is not: as two halves, of which the older is forgotten when the
//! younger is full.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// What is remembered, by keys; what is read is young again.
#[derive(Debug)]
pub(super) struct Halves<K, V> {
    half_max: usize,
    younger: HashMap<K, V>,
    older: HashMap<K, V>,
}

impl<K: Eq + Hash, V: Clone> Halves<K, V> {
    /// Empty, of so many at most in each half.
    pub(super) fn new(half_max: usize) -> Self {
        Self {
            half_max,
            younger: HashMap::new(),
            older: HashMap::new(),
        }
    }

    /// What is remembered under a key.
    pub(super) fn get<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some(known) = self.younger.get(key) {
            return Some(known.clone());
        }
        let (key, known) = self.older.remove_entry(key)?;
        self.add(key, known.clone());
        Some(known)
    }

    /// Remembers something.
    pub(super) fn add(&mut self, key: K, value: V) {
        if self.younger.len() >= self.half_max {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(key, value);
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.younger.len() + self.older.len()
    }
}
