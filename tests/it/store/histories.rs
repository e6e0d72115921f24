//! Some days of a few devices, and what is kept of a device as they are told one by one: what all that is folded is
//! compared with.

use std::sync::Arc;

use homepot_analytics::event::{Event, Instant, NewEvent, Position};
use homepot_analytics::insights::device::DeviceState;
use homepot_analytics::insights::kept::Kept;
use homepot_analytics::insights::replay::{Known, Open, device_of, told_before};
use homepot_analytics::insights::sites::Sites;
use homepot_analytics::projections::{self, Runner};
use homepot_analytics::store::Store;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::{Value as Json, json};

use crate::support::{Database, TestLog, at, event};

/// When the history begins.
pub(super) fn start() -> Instant {
    at("2026-11-18T00:00:00Z")
}

/// So many minutes after it has begun.
pub(super) fn minute(number: i64) -> Instant {
    start().plus_ms(number * 60_000)
}

/// Registrations of a site in India with two devices, and of one in Japan with another.
pub(super) fn fleet() -> Vec<NewEvent> {
    let on = "2026-10-01T00:00:00Z";
    let site = |id: &str, zone: &str| {
        event(&json!({"siteRegistration":
            {"siteId": id, "name": id, "timeZone": zone, "occurredAt": on}}))
    };
    let device = |id: &str, site: &str| {
        event(
            &json!({"deviceRegistration": {"deviceId": id, "siteId": site,
            "deviceType": "POS_TERMINAL", "model": "M1", "occurredAt": on}}),
        )
    };
    let open = |day: &str| {
        event(
            &json!({"siteSchedule": {"siteId": "s1", "dayOfWeek": day, "openTime": "08:00",
            "closeTime": "20:00", "occurredAt": on}}),
        )
    };
    vec![
        site("s1", "Asia/Kolkata"),
        site("s2", "Asia/Tokyo"),
        device("d1", "s1"),
        device("d2", "s1"),
        device("d3", "s2"),
        open("WEDNESDAY"),
        open("THURSDAY"),
    ]
}

fn id(device: &str, number: i64) -> String {
    let device: u128 = device.bytes().map(u128::from).sum();
    let number = u128::try_from(number).unwrap();
    uuid::Uuid::from_u128((device << 64) | number).to_string()
}

/// What a device measures in a minute.
pub(super) fn reading(device: &str, number: i64) -> NewEvent {
    let wave = (number * 7_919).rem_euclid(97);
    event(&json!({"deviceMetrics": {"deviceId": device,
        "cpuPercent": 20 + wave % 40, "memoryPercent": 50 + wave % 7, "diskPercent": 60,
        "networkLatencyMs": 10 + wave, "transactionCount": number.rem_euclid(1_440) / 7,
        "errorRatePercent": 0.5, "uptimeSeconds": (number * 60).rem_euclid(400_000),
        "collectionIntervalSeconds": 600, "occurredAt": minute(number).to_string()}}))
}

fn other(device: &str, (number, kind): (i64, &str), fields: &Json) -> NewEvent {
    let mut fields = fields.clone();
    fields["eventId"] = json!(id(device, number));
    fields["occurredAt"] = json!(minute(number).to_string());
    event(&json!({ kind: fields }))
}

/// What goes wrong with a device at some minutes, and what is done to it.
fn others(device: &str, number: i64) -> Vec<NewEvent> {
    let error = json!({"deviceId": device, "category": "DEVICE", "severity": "ERROR",
        "errorCode": format!("E{}", number % 3), "errorMessage": "printer is out of paper"});
    let state = |to: &str| json!({"deviceId": device, "newState": to});
    let change = json!({"entityType": "DEVICE", "entityId": device,
        "parameterName": "printer.density", "newValue": number, "changedBy": "ops"});
    let job = json!({"jobId": format!("job-{number}"), "jobType": "UPDATE", "scope": "DEVICE",
        "status": "COMPLETED", "durationMs": 5_000, "deviceId": device});
    let one = match number {
        430 => ("deviceStateChange", state("ONLINE")),
        1_990 => ("deviceStateChange", state("ERROR")),
        2_050 => ("deviceStateChange", state("ONLINE")),
        2_710 => ("configurationChange", change),
        4_870 => ("jobOutcome", job),
        number if number % 370 == 0 => ("errorLog", error),
        _ => return Vec::new(),
    };
    let (kind, fields) = one;
    // a minute after what is measured
    vec![other(device, (number + 1, kind), &fields)]
}

