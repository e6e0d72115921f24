//! The values of parameters whose changes were archived or deleted.

use homepot_analytics::event::NewEvent;
use homepot_analytics::kinds::Kind;
use homepot_analytics::projections;
use homepot_analytics::store::{Deleting, Outcome};
use serde_json::json;

use super::retention::findings;
use crate::support::{Database, TestLog, at, contract, event};

contract![a_value_stays_when_the_change_that_set_it_is_deleted];

fn change((device, parameter, value): (&str, &str, i64), when: &str) -> NewEvent {
    event(
        &json!({"configurationChange": {"entityType": "DEVICE", "entityId": device,
        "parameterName": parameter, "newValue": value, "changedBy": "me", "occurredAt": when}}),
    )
}

async fn values(database: &Database) -> Vec<String> {
    let sql = "SELECT entity_id || ' ' || parameter_name || ' ' || value FROM configuration_values \
        ORDER BY entity_id, parameter_name";
    let rows = database.query(sql).await;
    let text = rows.iter().map(|row| row.try_get_by_index(0).unwrap());
    text.collect()
}

/// Rebuilds the values, after which they are as they are expected to be, and nothing is found.
async fn rebuilt(log: &TestLog, database: &Database) {
    let rebuilt = projections::rebuild(&log.handle(), "configuration", |_, _| {}).await;
    rebuilt.unwrap();
    assert_eq!(
        values(database).await,
        ["d1 light 5", "d1 volume 2", "d2 volume 7"]
    );
    assert_eq!(findings(log).await, Vec::<String>::new());
}

async fn a_value_stays_when_the_change_that_set_it_is_deleted(database: Database) {
    let log = database.open().await.with_fleet().await;
    log.record(vec![
        change(("d1", "volume", 2), "2026-01-06T10:00:00Z"),
        change(("d1", "volume", 1), "2026-01-05T10:00:00Z"),
        change(("d1", "light", 5), "2026-01-05T10:00:00Z"),
        change(("d2", "volume", 6), "2026-01-05T10:00:00Z"),
        change(("d2", "volume", 7), "2026-11-22T10:00:00Z"),
    ])
    .await;
    rebuilt(&log, &database).await;
    let (kind, before) = (Kind::ConfigurationChange, at("2026-01-07T00:00:00Z"));
    let mut archived = 0;
    while let Some(segment) = log.archive(kind, before, log.head()).await.unwrap() {
        archived += segment.events;
    }
    assert_eq!(archived, 4);
    rebuilt(&log, &database).await;
    let deleting = Deleting::all_before(kind, before);
    let mut deleted = 0;
    while let Some(events) = log.drop_segment(&deleting).await.unwrap() {
        deleted += events;
    }
    assert_eq!(deleted, 4);
    rebuilt(&log, &database).await;
    // what comes late and is older than what was deleted changes nothing
    let late = log
        .record(vec![change(("d1", "volume", 9), "2026-01-04T10:00:00Z")])
        .await;
    assert!(matches!(late[..], [Outcome::Recorded(_)]), "{late:?}");
    rebuilt(&log, &database).await;
    let harm = "UPDATE configuration_values SET value = '8' WHERE entity_id = 'd2'";
    database.execute(harm).await;
    let found = findings(&log).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let lacks = "configuration_values lacks 1 rows that the log folds to and has 1";
    assert!(found[0].starts_with(lacks), "{found:?}");
    rebuilt(&log, &database).await;
    log.close().await;
}
