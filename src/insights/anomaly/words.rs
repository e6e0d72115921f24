//! Values and times as an operator says them.

use crate::event::Instant;
use crate::insights::input::Measure;
use chrono::{DateTime, TimeZone};
use chrono_tz::Tz;

/// What a measure is called at the beginning of a sentence.
pub(crate) fn name(measure: Measure) -> &'static str {
    match measure {
        Measure::CpuPercent => "CPU load",
        Measure::MemoryPercent => "Memory use",
        Measure::DiskPercent => "Disk use",
        Measure::NetworkLatencyMs => "Latency",
        Measure::TransactionCount => "Transactions in the hour",
        Measure::TransactionVolume => "Turnover in the hour",
        Measure::ErrorRatePercent => "Error rate",
        Measure::ActiveConnections => "Connections",
        Measure::QueueDepth => "Queue",
        Measure::UptimeSeconds => "Uptime",
    }
}

/// The unit of a measure, where it has one.
pub(crate) fn unit(measure: Measure) -> Option<&'static str> {
    match measure {
        Measure::CpuPercent
        | Measure::MemoryPercent
        | Measure::DiskPercent
        | Measure::ErrorRatePercent => Some("%"),
        Measure::NetworkLatencyMs => Some("ms"),
        Measure::UptimeSeconds => Some("s"),
        Measure::TransactionCount
        | Measure::TransactionVolume
        | Measure::ActiveConnections
        | Measure::QueueDepth => None,
    }
}

/// A number with three digits that count.
pub(crate) fn digits(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if (1e-9..1.0).contains(&size) => 4,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

/// A number with its unit.
pub(crate) fn with_unit(value: f64, measure: Measure) -> String {
    unit(measure).map_or_else(|| digits(value), |unit| format!("{} {unit}", digits(value)))
}

/// A time in a zone, in a given form.
pub(crate) fn time(at: Instant, zone: Tz, form: &str) -> String {
    let utc = DateTime::from_timestamp_micros(at.0).unwrap_or_default();
    zone.from_utc_datetime(&utc.naive_utc())
        .format(form)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let said: Vec<String> = [412.4, 80.04, 1.5, 0.0, -0.001, 12_345.6]
            .map(digits)
            .into();
        assert_eq!(said, ["412", "80", "1.5", "0", "-0.001", "12346"]);
    }

    #[test]
    fn times_are_those_of_the_zone() {
        assert_eq!(
            time(Instant(0), Tz::Asia__Tokyo, "%A %H:%M"),
            "Thursday 09:00"
        );
    }
}
