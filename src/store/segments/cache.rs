//! Files of segments and columns of theirs that were read before, the newest of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::columnar::{Column, File};

/// Bytes at most that are kept.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// What is kept: the file of a segment, or a column of a group of rows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    File(i64),
    Column(i64, usize, usize),
}

#[derive(Clone, Debug)]
pub(super) enum Kept {
    File(Arc<File>),
    Column(Arc<Column>),
}

/// What was read, by when it was last asked for.
#[derive(Debug, Default)]
pub(super) struct Cache {
    kept: HashMap<Key, (u64, usize, Kept)>,
    order: BTreeMap<u64, Key>,
    bytes: usize,
    asked: u64,
}

impl Cache {
    /// What is kept under a key, which was asked for now.
    pub(super) fn get(&mut self, key: Key) -> Option<Kept> {
        self.asked += 1;
        let (asked, _, kept) = self.kept.get_mut(&key)?;
        self.order.remove(asked);
        *asked = self.asked;
        self.order.insert(self.asked, key);
        Some(kept.clone())
    }

    /// Keeps something, and lets go what was not asked for the longest.
    pub(super) fn put(&mut self, key: Key, kept: Kept, bytes: usize) {
        self.remove(key);
        self.asked += 1;
        self.order.insert(self.asked, key);
        self.kept.insert(key, (self.asked, bytes, kept));
        self.bytes += bytes;
        while self.bytes > BYTES_MAX {
            let Some((_, oldest)) = self.order.pop_first() else {
                break;
            };
            self.remove(oldest);
        }
    }

    fn remove(&mut self, key: Key) {
        if let Some((asked, bytes, _)) = self.kept.remove(&key) {
            self.order.remove(&asked);
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columnar::Values;

    #[test]
    fn what_was_not_asked_for_the_longest_is_let_go() {
        let column = Arc::new(Column {
            present: Vec::new(),
            values: Values::Int(Vec::new()),
        });
        let mut cache = Cache::default();
        let third = BYTES_MAX / 3;
        for group in 0..3 {
            let kept = Kept::Column(Arc::clone(&column));
            cache.put(Key::Column(1, group, 0), kept, third);
        }
        assert!(cache.get(Key::Column(1, 0, 0)).is_some());
        let kept = Kept::Column(column);
        cache.put(Key::Column(1, 3, 0), kept, third);
        assert!(cache.get(Key::Column(1, 1, 0)).is_none());
        assert!(cache.get(Key::Column(1, 0, 0)).is_some());
        assert!(cache.bytes <= BYTES_MAX);
    }
}
