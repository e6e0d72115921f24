//! Segments that are not where they are looked for: nothing is lost then, and nothing is written beside them.

use std::path::{Path, PathBuf};

use homepot_analytics::kinds::Kind;
use homepot_analytics::places::Place;
use homepot_analytics::projections;
use homepot_analytics::retention::{self, Age, RetentionError};
use homepot_analytics::store::{Absent, Check, Deleting, Finding, Location, StoreError, verify};

use super::erasures::of_person;
use super::filters::{all_of, filled};
use super::retention::{findings, fold};
use super::segments::{CUTS, archivable, archive, archive_before, checks_of, files};
use crate::support::{Database, at, contract, event, uuid};

contract![
    segments_that_are_not_where_they_are_looked_for_are_no_damage,
    a_place_that_has_only_a_part_of_the_segments_is_wrong_and_no_damage,
    whoever_looks_for_segments_that_are_elsewhere_makes_no_folder,
    nothing_is_archived_where_the_segments_are_not,
    who_is_erased_is_erased_from_tables_wherever_segments_are,
    one_lost_segment_stops_nothing,
    nobody_else_waits_for_a_lost_segment,
    a_lost_segment_is_deleted_with_the_ids_that_were_in_it,
    a_lost_segment_is_deleted_with_all_ids_however_many_there_are,
];

/// What is found of a log whose segments are looked for in a folder, or nowhere unless they lie beside its file.
async fn found_at(database: &Database, folder: Option<&Path>) -> Vec<Finding> {
    let folder = folder.map(|folder| Place::Folder(folder.to_owned()));
    let location = Location {
        segments: folder,
        ..database.location()
    };
    let verified = verify(&location, &projections::all(), &|_| {}).await;
    verified.unwrap().findings
}

async fn segments_that_are_not_where_they_are_looked_for_are_no_damage(database: Database) {
    let (log, _) = filled(&database).await;
    archive(&log).await;
    log.close().await;
    let (place, elsewhere) = (database.segments(), database.dir().join("elsewhere"));
    std::fs::rename(&place, &elsewhere).unwrap();
    let listed = database.number("SELECT count(*) FROM segments").await;
    let empty = database.dir().join("empty");
    std::fs::create_dir(&empty).unwrap();
    for place in [&place, &empty] {
        let findings = found_at(&database, Some(place)).await;
        let [finding] = findings.as_slice() else {
            panic!("{findings:?}")
        };
        assert_eq!(finding.check, Check::Place);
        let told = format!("cannot be found at {}: {listed} segments", place.display());
        assert!(finding.detail.contains(&told), "{finding:?}");
        assert!(finding.detail.contains("--segments"), "{finding:?}");
    }
    let findings = found_at(&database, None).await;
    let checks: Vec<Check> = findings.iter().map(|finding| finding.check).collect();
    assert_eq!(checks, [Check::Place], "{findings:?}");
    assert_eq!(found_at(&database, Some(&elsewhere)).await, []);
}

async fn whoever_looks_for_segments_that_are_elsewhere_makes_no_folder(database: Database) {
    let (log, _) = filled(&database).await;
    archive(&log).await;
    log.close().await;
    let (place, elsewhere) = (database.segments(), database.dir().join("elsewhere"));
    std::fs::rename(&place, &elsewhere).unwrap();
    assert_eq!(checks_of(&database).await, [Check::Place]);
    let log = database.open().await;
    let page = log
        .page(&all_of(Kind::DeviceMetrics), &log.allowance())
        .await;
    assert!(matches!(page, Err(StoreError::Files(_))), "{page:?}");
    log.close().await;
    assert!(!place.exists());
}

/// As if a server had gone on archiving in another place.
async fn a_place_that_has_only_a_part_of_the_segments_is_wrong_and_no_damage(database: Database) {
    let (log, _) = filled(&database).await;
    archive(&log).await;
    log.close().await;
    let all = files(&database);
    let elsewhere = database.dir().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let half = all.len() / 2;
    for file in &all[..half] {
        std::fs::rename(file, elsewhere.join(file.file_name().unwrap())).unwrap();
    }
    let findings = found_at(&database, Some(&database.segments())).await;
    let [finding] = findings.as_slice() else {
        panic!("{findings:?}")
    };
    assert_eq!(finding.check, Check::Place);
    let listed = all.len();
    let told = format!("{listed} segments are listed, and {half} of them are not there");
    assert!(finding.detail.contains(&told), "{finding:?}");
    for file in &all[..half] {
        std::fs::rename(elsewhere.join(file.file_name().unwrap()), file).unwrap();
    }
    assert_eq!(checks_of(&database).await, []);
}

