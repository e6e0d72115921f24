//! Exports: what is asked for is written as it is in the log, is seen by who asked, and is taken in parts.

mod again;
mod bounds;
mod ends;
mod held;
mod spreadsheets;

use std::io::Read;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use homepot_analytics::event::Position;
use homepot_analytics::export::{Asked, Events, Format, Readers, Target, write};
use homepot_analytics::identity::Role;
use homepot_analytics::kinds::{Filter, Kind};
use reqwest::{Method, Response, StatusCode};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::access::{ask, grant, key};
use super::app::{TestApp, at, exports, on_each_database};

const CREATE: &str = "mutation($input: CreateExportInput!) { createExport(input: $input) {
    export { exportId } userErrors { field code } } }";
const EXPORT: &str = "query($id: ID!) { export(exportId: $id) { exportId state format gzip events eventsTotal
    bytes position restarts downloadPath createdBy createdAt expiresAt sources { kind filter } from to
    error { code message } } }";
const CANCEL: &str = "mutation($id: ID!) { cancelExport(input: { exportId: $id }) {
    export { state } userErrors { code } } }";

/// The files that there are.
fn files(app: &TestApp) -> Vec<PathBuf> {
    let beside = || {
        PathBuf::from(format!(
            "{}.exports",
            app.url().strip_prefix("sqlite://").unwrap()
        ))
    };
    let folder = exports(app.url()).unwrap_or_else(beside);
    let homes = std::fs::read_dir(folder).into_iter().flatten();
    let files = homes.flat_map(|home| std::fs::read_dir(home.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

async fn create(app: &TestApp, input: Value) -> String {
    let mut data = app.data_with(CREATE, json!({ "input": input })).await;
    let payload = data["createExport"].take();
    assert_eq!(payload["userErrors"], json!([]), "{input}");
    payload["export"]["exportId"].as_str().unwrap().to_owned()
}

/// Waits until an export is as it must be.
async fn until(app: &TestApp, id: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    loop {
        let mut data = app.data_with(EXPORT, json!({ "id": id })).await;
        if is_it(&data["export"]) {
            return data["export"].take();
        }
        tokio::task::yield_now().await;
    }
}

fn is_over(export: &Value) -> bool {
    export["state"] != "QUEUED" && export["state"] != "RUNNING"
}

async fn done(app: &TestApp, input: Value) -> Value {
    let id = create(app, input).await;
    let export = until(app, &id, is_over).await;
    assert_eq!(export["state"], "DONE", "{export:#}");
    export
}

async fn get(app: &TestApp, export: &Value, headers: &[(&str, &str)]) -> Response {
    let path = export["downloadPath"].as_str().unwrap();
    let mut get = app.client().get(app.address(path));
    for (name, value) in headers {
        get = get.header(*name, *value);
    }
    get.send().await.unwrap()
}

async fn taken(app: &TestApp, export: &Value) -> Vec<u8> {
    let answer = get(app, export, &[]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    answer.bytes().await.unwrap().to_vec()
}

/// What the log has of some kinds up to the position of an export, as the command line writes it.
async fn written(app: &TestApp, export: &Value, kinds: &[Kind], format: Format) -> Vec<u8> {
    let store = app.app().ingest.store().clone();
    let position: i64 = export["position"].as_str().unwrap().parse().unwrap();
    let kinds_asked = kinds.iter().map(|kind| (*kind, Filter::default()));
    let asked = Asked {
        kinds: kinds_asked.collect(),
        upto: Position(position),
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (told, stop) = (|_| {}, CancellationToken::new());
    let events = Events::new(store, asked);
    let target = Target::at(&path).await.unwrap();
    let form = (format, Readers::Programs, kinds.to_vec());
    let done = write(events, form, target, (&told, &stop)).await;
    done.unwrap();
    std::fs::read(path).unwrap()
}

fn metrics(device: &str, cpu: i64, minutes: i64) -> Value {
    json!({ "deviceMetrics": { "deviceId": device, "cpuPercent": cpu, "occurredAt": at(minutes) } })
}

/// Metrics of three devices and an error.
async fn recorded(app: &TestApp) {
    app.fleet().await;
    app.record(json!([
        metrics("till-1", 5, -3), metrics("till-1", 95, -1), metrics("till-2", 50, -2), metrics("till-3", 90, -2),
        { "errorLog": { "category": "DEVICE", "severity": "ERROR", "errorMessage": "paper, \"out\"",
            "deviceId": "till-3" } },
    ]))
    .await;
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn devices(bytes: &[u8]) -> Vec<String> {
    let device = |line: &Value| {
        line["deviceMetrics"]["deviceId"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    lines(bytes).iter().map(device).collect()
}

#[tokio::test]
async fn an_export_is_the_log_in_each_format() {
    on_each_database(async |app| {
        recorded(app).await;
        let all: Vec<Kind> = Kind::all().filter(|kind| kind.spec().recordable).collect();
        let cases = [
            ("JSON_LINES", Format::Jsonl, Value::Null, all.as_slice(), "application/x-ndjson"),
            ("CSV", Format::Csv, json!([{ "deviceMetrics": {} }]), &[Kind::DeviceMetrics],
                "text/csv; charset=utf-8; header=present"),
            ("PARQUET", Format::Parquet, json!([{ "deviceMetrics": {} }]), &[Kind::DeviceMetrics],
                "application/vnd.apache.parquet"),
        ];
        for (later, (format, written_as, sources, kinds, media_type)) in (0..).zip(cases) {
            let export = done(app, json!({ "format": format, "sources": sources })).await;
            let answer = get(app, &export, &[]).await;
            assert_eq!(answer.headers()["content-type"], media_type);
            let name = answer.headers()["content-disposition"].to_str().unwrap().to_owned();
            assert!(name.starts_with("attachment; filename=\"") && name.contains(written_as.ending()), "{name}");
            let bytes = answer.bytes().await.unwrap();
            assert!(bytes == written(app, &export, kinds, written_as).await, "{format}");
            assert_eq!(export["bytes"], bytes.len().to_string());
            assert_eq!(export["events"], export["eventsTotal"]);
            assert_eq!((&export["format"], &export["restarts"]), (&json!(format), &json!(0)));
            assert_eq!(export["createdBy"], "local");
            // what is there by now is not in it
            app.record(json!([metrics("till-1", 1, later)])).await;
            assert!(taken(app, &export).await == bytes);
            app.clock.advance_ms(60_000);
        }
        let gzip = json!({ "format": "CSV", "gzip": true, "sources": [{ "errorLogs": {} }] });
        let export = done(app, gzip).await;
        let mut plain = Vec::new();
        GzDecoder::new(taken(app, &export).await.as_slice()).read_to_end(&mut plain).unwrap();
        assert!(plain == written(app, &export, &[Kind::ErrorLog], Format::Csv).await);
        let entries = "{ auditLog(filter: { operation: { eq: \"createExport\" } }) { nodes { outcome target } } }";
        let told = app.data(entries).await;
        assert_eq!(told["auditLog"]["nodes"][0], json!({ "outcome": "DONE", "target": export["exportId"] }));
        assert_eq!(told["auditLog"]["nodes"].as_array().unwrap().len(), 4);
    })
    .await;
}

#[tokio::test]
async fn an_export_has_what_its_filters_and_its_range_let_through() {
    on_each_database(async |app| {
        recorded(app).await;
        let busy = json!({ "cpuPercent": { "gte": 50 }, "deviceId": { "in": ["till-1", "till-3"] } });
        let asked = json!({ "format": "JSON_LINES", "sources": [{ "deviceMetrics": busy }] });
        let export = done(app, asked).await;
        assert_eq!(devices(&taken(app, &export).await), ["till-3", "till-1"]);
        assert_eq!(export["sources"], json!([{ "kind": "deviceMetrics", "filter": busy }]));
        let sources = json!([{ "deviceMetrics": {} }, { "errorLogs": { "severity": { "eq": "ERROR" } } }]);
        let asked = json!({ "format": "JSON_LINES", "from": at(-2), "to": at(1), "sources": sources });
        let export = done(app, asked).await;
        assert_eq!(export["events"], "4");
        assert_eq!((&export["from"], &export["to"]), (&json!(at(-2)), &json!(at(1))));
        let refused = [
            (json!({ "format": "PARQUET" }), "sources", "INVALID"),
            (json!({ "format": "CSV", "sources": sources }), "sources", "INVALID"),
            (json!({ "format": "JSON_LINES", "sources": [] }), "sources", "INVALID"),
            (json!({ "format": "JSON_LINES", "spreadsheet": true }), "spreadsheet", "INVALID"),
            (json!({ "format": "JSON_LINES", "sources": [{ "errorLogs": {} }, { "errorLogs": {} }] }), "sources",
                "INVALID"),
            (json!({ "format": "PARQUET", "gzip": true, "sources": [{ "errorLogs": {} }] }), "gzip", "INVALID"),
            (json!({ "format": "JSON_LINES", "from": at(1), "to": at(1) }), "from", "INVALID"),
        ];
        for (input, field, code) in refused {
            let data = app.data_with(CREATE, json!({ "input": input })).await;
            let expected = json!({ "export": null, "userErrors": [{ "field": field, "code": code }] });
            assert_eq!(data["createExport"], expected, "{input}");
        }
        for sources in [json!([{}]), json!([{ "none": {} }]), json!([{ "errorLogs": { "none": { "eq": 1 } } }])] {
            let input = json!({ "format": "JSON_LINES", "sources": sources });
            assert_eq!(app.code_with(CREATE, json!({ "input": input })).await, "BAD_INPUT", "{sources}");
        }
        let many = json!([{ "errorLogs": { "errorCode": { "in": vec!["x"; 501] } } }]);
        let input = json!({ "format": "JSON_LINES", "sources": many });
        assert_eq!(app.code_with(CREATE, json!({ "input": input })).await, "LIMIT_EXCEEDED");
    })
    .await;
}

#[tokio::test]
async fn a_repeat_is_the_same_export_and_an_account_has_so_many_that_are_not_done() {
    on_each_database(async |app| {
        recorded(app).await;
        let input = |format: &str| {
            json!({ "format": format, "sources": [{ "errorLogs": {} }], "idempotencyKey": "k" })
        };
        let first = create(app, input("CSV")).await;
        assert_eq!(create(app, input("CSV")).await, first);
        let data = app.data_with(CREATE, json!({ "input": input("PARQUET") })).await;
        assert_eq!(data["createExport"]["userErrors"][0]["code"], "CONFLICT");
        until(app, &first, is_over).await;
        let database = app.database().await;
        for ordinal in 0..10 {
            let sql = format!("INSERT INTO exports SELECT 'made-{ordinal}', asked, format, 'RUNNING', 0, NULL, 0, \
                position, 0, 'none', account, reach, 0, created_by, created_at, changed_at, NULL, NULL, NULL \
                FROM exports WHERE export_id = '{first}'");
            database.execute_unprepared(&sql).await.unwrap();
        }
        let more = json!({ "format": "CSV", "sources": [{ "errorLogs": {} }] });
        let data = app.data_with(CREATE, json!({ "input": more })).await;
        assert_eq!(data["createExport"]["userErrors"][0]["code"], "TOO_MANY");
        let cancelled = app.data_with(CANCEL, json!({ "id": "made-3" })).await;
        let expected = json!({ "export": { "state": "CANCELLED" }, "userErrors": [] });
        assert_eq!(cancelled["cancelExport"], expected);
        done(app, more).await;
        // the newest first, and page by page as at once
        let page = "query($after: String) { exports(first: 5, after: $after) { nodes { exportId }
            totalCount pageInfo { hasNextPage endCursor } } }";
        let (mut after, mut ids) = (Value::Null, Vec::new());
        loop {
            let data = app.data_with(page, json!({ "after": after })).await;
            let found = &data["exports"];
            assert_eq!(found["totalCount"], "12");
            ids.extend(super::app::texts(&found["nodes"], "exportId"));
            if found["pageInfo"]["hasNextPage"] == false {
                break;
            }
            after = found["pageInfo"]["endCursor"].clone();
        }
        let at_once = app.data("{ exports { nodes { exportId } } }").await;
        assert_eq!(ids, super::app::texts(&at_once["exports"]["nodes"], "exportId"));
        assert_eq!(ids.len(), 12);
    })
    .await;
}

#[tokio::test]
async fn whoever_is_bound_to_a_site_exports_that_site_and_sees_what_is_theirs() {
    on_each_database(async |app| {
        recorded(app).await;
        app.close_to_strangers().await;
        let bound = key(app, grant(Role::Viewer, &["harbour"])).await;
        let other = key(app, grant(Role::Viewer, &["harbour"])).await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let device = key(app, grant(Role::Device, &[])).await;
        let filter = json!({ "deviceId": { "in": ["till-1", "till-3"] } });
        for (key, filter, expected) in [
            (&bound, json!({}), vec!["till-1", "till-2", "till-1"]),
            (&bound, filter, vec!["till-1", "till-1"]),
            (&device, json!({}), vec!["till-1", "till-1"]),
        ] {
            let input = json!({ "format": "JSON_LINES", "sources": [{ "deviceMetrics": filter }] });
            let request = json!({ "query": CREATE, "variables": { "input": input } });
            let (_, answer) = ask(app, key, request).await;
            let id = answer["data"]["createExport"]["export"]["exportId"].clone();
            let show = json!({ "query": EXPORT, "variables": { "id": id } });
            let export = loop {
                let (_, mut answer) = ask(app, key, show.clone()).await;
                if is_over(&answer["data"]["export"]) {
                    break answer["data"]["export"].take();
                }
                tokio::task::yield_now().await;
            };
            let url = app.address(export["downloadPath"].as_str().unwrap());
            let take = async |key: &str| {
                app.client()
                    .get(&url)
                    .bearer_auth(key)
                    .send()
                    .await
                    .unwrap()
            };
            let own = take(key).await;
            assert_eq!(own.status(), StatusCode::OK);
            assert_eq!(devices(&own.bytes().await.unwrap()), expected);
            assert_eq!(take(&admin).await.status(), StatusCode::OK);
            assert_eq!(take(&other).await.status(), StatusCode::NOT_FOUND);
            let (_, seen) = ask(app, &other, show.clone()).await;
            assert_eq!(seen["data"]["export"], Value::Null);
            let cancel = json!({ "query": CANCEL, "variables": { "id": id } });
            let (_, refused) = ask(app, &other, cancel).await;
            assert_eq!(
                refused["data"]["cancelExport"]["userErrors"],
                json!([{ "code": "NOT_FOUND" }])
            );
            assert_eq!(take("none").await.status(), StatusCode::UNAUTHORIZED);
        }
        let input = json!({ "format": "CSV", "sources": [{ "auditLog": {} }] });
        let (_, refused) = ask(
            app,
            &bound,
            json!({ "query": CREATE, "variables": { "input": input } }),
        )
        .await;
        let errors = json!([{ "code": "NOT_ALLOWED", "field": "sources" }]);
        assert_eq!(refused["data"]["createExport"]["userErrors"], errors);
    })
    .await;
}

#[tokio::test]
async fn parts_of_a_file_are_the_file() {
    on_each_database(async |app| {
        app.fleet().await;
        let many: Vec<Value> = (0..500)
            .map(|minute| metrics("till-1", 5, -minute))
            .collect();
        app.record(json!(many)).await;
        let export = done(
            app,
            json!({ "format": "CSV", "sources": [{ "deviceMetrics": {} }] }),
        )
        .await;
        let first = get(app, &export, &[("accept-encoding", "gzip")]).await;
        assert!(!first.headers().contains_key("content-encoding"));
        assert_eq!(first.headers()["accept-ranges"], "bytes");
        let tag = first.headers()["etag"].to_str().unwrap().to_owned();
        let whole = first.bytes().await.unwrap();
        let (length, half) = (whole.len(), whole.len() / 2);
        // one that was broken off is gone on with
        let mut held = whole[..half].to_vec();
        let range = format!("bytes={half}-");
        let rest = get(app, &export, &[("range", &range), ("if-range", &tag)]).await;
        assert_eq!(rest.status(), StatusCode::PARTIAL_CONTENT);
        let told = format!("bytes {half}-{}/{length}", length - 1);
        assert_eq!(rest.headers()["content-range"], told);
        held.extend(rest.bytes().await.unwrap());
        assert!(held == whole);
        let last = get(app, &export, &[("range", "bytes=-7")]).await;
        assert_eq!(last.bytes().await.unwrap(), whole[length - 7..]);
        let one = get(app, &export, &[("range", "bytes=3-3")]).await;
        assert_eq!(one.bytes().await.unwrap(), whole[3..=3]);
        let other = get(
            app,
            &export,
            &[("range", &range), ("if-range", "\"other\"")],
        )
        .await;
        assert_eq!(other.status(), StatusCode::OK);
        assert_eq!(other.bytes().await.unwrap(), whole);
        let beyond = get(app, &export, &[("range", &format!("bytes={length}-"))]).await;
        assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(
            beyond.headers()["content-range"],
            format!("bytes */{length}")
        );
        let path = app.address(export["downloadPath"].as_str().unwrap());
        let head = app
            .client()
            .request(Method::HEAD, &path)
            .send()
            .await
            .unwrap();
        assert_eq!(head.headers()["content-length"], length.to_string());
        for path in [
            "/exports/none",
            "/exports/..%2f..%2flog.db",
            "/exports/%00",
            "/exports/",
        ] {
            let answer = app.client().get(app.address(path)).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        }
    })
    .await;
}
