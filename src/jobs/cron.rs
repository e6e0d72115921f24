//! When the times of a cron expression come on the clocks of a time zone. It does no I/O and reads no clock.
//!
//! What counts is which hours an expression has, not how it is written:
//!
//! - One that has some hours of the day (`30 2 * * *`, `15,45 2 * * *`, `*/30 2 * * *`, `0 */6 * * *`) goes by
//!   what the clocks show: each of its times comes once a day. Those that the clocks skip come together, once,
//!   at the first instant after the gap; one that they show twice comes at the first.
//! - One that has every hour (`0 * * * *`, `*/15 * * * *`) goes by time that passes: it comes whenever the clocks
//!   show one of its minutes, also in an hour that they show twice, and makes up for none that they skip.

use chrono::{DateTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::event::Instant;
use crate::schedule::first_shown;

const MICROS: i64 = 1_000_000;
/// Hours of a day.
const HOURS: u32 = 24;
/// Steps in which it is looked for changes of clocks, in seconds: no zone changes its clock twice in one.
const STEP_SECONDS: i64 = 6 * 3_600;

/// Reads a cron expression.
///
/// # Errors
/// Why it is none, for people.
pub fn read_cron(text: &str) -> Result<Cron, String> {
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build();
    let told = |error: croner::errors::CronError| format!("cron is no cron expression: {error}");
    let cron = parser.parse(text).map_err(told)?;
    if next_shown(&cron, 946_684_800, true).is_some() {
        Ok(cron)
    } else {
        Err("cron never comes: there is no such day".to_owned())
    }
}

/// The last time from an instant until now, and the first one after now.
pub(super) fn times(
    cron: &Cron,
    zone: Tz,
    (since, now): (Instant, Instant),
) -> (Option<Instant>, Option<Instant>) {
    let (mut last, mut next) = (None, next_after(cron, zone, Instant(since.0 - 1)));
    while let Some(at) = next.filter(|at| *at <= now) {
        (last, next) = (Some(at), next_after(cron, zone, at));
    }
    (last, next.or_else(|| next_after(cron, zone, now)))
}

/// The first time after an instant.
pub(super) fn next_after(cron: &Cron, zone: Tz, after: Instant) -> Option<Instant> {
    let has_hour = |hour| cron.pattern.hour_match(hour).unwrap_or(false);
    let seconds = after.0.div_euclid(MICROS);
    let next = if (0..HOURS).all(has_hour) {
        next_in_every_hour(cron, zone, seconds)
    } else {
        next_on_the_clocks(cron, zone, seconds)
    };
    next.map(|seconds| Instant(seconds.saturating_mul(MICROS)))
}

/// By what the clocks show. All that they have shown by an instant is not after it, so that what comes next
/// is among what they show later; in an hour that they show twice, that may have been the first time.
fn next_on_the_clocks(cron: &Cron, zone: Tz, after: i64) -> Option<i64> {
    let mut shown = after + offset(zone, after);
    loop {
        shown = next_shown(cron, shown, false)?;
        let at = first_shown(zone, shown);
        if at > after {
            return Some(at);
        }
    }
}

/// By time that passes: as if the clocks were never changed, up to where they are, and from there on again.
fn next_in_every_hour(cron: &Cron, zone: Tz, after: i64) -> Option<i64> {
    let (mut from, mut inclusive) = (after, false);
    loop {
        let offset = offset(zone, from);
        let at = next_shown(cron, from + offset, inclusive)? - offset;
        match change(zone, from, at) {
            Some(change) => (from, inclusive) = (change, true),
            None => return Some(at),
        }
    }
}

/// What clocks show next that the expression has, in seconds since they showed the beginning of 1970.
fn next_shown(cron: &Cron, shown: i64, inclusive: bool) -> Option<i64> {
    let from = DateTime::<Utc>::from_timestamp(shown, 0)?;
    let next = cron.find_next_occurrence(&from, inclusive).ok()?;
    Some(next.timestamp())
}

/// How far ahead of UTC the clocks of a zone are, in seconds.
fn offset(zone: Tz, at: i64) -> i64 {
    let at = DateTime::<Utc>::from_timestamp(at, 0).unwrap_or_default();
    let offset = zone.offset_from_utc_datetime(&at.naive_utc());
    offset.fix().local_minus_utc().into()
}

/// The first second after one, until another, at which the clocks of a zone are set otherwise.
fn change(zone: Tz, from: i64, until: i64) -> Option<i64> {
    let is_same = |at: i64| offset(zone, at) == offset(zone, from);
    let mut before = from;
    while before < until {
        let mut after = until.min(before + STEP_SECONDS);
        if is_same(after) {
            before = after;
            continue;
        }
        while after - before > 1 {
            let middle = before.midpoint(after);
            if is_same(middle) {
                before = middle;
            } else {
                after = middle;
            }
        }
        return Some(after);
    }
    None
}

#[cfg(test)]
#[path = "cron_tests.rs"]
mod tests;
