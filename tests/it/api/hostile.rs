//! What a hostile client may send: it is refused, and the server goes on.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::app::{RECORD, TestApp, at, on_each_database, texts};
use super::inputs::error;

const FOLLOW: &str = "subscription($c: String) { errorLogs(after: $c) { errorMessage } }";

/// The cursor of the head, with another position written into it.
async fn forged(app: &TestApp, position: i64) -> String {
    let mut bytes = URL_SAFE_NO_PAD.decode(app.head().await).unwrap();
    bytes[13..21].copy_from_slice(&position.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test]
async fn a_cursor_of_no_place_is_refused_and_one_ahead_of_the_log_has_expired() {
    on_each_database(async |app| {
        app.fleet().await;
        for (position, code) in [
            (i64::MIN, "BAD_INPUT"),
            (-1, "BAD_INPUT"),
            (1_000, "CURSOR_EXPIRED"),
            (i64::MAX, "CURSOR_EXPIRED"),
        ] {
            let cursor = forged(app, position).await;
            let mut socket = app.socket().await;
            let id = socket.subscribe(FOLLOW, json!({ "c": cursor })).await;
            let failed = socket.next(&id).await.unwrap();
            let given = &failed["errors"][0]["extensions"]["code"];
            assert_eq!(given, code, "{position}");
        }
        app.record(json!([error("still here", "INFO")])).await;
    })
    .await;
}

#[tokio::test]
async fn brackets_without_end_are_refused_before_they_are_parsed() {
    on_each_database(async |app| {
        let deep = format!(
            "{{ errorLogs(filter: {{ and: {}{} }}) {{ totalCount }} }}",
            "[".repeat(50_000),
            "]".repeat(50_000)
        );
        assert_eq!(app.code(&deep).await, "LIMIT_EXCEEDED");
        let short = format!("{{a(b:{}1)}}", "%5B".repeat(2_000));
        let get = app
            .client()
            .get(app.address(&format!("/graphql?query={short}")));
        let answer = get.send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["errors"][0]["extensions"]["code"], "LIMIT_EXCEEDED");
        let mut socket = app.socket().await;
        for document in [
            deep,
            FOLLOW.replace("$c)", &format!("{}1", "[".repeat(2_000))),
        ] {
            let id = socket.subscribe(&document, json!({})).await;
            let failed = socket.next(&id).await.unwrap();
            assert_eq!(failed["errors"][0]["extensions"]["code"], "LIMIT_EXCEEDED");
        }
    })
    .await;
}

/// Whoever reads it later must be able to.
#[tokio::test]
async fn json_of_many_levels_is_refused_and_the_deepest_allowed_is_read_back() {
    on_each_database(async |app| {
        app.fleet().await;
        let nested = |levels: usize| (1..levels).fold(json!([]), |inner, _| json!([inner]));
        let mut events = Vec::new();
        for levels in [64, 65, 100] {
            let mut event = error("deep", "INFO");
            event["errorLog"]["context"] = nested(levels);
            events.push(event);
        }
        let outcomes = app.outcomes(json!(events)).await;
        assert_eq!(texts(&outcomes, "status"), ["RECORDED", "REJECTED", "REJECTED"]);
        assert_eq!(outcomes[1]["code"], "TOO_LONG");
        let literal = format!(
            "mutation {{ recordEvents(input: {{ events: [{{ errorLog: {{ category: API, severity: INFO, \
             errorMessage: \"e\", context: {}{} }} }}] }}) {{ outcomes {{ code }} }} }}",
            "[".repeat(80),
            "]".repeat(80)
        );
        let data = app.data(&literal).await;
        assert_eq!(data["recordEvents"]["outcomes"][0]["code"], "TOO_LONG");
        let data = app.data("{ errorLogs { nodes { context } } }").await;
        assert_eq!(data["errorLogs"]["nodes"], json!([{ "context": nested(64) }]));
    })
    .await;
}

/// The code of the answer to a body as it is, and its status.
async fn posted(app: &TestApp, body: String) -> (u16, String) {
    let post = app.client().post(app.address("/graphql"));
    let post = post.header("content-type", "application/json").body(body);
    let answer = post.send().await.unwrap();
    let status = answer.status().as_u16();
    let answer: Value = answer.json().await.unwrap();
    let code = &answer["errors"][0]["extensions"]["code"];
    (status, code.as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_request_that_is_none_is_told_whether_a_repeat_may_succeed() {
    on_each_database(async |app| {
        let post = app.client().post(app.address("/graphql")).body("{}");
        let answer = post.send().await.unwrap();
        assert_eq!(answer.status(), 415);
        let answer: Value = answer.json().await.unwrap();
        let extensions = json!({ "code": "BAD_REQUEST", "retryable": false });
        assert_eq!(answer["errors"][0]["extensions"], extensions);
    })
    .await;
}

#[tokio::test]
async fn variables_are_large_only_for_the_events_of_a_request() {
    on_each_database(async |app| {
        app.fleet().await;
        let request = |query: &str, variables: String| {
            let query = json!(query);
            format!("{{\"query\":{query},\"variables\":{variables}}}")
        };
        let plain = "query($a: Int) { storeHealth { head } }";
        let long = format!("{{\"b\":\"{}\"}}", "x".repeat(1 << 20));
        let many = format!("{{\"b\":[{}0]}}", "0,".repeat(50_000));
        for variables in [&long, &many] {
            let (_, code) = posted(app, request(plain, variables.clone())).await;
            assert_eq!(code, "LIMIT_EXCEEDED");
        }
        let text = "x".repeat(10_000);
        let event = error(&text, "INFO");
        let mut events = vec![event; 200];
        let outcomes = app.outcomes(json!(events)).await;
        assert!(
            texts(&outcomes, "status")
                .iter()
                .all(|status| status == "RECORDED")
        );
        // one that has not the form of the schema fails the request, however large it is
        events[7]["errorLog"]["severity"] = json!("BANANA");
        let variables = json!({ "input": { "events": events } });
        assert_eq!(app.code_with(RECORD, variables).await, "BAD_INPUT");
        let hidden = json!({ "input": { "events": [], "other": "x".repeat(1 << 20) } });
        assert_eq!(app.code_with(RECORD, hidden).await, "LIMIT_EXCEEDED");
        let (status, code) = posted(app, " ".repeat((16 << 20) + 1)).await;
        assert_eq!((status, code.as_str()), (413, "LIMIT_EXCEEDED"));
    })
    .await;
}

#[tokio::test]
async fn of_too_many_events_only_one_more_than_there_may_be_is_read() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut events = vec![error(&"x".repeat(2_000), "INFO"); 1_002];
        events[1_001]["errorLog"]["severity"] = json!("BANANA");
        let input = json!({ "input": { "events": events } });
        assert_eq!(app.code_with(RECORD, input).await, "LIMIT_EXCEEDED");
    })
    .await;
}

