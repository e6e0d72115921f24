//! Jobs that start when that disturbs least: the window is found when the job is made, kept with it, and shown.

use std::collections::BTreeSet;

use futures_util::future::{BoxFuture, join_all};
use serde_json::{Value, json};

use super::app::{TestApp, at, on_each_database, texts};
use super::device_commands::{Followed, complete, ended};
use super::job_windows::{filed, window};
use super::jobs::create;

const CREATE: &str = "mutation($input: CreateJobInput!) { createJob(input: $input) { job { jobId state
    plan { startAt bestWindows { siteId start end lost retryCost latenessCost success confidence sentence } } }
    userErrors { code field message } } }";
const PREVIEW: &str = "query($input: CreateJobInput!) { previewJob(input: $input) { startsAt
    bestWindows { siteId start sentence } userErrors { code field } } }";

fn made(app: &TestApp, input: Value) -> BoxFuture<'_, Value> {
    Box::pin(async move {
        let mut data = app.data_with(CREATE, json!({ "input": input })).await;
        data["createJob"].take()
    })
}

/// The fleet, of which one site is open by day and the other by night; the test begins on a Monday at noon.
async fn shops(app: &TestApp) {
    app.fleet().await;
    filed(app, ("harbour", "08:00", "18:00"), json!({})).await;
    filed(app, ("market", "20:00", "04:00"), json!({})).await;
}

/// Moves the clock to an instant.
fn advance(app: &TestApp, to: &Value) {
    let to = homepot_analytics::event::Instant::parse(to.as_str().unwrap()).unwrap();
    app.clock.advance_ms((to.0 - app.clock.now().0) / 1_000);
}

#[tokio::test]
async fn a_job_is_scheduled_at_the_best_start_and_says_why() {
    on_each_database(async |app| {
        shops(app).await;
        let best = window(
            app,
            json!({ "device": "till-1", "type": "RESTART", "minutes": 30 }),
        )
        .await;
        let input = json!({ "jobType": "RESTART", "deviceIds": ["till-1"],
            "start": { "inBestWindow": { "durationMinutes": 30 } } });
        let preview = app.data_with(PREVIEW, json!({ "input": input })).await;
        let preview = &preview["previewJob"];
        assert_eq!(preview["userErrors"], json!([]));
        assert_eq!(preview["startsAt"], best["best"]["start"]);
        assert_eq!(
            preview["bestWindows"][0]["sentence"],
            best["best"]["sentence"]
        );
        let answer = made(app, input).await;
        assert_eq!(answer["userErrors"], json!([]), "{answer:#}");
        let job = &answer["job"];
        assert_eq!(
            (&job["state"], &job["plan"]["startAt"]),
            (&json!("SCHEDULED"), &best["best"]["start"])
        );
        let kept = job["plan"]["bestWindows"].as_array().unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0]["siteId"], "harbour");
        for field in ["start", "end", "sentence"] {
            assert_eq!(kept[0][field], best["best"][field], "{field}");
        }
        assert!(
            kept[0]["sentence"]
                .as_str()
                .unwrap()
                .contains("the shop is closed until")
        );
        // what else is planned on the device does not meet it
        let next = window(app, json!({ "device": "till-1", "minutes": 30 })).await;
        assert_ne!(next["best"]["start"], best["best"]["start"]);
    })
    .await;
}

#[tokio::test]
async fn the_devices_of_each_site_are_given_it_in_the_window_of_that_site() {
    on_each_database(async |app| {
        shops(app).await;
        let mut devices = Followed::new(app, None).await;
        // the harbour is closed from six on, the market until eight and from four on
        let input = json!({ "jobType": "RESTART", "deviceIds": ["till-1", "till-3"], "timeToLiveSeconds": 600_000,
            "start": { "inBestWindow": { "hours": "CLOSED_ONLY", "notBefore": "2026-11-23T19:00:00Z" } } });
        let answer = made(app, input).await;
        assert_eq!(answer["userErrors"], json!([]), "{answer:#}");
        let windows = answer["job"]["plan"]["bestWindows"].as_array().unwrap().clone();
        assert_eq!(texts(&json!(windows), "siteId"), ["harbour", "market"]);
        assert_eq!(answer["job"]["plan"]["startAt"], windows[0]["start"]);
        assert!(windows[0]["start"].as_str() < windows[1]["start"].as_str());
        advance(app, &windows[0]["start"]);
        let first = devices.told("till-1 1 ISSUED").await;
        assert!(complete(app, &first, "COMPLETED").await.is_empty());
        let id = answer["job"]["jobId"].as_str().unwrap();
        super::device_commands::until(app, id, |job| job["devicesSucceeded"] == 1).await;
        let waits = app.data("{ commandTransitions(filter: { state: { eq: ISSUED } }) { totalCount } }").await;
        assert_eq!(waits["commandTransitions"]["totalCount"], "1");
        advance(app, &windows[1]["start"]);
        let second = devices.told("till-3 1 ISSUED").await;
        assert!(complete(app, &second, "COMPLETED").await.is_empty());
        assert_eq!(ended(app, id).await, "COMPLETED 2+0");
    })
    .await;
}

