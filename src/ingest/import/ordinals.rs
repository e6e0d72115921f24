//! Numbers equal lines: the first of its content is 1, the next 2, and so on. Bounded memory.

use std::collections::HashMap;

use uuid::Uuid;

/// Contents at most that are numbered apart: about 36 MB.
const APART_MAX: usize = 1_800_000;
/// Numberings that all further contents share.
const SHARED: usize = 65_536;

/// Numbers equal lines by a hash of their content.
///
/// Contents that share a numbering get numbers that are further apart, but still each its own, and
/// the same when the same lines come again in the same order. Only the same line in another source
/// may then be numbered otherwise. It happens beyond [`APART_MAX`] contents, or when two hashes of
/// 64 bits are equal.
#[derive(Debug)]
pub(super) struct Ordinals {
    apart: HashMap<u64, u32>,
    apart_max: usize,
    shared: Vec<u32>,
}

impl Default for Ordinals {
    fn default() -> Self {
        Self::new(APART_MAX)
    }
}

impl Ordinals {
    fn new(apart_max: usize) -> Self {
        Self {
            apart: HashMap::new(),
            apart_max,
            shared: Vec::new(),
        }
    }

    /// The number of a line with this content.
    pub(super) fn next(&mut self, content: Uuid) -> u32 {
        let (high, low) = content.as_u64_pair();
        let hash = high ^ low;
        let last = if self.apart.len() < self.apart_max || self.apart.contains_key(&hash) {
            self.apart.entry(hash).or_insert(0)
        } else {
            self.shared.resize(SHARED, 0);
            let share = u64::try_from(SHARED).map_or(0, |shares| hash % shares);
            let share = usize::try_from(share).unwrap_or_default();
            match self.shared.get_mut(share) {
                Some(last) => last,
                None => return 1,
            }
        };
        *last = last.wrapping_add(1);
        *last
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn content(number: u32) -> Uuid {
        Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_be_bytes())
    }

    /// Each of some contents, over and over.
    fn numbers(ordinals: &mut Ordinals, contents: u32) -> Vec<(u32, u32)> {
        let lines = (0..3).flat_map(|_| 0..contents);
        lines
            .map(|number| (number, ordinals.next(content(number))))
            .collect()
    }

    #[test]
    fn equal_lines_are_numbered_from_one() {
        let numbers = numbers(&mut Ordinals::default(), 2);
        assert_eq!(numbers, [(0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3)]);
    }

    #[test]
    fn beyond_the_bound_each_line_still_has_a_number_of_its_own_that_is_the_same_again() {
        let mut ordinals = Ordinals::new(10);
        let first = numbers(&mut ordinals, 200_000);
        assert_eq!((ordinals.apart.len(), ordinals.shared.len()), (10, SHARED));
        let apart: HashSet<_> = first.iter().collect();
        assert_eq!(apart.len(), first.len());
        assert_eq!(numbers(&mut Ordinals::new(10), 200_000), first);
    }
}
