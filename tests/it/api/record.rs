//! `recordEvents`: an outcome for each event, and what is stored.

use homepot_analytics::kinds::Identity;
use serde_json::{Value, json};
use uuid::Uuid;

use super::app::{RECORD, TestApp, at, on_each_database, texts};
use super::inputs::{error, minimal, recordable, with};

async fn count(app: &TestApp, list: &str) -> String {
    let data = app.data(&format!("{{ {list} {{ totalCount }} }}")).await;
    data[list]["totalCount"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_minimal_event_of_every_kind_is_recorded_and_its_repeat_is_a_duplicate() {
    on_each_database(async |app| {
        app.fleet().await;
        for spec in recordable() {
            let mut body = minimal(spec, 1);
            if spec.identity == Identity::EventId {
                body.insert("eventId".to_owned(), json!(Uuid::now_v7()));
                body.insert("occurredAt".to_owned(), json!(at(-1)));
            }
            let event = json!({ spec.wire: body });
            let outcomes = app.outcomes(json!([event, event])).await;
            assert_eq!(
                texts(&outcomes, "status"),
                ["RECORDED", "DUPLICATE"],
                "{}",
                spec.wire
            );
            assert_eq!(outcomes[0]["position"], outcomes[1]["position"]);
            let again = app.outcomes(json!([event])).await;
            assert_eq!(again[0]["status"], "DUPLICATE", "{}", spec.wire);
            assert_eq!(again[0]["position"], outcomes[0]["position"]);
        }
    })
    .await;
}

#[tokio::test]
async fn the_same_key_with_another_body_is_a_conflict_for_every_kind() {
    on_each_database(async |app| {
        app.fleet().await;
        for spec in recordable() {
            let mut event = with(spec, 1, "extra", json!({ "try": 1 }));
            if spec.identity == Identity::EventId {
                event[spec.wire]["eventId"] = json!(Uuid::now_v7());
                event[spec.wire]["occurredAt"] = json!(at(-1));
            }
            let mut other = event.clone();
            other[spec.wire]["extra"] = json!({ "try": 2 });
            let outcomes = app.outcomes(json!([event, other])).await;
            assert_eq!(
                texts(&outcomes, "status"),
                ["RECORDED", "CONFLICT"],
                "{}",
                spec.wire
            );
            assert_eq!(outcomes[1]["code"], "CONFLICT");
            assert_eq!(outcomes[1]["position"], outcomes[0]["position"]);
        }
    })
    .await;
}

#[tokio::test]
async fn outcomes_stand_in_the_order_of_the_events() {
    on_each_database(async |app| {
        app.fleet().await;
        let id = Uuid::from_u128(7);
        let mut first = error("first", "ERROR");
        first["errorLog"]["eventId"] = json!(id);
        let mut changed = first.clone();
        changed["errorLog"]["severity"] = json!("INFO");
        let mut unknown = error("unknown", "ERROR");
        unknown["errorLog"]["deviceId"] = json!("nobody");
        let mut outcomes = app
            .outcomes(json!([first, unknown, first, changed, error("last", "INFO")]))
            .await;
        let first = outcomes[0]["position"].clone();
        assert_ne!(outcomes[4]["position"], first);
        for outcome in outcomes.as_array_mut().unwrap() {
            outcome["cursor"] = json!(outcome["cursor"].is_string());
            outcome["position"] = json!(outcome["position"] == first);
        }
        insta::allow_duplicates! {
            insta::assert_snapshot!(lines(&outcomes), @r#"
        {"code":null,"cursor":true,"field":null,"index":0,"message":null,"position":true,"status":"RECORDED"}
        {"code":"UNKNOWN_DEVICE","cursor":false,"field":"deviceId","index":1,"message":"deviceId names no registered device","position":false,"status":"REJECTED"}
        {"code":null,"cursor":true,"field":null,"index":2,"message":null,"position":true,"status":"DUPLICATE"}
        {"code":"CONFLICT","cursor":true,"field":null,"index":3,"message":"the same key was recorded before with another body","position":true,"status":"CONFLICT"}
        {"code":null,"cursor":true,"field":null,"index":4,"message":null,"position":false,"status":"RECORDED"}
        "#);
        }
    })
    .await;
}

fn lines(list: &Value) -> String {
    let lines = list.as_array().unwrap().iter().map(Value::to_string);
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_request_with_an_idempotency_key_can_be_repeated() {
    on_each_database(async |app| {
        app.fleet().await;
        let input = json!({ "idempotencyKey": "night shift", "clientMutationId": "c-1",
            "events": [error("a", "INFO"), error("b", "INFO")] });
        let first = app.data_with(RECORD, json!({ "input": input })).await;
        let second = app.data_with(RECORD, json!({ "input": input })).await;
        let (first, second) = (&first["recordEvents"], &second["recordEvents"]);
        assert_eq!(
            texts(&first["outcomes"], "status"),
            ["RECORDED", "RECORDED"]
        );
        assert_eq!(
            texts(&second["outcomes"], "status"),
            ["DUPLICATE", "DUPLICATE"]
        );
        assert_eq!(
            texts(&first["outcomes"], "position"),
            texts(&second["outcomes"], "position")
        );
        assert_eq!(first["clientMutationId"], "c-1");
        assert_eq!(count(app, "errorLogs").await, "2");
    })
    .await;
}

#[tokio::test]
async fn an_idempotency_key_of_no_or_too_many_characters_is_bad_input() {
    on_each_database(async |app| {
        app.fleet().await;
        for key in [String::new(), "k".repeat(256)] {
            let input = json!({ "idempotencyKey": key, "events": [error("a", "INFO")] });
            let code = app.code_with(RECORD, json!({ "input": input })).await;
            assert_eq!(code, "BAD_INPUT");
        }
        assert_eq!(count(app, "errorLogs").await, "0");
    })
    .await;
}

#[tokio::test]
async fn an_event_without_any_key_is_recorded_each_time() {
    on_each_database(async |app| {
        app.fleet().await;
        let event = error("again", "INFO");
        app.record(json!([event, event])).await;
        assert_eq!(count(app, "errorLogs").await, "2");
    })
    .await;
}

#[tokio::test]
async fn a_thousand_events_are_one_request_and_one_more_is_too_many() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut events = vec![error("many", "INFO"); 1_001];
        let too_many = json!({ "input": { "events": events } });
        assert_eq!(app.code_with(RECORD, too_many).await, "LIMIT_EXCEEDED");
        assert_eq!(count(app, "errorLogs").await, "0");
        events.pop();
        app.record(json!(events)).await;
        assert_eq!(count(app, "errorLogs").await, "1000");
    })
    .await;
}

#[tokio::test]
async fn no_events_are_no_outcomes() {
    on_each_database(async |app| assert_eq!(app.outcomes(json!([])).await, json!([]))).await;
}

#[tokio::test]
async fn more_than_five_minutes_ahead_is_in_future_and_before_2000_is_too_old() {
    on_each_database(async |app| {
        app.fleet().await;
        let times = [
            at(5),
            "2026-11-23T12:05:00.000001Z".to_owned(),
            "2000-01-01T00:00:00Z".to_owned(),
            "1999-12-31T23:59:59.999999Z".to_owned(),
        ];
        let event = |time: &String| {
            let mut event = error("when", "INFO");
            event["errorLog"]["occurredAt"] = json!(time);
            event
        };
        let events: Vec<Value> = times.iter().map(event).collect();
        let outcomes = app.outcomes(json!(events)).await;
        assert_eq!(
            texts(&outcomes, "code"),
            ["null", "IN_FUTURE", "null", "TOO_OLD"]
        );
        assert_eq!(outcomes[1]["field"], "occurredAt");
    })
    .await;
}

#[tokio::test]
async fn what_refers_to_a_registration_may_come_with_it_in_one_request() {
    on_each_database(async |app| {
        let outcomes = app
            .outcomes(json!([
                { "siteRegistration": { "siteId": "kiosk", "name": "Kiosk" } },
                { "deviceRegistration": { "deviceId": "k-1", "siteId": "kiosk", "deviceType": "GATEWAY" } },
                { "deviceMetrics": { "deviceId": "k-1", "occurredAt": at(0), "cpuPercent": 5 } },
            ]))
            .await;
        assert_eq!(texts(&outcomes, "status"), ["RECORDED"; 3]);
    })
    .await;
}

#[tokio::test]
async fn what_was_recorded_is_shown_as_it_was_given() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([{ "deviceMetrics": {
            "deviceId": "till-1", "occurredAt": "2026-11-23T12:30:00.25+01:00",
            "cpuPercent": 12.5, "transactionCount": 61, "transactionVolume": "900719925474099.1234",
            "services": { "payments": "UP", "printer": "DOWN" }, "provenance": "CONTROLLED",
            "extra": { "b": [1, null], "a": 2.5 } } }]))
            .await;
        let data = app
            .data("{ deviceMetrics { nodes { kind eventId occurredAt recordedAt provenance extra
                deviceId cpuPercent memoryPercent transactionCount transactionVolume services } } }")
            .await;
        let row = &data["deviceMetrics"]["nodes"][0];
        insta::allow_duplicates! {
            insta::assert_snapshot!(serde_json::to_string_pretty(row).unwrap(), @r#"
        {
          "cpuPercent": 12.5,
          "deviceId": "till-1",
          "eventId": null,
          "extra": {
            "a": 2.5,
            "b": [
              1,
              null
            ]
          },
          "kind": "deviceMetrics",
          "memoryPercent": null,
          "occurredAt": "2026-11-23T11:30:00.250Z",
          "provenance": "CONTROLLED",
          "recordedAt": "2026-11-23T12:00:00Z",
          "services": {
            "payments": "UP",
            "printer": "DOWN"
          },
          "transactionCount": 61,
          "transactionVolume": "900719925474099.1234"
        }
        "#);
        }
    })
    .await;
}

#[tokio::test]
async fn a_text_that_must_be_given_has_a_character() {
    on_each_database(async |app| {
        app.fleet().await;
        let outcomes = app
            .outcomes(json!([
                { "jobOutcome": { "jobId": "", "jobType": "RESTART", "status": "COMPLETED" } },
                { "siteRegistration": { "siteId": "s", "name": "" } },
                { "configurationChange": { "entityType": "SYSTEM", "entityId": "system",
                    "parameterName": "p", "newValue": 1, "changedBy": "" } },
                { "siteRegistration": { "siteId": "s", "name": "S", "address": "" } },
            ]))
            .await;
        assert_eq!(
            texts(&outcomes, "code"),
            ["EMPTY", "EMPTY", "EMPTY", "null"]
        );
        assert_eq!(
            texts(&outcomes, "field"),
            ["jobId", "name", "changedBy", "null"]
        );
    })
    .await;
}
