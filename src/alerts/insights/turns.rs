//! Whose turn it is to be read whole: that takes some milliseconds for each device, so in a large fleet they take turns.
//! It does no I/O and reads no clock.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use crate::event::Instant;

/// How long a device that was read whole is not read again.
const PAUSE_MS: i64 = 300_000;
/// Devices at most that are read whole in a round.
const AT_ONCE: usize = 1_000;

/// Whose turn it is.
#[derive(Debug, Default)]
pub(in crate::alerts) struct Turns {
    /// Devices of which something came since they were read.
    stirred: HashSet<i64>,
    read_at: HashMap<i64, Instant>,
}

impl Turns {
    /// Something came of a device.
    pub(in crate::alerts) fn stir(&mut self, device: i64) {
        self.stirred.insert(device);
    }

    /// Devices whose turn it was were not read.
    pub(in crate::alerts) fn give_back(&mut self, devices: &[i64]) {
        for device in devices {
            self.read_at.remove(device);
        }
    }

    /// The devices whose turn it is: those that were never read, of which something came or something is told, and those
    /// first that wait the longest.
    pub(in crate::alerts) fn take(
        &mut self,
        meant: &HashSet<i64>,
        told: &HashSet<i64>,
        now: Instant,
    ) -> Vec<i64> {
        self.read_at.retain(|device, _| meant.contains(device));
        let waits = |device: &i64| match self.read_at.get(device) {
            None => Some(Reverse(i64::MAX)),
            // the clock may have been set back
            Some(read_at) => {
                let passed = (now.0 - read_at.0).abs();
                let is_due = passed >= PAUSE_MS * 1_000;
                let is_asked = self.stirred.contains(device) || told.contains(device);
                (is_due && is_asked).then_some(Reverse(passed))
            }
        };
        let waiting = meant
            .iter()
            .filter_map(|device| Some((waits(device)?, *device)));
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_unstable();
        waiting.truncate(AT_ONCE);
        let taken: Vec<i64> = waiting.into_iter().map(|(_, device)| device).collect();
        for device in &taken {
            self.stirred.remove(device);
            self.read_at.insert(*device, now);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_take_turns_and_none_is_left_out() {
        let meant: HashSet<i64> = (0..2_500).collect();
        let (mut turns, told) = (Turns::default(), HashSet::from([7]));
        let at = |minutes: i64| Instant(1_800_000_000_000_000).plus_ms(minutes * 60_000);
        let mut met = HashSet::new();
        for minute in 0..3 {
            let taken = turns.take(&meant, &told, at(minute));
            assert!(taken.len() <= AT_ONCE);
            met.extend(taken);
        }
        assert_eq!(met, meant);
        // nothing came of them, and of one something is told
        assert!(turns.take(&meant, &told, at(4)).is_empty());
        assert_eq!(turns.take(&meant, &told, at(9)), [7]);
        turns.stir(8);
        assert_eq!(turns.take(&meant, &told, at(10)), [8]);
        turns.give_back(&[8]);
        assert_eq!(turns.take(&meant, &told, at(11)), [8]);
        assert!(turns.take(&HashSet::new(), &told, at(20)).is_empty());
    }
}
