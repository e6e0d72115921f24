//! How much may be asked for at once: by the sizes of pages, by filters, and by what comes of it.

use serde_json::{Value, json};

use super::app::{TestApp, at, on_each_database};
use super::inputs::error;

/// The error with which a document must be refused as a whole.
async fn refused(app: &TestApp, document: &str, variables: Value) -> String {
    let request = json!({ "query": document, "variables": variables });
    let answer = app.query(request).await;
    assert!(answer.get("data").is_none(), "{document}: {answer}");
    let error = &answer["errors"][0];
    assert_eq!(error["extensions"]["code"], "LIMIT_EXCEEDED", "{answer}");
    assert_eq!(error["extensions"]["retryable"], false, "{answer}");
    error["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn sums_are_refused_by_their_number_and_told_what_to_do() {
    on_each_database(async |app| {
        app.fleet().await;
        let sums = |count: usize, beside: &str| {
            let sum = |n| format!("a{n}: series(measures: [ERRORS], from: \"2026-11-23T00:00:00Z\") {{ position }} ");
            let sums: Vec<String> = (0..count).map(sum).collect();
            format!("{{ {} {beside} }}", sums.join(" "))
        };
        let names = "series, seriesUpdates, breakdown, heatmap, availability, stateTimeline, apiRequestStats, \
            errorStats, jobStats, activityStats, configurationImpact";
        app.data(&sums(10, "")).await;
        assert_eq!(
            refused(app, &sums(11, ""), json!({})).await,
            format!(
                "the request asks for 11 sums, at most 10 are answered at once, of {names} together; ask for the \
                 others in another request, or for several `measures` or groups in one"
            )
        );
        let page = "errorLogs(first: 1000) { nodes { id } }";
        assert_eq!(
            refused(app, &sums(10, page), json!({})).await,
            format!(
                "the request asks for up to 51000 rows, at most 50000 are answered at once; give smaller pages by \
                 `first`, or ask in another request for what counts as 5000 rows: {names}"
            )
        );
    })
    .await;
}

#[tokio::test]
async fn pages_within_pages_are_refused_by_what_they_come_to() {
    on_each_database(async |app| {
        app.fleet().await;
        let thrice = "{deviceMetrics(first:1000){nodes{device{deviceMetrics(first:1000){nodes{device{\
            deviceMetrics(first:1000){nodes{position}}}}}}}}}";
        let message = refused(app, thrice, json!({})).await;
        assert!(message.contains("1001001000 rows"), "{message}");
        for (document, variables) in [
            // 50 rows when no number is given
            ("{ devices { nodes { site { devices { nodes { errorLogs { nodes { id } } } } } } } }", json!({})),
            (
                "query($n: Int) { devices(first: $n) { nodes { errorLogs(last: $n) { edges { cursor } } } } }",
                json!({ "n": 300 }),
            ),
            (
                "query($n: Int = 300) { devices(first: $n) { ...Page } }
                 fragment Page on DeviceConnection { nodes { errorLogs(first: $n) { ... { nodes { id } } } } }",
                json!({}),
            ),
            (
                "{ jobs(first: 100) { nodes { targets { device { errorLogs(first: 1000) { nodes { id } } } } } } }",
                json!({}),
            ),
            // a job is for up to 900 devices, which are all listed
            ("{ jobs(first: 100) { nodes { targets { status } } } }", json!({})),
            ("{ alerts(first: 100) { nodes { device { errorLogs(first: 1000) { nodes { id } } } } } }", json!({})),
            ("{ devices(first: 1000) { nodes { openAlerts(first: 100) { cause } } } }", json!({})),
            ("{ job(jobId: \"1\") { targets { device { errorLogs(first: 100) { nodes { id } } } } } }", json!({})),
        ] {
            refused(app, document, variables).await;
        }
        let document = "query($n: Int) { devices(first: $n) { nodes { errorLogs(first: $n) { nodes { id } } } } }";
        app.data_with(document, json!({ "n": 200 })).await;
        app.data("{ jobs { nodes { targets { status } } } jobTransitions(first: 1000) { nodes { targets } } }").await;
        // what is only counted has no rows
        app.data("{ devices(first: 1000) { nodes { errorLogs(first: 1000) { totalCount } } } }").await;
    })
    .await;
}

#[tokio::test]
async fn wide_rows_are_refused_by_their_values() {
    on_each_database(async |app| {
        let fields: Vec<String> = (0..1_100).map(|n| format!("a{n}: id")).collect();
        let document = format!(
            "{{ errorLogs(first: 1000) {{ nodes {{ {} }} }} }}",
            fields.join(" ")
        );
        let message = refused(app, &document, json!({})).await;
        assert!(message.contains("values"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn what_a_document_really_comes_to_is_counted_too() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!(vec![error("one of many", "INFO"); 400])).await;
        let create = "mutation { createJob(input: { jobType: RESTART, siteIds: [\"harbour\"] }) { job { jobId } } }";
        for _ in 0..7 {
            app.data(create).await;
        }
        // by its pages it is 7 x 400 x 10 rows, but each job has two devices
        let document = "{ jobs(first: 7) { nodes { targets { device { site { errorLogs(first: 400) { nodes { device {
            errorLogs(first: 9) { nodes { id } } } } } } } } } } }";
        let answer = app.query(json!({ "query": document })).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "LIMIT_EXCEEDED", "{answer}");
    })
    .await;
}

