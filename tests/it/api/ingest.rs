//! `POST /v1/ingest`: events as lines or as a list, an answer for each.

use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use homepot_analytics::config::LimitArgs;
use homepot_analytics::identity::Role;
use reqwest::{RequestBuilder, Response};
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::access::{grant, key};
use super::app::{TestApp, at, on_each_database, texts};

const LINES: &str = "application/x-ndjson";

fn post(app: &TestApp, ty: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
    let post = app.client().post(app.address("/v1/ingest"));
    post.header("content-type", ty).body(body)
}

fn error(message: &str) -> Value {
    json!({ "errorLog": { "category": "SYSTEM", "severity": "INFO", "errorMessage": message } })
}

fn metrics(device: &str, minute: i64) -> Value {
    json!({ "deviceMetrics": { "deviceId": device, "occurredAt": at(minute), "cpuPercent": 1 } })
}

fn lines(events: &[Value]) -> String {
    let lines = events
        .iter()
        .flat_map(|event| [event.to_string(), "\n".to_owned()]);
    lines.collect()
}

/// The lines of an answer, which must be one.
async fn answered(answer: Response) -> Value {
    let status = answer.status();
    let ty = answer.headers()["content-type"].clone();
    let text = answer.text().await.unwrap();
    assert_eq!(
        (status.as_u16(), ty.to_str().unwrap()),
        (200, LINES),
        "{text}"
    );
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.collect()
}

async fn sent(request: RequestBuilder) -> Value {
    answered(request.send().await.unwrap()).await
}

/// The status and the code of a refusal, and how long to wait.
async fn refused(request: RequestBuilder) -> (u16, String, Option<u64>) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let wait = answer.headers().get("retry-after");
    let wait = wait.map(|wait| wait.to_str().unwrap().parse().unwrap());
    let told: Value = answer.json().await.unwrap();
    let code = told["errors"][0]["extensions"]["code"].as_str();
    (status, code.unwrap_or_default().to_owned(), wait)
}

async fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(text).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

