//! What is read of devices as of an instant is what all that happened until then is told to, whatever of it the
//! projection has folded, wherever it is kept, and nothing that happened later.

use std::sync::Arc;

use homepot_analytics::event::{Instant, NewEvent, Provenance};
use homepot_analytics::held::{Ask, DeviceRead, Held};
use homepot_analytics::insights::anomaly::{self, References, Subject};
use homepot_analytics::insights::device::DeviceHour;
use homepot_analytics::insights::input::Measure;
use homepot_analytics::insights::replay::{self, Answer, Question, Unusual};
use homepot_analytics::insights::risk::{entries, features};
use homepot_analytics::store::EntityType;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sea_orm::TransactionTrait as _;
use serde_json::{Value, json};

use super::histories::{
    events, fold, history, minute, open, reading, record, shuffled, start, told,
};
use super::insights::insights;
use super::segments::archive_before;
use crate::support::{Database, TestLog, at, contract, event};

contract![
    a_past_instant_is_read_as_it_was_then,
    what_is_not_folded_yet_is_folded_in_memory,
    an_answer_is_what_a_replay_comes_to,
    what_comes_late_is_read_at_once,
    many_devices_are_read_lean_like_each_alone,
    one_that_comes_back_is_read_among_many_like_alone,
    provenances_are_kept_apart_and_what_is_real_is_preferred,
    a_device_that_is_not_registered_is_not_read,
    the_first_event_of_a_log_is_known,
];

const DEVICES: [&str; 3] = ["d1", "d2", "d3"];
const DAYS: i64 = 5;

fn key(log: &TestLog, id: &str) -> i64 {
    log.names().key(EntityType::Device, id).unwrap()
}

const fn ask(as_of: Instant) -> Ask {
    let provenance = None;
    Ask { as_of, provenance }
}

/// A device as of an instant.
async fn read(log: &TestLog, id: &str, as_of: Instant) -> Arc<DeviceRead> {
    let held = Held::new(log.handle());
    let read = held.devices(&[key(log, id)], ask(as_of)).await.unwrap();
    let [Some(read)] = &read[..] else {
        panic!("{id} is not read");
    };
    Arc::clone(read)
}

/// Each device is read as what is told of it comes to, at some instants.
async fn is_read_as_told(log: &TestLog, instants: &[Instant]) {
    let all = events(log).await;
    for as_of in instants.iter().copied() {
        for id in DEVICES {
            let read = read(log, id, as_of).await;
            let (state, opened) = told(&all, id, as_of);
            assert_eq!(*read.state, state, "{id} as of {as_of}");
            let mut open = opened.hour();
            // what errors say is not read
            open.errors
                .iter_mut()
                .for_each(|error| error.message.clear());
            assert_eq!(read.open, open, "{id} as of {as_of}");
            assert_eq!(read.samples, opened.samples, "{id} as of {as_of}");
            assert_eq!(read.device.id, id);
            assert_eq!(read.as_of, as_of);
            let is_read = |at: Instant| at <= as_of;
            assert!(read.configs.iter().all(|config| is_read(config.at)));
        }
    }
}

/// Some instants of the history, full hours and others.
fn instants(seed: u64) -> Vec<Instant> {
    let mut random = StdRng::seed_from_u64(seed);
    let end = DAYS * 1_440;
    let random = (0..6).map(|_| minute(random.random_range(1..end)).plus_ms(31_000));
    let chosen = [1, 60, 1_440, 2_900, 4_320, end - 60, end - 1].map(minute);
    random.chain(chosen).collect()
}

async fn a_past_instant_is_read_as_it_was_then(database: Database) {
    let (_own, log) = open(&database, "past").await;
    record(&log, &shuffled(history(&DEVICES, DAYS), 1), 500).await;
    fold(&log).await;
    is_read_as_told(&log, &instants(1)).await;
    assert!(archive_before(&log, at("2026-11-21T12:00:00Z"), log.head()).await > 500);
    is_read_as_told(&log, &instants(2)).await;
    log.close().await;
}

