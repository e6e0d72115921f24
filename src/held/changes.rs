//! The changes of the configuration of a device: the newest of them, however many there were.

use crate::event::{Instant, Position};
use crate::insights::input::ConfigSeen;

/// Changes at most that are read of a device.
const CHANGES_MAX: usize = 1_000;

/// The newest changes of a device, which are told in whatever order. Never more than twice as many are held.
#[derive(Debug, Default)]
pub(super) struct Newest(Vec<(Instant, Position, String)>);

impl Newest {
    /// Takes a change.
    pub(super) fn take(&mut self, position: Position, change: ConfigSeen) {
        self.0.push((change.at, position, change.parameter));
        if self.0.len() >= 2 * CHANGES_MAX {
            self.cut();
        }
    }

    /// Leaves those that are the newest, in order of time.
    fn cut(&mut self) {
        self.0.sort_unstable();
        let older = self.0.len().saturating_sub(CHANGES_MAX);
        self.0.drain(..older);
    }

    /// They in order of time.
    pub(super) fn end(mut self) -> Vec<ConfigSeen> {
        self.cut();
        let changes = self.0.into_iter();
        let changes = changes.map(|(at, _, parameter)| ConfigSeen { at, parameter });
        changes.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_very_many_changes_the_newest_are_kept_in_whatever_order_they_come() {
        let mut newest = Newest::default();
        for number in 0..7_000 {
            // each of 0 to 6,999 once
            let at = number * 3_001 % 7_000;
            let parameter = format!("p{at}");
            let at = Instant(at);
            newest.take(Position(number), ConfigSeen { at, parameter });
            assert!(newest.0.len() < 2 * CHANGES_MAX);
        }
        let kept = newest.end();
        let expected: Vec<i64> = (6_000..7_000).collect();
        let at: Vec<i64> = kept.iter().map(|change| change.at.0).collect();
        assert_eq!(at, expected);
        assert_eq!(kept[0].parameter, "p6000");
        let mut few = Newest::default();
        for (position, at) in [(3, 5), (1, 7), (2, 5)] {
            let parameter = format!("{position}");
            let at = Instant(at);
            few.take(Position(position), ConfigSeen { at, parameter });
        }
        let few = few.end().into_iter().map(|change| change.parameter);
        assert_eq!(few.collect::<Vec<_>>(), ["2", "3", "1"]);
    }
}