async fn zstd(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZstdEncoder::new(Vec::new());
    encoder.write_all(text).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

#[tokio::test]
async fn each_line_is_answered_in_its_place_whatever_its_neighbours_are() {
    on_each_database(async |app| {
        app.fleet().await;
        let body = [
            metrics("till-1", 0).to_string(),
            String::new(),
            "no json".to_owned(),
            metrics("nobody", 0).to_string(),
            json!({ "deviceMetrics": { "deviceId": "till-1", "occurredAt": at(1), "cpuPercent": 101 } }).to_string(),
            json!({ "nothing": {} }).to_string(),
            metrics("till-1", 0).to_string(),
            json!({ "deviceMetrics": { "deviceId": "till-1", "occurredAt": at(0), "cpuPercent": 2 } }).to_string(),
            error("last").to_string(),
        ]
        .join("\n");
        let answer = sent(post(app, LINES, body)).await;
        assert_eq!(texts(&answer, "index"), ["0", "1", "2", "3", "4", "5", "6", "7"]);
        let statuses = ["RECORDED", "REJECTED", "REJECTED", "REJECTED", "REJECTED", "DUPLICATE", "CONFLICT", "RECORDED"];
        assert_eq!(texts(&answer, "status"), statuses);
        let codes = ["null", "INVALID", "UNKNOWN_DEVICE", "OUT_OF_RANGE", "UNKNOWN_KIND", "null", "CONFLICT", "null"];
        assert_eq!(texts(&answer, "code"), codes);
        assert_eq!(answer[3]["field"], "cpuPercent");
        assert_eq!(answer[3]["message"], "cpuPercent is not between 0 and 100");
        let first = answer[0]["position"].as_str().unwrap();
        let recorded = json!({ "index": 0, "status": "RECORDED", "position": first });
        assert_eq!(answer[0], recorded);
        assert_eq!(answer[5]["position"], first);
        assert_eq!(answer[6]["position"], first);
    })
    .await;
}

#[tokio::test]
async fn lines_and_lists_are_taken_plain_and_packed() {
    on_each_database(async |app| {
        let events = [error("one"), error("two")];
        let list = json!(events).to_string();
        let named = json!({ "events": events }).to_string();
        let mut answers = vec![
            sent(post(app, LINES, lines(&events))).await,
            sent(post(app, "application/json", list.clone())).await,
            sent(post(app, "application/json; charset=utf-8", named)).await,
        ];
        for (coding, packed) in [
            ("gzip", gzip(lines(&events).as_bytes()).await),
            ("zstd", zstd(lines(&events).as_bytes()).await),
        ] {
            let post = post(app, LINES, packed).header("content-encoding", coding);
            answers.push(sent(post).await);
        }
        let packed = post(app, "application/json", zstd(list.as_bytes()).await);
        answers.push(sent(packed.header("content-encoding", "zstd")).await);
        for answer in answers {
            assert_eq!(texts(&answer, "status"), ["RECORDED"; 2]);
        }
        assert_eq!(sent(post(app, LINES, "")).await, json!([]));
        let data = app.data("{ errorLogs { totalCount } }").await;
        assert_eq!(data["errorLogs"]["totalCount"], "12");
    })
    .await;
}

#[tokio::test]
async fn what_is_sent_again_under_its_key_is_known_also_beyond_the_first_batch() {
    on_each_database(async |app| {
        let events: Vec<Value> = (0..2_500)
            .map(|number| error(&number.to_string()))
            .collect();
        let send = || post(app, LINES, lines(&events)).header("idempotency-key", "one");
        let first = sent(send()).await;
        assert_eq!(texts(&first, "status"), vec!["RECORDED"; 2_500]);
        let second = sent(send()).await;
        assert_eq!(texts(&second, "status"), vec!["DUPLICATE"; 2_500]);
        assert_eq!(texts(&second, "position"), texts(&first, "position"));
        // it is the key of recordEvents
        let document = "mutation($e: [EventInput!]!) { recordEvents(input: { events: $e, \
            idempotencyKey: \"one\" }) { outcomes { status } } }";
        let data = app.data_with(document, json!({ "e": events[..2] })).await;
        let outcomes = &data["recordEvents"]["outcomes"];
        assert_eq!(texts(outcomes, "status"), ["DUPLICATE"; 2]);
        for key in [String::new(), "k".repeat(256)] {
            let post = post(app, LINES, "").header("idempotency-key", key);
            assert_eq!(refused(post).await, (400, "BAD_INPUT".to_owned(), None));
        }
    })
    .await;
}

#[tokio::test]
async fn a_line_that_is_too_long_is_refused_in_its_place() {
    on_each_database(async |app| {
        let long = "x".repeat(1024 * 1024 + 1);
        let body = format!("{}\n{long}\n{}\n", error("one"), error("two"));
        let answer = sent(post(app, LINES, body)).await;
        assert_eq!(
            texts(&answer, "status"),
            ["RECORDED", "REJECTED", "RECORDED"]
        );
        assert_eq!(answer[1]["code"], "TOO_LONG");
    })
    .await;
}

#[tokio::test]
async fn what_becomes_far_too_large_when_unpacked_is_not_unpacked() {
    on_each_database(async |app| {
        let nothing = vec![b' '; 32 * 1024 * 1024];
        for (coding, packed) in [
            ("gzip", gzip(&nothing).await),
            ("zstd", zstd(&nothing).await),
        ] {
            let post = post(app, LINES, packed).header("content-encoding", coding);
            let told = refused(post).await;
            assert_eq!(told, (413, "LIMIT_EXCEEDED".to_owned(), None), "{coding}");
        }
        // what stands before it is recorded, and answered
        let body = [format!("{}\n", error("before")).as_bytes(), &nothing].concat();
        let packed = post(app, LINES, zstd(&body).await).header("content-encoding", "zstd");
        let answer = sent(packed).await;
        assert_eq!(answer[0]["status"], "RECORDED");
        assert_eq!(answer[1]["error"]["extensions"]["code"], "LIMIT_EXCEEDED");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_body_of_events_is_told_so() {
    on_each_database(async |app| {
        let bad = |status| (status, "BAD_REQUEST".to_owned(), None);
        assert_eq!(refused(post(app, "text/plain", "{}")).await, bad(415));
        assert_eq!(refused(post(app, "application/json", "{}")).await, bad(400));
        assert_eq!(refused(post(app, "application/json", "")).await, bad(400));
        let brotli = post(app, LINES, "").header("content-encoding", "br");
        let answer = brotli.send().await.unwrap();
        assert_eq!(answer.status(), 415);
        assert_eq!(answer.headers()["accept-encoding"], "gzip, zstd, identity");
        for coding in ["gzip", "zstd"] {
            let post = post(app, LINES, "nothing packed").header("content-encoding", coding);
            assert_eq!(refused(post).await, bad(400), "{coding}");
        }
        let cut = gzip(lines(&[error("one"), error("two")]).as_bytes()).await;
        let post_cut = post(app, LINES, cut[..cut.len() / 2].to_vec());
        let answer = post_cut
            .header("content-encoding", "gzip")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 400);
        let get = app
            .client()
            .get(app.address("/v1/ingest"))
            .send()
            .await
            .unwrap();
        assert_eq!(
            (
                get.status().as_u16(),
                get.headers()["allow"].to_str().unwrap()
            ),
            (405, "POST")
        );
        // a list that breaks off: what stands before is recorded
        let body = format!("[{},{}", error("one"), error("two"));
        let answer = sent(post(app, "application/json", body)).await;
        assert_eq!(texts(&answer, "status"), ["RECORDED", "RECORDED", "null"]);
        assert_eq!(answer[2]["error"]["extensions"]["code"], "BAD_REQUEST");
    })
    .await;
}

#[tokio::test]
async fn whoever_may_not_record_sends_nothing_and_nobody_beyond_their_reach() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let body = lines(&[
            metrics("till-1", 0),
            metrics("till-3", 0),
            error("of no site"),
        ]);
        let send = || post(app, LINES, body.clone());
        assert_eq!(refused(send()).await.0, 401);
        for role in [Role::Viewer, Role::Operator] {
            let key = key(app, grant(role, &[])).await;
            let told = refused(send().bearer_auth(key)).await;
            assert_eq!(told, (403, "FORBIDDEN".to_owned(), None), "{role:?}");
        }
        let bound = key(app, grant(Role::Ingest, &["harbour"])).await;
        let answer = sent(send().bearer_auth(bound)).await;
        assert_eq!(
            texts(&answer, "code"),
            ["null", "UNKNOWN_DEVICE", "NOT_ALLOWED"]
        );
        let device = key(app, grant(Role::Device, &[])).await;
        let answer = sent(send().bearer_auth(device)).await;
        assert_eq!(
            texts(&answer, "status"),
            ["DUPLICATE", "REJECTED", "REJECTED"]
        );
    })
    .await;
}

