//! A sound log verifies, and every kind of damage is found.

use std::sync::atomic::{AtomicI64, Ordering};

use homepot_analytics::kinds::Kind;
use homepot_analytics::projections;
use homepot_analytics::store::{Check, OpenError, Progress, verify};

use crate::support::{Database, contract, error, keyed_error, metrics, request, samples};

contract![
    a_log_of_all_kinds_is_sound,
    an_empty_log_is_sound,
    a_log_is_sound_beside_appends,
    a_missing_event_is_found,
    missing_last_events_are_found,
    a_doubled_position_is_found,
    changed_counts_are_found,
    a_missing_commit_is_found,
    a_missing_event_id_is_found,
    an_event_id_without_its_event_is_found,
    a_missing_reference_is_found,
    a_time_that_goes_back_is_found,
    a_doubled_device_and_time_is_found,
    a_projection_ahead_of_the_log_is_found,
    a_projection_of_another_log_is_found,
    a_projection_that_is_not_what_the_log_folds_to_is_found,
    a_head_that_is_not_that_of_the_last_commit_is_found,
    a_text_that_is_no_json_is_found,
    an_event_beyond_the_head_is_found,
    many_findings_are_counted,
    a_database_that_is_not_there_is_not_made,
];

/// Makes a log with five commits, does damage to it, and tells which checks found something.
async fn checks_after(database: &Database, damage: &str) -> Vec<Check> {
    let log = database.open().await.with_fleet().await;
    for second in 0..4 {
        log.clock.advance_ms(1_000);
        let keyed = keyed_error(u128::try_from(second).unwrap(), "e");
        log.record(vec![metrics("d1", second, 1.0), keyed, error("e")])
            .await;
    }
    log.close().await;
    database.execute(damage).await;
    let verified = verify(&database.location(), &projections::all(), &|_| {})
        .await
        .unwrap();
    let total = u64::try_from(verified.findings.len()).unwrap();
    assert_eq!(verified.findings_total, total);
    let mut checks: Vec<Check> = verified
        .findings
        .iter()
        .map(|finding| finding.check)
        .collect();
    checks.dedup();
    checks
}

async fn a_log_of_all_kinds_is_sound(database: Database) {
    let log = database.open().await.with_fleet().await;
    for (seed, kind) in (1..).zip(Kind::all()) {
        log.record(samples(kind, 30, seed)).await;
    }
    let told = AtomicI64::new(0);
    let tell = |progress: Progress| {
        told.fetch_max(progress.done, Ordering::SeqCst);
    };
    let verified = log.verify(&projections::all(), &tell).await.unwrap();
    assert_eq!(verified.findings, []);
    let events = 5 + 30 * i64::try_from(Kind::ALL.len()).unwrap();
    assert_eq!(verified.events, events);
    assert_eq!(
        (verified.head.0, told.load(Ordering::SeqCst)),
        (events, events)
    );
    log.close().await;
}

async fn an_empty_log_is_sound(database: Database) {
    let log = database.open().await;
    assert!(
        log.verify(&projections::all(), &|_| {})
            .await
            .unwrap()
            .is_sound()
    );
    log.close().await;
}

async fn a_log_is_sound_beside_appends(database: Database) {
    let log = database.open().await.with_fleet().await;
    let appenders: Vec<_> = (0..4_u32)
        .map(|appender| {
            let store = log.handle();
            tokio::spawn(async move {
                for ordinal in 0..60_u32 {
                    let key = u128::from(appender * 1_000 + ordinal);
                    let events = vec![keyed_error(key, "e"), error("e")];
                    store.append(request(events)).await.unwrap();
                }
            })
        })
        .collect();
    while !appenders.iter().all(tokio::task::JoinHandle::is_finished) {
        assert_eq!(
            log.verify(&projections::all(), &|_| {})
                .await
                .unwrap()
                .findings,
            []
        );
    }
    log.close().await;
    let verified = verify(&database.location(), &projections::all(), &|_| {})
        .await
        .unwrap();
    assert_eq!((verified.findings, verified.events), (vec![], 485));
}

