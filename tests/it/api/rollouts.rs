//! Jobs as they are carried out: in batches, canaries first, paused, stopped, later, and again and again.

use serde_json::{Value, json};

use homepot_analytics::identity::Role;

use super::access::{ask, grant, key};
use super::app::{on_each_database, texts};
use super::device_commands::{Followed, acknowledge, complete, ended, made, until};
use super::jobs::create;

#[tokio::test]
async fn a_pause_holds_a_job_and_its_devices_that_are_at_work_go_on() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut devices = Followed::new(app, None).await;
        let job = made(app, json!({ "jobType": "RESTART", "deviceIds": ["till-1", "till-2", "till-3"],
            "rollout": { "batchSize": 1 } })).await;
        let command = |field: &str| format!("mutation($id: ID!) {{ {field}(input: {{ jobId: $id }}) {{ job {{ state }} userErrors {{ code }} }} }}");
        let first = devices.told("till-1 1 ISSUED").await;
        for _ in 0..2 {
            let paused = app.data_with(&command("pauseJob"), json!({ "id": job })).await;
            assert_eq!(paused["pauseJob"]["job"]["state"], "PAUSED");
            assert_eq!(paused["pauseJob"]["userErrors"], json!([]));
        }
        assert!(complete(app, &first, "COMPLETED").await.is_empty());
        let held = until(app, &job, |job| job["devicesSucceeded"] == 1).await;
        assert_eq!((&held["state"], &held["devicesWaiting"]), (&json!("PAUSED"), &json!(2)));
        // what the orchestrator would do it has done by the time that another job has begun
        let other = made(app, json!({ "jobType": "HEALTH_CHECK", "deviceIds": ["till-3"] })).await;
        devices.told("till-3 1 ISSUED").await;
        until(app, &other, |job| job["state"] == "RUNNING").await;
        let resumed = app.data_with(&command("resumeJob"), json!({ "id": job })).await;
        assert_eq!(resumed["resumeJob"]["job"]["state"], "RUNNING");
        let second = devices.told("till-2 1 ISSUED").await;
        assert!(complete(app, &second, "COMPLETED").await.is_empty());
        let third = devices.told("till-3 1 ISSUED").await;
        assert!(complete(app, &third, "COMPLETED").await.is_empty());
        assert_eq!(ended(app, &job).await, "COMPLETED 3+0");
        let refused = app.data_with(&command("resumeJob"), json!({ "id": job })).await;
        assert_eq!(texts(&refused["resumeJob"]["userErrors"], "code"), ["WRONG_STATE"]);
    })
    .await;
}

#[tokio::test]
async fn a_job_is_stopped_by_whoever_has_read_how_it_stands_and_by_nobody_else() {
    on_each_database(async |app| {
        app.fleet().await;
        let start = json!({ "at": super::app::at(60) });
        let job = made(
            app,
            json!({ "jobType": "RESTART", "siteIds": ["harbour"], "start": start }),
        )
        .await;
        let version = "query($id: ID!) { job(jobId: $id) { version } }";
        let version = app.data_with(version, json!({ "id": job })).await;
        let mut version = version["job"]["version"].clone();
        let steps = [
            ("pauseJob", "PauseJobInput", "PAUSED"),
            ("resumeJob", "PauseJobInput", "SCHEDULED"),
            ("cancelJob", "CancelJobInput", "CANCELLED"),
        ];
        let mut state = "SCHEDULED";
        for (name, input, next) in steps {
            let document = format!(
                "mutation($input: {input}!) {{ answer: {name}(input: $input) {{
                job {{ state version }} userErrors {{ code field }} }} }}"
            );
            let tell = async |version: &Value| {
                let input = json!({ "input": { "jobId": job, "expectedVersion": version } });
                app.data_with(&document, input).await["answer"].take()
            };
            let mut stale = tell(&json!("1")).await;
            let conflict = json!([{ "code": "CONFLICT", "field": "expectedVersion" }]);
            assert_eq!(stale["userErrors"].take(), conflict, "{name}");
            assert_eq!(stale["job"], json!({ "state": state, "version": version }));
            let mut told = tell(&version).await;
            assert_eq!(told["userErrors"], json!([]), "{name}");
            assert_eq!(told["job"]["state"], next);
            (state, version) = (next, told["job"]["version"].take());
        }
    })
    .await;
}

