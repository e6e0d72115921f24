//! Reports of states that were archived or deleted: they are listed as before, and what follows from them stays.

use serde_json::{Value, json};

use super::app::{TestApp, on_each_database};
use super::job_outcomes::{folder, is_sound};
use super::retention::{of, run, set};

fn state(device: &str, state: &str, when: &str) -> Value {
    json!({ "deviceStateChange": { "deviceId": device, "newState": state, "occurredAt": when } })
}

/// Reports of almost three years ago.
async fn reported(app: &TestApp) {
    app.fleet().await;
    app.record(json!([
        state("till-1", "ONLINE", "2024-01-05T10:00:00Z"),
        state("till-1", "ONLINE", "2024-01-05T11:00:00Z"),
        state("till-1", "OFFLINE", "2024-01-05T12:00:00Z"),
        state("till-2", "ERROR", "2024-01-06T00:00:00Z"),
        state("till-1", "ONLINE", "2024-01-08T09:00:00Z"),
    ]))
    .await;
}

/// Archives and deletes what is old, and tells how many reports.
async fn kept(app: &TestApp) -> [Value; 2] {
    app.settle().await;
    let done = run(app, false).await;
    assert_eq!(done["userErrors"], json!([]));
    let done = of(&done, "deviceStateChange");
    ["archivedEvents", "deletedEvents"].map(|count| done[count].clone())
}

/// What is asked of the reports.
fn of_reports() -> Vec<String> {
    let history = |arguments: &str| {
        format!(
            "{{ deviceStateHistory({arguments}) {{ totalCount pageInfo {{ hasNextPage }} \
             nodes {{ position previousState newState device {{ deviceId }} }} }} }}"
        )
    };
    let mut questions = [
        "order: OLDEST_FIRST",
        "order: OLDEST_FIRST, all: true",
        "first: 2",
        "filter: { newState: { eq: ONLINE } }",
        "filter: { deviceId: { eq: \"till-1\" } }, all: true, last: 3",
    ]
    .map(history)
    .to_vec();
    questions.push(
        "{ devices { nodes { deviceId deviceStateHistory(first: 2) { totalCount \
         nodes { previousState newState } } } } }"
            .to_owned(),
    );
    questions
}

/// What is asked of what follows from them.
fn of_states() -> Vec<String> {
    let range = "from: \"2024-01-01T00:00:00Z\", to: \"2024-02-01T00:00:00Z\"";
    let days = "buckets: { resolution: DAY, timeZone: \"UTC\" }";
    vec![
        "{ devices { nodes { deviceId currentState currentStateSince } } }".to_owned(),
        format!(
            "{{ stateTimeline(deviceId: \"till-1\", {range}) {{ provenance \
             intervals {{ state start end since isOpen durationSeconds }} }} }}"
        ),
        // of what began before
        "{ stateTimeline(deviceId: \"till-1\", from: \"2024-01-05T11:30:00Z\", to: \"2024-01-05T11:45:00Z\") { \
         intervals { state since durationSeconds } } }"
            .to_owned(),
        format!(
            "{{ availability({range}, groupBy: [DEVICE], {days}) {{ provenance groups {{ key {{ value }} \
             total {{ availability onlineSeconds offlineSeconds errorSeconds unknownSeconds outages \
             longestOutageSeconds }} buckets {{ start availability outages }} }} }} }}"
        ),
        format!(
            "{{ series(measures: [STATE_REPORTS], {range}, groupBy: [STATE], fill: NONE, {days}) {{ \
             groups {{ key {{ value }} buckets {{ start count }} }} }} }}"
        ),
    ]
}

async fn answers(app: &TestApp, questions: &[String]) -> Vec<Value> {
    let mut answers = Vec::new();
    for question in questions {
        answers.push(app.data(question).await);
    }
    answers
}

