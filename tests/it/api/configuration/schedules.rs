//! `setSiteSchedule`: it ends in its event.

use serde_json::{Value, json};

use super::super::app::{self, at, on_each_database};

const SCHEDULE: &str = "mutation($input: SetSiteScheduleInput!) { setSiteSchedule(input: $input) {
    schedule { position siteId dayOfWeek openTime closeTime } userErrors { code field message } } }";

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
            ("occurredAt", json!(app::NOON)),
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