/// All that some devices say in so many days, in order of time. On the third they say nothing.
pub(super) fn history(devices: &[&str], days: i64) -> Vec<NewEvent> {
    let minutes = (0..days * 144).map(|step| step * 10);
    let minutes = minutes.filter(|number| number / 1_440 != 2);
    let events = minutes.flat_map(|number| {
        devices.iter().flat_map(move |device| {
            let mut events = vec![reading(device, number)];
            events.extend(others(device, number));
            events
        })
    });
    events.collect()
}

/// Events in some order of their own.
pub(super) fn shuffled(mut events: Vec<NewEvent>, seed: u64) -> Vec<NewEvent> {
    events.shuffle(&mut StdRng::seed_from_u64(seed));
    events
}

/// Records events in requests of some size.
pub(super) async fn record(log: &TestLog, events: &[NewEvent], size: usize) {
    for events in events.chunks(size) {
        log.record(events.to_vec()).await;
    }
}

/// Folds all that is recorded.
pub(super) async fn fold(log: &TestLog) {
    let runner = Runner::new(log.handle(), projections::following());
    let head = log.committed_head().await.unwrap();
    runner.follow(Some(head)).await.unwrap();
}

/// A log on a database of its own with the fleet.
pub(super) async fn open(database: &Database, name: &str) -> (Database, TestLog) {
    let own = database.empty(name).await;
    let log = own.open().await;
    record(&log, &fleet(), 100).await;
    (own, log)
}

/// The rows of a table, as texts, in order.
async fn rows(database: &Database, (table, numbers): (&str, &str), bytes: &[&str]) -> Vec<String> {
    let shown = bytes.iter().map(|column| {
        if database.is_sqlite() {
            format!("hex({column})")
        } else {
            format!("encode({column}, 'hex')")
        }
    });
    let numbers = numbers
        .split(", ")
        .map(|column| format!("CAST({column} AS TEXT)"));
    let columns: Vec<String> = numbers.chain(shown).collect();
    let sql = format!("SELECT {} FROM {table}", columns.join(" || '|' || "));
    let rows = database.query(&sql).await;
    let texts = rows.iter().map(|row| row.try_get_by_index(0).unwrap());
    let mut texts: Vec<String> = texts.collect();
    texts.sort();
    texts
}

/// All that is kept of devices, as texts.
pub(super) async fn kept(database: &Database) -> Vec<String> {
    let (mut all, bytes) = (Vec::new(), ["risk", "rest"]);
    let states = "device_key, provenance, version, upto, first_at, measured_at, mark";
    all.extend(rows(database, ("device_insights", states), &bytes).await);
    let days = "device_key, provenance, until_at, version, upto";
    all.extend(rows(database, ("device_insight_days", days), &bytes).await);
    let open = "hour_at, device_key, provenance";
    all.extend(rows(database, ("insight_open", open), &[]).await);
    all.extend(
        rows(
            database,
            ("insight_horizon", "id, horizon_at, version"),
            &[],
        )
        .await,
    );
    all.extend(
        rows(
            database,
            ("insight_due", "device_key, provenance, from_at"),
            &[],
        )
        .await,
    );
    all
}

/// All events of a log.
pub(super) async fn events(store: &Store) -> Vec<Arc<Event>> {
    let (mut tail, mut events) = (store.tail(Position::START, None), Vec::new());
    while tail.position() < store.head() {
        events.extend(tail.next().await.unwrap());
    }
    events
}

/// What is kept of a device, and what its open hour brought, when all that happened until an instant is told in order.
pub(super) fn told(events: &[Arc<Event>], id: &str, as_of: Instant) -> (DeviceState, Open) {
    let mut sites = Sites::default();
    sites.take(events.iter().map(|event| &**event));
    let is_told = |event: &&Arc<Event>| {
        let fact = &event.fact;
        let is_of_device = !Known::is_registration(fact) && device_of(fact) == Some(id);
        is_of_device && fact.occurred_at <= as_of
    };
    let mut of_device: Vec<&Arc<Event>> = events.iter().filter(is_told).collect();
    of_device.sort_by(|left, right| told_before(&left.fact, &right.fact));
    let mut kept = Kept::new(id, DeviceState::default(), &sites);
    for event in of_device {
        kept.take(&event.fact, event.recorded_at, |_, _| {});
    }
    kept.close(as_of, |_, _| {});
    kept.ended(as_of)
}
