//! How jobs end: by type, by site and by hours of the day, and how likely one succeeds.

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use homepot_analytics::identity::Role;

use super::access::{ask, grant, key};
use super::app::{TestApp, on_each_database};

const QUERY: &str = "query($sites: [ID!], $devices: [ID!], $types: [String!], $at: DateTime, $from: Provenance) {
    jobPatterns(siteIds: $sites, deviceIds: $devices, jobTypes: $types, asOf: $at, provenance: $from) {
        value interval { low high level } status provenance asOf evidence { events from to }
        reasons { factor sentence } recommendations { sentence }
        groups { by name jobs succeeded failed success interval { low high level } } } }";

/// How a job ended on a device, so many minutes after noon.
pub(super) fn outcome(
    (job, ty): (&str, &str),
    (device, status): (&str, &str),
    minutes: i64,
) -> Value {
    json!({ "jobOutcome": { "jobId": job, "jobType": ty, "deviceId": device, "status": status,
        "occurredAt": super::app::at(minutes) } })
}

fn patterns(app: &TestApp, variables: Value) -> BoxFuture<'_, Value> {
    Box::pin(async move {
        let mut data = app.data_with(QUERY, variables).await;
        data["jobPatterns"].take()
    })
}

/// What a number is, to two places.
pub(super) fn hundredths(number: &Value) -> String {
    format!("{:.2}", number.as_f64().unwrap())
}

/// A probability with its interval, to two places.
pub(super) fn with_interval(value: &Value, interval: &Value) -> String {
    let [value, low, high] = [value, &interval["low"], &interval["high"]].map(hundredths);
    format!("{value} ({low}–{high})")
}

