//! `setConfiguration` and `setSiteSchedule`: each ends in its event.

use serde_json::{Value, json};

use super::app::{TestApp, at, on_each_database, texts};

const SET: &str = "mutation($input: SetConfigurationInput!) { setConfiguration(input: $input) {
    change { position entityType entityId parameterName oldValue newValue changedBy reason changeType deviceId siteId }
    userErrors { code field } } }";
const SCHEDULE: &str = "mutation($input: SetSiteScheduleInput!) { setSiteSchedule(input: $input) {
    schedule { position siteId dayOfWeek openTime closeTime } userErrors { code field message } } }";

async fn set(app: &TestApp, input: Value) -> Value {
    let mut data = app.data_with(SET, json!({ "input": input })).await;
    data["setConfiguration"].take()
}

fn volume(value: i64) -> Value {
    json!({ "entityType": "DEVICE", "entityId": "till-1", "parameterName": "volume", "value": value })
}

async fn changes(app: &TestApp) -> Vec<String> {
    let data = app
        .data(
            "{ configurationHistory(order: FIRST_RECORDED_FIRST) { nodes { oldValue newValue } } }",
        )
        .await;
    let rows = data["configurationHistory"]["nodes"].as_array().unwrap();
    rows.iter()
        .map(|row| format!("{}>{}", row["oldValue"], row["newValue"]))
        .collect()
}

#[tokio::test]
async fn a_change_records_the_value_before() {
    on_each_database(async |app| {
        app.fleet().await;
        set(app, volume(3)).await;
        let mut louder = volume(9);
        louder["reason"] = json!("market day");
        let answer = set(app, louder).await;
        assert_eq!(answer["userErrors"], json!([]));
        let mut change = answer["change"].clone();
        change["position"] = json!(change["position"].is_string());
        insta::allow_duplicates! {
            insta::assert_snapshot!(change, @r#"{"changeType":"MANUAL","changedBy":"local","deviceId":"till-1","entityId":"till-1","entityType":"DEVICE","newValue":9,"oldValue":3,"parameterName":"volume","position":true,"reason":"market day","siteId":null}"#);
        }
        assert_eq!(changes(app).await, ["null>3", "3>9"]);
    })
    .await;
}

#[tokio::test]
async fn a_parameter_has_its_new_value_as_soon_as_the_command_is_answered() {
    on_each_database(async |app| {
        app.fleet().await;
        set(app, volume(3)).await;
        let market = json!({ "entityType": "SITE", "entityId": "market", "parameterName": "p", "value": { "a": [1] } });
        set(app, market).await;
        let data = app
            .data("{ device(deviceId: \"till-1\") { configuration { parameterName value changedAt } }
                site(siteId: \"market\") { configuration { parameterName value } } }")
            .await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(data, @r#"{"device":{"configuration":[{"changedAt":"2026-11-23T12:00:00Z","parameterName":"volume","value":3}]},"site":{"configuration":[{"parameterName":"p","value":{"a":[1]}}]}}"#);
        }
    })
    .await;
}

#[tokio::test]
async fn a_command_with_an_idempotency_key_changes_once_and_is_answered_alike() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut input = volume(3);
        input["idempotencyKey"] = json!("k-1");
        let first = set(app, input.clone()).await;
        app.clock.advance_ms(5_000);
        let again = set(app, input.clone()).await;
        assert_eq!(again, first);
        set(app, volume(7)).await;
        assert_eq!(set(app, input.clone()).await, first);
        assert_eq!(changes(app).await, ["null>3", "3>7"]);
        input["value"] = json!(4);
        let other = set(app, input).await;
        assert_eq!(other["change"], Value::Null);
        assert_eq!(texts(&other["userErrors"], "code"), ["CONFLICT"]);
    })
    .await;
}

