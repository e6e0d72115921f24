//! A field that fails is null, its error beside the data tells where, and the rest is answered.

use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use super::app::{TestApp, on_each_database};
use super::inputs::error;

/// The data of a document that fails in part, and the paths and codes of its errors.
async fn failed(app: &TestApp, document: &str) -> (Value, Vec<(Value, Value)>) {
    let mut answer = app.query(json!({ "query": document })).await;
    let errors = answer["errors"]
        .as_array()
        .unwrap_or_else(|| panic!("{answer}"));
    let place = |error: &Value| {
        assert_eq!(error["extensions"]["retryable"], false, "{error}");
        (error["path"].clone(), error["extensions"]["code"].clone())
    };
    let places = errors.iter().map(place).collect();
    (answer["data"].take(), places)
}

#[tokio::test]
async fn a_field_that_fails_is_null_and_the_others_are_answered() {
    on_each_database(async |app| {
        app.fleet().await;
        let bad = json!("BAD_INPUT");
        for (field, key) in [
            ("errorLogs(after: \"x\") { totalCount }", "errorLogs"),
            ("events(first: -1) { totalCount }", "events"),
            ("node(id: \"zzz\") { id }", "node"),
            ("sites(after: \"x\") { totalCount }", "sites"),
            ("devices(first: 1, last: 1) { totalCount }", "devices"),
            ("jobs(first: 101) { totalCount }", "jobs"),
        ] {
            let (data, errors) = failed(app, &format!("{{ viewer {{ name }} {field} }}")).await;
            assert_eq!(
                data,
                json!({ "viewer": { "name": "local" }, key: null }),
                "{field}"
            );
            assert_eq!(errors, [(json!([key]), bad.clone())], "{field}");
        }
    })
    .await;
}

