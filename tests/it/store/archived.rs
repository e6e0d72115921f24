//! What rules and the evidence of configuration look at is the same after it was archived, and so is how often devices
//! report.

use std::collections::{BTreeMap, BTreeSet};

use entity::device_metrics::Column;
use homepot_analytics::event::{Event, Instant};
use homepot_analytics::history::faults::errors_since;
use homepot_analytics::history::measures::{measured, readings};
use homepot_analytics::kinds::Kind;
use homepot_analytics::projections::{self, Runner};

use super::filters::filled;
use super::segments::{archive, archive_before};
use crate::support::{Database, TestLog, at, contract};

contract![
    what_rules_look_at_is_the_same_after_archiving,
    how_often_devices_report_is_known_to_a_version_that_begins_with_an_archive,
];

/// All that is looked at of some devices, as text.
async fn looked_at(log: &TestLog, devices: &BTreeSet<i64>) -> Vec<String> {
    let all = (at("2026-01-01T00:00:00Z"), at("2026-03-01T00:00:00Z"));
    let mut told = Vec::new();
    for device in devices {
        for column in [Column::CpuPercent, Column::ActiveConnections] {
            for limit in [2, 1_000] {
                let of = (*device, column);
                let measured = measured(log, of, all, limit).await.unwrap();
                assert!(measured.len() <= limit && measured.is_sorted_by_key(|(at, _)| -at.0));
                told.push(format!("{measured:?}"));
            }
        }
        told.push(format!("{:?}", readings(log, *device, all).await.unwrap()));
    }
    let severities = ["ERROR".to_owned(), "CRITICAL".to_owned()];
    for (since, limit) in [(all.0, 1_000), (all.0, 3), (Instant(i64::MAX), 10)] {
        let errors = errors_since(log, &severities, since, limit).await.unwrap();
        told.push(format!("{errors:?}"));
    }
    told
}

async fn what_rules_look_at_is_the_same_after_archiving(database: Database) {
    let (log, events) = filled(&database).await;
    let device = |event: &Event| event.fact.cell(Column::DeviceKey).int();
    let metrics = events.iter().filter(|e| e.fact.kind == Kind::DeviceMetrics);
    let devices: BTreeSet<i64> = metrics.filter_map(device).collect();
    let before = looked_at(&log, &devices).await;
    assert!(before.iter().any(|told| told.contains("ERROR")));
    archive(&log).await;
    assert_eq!(looked_at(&log, &devices).await, before);
    log.close().await;
}

async fn how_often_devices_report_is_known_to_a_version_that_begins_with_an_archive(
    database: Database,
) {
    let (log, events) = filled(&database).await;
    archive_before(&log, at("2026-03-01T00:00:00Z"), log.head()).await;
    log.close().await;
    let left = database.number("SELECT count(*) FROM device_metrics").await;
    assert_eq!(left, 0);
    // as an older version left it
    let older = "DROP TABLE device_intervals; \
        DELETE FROM checkpoints WHERE projection = 'intervals'; \
        DELETE FROM seaql_migrations WHERE version = 'm0026_device_intervals'";
    database.execute(older).await;
    let log = database.open().await;
    let runner = Runner::new(log.handle(), projections::following());
    runner.follow(Some(log.head())).await.unwrap();
    let mut newest: BTreeMap<i64, (i64, i64, i64)> = BTreeMap::new();
    let metrics = events.iter().filter(|e| e.fact.kind == Kind::DeviceMetrics);
    for event in metrics {
        let device = event.fact.cell(Column::DeviceKey).int().unwrap();
        let seconds = event.fact.cell(Column::CollectionIntervalSeconds).int();
        let Some(seconds) = seconds else {
            continue;
        };
        let told = (event.fact.occurred_at.0, event.position.0, seconds);
        let held = newest.entry(device).or_insert(told);
        *held = told.max(*held);
    }
    let kept = "SELECT device_key, told_at, position, seconds FROM device_intervals";
    let kept = database.query(kept).await.into_iter().map(|row| {
        let number = |index: usize| -> i64 { row.try_get_by_index(index).unwrap() };
        (number(0), (number(1), number(2), number(3)))
    });
    assert_eq!(kept.collect::<BTreeMap<_, _>>(), newest);
    assert!(!newest.is_empty());
    let verified = log.verify(&projections::all(), &|_| {}).await.unwrap();
    assert_eq!(verified.findings, []);
    log.close().await;
}
