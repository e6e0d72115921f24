//! Sentences for operators, in the site's time.

use crate::event::Instant;
use crate::insights::shape::Interval;

use crate::insights::jobs::count::Count;
use crate::insights::jobs::schedule::{Local, Opening, Schedule};
use crate::insights::jobs::window::{QUARTER, Quarter};

const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

fn clock(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

/// Such as `Tuesday 03:15`.
#[must_use]
pub fn moment(local: Local) -> String {
    let weekday = WEEKDAYS.get(local.weekday).copied().unwrap_or_default();
    format!("{weekday} {}", clock(local.minute))
}

/// Such as `2017-03-26`, in the site's time.
#[must_use]
pub fn day(schedule: &Schedule, at: Instant) -> String {
    schedule.local(at).date.to_string()
}

/// Such as `no sale is expected then (0 to 1)`.
#[must_use]
pub fn sales(count: Count, interval: Interval) -> String {
    let expected = if count.mean < 0.1 {
        "no sale is expected then".to_owned()
    } else if count.mean < 9.95 {
        format!("{:.1} sales are expected then", count.mean)
    } else {
        format!("{:.0} sales are expected then", count.mean)
    };
    format!("{expected} ({:.0} to {:.0})", interval.low, interval.high)
}

/// What the filed hours say of a start.
#[must_use]
pub fn hours(schedule: &Schedule, start: &Quarter) -> String {
    match start.opening {
        Opening::Unknown => "no opening hours are filed for that day".to_owned(),
        Opening::Open => "the shop is open, and no time that is allowed costs less".to_owned(),
        Opening::Closed => closed_until(schedule, start),
    }
}

fn closed_until(schedule: &Schedule, start: &Quarter) -> String {
    let opens = (1..=7 * 24 * 4)
        .map(|quarter| schedule.local(Instant(start.at.0 + quarter * QUARTER)))
        .find(|local| schedule.opening(*local) == Opening::Open);
    match opens {
        Some(local) if local.date == start.local.date => {
            format!("the shop is closed until {}", clock(local.minute))
        }
        Some(local) => format!("the shop is closed until {}", moment(local)),
        None => "the shop is closed".to_owned(),
    }
}
