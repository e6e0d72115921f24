//! The demo outlives failures and restarts: its fleet goes on where it was, with all that people
//! had it do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::BoxFuture;
use homepot_analytics::clock::Clock;
use homepot_analytics::demo::{self, Beginning, DemoError, Stage};
use homepot_analytics::event::Event;
use homepot_analytics::history::schedules;
use homepot_analytics::ingest::Ingest;
use homepot_analytics::jobs::{self, Deliveries, NewJob};
use homepot_analytics::kinds::Kind;
use homepot_analytics::schedule::Dates;
use homepot_analytics::store::{EntityType, Fold, StoreError};
use sea_orm::DatabaseTransaction;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::{Database, TestLog, at, contract, event, recorded, request, site, uuid};

const FLEET: Beginning = Beginning {
    seed: 1,
    history_hours: 1,
};

fn of(log: &TestLog) -> (Ingest, Deliveries) {
    (Ingest::new(log.handle()), Deliveries::default())
}

/// Plays until the fleet lives, then stops it.
async fn play(log: &TestLog, beginning: Beginning) -> Result<(), DemoError> {
    let stop = CancellationToken::new();
    let (told, mut lives) = mpsc::unbounded_channel();
    let tell = move |stage| {
        if stage == Stage::Live {
            told.send(()).unwrap();
        }
    };
    let demo = demo::run(of(log), beginning, stop.clone(), tell);
    let stopping = async {
        lives.recv().await;
        stop.cancel();
    };
    tokio::join!(demo, stopping).0
}

async fn open_at(database: &Database, now: &str) -> TestLog {
    let clock = Clock::by_hand(at(now));
    TestLog::open_with(database, |opening| opening.clock = clock).await
}

/// Fails appends of metrics as often as it has failures left.
#[derive(Debug)]
struct Fails(AtomicU32);

impl Fold for Fails {
    fn name(&self) -> &'static str {
        "test_fails"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::DeviceMetrics]
    }

    fn tables(&self) -> &'static [&'static str] {
        &[]
    }

    fn apply<'a>(
        &'a self,
        _: &'a DatabaseTransaction,
        _: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let left = self.0.load(Ordering::SeqCst);
        self.0.store(left.saturating_sub(1), Ordering::SeqCst);
        Box::pin(async move {
            match left {
                0 => Ok(()),
                _ => Err(StoreError::Fold { what: "fails" }),
            }
        })
    }
}

async fn what_cannot_be_recorded_is_tried_again(database: Database) {
    let log = TestLog::open_with(&database, |opening| {
        opening.folds.push(Arc::new(Fails(AtomicU32::new(3))));
    })
    .await;
    play(&log, FLEET).await.unwrap();
    log.close().await;
    let samples = database.number("SELECT count(*) FROM device_metrics").await;
    assert!(samples > 1_000, "{samples}");
}

async fn restarted_fleet_is_the_same_whatever_else_is_registered(database: Database) {
    let log = open_at(&database, "2026-11-23T10:00:00Z").await;
    play(&log, FLEET).await.unwrap();
    // before the fleet's own sites, in order of ids
    recorded(&log.append(request(vec![site("berlin")])).await.unwrap());
    log.close().await;
    let log = open_at(&database, "2026-11-23T10:10:00Z").await;
    play(&log, FLEET).await.unwrap();
    log.close().await;
    let first = "SELECT count(*) FROM device_state_history WHERE reason = 'First report'";
    assert_eq!(database.number(first).await, 12);
    let sites = "SELECT count(*) FROM site_registrations";
    assert_eq!(database.number(sites).await, 4);
}

async fn restarted_fleet_keeps_what_people_configured(database: Database) {
    let log = open_at(&database, "2026-11-23T10:00:00Z").await;
    play(&log, FLEET).await.unwrap();
    let change = event(&json!({ "configurationChange": {
        "entityType": "DEVICE", "entityId": "pos-01-02", "changedBy": "operator",
        "parameterName": "collectionIntervalSeconds", "newValue": 5 } }));
    recorded(&log.append(request(vec![change])).await.unwrap());
    log.close().await;
    let quick = "SELECT count(*) FROM device_metrics WHERE collection_interval_seconds = 5";
    let all = "SELECT count(*) FROM device_metrics";
    let before = database.number(all).await;
    let log = open_at(&database, "2026-11-23T10:30:00Z").await;
    play(&log, FLEET).await.unwrap();
    log.close().await;
    let samples = database.number(quick).await;
    assert!((250..=360).contains(&samples), "{samples}");
    // twice more without time going by: all is told already
    let told = database.number(all).await;
    for _ in 0..2 {
        let log = open_at(&database, "2026-11-23T10:30:00Z").await;
        play(&log, FLEET).await.unwrap();
        log.close().await;
    }
    assert_eq!(database.number(all).await, told);
    assert!(before < told);
}