#[tokio::test]
async fn what_real_tills_sell_and_what_is_made_up_is_not_added_up() {
    on_each_database(async |app| {
        shops(app).await;
        app.record(json!([{ "deviceRegistration": { "deviceId": "till-4", "siteId": "market",
            "deviceType": "POS_TERMINAL" } }]))
        .await;
        // a week in which made up tills sell ten an hour and a real one two
        let monday = homepot_analytics::event::Instant::parse("2026-11-16T00:00:00Z").unwrap();
        for (device, hourly, provenance) in [
            ("till-1", 10, "SIMULATED"),
            ("till-2", 2, "REAL"),
            ("till-3", 10, "SIMULATED"),
        ] {
            let reading = |hour: i64| {
                let at = monday.plus_ms(hour * 3_600_000 + 3_599_000);
                json!({ "deviceMetrics": { "deviceId": device, "occurredAt": at.to_string(),
                    "transactionCount": (hour % 24 + 1) * hourly, "collectionIntervalSeconds": 3_600,
                    "provenance": provenance } })
            };
            app.record((0..7 * 24).map(reading).collect()).await;
        }
        let asked = |of: Value| {
            let mut asked = json!({ "hours": "OPEN_ONLY" });
            asked.as_object_mut().unwrap().extend(of.as_object().unwrap().clone());
            window(app, asked)
        };
        let real = asked(json!({ "device": "till-2" })).await;
        assert_eq!(real["provenance"], "REAL");
        assert!(real["value"].as_f64().unwrap() < 5.0, "{real:#}");
        let harbour = asked(json!({ "site": "harbour" })).await;
        assert_eq!(harbour["devicesTargeted"], 2);
        for field in ["provenance", "value", "interval", "best"] {
            assert_eq!(harbour[field], real[field], "{field}");
        }
        // where all is made up it is told so, also beside a till that was not heard of yet
        let made_up = asked(json!({ "device": "till-3" })).await;
        let market = asked(json!({ "site": "market" })).await;
        assert_eq!(market["devicesTargeted"], 2);
        assert_eq!(market["provenance"], "SIMULATED");
        for field in ["value", "best"] {
            assert_eq!(market[field], made_up[field], "{field}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_job_that_recurs_often_leaves_no_start_from_when_it_was_made_until_it_was_cancelled() {
    on_each_database(async |app| {
        shops(app).await;
        let status = |asked: Value| {
            let window = window(app, asked);
            async move { window.await["status"].take() }
        };
        let (told, none) = (json!("LEARNING"), json!("INSUFFICIENT"));
        app.clock.advance_ms(3_600_000);
        let often = json!({ "jobType": "HEALTH_CHECK", "siteIds": ["harbour"],
            "start": { "cron": "*/5 * * * *" } });
        let often = create(app, often).await;
        assert_eq!(often["userErrors"], json!([]));
        assert_eq!(status(json!({ "device": "till-1" })).await, none);
        assert_eq!(status(json!({ "device": "till-3" })).await, told);
        app.clock.advance_ms(3_600_000);
        let id = often["job"]["jobId"].as_str().unwrap();
        let cancel = format!(
            "mutation {{ cancelJob(input: {{ jobId: \"{id}\" }}) {{ userErrors {{ code }} }} }}"
        );
        let cancelled = app.data(&cancel).await;
        assert_eq!(cancelled["cancelJob"]["userErrors"], json!([]));
        for (minutes, expected) in [(30, &told), (90, &none), (120, &told)] {
            let asked = json!({ "device": "till-1", "at": at(minutes) });
            assert_eq!(status(asked).await, *expected, "{minutes}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_repeat_is_the_same_job_with_the_window_that_was_found_first() {
    on_each_database(async |app| {
        shops(app).await;
        let input = json!({ "jobType": "RESTART", "siteIds": ["harbour"], "idempotencyKey": "once",
            "start": { "inBestWindow": { "deadline": at(3 * 1_440) } } });
        let first = made(app, input.clone()).await;
        assert_eq!(first["userErrors"], json!([]), "{first:#}");
        let again = made(app, input.clone()).await;
        assert_eq!(again, first);
        // also when the window and the deadline are past
        app.clock.advance_ms(4 * 86_400_000);
        let late = made(app, input.clone()).await;
        assert_eq!(late["userErrors"], json!([]), "{late:#}");
        assert_eq!(late["job"]["jobId"], first["job"]["jobId"]);
        assert_eq!(late["job"]["plan"], first["job"]["plan"]);
        let mut other = input;
        other["start"] = json!({ "at": at(10 * 1_440) });
        let other = made(app, other).await;
        assert_eq!(texts(&other["userErrors"], "code"), ["CONFLICT"]);
    })
    .await;
}

#[tokio::test]
async fn jobs_that_are_made_at_once_are_given_different_windows() {
    on_each_database(async |app| {
        shops(app).await;
        let input = json!({ "jobType": "RESTART", "deviceIds": ["till-1"],
            "start": { "inBestWindow": { "durationMinutes": 30 } } });
        let all = (0..4).map(|_| made(app, input.clone()));
        let mut starts = BTreeSet::new();
        for answer in join_all(all).await {
            assert_eq!(answer["userErrors"], json!([]), "{answer:#}");
            starts.insert(answer["job"]["plan"]["startAt"].to_string());
        }
        assert_eq!(starts.len(), 4, "{starts:?}");
    })
    .await;
}

#[tokio::test]
async fn a_job_tried_again_starts_at_once() {
    on_each_database(async |app| {
        shops(app).await;
        let mut devices = Followed::new(app, None).await;
        let input = json!({ "jobType": "RESTART", "deviceIds": ["till-1"], "start": { "inBestWindow": {} } });
        let answer = made(app, input).await;
        let id = answer["job"]["jobId"].as_str().unwrap().to_owned();
        advance(app, &answer["job"]["plan"]["startAt"]);
        let command = devices.told("till-1 1 ISSUED").await;
        assert!(complete(app, &command, "FAILED").await.is_empty());
        assert_eq!(ended(app, &id).await, "FAILED 0+1");
        let retry = "mutation($id: ID!) { retryJob(input: { jobId: $id }) { job { state plan { startAt bestWindows { siteId } } }
            userErrors { code } } }";
        let retried = app.data_with(retry, json!({ "id": id })).await;
        let job = &retried["retryJob"]["job"];
        assert_eq!(job["plan"], json!({ "startAt": null, "bestWindows": [] }), "{retried:#}");
        devices.told("till-1 1 ISSUED").await;
    })
    .await;
}

#[tokio::test]
async fn a_window_that_cannot_be_is_refused_with_its_field() {
    on_each_database(async |app| {
        shops(app).await;
        app.record(json!([{ "siteRegistration": { "siteId": "new", "name": "New" } },
            { "deviceRegistration": { "deviceId": "till-9", "siteId": "new", "deviceType": "POS_TERMINAL" } }])).await;
        for (device, best, code, field) in [
            ("till-1", json!({ "durationMinutes": 0 }), "INVALID", "start.inBestWindow.durationMinutes"),
            ("till-1", json!({ "deadline": at(-1) }), "INVALID", "start.inBestWindow.deadline"),
            ("till-1", json!({ "notBefore": at(60), "deadline": at(30) }), "INVALID", "start.inBestWindow.deadline"),
            ("till-1", json!({ "notBefore": at(8 * 1_440) }), "INVALID", "start.inBestWindow.notBefore"),
            ("till-1", json!({ "retryCost": -1.0 }), "INVALID", "start.inBestWindow.retryCost"),
            ("till-1", json!({ "maintenance": "INSIDE" }), "NEVER_STARTS", "start.inBestWindow"),
            ("till-9", json!({}), "NEVER_STARTS", "start.inBestWindow"),
        ] {
            let input = json!({ "jobType": "RESTART", "deviceIds": [device], "start": { "inBestWindow": best } });
            let answer = made(app, input.clone()).await;
            assert_eq!(answer["job"], Value::Null, "{best}");
            let error = &answer["userErrors"][0];
            assert_eq!((&error["code"], &error["field"]), (&json!(code), &json!(field)), "{best}: {answer:#}");
            let preview = app.data_with(PREVIEW, json!({ "input": input })).await;
            let preview = &preview["previewJob"];
            assert_eq!(texts(&preview["userErrors"], "code"), [code], "{best}");
            assert_eq!((&preview["startsAt"], &preview["bestWindows"]), (&Value::Null, &json!([])));
        }
    })
    .await;
}