async fn what_is_not_folded_yet_is_folded_in_memory(database: Database) {
    let (_own, log) = open(&database, "unfolded").await;
    let all = history(&DEVICES, DAYS);
    let (some, others) = all.split_at(all.len() / 2);
    record(&log, some, 500).await;
    // of none
    is_read_as_told(&log, &instants(3)[..4]).await;
    fold(&log).await;
    record(&log, others, 500).await;
    // of half of it
    is_read_as_told(&log, &instants(4)).await;
    log.close().await;
}

async fn an_answer_is_what_a_replay_comes_to(database: Database) {
    let (_own, log) = open(&database, "replayed").await;
    record(&log, &shuffled(history(&DEVICES, DAYS), 5), 500).await;
    fold(&log).await;
    let facts: Vec<_> = events(&log)
        .await
        .iter()
        .map(|event| event.fact.clone())
        .collect();
    for measure in [Measure::CpuPercent, Measure::TransactionCount] {
        for as_of in instants(5) {
            let question = Question {
                device: "d1".to_owned(),
                at: as_of,
                timestamp: as_of.to_string(),
            };
            let replayed = replay::replay(&facts, &[question], &mut Unusual::new(measure));
            let read = read(&log, "d1", as_of).await;
            let subject = Subject {
                measure,
                zone: read.zone,
                references: References::default(),
            };
            let none = anomaly::State::default();
            let state = read.state.anomalies.get(&measure).unwrap_or(&none);
            let samples = read.samples.get(&measure).map_or(&[][..], Vec::as_slice);
            let insight = anomaly::read(state, &subject, samples, as_of);
            assert_eq!(
                Answer::of(&insight),
                replayed[0],
                "{measure:?} as of {as_of}"
            );
        }
    }
    log.close().await;
}

async fn what_comes_late_is_read_at_once(database: Database) {
    let (own, log) = open(&database, "late").await;
    record(&log, &history(&DEVICES, DAYS), 500).await;
    fold(&log).await;
    // the projection has seen it, and has not folded it again
    record(
        &log,
        &[reading("d1", 1_445), reading("d2", DAYS * 1_440 - 65)],
        2,
    )
    .await;
    let all = events(&log).await;
    let late: Vec<_> = all[all.len() - 2..].iter().map(|event| &**event).collect();
    let db = own.connect().await;
    let tx = db.begin().await.unwrap();
    insights().apply(&tx, &late).await.unwrap();
    tx.commit().await.unwrap();
    db.close().await.unwrap();
    assert_eq!(own.number("SELECT count(*) FROM insight_due").await, 2);
    is_read_as_told(&log, &instants(6)).await;
    log.close().await;
}

async fn many_devices_are_read_lean_like_each_alone(database: Database) {
    let (_own, log) = open(&database, "lean").await;
    record(&log, &history(&DEVICES, DAYS), 500).await;
    let more = &many()[..40];
    record(&log, more, 40).await;
    let open = json!({"errorLog": {"deviceId": "d2", "category": "DEVICE", "severity": "CRITICAL",
        "errorMessage": "no paper", "occurredAt": minute(DAYS * 1_440 - 5).to_string()}});
    record(&log, &[event(&open)], 1).await;
    fold(&log).await;
    let held = Held::new(log.handle());
    let end = minute(DAYS * 1_440);
    // within the hour that is open, twice, since what was read is held; and at one that is past
    for as_of in [end.plus_ms(-1), end.plus_ms(-1), minute(1_999)] {
        let lean = held.lean(None, ask(as_of)).await.unwrap();
        assert_eq!(lean.len(), DEVICES.len() + more.len());
        let keys: Vec<i64> = lean.iter().map(|one| one.key).collect();
        let whole = held.devices(&keys, ask(as_of)).await.unwrap();
        let some = held.lean(Some(&keys[..2]), ask(as_of)).await.unwrap();
        assert_eq!(some.len(), 2);
        for (lean, whole) in lean.iter().zip(&whole) {
            let whole = whole.as_ref().unwrap();
            assert_eq!(lean.key, whole.key);
            assert_eq!(lean.site_key, whole.site_key);
            assert_eq!(lean.device, whole.device);
            assert_eq!(lean.zone, whole.zone);
            assert_eq!(
                *lean.risk, whole.state.risk,
                "{} as of {as_of}",
                whole.device.id
            );
            assert_eq!(lean.open.errors, whole.open.errors);
            assert_eq!(lean.open.states, whole.open.states);
            assert_eq!(lean.open.configs, whole.open.configs);
        }
    }
    // an hour later nothing is measured yet, and that it was heard of is known
    let later = end.plus_ms(60_000);
    let more = [reading("d1", DAYS * 1_440)];
    record(&log, &more, 1).await;
    fold(&log).await;
    let lean = held
        .lean(Some(&[key(&log, "d1")]), ask(later))
        .await
        .unwrap();
    let whole = read(&log, "d1", later).await;
    assert_eq!(lean[0].risk.hours_seen, whole.state.risk.hours_seen);
    assert_eq!(lean[0].risk.last_measured, whole.state.risk.last_measured);
    log.close().await;
}

