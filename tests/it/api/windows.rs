//! Jobs in the maintenance windows of sites: what is taken back, what is given again, and what is not.

use serde_json::{Value, json};

use super::app::{TestApp, on_each_database, start, texts};
use super::device_commands::{Followed, acknowledge, complete, ended, made, until};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Gives the harbour a window from 13:00 to 14:00 on some days; the test begins on a Monday at 12:00.
async fn windows(app: &TestApp, days: &[&str]) {
    app.fleet().await;
    let window = |day: &&str| {
        json!({ "siteSchedule": { "siteId": "harbour", "dayOfWeek": day, "openTime": "08:00",
            "closeTime": "20:00", "maintenanceWindows": [{ "start": "13:00", "end": "14:00" }] } })
    };
    app.record(days.iter().map(window).collect()).await;
}

/// A job for those windows.
fn job(devices: &[&str], more: &Value) -> Value {
    let mut job = json!({ "jobType": "RESTART", "deviceIds": devices,
        "start": { "inMaintenanceWindow": true }, "timeToLiveSeconds": 60 * 86_400 });
    job.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    job
}

#[tokio::test]
async fn a_command_that_was_taken_back_is_no_failure_and_is_given_again_at_once_in_the_next_window()
{
    on_each_database(async |app| {
        windows(app, &["MONDAY", "TUESDAY", "WEDNESDAY"]).await;
        let mut devices = Followed::new(app, None).await;
        let retried = json!({ "retries": 1, "retryBackoffSeconds": 3_600 });
        let job = made(app, job(&["till-1"], &retried)).await;
        until(app, &job, |job| job["state"] == "SCHEDULED").await;
        app.clock.advance_ms(HOUR_MS);
        devices.told("till-1 1 ISSUED").await;
        app.clock.advance_ms(HOUR_MS);
        devices.told("till-1 1 CANCELLED").await;
        app.clock.advance_ms(DAY_MS - HOUR_MS);
        let second = devices.told("till-1 2 ISSUED").await;
        assert!(complete(app, &second, "FAILED").await.is_empty());
        app.clock.advance_ms(DAY_MS);
        let third = devices.told("till-1 3 ISSUED").await;
        assert!(complete(app, &third, "FAILED").await.is_empty());
        assert_eq!(ended(app, &job).await, "FAILED 0+1");
        let data = app.data(
            "{ jobOutcomes(filter: { scope: { eq: DEVICE } }) { nodes { status retryCount } } }",
        );
        let outcome = json!([{ "status": "FAILED", "retryCount": 1 }]);
        assert_eq!(data.await["jobOutcomes"]["nodes"], outcome);
    })
    .await;
}

#[tokio::test]
async fn a_command_that_was_taken_back_is_not_given_again_after_its_time_to_live() {
    on_each_database(async |app| {
        windows(app, &["MONDAY"]).await;
        let mut devices = Followed::new(app, None).await;
        let short = json!({ "timeToLiveSeconds": 86_400, "retries": 3 });
        let job = made(app, job(&["till-1"], &short)).await;
        app.clock.advance_ms(HOUR_MS);
        devices.told("till-1 1 ISSUED").await;
        app.clock.advance_ms(HOUR_MS);
        devices.told("till-1 1 CANCELLED").await;
        app.clock.advance_ms(DAY_MS);
        assert_eq!(ended(app, &job).await, "FAILED 0+1");
        let data = app.data("{ jobOutcomes(filter: { scope: { eq: DEVICE } }) { nodes { status errorCode retryCount } }
            commandTransitions(filter: { state: { eq: ISSUED } }) { totalCount } }").await;
        let outcome = json!([{ "status": "TIMEOUT", "errorCode": "NOT_TAKEN", "retryCount": 0 }]);
        assert_eq!(data["jobOutcomes"]["nodes"], outcome);
        assert_eq!(data["commandTransitions"]["totalCount"], "1");
    })
    .await;
}

#[tokio::test]
async fn a_command_that_was_taken_on_one_node_is_taken_back_by_none() {
    on_each_database(async |app| {
        if app.url().starts_with("sqlite") {
            // one node alone may have that
            return;
        }
        windows(app, &["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY"]).await;
        let other = start(app.url(), app.clock.clone()).await;
        let mut devices = Followed::new(app, Some("till-2")).await;
        for _ in 0..4 {
            let job = made(app, job(&["till-1", "till-2"], &json!({ "timeoutSeconds": 86_400 }))).await;
            app.clock.advance_ms(HOUR_MS);
            devices.told("till-2 1 ISSUED").await;
            let first = format!("{job}.1.till-1");
            assert!(acknowledge(app, &first).await.is_empty());
            // whichever node acts first: the other one may not have heard of that yet
            app.clock.advance_ms(HOUR_MS);
            devices.told("till-2 1 CANCELLED").await;
            assert!(complete(app, &first, "COMPLETED").await.is_empty());
            let data = app.data("{ commandTransitions(filter: { deviceId: { eq: \"till-1\" } }, first: 1) { nodes { state } } }").await;
            assert_eq!(texts(&data["commandTransitions"]["nodes"], "state"), ["COMPLETED"]);
            let cancel = "mutation($id: ID!) { cancelJob(input: { jobId: $id }) { userErrors { code } } }";
            app.data_with(cancel, json!({ "id": job })).await;
            app.clock.advance_ms(22 * HOUR_MS);
        }
        other.stop().await;
    })
    .await;
}
