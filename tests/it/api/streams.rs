//! Subscriptions: history after a cursor, then live, each event once and in order.

use std::time::Duration;

use homepot_analytics::kinds::Kind;
use serde_json::{Value, json};

use super::alerts::opened;
use super::app::{TestApp, at, on_each_database, texts};
use super::configuration::applied;
use super::error_groups::decided;
use super::inputs::{error, minimal};

const ERRORS: &str = "subscription($after: String, $f: ErrorLogFilter) {
    errorLogs(after: $after, filter: $f) { errorMessage cursor } }";

/// Messages of the next rows of a subscription to error logs.
async fn messages(socket: &mut super::socket::Socket, id: &str, rows: usize) -> Vec<String> {
    let mut messages = Vec::new();
    for _ in 0..rows {
        let data = socket.data(id).await;
        messages.push(
            data["errorLogs"]["errorMessage"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    messages
}

#[tokio::test]
async fn without_a_cursor_only_what_is_recorded_from_now_on_comes() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([error("old", "INFO")])).await;
        let mut socket = app.socket().await;
        let id = socket.subscribe(ERRORS, json!({})).await;
        // the subscription has begun once something comes; from there on nothing is left out
        let mut sent = 0;
        let first = loop {
            app.record(json!([error(&format!("new {sent}"), "INFO")]))
                .await;
            sent += 1;
            if let Some(first) = socket.next_within(&id, Duration::from_millis(50)).await {
                break first;
            }
        };
        let first = first["data"]["errorLogs"]["errorMessage"]
            .as_str()
            .unwrap()
            .to_owned();
        let first: usize = first.strip_prefix("new ").unwrap().parse().unwrap();
        app.record(json!([error("last", "INFO")])).await;
        let mut expected: Vec<String> = (first + 1..sent).map(|n| format!("new {n}")).collect();
        expected.push("last".to_owned());
        assert_eq!(messages(&mut socket, &id, expected.len()).await, expected);
    })
    .await;
}

#[tokio::test]
async fn after_a_cursor_history_comes_first_and_then_what_is_live() {
    on_each_database(async |app| {
        app.fleet().await;
        let start = app.head().await;
        app.record(json!([error("1", "INFO"), error("2", "INFO")]))
            .await;
        let mut socket = app.socket().await;
        let id = socket.subscribe(ERRORS, json!({ "after": start })).await;
        assert_eq!(messages(&mut socket, &id, 2).await, ["1", "2"]);
        app.record(json!([error("3", "INFO")])).await;
        assert_eq!(messages(&mut socket, &id, 1).await, ["3"]);
    })
    .await;
}

#[tokio::test]
async fn all_of_the_log_is_its_first_event_and_what_comes_after_the_cursor_of_that() {
    on_each_database(async |app| {
        app.fleet().await;
        let document =
            "{ events(first: 1, order: FIRST_RECORDED_FIRST) { nodes { position cursor } } }";
        let data = app.data(document).await;
        let first = &data["events"]["nodes"][0];
        assert_eq!(first["position"], "1");
        let mut socket = app.socket().await;
        let document = "subscription($after: String) { events(after: $after) { position } }";
        let id = socket
            .subscribe(document, json!({ "after": first["cursor"] }))
            .await;
        for position in 2..=app.app().ingest.store().head().0 {
            let data = socket.data(&id).await;
            assert_eq!(data["events"]["position"], position.to_string());
        }
    })
    .await;
}

#[tokio::test]
async fn every_kind_has_its_stream_and_events_has_all_in_order() {
    on_each_database(async |app| {
        let start = app.head().await;
        app.fleet().await;
        for spec in Kind::ALL.iter().map(|kind| kind.spec()).filter(|spec| spec.recordable) {
            app.record(json!([{ spec.wire: minimal(spec, 1) }])).await;
        }
        app.data("mutation { createJob(input: { jobType: RESTART, deviceIds: [\"till-1\"] }) { job { jobId } } }").await;
        opened(app, &["till-1"]).await;
        applied(app, "till-2").await;
        decided(app).await;
        let mut socket = app.socket().await;
        for spec in Kind::ALL.iter().map(|kind| kind.spec()) {
            let document = format!("subscription($a: String) {{ {}(after: $a) {{ __typename kind position }} }}", spec.stream);
            let id = socket.subscribe(&document, json!({ "a": start })).await;
            let data = socket.data(&id).await;
            assert_eq!(data[spec.stream]["__typename"], spec.type_name);
            assert_eq!(data[spec.stream]["kind"], spec.wire);
            socket.unsubscribe(&id).await;
        }
        let head = app.app().ingest.store().head().0;
        let document = "subscription($a: String) { events(after: $a) { position } }";
        let id = socket.subscribe(document, json!({ "a": start })).await;
        let first = socket.data(&id).await["events"]["position"].as_str().unwrap().parse::<i64>().unwrap();
        for position in first + 1..=head {
            assert_eq!(socket.data(&id).await["events"]["position"], json!(position.to_string()));
        }
    })
    .await;
}