#[tokio::test]
async fn a_canary_that_fails_stops_the_job_before_any_other_device_has_it() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut devices = Followed::new(app, None).await;
        let job = made(app, json!({ "jobType": "RESTART", "siteIds": ["harbour", "market"],
            "rollout": { "canaryDevices": 1 } })).await;
        let canary = devices.told("till-1 1 ISSUED").await;
        assert!(complete(app, &canary, "FAILED").await.is_empty());
        assert_eq!(ended(app, &job).await, "FAILED 0+3");
        let data = app.data("{ jobTransitions(first: 1) { nodes { reason } } commandTransitions(filter: { state: { eq: ISSUED } }) { totalCount } }").await;
        assert_eq!(data["jobTransitions"]["nodes"][0]["reason"], "a canary failed");
        assert_eq!(data["commandTransitions"]["totalCount"], "1");
    })
    .await;
}

#[tokio::test]
async fn a_job_is_stopped_when_too_many_devices_fail_and_what_failed_is_tried_again_by_itself() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut devices = Followed::new(app, None).await;
        let job = made(
            app,
            json!({ "jobType": "RESTART", "deviceIds": ["till-1", "till-2", "till-3"],
            "rollout": { "batchSize": 1, "failuresMax": 0 } }),
        )
        .await;
        let first = devices.told("till-1 1 ISSUED").await;
        assert!(complete(app, &first, "COMPLETED").await.is_empty());
        let second = devices.told("till-2 1 ISSUED").await;
        assert!(complete(app, &second, "ERROR").await.is_empty());
        assert_eq!(ended(app, &job).await, "FAILED 1+2");
        let retry = "mutation($id: ID!) { retryJob(input: { jobId: $id, idempotencyKey: \"r\" }) {
            job { jobId parentJobId devicesTargeted } userErrors { code } } }";
        let data = app.data_with(retry, json!({ "id": job })).await;
        let retried = &data["retryJob"]["job"];
        assert_eq!(
            (&retried["parentJobId"], &retried["devicesTargeted"]),
            (&json!(job), &json!(2))
        );
        let again = app.data_with(retry, json!({ "id": job })).await;
        assert_eq!(again["retryJob"]["job"]["jobId"], retried["jobId"]);
        let third = devices.told("till-2 1 ISSUED").await;
        assert!(complete(app, &third, "COMPLETED").await.is_empty());
    })
    .await;
}

/// What is wrong with a job, with the field and the code that it is refused with.
fn out_of_bounds() -> Vec<(Value, &'static str, &'static str)> {
    vec![
        (
            json!({ "jobType": "FIRMWARE_UPDATE" }),
            "payload",
            "INVALID",
        ),
        (
            json!({ "payload": { "delaySeconds": -1 } }),
            "payload",
            "INVALID",
        ),
        (
            json!({ "payload": { "when": "now" } }),
            "payload",
            "INVALID",
        ),
        (json!({ "jobType": "CUSTOM" }), "name", "INVALID"),
        (
            json!({ "jobType": "CUSTOM", "name": "RESTART" }),
            "name",
            "INVALID",
        ),
        (
            json!({ "rollout": { "batchSize": 0 } }),
            "rollout.batchSize",
            "INVALID",
        ),
        (
            json!({ "rollout": { "failuresMaxPercent": 101.0 } }),
            "rollout.failuresMaxPercent",
            "INVALID",
        ),
        (json!({ "timeoutSeconds": 0 }), "timeoutSeconds", "INVALID"),
        (
            json!({ "timeToLiveSeconds": 7_776_001 }),
            "timeToLiveSeconds",
            "INVALID",
        ),
        (json!({ "retries": 11 }), "retries", "INVALID"),
        (
            json!({ "start": { "cron": "at noon" } }),
            "start.cron",
            "INVALID",
        ),
        (
            json!({ "start": { "cron": "0 0 30 2 *" } }),
            "start.cron",
            "INVALID",
        ),
        (
            json!({ "deviceIds": [], "tags": ["nobody has this"] }),
            "deviceIds",
            "NO_TARGET",
        ),
        (
            json!({ "deviceIds": [], "filter": { "siteId": "nowhere" } }),
            "filter.siteId",
            "NOT_FOUND",
        ),
    ]
}

