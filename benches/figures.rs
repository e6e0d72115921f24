//! Figures as a person reads them: medians, and a table of what was measured against its bar.
//!
//! It measures nothing itself. Where a figure is a ratio, both of its sides were measured in the
//! same run.

use std::time::Duration;

/// What a figure must reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
}

/// Prints the name of what follows.
pub(crate) fn heading(text: &str) {
    println!("\n{text}");
}

/// Prints a figure that has no bar.
pub(crate) fn shown(name: &str, value: f64, unit: &str) {
    println!("  {name:<58} {:>12} {unit}", number(value));
}

/// Prints a figure beside its bar.
pub(crate) fn judged(name: &str, value: f64, unit: &str, bar: Bar) {
    let (sign, limit, held) = match bar {
        Bar::AtLeast(limit) => ("≥", limit, value >= limit),
        Bar::AtMost(limit) => ("≤", limit, value <= limit),
    };
    let verdict = if held { "ok" } else { "MISSED" };
    let (value, limit) = (number(value), number(limit));
    println!("  {name:<58} {value:>12} {unit}  (bar {sign} {limit}: {verdict})");
}

/// A number with as many places as it bears.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 1_000.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A count as a float; counts here are far below 2⁵³.
pub(crate) fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Milliseconds of a duration.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// The value below which so many hundredths of the samples lie; 0 of none.
pub(crate) fn percentile(samples: &[f64], hundredths: usize) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() * hundredths / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

/// The middle of some samples.
pub(crate) fn median(samples: &[f64]) -> f64 {
    percentile(samples, 50)
}
