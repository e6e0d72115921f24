//! The states of devices: changes, not reports, each following from the one before it in time.

use serde_json::{Value, json};

use super::app::{TestApp, at, on_each_database};

fn state(state: &str, minutes: i64) -> Value {
    json!({ "deviceStateChange": { "deviceId": "till-1", "newState": state, "occurredAt": at(minutes) } })
}

async fn history(app: &TestApp, all: bool) -> String {
    let document = format!(
        "{{ deviceStateHistory(order: OLDEST_FIRST, all: {all}) {{ totalCount nodes {{ previousState newState }} }} }}"
    );
    let mut data = app.data(&document).await;
    let rows: Vec<Value> =
        serde_json::from_value(data["deviceStateHistory"]["nodes"].take()).unwrap();
    assert_eq!(
        data["deviceStateHistory"]["totalCount"],
        json!(rows.len().to_string())
    );
    let word = |word: &Value| word.as_str().unwrap_or("-").to_owned();
    let row = |row: &Value| format!("{}>{}", word(&row["previousState"]), word(&row["newState"]));
    rows.iter().map(row).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn history_shows_changes_unless_all_reports_are_asked_for() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([
            state("ONLINE", -9),
            state("ONLINE", -8),
            state("ERROR", -7),
            state("ERROR", -6),
            state("ONLINE", -5)
        ]))
        .await;
        assert_eq!(
            history(app, false).await,
            "->ONLINE ONLINE>ERROR ERROR>ONLINE"
        );
        assert_eq!(
            history(app, true).await,
            "->ONLINE ONLINE>ONLINE ONLINE>ERROR ERROR>ERROR ERROR>ONLINE"
        );
    })
    .await;
}

#[tokio::test]
async fn a_late_report_falls_into_its_place() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([state("ONLINE", -9), state("OFFLINE", -3)]))
            .await;
        assert_eq!(history(app, false).await, "->ONLINE ONLINE>OFFLINE");
        app.record(json!([state("ERROR", -6)])).await;
        assert_eq!(
            history(app, false).await,
            "->ONLINE ONLINE>ERROR ERROR>OFFLINE"
        );
        app.record(json!([state("OFFLINE", -4)])).await;
        assert_eq!(
            history(app, false).await,
            "->ONLINE ONLINE>ERROR ERROR>OFFLINE"
        );
        assert_eq!(
            history(app, true).await,
            "->ONLINE ONLINE>ERROR ERROR>OFFLINE OFFLINE>OFFLINE"
        );
    })
    .await;
}

#[tokio::test]
async fn what_a_source_says_of_the_state_before_is_only_a_hint() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut wrong = state("ONLINE", -5);
        wrong["deviceStateChange"]["previousState"] = json!("MAINTENANCE");
        app.record(json!([state("ERROR", -9), wrong])).await;
        assert_eq!(history(app, false).await, "->ERROR ERROR>ONLINE");
    })
    .await;
}

#[tokio::test]
async fn the_stream_of_states_leaves_out_what_changed_nothing() {
    on_each_database(async |app| {
        app.fleet().await;
        let start = app.head().await;
        app.record(json!([state("ONLINE", -9), state("ONLINE", -8), state("ERROR", -7)])).await;
        let mut socket = app.socket().await;
        for (all, expected) in [(false, ["ONLINE", "ERROR"].as_slice()), (true, &["ONLINE", "ONLINE", "ERROR"])] {
            let document = "subscription($after: String, $all: Boolean) { deviceStateChanges(after: $after, all: $all) { newState } }";
            let id = socket.subscribe(document, json!({ "after": start, "all": all })).await;
            for state in expected {
                assert_eq!(socket.data(&id).await["deviceStateChanges"]["newState"], *state);
            }
            socket.unsubscribe(&id).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_state_that_a_person_tells_is_as_real_as_the_device() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([{ "deviceRegistration": { "deviceId": "made-up", "siteId": "market",
            "deviceType": "POS_TERMINAL", "provenance": "SIMULATED" } }]))
            .await;
        for (device, provenance) in [("till-1", "REAL"), ("made-up", "SIMULATED")] {
            let document = "mutation($id: ID!) { setDeviceState(input: { deviceId: $id, state: MAINTENANCE }) { \
                change { provenance newState } userErrors { code } } }";
            let data = app.data_with(document, json!({ "id": device })).await;
            let change = json!({ "provenance": provenance, "newState": "MAINTENANCE" });
            let expected = json!({ "change": change, "userErrors": [] });
            assert_eq!(data["setDeviceState"], expected, "{device}");
        }
    })
    .await;
}
