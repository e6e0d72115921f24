//! A group as it is of a part of the fleet, or as it was: made of what was counted there and until then.

use crate::event::Instant;
use crate::insights::errors::group::{Group, Mark, OnDevice};
use crate::insights::input::Severity;

/// What was counted of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Errors.
    pub events: u64,
    /// When the first of them was.
    pub first: Instant,
    /// When the last of them was.
    pub last: Instant,
    /// The most severe of them.
    pub severity: Severity,
}

impl Group {
    /// This group as far as so much was counted of it, with what held then, as yet without hours and devices.
    #[must_use]
    pub fn part(&self, counted: &Counted, mark: Option<Mark>) -> Self {
        Self {
            category: self.category.clone(),
            code: self.code.clone(),
            severity: counted.severity,
            count: counted.events,
            founder: (counted.first, self.founder.1),
            last: counted.last,
            hours: Vec::new(),
            devices: std::collections::BTreeMap::new(),
            mark,
        }
    }

    /// Adds what was counted in an hour.
    pub fn fill_hour(&mut self, hour: i32, events: u32) {
        self.add_hour(hour, events);
        self.drop_old_hours();
    }

    /// Adds a device by its hash.
    pub fn fill_device(&mut self, device: u64, seen: OnDevice) {
        self.add_device(device, || seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::errors::group::{DEVICES_MAX, Event};
    use crate::insights::input::HOUR;

    #[test]
    fn a_group_that_is_made_of_all_that_was_counted_is_the_group() {
        let event = |at: i64, device: u64| Event {
            at: Instant(at),
            variant: 7,
            severity: Severity::Error,
            device: Some((device, &[])),
        };
        let mut whole = Group::new("DEVICE", Some("E7"), &event(0, 0));
        for number in 0..400_i64 {
            let device = number.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15);
            whole.add(&event(number * HOUR, device));
        }
        let counted = Counted {
            events: whole.count,
            first: whole.founder.0,
            last: whole.last,
            severity: whole.severity,
        };
        let mut made = whole.part(&counted, None);
        for (hour, events) in whole.hours.iter().rev() {
            made.fill_hour(*hour, *events);
        }
        for number in (0..400_i64).rev() {
            let device = number.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let at = Instant(number * HOUR);
            made.fill_device(
                device,
                OnDevice {
                    count: 1,
                    first: at,
                    last: at,
                    after: Vec::new(),
                },
            );
        }
        assert_eq!(made, whole);
        assert_eq!(made.devices.len(), DEVICES_MAX);
    }
}
