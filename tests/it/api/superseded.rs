//! A server of an older version, beside which a newer one has changed how the log is appended to.

use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use super::app::{RECORD, on_each_database};
use super::inputs::error;

#[tokio::test]
async fn a_server_that_is_older_than_the_log_says_so_and_answers_on() {
    on_each_database(async |app| {
        app.fleet().await;
        let database = app.database().await;
        let newer = "UPDATE log_head SET schema = schema + 1";
        database.execute_unprepared(newer).await.unwrap();
        database.close().await.unwrap();
        let events = json!({ "input": { "events": [error("late", "INFO")] } });
        assert_eq!(app.code_with(RECORD, events).await, "UNAVAILABLE");
        let ready = app.client().get(app.address("/readyz")).send();
        let ready = ready.await.unwrap();
        assert_eq!(ready.status(), 503);
        let told: Value = ready.json().await.unwrap();
        let appends = told["checks"]["appends"].as_str().unwrap();
        assert!(appends.contains("newer version"), "{told}");
        let data = app.data("{ devices { totalCount } }").await;
        assert_ne!(data["devices"]["totalCount"], "0");
    })
    .await;
}
