//! What rules and the evidence of configuration look at is the same after it was archived.

use std::collections::BTreeSet;

use entity::device_metrics::Column;
use homepot_analytics::event::{Event, Instant};
use homepot_analytics::history::faults::errors_since;
use homepot_analytics::history::measures::{measured, readings};
use homepot_analytics::kinds::Kind;

use super::filters::filled;
use super::segments::archive;
use crate::support::{Database, TestLog, at, contract};

contract![what_rules_look_at_is_the_same_after_archiving];

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
