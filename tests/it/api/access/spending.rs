//! What callers may spend in a second, of cost and of events.

use homepot_analytics::config::LimitArgs;
use homepot_analytics::identity::Role;
use serde_json::{Value, json};

use super::super::app::{TestApp, at, on_each_database};
use super::super::socket::Socket;
use super::{ask, grant, key};

/// 10 points and 2 events a second.
fn limits() -> LimitArgs {
    LimitArgs {
        cost_per_second_max: 10,
        events_per_second_max: 2,
        ..LimitArgs::default()
    }
}

/// A page of 40 rows with a field of each: 41 points for the page and its rows, 1 for the list.
const PAGE: &str = "{ devices(first: 40) { nodes { deviceId } } }";

async fn posted(app: &TestApp, key: &str, accept: &str) -> (u16, Option<String>, Value) {
    let post = app.client().post(app.address("/graphql")).bearer_auth(key);
    let post = post
        .header("accept", accept)
        .json(&json!({ "query": PAGE }));
    let answer = post.send().await.unwrap();
    let wait = answer.headers().get("retry-after");
    let wait = wait.map(|wait| wait.to_str().unwrap().to_owned());
    (answer.status().as_u16(), wait, answer.json().await.unwrap())
}

#[tokio::test]
async fn whoever_asks_too_much_is_told_which_limit_and_for_how_long() {
    on_each_database(async |app| {
        app.close_with(limits()).await;
        let viewer = key(app, grant(Role::Viewer, &[])).await;
        let json = "application/json";
        let (status, _, answer) = posted(app, &viewer, json).await;
        let cost = &answer["extensions"]["cost"];
        let requested = cost["requested"].as_i64().unwrap();
        assert_eq!(status, 200);
        assert_eq!(requested, 42);
        assert_eq!(cost["limit"], 100);
        assert_eq!(cost["remaining"], 100 - requested);
        assert_eq!(cost["resetAt"], "2026-11-23T12:00:04.200Z");
        assert_eq!(posted(app, &viewer, json).await.0, 200);
        for accept in [json, "application/graphql-response+json"] {
            let (status, wait, answer) = posted(app, &viewer, accept).await;
            assert_eq!((status, wait.as_deref()), (429, Some("3")));
            let told = &answer["errors"][0]["extensions"];
            let expected = json!({ "code": "RATE_LIMITED", "retryable": true, "limit": "COST", "retryAfterMs": 2_600 });
            assert_eq!(*told, expected);
        }
        // another caller has a budget of their own
        let other = key(app, grant(Role::Viewer, &[])).await;
        assert_eq!(posted(app, &other, json).await.0, 200);
        app.clock.advance_ms(2_600);
        assert_eq!(posted(app, &viewer, json).await.0, 200);
    })
    .await;
}

#[tokio::test]
async fn sockets_of_a_caller_spend_from_the_same_budget() {
    on_each_database(async |app| {
        app.close_with(limits()).await;
        let viewer = key(app, grant(Role::Viewer, &[])).await;
        for _ in 0..2 {
            let mut socket = Socket::open_as(app.app().address, &viewer).await;
            let id = socket.subscribe(PAGE, json!({})).await;
            socket.data(&id).await;
        }
        let mut socket = Socket::open_as(app.app().address, &viewer).await;
        let id = socket.subscribe(PAGE, json!({})).await;
        let refused = socket.next(&id).await.unwrap();
        assert_eq!(refused["errors"][0]["extensions"]["code"], "RATE_LIMITED");
    })
    .await;
}

#[tokio::test]
async fn whoever_records_too_much_is_refused_before_anything_is_recorded() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_with(limits()).await;
        let ingest = key(app, grant(Role::Ingest, &[])).await;
        let event = |n: i64| json!({ "deviceMetrics": { "deviceId": "till-1", "cpuPercent": 1, "occurredAt": at(-n) } });
        let record = async |from: i64, events: i64| {
            let events: Vec<Value> = (from..from + events).map(event).collect();
            let document = "mutation($input: RecordEventsInput!) { recordEvents(input: $input) { outcomes { status } } }";
            let variables = json!({ "input": { "events": events } });
            ask(app, &ingest, json!({ "query": document, "variables": variables })).await
        };
        assert_eq!(record(1, 15).await.0, 200);
        let head = app.app().ingest.store().head();
        let (status, answer) = record(100, 10).await;
        assert_eq!(status, 429);
        let told = &answer["errors"][0]["extensions"];
        assert_eq!((&told["limit"], &told["retryAfterMs"]), (&json!("EVENTS"), &json!(2_500)));
        let metrics = app.app().ingest.store().head();
        assert!(metrics.0 - head.0 < 10, "nothing of it is recorded");
        app.clock.advance_ms(2_500);
        assert_eq!(record(100, 10).await.0, 200);
    })
    .await;
}