async fn a_missing_event_is_found(database: Database) {
    let damage = "DELETE FROM device_metrics WHERE position = 9";
    assert_eq!(
        checks_after(&database, damage).await,
        [Check::Positions, Check::Counts]
    );
}

async fn missing_last_events_are_found(database: Database) {
    let damage = "DELETE FROM error_logs WHERE position = 17";
    assert_eq!(
        checks_after(&database, damage).await,
        [Check::Positions, Check::Counts]
    );
}

async fn a_doubled_position_is_found(database: Database) {
    let damage = "INSERT INTO user_activity (position, occurred_at, recorded_at, provenance, \
                  activity_type) SELECT position, occurred_at, recorded_at, 0, 'PAGE_VIEW' \
                  FROM error_logs WHERE position = 11";
    let partition = "CREATE TABLE user_activity_p PARTITION OF user_activity DEFAULT";
    if !database.is_sqlite() {
        let log = database.open().await;
        log.close().await;
        database.execute(partition).await;
    }
    assert_eq!(
        checks_after(&database, damage).await,
        [Check::Positions, Check::Counts]
    );
}

async fn changed_counts_are_found(database: Database) {
    let damage = "UPDATE commits SET counts = '3:2 6:1' WHERE first_position = 9";
    assert_eq!(checks_after(&database, damage).await, [Check::Counts]);
}

async fn a_missing_commit_is_found(database: Database) {
    let damage = "DELETE FROM commits WHERE first_position = 9";
    assert_eq!(checks_after(&database, damage).await, [Check::Commits]);
}

async fn a_missing_event_id_is_found(database: Database) {
    let damage = "DELETE FROM event_keys WHERE position = 10";
    assert_eq!(checks_after(&database, damage).await, [Check::EventKeys]);
}

async fn an_event_id_without_its_event_is_found(database: Database) {
    let damage = "UPDATE error_logs SET event_id = NULL WHERE position = 10";
    assert_eq!(checks_after(&database, damage).await, [Check::EventKeys]);
}

async fn a_missing_reference_is_found(database: Database) {
    let damage = "DELETE FROM entity_keys WHERE entity_id = 's2'";
    assert_eq!(checks_after(&database, damage).await, [Check::References]);
}

async fn a_time_that_goes_back_is_found(database: Database) {
    let damage = "UPDATE commits SET recorded_at = 1 WHERE first_position = 12";
    assert_eq!(checks_after(&database, damage).await, [Check::RecordedAt]);
}

async fn a_doubled_device_and_time_is_found(database: Database) {
    if database.is_sqlite() {
        // the constraint cannot be taken away, and the check of the file finds an index that lies
        return;
    }
    let damage = "ALTER TABLE device_metrics DROP CONSTRAINT device_metrics_device_key_occurred_at_part_key; \
                  UPDATE device_metrics SET occurred_at = occurred_at + 1000000 WHERE position = 9";
    assert_eq!(checks_after(&database, damage).await, [Check::NaturalKeys]);
}

async fn a_projection_ahead_of_the_log_is_found(database: Database) {
    let damage = "INSERT INTO checkpoints SELECT 'p', 18, log_id, epoch FROM log_head";
    assert_eq!(checks_after(&database, damage).await, [Check::Checkpoints]);
}

async fn a_projection_of_another_log_is_found(database: Database) {
    let damage = "INSERT INTO checkpoints SELECT 'p', 1, log_id, epoch + 1 FROM log_head";
    assert_eq!(checks_after(&database, damage).await, [Check::Checkpoints]);
}