#[tokio::test]
async fn the_system_is_configured_without_an_id() {
    on_each_database(async |app| {
        let answer = set(
            app,
            json!({ "entityType": "SYSTEM", "parameterName": "mode", "value": "night" }),
        )
        .await;
        assert_eq!(answer["change"]["entityId"], "system");
        let named = json!({ "entityType": "SYSTEM", "entityId": "system", "parameterName": "mode", "value": "day" });
        assert_eq!(set(app, named).await["change"]["oldValue"], "night");
        let data = app.data("{ systemConfiguration { parameterName value } }").await;
        assert_eq!(data["systemConfiguration"], json!([{ "parameterName": "mode", "value": "day" }]));
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_configured_is_told_as_a_user_error() {
    on_each_database(async |app| {
        app.fleet().await;
        for (input, code, field) in [
            (json!({ "entityType": "DEVICE", "entityId": "nobody", "parameterName": "p", "value": 1 }), "NOT_FOUND", "entityId"),
            (json!({ "entityType": "SITE", "entityId": "nowhere", "parameterName": "p", "value": 1 }), "NOT_FOUND", "entityId"),
            (json!({ "entityType": "DEVICE", "parameterName": "p", "value": 1 }), "INVALID", "entityId"),
            (json!({ "entityType": "SYSTEM", "entityId": "whatever", "parameterName": "p", "value": 1 }), "INVALID", "entityId"),
            (json!({ "entityType": "SYSTEM", "parameterName": "", "value": 1 }), "INVALID", "parameterName"),
            (json!({ "entityType": "SYSTEM", "parameterName": "a\u{0}b", "value": 1 }), "INVALID", "parameterName"),
            (json!({ "entityType": "SYSTEM", "parameterName": "p".repeat(256), "value": 1 }), "INVALID", "parameterName"),
            (json!({ "entityType": "SYSTEM", "parameterName": "p", "value": "x".repeat(65_536) }), "INVALID", "value"),
        ] {
            let answer = set(app, input).await;
            assert_eq!(answer["change"], Value::Null);
            assert_eq!(answer["userErrors"], json!([{ "code": code, "field": field }]));
        }
        assert!(changes(app).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_schedule_that_is_set_is_recorded_and_a_repeat_is_not_recorded_again() {
    on_each_database(async |app| {
        app.fleet().await;
        let input = json!({ "input": { "siteId": "market", "dayOfWeek": "TUESDAY", "openTime": "09:00",
            "closeTime": "24:00", "idempotencyKey": "s-1" } });
        let first = app.data_with(SCHEDULE, input.clone()).await;
        app.clock.advance_ms(5_000);
        let again = app.data_with(SCHEDULE, input.clone()).await;
        assert_eq!(first, again);
        let mut other = input;
        other["input"]["openTime"] = json!("10:00");
        let other = app.data_with(SCHEDULE, other).await;
        let error = &other["setSiteSchedule"]["userErrors"][0];
        assert_eq!(error["field"], "idempotencyKey");
        assert_eq!(error["code"], "CONFLICT");
        let mut schedule = first["setSiteSchedule"]["schedule"].clone();
        schedule["position"] = json!(schedule["position"].is_string());
        insta::allow_duplicates! {
            insta::assert_snapshot!(schedule, @r#"{"closeTime":"24:00:00","dayOfWeek":"TUESDAY","openTime":"09:00:00","position":true,"siteId":"market"}"#);
        }
        let data = app.data("{ siteOperatingSchedules { totalCount } }").await;
        assert_eq!(data["siteOperatingSchedules"]["totalCount"], "1");
    })
    .await;
}

#[tokio::test]
async fn a_schedule_that_cannot_be_is_told_as_a_user_error() {
    on_each_database(async |app| {
        app.fleet().await;
        for (input, code, field) in [
            (
                json!({ "siteId": "nowhere", "dayOfWeek": "MONDAY", "isClosed": true }),
                "NOT_FOUND",
                "siteId",
            ),
            (
                json!({ "siteId": "market", "isClosed": true }),
                "INVALID",
                "dayOfWeek",
            ),
            (
                json!({ "siteId": "market", "dayOfWeek": "MONDAY", "openTime": "09:00" }),
                "INVALID",
                "closeTime",
            ),
        ] {
            let data = app.data_with(SCHEDULE, json!({ "input": input })).await;
            let answer = &data["setSiteSchedule"];
            assert_eq!(answer["schedule"], Value::Null);
            assert_eq!(answer["userErrors"][0]["code"], code);
            assert_eq!(answer["userErrors"][0]["field"], field);
        }
    })
    .await;
}

#[tokio::test]
async fn a_parameter_is_set_also_when_its_value_is_from_a_clock_that_is_ahead() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([{ "configurationChange": { "entityType": "DEVICE", "entityId": "till-1",
            "parameterName": "volume", "newValue": 3, "changedBy": "till-1", "occurredAt": at(4) } }]))
            .await;
        let answer = set(app, volume(9)).await;
        assert_eq!(answer["change"]["oldValue"], 3);
        let data = app
            .data("{ device(deviceId: \"till-1\") { configuration { value changedAt } } }")
            .await;
        let value = json!([{ "value": 9, "changedAt": "2026-11-23T12:04:00.000001Z" }]);
        assert_eq!(data["device"]["configuration"], value);
    })
    .await;
}

#[tokio::test]
async fn hours_are_set_also_when_those_before_are_from_a_clock_that_is_ahead() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(
            json!([{ "siteSchedule": { "siteId": "market", "dayOfWeek": "MONDAY",
            "openTime": "08:00", "closeTime": "18:00", "occurredAt": at(4) } }]),
        )
        .await;
        let input = json!({ "input": { "siteId": "market", "dayOfWeek": "MONDAY",
            "openTime": "10:00", "closeTime": "18:00" } });
        app.data_with(SCHEDULE, input).await;
        let data = app
            .data("{ site(siteId: \"market\") { schedule { openTime } } }")
            .await;
        assert_eq!(
            data["site"]["schedule"],
            json!([{ "openTime": "10:00:00" }])
        );
    })
    .await;
}

#[tokio::test]
async fn hours_that_are_set_say_nothing_of_an_event() {
    on_each_database(async |app| {
        app.fleet().await;
        for (name, value) in [
            ("occurredAt", json!(super::app::NOON)),
            ("provenance", json!("SIMULATED")),
            ("idempotencyKey", json!("")),
        ] {
            let mut input = json!({ "siteId": "market", "dayOfWeek": "MONDAY", "isClosed": true });
            input[name] = value;
            let code = app.code_with(SCHEDULE, json!({ "input": input })).await;
            assert_eq!(code, "BAD_INPUT", "{name}");
        }
    })
    .await;
}
