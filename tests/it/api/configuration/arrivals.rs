//! Devices that come later are told what holds for them, and nobody is told by a retry what holds no more.

use homepot_analytics::configuration::{self, Keyring, ParameterChange, Setting, Thing};
use homepot_analytics::ingest::Ingest;
use serde_json::{Value, json};

use super::super::app::{TestApp, on_each_database, texts};
use super::super::device_commands::{Followed, complete, ended};
use super::super::jobs::create;
use super::{done, holds, parameters, register};

async fn registered(app: &TestApp, device: &str, site: &str) {
    app.record(
        json!([{ "deviceRegistration": { "deviceId": device, "siteId": site,
        "deviceType": "POS_TERMINAL" } }]),
    )
    .await;
}

/// Sets parameters on a device while no server runs.
async fn set(ingest: &Ingest, values: &[(&str, i64)]) {
    let change = |(name, value): &(&str, i64)| ParameterChange {
        parameter: (*name).to_owned(),
        value: Some(json!(value)),
        expected_value: None,
        expected_version: None,
    };
    let thing = Thing::find(ingest.store(), "DEVICE", Some("till-1")).await;
    let setting = Setting {
        thing: thing.unwrap(),
        changes: values.iter().map(change).collect(),
        by: "somebody".to_owned(),
        reason: None,
        change_type: "MANUAL".to_owned(),
        command: None,
        expected: None,
    };
    let set = configuration::set(ingest, &Keyring::default(), setting).await;
    set.unwrap();
}

/// What a device is told next, and does.
async fn does(app: &TestApp, devices: &mut Followed) -> (String, Value) {
    let mut command = devices.next().await;
    let id = command["commandId"].as_str().unwrap().to_owned();
    assert!(complete(app, &id, "COMPLETED").await.is_empty());
    let device = command["deviceId"].as_str().unwrap().to_owned();
    (device, command["payload"]["parameters"].take())
}

async fn jobs(app: &TestApp) -> Value {
    app.data("{ jobs { totalCount } }").await["jobs"]["totalCount"].take()
}

#[tokio::test]
async fn of_two_values_that_a_device_was_not_told_yet_it_is_told_the_later_one_alone() {
    on_each_database(async |app| {
        app.fleet().await;
        parameters(app, &["volume", "speed"]).await;
        for round in 0..3 {
            app.restart_after(async |ingest| {
                for one in [("volume", 2 * round), ("speed", round), ("volume", 2 * round + 1)] {
                    set(&ingest, &[one]).await;
                }
            })
            .await;
            let mut device = Followed::new(app, Some("till-1")).await;
            let (_, first) = does(app, &mut device).await;
            let (_, second) = does(app, &mut device).await;
            assert_eq!(first, json!({ "speed": round }));
            assert_eq!(second, json!({ "volume": 2 * round + 1 }));
            let holds = holds(app, "till-1").await;
            let volume = format!("volume {} DEVICE APPLIED", 2 * round + 1);
            assert!(holds.contains(&volume), "{holds:?}");
        }
        let data = app.data("{ jobOutcomes(filter: { errorCode: { eq: \"SUPERSEDED\" }, status: { eq: CANCELLED } }) { totalCount } }").await;
        assert_eq!(data["jobOutcomes"]["totalCount"], "3");
    })
    .await;
}