async fn a_projection_that_is_not_what_the_log_folds_to_is_found(database: Database) {
    let log = database.open().await.with_fleet().await;
    log.record(samples(Kind::ConfigurationChange, 9, 1)).await;
    log.record(samples(Kind::JobTransition, 9, 2)).await;
    log.record(samples(Kind::SiteSchedule, 9, 3)).await;
    log.record(vec![metrics("d1", 0, 1.0)]).await;
    log.record(samples(Kind::DeviceMetrics, 24, 4)).await;
    log.record(samples(Kind::JobOutcome, 24, 5)).await;
    log.record(samples(Kind::ErrorLog, 9, 5)).await;
    let runner = projections::Runner::new(log.handle(), projections::following());
    let head = log.committed_head().await.unwrap();
    runner.follow(Some(head)).await.unwrap();
    let sound = log.verify(&projections::all(), &|_| {}).await.unwrap();
    assert_eq!(sound.findings, []);
    for (table, damage) in [
        ("devices", "DELETE FROM devices"),
        ("sites", "DELETE FROM sites WHERE site_id = 's1'"),
        ("jobs", "UPDATE jobs SET state = 'NONE'"),
        ("configuration_values", "DELETE FROM configuration_values"),
        (
            "collection_counters",
            "UPDATE collection_counters SET records = records + 1000",
        ),
        ("device_status", "UPDATE device_status SET last_seen_at = 1"),
        (
            "device_intervals",
            "UPDATE device_intervals SET seconds = seconds + 1",
        ),
        (
            "device_silences",
            "UPDATE device_silences SET from_at = from_at + 1",
        ),
        (
            "job_tallies",
            "UPDATE job_tallies SET succeeded = succeeded + 1",
        ),
        (
            "device_insights",
            "UPDATE device_insights SET mark = mark + 1",
        ),
        ("insight_horizon", "DELETE FROM insight_horizon"),
        ("current_schedules", "DELETE FROM current_schedules"),
        (
            "error_group_hours",
            "UPDATE error_group_hours SET events = events + 1",
        ),
    ] {
        database.execute(damage).await;
        let verified = log.verify(&projections::all(), &|_| {}).await.unwrap();
        let found = verified.findings.iter().any(|finding| {
            finding.check == Check::Projections && finding.detail.starts_with(table)
        });
        assert!(found, "{damage}: {:?}", verified.findings);
    }
    log.close().await;
}

async fn a_head_that_is_not_that_of_the_last_commit_is_found(database: Database) {
    let damage = "UPDATE log_head SET recorded_at = 0";
    assert_eq!(checks_after(&database, damage).await, [Check::Head]);
    let damage = "UPDATE log_head SET log_id = 'x'";
    database.execute(damage).await;
    let verified = verify(&database.location(), &projections::all(), &|_| {}).await;
    let findings = verified.unwrap().findings;
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings.iter().all(|finding| finding.check == Check::Head));
}

async fn a_text_that_is_no_json_is_found(database: Database) {
    let damage = "UPDATE error_logs SET extra = '{broken' WHERE position = 11";
    if database.is_sqlite() {
        // its table refuses that, and its check of the file finds what came past the table
        let damage = format!("PRAGMA ignore_check_constraints = ON; {damage}");
        let checks = checks_after(&database, &damage).await;
        assert_eq!(checks, [Check::File, Check::Json]);
    } else {
        assert_eq!(checks_after(&database, damage).await, [Check::Json]);
    }
}

async fn an_event_beyond_the_head_is_found(database: Database) {
    let damage = "UPDATE error_logs SET position = 18 WHERE position = 17";
    let checks = checks_after(&database, damage).await;
    assert_eq!(checks, [Check::Positions, Check::Counts, Check::Positions]);
}

async fn many_findings_are_counted(database: Database) {
    let log = database.open().await;
    log.record((0..300).map(|key| keyed_error(key, "e")).collect())
        .await;
    database.execute("DELETE FROM event_keys").await;
    let verified = log.verify(&projections::all(), &|_| {}).await.unwrap();
    assert_eq!(
        (verified.findings.len(), verified.findings_total),
        (100, 300)
    );
    log.close().await;
}

async fn a_database_that_is_not_there_is_not_made(database: Database) {
    let mut location = database.location();
    location.url.push_str("_not_there");
    let failed = verify(&location, &projections::all(), &|_| {}).await;
    assert!(matches!(
        failed,
        Err(OpenError::Missing(_) | OpenError::Connect { .. })
    ));
}