#[tokio::test]
async fn every_part_and_value_of_a_filter_is_counted() {
    on_each_database(async |app| {
        app.fleet().await;
        let document = "query($f: ErrorLogFilter) { errorLogs(filter: $f) { totalCount } }";
        let ids: Vec<String> = (0..500).map(|n| format!("e{n}")).collect();
        let code = json!({ "errorCode": { "in": ids } });
        for filter in [
            json!({ "and": vec![json!({}); 1_500] }),
            json!({ "or": vec![json!({ "and": [{}] }); 300] }),
            json!({ "and": vec![code.clone(); 11] }),
        ] {
            let code = app.code_with(document, json!({ "f": filter })).await;
            assert_eq!(code, "LIMIT_EXCEEDED");
        }
        for filter in [
            json!({ "and": vec![json!({}); 490] }),
            json!({ "or": vec![code; 10] }),
        ] {
            app.data_with(document, json!({ "f": filter })).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_filter_of_many_values_holds_for_many_parents() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut events = Vec::new();
        for n in 0..60 {
            let device = format!("d-{n:02}");
            events.push(json!({ "deviceRegistration": { "deviceId": device, "siteId": "market", "deviceType": "GATEWAY" } }));
            events.push(json!({ "errorLog": { "category": "DEVICE", "severity": "INFO", "errorMessage": "m",
                "errorCode": "e7", "deviceId": device, "occurredAt": at(-1) } }));
        }
        app.record(json!(events)).await;
        let ids: Vec<String> = (0..500).map(|n| format!("e{n}")).collect();
        let filter = json!({ "or": vec![json!({ "errorCode": { "in": ids } }); 10] });
        let document = "query($f: ErrorLogFilter) { devices(first: 60) { nodes { errorLogs(filter: $f, first: 2) {
            totalCount nodes { errorCode } } } } }";
        let data = app.data_with(document, json!({ "f": filter })).await;
        let devices = data["devices"]["nodes"].as_array().unwrap();
        assert_eq!(devices.len(), 60);
        for device in devices {
            assert_eq!(device["errorLogs"]["totalCount"], "1");
            assert_eq!(device["errorLogs"]["nodes"], json!([{ "errorCode": "e7" }]));
        }
    })
    .await;
}

#[tokio::test]
async fn a_list_of_devices_is_asked_for_within_limits() {
    on_each_database(async |app| {
        app.fleet().await;
        let document = "query($f: DeviceFilter) { devices(filter: $f) { totalCount } }";
        for filter in [
            json!({ "search": "x".repeat(256) }),
            json!({ "deviceIds": vec!["x"; 501] }),
        ] {
            let code = app.code_with(document, json!({ "f": filter })).await;
            assert_eq!(code, "LIMIT_EXCEEDED");
        }
        let data = app
            .data_with(document, json!({ "f": { "search": "%".repeat(255) } }))
            .await;
        assert_eq!(data["devices"]["totalCount"], "0");
    })
    .await;
}

#[tokio::test]
async fn a_document_that_is_too_deep_or_too_wide_is_refused() {
    on_each_database(async |app| {
        let deep = format!(
            "{{ devices {{ nodes {{ {} siteId {} }} }} }}",
            "site { devices(first: 1) { nodes { ".repeat(6),
            "} } }".repeat(6)
        );
        let message = refused(
            app,
            &deep.replacen("devices", "devices(first: 1)", 1),
            json!({}),
        )
        .await;
        assert!(message.contains("levels"), "{message}");
        let wide: Vec<String> = (0..1_001)
            .map(|n| format!("a{n}: viewer {{ name }}"))
            .collect();
        let message = refused(app, &format!("{{ {} }}", wide.join(" ")), json!({})).await;
        assert!(message.contains("2002 fields"), "{message}");
    })
    .await;
}

/// Pages of large events, each under a name of its own.
fn pages_of_errors(pages: usize, fields: &str) -> String {
    let page = |n| format!("p{n}: errorLogs(first: 200) {{ nodes {{ {fields} }} }}");
    format!("{{ {} }}", (0..pages).map(page).collect::<String>())
}

#[tokio::test]
async fn an_answer_has_no_more_bytes_than_one_may() {
    on_each_database(async |app| {
        let large = "x".repeat(60_000);
        for hundred in 0..2 {
            let error = |n: usize| {
                json!({ "errorLog": { "category": "SYSTEM", "severity": "ERROR",
                    "errorMessage": format!("{hundred} {n}"), "stackTrace": large,
                    "context": { "text": large } } })
            };
            app.record((0..100).map(error).collect()).await;
        }
        let both = "stackTrace context";
        app.data(&pages_of_errors(1, both)).await;
        let request = json!({ "query": pages_of_errors(3, both) });
        let answer = app.query(request).await;
        let codes = answer["errors"].as_array().unwrap();
        let code = |error: &Value| error["extensions"]["code"] == "LIMIT_EXCEEDED";
        assert!(codes.iter().all(code), "{}", answer["errors"]);
        // rows that are merged weigh what their texts do
        let page = "errorLogs(first: 100) { nodes { context } }";
        app.data(&format!("{{ {page} {page} }}")).await;
        // what is not asked for is not read
        app.data(&pages_of_errors(40, "severity occurredAt")).await;
    })
    .await;
}