#[tokio::test]
async fn of_two_values_of_which_one_holds_no_more_the_other_is_told() {
    on_each_database(async |app| {
        app.fleet().await;
        parameters(app, &["volume", "speed"]).await;
        app.restart_after(async |ingest| {
            set(&ingest, &[("volume", 1), ("speed", 2)]).await;
            set(&ingest, &[("volume", 3)]).await;
        })
        .await;
        let mut device = Followed::new(app, Some("till-1")).await;
        does(app, &mut device).await;
        let (_, last) = does(app, &mut device).await;
        assert_eq!(last, json!({ "volume": 3 }));
        let holds = holds(app, "till-1").await;
        for held in ["volume 3 DEVICE APPLIED", "speed 2 DEVICE APPLIED"] {
            assert!(holds.iter().any(|one| one == held), "{holds:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_device_that_comes_is_told_what_holds_for_it_once() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([{ "siteRegistration": { "siteId": "far", "name": "Far" } }]))
            .await;
        parameters(app, &["volume", "speed"]).await;
        done(app, "far", &[("volume", json!(7))]).await;
        done(app, "market", &[("volume", json!(2)), ("speed", json!(5))]).await;
        let before: i64 = jobs(app).await.as_str().unwrap().parse().unwrap();
        registered(app, "till-8", "far").await;
        let mut first = Followed::new(app, Some("till-8")).await;
        assert_eq!(
            does(app, &mut first).await,
            ("till-8".to_owned(), json!({ "volume": 7 }))
        );
        assert_eq!(holds(app, "till-8").await, ["volume 7 SITE APPLIED"]);
        // registered once more it has applied it, and where nothing is set it is told nothing
        registered(app, "till-8", "far").await;
        registered(app, "till-7", "harbour").await;
        app.restart().await;
        let mut first = Followed::new(app, Some("till-8")).await;
        registered(app, "till-8", "market").await;
        assert_eq!(
            does(app, &mut first).await,
            ("till-8".to_owned(), json!({ "volume": 2, "speed": 5 }))
        );
        assert_eq!(
            holds(app, "till-8").await,
            ["speed 5 SITE APPLIED", "volume 2 SITE APPLIED"]
        );
        assert_eq!(jobs(app).await, (before + 2).to_string());
        // back where it was it is told what it was told there before
        registered(app, "till-8", "far").await;
        assert_eq!(
            does(app, &mut first).await,
            ("till-8".to_owned(), json!({ "volume": 7 }))
        );
        let retired = json!([{ "deviceRegistration": { "deviceId": "till-6", "siteId": "market",
            "deviceType": "POS_TERMINAL", "lifecycle": "RETIRED" } }]);
        app.record(retired).await;
        registered(app, "till-5", "market").await;
        let mut last = Followed::new(app, None).await;
        while does(app, &mut last).await.0 != "till-5" {}
        assert_eq!(jobs(app).await, (before + 4).to_string());
    })
    .await;
}

#[tokio::test]
async fn a_retry_tells_nobody_what_holds_no_more() {
    on_each_database(async |app| {
        app.fleet().await;
        parameters(app, &["volume"]).await;
        let mut device = Followed::new(app, Some("till-1")).await;
        let retry = async |job: &Value| {
            let document = "mutation($id: ID!) { retryJob(input: { jobId: $id }) {
                job { jobId } userErrors { code message } } }";
            let mut data = app.data_with(document, json!({ "id": job })).await;
            data["retryJob"].take()
        };
        let old = done(app, "till-1", &[("volume", json!(1))]).await[0]["jobId"].take();
        let id = device.told("till-1 1 ISSUED").await;
        assert!(complete(app, &id, "FAILED").await.is_empty());
        assert_eq!(ended(app, old.as_str().unwrap()).await, "FAILED 0+1");
        let new = done(app, "till-1", &[("volume", json!(2))]).await[0]["jobId"].take();
        let id = device.told("till-1 1 ISSUED").await;
        assert!(complete(app, &id, "FAILED").await.is_empty());
        assert_eq!(ended(app, new.as_str().unwrap()).await, "FAILED 0+1");
        let refused = retry(&old).await;
        assert_eq!(texts(&refused["userErrors"], "code"), ["WRONG_STATE"]);
        assert_eq!(retry(&new).await["userErrors"], json!([]));
        let id = device.told("till-1 1 ISSUED").await;
        assert!(complete(app, &id, "COMPLETED").await.is_empty());
        assert_eq!(holds(app, "till-1").await, ["volume 2 DEVICE APPLIED"]);
    })
    .await;
}

#[tokio::test]
async fn more_than_one_command_holds_is_told_in_several() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([{ "siteRegistration": { "siteId": "far", "name": "Far" } }]))
            .await;
        for name in ["p1", "p2", "p3"] {
            let input = json!({ "parameterName": name, "schema": { "type": "string" } });
            assert_eq!(register(app, input).await["userErrors"], json!([]));
            done(app, "far", &[(name, json!("x".repeat(25_000)))]).await;
        }
        registered(app, "till-8", "far").await;
        let mut device = Followed::new(app, Some("till-8")).await;
        let mut told = Vec::new();
        for _ in 0..2 {
            let (_, parameters) = does(app, &mut device).await;
            told.extend(parameters.as_object().unwrap().keys().cloned());
        }
        told.sort_unstable();
        assert_eq!(told, ["p1", "p2", "p3"]);
        let applied = holds(app, "till-8").await;
        assert!(applied.iter().all(|one| one.ends_with("SITE APPLIED")));
    })
    .await;
}

#[tokio::test]
async fn values_that_a_job_by_hand_tells_are_checked_too() {
    on_each_database(async |app| {
        app.fleet().await;
        parameters(app, &["volume"]).await;
        let secret = json!({ "parameterName": "pin", "schema": {}, "sensitive": true });
        assert_eq!(register(app, secret).await["userErrors"], json!([]));
        for (told, why) in [
            (json!({ "volume": "loud" }), "volume"),
            (json!({ "pin": 1234 }), "pin is sensitive"),
        ] {
            let refused = create(
                app,
                json!({ "jobType": "UPDATE_POS_CONFIG", "deviceIds": ["till-1"],
                "payload": { "parameters": told } }),
            )
            .await;
            assert_eq!(texts(&refused["userErrors"], "field"), ["payload"]);
            let message = refused["userErrors"][0]["message"].as_str().unwrap();
            assert!(
                message.contains(why) && !message.contains("1234"),
                "{message}"
            );
        }
    })
    .await;
}