#[tokio::test]
async fn a_job_that_is_out_of_its_bounds_is_refused_with_the_field() {
    on_each_database(async |app| {
        app.fleet().await;
        let of = |more: Value| {
            let mut input = json!({ "jobType": "RESTART", "deviceIds": ["till-1"] });
            let more = more.as_object().unwrap().clone();
            input.as_object_mut().unwrap().extend(more);
            input
        };
        for (more, field, code) in out_of_bounds() {
            let answer = create(app, of(more.clone())).await;
            assert_eq!(
                texts(&answer["userErrors"], "field"),
                [field],
                "{more} {answer:#}"
            );
            assert_eq!(texts(&answer["userErrors"], "code"), [code], "{more}");
        }
        let data = app.data("{ jobs { totalCount } }").await;
        assert_eq!(data["jobs"]["totalCount"], "0");
    })
    .await;
}

#[tokio::test]
async fn devices_are_found_by_tag_and_by_what_they_are() {
    on_each_database(async |app| {
        app.fleet().await;
        let device = |id: &str, tags: Value, model: &str| {
            json!({ "deviceRegistration": { "deviceId": id, "siteId": "harbour", "deviceType": "GATEWAY",
                "tags": tags, "model": model } })
        };
        app.record(json!([
            device("a", json!(["blue", "x,\"y"]), "M1"),
            device("b", json!(["blueish", ","]), "M2"),
            device("c", json!(["old", "blue"]), "M2"),
        ]))
        .await;
        let document = "query($input: CreateJobInput!) { previewJob(input: $input) { devicesTargeted batches startsAt
            devices { deviceId } userErrors { code } } }";
        for (input, found) in [
            (json!({ "tags": ["blue"] }), "a c"),
            (json!({ "tags": [","] }), "b"),
            (json!({ "tags": ["x,\"y"] }), "a"),
            (json!({ "tags": ["y"] }), ""),
            (json!({ "filter": { "model": "M2" } }), "b c"),
            (json!({ "filter": { "deviceTypes": ["GATEWAY"], "search": "A" } }), "a"),
            (json!({ "filter": { "siteId": "market" }, "deviceIds": ["a"] }), "a till-3"),
        ] {
            let mut job = json!({ "jobType": "RESTART", "rollout": { "batchSize": 2 } });
            job.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
            let data = app.data_with(document, json!({ "input": job })).await;
            let preview = &data["previewJob"];
            assert_eq!(texts(&preview["devices"], "deviceId").join(" "), found, "{input}");
        }
        assert_eq!(app.data("{ jobs { totalCount } }").await["jobs"]["totalCount"], "0");
    })
    .await;
}