#[tokio::test]
async fn the_events_of_a_request_have_a_number_of_values_however_short_they_are() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut event = error("many", "INFO");
        event["errorLog"]["context"] = json!(vec![0; 32_000]);
        let mut events = vec![event.clone(); 6];
        let outcomes = app.outcomes(json!(events)).await;
        assert_eq!(texts(&outcomes, "status"), ["RECORDED"; 6]);
        events.push(event);
        let input = json!({ "input": { "events": events } });
        assert_eq!(app.code_with(RECORD, input).await, "LIMIT_EXCEEDED");
    })
    .await;
}

#[tokio::test]
async fn a_thousand_metrics_with_every_service_are_within_the_limits() {
    on_each_database(async |app| {
        app.fleet().await;
        let services: serde_json::Map<String, Value> = (0..64)
            .map(|n| (format!("service-{n}"), json!("UP")))
            .collect();
        let metric = |n: i64| {
            json!({ "deviceMetrics": {
            "deviceId": "till-1", "occurredAt": at(-n), "cpuPercent": 1.5, "memoryPercent": 2.5,
            "diskPercent": 3.5, "networkLatencyMs": 4, "transactionCount": 5,
            "transactionVolume": "6.5", "errorRatePercent": 7, "activeConnections": 8,
            "queueDepth": 9, "uptimeSeconds": 10, "services": services,
            "collectionIntervalSeconds": 30, "extra": { "a": [1, 2, 3] } } })
        };
        let events: Vec<Value> = (0..1_000).map(metric).collect();
        let outcomes = app.outcomes(json!(events)).await;
        assert!(
            texts(&outcomes, "status")
                .iter()
                .all(|status| status == "RECORDED")
        );
    })
    .await;
}

#[tokio::test]
async fn events_in_a_variable_are_read_alike_wherever_the_variable_stands() {
    on_each_database(async |app| {
        app.fleet().await;
        let whole = "mutation($i: RecordEventsInput!) { r: recordEvents(input: $i) { \
                     outcomes { status } clientMutationId } }";
        let events = "mutation($e: [EventInput!]!, $k: String) { r: recordEvents(input: { events: $e, \
                      idempotencyKey: $k, clientMutationId: \"m\" }) { outcomes { status } clientMutationId } }";
        let one = json!([error("one", "INFO")]);
        let given = json!({ "i": { "events": one, "idempotencyKey": "k", "clientMutationId": "m" } });
        let data = app.data_with(whole, given).await;
        assert_eq!(data["r"], json!({ "outcomes": [{ "status": "RECORDED" }], "clientMutationId": "m" }));
        let data = app.data_with(events, json!({ "e": one, "k": "k" })).await;
        assert_eq!(data["r"], json!({ "outcomes": [{ "status": "DUPLICATE" }], "clientMutationId": "m" }));
        // one event is a list of itself
        let data = app.data_with(events, json!({ "e": one[0], "k": "k" })).await;
        assert_eq!(data["r"]["outcomes"], json!([{ "status": "DUPLICATE" }]));
        // twice the same variable is the same events twice
        let twice = "mutation($i: RecordEventsInput!) { a: recordEvents(input: $i) { outcomes { status } } \
                     b: recordEvents(input: $i) { outcomes { status } } }";
        let data = app.data_with(twice, json!({ "i": { "events": one, "idempotencyKey": "l" } })).await;
        assert_eq!(data["a"]["outcomes"], json!([{ "status": "RECORDED" }]));
        assert_eq!(data["b"]["outcomes"], json!([{ "status": "DUPLICATE" }]));
    })
    .await;
}

#[tokio::test]
async fn a_list_is_no_request_even_where_its_items_would_make_one() {
    on_each_database(async |app| {
        for body in [
            "[]",
            "[\"{ viewer { name } }\", null, null, null, null]",
            " [{\"query\":\"{ viewer { name } }\"}]",
        ] {
            let post = app.client().post(app.address("/graphql"));
            let post = post.header("content-type", "application/json");
            let answer = post.body(body).send().await.unwrap();
            assert_eq!(answer.status(), 400, "{body}");
        }
    })
    .await;
}