/// Registrations of more devices than are looked for one by one.
fn many() -> Vec<NewEvent> {
    let registered = |number: i64| {
        event(
            &json!({"deviceRegistration": {"deviceId": format!("n{number}"), "siteId": "s1",
            "deviceType": "GATEWAY", "occurredAt": "2026-10-02T00:00:00Z"}}),
        )
    };
    (0..1_100).map(registered).collect()
}

async fn one_that_comes_back_is_read_among_many_like_alone(database: Database) {
    let (own, log) = open(&database, "returned").await;
    record(&log, &many(), 500).await;
    record(&log, &history(&["d1"], 1), 500).await;
    record(&log, &history(&["d2", "d3"], DAYS), 500).await;
    fold(&log).await;
    // two hours before the end, which is over and not folded; and many errors in the hour that is open
    let end = DAYS * 1_440;
    let returned = |number: i64, kind: &str, mut fields: Value| {
        fields["deviceId"] = json!("d1");
        fields["occurredAt"] = json!(minute(number).to_string());
        event(&json!({ kind: fields }))
    };
    let error = |severity: &str| json!({"category": "DEVICE", "severity": severity, "errorCode": "E9", "errorMessage": "no paper"});
    let mut more = vec![
        reading("d1", end - 120),
        returned(end - 119, "deviceStateChange", json!({"newState": "ERROR"})),
        returned(end - 118, "errorLog", error("CRITICAL")),
    ];
    more.extend((1..40).map(|number| returned(end - number, "errorLog", error("ERROR"))));
    record(&log, &more, 500).await;
    let all = events(&log).await;
    let late: Vec<_> = all[all.len() - more.len()..]
        .iter()
        .map(|event| &**event)
        .collect();
    let db = own.connect().await;
    let tx = db.begin().await.unwrap();
    insights().apply(&tx, &late).await.unwrap();
    tx.commit().await.unwrap();
    db.close().await.unwrap();
    assert_eq!(own.number("SELECT count(*) FROM insight_due").await, 1);
    let held = Held::new(log.handle());
    let as_of = minute(end).plus_ms(-1);
    let d1 = key(&log, "d1");
    let whole = read(&log, "d1", as_of).await;
    let alone = held.lean(Some(&[d1]), ask(as_of)).await.unwrap();
    let among = held.lean(None, ask(as_of)).await.unwrap();
    assert_eq!(among.len(), DEVICES.len() + 1_100);
    let among = among.into_iter().filter(|lean| lean.key == d1);
    for lean in alone.into_iter().chain(among) {
        let is_told = |state: &features::State, open: &DeviceHour| {
            let state = state.with_open(&open.open_facts(), as_of);
            let day = Instant(as_of.0 - 24 * 3_600_000_000);
            let errors: Vec<entries::Seen> = state.errors_between(day, as_of).copied().collect();
            (errors, state.states, state.failures)
        };
        let expected = is_told(&whole.state.risk, &whole.open);
        assert_eq!(expected.0.iter().map(|seen| seen.count).sum::<u32>(), 40);
        assert_eq!(is_told(&lean.risk, &lean.open), expected);
        assert!(lean.open.errors.is_empty(), "they are counted");
    }
    log.close().await;
}