#[tokio::test]
async fn a_job_waits_for_its_time_and_recurs_in_the_time_of_each_site() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([
            { "siteRegistration": { "siteId": "far", "name": "Far", "timeZone": "Asia/Tokyo" } },
            { "deviceRegistration": { "deviceId": "far-1", "siteId": "far", "deviceType": "GATEWAY" } }
        ]))
        .await;
        let mut devices = Followed::new(app, None).await;
        let later = made(app, json!({ "jobType": "RESTART", "deviceIds": ["till-1"],
            "start": { "at": super::app::at(10) } })).await;
        let nightly = made(app, json!({ "jobType": "HEALTH_CHECK", "siteIds": ["far", "harbour"],
            "start": { "cron": "0 2 * * *" } })).await;
        let waiting = app.data("{ jobs { nodes { state } } }").await;
        assert_eq!(texts(&waiting["jobs"]["nodes"], "state"), ["SCHEDULED", "SCHEDULED"]);
        app.clock.advance_ms(600_000);
        devices.told("till-1 1 ISSUED").await;
        until(app, &later, |job| job["state"] == "RUNNING").await;
        // two in the night comes five hours after noon in London to Tokyo, and nine hours later to London
        app.clock.advance_ms(5 * 3_600_000);
        let far = devices.next().await;
        assert_eq!((&far["deviceId"], &far["jobType"]), (&json!("far-1"), &json!("HEALTH_CHECK")));
        app.clock.advance_ms(9 * 3_600_000);
        devices.told("till-1 1 ISSUED").await;
        devices.told("till-2 1 ISSUED").await;
        let data = app.data("{ jobs { nodes { parentJobId state } } }").await;
        let parents = data["jobs"]["nodes"].as_array().unwrap().iter();
        assert_eq!(parents.filter(|job| job["parentJobId"] == nightly.as_str()).count(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_was_ahead_holds_no_job_up() {
    on_each_database(async |app| {
        app.fleet().await;
        let month_ms = 30 * 86_400_000;
        app.clock.advance_ms(month_ms);
        let now = app.clock.now().to_string();
        let ahead = json!({ "deviceId": "till-3", "cpuPercent": 1, "occurredAt": now });
        app.record(json!([{ "deviceMetrics": ahead }])).await;
        app.clock.advance_ms(-month_ms);
        let mut devices = Followed::new(app, None).await;
        let job = made(
            app,
            json!({ "jobType": "RESTART", "deviceIds": ["till-1", "till-2"],
            "rollout": { "batchSize": 1 }, "timeToLiveSeconds": 60 }),
        )
        .await;
        let first = devices.told("till-1 1 ISSUED").await;
        assert!(complete(app, &first, "COMPLETED").await.is_empty());
        until(app, &job, |job| job["devicesSucceeded"] == 1).await;
        app.clock.advance_ms(1_000);
        devices.told("till-2 1 ISSUED").await;
        app.clock.advance_ms(61_000);
        devices.told("till-2 1 CANCELLED").await;
        assert_eq!(ended(app, &job).await, "FAILED 1+1");
    })
    .await;
}

#[tokio::test]
async fn a_job_that_recurs_is_stopped_by_whoever_reaches_what_its_maker_did() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let maker = key(app, grant(Role::Operator, &["harbour"])).await;
        let stranger = key(app, grant(Role::Operator, &["market"])).await;
        let other = key(app, grant(Role::Operator, &["harbour", "market"])).await;
        let make = "mutation { createJob(input: { jobType: RESTART, siteIds: [\"harbour\"], start: { cron: \"0 3 * * *\" } }) {
            job { jobId plan { cron } } userErrors { code } } }";
        let (_, made) = ask(app, &maker, json!({ "query": make })).await;
        let job = &made["data"]["createJob"]["job"];
        assert_eq!(job["plan"]["cron"], "0 3 * * *", "{made:#}");
        let command = |name: &str| {
            let query = format!("mutation($id: ID!) {{ {name}(input: {{ jobId: $id }}) {{ job {{ state }} userErrors {{ code }} }} }}");
            json!({ "query": query, "variables": { "id": job["jobId"] } })
        };
        let (_, refused) = ask(app, &stranger, command("cancelJob")).await;
        let refused = &refused["data"]["cancelJob"];
        assert_eq!(refused, &json!({ "job": null, "userErrors": [{ "code": "NOT_FOUND" }] }));
        let (_, paused) = ask(app, &maker, command("pauseJob")).await;
        assert_eq!(paused["data"]["pauseJob"]["job"]["state"], "PAUSED");
        let (_, cancelled) = ask(app, &other, command("cancelJob")).await;
        assert_eq!(cancelled["data"]["cancelJob"]["job"]["state"], "CANCELLED");
    })
    .await;
}

