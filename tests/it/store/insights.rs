//! Laws of what is kept of devices for their insights: it is a function of what happened, in whatever order that came,
//! wherever it is kept by now, and however it was cut into parts.

use std::sync::Arc;

use homepot_analytics::event::Position;
use homepot_analytics::insights::device::{DeviceState, Encoded};
use homepot_analytics::kinds::Kind;
use homepot_analytics::projections;
use homepot_analytics::store::{Deleting, Fold, Outcome};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sea_orm::TransactionTrait as _;
use serde_json::json;

use super::histories::{
    events, fold, history, kept, minute, open, reading, record, shuffled, start, told,
};
use super::segments::archive_before;
use crate::support::{Database, TestLog, at, contract, event};

contract![
    what_comes_late_or_twice_or_in_any_order_is_kept_as_if_it_came_in_order,
    what_is_kept_is_what_all_that_happened_is_told_to,
    what_is_kept_is_the_same_when_it_is_rebuilt_or_verified,
    what_was_archived_is_folded_like_what_was_not,
    months_are_folded_in_parts_of_which_a_kill_loses_none,
    a_late_registration_has_devices_folded_again_in_another_zone,
    what_was_folded_from_events_that_were_deleted_stays,
    what_is_of_another_form_is_folded_again,
    a_state_takes_sixteen_kilobytes_at_most,
];

const DEVICES: [&str; 3] = ["d1", "d2", "d3"];
const DAYS: i64 = 5;

async fn what_comes_late_or_twice_or_in_any_order_is_kept_as_if_it_came_in_order(
    database: Database,
) {
    let (in_order, log) = open(&database, "in_order").await;
    record(&log, &history(&DEVICES, DAYS), 500).await;
    fold(&log).await;
    log.close().await;
    let expected = kept(&in_order).await;
    assert!(expected.len() > DEVICES.len() * 3, "{}", expected.len());
    for seed in 0..3 {
        let (own, log) = open(&database, &format!("shuffled_{seed}")).await;
        let mut random = StdRng::seed_from_u64(seed);
        let arriving = shuffled(history(&DEVICES, DAYS), seed);
        let mut rest = arriving.as_slice();
        while !rest.is_empty() {
            let (some, others) = rest.split_at(rest.len().min(random.random_range(50..700)));
            log.record(some.to_vec()).await;
            if random.random_bool(0.5) {
                fold(&log).await;
            }
            rest = others;
        }
        // all of it comes again
        for some in arriving.chunks(500) {
            let outcomes = log.record(some.to_vec()).await;
            let is_known = |outcome: &Outcome| matches!(outcome, Outcome::Duplicate(_));
            assert!(outcomes.iter().all(is_known), "{outcomes:?}");
        }
        fold(&log).await;
        log.close().await;
        assert_eq!(kept(&own).await, expected, "seed {seed}");
    }
}

/// The state in use of a device.
async fn in_use(database: &Database, log: &TestLog, id: &str) -> DeviceState {
    let device = homepot_analytics::store::EntityType::Device;
    let key = log.names().key(device, id).unwrap();
    let sql = format!("SELECT risk, rest FROM device_insights WHERE device_key = {key}");
    let rows = database.query(&sql).await;
    let encoded = Encoded {
        risk: rows[0].try_get_by_index(0).unwrap(),
        rest: rows[0].try_get_by_index(1).unwrap(),
    };
    DeviceState::decode(&encoded).unwrap()
}

async fn what_is_kept_is_what_all_that_happened_is_told_to(database: Database) {
    let (own, log) = open(&database, "told").await;
    record(&log, &shuffled(history(&DEVICES, DAYS), 7), 300).await;
    fold(&log).await;
    let all = events(&log).await;
    let horizon = own.number("SELECT horizon_at FROM insight_horizon").await;
    // the newest is of ten minutes before midnight
    assert_eq!(horizon, minute(DAYS * 1_440 - 60).0);
    for id in DEVICES {
        let (expected, _) = told(&all, id, minute(DAYS * 1_440 - 60));
        assert_eq!(in_use(&own, &log, id).await, expected, "{id}");
    }
    log.close().await;
}