#[tokio::test]
async fn without_jobs_nothing_is_said_but_what_is_missing() {
    on_each_database(async |app| {
        app.fleet().await;
        let told = patterns(app, json!({})).await;
        assert_eq!(told["status"], "INSUFFICIENT");
        assert_eq!(
            (&told["value"], &told["interval"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(
            told["reasons"],
            json!([{ "factor": "missing",
                "sentence": "No job has ended yet; 1 more job suffices for a first answer." }])
        );
        assert_eq!(
            (&told["groups"], &told["provenance"]),
            (&json!([]), &Value::Null)
        );
    })
    .await;
}

#[tokio::test]
async fn four_of_four_jobs_and_three_of_four_are_told_with_how_little_that_is() {
    on_each_database(async |app| {
        app.fleet().await;
        let ended = |job: &str, device: &str, status: &str, day: i64| {
            outcome((job, "RESTART"), (device, status), -day * 1_440)
        };
        let three = json!([
            ended("a", "till-1", "COMPLETED", 4),
            ended("b", "till-2", "COMPLETED", 3),
            ended("c", "till-3", "COMPLETED", 2),
        ]);
        app.record(three).await;
        app.record(json!([ended("d", "till-1", "COMPLETED", 1)]))
            .await;
        let told = patterns(app, json!({})).await;
        assert_eq!(
            with_interval(&told["value"], &told["interval"]),
            "0.90 (0.56–1.00)"
        );
        assert_eq!(
            (&told["status"], &told["provenance"]),
            (&json!("LEARNING"), &json!("REAL"))
        );
        assert_eq!(told["evidence"]["events"], "4");
        // what was stopped tells nothing
        app.record(json!([ended("e", "till-2", "CANCELLED", 0)]))
            .await;
        let same = patterns(app, json!({})).await;
        assert_eq!(same["evidence"]["events"], "4");
        // before the last one had ended there were three
        let before = json!({ "at": super::app::at(-1_441) });
        let before = patterns(app, before).await;
        assert_eq!(before["evidence"]["events"], "3");
        app.record(json!([ended("f", "till-2", "FAILED", 0)])).await;
        let two = patterns(app, json!({ "devices": ["till-1", "till-2"] })).await;
        assert_eq!(
            with_interval(&two["value"], &two["interval"]),
            "0.70 (0.28–0.97)"
        );
    })
    .await;
}

#[tokio::test]
async fn jobs_are_told_by_type_by_site_and_by_hours_of_the_day_of_the_site() {
    on_each_database(async |app| {
        app.fleet().await;
        let far = json!([
            { "siteRegistration": { "siteId": "tokyo", "name": "Tokyo", "timeZone": "Asia/Tokyo" } },
            { "deviceRegistration": { "deviceId": "till-9", "siteId": "tokyo", "deviceType": "POS_TERMINAL" } },
        ]);
        app.record(far).await;
        let mut events = Vec::new();
        for day in 1..=20_i64 {
            let name = format!("r{day}");
            events.push(outcome((&name, "RESTART"), ("till-1", "COMPLETED"), -day * 1_440));
            // at noon of London it is nine in the evening in Tokyo
            events.push(outcome((&name, "RESTART"), ("till-9", "COMPLETED"), -day * 1_440));
            let name = format!("u{day}");
            events.push(outcome((&name, "FIRMWARE_UPDATE"), ("till-3", "FAILED"), -day * 1_440));
        }
        app.record(Value::Array(events)).await;
        let told = patterns(app, json!({})).await;
        assert_eq!(told["status"], "OK");
        let groups = told["groups"].as_array().unwrap().iter();
        let counted: Vec<(&str, &str, i64, i64)> = groups
            .map(|group| {
                let count = |field: &str| group[field].as_i64().unwrap();
                let text = |field: &str| group[field].as_str().unwrap();
                (text("by"), text("name"), count("succeeded"), count("failed"))
            })
            .collect();
        let mut sorted = counted.clone();
        sorted.sort_unstable();
        assert_eq!(
            sorted,
            [
                ("HOURS", "12:00 to 18:00", 20, 20),
                ("HOURS", "18:00 to 24:00", 20, 0),
                ("SITE", "harbour", 20, 0),
                ("SITE", "market", 0, 20),
                ("SITE", "tokyo", 20, 0),
                ("TYPE", "FIRMWARE_UPDATE", 0, 20),
                ("TYPE", "RESTART", 40, 0),
            ]
        );
        let best = told["recommendations"][0]["sentence"].as_str().unwrap();
        assert!(best.contains("most reliable for RESTART"), "{best}");
        // of some of them
        let some = patterns(app, json!({ "sites": ["market"], "types": ["RESTART"] })).await;
        assert_eq!(some["status"], "INSUFFICIENT");
        let some = patterns(app, json!({ "types": ["FIRMWARE_UPDATE"] })).await;
        assert_eq!(some["evidence"]["events"], "20");
    })
    .await;
}

#[tokio::test]
async fn provenances_are_never_mixed_and_what_is_real_comes_first() {
    on_each_database(async |app| {
        app.fleet().await;
        let simulated = |job: &str, status: &str| {
            let mut event = outcome((job, "RESTART"), ("till-1", status), -10);
            event["jobOutcome"]["provenance"] = json!("SIMULATED");
            event
        };
        app.record(json!([simulated("a", "FAILED"), simulated("b", "FAILED")]))
            .await;
        let told = patterns(app, json!({})).await;
        assert_eq!(
            (&told["provenance"], &told["evidence"]["events"]),
            (&json!("SIMULATED"), &json!("2"))
        );
        app.record(json!([outcome(
            ("c", "RESTART"),
            ("till-1", "COMPLETED"),
            -5
        )]))
        .await;
        let told = patterns(app, json!({})).await;
        assert_eq!(
            (&told["provenance"], &told["evidence"]["events"]),
            (&json!("REAL"), &json!("1"))
        );
        let told = patterns(app, json!({ "from": "SIMULATED" })).await;
        assert_eq!(told["evidence"]["events"], "2");
        let told = patterns(app, json!({ "from": "CONTROLLED" })).await;
        assert_eq!(told["status"], "INSUFFICIENT");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_asked_has_its_code() {
    on_each_database(async |app| {
        app.fleet().await;
        for (variables, code) in [
            (json!({ "sites": ["nowhere"] }), "NOT_FOUND"),
            (json!({ "devices": ["nobody"] }), "NOT_FOUND"),
            (json!({ "at": super::app::at(1) }), "BAD_INPUT"),
            (json!({ "at": "2001-01-01T00:00:00Z" }), "BAD_INPUT"),
            (json!({ "types": vec!["RESTART"; 1_001] }), "LIMIT_EXCEEDED"),
        ] {
            assert_eq!(
                app.code_with(QUERY, variables.clone()).await,
                code,
                "{variables}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn everybody_is_told_of_the_jobs_within_reach() {
    on_each_database(async |app| {
        app.fleet().await;
        let ended = |job: &str, device: &str| outcome((job, "RESTART"), (device, "COMPLETED"), -60);
        app.record(json!([
            ended("a", "till-1"),
            ended("b", "till-2"),
            ended("c", "till-3"),
        ]))
        .await;
        app.close_to_strangers().await;
        for (role, sites, events) in [
            (Role::Viewer, &[][..], "3"),
            (Role::Viewer, &["harbour"][..], "2"),
            // the device is till-1
            (Role::Device, &[][..], "1"),
        ] {
            let key = key(app, grant(role, sites)).await;
            let (_, answer) = ask(app, &key, json!({ "query": QUERY })).await;
            let told = &answer["data"]["jobPatterns"]["evidence"]["events"];
            assert_eq!(told, events, "{role:?} {sites:?}: {answer:#}");
        }
    })
    .await;
}
