//! Durations and times as an operator says them.

use crate::event::Instant;
use crate::insights::number::float;
use chrono::DateTime;
use chrono_tz::Tz;

/// A duration in the unit that suits its size.
pub(crate) fn lasting(microseconds: i64) -> String {
    let seconds = float(microseconds) / 1e6;
    match seconds.abs() {
        size if size < 120.0 => format!("{seconds:.0} s"),
        size if size < 7_200.0 => format!("{:.0} min", seconds / 60.0),
        size if size < 172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

/// Hours or days.
pub(crate) fn span(hours: f64) -> String {
    if hours < 48.0 {
        format!("{hours:.0} h")
    } else {
        format!("{:.0} days", hours / 24.0)
    }
}

/// An instant as an operator of the site reads it.
pub(crate) fn time(at: Instant, zone: Tz) -> String {
    DateTime::from_timestamp_micros(at.0).map_or_else(String::new, |utc| {
        utc.with_timezone(&zone)
            .format("%Y-%m-%d %H:%M")
            .to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::input::SECOND;

    #[test]
    fn a_duration_has_the_unit_that_suits_it() {
        let said = [0, 119, 120, 7_199, 65_535, 172_799, 2_097_151].map(|s| lasting(s * SECOND));
        assert_eq!(
            said,
            [
                "0 s",
                "119 s",
                "2 min",
                "120 min",
                "18.2 h",
                "48.0 h",
                "24.3 days"
            ]
        );
        assert_eq!([1.0, 47.0, 72.0].map(span), ["1 h", "47 h", "3 days"]);
    }
}