#[tokio::test]
async fn a_filter_holds_for_history_and_live() {
    on_each_database(async |app| {
        app.fleet().await;
        let start = app.head().await;
        app.record(json!([error("a", "INFO"), error("b", "CRITICAL")]))
            .await;
        let mut socket = app.socket().await;
        let filter = json!({ "severity": { "eq": "CRITICAL" }, "siteId": { "eq": "harbour" } });
        let id = socket
            .subscribe(ERRORS, json!({ "after": start, "f": filter }))
            .await;
        assert_eq!(messages(&mut socket, &id, 1).await, ["b"]);
        app.record(json!([error("c", "INFO"), error("d", "CRITICAL")]))
            .await;
        assert_eq!(messages(&mut socket, &id, 1).await, ["d"]);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_lost_or_repeated_while_others_record() {
    on_each_database(async |app| {
        app.fleet().await;
        let start = app.head().await;
        let record = async |writer: usize| {
            for n in 0..15 {
                let batch: Vec<Value> = (0..4)
                    .map(|m| error(&format!("{writer}-{}", n * 4 + m), "INFO"))
                    .collect();
                app.outcomes(json!(batch)).await;
            }
        };
        let follow = async || {
            let mut socket = app.socket().await;
            let id = socket.subscribe(ERRORS, json!({ "after": start })).await;
            messages(&mut socket, &id, 180).await
        };
        let ((), (), (), seen, other) =
            tokio::join!(record(0), record(1), record(2), follow(), follow());
        assert_eq!(seen, other);
        for writer in 0..3 {
            let prefix = format!("{writer}-");
            let own: Vec<&str> = seen
                .iter()
                .filter_map(|m| m.strip_prefix(&prefix))
                .collect();
            let expected: Vec<String> = (0..60).map(|n: i32| n.to_string()).collect();
            assert_eq!(own, expected);
        }
    })
    .await;
}

#[tokio::test]
async fn the_live_cursor_of_a_page_goes_on_without_overlap_or_gap() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([error("1", "INFO"), error("2", "INFO")])).await;
        let record = async || {
            for n in 3..40 {
                app.outcomes(json!([error(&n.to_string(), "INFO")])).await;
            }
        };
        let read = async || {
            let data = app
                .data("{ errorLogs(order: FIRST_RECORDED_FIRST) { liveCursor nodes { errorMessage } } }")
                .await;
            let mut seen = texts(&data["errorLogs"]["nodes"], "errorMessage");
            let mut socket = app.socket().await;
            let after = json!({ "after": data["errorLogs"]["liveCursor"] });
            let id = socket.subscribe(ERRORS, after).await;
            let rest = 39 - seen.len();
            seen.extend(messages(&mut socket, &id, rest).await);
            seen
        };
        let ((), seen) = tokio::join!(record(), read());
        let expected: Vec<String> = (1..40).map(|n: i32| n.to_string()).collect();
        assert_eq!(seen, expected);
    })
    .await;
}

#[tokio::test]
async fn a_cursor_goes_on_after_a_restart_of_the_server() {
    on_each_database(async |app| {
        app.fleet().await;
        let start = app.head().await;
        app.record(json!([
            error("1", "INFO"),
            error("2", "INFO"),
            error("3", "INFO")
        ]))
        .await;
        let mut socket = app.socket().await;
        let id = socket.subscribe(ERRORS, json!({ "after": start })).await;
        let first = socket.data(&id).await;
        drop(socket);
        app.restart().await;
        app.record(json!([error("4", "INFO")])).await;
        let mut socket = app.socket().await;
        let after = json!({ "after": first["errorLogs"]["cursor"] });
        let id = socket.subscribe(ERRORS, after).await;
        assert_eq!(messages(&mut socket, &id, 3).await, ["2", "3", "4"]);
    })
    .await;
}

#[tokio::test]
async fn the_cursor_of_an_outcome_goes_on_after_its_event() {
    on_each_database(async |app| {
        app.fleet().await;
        let outcomes = app
            .outcomes(json!([error("1", "INFO"), error("2", "INFO")]))
            .await;
        let mut socket = app.socket().await;
        let after = json!({ "after": outcomes[0]["cursor"] });
        let id = socket.subscribe(ERRORS, after).await;
        assert_eq!(messages(&mut socket, &id, 1).await, ["2"]);
    })
    .await;
}

