//! Segments that are not where they are looked for: nothing is lost then, and nothing is written beside them.

use std::path::Path;

use homepot_analytics::kinds::Kind;
use homepot_analytics::places::Place;
use homepot_analytics::projections;
use homepot_analytics::retention::{self, Age, RetentionError};
use homepot_analytics::store::{Absent, Check, Finding, Location, StoreError, verify};

use super::filters::{all_of, filled};
use super::retention::{findings, fold};
use super::segments::{archivable, archive, checks_of, files};
use crate::support::{Database, contract};

contract![
    segments_that_are_not_where_they_are_looked_for_are_no_damage,
    a_place_that_has_only_a_part_of_the_segments_is_wrong_and_no_damage,
    whoever_looks_for_segments_that_are_elsewhere_makes_no_folder,
    nothing_is_archived_where_the_segments_are_not,
    nobody_is_erased_where_the_newest_segment_is_not,
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

async fn nobody_is_erased_where_the_newest_segment_is_not(database: Database) {
    let (log, _) = filled(&database).await;
    archive(&log).await;
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
    assert_eq!((row.state.as_str(), row.rows_upto), ("QUEUED", 0));
    assert!(row.failure.unwrap().contains("--segments"));
    std::fs::rename(&elsewhere, &place).unwrap();
    retention::erase_waiting(&log).await.unwrap();
    assert_eq!(of(&asked.erasure_id).await.state, "DONE");
    log.close().await;
}
