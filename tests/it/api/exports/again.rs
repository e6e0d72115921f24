//! What a server has recorded comes back to it, or to another, from its own export.

use homepot_analytics::config::LimitArgs;
use homepot_analytics::export::{Asked, Events, Format, Readers, Target, write};
use homepot_analytics::ingest::{Import, Ingest, Tally};
use homepot_analytics::kinds::{Filter, Kind};
use homepot_analytics::retention;
use homepot_analytics::store::Store;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::app::{TestApp, at, location, on_each_database};
use super::super::configuration::parameters;
use super::super::device_commands::{complete, until};
use super::{done, recorded, taken};

/// Has a device told what is set at its site, and apply it.
async fn set(app: &TestApp, value: &str) {
    let document = format!(
        "mutation {{ setConfiguration(input: {{ entityType: SITE, entityId: \"market\",
            changes: [{{ parameterName: \"volume\", value: {value} }}] }}) {{ jobs {{ jobId }} }} }}"
    );
    let data = app.data(&document).await;
    let job = data["setConfiguration"]["jobs"][0]["jobId"].as_str();
    let job = job.unwrap();
    until(app, job, |job| job["devicesIssued"] == 1).await;
    let refused = complete(app, &format!("{job}.1.till-3"), "COMPLETED").await;
    assert!(refused.is_empty(), "{refused:?}");
    until(app, job, |job| job["state"] == "COMPLETED").await;
}

/// What devices, people and the server itself record.
async fn lived(app: &TestApp) {
    recorded(app).await;
    parameters(app, &["volume"]).await;
    set(app, "9").await;
    set(app, "null").await;
    let state = |minutes: i64, state: &str, before: Option<&str>| {
        json!({ "deviceStateChange": { "deviceId": "till-2", "newState": state, "previousState": before,
            "occurredAt": at(minutes), "changedBy": "ann" } })
    };
    app.record(json!([
        state(-3, "ONLINE", None),
        state(-1, "ERROR", Some("MAINTENANCE"))
    ]))
    .await;
    // late
    app.record(json!([
        state(-2, "OFFLINE", None),
        { "jobOutcome": { "jobId": "j", "jobType": "RESTART", "status": "FAILED", "deviceId": "till-1",
            "initiatedBy": "ann" } },
        { "configurationChange": { "entityType": "SYSTEM", "entityId": "system", "parameterName": "brightness",
            "newValue": 7, "changedBy": "ann" } },
        { "siteSchedule": { "siteId": "market", "dayOfWeek": "SUNDAY", "isClosed": true } },
        { "userActivity": { "activityType": "SEARCH_QUERY", "userId": "ann", "searchQuery": "ann" } },
    ]))
    .await;
    let store = app.app().ingest.store();
    retention::erase_person(store, "ann", "test").await.unwrap();
    retention::erase_waiting(store).await.unwrap();
    // they are recorded behind the answers
    for (list, filter, least) in [
        ("apiRequestLogs", "", 1),
        ("jobOutcomes", "(filter: { scope: { eq: JOB } })", 2),
    ] {
        let document = format!("{{ {list}{filter} {{ totalCount }} }}");
        loop {
            let data = app.data(&document).await;
            let count = data[list]["totalCount"].as_str().unwrap();
            if count.parse::<i64>().unwrap() >= least {
                break;
            }
        }
    }
}

async fn import(ingest: &Ingest, bytes: &[u8]) -> Tally {
    let mut refused = Vec::new();
    let import = Import {
        ingest,
        name: "again",
        refused: &mut refused,
        progress: &|_| {},
    };
    let source = std::io::Cursor::new(bytes.to_vec());
    let tally = import.run(source).await.unwrap();
    assert_eq!(String::from_utf8(refused).unwrap(), "");
    tally
}

/// All that a log has that can be exported, as lines.
async fn exported(store: &Store) -> Vec<u8> {
    let kinds: Vec<Kind> = Kind::all().filter(|kind| kind.spec().recordable).collect();
    let asked = kinds.iter().map(|kind| (*kind, Filter::default()));
    let asked = Asked {
        kinds: asked.collect(),
        upto: store.head(),
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (told, stop) = (|_| {}, CancellationToken::new());
    let events = Events::new(store.clone(), asked);
    let target = Target::at(&path).await.unwrap();
    let form = (Format::Jsonl, Readers::Programs, kinds);
    let written = write(events, form, target, (&told, &stop)).await;
    written.unwrap();
    std::fs::read(path).unwrap()
}

#[tokio::test]
async fn an_export_is_all_duplicates_to_its_server_and_makes_the_same_of_an_empty_log() {
    on_each_database(async |app| {
        lived(app).await;
        let export = done(
            app,
            json!({ "format": "JSON_LINES", "sources": Value::Null }),
        )
        .await;
        let bytes = taken(app, &export).await;
        let text = std::str::from_utf8(&bytes).unwrap();
        for told in [
            "\"apiRequest\"",
            "\"commandId\"",
            "\"newValue\":null",
            "\"scope\":\"JOB\"",
            "{\"erased\":true}",
        ] {
            assert!(text.contains(told), "{told}");
        }
        let tally = import(&app.app().ingest, &bytes).await;
        let lines = u64::try_from(text.lines().count()).unwrap();
        let all = Tally {
            lines,
            duplicates: lines,
            ..Tally::default()
        };
        assert_eq!(tally, all);
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("other.db").display());
        let (limits, clock) = (LimitArgs::default(), app.clock.clone());
        let opened = homepot_analytics::app::open(location(&url), &limits, clock).await;
        let (other, tasks) = opened.unwrap();
        let tally = import(&Ingest::new(other.clone()), &bytes).await;
        assert_eq!((tally.recorded, tally.refused()), (lines, 0));
        assert!(exported(&other).await == bytes);
        tasks.stop().await;
    })
    .await;
}
