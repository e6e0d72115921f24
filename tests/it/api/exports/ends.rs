//! How exports end that are not taken: their time is over, they are cancelled or broken off, or cannot be made.

use homepot_analytics::app::Access;
use homepot_analytics::places::Place;
use reqwest::StatusCode;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use super::super::app::{at, on_each_database};
use super::{CANCEL, CREATE, create, done, files, get, is_over, metrics, recorded, taken, until};

const DAY_MS: i64 = 24 * 3_600 * 1_000;

#[tokio::test]
async fn a_file_is_gone_when_its_time_is_over() {
    on_each_database(async |app| {
        recorded(app).await;
        let export = done(app, json!({ "format": "JSON_LINES" })).await;
        assert_eq!(export["expiresAt"], at(7 * 24 * 60));
        assert_eq!(files(app).len(), 1);
        app.clock.advance_ms(7 * DAY_MS - 1);
        assert_eq!(get(app, &export, &[]).await.status(), StatusCode::OK);
        app.clock.advance_ms(1);
        let answer = get(app, &export, &[]).await;
        assert_eq!(answer.status(), StatusCode::GONE);
        let id = export["exportId"].as_str().unwrap();
        let over = until(app, id, is_over).await;
        assert_eq!(
            (&over["state"], &over["downloadPath"]),
            (&json!("EXPIRED"), &Value::Null)
        );
        while !files(app).is_empty() {
            // with a look at what it waits for
            app.data("{ exports { totalCount } }").await;
        }
        let cancelled = app.data_with(CANCEL, json!({ "id": id })).await;
        assert_eq!(
            cancelled["cancelExport"]["userErrors"],
            json!([{ "code": "WRONG_STATE" }])
        );
    })
    .await;
}

#[tokio::test]
async fn one_that_was_broken_off_is_begun_again_and_files_without_a_name_are_removed() {
    on_each_database(async |app| {
        recorded(app).await;
        let export = done(
            app,
            json!({ "format": "CSV", "sources": [{ "deviceMetrics": {} }] }),
        )
        .await;
        let whole = taken(app, &export).await;
        let id = export["exportId"].as_str().unwrap().to_owned();
        app.stop().await;
        // as a server leaves it that dies
        let file = files(app).remove(0);
        std::fs::write(format!("{}#1", file.display()), "half").unwrap();
        std::fs::copy(&file, file.with_file_name("nobody.csv")).unwrap();
        let sql = format!("UPDATE exports SET state = 'RUNNING' WHERE export_id = '{id}'");
        app.database().await.execute_unprepared(&sql).await.unwrap();
        app.start_again().await;
        let again = until(app, &id, is_over).await;
        assert_eq!(
            (&again["state"], &again["restarts"]),
            (&json!("DONE"), &json!(1))
        );
        assert_eq!(again["events"], "4");
        assert!(taken(app, &again).await == whole);
        while files(app).len() > 1 {
            app.data("{ exports { totalCount } }").await;
        }
        app.stop().await;
        let sql =
            format!("UPDATE exports SET state = 'RUNNING', restarts = 5 WHERE export_id = '{id}'");
        app.database().await.execute_unprepared(&sql).await.unwrap();
        app.start_again().await;
        let failed = until(app, &id, is_over).await;
        assert_eq!(
            (&failed["state"], &failed["error"]["code"]),
            (&json!("FAILED"), &json!("BROKEN_OFF"))
        );
    })
    .await;
}

#[tokio::test]
async fn one_that_is_cancelled_while_it_is_made_leaves_nothing() {
    on_each_database(async |app| {
        app.fleet().await;
        for batch in 0..12 {
            let minutes = (batch * 1_000)..((batch + 1) * 1_000);
            let many: Vec<Value> = minutes
                .map(|minute| metrics("till-1", 5, -minute))
                .collect();
            app.outcomes(json!(many)).await;
        }
        app.settle().await;
        let mut cancelled = 0;
        for _ in 0..20 {
            let id = create(app, json!({ "format": "JSON_LINES", "gzip": true })).await;
            until(app, &id, |export| export["state"] != "QUEUED").await;
            let data = app.data_with(CANCEL, json!({ "id": id })).await;
            if data["cancelExport"]["userErrors"] == json!([]) {
                cancelled += 1;
                assert_eq!(data["cancelExport"]["export"]["state"], "CANCELLED");
                // the next one begins when this one is broken off
                let next = json!({ "format": "CSV", "sources": [{ "errorLogs": {} }] });
                let next = done(app, next).await;
                let names = files(app)
                    .into_iter()
                    .map(|file| file.display().to_string());
                assert!(names.into_iter().all(|name| !name.contains(&id)), "{id}");
                assert_eq!(until(app, &id, is_over).await["state"], "CANCELLED");
                assert_eq!(next["state"], "DONE");
                break;
            }
        }
        assert_eq!(cancelled, 1);
    })
    .await;
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_told() {
    on_each_database(async |app| {
        recorded(app).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "no folder").unwrap();
        app.restart_as(|start| {
            start.access = Access::Open;
            start.exports.exports = Some(Place::Folder(file.join("exports")));
        })
        .await;
        let id = create(app, json!({ "format": "JSON_LINES" })).await;
        let failed = until(app, &id, is_over).await;
        assert_eq!(
            (&failed["state"], &failed["error"]["code"]),
            (&json!("FAILED"), &json!("UNWRITABLE"))
        );
        let told = failed["error"]["message"].as_str().unwrap();
        assert!(
            told.contains("cannot use the folder") && told.contains("file/exports"),
            "{told}"
        );
        assert_eq!(failed["downloadPath"], Value::Null);
        if app.url().starts_with("postgres") {
            app.restart_as(|start| {
                start.access = Access::Open;
                start.exports.exports = None;
            })
            .await;
            let input = json!({ "input": { "format": "JSON_LINES" } });
            let data = app.data_with(CREATE, input).await;
            assert_eq!(data["createExport"]["userErrors"][0]["code"], "NO_STORAGE");
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_fills_its_data_lake_and_tells_how_far_it_is() {
    on_each_database(async |app| {
        recorded(app).await;
        let folder = tempfile::tempdir().unwrap();
        let lake = Place::Folder(folder.path().to_owned());
        app.restart_as(|start| {
            start.access = Access::Open;
            start.lake = Some(lake);
        })
        .await;
        loop {
            let metrics = app
                .client()
                .get(app.address("/metrics"))
                .send()
                .await
                .unwrap();
            let metrics = metrics.text().await.unwrap();
            let number = |name: &str| {
                let line = metrics.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap().trim().parse::<i64>().unwrap()
            };
            if number("homepot_lake_position ") > 0 {
                assert_eq!(number("homepot_lake_failures_total "), 0);
                break;
            }
        }
        let state = std::fs::read(folder.path().join("state.json")).unwrap();
        let state: Value = serde_json::from_slice(&state).unwrap();
        assert!(state["position"].as_i64().unwrap() >= 10, "{state}");
    })
    .await;
}
