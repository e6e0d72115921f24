//! Events are deleted for good when they are old enough; what is left is sound.

use homepot_analytics::event::{Event, Instant, Position};
use homepot_analytics::kinds::{Identity, Kind};
use homepot_analytics::projections::{self, Runner};
use homepot_analytics::retention::{self, Age, RetentionError};
use homepot_analytics::store::{Deleting, Outcome};

use super::filters::{all_of, filled};
use super::segments::{CUTS, archivable, archive, files};
use crate::support::{Database, TestLog, at, contract, event, samples};

contract![
    what_is_deleted_is_gone_and_the_rest_is_sound,
    what_came_late_and_was_deleted_expires_no_cursor,
    a_backlog_that_came_in_time_expires_cursors,
    what_was_recorded_before_it_was_to_be_deleted_expires_cursors,
    what_was_lost_beside_what_was_deleted_is_a_hole,
    a_run_archives_and_deletes_by_the_policies,
    a_policy_has_bounds,
    what_is_not_given_of_a_policy_stays_as_it_is,
    a_partition_of_which_all_is_archived_is_dropped_and_made_again,
    nothing_is_archived_that_a_projection_has_not_folded,
    what_is_summed_up_is_compared_behind_what_was_deleted,
    of_a_kind_with_few_events_nothing_stays_much_longer_than_is_said,
];

pub(super) async fn findings(log: &TestLog) -> Vec<String> {
    let verified = log.verify(&projections::all(), &|_| {}).await.unwrap();
    let found = verified.findings.into_iter().map(|finding| finding.detail);
    found.collect()
}