async fn restarted_fleet_keeps_what_jobs_did_to_it(database: Database) {
    let log = open_at(&database, "2026-11-23T10:00:00Z").await;
    play(&log, FLEET).await.unwrap();
    let ingest = Ingest::new(log.handle());
    let job = NewJob {
        job_id: uuid(1),
        job_type: "FIRMWARE_UPDATE".to_owned(),
        payload: None,
        plan: jobs::Plan::default(),
        targets: vec!["pos-01-02".to_owned()],
        created_by: "operator".to_owned(),
        parent_job_id: None,
    };
    jobs::create(&ingest, job).await.unwrap();
    let id = uuid(1).to_string();
    let completed = event(
        &json!({ "jobOutcome": { "jobId": id, "jobType": "FIRMWARE_UPDATE",
        "deviceId": "pos-01-02", "status": "COMPLETED", "durationMs": 120_000,
        "provenance": "SIMULATED", "occurredAt": "2026-11-23T10:02:00Z" } }),
    );
    log.append(request(vec![completed])).await.unwrap();
    log.close().await;
    let log = open_at(&database, "2026-11-23T10:30:00Z").await;
    play(&log, FLEET).await.unwrap();
    log.close().await;
    let registered = "SELECT count(*) FROM device_registrations r JOIN entity_keys k \
        ON k.entity_type = 'DEVICE' AND k.entity_key = r.device_key WHERE k.entity_id = 'pos-01-02'";
    assert_eq!(database.number(registered).await, 2, "the new firmware too");
}

async fn a_log_with_another_fleet_is_refused(database: Database) {
    let log = open_at(&database, "2026-11-23T10:00:00Z").await;
    play(&log, FLEET).await.unwrap();
    let other = Beginning { seed: 2, ..FLEET };
    let stop = CancellationToken::new();
    let refused = demo::run(of(&log), other, stop, |_| {}).await;
    assert!(matches!(refused, Err(DemoError::OtherFleet)));
    log.close().await;
}

contract!(
    the_sites_of_the_demo_have_a_calendar_for_every_day,
    what_cannot_be_recorded_is_tried_again,
    restarted_fleet_is_the_same_whatever_else_is_registered,
    restarted_fleet_keeps_what_people_configured,
    restarted_fleet_keeps_what_jobs_did_to_it,
    a_log_with_another_fleet_is_refused,
);

async fn the_sites_of_the_demo_have_a_calendar_for_every_day(database: Database) {
    let now = at("2026-11-26T18:00:00Z");
    let log = open_at(&database, "2026-11-26T18:00:00Z").await;
    play(&log, FLEET).await.unwrap();
    let mut keys = Vec::new();
    for n in 1..=3 {
        let site = log.key(EntityType::Site, &format!("site-0{n}")).await;
        keys.extend(site.unwrap());
    }
    keys.push(-1);
    let store = log.handle();
    let calendars = schedules::calendars(&store, &keys, Dates::around(now, (0, 20))).await;
    let calendars = calendars.unwrap();
    assert_eq!(calendars.len(), 3);
    for calendar in calendars.values() {
        for day in 0..14 {
            let day = now.plus_ms(day * 86_400_000);
            assert!(calendar.status_at(day).is_known);
            let window = calendar.next_maintenance(day).unwrap();
            assert!(window.end.0 - window.start.0 <= 2 * 3_600_000_000);
            assert!(window.start < day.plus_ms(86_400_000));
        }
    }
    // in London it is six in the evening, in New York one in the afternoon, in Singapore two at night
    let status = keys[..3].iter().map(|key| calendars[key].status_at(now));
    let status: Vec<_> = status
        .map(|s| (s.is_open, s.is_peak, s.in_maintenance))
        .collect();
    assert_eq!(
        status,
        [
            (true, true, false),
            (true, true, false),
            (false, false, true)
        ]
    );
    log.close().await;
}