async fn provenances_are_kept_apart_and_what_is_real_is_preferred(database: Database) {
    let (own, log) = open(&database, "provenances").await;
    let mut made_up = history(&["d1", "d2"], 2);
    for event in &mut made_up {
        event.fact.provenance = Provenance::Simulated;
    }
    record(&log, &made_up, 500).await;
    let real: Vec<_> = (3 * 144..4 * 144)
        .map(|step| reading("d1", step * 10))
        .collect();
    record(&log, &real, 500).await;
    // what people do to a made up device is real, and makes nothing of it real
    let by_people = json!({"configurationChange": {"entityType": "DEVICE", "entityId": "d2",
        "parameterName": "p", "newValue": 1, "changedBy": "ops", "occurredAt": minute(100).to_string()}});
    record(&log, &[event(&by_people)], 1).await;
    fold(&log).await;
    assert_eq!(own.number("SELECT count(*) FROM device_insights").await, 4);
    let as_of = minute(4 * 1_440);
    let (one, other) = (read(&log, "d1", as_of).await, read(&log, "d2", as_of).await);
    assert_eq!(one.provenance, Provenance::Real);
    assert_eq!(one.state.first, Some(minute(3 * 1_440)));
    assert_eq!(other.provenance, Provenance::Simulated);
    assert_eq!(other.state.first, Some(start()));
    let changes = other.configs.iter().map(|change| change.parameter.as_str());
    assert_eq!(changes.collect::<Vec<_>>(), ["p", "printer.density"]);
    // before anything real happened to it
    let before = read(&log, "d1", minute(1_440)).await;
    assert_eq!(before.provenance, Provenance::Simulated);
    let held = Held::new(log.handle());
    let asked = Ask {
        as_of,
        provenance: Some(Provenance::Simulated),
    };
    let keys = [key(&log, "d1"), key(&log, "d2")];
    for read in held.devices(&keys, asked).await.unwrap() {
        assert_eq!(read.unwrap().state.first, Some(start()));
    }
    for lean in held.lean(None, asked).await.unwrap() {
        assert_eq!(lean.provenance, Provenance::Simulated);
    }
    log.close().await;
}

async fn a_device_that_is_not_registered_is_not_read(database: Database) {
    let (_own, log) = open(&database, "unknown").await;
    let site = log.names().key(EntityType::Site, "s1").unwrap();
    let held = Held::new(log.handle());
    let keys = [key(&log, "d2"), 9_999, site, key(&log, "d1")];
    let read = held.devices(&keys, ask(minute(0))).await.unwrap();
    let ids = read
        .iter()
        .map(|read| read.as_ref().map(|read| read.device.id.as_str()));
    assert_eq!(
        ids.collect::<Vec<_>>(),
        [Some("d2"), None, None, Some("d1")]
    );
    // nothing was heard of it
    assert_eq!(read[0].as_ref().unwrap().state.first, None);
    let lean = held.lean(Some(&keys), ask(minute(0))).await.unwrap();
    assert_eq!(lean.len(), 2);
    log.close().await;
}

async fn the_first_event_of_a_log_is_known(database: Database) {
    let own = database.empty("first").await;
    let log = own.open().await;
    let held = Held::new(log.handle());
    assert_eq!(held.first_event().await.unwrap(), None);
    let site = json!({"siteRegistration": {"siteId": "s1", "name": "s1",
        "occurredAt": "2026-03-01T00:00:00Z"}});
    record(&log, &[event(&site)], 1).await;
    let first = Some(at("2026-03-01T00:00:00Z"));
    assert_eq!(held.first_event().await.unwrap(), first);
    fold(&log).await;
    assert_eq!(held.first_event().await.unwrap(), first);
    log.close().await;
}