async fn nothing_is_archived_where_the_segments_are_not(database: Database) {
    let (log, _) = filled(&database).await;
    fold(&log).await;
    archive(&log).await;
    // the clock is at the 23rd of November, the samples are of the last night of January
    for kind in archivable() {
        retention::set(&log, kind, (Age::Days(200), Age::Days(200)), "test")
            .await
            .unwrap();
    }
    let (place, elsewhere) = (database.segments(), database.dir().join("elsewhere"));
    std::fs::rename(&place, &elsewhere).unwrap();
    let counted = "SELECT count(*) FROM device_metrics";
    let left = database.number(counted).await;
    let listed = database.number("SELECT count(*) FROM segments").await;
    let hour = std::time::Duration::from_hours(1);
    let refused = retention::run(&log, hour).await;
    let Err(RetentionError::Absent(Absent::Sample { .. })) = refused else {
        panic!("{refused:?}")
    };
    assert!(!place.exists(), "no folder is made");
    assert_eq!(database.number(counted).await, left);
    let segments = "SELECT count(*) FROM segments WHERE dropped_at IS NULL";
    assert_eq!(database.number(segments).await, listed);
    std::fs::rename(&elsewhere, &place).unwrap();
    assert_eq!(findings(&log).await, Vec::<String>::new());
    let run = retention::run(&log, hour).await.unwrap();
    assert!(run.leaves_nothing());
    assert_eq!(database.number(counted).await, 0);
    assert_eq!(database.number(segments).await, 0);
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

async fn who_is_erased_is_erased_from_tables_wherever_segments_are(database: Database) {
    let (log, _) = filled(&database).await;
    archive(&log).await;
    log.record(of_person("one", 1_000)).await;
    let of_one = "SELECT count(*) FROM user_activity WHERE user_id = 'one'";
    assert_eq!(database.number(of_one).await, 2);
    let (place, elsewhere) = (database.segments(), database.dir().join("elsewhere"));
    std::fs::rename(&place, &elsewhere).unwrap();
    let asked = retention::erase_person(&log, "one", "test").await.unwrap();
    let refused = retention::erase_waiting(&log).await;
    let Err(RetentionError::Absent(_)) = refused else {
        panic!("{refused:?}")
    };
    assert!(!place.exists(), "no folder is made");
    let of = async |id: &str| retention::erasure(&log, id).await.unwrap().unwrap();
    let row = of(&asked.erasure_id).await;
    assert_eq!((row.state.as_str(), row.events), ("RUNNING", 4));
    assert_eq!(database.number(of_one).await, 0);
    assert!(row.failure.unwrap().contains("--segments"));
    std::fs::rename(&elsewhere, &place).unwrap();
    retention::erase_waiting(&log).await.unwrap();
    assert_eq!(of(&asked.erasure_id).await.state, "DONE");
    log.close().await;
}

/// Moves the file of the segment away that is the first one by a query.
pub(super) async fn lose(database: &Database, name: &str) -> (PathBuf, PathBuf) {
    let name: String = database.query(name).await[0].try_get_by_index(0).unwrap();
    let mut files = files(database).into_iter();
    let file = files.find(|file| file.ends_with(&name)).unwrap();
    let aside = database.dir().join("aside");
    std::fs::rename(&file, &aside).unwrap();
    (file, aside)
}

async fn one_lost_segment_stops_nothing(database: Database) {
    let (log, _) = filled(&database).await;
    fold(&log).await;
    archive(&log).await;
    log.close().await;
    // what is listed last
    lose(&database, "SELECT name FROM segments ORDER BY id DESC").await;
    assert_eq!(checks_of(&database).await, [Check::Segments]);
    let log = database.open().await;
    for kind in archivable() {
        retention::set(&log, kind, (Age::Days(200), Age::Days(200)), "test")
            .await
            .unwrap();
    }
    let run = retention::run(&log, std::time::Duration::from_hours(1)).await;
    assert!(run.unwrap().leaves_nothing());
    let segments = "SELECT count(*) FROM segments WHERE dropped_at IS NULL";
    assert_eq!(database.number(segments).await, 0);
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

async fn nobody_else_waits_for_a_lost_segment(database: Database) {
    let (log, _) = filled(&database).await;
    log.record(of_person("one", 1_000)).await;
    archive(&log).await;
    log.close().await;
    // the first of those kinds, so that one with more of the same person is behind it
    let mut kinds = Kind::all();
    let first = kinds.find(|kind| [Kind::UserActivity, Kind::ErrorLog].contains(kind));
    let table = first.unwrap().spec().table;
    let name = format!("SELECT name FROM segments WHERE name LIKE '{table}-%' ORDER BY first_at");
    let (file, aside) = lose(&database, &name).await;
    let log = database.open().await;
    let asked = retention::erase_person(&log, "one", "test").await.unwrap();
    let refused = retention::erase_waiting(&log).await;
    let Err(RetentionError::Store(StoreError::Files(_))) = refused else {
        panic!("{refused:?}")
    };
    let of = async |id: &str| retention::erasure(&log, id).await.unwrap().unwrap();
    let row = of(&asked.erasure_id).await;
    // two in tables, and one in the segment that is there
    assert_eq!((row.state.as_str(), row.events), ("RUNNING", 3));
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(row.failure.unwrap().contains(name));
    std::fs::rename(&aside, &file).unwrap();
    retention::erase_waiting(&log).await.unwrap();
    let row = of(&asked.erasure_id).await;
    assert_eq!((row.state.as_str(), row.events), ("DONE", 4));
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

async fn a_lost_segment_is_deleted_with_the_ids_that_were_in_it(database: Database) {
    let (log, _) = filled(&database).await;
    // recorded last and archived first: others of the kind lie between
    log.record(of_person("one", 1_000)).await;
    let (kind, before) = (Kind::UserActivity, at(CUTS[0]));
    let all = log.page(&all_of(kind), &log.allowance()).await.unwrap();
    let lost = all.iter().filter(|event| event.fact.occurred_at < before);
    let ids = lost.filter(|event| event.fact.event_id.is_some()).count();
    archive(&log).await;
    log.close().await;
    let of_first = "FROM segments WHERE name LIKE 'user_activity-%' ORDER BY first_at LIMIT 1";
    let events = database.number(&format!("SELECT events {of_first}")).await;
    lose(&database, &format!("SELECT name {of_first}")).await;
    let keys = format!(
        "SELECT count(*) FROM event_keys WHERE kind = {}",
        kind.code()
    );
    let known = database.number(&keys).await;
    let log = database.open().await;
    let deleting = Deleting::all_before(kind, before);
    let deleted = log.drop_segment(&deleting).await.unwrap();
    assert_eq!(deleted, Some(events));
    let left = database.number(&keys).await;
    assert_eq!(i64::try_from(ids), Ok(known - left));
    assert!((1..known).contains(&left));
    assert_eq!(findings(&log).await, Vec::<String>::new());
    assert_eq!(log.drop_segment(&deleting).await.unwrap(), None);
    log.close().await;
}

/// They are more than are read at once.
async fn a_lost_segment_is_deleted_with_all_ids_however_many_there_are(database: Database) {
    let log = database.open().await;
    let body =
        serde_json::json!({"activityType": "PAGE_VIEW", "occurredAt": "2026-01-31T23:59:52Z"});
    let view = event(&serde_json::json!({ "userActivity": body }));
    for request in 0..6_u128 {
        let views = (1..=1_000_u128).map(|number| {
            let mut view = view.clone();
            view.fact.event_id = Some(uuid(1_000 * request + number));
            view
        });
        log.record(views.collect()).await;
    }
    let before = at("2026-02-15T00:00:00Z");
    assert_eq!(archive_before(&log, before, log.head()).await, 6_000);
    log.close().await;
    lose(&database, "SELECT name FROM segments").await;
    let log = database.open().await;
    let deleting = Deleting::all_before(Kind::UserActivity, before);
    let deleted = log.drop_segment(&deleting).await.unwrap();
    assert_eq!(deleted, Some(6_000));
    let known = "SELECT count(*) FROM event_keys";
    assert_eq!(database.number(known).await, 0);
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}