async fn changes(app: &TestApp) -> String {
    let document = "{ deviceStateHistory(filter: { deviceId: { eq: \"till-1\" } }, order: OLDEST_FIRST) { \
        nodes { previousState newState } } }";
    let data = app.data(document).await;
    let nodes = data["deviceStateHistory"]["nodes"].as_array().unwrap();
    let word = |word: &Value| word.as_str().unwrap_or("-").to_owned();
    let change = |node: &Value| {
        format!(
            "{}>{}",
            word(&node["previousState"]),
            word(&node["newState"])
        )
    };
    nodes.iter().map(change).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn states_are_told_as_before_they_were_archived_and_a_late_one_falls_into_its_place() {
    on_each_database(async |app| {
        reported(app).await;
        let questions = [of_reports(), of_states()].concat();
        let before = answers(app, &questions).await;
        assert_eq!(before[0]["deviceStateHistory"]["totalCount"], "4");
        assert_eq!(before[1]["deviceStateHistory"]["totalCount"], "5");
        assert_eq!(kept(app).await, ["5", "0"]);
        for (question, (after, before)) in questions
            .iter()
            .zip(answers(app, &questions).await.iter().zip(&before))
        {
            assert_eq!(after, before, "{question}");
        }
        app.record(json!([state("till-1", "ERROR", "2024-01-05T10:30:00Z")]))
            .await;
        let told = "->ONLINE ONLINE>ERROR ERROR>ONLINE ONLINE>OFFLINE OFFLINE>ONLINE";
        assert_eq!(changes(app).await, told);
        assert_eq!(kept(app).await, ["1", "0"]);
        assert_eq!(changes(app).await, told);
        is_sound(app).await;
    })
    .await;
}

#[tokio::test]
async fn what_follows_from_states_stays_when_they_are_deleted() {
    on_each_database(async |app| {
        reported(app).await;
        let questions = of_states();
        app.settle().await;
        let before = answers(app, &questions).await;
        let input =
            json!({ "kind": "deviceStateChange", "archiveAfterDays": null, "deleteAfterDays": 100 });
        assert_eq!(set(app, input).await["userErrors"], json!([]));
        assert_eq!(kept(app).await, ["5", "5"]);
        assert_eq!(answers(app, &questions).await, before);
        assert_eq!(changes(app).await, "");
        app.record(json!([
            state("till-1", "ONLINE", "2026-11-20T10:00:00Z"),
            state("till-1", "ERROR", "2026-11-20T11:00:00Z")
        ]))
        .await;
        assert_eq!(changes(app).await, "ONLINE>ERROR");
        is_sound(app).await;
    })
    .await;
}

/// What is recorded and decided does not wait for files.
#[tokio::test]
async fn states_go_on_where_the_archive_cannot_be_read() {
    on_each_database(async |app| {
        reported(app).await;
        assert_eq!(kept(app).await, ["5", "0"]);
        let (folder, elsewhere) = (folder(app), folder(app).with_extension("elsewhere"));
        // what a server has read it keeps, and tells without the file
        app.stop().await;
        std::fs::rename(&folder, &elsewhere).unwrap();
        app.start_again().await;
        let history = "{ deviceStateHistory { nodes { newState } } }";
        assert_eq!(app.code(history).await, "ARCHIVE_MISSING");
        let document = "mutation { setDeviceState(input: { deviceId: \"till-1\", state: MAINTENANCE }) { \
            change { previousState newState } userErrors { code } } }";
        let data = app.data(document).await;
        let change = json!({ "previousState": "ONLINE", "newState": "MAINTENANCE" });
        let expected = json!({ "change": change, "userErrors": [] });
        assert_eq!(data["setDeviceState"], expected);
        app.settle().await;
        let since = app.data("{ devices { nodes { deviceId currentState currentStateSince } } }").await;
        let of_other = since["devices"]["nodes"].as_array().unwrap().iter();
        let mut of_other = of_other.filter(|device| device["deviceId"] == "till-2");
        let expected = json!({ "deviceId": "till-2", "currentState": "ERROR",
            "currentStateSince": "2024-01-06T00:00:00Z" });
        assert_eq!(of_other.next(), Some(&expected));
        std::fs::rename(&elsewhere, &folder).unwrap();
        assert_eq!(changes(app).await, "->ONLINE ONLINE>OFFLINE OFFLINE>ONLINE ONLINE>MAINTENANCE");
        is_sound(app).await;
    })
    .await;
}
