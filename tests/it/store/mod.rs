//! The contract of the log, the same on SQLite and on PostgreSQL.

use std::time::Duration;

use homepot_analytics::clock::Clock;
use homepot_analytics::event::{Instant, Position};
use homepot_analytics::kinds;
use homepot_analytics::store::{Limits, Location, Options, Outcome, Request, Store};
use serde_json::json;

#[tokio::test]
async fn smoke() {
    let dir = tempfile::tempdir().unwrap();
    let url = std::env::var("HOMEPOT_TEST_POSTGRES")
        .unwrap_or_else(|_| format!("sqlite://{}/a.db", dir.path().display()));
    let clock = Clock::by_hand(Instant::parse("2026-11-23T10:00:00Z").unwrap());
    let (store, tasks) = Store::open(Options {
        location: Location {
            url,
            readers_max: 4,
            create: true,
        },
        limits: Limits {
            queue_events_max: 10_000,
            queue_bytes_max: 1 << 25,
            ring_events_max: 1000,
            ring_bytes_max: 1 << 24,
            page_events: 500,
            tail_poll: Duration::from_millis(200),
        },
        folds: vec![],
        clock: clock.clone(),
    })
    .await
    .unwrap();
    let ev = |v: serde_json::Value| {
        let mut e = kinds::parse_any(&v, clock.now()).unwrap();
        kinds::check(&mut e.fact).unwrap();
        e
    };
    let request = Request {
        events: vec![
            ev(json!({"siteRegistration": {"siteId": "s1", "name": "Site"}})),
            ev(
                json!({"deviceRegistration": {"siteId": "s1", "deviceId": "d1", "deviceType": "POS_TERMINAL", "tags": ["a"]}}),
            ),
            ev(
                json!({"deviceMetrics": {"deviceId": "d1", "occurredAt": "2026-11-23T09:00:00Z", "cpuPercent": 12.5, "transactionVolume": "12.3456", "services": {"x": "UP"}}}),
            ),
            ev(json!({"deviceMetrics": {"deviceId": "d2", "occurredAt": "2026-11-23T09:00:00Z"}})),
            ev(
                json!({"deviceStateChange": {"deviceId": "d1", "newState": "ONLINE", "eventId": "00000000-0000-0000-0000-000000000001"}}),
            ),
            ev(json!({"deviceStateChange": {"deviceId": "d1", "newState": "ERROR"}})),
        ],
        expect: None,
    };
    let a = store.append(request.clone()).await.unwrap();
    println!("{a:?}");
    let b = store.append(request).await.unwrap();
    println!("{b:?}");
    assert_eq!(a.outcomes[0], Outcome::Recorded(Position(1)));
    assert_eq!(b.outcomes[2], Outcome::Duplicate(Position(3)));
    let s = store.after(Position(0), 100).await.unwrap();
    for e in &s.events {
        println!("{e:?}");
    }
    let mut tail = store.tail(Position(0), None);
    let x = tail.next().await.unwrap();
    println!("{}", x.len());
    tasks.stop().await;
}