async fn what_is_kept_is_the_same_when_it_is_rebuilt_or_verified(database: Database) {
    let (own, log) = open(&database, "rebuilt").await;
    record(&log, &shuffled(history(&DEVICES, DAYS), 3), 400).await;
    fold(&log).await;
    let folded = kept(&own).await;
    let verified = log.verify(&projections::all(), &|_| {}).await.unwrap();
    assert_eq!(verified.findings, []);
    let rebuilt = projections::rebuild(&log.handle(), "insights", |_, _| {}).await;
    rebuilt.unwrap();
    assert_eq!(kept(&own).await, folded);
    own.execute("UPDATE device_insights SET upto = upto + 1")
        .await;
    let verified = log.verify(&projections::all(), &|_| {}).await.unwrap();
    let found = verified.findings.iter();
    let found: Vec<&str> = found.map(|finding| finding.detail.as_str()).collect();
    assert!(
        found
            .iter()
            .any(|detail| detail.starts_with("device_insights lacks 3")),
        "{found:?}"
    );
    log.close().await;
}

async fn what_was_archived_is_folded_like_what_was_not(database: Database) {
    let (own, log) = open(&database, "archived").await;
    let all = history(&DEVICES, DAYS);
    // some of what will be archived comes late
    let is_late = |index: &usize| index % 50 == 9;
    let (late, timely): (Vec<usize>, Vec<usize>) = (0..all.len()).partition(is_late);
    let timely: Vec<_> = timely.into_iter().map(|index| all[index].clone()).collect();
    let late: Vec<_> = late.into_iter().map(|index| all[index].clone()).collect();
    record(&log, &timely, 500).await;
    fold(&log).await;
    let archived = archive_before(&log, at("2026-11-21T12:00:00Z"), log.head()).await;
    assert!(archived > 500, "{archived}");
    record(&log, &late, 10).await;
    fold(&log).await;
    let folded = kept(&own).await;
    log.close().await;
    let (hot, log) = open(&database, "hot").await;
    record(&log, &all, 500).await;
    fold(&log).await;
    log.close().await;
    assert_eq!(folded, kept(&hot).await);
}

/// The projection alone.
pub(super) fn insights() -> Arc<dyn Fold> {
    let mut following = projections::following().into_iter();
    following.find(|fold| fold.name() == "insights").unwrap()
}

/// Does a part, or is killed while it does; answers from which hour on anything is due then.
async fn part(
    database: &Database,
    (fold, upto): (&dyn Fold, Position),
    is_killed: bool,
) -> Option<i64> {
    let db = database.connect().await;
    let tx = db.begin().await.unwrap();
    fold.go_on(&tx, upto).await.unwrap();
    if is_killed {
        tx.rollback().await.unwrap();
    } else {
        tx.commit().await.unwrap();
    }
    db.close().await.unwrap();
    let rows = database.query("SELECT min(from_at) FROM insight_due").await;
    rows[0].try_get_by_index(0).unwrap()
}

const MONTHS_DAYS: i64 = 40;

async fn months_are_folded_in_parts_of_which_a_kill_loses_none(database: Database) {
    let (own, log) = open(&database, "months").await;
    let first = -(MONTHS_DAYS - DAYS) * 1_440;
    let minutes = (0..MONTHS_DAYS * 24).map(|hour| first + hour * 60);
    let backlog: Vec<_> = minutes.map(|number| reading("d1", number)).collect();
    record(&log, &backlog, 500).await;
    // nothing of it is folded: it is only seen
    let (fold_alone, all) = (insights(), events(&log).await);
    let db = own.connect().await;
    let tx = db.begin().await.unwrap();
    let kinds = fold_alone.kinds();
    let seen: Vec<_> = all.iter().map(|event| &**event).collect();
    let seen: Vec<_> = seen
        .into_iter()
        .filter(|event| kinds.contains(&event.fact.kind))
        .collect();
    fold_alone.apply(&tx, &seen).await.unwrap();
    tx.commit().await.unwrap();
    db.close().await.unwrap();
    // a device that is registered late is due from its first event on, which is found out first
    let found = part(&own, (&*fold_alone, log.head()), false).await;
    assert_eq!(found, Some(minute(first).0));
    let (mut parts, mut due) = (0, found);
    while let Some(before) = due {
        let killed = part(&own, (&*fold_alone, log.head()), true).await;
        assert_eq!(killed, Some(before));
        due = part(&own, (&*fold_alone, log.head()), false).await;
        // no part is of more than a day
        assert!(due.is_none_or(|due| due > before && due - before <= 86_400_000_000));
        parts += 1;
    }
    assert_eq!(parts, MONTHS_DAYS);
    let folded = kept(&own).await;
    log.close().await;
    let (along, log) = open(&database, "along").await;
    for some in backlog.chunks(100) {
        record(&log, some, 100).await;
        fold(&log).await;
    }
    log.close().await;
    assert_eq!(kept(&along).await, folded);
}

