//! A segment whose file is lost for good is given up by whoever runs the log: nothing waits for it any more.

use std::path::Path;

use homepot_analytics::kinds::Kind;
use homepot_analytics::retention::{self, ErasureState, GiveUpError, PlaceIs, RetentionError};
use homepot_analytics::store::{Check, Store};

use super::elsewhere::lose;
use super::erasures::of_person;
use super::filters::filled;
use super::retention::{findings, fold};
use super::segments::{archive, archive_before, checks_of, files};
use crate::support::{Database, at, contract, event};

contract![
    what_waits_for_a_lost_segment_goes_on_once_it_is_given_up,
    what_can_be_read_is_not_given_up_and_what_is_damaged_is,
    where_many_are_not_found_none_is_given_up_unless_their_place_is_the_right_one,
];

fn name_of(file: &Path) -> String {
    file.file_name().unwrap().to_str().unwrap().to_owned()
}

/// How many parts of small segments there are that may be put together.
async fn small(store: &Store) -> usize {
    let mut small = 0;
    for kind in [Kind::UserActivity, Kind::ErrorLog] {
        small += store.small_segments(kind, None).await.unwrap().len();
    }
    small
}

async fn what_waits_for_a_lost_segment_goes_on_once_it_is_given_up(database: Database) {
    let (log, _) = filled(&database).await;
    log.record(of_person("one", 1_000)).await;
    fold(&log).await;
    archive(&log).await;
    log.close().await;
    let of_first = "FROM segments WHERE name LIKE 'user_activity-%' ORDER BY first_at LIMIT 1";
    let events = database.number(&format!("SELECT events {of_first}")).await;
    let (file, _) = lose(&database, &format!("SELECT name {of_first}")).await;
    assert_eq!(checks_of(&database).await, [Check::Segments]);
    let log = database.open().await;
    let asked = retention::erase_person(&log, "one", "test").await.unwrap();
    assert!(retention::erase_waiting(&log).await.is_err());
    assert_eq!(small(&log).await, 0);
    let told = findings(&log).await;
    assert!(
        told[0].contains(&format!("retention give-up {}", name_of(&file))),
        "{told:?}"
    );
    let summed_up = "SELECT count(*) FROM device_rollups_15m";
    let ids = "SELECT count(*) FROM event_keys";
    let before = (database.number(summed_up).await, database.number(ids).await);
    let given_up = retention::give_up(&log, &name_of(&file), PlaceIs::Doubted).await;
    let given_up = given_up.unwrap();
    assert_eq!(
        (given_up.kind, given_up.events),
        (Kind::UserActivity, events)
    );
    assert_eq!(database.number(summed_up).await, before.0);
    assert!(database.number(ids).await < before.1);
    retention::erase_waiting(&log).await.unwrap();
    let row = retention::erasure(&log, &asked.erasure_id)
        .await
        .unwrap()
        .unwrap();
    // one of the four is gone with the segment
    assert_eq!(
        (ErasureState::of(&row), row.events),
        (ErasureState::Done, 3)
    );
    assert_eq!(small(&log).await, 2);
    assert_eq!(findings(&log).await, Vec::<String>::new());
    let again = retention::give_up(&log, &name_of(&file), PlaceIs::Doubted).await;
    assert!(
        matches!(again, Err(GiveUpError::Unknown { .. })),
        "{again:?}"
    );
    log.close().await;
}

async fn what_can_be_read_is_not_given_up_and_what_is_damaged_is(database: Database) {
    let (log, _) = filled(&database).await;
    archive(&log).await;
    log.close().await;
    // not the oldest one of its kind
    let name = "SELECT name FROM segments WHERE name LIKE 'error_logs-%' ORDER BY first_at DESC";
    let name: String = database.query(name).await[0].try_get_by_index(0).unwrap();
    let all = files(&database);
    let file = all.iter().find(|file| file.ends_with(&name)).unwrap();
    let log = database.open().await;
    let refused = retention::give_up(&log, &name_of(file), PlaceIs::Right).await;
    assert!(
        matches!(refused, Err(GiveUpError::Readable { .. })),
        "{refused:?}"
    );
    let listed = "SELECT count(*) FROM segments WHERE dropped_at IS NULL";
    let before = database.number(listed).await;
    assert_eq!(usize::try_from(before), Ok(all.len()));
    std::fs::write(file, b"PAR1").unwrap();
    let given_up = retention::give_up(&log, &name_of(file), PlaceIs::Doubted).await;
    assert!(given_up.is_ok(), "{given_up:?}");
    assert_eq!(database.number(listed).await, before - 1);
    // what is left of it goes too
    assert!(!file.exists());
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

async fn where_many_are_not_found_none_is_given_up_unless_their_place_is_the_right_one(
    database: Database,
) {
    let log = database.open().await;
    let body =
        serde_json::json!({"activityType": "PAGE_VIEW", "occurredAt": "2026-01-31T23:59:52Z"});
    log.record(vec![event(&serde_json::json!({ "userActivity": body }))])
        .await;
    let before = at("2026-02-15T00:00:00Z");
    assert_eq!(archive_before(&log, before, log.head()).await, 1);
    log.close().await;
    let (file, aside) = lose(&database, "SELECT name FROM segments").await;
    let log = database.open().await;
    let listed = "SELECT count(*) FROM segments WHERE dropped_at IS NULL";
    let refused = retention::give_up(&log, &name_of(&file), PlaceIs::Doubted).await;
    let Err(GiveUpError::Retention(RetentionError::Absent(_))) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(database.number(listed).await, 1);
    std::fs::rename(&aside, &file).unwrap();
    assert_eq!(findings(&log).await, Vec::<String>::new());
    std::fs::rename(&file, &aside).unwrap();
    let given_up = retention::give_up(&log, &name_of(&file), PlaceIs::Right).await;
    assert_eq!(given_up.unwrap().events, 1);
    assert_eq!(database.number(listed).await, 0);
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}