#[tokio::test]
async fn those_who_want_little_are_answered_what_was_not_taken_and_the_numbers() {
    on_each_database(async |app| {
        app.fleet().await;
        let events = [
            metrics("till-1", 0),
            metrics("nobody", 0),
            metrics("till-1", 0),
        ];
        let post = post(app, LINES, lines(&events)).header("prefer", "wait=5, return=minimal");
        let answer = post.send().await.unwrap();
        assert_eq!(answer.headers()["preference-applied"], "return=minimal");
        let answer = answered(answer).await;
        assert_eq!(texts(&answer, "index"), ["1", "null"]);
        let summary = json!({ "summary": {
            "recorded": 1, "duplicates": 1, "conflicts": 0, "rejected": 1, "overloaded": 0 } });
        assert_eq!(answer[1], summary);
    })
    .await;
}

/// A request whose body is sent as a test wants it.
struct Slowly {
    stream: BufReader<TcpStream>,
}

impl Slowly {
    async fn begin(app: &TestApp, key: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(app.app().address).await.unwrap();
        let key = key.map(|key| format!("Authorization: Bearer {key}\r\n"));
        let head = format!(
            "POST /v1/ingest HTTP/1.1\r\nHost: localhost\r\nContent-Type: {LINES}\r\n{}\
             Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
            key.unwrap_or_default()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    async fn send(&mut self, events: &[Value]) {
        let text = lines(events);
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        self.stream.write_all(chunk.as_bytes()).await.unwrap();
    }

    /// The next lines of answers, past what is of the transport.
    async fn next(&mut self, count: usize) -> Value {
        let mut found = Vec::new();
        while found.len() < count {
            let mut line = String::new();
            assert_ne!(self.stream.read_line(&mut line).await.unwrap(), 0);
            found.extend(
                line.starts_with('{')
                    .then(|| serde_json::from_str::<Value>(&line).unwrap()),
            );
        }
        Value::from(found)
    }

    async fn end(mut self) -> String {
        self.stream.write_all(b"0\r\n\r\n").await.unwrap();
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).await.unwrap();
        rest
    }
}

#[tokio::test]
async fn events_are_answered_while_more_are_sent() {
    on_each_database(async |app| {
        let mut slowly = Slowly::begin(app, None).await;
        for index in 0..3 {
            slowly.send(&[error("one")]).await;
            let answer = slowly.next(1).await;
            assert_eq!(answer[0]["index"], index);
            assert_eq!(answer[0]["status"], "RECORDED");
        }
        assert!(slowly.end().await.ends_with("0\r\n\r\n"));
    })
    .await;
}

#[tokio::test]
async fn whoever_spends_too_much_is_told_at_once_or_with_each_event_and_goes_on_later() {
    on_each_database(async |app| {
        let limits = LimitArgs {
            events_per_second_max: 1,
            ..LimitArgs::default()
        };
        app.close_with(limits).await;
        let key = key(app, grant(Role::Ingest, &[])).await;
        let ten: Vec<Value> = (0..10).map(|number| error(&number.to_string())).collect();
        let mut slowly = Slowly::begin(app, Some(&key)).await;
        slowly.send(&ten).await;
        assert_eq!(texts(&slowly.next(10).await, "status"), ["RECORDED"; 10]);
        slowly.send(&ten[..2]).await;
        let told = slowly.next(2).await;
        assert_eq!(texts(&told, "index"), ["10", "11"]);
        assert_eq!(texts(&told, "status"), ["OVERLOADED"; 2]);
        assert_eq!(texts(&told, "code"), ["RATE_LIMITED"; 2]);
        assert_eq!(texts(&told, "retryAfterMs"), ["2000"; 2]);
        let at_once = post(app, LINES, lines(&ten[..2])).bearer_auth(&key);
        assert_eq!(
            refused(at_once).await,
            (429, "RATE_LIMITED".to_owned(), Some(2))
        );
        app.clock.advance_ms(2_000);
        slowly.send(&ten[..2]).await;
        assert_eq!(texts(&slowly.next(2).await, "status"), ["RECORDED"; 2]);
        slowly.end().await;
    })
    .await;
}

#[tokio::test]
async fn a_full_queue_takes_nothing_and_says_when_to_come_back() {
    on_each_database(async |app| {
        let limits = LimitArgs {
            queue_events_max: 1,
            ..LimitArgs::default()
        };
        app.restart_with(limits).await;
        // nothing is appended while somebody else holds the head of the log
        let database = app.database().await;
        let held = database.begin().await.unwrap();
        let hold = "UPDATE log_head SET position = position";
        held.execute_unprepared(hold).await.unwrap();
        let send = async |number: i32| {
            let post = post(app, LINES, lines(&[error(&number.to_string())]));
            let answer = post.send().await.unwrap();
            let wait = answer.headers().get("retry-after").cloned();
            (answer.status().as_u16(), wait, answer.text().await.unwrap())
        };
        let mut all: FuturesUnordered<_> = (0..6).map(send).collect();
        let (status, wait, told) = all.next().await.unwrap();
        assert_eq!((status, wait.unwrap().to_str().unwrap()), (429, "1"));
        assert!(told.contains("OVERLOADED"), "{told}");
        held.rollback().await.unwrap();
        let rest: Vec<_> = all.collect().await;
        let taken = rest.iter().filter(|(status, ..)| *status == 200).count();
        assert!(taken > 0);
        let data = app.data("{ errorLogs { totalCount } }").await;
        assert_eq!(data["errorLogs"]["totalCount"], taken.to_string());
    })
    .await;
}

#[tokio::test]
async fn a_request_stands_once_in_the_log_of_requests() {
    on_each_database(async |app| {
        sent(post(app, LINES, lines(&[error("one")]))).await;
        let head = app.app().ingest.store().head();
        let mut moved = app.app().ingest.store().watch_head();
        if head.0 < 2 {
            moved.wait_for(|now| now.0 >= 2).await.unwrap();
        }
        let data = app
            .data("{ apiRequestLogs(filter: { endpoint: { startsWith: \"/v1\" } }) { nodes { endpoint method statusCode } } }")
            .await;
        let expected = json!([{ "endpoint": "/v1/ingest", "method": "POST", "statusCode": 200 }]);
        assert_eq!(data["apiRequestLogs"]["nodes"], expected);
    })
    .await;
}
