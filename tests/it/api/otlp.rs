//! OTLP over HTTP: what exporters of OpenTelemetry send.

use async_compression::tokio::write::GzipEncoder;
use homepot_analytics::config::LimitArgs;
use homepot_analytics::event::Instant;
use homepot_analytics::identity::Role;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message as _;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::access::{grant, key};
use super::app::{NOON, TestApp, on_each_database};

/// An instant so many milliseconds after noon, in nanoseconds.
fn nanoseconds(ms: i64) -> String {
    let noon = Instant::parse(NOON).unwrap();
    format!("{}000", noon.plus_ms(ms).0)
}

fn attributes(all: &Value) -> Value {
    let all = all.as_object().unwrap().iter();
    let one =
        |(key, value): (&String, &Value)| json!({ "key": key, "value": { "stringValue": value } });
    all.map(one).collect()
}

/// A gauge with points, each a number with attributes.
fn gauge(name: &str, unit: &str, ms: i64, points: &[(Value, Value)]) -> Value {
    let point = |(number, of): &(Value, Value)| {
        let kind = if number.is_string() {
            "asInt"
        } else {
            "asDouble"
        };
        json!({ "timeUnixNano": nanoseconds(ms), kind: number, "attributes": attributes(of) })
    };
    let points: Value = points.iter().map(point).collect();
    json!({ "name": name, "unit": unit, "gauge": { "dataPoints": points } })
}

fn request(resource: &Value, metrics: &[Value]) -> Value {
    json!({ "resourceMetrics": [{
        "resource": { "attributes": attributes(resource) },
        "scopeMetrics": [{ "metrics": metrics }],
    }] })
}

fn till(id: &str) -> Value {
    json!({ "service.instance.id": id })
}

fn post(app: &TestApp, to: &str, body: &Value) -> RequestBuilder {
    let post = app.client().post(app.address(&format!("/v1/{to}")));
    post.json(body)
}

async fn told(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], "application/json");
    (status, answer.json().await.unwrap())
}

/// Sends metrics that are all taken.
async fn taken(app: &TestApp, body: &Value) {
    assert_eq!(told(post(app, "metrics", body)).await, (200, json!({})));
}

async fn latest(app: &TestApp, device: &str, fields: &str) -> Value {
    app.settle().await;
    let document =
        format!("{{ device(deviceId: \"{device}\") {{ latestMetrics {{ {fields} }} }} }}");
    app.data(&document).await["device"]["latestMetrics"].take()
}