async fn what_is_deleted_is_gone_and_the_rest_is_sound(database: Database) {
    let (log, events) = filled(&database).await;
    archive(&log).await;
    let before = at(CUTS[1]);
    for kind in archivable() {
        let gone = |event: &&Event| event.fact.kind == kind && event.fact.occurred_at < before;
        let gone: Vec<&Event> = events.iter().filter(gone).collect();
        let mut deleted = 0;
        while let Some(events) = drop_before(&log, kind, before).await {
            deleted += events;
        }
        assert_eq!(usize::try_from(deleted), Ok(gone.len()));
        let page = log.page(&all_of(kind), &log.allowance()).await.unwrap();
        let left = events.iter().filter(|event| event.fact.kind == kind);
        assert!(page.iter().eq(left.filter(|event| !gone.contains(event))));
        let last = gone.iter().map(|event| event.position).max().unwrap();
        assert!(log.has_deleted(&[kind]).await.unwrap());
        let event = log.event(last).await.unwrap();
        assert_eq!(event, None);
    }
    assert!(!log.has_deleted(&[]).await.unwrap());
    assert_eq!(findings(&log).await, Vec::<String>::new());
    // what is deleted is not what was lost
    database.execute("DELETE FROM error_logs").await;
    assert_ne!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

/// Deletes a segment of a kind in which everything is older than an instant.
async fn drop_before(log: &TestLog, kind: Kind, before: Instant) -> Option<i64> {
    let deleting = Deleting::all_before(kind, before);
    log.drop_segment(&deleting).await.unwrap()
}

async fn archive_and_delete(log: &TestLog, before: &str) {
    let (kind, before) = (Kind::DeviceMetrics, at(before));
    assert!(
        log.archive(kind, before, log.head())
            .await
            .unwrap()
            .is_some()
    );
    assert!(drop_before(log, kind, before).await.is_some());
}

/// A reading that happened at an instant.
fn reading(when: &str) -> homepot_analytics::event::NewEvent {
    let body = serde_json::json!({"deviceId": "d1", "cpuPercent": 1, "occurredAt": when});
    event(&serde_json::json!({ "deviceMetrics": body }))
}

async fn what_came_late_and_was_deleted_expires_no_cursor(database: Database) {
    let log = database.open().await.with_fleet().await;
    let kinds: Option<&[Kind]> = Some(&[Kind::DeviceMetrics]);
    let before = log.head();
    log.record(vec![reading("2026-11-23T09:00:00Z")]).await;
    log.record(vec![reading("2023-05-05T09:00:00Z")]).await;
    archive_and_delete(&log, "2024-01-01T00:00:00Z").await;
    for position in 0..=log.head().0 {
        assert!(!log.is_lost_after(Position(position), None).await.unwrap());
    }
    let rest = log.after(before, 100).await.unwrap();
    let rest: Vec<Position> = rest.events.iter().map(|event| event.position).collect();
    assert_eq!(rest, [before.next()]);
    // what goes when its time has come is missed by who was away since before it, and by nobody else
    log.clock.advance_ms(1_000 * 60 * 60 * 24 * 100);
    archive_and_delete(&log, "2026-11-24T00:00:00Z").await;
    for position in 0..=log.head().0 {
        let lost = log.is_lost_after(Position(position), kinds).await.unwrap();
        assert_eq!(lost, position <= before.0, "{position}");
    }
    let others: Option<&[Kind]> = Some(&[Kind::ErrorLog]);
    assert!(!log.is_lost_after(before, others).await.unwrap());
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

/// A till that was away sends what it has kept, after a cursor that is of newer events.
async fn a_backlog_that_came_in_time_expires_cursors(database: Database) {
    let log = database.open().await.with_fleet().await;
    log.record(vec![reading("2026-11-23T09:00:00Z")]).await;
    let before = log.head();
    log.clock.advance_ms(1_000 * 60 * 60);
    log.record(vec![reading("2026-11-20T08:00:00Z")]).await;
    let backlog = log.head();
    log.clock.advance_ms(1_000 * 60 * 60 * 24 * 40);
    archive_and_delete(&log, "2026-11-21T00:00:00Z").await;
    assert!(log.is_lost_after(before, None).await.unwrap());
    assert!(!log.is_lost_after(backlog, None).await.unwrap());
    log.close().await;
}

/// It was kept as long as there was no such age, and is missed by who was away since.
async fn what_was_recorded_before_it_was_to_be_deleted_expires_cursors(database: Database) {
    let log = database.open().await.with_fleet().await;
    let (kind, age) = (Kind::DeviceMetrics, at("2024-01-01T00:00:00Z"));
    let first = log.head();
    for (since, when, is_lost) in [
        (log.clock.now(), "2023-05-05T09:00:00Z", false),
        (log.clock.now().plus_ms(1), "2023-05-05T10:00:00Z", true),
    ] {
        log.record(vec![reading(when)]).await;
        log.archive(kind, age, log.head()).await.unwrap().unwrap();
        let deleting = Deleting {
            since,
            ..Deleting::all_before(kind, age)
        };
        assert_eq!(log.drop_segment(&deleting).await.unwrap(), Some(1));
        assert_eq!(log.is_lost_after(first, None).await.unwrap(), is_lost);
    }
    log.close().await;
}

/// Only between the positions of what was deleted may there be nothing.
async fn what_was_lost_beside_what_was_deleted_is_a_hole(database: Database) {
    let log = database.open().await.with_fleet().await;
    log.record(vec![reading("2026-11-23T09:00:00Z")]).await;
    let lost = log.head();
    log.record(vec![reading("2023-05-05T09:00:00Z")]).await;
    archive_and_delete(&log, "2024-01-01T00:00:00Z").await;
    let last = log.head();
    log.close().await;
    let sql = format!("DELETE FROM device_metrics WHERE position = {}", lost.0);
    database.execute(&sql).await;
    let log = database.open().await;
    assert_eq!(log.event(last).await.unwrap(), None);
    assert!(log.event(lost).await.is_err());
    let before = Position(lost.0 - 1);
    assert!(log.after(before, 1).await.is_err());
    assert_ne!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

/// Folds all that is recorded, as a server does.
pub(super) async fn fold(log: &TestLog) {
    let runner = Runner::new(log.handle(), projections::following());
    runner.follow(Some(log.head())).await.unwrap();
}

async fn a_run_archives_and_deletes_by_the_policies(database: Database) {
    let (log, events) = filled(&database).await;
    fold(&log).await;
    let hour = std::time::Duration::from_hours(1);
    // the clock is at the 23rd of November, the samples are of the last night of January
    for kind in archivable() {
        retention::set(&log, kind, (Age::Days(1_000), Age::Never), "test")
            .await
            .unwrap();
    }
    let idle = retention::run(&log, hour).await.unwrap();
    assert!(idle.is_complete && idle.kinds.iter().all(|done| done.segments == 0));
    for kind in archivable() {
        retention::set(&log, kind, (Age::Days(200), Age::Days(295)), "test")
            .await
            .unwrap();
    }
    let planned = retention::planned(&log).await.unwrap();
    let run = retention::run(&log, hour).await.unwrap();
    assert!(run.is_complete);
    for (done, (kind, waiting)) in run.kinds.iter().zip(planned) {
        let of_kind: Vec<&Event> = events.iter().filter(|e| e.fact.kind == kind).collect();
        let all = i64::try_from(of_kind.len()).unwrap();
        // 295 days before the 23rd of November began with the first of February
        let january = of_kind
            .iter()
            .filter(|e| e.fact.occurred_at < at("2026-02-01T00:00:00Z"));
        let january = i64::try_from(january.count()).unwrap();
        assert_eq!((done.kind, done.archived_events), (kind, all));
        assert_eq!(
            (waiting.archive_events, waiting.delete_events),
            (all, january)
        );
        // it went into segments apart from what is younger
        assert_eq!(done.deleted_events, january);
    }
    assert_eq!(findings(&log).await, Vec::<String>::new());
    for kind in archivable() {
        retention::set(&log, kind, (Age::Never, Age::Days(200)), "test")
            .await
            .unwrap();
    }
    let run = retention::run(&log, hour).await.unwrap();
    for done in run.kinds {
        let of_kind = events.iter().filter(|e| e.fact.kind == done.kind);
        let left = of_kind.filter(|e| e.fact.occurred_at >= at("2026-02-01T00:00:00Z"));
        assert_eq!(usize::try_from(done.deleted_events), Ok(left.count()));
        assert_eq!(log.count(&all_of(done.kind)).await.unwrap(), 0);
    }
    assert_eq!(files(&database), Vec::<std::path::PathBuf>::new());
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

async fn a_policy_has_bounds(database: Database) {
    let log = database.open().await;
    let kind = Kind::DeviceMetrics;
    for (days, refused) in [
        ((Age::Days(0), Age::Never), "Days"),
        ((Age::Never, Age::Days(36_526)), "Days"),
        ((Age::Days(10), Age::Days(9)), "DeletedFirst"),
    ] {
        let error = retention::set(&log, kind, days, "test").await.unwrap_err();
        assert!(format!("{error:?}").starts_with(refused), "{error:?}");
    }
    for kind in Kind::all().filter(|kind| !kind.spec().keeping.archives()) {
        let set = retention::set(&log, kind, (Age::Days(10), Age::Never), "test").await;
        assert!(matches!(set, Err(RetentionError::KeptHere)));
    }
    let policies = retention::policies(&log).await.unwrap();
    assert!(policies.iter().all(|policy| policy.changed.is_none()));
    retention::set(&log, kind, (Age::Days(10), Age::Days(10)), "test")
        .await
        .unwrap();
    let policies = retention::policies(&log).await.unwrap();
    let policy = policies.iter().find(|policy| policy.kind == kind).unwrap();
    assert_eq!(
        (policy.archive_after_days, policy.delete_after_days),
        (Some(10), Some(10))
    );
    let changed = policy.changed.as_ref().unwrap();
    assert_eq!((changed.0, changed.1.as_str()), (log.clock.now(), "test"));
    log.close().await;
}

async fn what_is_not_given_of_a_policy_stays_as_it_is(database: Database) {
    let log = database.open().await;
    let kind = Kind::DeviceMetrics;
    for (ages, then) in [
        // by itself a kind is archived after 90 days and never deleted
        ((Age::AsItIs, Age::Days(800)), (Some(90), Some(800))),
        ((Age::Days(60), Age::AsItIs), (Some(60), Some(800))),
        ((Age::AsItIs, Age::AsItIs), (Some(60), Some(800))),
        ((Age::Never, Age::AsItIs), (None, Some(800))),
        ((Age::Days(60), Age::Never), (Some(60), None)),
        ((Age::AsItIs, Age::Days(60)), (Some(60), Some(60))),
    ] {
        retention::set(&log, kind, ages, "test").await.unwrap();
        let policies = retention::policies(&log).await.unwrap();
        let policy = policies.iter().find(|policy| policy.kind == kind).unwrap();
        let set = (policy.archive_after_days, policy.delete_after_days);
        assert_eq!(set, then, "{ages:?}");
    }
    // it is held against what stays
    for (ages, blamed) in [
        ((Age::AsItIs, Age::Days(59)), "deleteAfterDays"),
        ((Age::Days(61), Age::AsItIs), "archiveAfterDays"),
    ] {
        let error = retention::set(&log, kind, ages, "test").await.unwrap_err();
        let RetentionError::DeletedFirst { field, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!(field, blamed);
    }
    log.close().await;
}

async fn nothing_is_archived_that_a_projection_has_not_folded(database: Database) {
    let (log, _) = filled(&database).await;
    for kind in archivable() {
        retention::set(&log, kind, (Age::Days(1), Age::Never), "test")
            .await
            .unwrap();
    }
    let hour = std::time::Duration::from_hours(1);
    let run = retention::run(&log, hour).await.unwrap();
    assert!(run.kinds.iter().all(|done| done.archived_events == 0));
    // also when all is folded by the time that it is asked
    fold(&log).await;
    let unfolded = run.unfolded(&log).await.unwrap();
    for kind in archivable() {
        let waiting = unfolded.iter().filter(|waits| waits.kind == kind);
        let waiting: Vec<i64> = waiting.map(|waits| waits.events).collect();
        let all = log.count(&all_of(kind)).await.unwrap();
        assert_eq!(waiting, vec![all; projections::following().len()]);
    }
    let run = retention::run(&log, hour).await.unwrap();
    assert!(run.kinds.iter().all(|done| done.archived_events > 0));
    assert_eq!(run.unfolded(&log).await.unwrap(), []);
    log.close().await;
}

/// Only PostgreSQL has partitions.
async fn a_partition_of_which_all_is_archived_is_dropped_and_made_again(database: Database) {
    let (log, events) = filled(&database).await;
    let other = database.open().await;
    let partitions =
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'device_metrics'::regclass";
    let kind = Kind::DeviceMetrics;
    let february = at("2026-02-01T00:00:00Z");
    log.archive(kind, february, log.head()).await.unwrap();
    let dropped = log.drop_empty_partitions(kind, february).await.unwrap();
    if database.is_sqlite() {
        assert_eq!(dropped, 0);
    } else {
        // January is archived; of February there is something left
        assert_eq!((dropped, database.number(partitions).await), (1, 1));
        assert_eq!(
            log.drop_empty_partitions(kind, at("2026-03-01T00:00:00Z"))
                .await
                .unwrap(),
            0
        );
    }
    // nodes that still count on it record what happened then all the same
    for (second, store) in [(1, log.handle()), (2, other.handle())] {
        let wire = serde_json::json!({"deviceMetrics": {"deviceId": "d1", "cpuPercent": 1,
            "occurredAt": format!("2026-01-15T00:00:0{second}Z")}});
        let appended = store
            .append(crate::support::request(vec![event(&wire)]))
            .await;
        let outcomes = appended.unwrap().outcomes;
        assert!(
            matches!(outcomes[..], [Outcome::Recorded(_)]),
            "{outcomes:?}"
        );
    }
    let of_kind = events
        .iter()
        .filter(|event| event.fact.kind == kind)
        .count();
    let count = log.count(&all_of(kind)).await.unwrap();
    assert_eq!(usize::try_from(count), Ok(of_kind + 2));
    assert_eq!(findings(&log).await, Vec::<String>::new());
    other.close().await;
    log.close().await;
}

async fn what_is_summed_up_is_compared_behind_what_was_deleted(database: Database) {
    let log = database.open().await.with_fleet().await;
    for day in ["2026-10-01", "2026-10-02", "2026-11-01"] {
        let metrics = ["d1", "d2", "d3"].map(|device| {
            event(
                &serde_json::json!({"deviceMetrics": {"deviceId": device, "cpuPercent": 10,
                "transactionCount": 5, "occurredAt": format!("{day}T10:00:00Z")}}),
            )
        });
        log.record(metrics.to_vec()).await;
    }
    fold(&log).await;
    let kind = Kind::DeviceMetrics;
    let cut = at("2026-10-02T00:00:00Z");
    log.archive(kind, cut, log.head()).await.unwrap().unwrap();
    assert_eq!(drop_before(&log, kind, cut).await, Some(3));
    assert_eq!(findings(&log).await, Vec::<String>::new());
    let harm = async |from: &str| {
        let delete = "DELETE FROM device_rollups_1h WHERE bucket_at BETWEEN";
        let (from, day) = (at(from).0, 86_400_000_000);
        database
            .execute(&format!("{delete} {from} AND {}", from + day))
            .await;
    };
    // the events of this are gone, so nothing is known of it but what was summed up
    harm("2026-10-01T00:00:00Z").await;
    assert_eq!(findings(&log).await, Vec::<String>::new());
    // as after a restore: it is not folded anew
    let rows = "SELECT count(*) FROM device_rollups_15m";
    let before = database.number(rows).await;
    database
        .execute("UPDATE checkpoints SET epoch = epoch + 1")
        .await;
    fold(&log).await;
    assert_eq!((before, database.number(rows).await), (9, 9));
    assert_eq!(findings(&log).await, Vec::<String>::new());
    harm("2026-11-01T00:00:00Z").await;
    let found = findings(&log).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("device_rollups_1h lacks 3 rows"),
        "{found:?}"
    );
    log.close().await;
}

/// Segments are made before anybody says that what is in them is to be deleted.
async fn of_a_kind_with_few_events_nothing_stays_much_longer_than_is_said(database: Database) {
    let log = database.open().await;
    let (kind, day_ms) = (Kind::ErrorLog, 24 * 3_600 * 1_000);
    let of_day = |days: i64| {
        let then = at("2026-11-23T09:00:00Z").plus_ms(-days * day_ms);
        event(
            &serde_json::json!({"errorLog": {"category": "API", "severity": "ERROR",
            "errorMessage": "one a day", "occurredAt": then.to_string()}}),
        )
    };
    log.record((0..200).map(of_day).collect()).await;
    let before = |days: i64| at("2026-11-23T00:00:00Z").plus_ms(-days * day_ms);
    let (mut segments, mut events) = (0, 0);
    while let Some(archived) = log.archive(kind, before(10), log.head()).await.unwrap() {
        segments += 1;
        events += archived.events;
    }
    // of more than half a year, and neither one nor one a day
    assert_eq!((events, segments), (189, 44));
    let oldest = "SELECT min(first_at) FROM segments WHERE dropped_at IS NULL";
    for after_days in [150, 100, 50, 20] {
        while drop_before(&log, kind, before(after_days)).await.is_some() {}
        let oldest = at("2026-11-23T09:00:00Z").0 - database.number(oldest).await;
        let days = oldest / (day_ms * 1_000);
        assert!(
            (after_days..=after_days + after_days / 10).contains(&days),
            "{days} {after_days}"
        );
    }
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

/// Samples of all kinds have keys of either sort, so that what the tests above say is said of both.
#[test]
fn archived_kinds_are_known_by_id_and_by_device_and_time() {
    let identities: Vec<Identity> = archivable().map(|kind| kind.spec().identity).collect();
    assert!(identities.contains(&Identity::EventId));
    assert!(identities.contains(&Identity::DeviceAndTime));
    assert!(archivable().all(|kind| !samples(kind, 1, 1).is_empty()));
}
