//! How large exports may be: one by itself, and those of an account together.

use homepot_analytics::app::Access;
use reqwest::StatusCode;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use super::super::app::{TestApp, on_each_database};
use super::{CREATE, create, done, files, get, is_over, until};

const DELETE: &str = "mutation($id: ID!) { deleteExport(input: { exportId: $id }) {
    export { state downloadPath } userErrors { code } } }";

fn errors(format: &str, gzip: bool) -> Value {
    json!({ "format": format, "gzip": gzip, "sources": [{ "errorLogs": {} }] })
}

/// Errors whose lines have more than a MiB.
async fn recorded(app: &TestApp) {
    let error = |ordinal: usize| {
        let text = format!("{ordinal} {}", "x".repeat(2_000));
        json!({ "errorLog": { "category": "API", "severity": "INFO", "errorMessage": text } })
    };
    let many: Vec<Value> = (0..800).map(error).collect();
    app.record(json!(many)).await;
}

async fn restart(app: &mut TestApp, (one, account): (u32, u32)) {
    app.restart_as(|start| {
        start.access = Access::Open;
        start.exports.export_mib_max = one;
        start.exports.export_account_mib_max = account;
    })
    .await;
}

async fn failed(app: &TestApp, input: Value, code: &str) {
    let id = create(app, input).await;
    let failed = until(app, &id, is_over).await;
    let told = (&failed["state"], &failed["error"]["code"]);
    assert_eq!(told, (&json!("FAILED"), &json!(code)), "{failed:#}");
    let names = files(app);
    let mut names = names.iter().map(|name| name.display().to_string());
    assert!(!names.any(|name| name.contains(&id)), "{id}");
}

#[tokio::test]
async fn one_that_would_be_too_large_fails_and_leaves_nothing() {
    on_each_database(async |app| {
        recorded(app).await;
        restart(app, (1, 100)).await;
        for format in ["JSON_LINES", "CSV"] {
            failed(app, errors(format, false), "TOO_LARGE").await;
        }
        assert_eq!(files(app).len(), 0);
        done(app, errors("JSON_LINES", true)).await;
    })
    .await;
}

#[tokio::test]
async fn those_of_an_account_have_so_many_bytes_and_are_deleted_for_others() {
    on_each_database(async |app| {
        recorded(app).await;
        restart(app, (100, 2)).await;
        let first = done(app, errors("CSV", false)).await;
        failed(app, errors("CSV", false), "NO_ROOM").await;
        assert_eq!(files(app).len(), 1);
        let sql = "UPDATE exports SET bytes = 2097152 WHERE state = 'DONE'";
        app.database().await.execute_unprepared(sql).await.unwrap();
        let input = json!({ "input": errors("JSON_LINES", true) });
        let data = app.data_with(CREATE, input).await;
        let errors_told = json!([{ "field": "format", "code": "NO_ROOM" }]);
        assert_eq!(data["createExport"]["userErrors"], errors_told);
        let deleted =
            json!({ "export": { "state": "EXPIRED", "downloadPath": null }, "userErrors": [] });
        for _ in 0..2 {
            let id = json!({ "id": first["exportId"] });
            let data = app.data_with(DELETE, id).await;
            assert_eq!(data["deleteExport"], deleted);
            assert_eq!(get(app, &first, &[]).await.status(), StatusCode::GONE);
        }
        while !files(app).is_empty() {
            app.data("{ exports { totalCount } }").await;
        }
        done(app, errors("CSV", false)).await;
        let none = app.data_with(DELETE, json!({ "id": "none" })).await;
        let not_found = json!([{ "code": "NOT_FOUND" }]);
        assert_eq!(none["deleteExport"]["userErrors"], not_found);
    })
    .await;
}