async fn count(app: &TestApp) -> String {
    let data = app.data("{ deviceMetrics { totalCount } }").await;
    data["deviceMetrics"]["totalCount"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn of_one(number: f64) -> [(Value, Value); 1] {
    [(json!(number), json!({}))]
}

#[tokio::test]
async fn points_of_a_device_and_instant_are_one_reading() {
    on_each_database(async |app| {
        app.fleet().await;
        let cpu = [
            (json!(0.2), json!({ "cpu": "0", "state": "user" })),
            (json!(0.1), json!({ "cpu": "0", "state": "system" })),
            (json!(0.7), json!({ "cpu": "0", "state": "idle" })),
            (json!(0.5), json!({ "cpu": "1", "state": "user" })),
            (json!(0.5), json!({ "cpu": "1", "state": "idle" })),
        ];
        let memory = [
            (json!(0.25), json!({ "state": "used" })),
            (json!(0.75), json!({ "state": "free" })),
        ];
        let disks = [
            (json!(0.9), json!({ "mountpoint": "/mnt", "state": "used" })),
            (json!(0.3), json!({ "mountpoint": "/", "state": "used" })),
            (json!(0.7), json!({ "mountpoint": "/", "state": "free" })),
        ];
        let body = request(
            &till("till-1"),
            &[
                gauge("system.cpu.utilization", "1", 0, &cpu),
                gauge("system.memory.utilization", "1", 0, &memory),
                gauge("system.filesystem.utilization", "1", 300, &disks),
                gauge(
                    "homepot.transaction.count",
                    "",
                    0,
                    &[(json!("42"), json!({}))],
                ),
                gauge("homepot.transaction.volume", "", 0, &of_one(1249.9)),
                gauge("homepot.network.latency", "s", 0, &of_one(0.012)),
                gauge("homepot.error.rate", "1", 0, &of_one(0.05)),
                gauge("system.uptime", "s", 0, &of_one(61.5)),
            ],
        );
        taken(app, &body).await;
        let whole = latest(
            app,
            "till-1",
            "occurredAt cpuPercent memoryPercent diskPercent \
            transactionCount transactionVolume networkLatencyMs errorRatePercent uptimeSeconds",
        )
        .await;
        let expected = json!({ "occurredAt": NOON, "cpuPercent": 40.0, "memoryPercent": 25.0,
            "diskPercent": 30.0, "transactionCount": 42, "transactionVolume": "1249.9",
            "networkLatencyMs": 12.0, "errorRatePercent": 5.0, "uptimeSeconds": 61 });
        assert_eq!(whole, expected);
        assert_eq!(count(app).await, "1");
        // sent again it is known, also in the other form
        let message: ExportMetricsServiceRequest = serde_json::from_value(body).unwrap();
        let answer = protobuf(app, "metrics", message.encode_to_vec()).await;
        assert_eq!(answer.status(), 200);
        let answer = ExportMetricsServiceResponse::decode(answer.bytes().await.unwrap()).unwrap();
        assert_eq!(answer.partial_success, None);
        assert_eq!(count(app).await, "1");
    })
    .await;
}

async fn protobuf(app: &TestApp, to: &str, body: Vec<u8>) -> Response {
    let post = app.client().post(app.address(&format!("/v1/{to}")));
    let post = post
        .header("content-type", "application/x-protobuf")
        .body(body);
    let answer = post.send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/x-protobuf");
    answer
}

#[tokio::test]
async fn names_of_telegraf_and_vector_are_known() {
    on_each_database(async |app| {
        app.fleet().await;
        let cpu = [
            (json!(10.0), json!({ "cpu": "cpu0", "host": "till-1" })),
            (json!(75.5), json!({ "cpu": "cpu-total", "host": "till-1" })),
        ];
        let disk = [(json!(61.0), json!({ "path": "/", "host": "till-1" }))];
        let memory = [(json!(33.0), json!({ "host": "till-1" }))];
        let body = request(
            &json!({}),
            &[
                gauge("cpu_usage_idle", "", 0, &cpu),
                gauge("mem_used_percent", "", 0, &memory),
                gauge("disk_used_percent", "", 0, &disk),
            ],
        );
        taken(app, &body).await;
        let expected = json!({ "cpuPercent": 24.5, "memoryPercent": 33.0, "diskPercent": 61.0 });
        let fields = "cpuPercent memoryPercent diskPercent";
        assert_eq!(latest(app, "till-1", fields).await, expected);
        let ratio = [(json!(0.5), json!({ "mountpoint": "/" }))];
        let metrics = [gauge("host.filesystem_used_ratio", "", 0, &ratio)];
        let body = request(&json!({ "host.name": "till-2" }), &metrics);
        taken(app, &body).await;
        assert_eq!(
            latest(app, "till-2", "diskPercent").await,
            json!({ "diskPercent": 50.0 })
        );
    })
    .await;
}

#[tokio::test]
async fn measures_that_come_in_several_requests_are_parts_of_one_reading() {
    on_each_database(async |app| {
        app.fleet().await;
        let cpu = |percent| {
            request(
                &till("till-1"),
                &[gauge("homepot.cpu.percent", "%", 0, &of_one(percent))],
            )
        };
        let queue = request(
            &till("till-1"),
            &[gauge("homepot.queue.depth", "", 0, &of_one(3.0))],
        );
        for body in [cpu(10.0), queue.clone(), cpu(10.0), queue] {
            taken(app, &body).await;
        }
        assert_eq!(count(app).await, "2");
        let expected = json!({ "cpuPercent": 10.0, "queueDepth": 3 });
        assert_eq!(
            latest(app, "till-1", "cpuPercent queueDepth").await,
            expected
        );
        let (status, answer) = told(post(app, "metrics", &cpu(11.0))).await;
        assert_eq!(status, 200);
        insta::allow_duplicates! {
            insta::assert_snapshot!(answer, @r#"{"partialSuccess":{"rejectedDataPoints":"1","errorMessage":"till-1 is in conflict: the same key was recorded before with another body (1)"}}"#);
        }
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_kept_is_counted_and_told_and_the_rest_is_kept() {
    on_each_database(async |app| {
        app.fleet().await;
        let histogram = json!({ "name": "homepot.network.latency", "histogram": { "dataPoints": [
            { "timeUnixNano": nanoseconds(0), "count": "1", "bucketCounts": ["1"] },
            { "timeUnixNano": nanoseconds(0), "count": "1", "bucketCounts": ["1"] } ] } });
        let mut delta = gauge("homepot.transaction.count", "", 0, &of_one(1.0));
        let mut sum = delta["gauge"].take();
        sum["aggregationTemporality"] = json!(1);
        let delta = json!({ "name": "homepot.transaction.count", "sum": sum });
        let mut timeless = gauge("homepot.disk", "%", 0, &of_one(1.0));
        timeless["gauge"]["dataPoints"][0]["timeUnixNano"] = json!("0");
        let body = request(
            &till("till-1"),
            &[
                gauge("homepot.cpu.percent", "", 0, &of_one(12.0)),
                gauge("homepot.memory.percent", "", 0, &of_one(101.0)),
                gauge("process.runtime.threads", "", 0, &of_one(9.0)),
                gauge(
                    "homepot.queue.depth",
                    "",
                    0,
                    &[
                        (json!(1.0), json!({})),
                        (json!(2.0), json!({ "lane": "b" })),
                    ],
                ),
                histogram,
                delta,
                timeless,
            ],
        );
        let (status, answer) = told(post(app, "metrics", &body)).await;
        assert_eq!(status, 200);
        insta::allow_duplicates! {
            insta::assert_snapshot!(answer, @r#"{"partialSuccess":{"rejectedDataPoints":"7","errorMessage":"homepot.disk has a point without a time (1); homepot.network.latency is a histogram or a summary: a gauge or a sum is taken (2); homepot.queue.depth is given more than once for one device and instant (1); homepot.transaction.count is a sum of differences: send it cumulative (1); memoryPercent is refused: memoryPercent is not between 0 and 100 (1); process.runtime.threads is no measure of a device here (1)"}}"#);
        }
        let message: ExportMetricsServiceRequest = serde_json::from_value(body).unwrap();
        let again = protobuf(app, "metrics", message.encode_to_vec()).await;
        let again = ExportMetricsServiceResponse::decode(again.bytes().await.unwrap()).unwrap();
        assert_eq!(again.partial_success.unwrap().rejected_data_points, 7);
        let expected = json!({ "cpuPercent": 12.0, "memoryPercent": null, "queueDepth": 1 });
        assert_eq!(
            latest(app, "till-1", "cpuPercent memoryPercent queueDepth").await,
            expected
        );
        // of a device that is not registered, and of none
        for (resource, reason) in [
            (till("nobody"), "deviceId names no registered device"),
            (json!({}), "is of no device"),
        ] {
            let metrics = [gauge("homepot.cpu.percent", "", 0, &of_one(12.0))];
            let (status, answer) = told(post(app, "metrics", &request(&resource, &metrics))).await;
            let partial = &answer["partialSuccess"];
            assert_eq!(
                (status, partial["rejectedDataPoints"].as_str()),
                (200, Some("1"))
            );
            let message = partial["errorMessage"].as_str().unwrap();
            assert!(message.contains(reason), "{message}");
        }
    })
    .await;
}

fn record(severity: i32, body: &str, more: &Value) -> Value {
    json!({ "timeUnixNano": nanoseconds(0), "severityNumber": severity,
        "body": { "stringValue": body }, "attributes": attributes(more),
        "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331" })
}

fn logs(resource: &Value, records: &[Value]) -> Value {
    json!({ "resourceLogs": [{
        "resource": { "attributes": attributes(resource) },
        "scopeLogs": [{ "logRecords": records }],
    }] })
}

#[tokio::test]
async fn records_become_entries_of_the_error_log_once() {
    on_each_database(async |app| {
        app.fleet().await;
        let thrown = json!({ "exception.type": "CardError", "exception.stacktrace": "at pay()", "lane": "b",
            "homepot.category": "device", "http.route": "/pay", "user.id": "ada" });
        let body = logs(
            &till("till-1"),
            &[
                record(17, "card not read", &thrown),
                record(21, "out of memory", &json!({})),
                record(13, "paper is low", &json!({})),
                record(13, "paper is low", &json!({})),
                record(9, "opened", &json!({})),
                record(5, "a detail", &json!({})),
            ],
        );
        let expected = json!({ "partialSuccess": { "rejectedLogRecords": "1",
            "errorMessage": "a record is below INFO: such are not kept here (1)" } });
        for _ in 0..2 {
            assert_eq!(told(post(app, "logs", &body)).await, (200, expected.clone()));
        }
        let data = app
            .data("{ errorLogs(order: FIRST_RECORDED_FIRST) { nodes { severity errorMessage } } }")
            .await;
        let all: Vec<String> = data["errorLogs"]["nodes"].as_array().unwrap().iter()
            .map(|node| format!("{} {}", node["severity"].as_str().unwrap(), node["errorMessage"].as_str().unwrap()))
            .collect();
        assert_eq!(all, ["ERROR card not read", "CRITICAL out of memory", "WARNING paper is low",
            "WARNING paper is low", "INFO opened"]);
        let data = app
            .data("{ errorLogs(first: 1, order: FIRST_RECORDED_FIRST) { nodes { category errorCode stackTrace deviceId userId endpoint occurredAt context } } }")
            .await;
        let expected = json!({ "category": "DEVICE", "errorCode": "CardError", "stackTrace": "at pay()",
            "deviceId": "till-1", "userId": "ada", "endpoint": "/pay", "occurredAt": NOON,
            "context": { "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331",
                "resource": { "service.instance.id": "till-1" }, "attributes": { "lane": "b" } } });
        assert_eq!(data["errorLogs"]["nodes"][0], expected);
        // a service that is no device of the fleet may say something too, in either form
        let body = logs(&json!({ "service.instance.id": "some service" }), &[record(17, "down", &json!({}))]);
        let message: ExportLogsServiceRequest = serde_json::from_value(body).unwrap();
        let answer = protobuf(app, "logs", message.encode_to_vec()).await;
        let answer = ExportLogsServiceResponse::decode(answer.bytes().await.unwrap()).unwrap();
        assert_eq!(answer.partial_success, None);
        let data = app.data("{ errorLogs(first: 1, order: LAST_RECORDED_FIRST) { nodes { deviceId errorMessage } } }").await;
        let expected = json!({ "deviceId": null, "errorMessage": "down" });
        assert_eq!(data["errorLogs"]["nodes"][0], expected);
    })
    .await;
}

#[tokio::test]
async fn exporters_are_told_in_their_own_form_what_was_not_taken() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let body = request(
            &till("till-1"),
            &[gauge("homepot.cpu.percent", "", 0, &of_one(1.0))],
        );
        let (status, answer) = told(post(app, "metrics", &body)).await;
        assert_eq!((status, &answer["code"]), (401, &json!(16)));
        assert!(
            answer["message"]
                .as_str()
                .unwrap()
                .contains("no credential")
        );
        let viewer = key(app, grant(Role::Viewer, &[])).await;
        let (status, answer) = told(post(app, "metrics", &body).bearer_auth(viewer)).await;
        assert_eq!((status, &answer["code"]), (403, &json!(7)));
        let ingest = key(app, grant(Role::Ingest, &[])).await;
        let send = |ty: &str, body: Vec<u8>| {
            let post = app.client().post(app.address("/v1/metrics"));
            post.bearer_auth(&ingest)
                .header("content-type", ty)
                .body(body)
        };
        let proto = "application/x-protobuf";
        let answer = send(proto, vec![0x0a, 0x09]).send().await.unwrap();
        assert_eq!(
            (
                answer.status().as_u16(),
                &answer.headers()["content-type"].as_bytes()
            ),
            (400, &proto.as_bytes())
        );
        // a google.rpc.Status: its code is the first field
        assert_eq!(answer.bytes().await.unwrap()[..2], [0x08, 0x03]);
        let json = "application/json";
        assert_eq!(told(send(json, b"{".to_vec())).await.0, 400);
        assert_eq!(told(send(json, vec![b' '; 4 << 20 | 1])).await.0, 413);
        assert_eq!(
            send("text/plain", Vec::new())
                .send()
                .await
                .unwrap()
                .status(),
            415
        );
        // a small body of very many messages
        let many = [0x0a, 0x00].repeat(200_001);
        assert_eq!(send(proto, many).send().await.unwrap().status(), 413);
    })
    .await;
}

#[tokio::test]
async fn an_exporter_that_sends_too_much_is_told_when_to_come_back() {
    on_each_database(async |app| {
        app.fleet().await;
        let limits = LimitArgs {
            events_per_second_max: 1,
            ..LimitArgs::default()
        };
        app.close_with(limits).await;
        let ingest = key(app, grant(Role::Ingest, &[])).await;
        let json = "application/json";
        let send = |body: Vec<u8>| {
            let post = app.client().post(app.address("/v1/metrics"));
            post.bearer_auth(&ingest)
                .header("content-type", json)
                .body(body)
        };
        let readings = |from: i64| {
            let gauges = (from..from + 10)
                .map(|s| gauge("homepot.cpu.percent", "", s * 1_000, &of_one(1.0)));
            request(&till("till-1"), &gauges.collect::<Vec<_>>())
        };
        let mut packed = GzipEncoder::new(Vec::new());
        packed
            .write_all(readings(-20).to_string().as_bytes())
            .await
            .unwrap();
        packed.shutdown().await.unwrap();
        let taken = send(packed.into_inner()).header("content-encoding", "gzip");
        assert_eq!(told(taken).await, (200, serde_json::json!({})));
        let answer = send(readings(-10).to_string().into_bytes())
            .send()
            .await
            .unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (429, &"10".parse().unwrap())
        );
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["code"], 8);
    })
    .await;
}

#[tokio::test]
async fn whoever_is_a_device_reports_of_itself_whatever_its_exporter_calls_it() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let device = key(app, grant(Role::Device, &[])).await;
        let bound = key(app, grant(Role::Ingest, &["market"])).await;
        let body = |id: &str| {
            let resource = json!({ "service.instance.id": "01a2", "host.name": id });
            request(
                &resource,
                &[gauge("homepot.cpu.percent", "", 0, &of_one(1.0))],
            )
        };
        let sent = async |key: &str, id: &str| {
            told(post(app, "metrics", &body(id)).bearer_auth(key))
                .await
                .1
        };
        assert_eq!(sent(&device, "raspberry").await, json!({}));
        assert_eq!(sent(&bound, "till-3").await, json!({}));
        let refused = sent(&bound, "till-2").await;
        let message = refused["partialSuccess"]["errorMessage"].as_str().unwrap();
        assert!(message.contains("names no registered device"), "{message}");
        let admin = key(app, grant(Role::Admin, &[])).await;
        let ask = app
            .client()
            .post(app.address("/graphql"))
            .bearer_auth(admin);
        let ask = ask.json(&json!({ "query": "{ deviceMetrics { nodes { deviceId } } }" }));
        let answer: Value = ask.send().await.unwrap().json().await.unwrap();
        let nodes = &answer["data"]["deviceMetrics"]["nodes"];
        assert_eq!(
            *nodes,
            json!([{ "deviceId": "till-3" }, { "deviceId": "till-1" }])
        );
    })
    .await;
}
