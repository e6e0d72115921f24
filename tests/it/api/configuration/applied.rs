//! What is set is delivered to devices, and recorded as applied when they say so.

use serde_json::{Value, json};

use super::super::app::{TestApp, on_each_database, texts};
use super::super::device_commands::{Followed, complete};
use super::{changes, done, holds, parameters, set, setting, told};

#[tokio::test]
async fn what_is_set_holds_at_once_and_is_applied_when_the_device_says_so() {
    on_each_database(async |app| {
        app.fleet().await;
        parameters(app, &["volume"]).await;
        let mut device = Followed::new(app, Some("till-1")).await;
        let mut louder = setting("till-1", &[("volume", json!(9))]);
        louder["reason"] = json!("market day");
        louder["changeType"] = json!("RECOMMENDED");
        let answer = set(app, louder).await;
        assert_eq!(answer["version"], "1");
        assert_eq!(answer["jobs"][0]["devicesTargeted"], 1);
        assert_eq!(holds(app, "till-1").await, ["volume 9 DEVICE PENDING"]);
        let command = device.next().await;
        assert_eq!(command["payload"], json!({ "parameters": { "volume": 9 } }));
        assert!(changes(app).await.is_empty(), "nothing is applied that is only sent");
        let id = command["commandId"].as_str().unwrap();
        app.clock.advance_ms(60_000);
        assert!(complete(app, id, "COMPLETED").await.is_empty());
        assert!(complete(app, id, "COMPLETED").await.is_empty(), "a repeat is the same");
        assert_eq!(holds(app, "till-1").await, ["volume 9 DEVICE APPLIED"]);
        let data = app.data("{ configurationHistory { nodes { occurredAt entityType entityId parameterName oldValue newValue
            changedBy reason changeType deviceId commandId } } }").await;
        let mut change = data["configurationHistory"]["nodes"][0].clone();
        assert_eq!(change["commandId"], id);
        change["commandId"].take();
        insta::allow_duplicates! {
            insta::assert_snapshot!(change, @r#"{"changeType":"RECOMMENDED","changedBy":"local","commandId":null,"deviceId":"till-1","entityId":"till-1","entityType":"DEVICE","newValue":9,"occurredAt":"2026-11-23T12:01:00Z","oldValue":null,"parameterName":"volume","reason":"market day"}"#);
        }
        assert_eq!(changes(app).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_device_that_fails_has_applied_nothing_and_can_be_told_again() {
    on_each_database(async |app| {
        app.fleet().await;
        parameters(app, &["volume"]).await;
        let mut device = Followed::new(app, Some("till-1")).await;
        done(app, "till-1", &[("volume", json!(1))]).await;
        let id = device.told("till-1 1 ISSUED").await;
        assert!(complete(app, &id, "FAILED").await.is_empty());
        assert!(changes(app).await.is_empty());
        assert_eq!(holds(app, "till-1").await, ["volume 1 DEVICE PENDING"]);
        done(app, "till-1", &[("volume", json!(1))]).await;
        let id = device.told("till-1 1 ISSUED").await;
        assert!(complete(app, &id, "COMPLETED").await.is_empty());
        assert_eq!(changes(app).await, ["till-1 volume null>1"]);
        let jobs = done(app, "till-1", &[("volume", json!(1))]).await;
        assert_eq!(jobs, [Value::Null; 0], "it has applied it");
    })
    .await;
}

#[tokio::test]
async fn those_devices_alone_are_told_for_which_something_changes() {
    on_each_database(async |app| {
        app.fleet().await;
        parameters(app, &["a", "b"]).await;
        let of_system = done(app, "system", &[("a", json!(1))]).await;
        let all = ["till-1", "till-2", "till-3"].map(|id| format!("{id} {{\"a\":1}}"));
        assert_eq!(told(app, &of_system).await, all);
        let own = done(app, "till-1", &[("a", json!(3))]).await;
        assert_eq!(told(app, &own).await, ["till-1 {\"a\":3}"]);
        // till-1 has a value of its own for the one and not for the other
        let of_site = done(app, "harbour", &[("a", json!(2)), ("b", json!(2))]).await;
        let differing = ["till-1 {\"b\":2}", "till-2 {\"a\":2,\"b\":2}"];
        assert_eq!(told(app, &of_site).await, differing);
        let unset = done(app, "till-1", &[("a", Value::Null)]).await;
        assert_eq!(told(app, &unset).await, ["till-1 {\"a\":2}"]);
        let none = done(app, "market", &[("a", Value::Null), ("b", Value::Null)]).await;
        assert_eq!(none, [Value::Null; 0]);
        let gone = done(app, "harbour", &[("b", Value::Null)]).await;
        let nothing = ["till-1 {\"b\":null}", "till-2 {\"b\":null}"];
        assert_eq!(told(app, &gone).await, nothing);
    })
    .await;
}

#[tokio::test]
async fn a_device_that_is_told_that_nothing_is_set_any_more_says_so() {
    on_each_database(async |app| {
        app.fleet().await;
        parameters(app, &["a"]).await;
        let mut device = Followed::new(app, Some("till-3")).await;
        for value in [json!(1), Value::Null] {
            done(app, "market", &[("a", value)]).await;
            let id = device.told("till-3 1 ISSUED").await;
            assert!(complete(app, &id, "COMPLETED").await.is_empty());
        }
        assert_eq!(changes(app).await, ["till-3 a null>1", "till-3 a 1>null"]);
        assert_eq!(holds(app, "till-3").await, [""; 0]);
    })
    .await;
}

async fn settings(app: &TestApp) -> Value {
    let data = app
        .data("{ configurationSettings { totalCount } jobs { totalCount } }")
        .await;
    json!([
        data["configurationSettings"]["totalCount"],
        data["jobs"]["totalCount"]
    ])
}

/// What is refused as a whole, with the code and the field.
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn refused() -> Vec<(Value, &'static str, &'static str)> {
    let of = |entity: &str, changes: &[(&str, Value)]| setting(entity, changes);
    let with = |mut input: Value, field: &str, value: Value| {
        input[field] = value;
        input
    };
    let many: Vec<Value> = (0..101)
        .map(|n| json!({ "parameterName": format!("p{n}"), "value": 1 }))
        .collect();
    let fits = of("till-1", &[("a", json!(1))]);
    vec![
        (
            of("till-1", &[("a", json!(1)), ("b", json!("x"))]),
            "INVALID",
            "changes.1.value",
        ),
        (
            of("till-1", &[("a", json!(1)), ("none", json!(1))]),
            "NOT_FOUND",
            "changes.1.parameterName",
        ),
        (
            of("till-1", &[("none", Value::Null)]),
            "NOT_FOUND",
            "changes.0.parameterName",
        ),
        (
            of("till-1", &[("a", json!(1)), ("a", json!(2))]),
            "INVALID",
            "changes.1.parameterName",
        ),
        (
            of("till-1", &[("a", json!(1)), ("c", json!("long"))]),
            "INVALID",
            "changes.1.value",
        ),
        (
            of("till-1", &[("c", json!({ "$sealed": 1 }))]),
            "INVALID",
            "changes.0.value",
        ),
        (
            of("till-1", &[("c", json!({ "x": "x".repeat(32_768) }))]),
            "INVALID",
            "changes.0.value",
        ),
        (
            of("market", &[("c", json!(1))]),
            "INVALID",
            "changes.0.parameterName",
        ),
        (of("nowhere", &[("a", json!(1))]), "NOT_FOUND", "entityId"),
        (of("till-9", &[("a", json!(1))]), "NOT_FOUND", "entityId"),
        (of("till\u{0}", &[("a", json!(1))]), "NOT_FOUND", "entityId"),
        (
            with(fits.clone(), "entityId", Value::Null),
            "INVALID",
            "entityId",
        ),
        (
            with(fits.clone(), "entityType", json!("SYSTEM")),
            "INVALID",
            "entityId",
        ),
        (
            with(fits.clone(), "changes", json!([])),
            "INVALID",
            "changes",
        ),
        (
            with(fits.clone(), "changes", json!(many)),
            "INVALID",
            "changes",
        ),
        (
            with(fits.clone(), "reason", json!("x".repeat(1_001))),
            "INVALID",
            "reason",
        ),
        (
            with(fits, "expectedVersion", json!("1")),
            "CONFLICT",
            "expectedVersion",
        ),
    ]
}

#[tokio::test]
async fn all_parameters_of_a_command_are_set_or_none() {
    on_each_database(async |app| {
        app.fleet().await;
        parameters(app, &["a", "b"]).await;
        let schema =
            json!({ "parameterName": "c", "schema": { "maxLength": 2 }, "scopes": ["DEVICE"] });
        super::register(app, schema).await;
        for (input, code, field) in refused() {
            let answer = set(app, input.clone()).await;
            assert_eq!(answer["configuration"], Value::Null, "{input}");
            assert_eq!(texts(&answer["userErrors"], "code"), [code], "{input}");
            assert_eq!(texts(&answer["userErrors"], "field"), [field], "{input}");
        }
        assert_eq!(settings(app).await, json!(["0", "0"]));
        let wrong = setting("till-1", &[("b", json!("x"))]);
        let told = &set(app, wrong).await["userErrors"][0]["message"];
        assert_eq!(*told, "value: \"x\" is not of type \"integer\"");
    })
    .await;
}