#[tokio::test]
async fn a_job_waits_for_the_maintenance_window_of_each_site() {
    on_each_database(async |app| {
        app.fleet().await;
        let window = |site: &str, start: &str, end: &str| {
            json!({ "siteSchedule": { "siteId": site, "dayOfWeek": "MONDAY", "openTime": "08:00",
                "closeTime": "20:00", "maintenanceWindows": [{ "start": start, "end": end }] } })
        };
        app.record(json!([window("harbour", "13:00", "14:00")]))
            .await;
        let input = json!({ "jobType": "RESTART", "siteIds": ["harbour", "market"],
            "start": { "inMaintenanceWindow": true }, "timeoutSeconds": 86_400,
            "timeToLiveSeconds": 8 * 86_400 });
        let refused = create(app, input.clone()).await;
        assert_eq!(texts(&refused["userErrors"], "code"), ["NEVER_STARTS"]);
        assert_eq!(texts(&refused["userErrors"], "field"), ["start"]);
        app.record(json!([window("market", "22:00", "23:00")]))
            .await;
        let mut devices = Followed::new(app, None).await;
        let job = made(app, input).await;
        until(app, &job, |job| job["state"] == "SCHEDULED").await;
        let hour_ms = 3_600_000;
        app.clock.advance_ms(hour_ms);
        let first = devices.told("till-1 1 ISSUED").await;
        let second = devices.told("till-2 1 ISSUED").await;
        assert!(acknowledge(app, &first).await.is_empty());
        app.clock.advance_ms(9 * hour_ms);
        // what was taken goes on, and what was not is taken back until the next window
        devices.told("till-2 1 CANCELLED").await;
        assert_eq!(acknowledge(app, &second).await, ["EXPIRED"]);
        assert!(complete(app, &first, "COMPLETED").await.is_empty());
        devices.told("till-3 1 ISSUED").await;
        app.clock.advance_ms((7 * 24 - 9) * hour_ms);
        devices.told("till-3 1 CANCELLED").await;
        devices.told("till-2 2 ISSUED").await;
        app.clock.advance_ms(9 * hour_ms);
        devices.told("till-2 2 CANCELLED").await;
        let third = devices.told("till-3 2 ISSUED").await;
        assert!(complete(app, &third, "COMPLETED").await.is_empty());
        // a week later the job is older than a command may wait
        app.clock.advance_ms((7 * 24 - 9) * hour_ms);
        assert_eq!(ended(app, &job).await, "FAILED 2+1");
    })
    .await;
}

#[tokio::test]
async fn commands_outlive_a_restart_of_the_server() {
    on_each_database(async |app| {
        app.fleet().await;
        let job = made(app, json!({ "jobType": "RESTART", "deviceIds": ["till-1", "till-2"],
            "rollout": { "batchSize": 1 }, "timeoutSeconds": 60 })).await;
        until(app, &job, |job| job["devicesIssued"] == 1).await;
        app.restart().await;
        let mut devices = Followed::new(app, None).await;
        let first = devices.told("till-1 1 ISSUED").await;
        assert!(acknowledge(app, &first).await.is_empty());
        app.restart().await;
        assert!(complete(app, &first, "COMPLETED").await.is_empty());
        let mut devices = Followed::new(app, None).await;
        let second = devices.told("till-2 1 ISSUED").await;
        assert!(complete(app, &second, "COMPLETED").await.is_empty());
        assert_eq!(ended(app, &job).await, "COMPLETED 2+0");
        let data = app.data("{ commandTransitions { totalCount } jobOutcomes { totalCount } }").await;
        assert_eq!(data, json!({ "commandTransitions": { "totalCount": "5" }, "jobOutcomes": { "totalCount": "3" } }));
    })
    .await;
}
