//! What a late registration means for what was summed up is worked off in parts.

use std::sync::Arc;

use homepot_analytics::event::{NewEvent, Position};
use homepot_analytics::kinds::Kind;
use homepot_analytics::projections::{self, Runner};
use homepot_analytics::retention::{self, Age};
use homepot_analytics::store::{Deleting, Fold};
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use serde_json::json;

use super::filters::all_of;
use crate::support::{Database, TestLog, at, contract, event};

contract![
    years_are_summed_up_anew_in_parts_of_which_a_kill_loses_none,
    what_is_put_off_is_no_difference,
    nothing_is_deleted_while_devices_are_summed_up_anew,
    nothing_is_deleted_while_sites_are_summed_up_anew,
    days_of_sites_are_made_again_also_where_events_were_deleted_meanwhile,
];

/// Days on which something was measured, more than one part is of.
const DAYS: i64 = 40;

fn rollups() -> Arc<dyn Fold> {
    let mut following = projections::following().into_iter();
    following.find(|fold| fold.name() == "rollups").unwrap()
}

async fn fold(log: &TestLog) {
    let runner = Runner::new(log.handle(), projections::following());
    runner.follow(Some(log.head())).await.unwrap();
}

/// What two devices measured on a day, at an hour.
fn measured(day: i64, hour: i64) -> Vec<NewEvent> {
    let at = at("2026-10-01T00:00:00Z").plus_ms((day * 24 + hour) * 3_600_000);
    let of = |device| {
        event(
            &json!({"deviceMetrics": {"deviceId": device, "cpuPercent": 10,
            "transactionCount": 100 + hour, "occurredAt": at.to_string()}}),
        )
    };
    ["d1", "d2"].map(of).to_vec()
}

/// A log with a registration that comes late, by which a site had another currency on all these days; it is
/// folded, and no part of what it means is done.
async fn moved(database: &Database) -> (TestLog, Position) {
    let log = database.open().await.with_fleet().await;
    for day in 0..DAYS {
        log.record(measured(day, 10)).await;
    }
    fold(&log).await;
    let late = json!({"siteRegistration": {"siteId": "s1", "name": "s1", "currency": "EUR",
        "occurredAt": "2026-09-01T00:00:00Z"}});
    log.record(vec![event(&late)]).await;
    let sites = all_of(Kind::SiteRegistration);
    let sites = log.page(&sites, &log.allowance()).await.unwrap();
    let (db, head) = (database.connect().await, log.head());
    let tx = db.begin().await.unwrap();
    rollups()
        .apply(&tx, &[sites.last().unwrap()])
        .await
        .unwrap();
    let moved = format!("UPDATE checkpoints SET position = {head} WHERE projection = 'rollups'");
    tx.execute_unprepared(&moved).await.unwrap();
    tx.commit().await.unwrap();
    db.close().await.unwrap();
    (log, head)
}

const MOVES: &str = "SELECT count(*) FROM rollup_moves";
const EURO: &str = "SELECT count(*) FROM device_rollups_1d WHERE currency = 'EUR'";
const SITES: &str = "SELECT count(*) FROM site_rollups_1d WHERE currency = 'EUR'";

async fn years_are_summed_up_anew_in_parts_of_which_a_kill_loses_none(database: Database) {
    let (log, head) = moved(&database).await;
    assert_eq!(database.number(MOVES).await, 2);
    for (is_killed, done) in [(true, 0), (false, 32)] {
        let db = database.connect().await;
        let tx = db.begin().await.unwrap();
        rollups().go_on(&tx, head).await.unwrap();
        if is_killed {
            tx.rollback().await.unwrap();
        } else {
            tx.commit().await.unwrap();
        }
        db.close().await.unwrap();
        assert_eq!(database.number(EURO).await, done);
        assert_eq!(database.number(SITES).await, 0);
        assert_eq!(database.number(MOVES).await, 2);
    }
    // what comes late meanwhile, for a day that is done and for one that is not
    log.record(measured(3, 9)).await;
    log.record(measured(35, 9)).await;
    fold(&log).await;
    assert_eq!(database.number(MOVES).await, 0);
    assert_eq!(database.number(EURO).await, 2 * DAYS);
    assert_eq!(database.number(SITES).await, DAYS);
    let verified = log.verify(&projections::all(), &|_| {}).await.unwrap();
    assert_eq!(verified.findings, []);
    log.close().await;
}

async fn what_is_put_off_is_no_difference(database: Database) {
    let (log, _) = moved(&database).await;
    let verified = log.verify(&projections::all(), &|_| {}).await.unwrap();
    assert_eq!(verified.findings, []);
    log.close().await;
}

/// Deletes nothing before all is done; the clock is at the 23rd of November, and October is old enough.
async fn is_held_until_all_is_done(database: &Database, log: TestLog) {
    let kind = Kind::DeviceMetrics;
    let set = retention::set(&log, kind, (Age::Days(20), Age::Days(20)), "test").await;
    set.unwrap();
    let hour = std::time::Duration::from_hours(1);
    let run = retention::run(&log, hour).await.unwrap();
    let done = run.kinds.iter().find(|done| done.kind == kind).unwrap();
    assert!(done.is_held && done.deleted_events == 0 && run.is_complete);
    assert!(!run.leaves_nothing());
    fold(&log).await;
    let run = retention::run(&log, hour).await.unwrap();
    let done = run.kinds.iter().find(|done| done.kind == kind).unwrap();
    assert!(!done.is_held && done.deleted_events > 0 && run.leaves_nothing());
    assert_eq!(database.number(EURO).await, 2 * DAYS);
    assert_eq!(database.number(SITES).await, DAYS);
    let verified = log.verify(&projections::all(), &|_| {}).await.unwrap();
    assert_eq!(verified.findings, []);
    log.close().await;
}

async fn nothing_is_deleted_while_devices_are_summed_up_anew(database: Database) {
    let (log, _) = moved(&database).await;
    is_held_until_all_is_done(&database, log).await;
}

/// A log of which all days of devices were made again, and none of sites.
async fn devices_done(database: &Database) -> TestLog {
    let (log, head) = moved(database).await;
    while database.number(MOVES).await > 0 {
        let db = database.connect().await;
        let tx = db.begin().await.unwrap();
        rollups().go_on(&tx, head).await.unwrap();
        tx.commit().await.unwrap();
        db.close().await.unwrap();
    }
    assert_eq!(database.number(SITES).await, 0);
    log
}

async fn nothing_is_deleted_while_sites_are_summed_up_anew(database: Database) {
    let log = devices_done(&database).await;
    is_held_until_all_is_done(&database, log).await;
}

async fn days_of_sites_are_made_again_also_where_events_were_deleted_meanwhile(database: Database) {
    let log = devices_done(&database).await;
    assert_eq!(database.number(EURO).await, 2 * DAYS);
    let (kind, cut) = (Kind::DeviceMetrics, at("2026-10-21T00:00:00Z"));
    while log.archive(kind, cut, log.head()).await.unwrap().is_some() {}
    let (deleting, mut deleted) = (Deleting::all_before(kind, cut), 0);
    while let Some(events) = log.drop_segment(&deleting).await.unwrap() {
        deleted += events;
    }
    assert_eq!(deleted, 40);
    fold(&log).await;
    assert_eq!(database.number(SITES).await, DAYS);
    let others = "SELECT count(*) FROM site_rollups_1d WHERE currency <> 'EUR'";
    assert_eq!(database.number(others).await, 0);
    log.close().await;
}