async fn a_late_registration_has_devices_folded_again_in_another_zone(database: Database) {
    let (own, log) = open(&database, "moved").await;
    record(&log, &history(&DEVICES, DAYS), 500).await;
    fold(&log).await;
    let before = kept(&own).await;
    let moved = json!({"deviceRegistration": {"deviceId": "d1", "siteId": "s2",
        "deviceType": "POS_TERMINAL", "occurredAt": "2026-11-19T00:00:00Z"}});
    let zone = json!({"siteRegistration": {"siteId": "s1", "name": "s1",
        "timeZone": "America/New_York", "occurredAt": "2026-11-20T08:00:00Z"}});
    record(&log, &[event(&moved), event(&zone)], 1).await;
    fold(&log).await;
    assert_ne!(kept(&own).await, before);
    let all = events(&log).await;
    for id in DEVICES {
        let (expected, _) = told(&all, id, minute(DAYS * 1_440 - 60));
        assert_eq!(in_use(&own, &log, id).await, expected, "{id}");
    }
    let verified = log.verify(&projections::all(), &|_| {}).await.unwrap();
    assert_eq!(verified.findings, []);
    log.close().await;
}

async fn what_was_folded_from_events_that_were_deleted_stays(database: Database) {
    let (own, log) = open(&database, "deleted").await;
    record(&log, &history(&["d1", "d2"], DAYS), 500).await;
    fold(&log).await;
    let cut = at("2026-11-21T12:00:00Z");
    let kind = Kind::DeviceMetrics;
    while log.archive(kind, cut, log.head()).await.unwrap().is_some() {}
    let deleting = Deleting::all_before(kind, cut);
    while log.drop_segment(&deleting).await.unwrap().is_some() {}
    let before = kept(&own).await;
    // for a time of which the other events are gone
    record(&log, &[reading("d1", 1_445)], 1).await;
    fold(&log).await;
    assert_eq!(kept(&own).await, before);
    // for one that is whole, and by a device that was silent until then
    record(
        &log,
        &[
            reading("d1", DAYS * 1_440 - 65),
            reading("d3", DAYS * 1_440 - 65),
        ],
        2,
    )
    .await;
    fold(&log).await;
    let after = kept(&own).await;
    assert_ne!(after, before);
    let upto = |row: &&String| row.contains(&format!("|{}|", start().0));
    let first = |rows: &[String]| rows.iter().filter(upto).count();
    assert_eq!(
        first(&after),
        first(&before),
        "they still begin where they did"
    );
    let verified = log.verify(&projections::all(), &|_| {}).await.unwrap();
    assert_eq!(verified.findings, []);
    log.close().await;
}

async fn what_is_of_another_form_is_folded_again(database: Database) {
    let (own, log) = open(&database, "form").await;
    let all = history(&DEVICES, DAYS);
    let (last, others) = all.split_last().unwrap();
    record(&log, others, 500).await;
    fold(&log).await;
    let other = "UPDATE insight_horizon SET version = 0; \
        UPDATE device_insights SET version = 0, rest = risk; \
        UPDATE device_insight_days SET version = 0, rest = risk";
    own.execute(other).await;
    record(&log, std::slice::from_ref(last), 1).await;
    fold(&log).await;
    let folded = kept(&own).await;
    log.close().await;
    let (whole, log) = open(&database, "whole").await;
    record(&log, &all, 500).await;
    fold(&log).await;
    log.close().await;
    assert_eq!(folded, kept(&whole).await);
}

async fn a_state_takes_sixteen_kilobytes_at_most(database: Database) {
    let (own, log) = open(&database, "size").await;
    let readings = (-15 * 144..DAYS * 144).map(|step| reading("d1", step * 10));
    let mut all: Vec<_> = readings.collect();
    all.extend(history(&["d2"], DAYS));
    record(&log, &all, 900).await;
    fold(&log).await;
    let most = "SELECT CAST(max(length(risk) + length(rest)) AS BIGINT) FROM device_insights";
    let bytes = own.number(most).await;
    assert!((2_000..=16_000).contains(&bytes), "{bytes}");
    log.close().await;
}
