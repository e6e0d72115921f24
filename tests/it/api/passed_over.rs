//! Jobs on devices that they are not given any more: retired ones, and those that have left the reach of who
//! made them.

use serde_json::json;

use homepot_analytics::identity::Role;

use super::access::{ask, grant, key};
use super::app::{TestApp, on_each_database};
use super::device_commands::{Followed, complete, ended, made};

/// Retires the first device.
async fn retire(app: &TestApp) {
    let retired =
        "mutation { retireDevice(input: { deviceId: \"till-1\" }) { userErrors { code } } }";
    app.data(retired).await;
}

#[tokio::test]
async fn a_device_that_is_retired_holds_no_job_open() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut devices = Followed::new(app, None).await;
        let job = made(
            app,
            json!({ "jobType": "RESTART", "deviceIds": ["till-1", "till-2"] }),
        )
        .await;
        devices.told("till-1 1 ISSUED").await;
        let second = devices.told("till-2 1 ISSUED").await;
        retire(app).await;
        devices.told("till-1 1 CANCELLED").await;
        assert!(complete(app, &second, "COMPLETED").await.is_empty());
        assert_eq!(ended(app, &job).await, "COMPLETED 1+1");
        let data = app
            .data(
                "{ pendingCommands(deviceId: \"till-1\") { commandId } jobOutcomes(filter: { \
            status: { eq: CANCELLED } }) { nodes { deviceId errorCode } } }",
            )
            .await;
        assert_eq!(data["pendingCommands"], json!([]));
        let outcome = json!([{ "deviceId": "till-1", "errorCode": "RETIRED" }]);
        assert_eq!(data["jobOutcomes"]["nodes"], outcome);
    })
    .await;
}

#[tokio::test]
async fn what_is_told_late_of_a_device_that_was_retired_once_ends_no_job_on_it() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut devices = Followed::new(app, None).await;
        let job = made(
            app,
            json!({ "jobType": "RESTART", "deviceIds": ["till-1", "till-2"],
                "rollout": { "batchSize": 1 } }),
        )
        .await;
        let first = devices.told("till-1 1 ISSUED").await;
        app.record(
            json!([{ "deviceRegistration": { "deviceId": "till-2", "siteId": "harbour",
            "deviceType": "POS_TERMINAL", "lifecycle": "RETIRED",
            "occurredAt": "2020-01-01T00:00:00Z" } }]),
        )
        .await;
        assert!(complete(app, &first, "COMPLETED").await.is_empty());
        let second = devices.told("till-2 1 ISSUED").await;
        assert!(complete(app, &second, "COMPLETED").await.is_empty());
        assert_eq!(ended(app, &job).await, "COMPLETED 2+0");
    })
    .await;
}

#[tokio::test]
async fn a_job_whose_canary_is_retired_is_cancelled_and_one_that_has_another_goes_on() {
    for (canaries, state) in [(1, "CANCELLED"), (2, "COMPLETED")] {
        on_each_database(async |app| {
            app.fleet().await;
            let mut devices = Followed::new(app, None).await;
            let job = made(
                app,
                json!({ "jobType": "RESTART", "deviceIds": ["till-1", "till-2", "till-3"],
                    "rollout": { "canaryDevices": canaries } }),
            )
            .await;
            let mut told = Vec::new();
            for id in ["till-1", "till-2"].iter().take(canaries) {
                told.push(devices.told(&format!("{id} 1 ISSUED")).await);
            }
            retire(app).await;
            devices.told("till-1 1 CANCELLED").await;
            if state == "COMPLETED" {
                assert!(complete(app, &told[1], "COMPLETED").await.is_empty());
                let last = devices.told("till-3 1 ISSUED").await;
                assert!(complete(app, &last, "COMPLETED").await.is_empty());
            }
            assert!(ended(app, &job).await.starts_with(state));
        })
        .await;
    }
}

#[tokio::test]
async fn a_job_does_not_follow_a_device_out_of_the_reach_of_its_maker() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let bound = key(app, grant(Role::Operator, &["harbour"])).await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let make = json!({ "jobType": "RESTART", "deviceIds": ["till-1", "till-2"],
            "start": { "at": super::app::at(1) } });
        let create = "mutation($input: CreateJobInput!) { createJob(input: $input) { job { jobId } userErrors { code } } }";
        let (_, made) = ask(app, &bound, json!({ "query": create, "variables": { "input": make } })).await;
        assert_eq!(made["data"]["createJob"]["userErrors"], json!([]), "{made:#}");
        let moved = "mutation { moveDevice(input: { deviceId: \"till-1\", siteId: \"market\" }) { userErrors { code } } }";
        ask(app, &admin, json!({ "query": moved })).await;
        app.clock.advance_ms(60_000);
        app.restart().await;
        let mut devices = Followed::new(app, Some("till-2")).await;
        let second = devices.told("till-2 1 ISSUED").await;
        assert!(complete(app, &second, "COMPLETED").await.is_empty());
        let job = made["data"]["createJob"]["job"]["jobId"].as_str().unwrap();
        assert_eq!(ended(app, job).await, "COMPLETED 1+1");
        let data = app.data("{ jobOutcomes(filter: { status: { eq: CANCELLED } }) { nodes { deviceId errorCode } }
            commandTransitions(filter: { state: { eq: ISSUED } }) { totalCount } }").await;
        let outcome = json!([{ "deviceId": "till-1", "errorCode": "OUT_OF_REACH" }]);
        assert_eq!(data["jobOutcomes"]["nodes"], outcome);
        assert_eq!(data["commandTransitions"]["totalCount"], "1");
    })
    .await;
}