#[tokio::test]
async fn beneath_a_device_or_site_it_is_the_same() {
    on_each_database(async |app| {
        app.fleet().await;
        let bad = json!("BAD_INPUT");
        let document =
            "{ device(deviceId: \"till-1\") { name broken: errorLogs(after: \"x\") { totalCount }
            site { name devices(after: \"x\") { totalCount } } } }";
        let (data, errors) = failed(app, document).await;
        let site = json!({ "name": "Harbour shop", "devices": null });
        assert_eq!(
            data["device"],
            json!({ "name": "Till till-1", "broken": null, "site": site })
        );
        let paths = [
            json!(["device", "broken"]),
            json!(["device", "site", "devices"]),
        ];
        assert_eq!(errors, paths.map(|path| (path, bad.clone())));
    })
    .await;
}

#[tokio::test]
async fn in_a_list_the_path_of_an_error_has_the_index_of_its_row() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([{ "userActivity": { "activityType": "PAGE_VIEW" } }, error("1", "INFO")]))
            .await;
        for (document, path) in [
            (
                "{ errorLogs { nodes { device { errorLogs(after: \"x\") { totalCount } } } } }",
                json!(["errorLogs", "nodes", 0, "device", "errorLogs"]),
            ),
            (
                "{ errorLogs { edges { node { site { errorLogs(after: \"x\") { totalCount } } } } } }",
                json!(["errorLogs", "edges", 0, "node", "site", "errorLogs"]),
            ),
            (
                "{ events(order: FIRST_RECORDED_FIRST, filter: { kind: { in: [userActivity, errorLog] } }) { nodes {
                    ... on ErrorLog { device { errorLogs(after: \"x\") { totalCount } } } } } }",
                json!(["events", "nodes", 1, "device", "errorLogs"]),
            ),
            (
                "{ devices(last: 1) { nodes { errorLogs(after: \"x\") { totalCount } } } }",
                json!(["devices", "nodes", 0, "errorLogs"]),
            ),
        ] {
            let (_, errors) = failed(app, document).await;
            assert_eq!(errors, [(path, json!("BAD_INPUT"))], "{document}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_syntax_error_says_what_was_expected_and_where() {
    on_each_database(async |app| {
        let answer = app
            .query(json!({ "query": "{ errorLogs( { nodes } }" }))
            .await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(answer, @r#"{"errors":[{"extensions":{"code":"PARSE_FAILED","retryable":false},"locations":[{"column":14,"line":1}],"message":"expected name, at 1:14"}]}"#);
        }
        let mut socket = app.socket().await;
        let id = socket
            .subscribe("subscription { errorLogs( { id } }", json!({}))
            .await;
        let failed = socket.next(&id).await.unwrap();
        assert_eq!(
            failed["errors"][0]["extensions"]["code"], "PARSE_FAILED",
            "{failed}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_text_with_the_character_that_no_database_keeps_is_bad_input() {
    on_each_database(async |app| {
        app.fleet().await;
        let nul = "a\0b";
        for (document, variables) in [
            (
                "query($f: DeviceFilter) { devices(filter: $f) { totalCount } }",
                json!({ "f": { "search": nul } }),
            ),
            (
                "query($f: ErrorLogFilter) { errorLogs(filter: $f) { totalCount } }",
                json!({ "f": { "errorMessage": { "contains": nul } } }),
            ),
            (
                "query($id: ID!) { job(jobId: $id) { state } }",
                json!({ "id": nul }),
            ),
            ("{ job(jobId: \"a\\u0000b\") { state } }", json!({})),
            (
                "{ errorLogs(filter: { errorCode: { in: [\"a\\u0000\"] } }) { totalCount } }",
                json!({}),
            ),
            // `Device:` and the character
            (
                "{ devices(after: \"RGV2aWNlOgA\") { totalCount nodes { id } } }",
                json!({}),
            ),
        ] {
            assert_eq!(
                app.code_with(document, variables).await,
                "BAD_INPUT",
                "{document}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_value_of_another_form_is_told_with_an_example() {
    on_each_database(async |app| {
        for (document, message) in [
            (
                "{ errorLogs(filter: { occurredAt: { gte: \"last week\" } }) { totalCount } }",
                "Invalid value for argument \"filter.occurredAt.gte\", expected type \"DateTime\": \
                an RFC 3339 time such as \"2026-11-23T20:01:56Z\"",
            ),
            (
                "{ deviceMetrics(filter: { cpuPercent: { gte: \"a lot\" } }) { totalCount } }",
                "Invalid value for argument \"filter.cpuPercent.gte\", expected type \"Float\": \
                a number such as 12.5",
            ),
            (
                "{ errorLogs(filter: { severity: { in: [INFO, LOUD] } }) { totalCount } }",
                "Invalid value for argument \"filter.severity.in.1\", enumeration type \"ErrorSeverity\" does not \
                contain the value \"LOUD\": it has CRITICAL, ERROR, WARNING, INFO",
            ),
            (
                "{ errorLogs(filter: { severity: { eq: 5 } }) { totalCount } }",
                "Invalid value for argument \"filter.severity.eq\", expected type \"ErrorSeverity\": it has \
                CRITICAL, ERROR, WARNING, INFO",
            ),
            (
                "mutation { createExport(input: { format: XML, sources: [] }) { userErrors { code } } }",
                "Invalid value for argument \"input.format\", enumeration type \"ExportFormat\" does not contain \
                the value \"XML\": it has JSON_LINES, CSV, PARQUET",
            ),
            (
                "{ deviceMetrics(filter: { cpuPercent: { above: 80 } }) { totalCount } }",
                "Invalid value for argument \"filter.cpuPercent\", unknown field \"above\" of type \"FloatFilter\": \
                it has eq, in, lt, lte, gt, gte, isNull",
            ),
        ] {
            let answer = app.query(json!({ "query": document })).await;
            assert_eq!(answer["errors"][0]["message"], message);
            assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_INPUT");
        }
    })
    .await;
}

/// The library finds it when it comes to the field: then what stands before it is done.
#[tokio::test]
async fn what_is_no_object_fails_the_request_before_anything_of_it_is_done() {
    on_each_database(async |app| {
        let record = "one: recordEvents(input: { events: [{ errorLog: { category: API, severity: INFO,
            errorMessage: \"e\" } }] }) { outcomes { status } }";
        let cancel = "two: cancelJob(input: $x) { job { id } }";
        let written = |value: &str| format!("mutation {{ {record} {} }}", cancel.replace("$x", value));
        let given = format!("mutation($x: CancelJobInput!) {{ {record} {cancel} }}");
        let usual = format!("mutation($x: CancelJobInput = 1) {{ {record} {cancel} }}");
        let nested = "query($x: ErrorLogFilter) { devices(first: 0) { nodes { errorLogs(filter: $x) { totalCount } } } }";
        let in_fragment = "{ devices(first: 0) { nodes { ...F } } }
            fragment F on Device { errorLogs(filter: { and: [{ severity: [] }] }) { totalCount } }";
        let absent = &format!(
            "mutation($why: String) {{ {record} two: cancelJob(input: {{ jobId: 1.5, reason: $why }}) {{ job {{ id }} }} }}"
        );
        for (document, variables) in [
            (written("1").as_str(), json!({})),
            (&written("[[]]"), json!({})),
            (&given, json!({ "x": "none" })),
            (&given, json!({ "x": null })),
            (&usual, json!({})),
            (nested, json!({ "x": { "or": [{ "severity": "INFO" }] } })),
            (in_fragment, json!({})),
            // nothing of an argument is looked at by the library that has a variable which is not given
            (absent, json!({})),
            ("query($x: Int!) { errorLogs(first: $x) { totalCount } }", json!({ "x": null })),
        ] {
            let request = json!({ "query": document, "variables": variables });
            let answer = app.query(request).await;
            let code = &answer["errors"][0]["extensions"]["code"];
            assert_eq!(code, "BAD_INPUT", "{document}: {answer}");
            assert_eq!(answer.get("data"), None, "{document}: {answer}");
        }
        let data = app.data("{ errorLogs { totalCount } }").await;
        assert_eq!(data["errorLogs"]["totalCount"], "0");
        let none = json!({ "x": { "and": { "severity": { "eq": "INFO" } }, "or": null } });
        app.data_with(nested, none).await;
    })
    .await;
}

/// A wrong value is `BAD_INPUT` wherever it stands.
#[tokio::test]
async fn a_default_of_the_wrong_form_is_bad_input() {
    on_each_database(async |app| {
        let document = "query($from: DateTime = \"yesterday\") {
            errorLogs(filter: { occurredAt: { gte: $from } }) { totalCount } }";
        assert_eq!(app.code(document).await, "BAD_INPUT");
    })
    .await;
}

/// A server that is started anew, or one who ends its sessions, is nothing that a reader is told of: what was
/// lost is asked for once more.
#[tokio::test]
async fn what_is_read_is_answered_although_the_sessions_were_just_ended() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!(vec![error("m", "INFO"); 50])).await;
        let documents = [
            // what the server itself tells of the sessions that it lost is an ERROR
            "{ errorLogs(filter: { severity: { eq: INFO } }) { totalCount nodes { severity device { site { name } } } } }",
            "{ devices { totalCount nodes { name errorLogs(first: 2) { nodes { id } } } } }",
            "{ sites { nodes { devices { totalCount } } } jobs { totalCount } accessKeys { totalCount } }",
        ];
        let db = app.database().await;
        let is_sqlite = db.get_database_backend() == sea_orm::DbBackend::Sqlite;
        let mut expected = None;
        for _ in 0..5 {
            // first on connections that are not there yet, then on those that were just used and are gone
            let answers = futures_util::future::join_all(documents.map(|d| app.data(d))).await;
            assert_eq!(*expected.get_or_insert(answers.clone()), answers);
            if !is_sqlite {
                let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE datname = current_database() AND pid <> pg_backend_pid()";
                db.execute_unprepared(end).await.unwrap();
            }
        }
        db.close().await.unwrap();
    })
    .await;
}
