//! What commands from outside do: jobs and configuration.

use super::*;
use crate::fleet::JobStatus;

fn fleet_after(count: i64) -> (Fleet, DateTime<Utc>) {
    let start = instant(MONDAY);
    let mut fleet = Fleet::new(FleetOptions::default(), start);
    let now = start + minutes(count);
    fleet.advance(now);
    (fleet, now)
}

/// Metrics of one device up to an instant.
fn metrics_of(fleet: &mut Fleet, device_id: &str, until: DateTime<Utc>) -> Vec<Value> {
    let events = fleet.advance(until);
    let all = of_kind(&events, "deviceMetrics").into_iter();
    all.filter(|metrics| text(metrics, "deviceId") == device_id)
        .cloned()
        .collect()
}

#[test]
fn the_same_job_asked_twice_gives_the_same_answer() {
    let (mut fleet, now) = fleet_after(5);
    let mut ask = || fleet.apply_job("pos-01-02", "HEALTH_CHECK", "job-1", now);
    assert_eq!(ask(), ask());
}

#[test]
fn most_jobs_complete_and_some_fail_with_a_code() {
    let (mut fleet, now) = fleet_after(5);
    let results: Vec<_> = (0..400)
        .map(|job| fleet.apply_job("pos-01-02", "PRICE_LIST_SYNC", &format!("job-{job}"), now))
        .collect();
    let completed = |status| status == JobStatus::Completed;
    let successes = results
        .iter()
        .filter(|result| completed(result.status))
        .count();
    assert!((360..400).contains(&successes), "{successes}");
    for result in results {
        assert_eq!(result.error_code.is_none(), completed(result.status));
        assert_eq!(result.error_message.is_none(), completed(result.status));
        assert!(result.duration_ms >= 5_000);
    }
}

#[test]
fn a_restart_resets_the_uptime() {
    let (mut fleet, now) = fleet_after(5);
    let job = (0..9).map(|job| fleet.apply_job("pos-01-02", "RESTART", &format!("job-{job}"), now));
    assert!(
        job.filter(|result| result.status == JobStatus::Completed)
            .count()
            >= 1
    );
    let metrics = metrics_of(&mut fleet, "pos-01-02", now + minutes(3));
    assert!(number(metrics.last().unwrap(), "uptimeSeconds") < 180.0);
}

#[test]
fn a_new_firmware_is_registered_after_the_update() {
    let (mut fleet, now) = fleet_after(5);
    let result = fleet.apply_job("pos-01-02", "FIRMWARE_UPDATE", "job-1", now);
    assert_eq!(result.status, JobStatus::Completed);
    let events = fleet.advance(now + minutes(6));
    let registrations = of_kind(&events, "deviceRegistration");
    let [registration] = registrations.as_slice() else {
        panic!("one registration, not {registrations:?}");
    };
    assert_eq!(text(registration, "deviceId"), "pos-01-02");
    let after = occurred_at(registration) - now;
    assert!(after.num_milliseconds() >= i64::from(result.duration_ms));
}

#[test]
fn a_device_that_is_not_in_the_fleet_cannot_run_a_job() {
    let (mut fleet, now) = fleet_after(1);
    let result = fleet.apply_job("pos-99-01", "RESTART", "job-1", now);
    assert_eq!(
        (result.status, result.error_code),
        (JobStatus::Error, Some("UNKNOWN_DEVICE"))
    );
    assert!(
        fleet
            .set_configuration("pos-99-01", "logLevel", "INFO".into())
            .is_none()
    );
}

#[test]
fn a_device_that_is_offline_cannot_run_a_job() {
    let start = instant(MONDAY);
    let mut fleet = Fleet::new(FleetOptions::default(), start);
    let mut now = start;
    let device_id = loop {
        now += TimeDelta::seconds(30);
        let events = fleet.advance(now);
        let changes = of_kind(&events, "deviceStateChange");
        let lost = changes
            .last()
            .filter(|change| text(change, "newState") == "OFFLINE");
        if let Some(change) = lost {
            break text(change, "deviceId").to_owned();
        }
    };
    let result = fleet.apply_job(&device_id, "RESTART", "job-1", now);
    assert_eq!(
        (result.status, result.error_code),
        (JobStatus::Error, Some("DEVICE_UNREACHABLE"))
    );
}

#[test]
fn configuration_returns_the_value_before() {
    let (mut fleet, _) = fleet_after(1);
    let mut set = |value: &str| fleet.set_configuration("pos-01-02", "theme", value.into());
    assert_eq!(
        [set("dark"), set("light")],
        [Some(Value::Null), Some("dark".into())]
    );
}

#[test]
fn the_collection_interval_changes_how_often_a_device_reports() {
    let (mut fleet, now) = fleet_after(5);
    let parameter = "collectionIntervalSeconds";
    let before = fleet.set_configuration("pos-01-02", parameter, 5.into());
    assert_eq!(before, Some(Value::from(30)));
    let metrics = metrics_of(&mut fleet, "pos-01-02", now + minutes(10));
    assert!((100..=120).contains(&metrics.len()), "{}", metrics.len());
    assert_eq!(metrics.last().unwrap()[parameter], Value::from(5));
}
