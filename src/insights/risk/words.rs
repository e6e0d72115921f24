//! Numbers and times as operators read them.

use crate::event::Instant;
use chrono::{DateTime, Datelike, Timelike};

/// A count with its noun.
#[must_use]
pub fn plural(count: f64, noun: &str) -> String {
    if (count - 1.0).abs() < 0.5 {
        format!("1 {noun}")
    } else {
        format!("{count:.0} {noun}s")
    }
}

/// A time in the zone of a site.
#[must_use]
pub fn clock(at: Instant, zone: chrono_tz::Tz) -> String {
    let Some(time) = DateTime::from_timestamp_micros(at.0) else {
        return "an unknown time".to_owned();
    };
    let local = time.with_timezone(&zone);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}",
        local.year(),
        local.month(),
        local.day(),
        local.hour(),
        local.minute()
    )
}
