//! What makes a day believable: bounds of measures, counters, peaks, and how often things go wrong.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use chrono_tz::Tz;

use super::*;

fn zone_of(device_id: &str) -> Tz {
    match &device_id[..6] {
        "pos-01" => Tz::Europe__London,
        "pos-02" => Tz::America__New_York,
        _ => Tz::Asia__Singapore,
    }
}

fn local_date(metrics: &Value) -> NaiveDate {
    let zone = zone_of(text(metrics, "deviceId"));
    occurred_at(metrics).with_timezone(&zone).date_naive()
}

/// Metrics of each device in order of time.
fn by_device(events: &[Value]) -> BTreeMap<&str, Vec<&Value>> {
    let mut devices: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for metrics in of_kind(events, "deviceMetrics") {
        devices
            .entry(text(metrics, "deviceId"))
            .or_default()
            .push(metrics);
    }
    devices
}

#[test]
fn measures_stay_within_bounds_over_a_week() {
    let events = days(slow(4), MONDAY, 7);
    let metrics = of_kind(&events, "deviceMetrics");
    let mut unusual = 0;
    for one in &metrics {
        for field in [
            "cpuPercent",
            "memoryPercent",
            "diskPercent",
            "errorRatePercent",
        ] {
            assert!((0.0..=100.0).contains(&number(one, field)), "{field} {one}");
        }
        for field in [
            "networkLatencyMs",
            "uptimeSeconds",
            "queueDepth",
            "activeConnections",
        ] {
            assert!(number(one, field) >= 0.0, "{field} {one}");
        }
        assert!((30.0..=70.0).contains(&number(one, "memoryPercent")));
        assert!((20.0..=60.0).contains(&number(one, "diskPercent")));
        unusual += usize::from(!(10.0..=80.0).contains(&number(one, "cpuPercent")));
    }
    assert!(unusual > 0 && unusual * 200 < metrics.len(), "{unusual}");
}

fn counters_fall_only_at_local_midnight(start: &str) {
    let events = days(slow(8), start, 2);
    for metrics in by_device(&events).into_values() {
        for pair in metrics.windows(2) {
            let [before, now] = [pair[0], pair[1]];
            let volume = |one| text(one, "transactionVolume").parse::<f64>().unwrap();
            if local_date(before) == local_date(now) {
                assert!(number(before, "transactionCount") <= number(now, "transactionCount"));
                assert!(volume(before) <= volume(now));
            } else {
                assert!(number(now, "transactionCount") < 0.5, "{now}");
                assert!(volume(now) < 0.005);
            }
        }
    }
}

#[test]
fn counters_fall_only_at_local_midnight_on_ordinary_days() {
    counters_fall_only_at_local_midnight(MONDAY);
}

#[test]
fn counters_fall_only_at_local_midnight_on_a_day_of_23_hours() {
    counters_fall_only_at_local_midnight("2026-03-28T06:00:00Z");
    counters_fall_only_at_local_midnight("2026-03-07T12:00:00Z");
}

#[test]
fn counters_fall_only_at_local_midnight_on_a_day_of_25_hours() {
    counters_fall_only_at_local_midnight("2026-10-24T06:00:00Z");
    counters_fall_only_at_local_midnight("2026-10-31T12:00:00Z");
}

#[test]
fn an_open_day_has_50_to_300_sales_and_a_closed_one_none() {
    for seed in 0..2 {
        let events = days(slow(seed), "2026-06-05T22:59:00Z", 4);
        for (device, metrics) in by_device(&events) {
            let mut counts: BTreeMap<NaiveDate, f64> = BTreeMap::new();
            for one in metrics {
                counts.insert(local_date(one), number(one, "transactionCount"));
            }
            // The first and the last local day are not whole.
            let whole = counts.iter().skip(1).take(counts.len() - 2);
            for (date, count) in whole {
                let closed = device.starts_with("pos-03") && date.format("%a").to_string() == "Mon";
                let expected = if closed { 0.0..=0.0 } else { 50.0..=300.0 };
                assert!(expected.contains(count), "{device} {date}: {count}");
            }
        }
    }
}

#[test]
fn lunch_and_evening_sell_more_than_mid_morning() {
    let events = days(slow(9), "2026-06-01T22:00:00Z", 2);
    let mut sold: BTreeMap<u32, f64> = BTreeMap::new();
    for metrics in by_device(&events).into_values() {
        for pair in metrics.windows(2) {
            let more = number(pair[1], "transactionCount") - number(pair[0], "transactionCount");
            let zone = zone_of(text(pair[1], "deviceId"));
            let hour = occurred_at(pair[1])
                .with_timezone(&zone)
                .format("%H")
                .to_string();
            *sold.entry(hour.parse().unwrap()).or_default() += more.max(0.0);
        }
    }
    assert!(sold[&12] > 1.5 * sold[&10]);
    assert!(sold[&17] > 1.5 * sold[&10]);
    assert!(sold[&3] < 0.5);
}

#[test]
fn a_day_of_twelve_devices_has_a_handful_of_outages_and_some_tens_of_errors() {
    let days_simulated = 6;
    let events = days(slow(1), MONDAY, days_simulated);
    let changes = of_kind(&events, "deviceStateChange").into_iter();
    let outages = changes
        .filter(|change| text(change, "newState") == "OFFLINE")
        .count();
    let errors = of_kind(&events, "errorLog").len();
    let days_simulated = usize::try_from(days_simulated).unwrap();
    assert!((2..=9).contains(&(outages / days_simulated)), "{outages}");
    assert!((25..=95).contains(&(errors / days_simulated)), "{errors}");
}

#[test]
fn a_job_counts_the_devices_that_it_was_run_on() {
    let events = days(slow(1), MONDAY, 3);
    let mut done: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    let mut jobs = 0;
    for outcome in of_kind(&events, "jobOutcome") {
        let (all, completed) = done.entry(text(outcome, "jobId")).or_default();
        if text(outcome, "scope") == "DEVICE" {
            *all += 1;
            *completed += u32::from(text(outcome, "status") == "COMPLETED");
            continue;
        }
        jobs += 1;
        assert_eq!(outcome["devicesTargeted"], Value::from(*all));
        assert_eq!(outcome["devicesSucceeded"], Value::from(*completed));
        assert_eq!(outcome["devicesFailed"], Value::from(*all - *completed));
    }
    assert!(jobs > 3 * 3 * 4);
}

#[test]
fn heavy_jobs_run_in_the_maintenance_window() {
    let events = days(slow(1), MONDAY, 3);
    let mut heavy = 0;
    for outcome in of_kind(&events, "jobOutcome") {
        if matches!(
            text(outcome, "jobType"),
            "FIRMWARE_UPDATE" | "RESTART" | "LOG_CLEANUP"
        ) {
            heavy += 1;
            let site = text(outcome, "siteId").replace("site", "pos");
            let local = occurred_at(outcome).with_timezone(&zone_of(&site));
            let time = local.format("%H:%M").to_string();
            assert!(("02:00".."04:00").contains(&time.as_str()), "{outcome}");
        }
    }
    assert!(heavy > 15);
}