#[tokio::test]
async fn nested_devices_are_resolved_for_each_item() {
    on_each_database(async |app| {
        app.fleet().await;
        let start = app.head().await;
        app.record(json!([error("1", "INFO"), { "deviceMetrics": { "deviceId": "till-3", "occurredAt": at(-1) } }])).await;
        let mut socket = app.socket().await;
        let document = "subscription($a: String) { events(after: $a, filter: { deviceId: { isNull: false } }) {
            ... on ErrorLog { device { name site { name } } } ... on DeviceMetrics { site { name } device { deviceId } } } }";
        let id = socket.subscribe(document, json!({ "a": start })).await;
        let shown = socket.data(&id).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(shown, @r#"{"events":{"device":{"name":"Till till-1","site":{"name":"Harbour shop"}}}}"#);
        }
        let shown = socket.data(&id).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(shown, @r#"{"events":{"device":{"deviceId":"till-3"},"site":{"name":"Market hall"}}}"#);
        }
    })
    .await;
}

#[tokio::test]
async fn a_subscription_that_does_not_fit_the_schema_ends_with_its_error() {
    on_each_database(async |app: &mut TestApp| {
        let mut socket = app.socket().await;
        let id = socket
            .subscribe("subscription { weather { id } }", json!({}))
            .await;
        let failed = socket.next(&id).await.unwrap();
        assert_eq!(
            failed["errors"][0]["extensions"]["code"],
            "VALIDATION_FAILED"
        );
        let id = socket
            .subscribe(ERRORS, json!({ "after": "garbage" }))
            .await;
        let failed = socket.next(&id).await.unwrap();
        assert_eq!(failed["errors"][0]["extensions"]["code"], "BAD_INPUT");
    })
    .await;
}

#[tokio::test]
async fn a_device_that_is_registered_later_is_known_to_the_filters_of_streams() {
    on_each_database(async |app| {
        app.fleet().await;
        let start = app.head().await;
        let mut socket = app.socket().await;
        let own = json!({ "deviceId": { "eq": "kiosk" } });
        let at_site = json!({ "siteId": { "in": ["quay", "nowhere"] } });
        let others = json!({ "not": { "deviceId": { "eq": "kiosk" } } });
        let mut streams = Vec::new();
        for filter in [own, at_site, others] {
            streams.push(socket.subscribe(ERRORS, json!({ "after": start, "f": filter })).await);
        }
        // they have begun once this has come to the last of them
        app.record(json!([error("before", "INFO")])).await;
        assert_eq!(messages(&mut socket, &streams[2], 1).await, ["before"]);
        app.record(json!([{ "siteRegistration": { "siteId": "quay", "name": "Quay" } },
            { "deviceRegistration": { "deviceId": "kiosk", "siteId": "quay", "deviceType": "GATEWAY" } }]))
            .await;
        let mut of_kiosk = error("of the kiosk", "INFO");
        of_kiosk["errorLog"]["deviceId"] = json!("kiosk");
        app.record(json!([of_kiosk, error("after", "INFO")])).await;
        for id in &streams[..2] {
            assert_eq!(messages(&mut socket, id, 1).await, ["of the kiosk"]);
        }
        assert_eq!(messages(&mut socket, &streams[2], 1).await, ["after"]);
    })
    .await;
}

#[tokio::test]
async fn fragments_at_the_root_of_a_subscription_are_opened() {
    on_each_database(async |app| {
        app.fleet().await;
        let start = app.head().await;
        app.record(json!([error("1", "INFO")])).await;
        let mut socket = app.socket().await;
        for document in [
            "subscription($a: String) { ...Errors } fragment Errors on Subscription { errorLogs(after: $a) { errorMessage } }",
            "subscription($a: String) { ... on Subscription { ... { errorLogs(after: $a) { errorMessage } } } }",
            "subscription($a: String) { errorLogs(after: $a) { ...What } errorLogs(after: $a) { severity } }
             fragment What on ErrorLog { errorMessage }",
        ] {
            let id = socket.subscribe(document, json!({ "a": start })).await;
            assert_eq!(messages(&mut socket, &id, 1).await, ["1"], "{document}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_subscription_has_one_root_field() {
    on_each_database(async |app| {
        let mut socket = app.socket().await;
        for document in [
            "subscription { errorLogs { id } userActivity { id } }",
            "subscription { a: errorLogs { id } b: errorLogs { id } }",
            "subscription { errorLogs { id } ... on Subscription { userActivity { id } } }",
            "subscription { ... on Query { viewer { name } } }",
            "subscription { ...Nothing }",
        ] {
            let id = socket.subscribe(document, json!({})).await;
            let failed = socket.next(&id).await.unwrap();
            let code = &failed["errors"][0]["extensions"]["code"];
            assert_eq!(code, "VALIDATION_FAILED", "{document}: {failed}");
        }
    })
    .await;
}
