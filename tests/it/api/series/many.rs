//! Clients that make labels up: so many of them are told apart and all others together, nothing is lost, and what
//! is asked for by its label is found.

use std::collections::BTreeSet;

use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use super::super::app::{TestApp, on_each_database};

/// Codes of errors, more than are told apart.
const CODES: usize = 1_040;
const TOLD: usize = 1_000;

const QUERY: &str = "query($device: ID!, $by: [Dimension!], $codes: [LabelFilter!], $from: DateTime!, $to: DateTime!) { \
    series(measures: [ERRORS], from: $from, to: $to, groupBy: $by, fill: NONE, \
    filter: { deviceIds: [$device], labels: $codes }, buckets: { resolution: DAY, timeZone: \"UTC\" }) { \
    groups { key { value } isOther total { count } } } }";
const RANKED: &str = "query($device: ID!) { breakdown(measures: [ERRORS], by: ERROR_CODE, top: 2, \
    from: \"2026-11-22T00:00:00Z\", to: \"2026-11-23T00:00:00Z\", filter: { deviceIds: [$device] }) { \
    lists { things value rows { isOther things value } } } \
    errorStats(from: \"2026-11-22T00:00:00Z\", to: \"2026-11-23T00:00:00Z\", top: 1000, \
    filter: { deviceIds: [$device] }) { total byCode { isOther count } bySeverity { value count } } }";

fn code(nth: usize) -> String {
    format!("C{nth:04}")
}

/// An error of each code, within so many minutes after ten.
async fn record(app: &TestApp, device: &str, minutes: usize) {
    let event = |nth: usize| {
        let severity = ["ERROR", "WARNING"][nth % 2];
        let at = format!(
            "2026-11-22T10:{:02}:{:02}Z",
            nth % minutes,
            nth / minutes % 60
        );
        json!({ "errorLog": { "category": "DEVICE", "severity": severity, "errorMessage": "x",
            "errorCode": code(nth), "deviceId": device, "occurredAt": at } })
    };
    let events: Vec<Value> = (0..CODES).map(event).collect();
    for part in events.chunks(260) {
        app.record(json!(part)).await;
    }
}

/// The groups of an answer: what each is of, whether it is of others, and how many errors it has.
async fn groups(app: &TestApp, of: (&str, &[&str], &[&String], [&str; 2])) -> Vec<Value> {
    let (device, by, codes, [from, to]) = of;
    let mut asked = json!({ "device": device, "by": by, "from": from, "to": to });
    if !codes.is_empty() {
        asked["codes"] = json!([{ "dimension": "ERROR_CODE", "in": codes }]);
    }
    let answer = app.data_with(QUERY, asked).await;
    let groups = answer["series"]["groups"].as_array().unwrap().iter();
    let told = |group: &Value| {
        json!([
            group["key"][0]["value"],
            group["isOther"],
            group["total"]["count"]
        ])
    };
    groups.map(told).collect()
}

const DAY: [&str; 2] = ["2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"];

/// How many errors there are of some codes, of none in particular when none are given.
async fn count(app: &TestApp, device: &str, codes: &[&String], range: [&str; 2]) -> f64 {
    let groups = groups(app, (device, &[], codes, range)).await;
    groups.iter().map(|group| group[2].as_f64().unwrap()).sum()
}

fn counted(many: usize) -> f64 {
    num_traits::AsPrimitive::as_(many)
}

async fn all_is_told(app: &TestApp, device: &str) {
    let groups_of = groups(app, (device, &["ERROR_CODE"], &[], DAY)).await;
    let (of_others, of_told): (Vec<&Value>, Vec<&Value>) =
        groups_of.iter().partition(|group| group[1] == true);
    assert_eq!(of_others, [&json!([null, true, counted(CODES - TOLD)])]);
    assert!(of_told.iter().all(|group| group[2] == 1.0));
    // nobody can tell beforehand which they are
    let told = of_told
        .iter()
        .map(|group| group[0].as_str().unwrap().to_owned());
    let told: BTreeSet<String> = told.collect();
    assert_eq!(told.len(), TOLD);
    let mut others: Vec<String> = (0..CODES).map(code).collect();
    others.retain(|code| !told.contains(code));
    assert_eq!(others.len(), CODES - TOLD);
    // of labels of few values nothing is told together
    let by_severity = groups(app, (device, &["ERROR_SEVERITY"], &[], DAY)).await;
    let half = counted(CODES / 2);
    assert_eq!(
        by_severity,
        [
            json!(["ERROR", false, half]),
            json!(["WARNING", false, half])
        ]
    );
    // what is asked for by its code is found
    let first = told.first().unwrap();
    assert_eq!(
        count(app, device, &[first], DAY).await.to_bits(),
        1.0_f64.to_bits()
    );
    let beyond: Vec<&String> = others.iter().collect();
    for asked in [&beyond[..1], &beyond[..], &[first, beyond[0]]] {
        let found = count(app, device, asked, DAY).await;
        assert_eq!(found.to_bits(), counted(asked.len()).to_bits(), "{asked:?}");
    }
}

async fn others_have_no_rank(app: &TestApp, device: &str) {
    let answer = app.data_with(RANKED, json!({ "device": device })).await;
    let list = &answer["breakdown"]["lists"][0];
    assert_eq!(list["things"], TOLD + 1);
    assert_eq!(list["value"], counted(CODES));
    assert_eq!(
        list["rows"],
        json!([{ "isOther": false, "things": 1, "value": 1.0 },
            { "isOther": false, "things": 1, "value": 1.0 },
            { "isOther": true, "things": TOLD - 1, "value": counted(CODES - 2) }])
    );
    let stats = &answer["errorStats"];
    assert_eq!(stats["total"], CODES.to_string());
    let by_code = stats["byCode"].as_array().unwrap();
    assert_eq!(by_code.len(), TOLD + 1);
    let others = (CODES - TOLD).to_string();
    assert_eq!(by_code[TOLD], json!({ "isOther": true, "count": others }));
    let half = (CODES / 2).to_string();
    assert_eq!(
        stats["bySeverity"],
        json!([{ "value": "ERROR", "count": half }, { "value": "WARNING", "count": half }])
    );
}

#[tokio::test]
async fn of_labels_that_are_made_up_so_many_are_told_apart_and_each_is_found() {
    on_each_database(async |app| {
        app.fleet().await;
        // too many for a quarter of an hour, and for an hour alone
        for (device, minutes) in [("till-1", 15), ("till-2", 60)] {
            record(app, device, minutes).await;
            all_is_told(app, device).await;
            others_have_no_rank(app, device).await;
            // a part of what is summed up is made of single events
            let cut = ["2026-11-22T10:05:00Z", "2026-11-22T10:10:00Z"];
            let within = (0..CODES).filter(|nth| (5..10).contains(&(nth % minutes)));
            let within = counted(within.count());
            assert_eq!(
                count(app, device, &[], cut).await.to_bits(),
                within.to_bits()
            );
        }
    })
    .await;
}

/// Deletes the errors of the day for good, of which there is one of each code.
async fn day_is_deleted(app: &TestApp) {
    app.clock.advance_ms(24 * 3_600 * 1_000);
    let set = "mutation { setRetentionPolicy(input: { kind: errorLog, archiveAfterDays: 1, \
        deleteAfterDays: 1 }) { userErrors { code } } }";
    let set = app.data(set).await;
    assert_eq!(set["setRetentionPolicy"]["userErrors"], json!([]));
    let run = "mutation { runRetention { kinds { kind deletedEvents } userErrors { code } } }";
    let run = app.data(run).await;
    let kinds = run["runRetention"]["kinds"].as_array().unwrap();
    let of = kinds.iter().find(|of| of["kind"] == "errorLog").unwrap();
    assert_eq!(of["deletedEvents"], CODES.to_string());
}

/// An older version ranked labels in another way, of which nothing is known any more.
#[tokio::test]
async fn what_an_older_version_did_not_tell_apart_is_found_below_also_when_its_events_are_gone() {
    on_each_database(async |app| {
        app.fleet().await;
        // too many for an hour, and not for a quarter of one
        record(app, "till-1", 60).await;
        app.settle().await;
        let told = groups(app, ("till-1", &["ERROR_CODE"], &[], DAY)).await;
        let told: BTreeSet<&str> = told.iter().filter_map(|group| group[0].as_str()).collect();
        let mut others: Vec<String> = (0..CODES).map(code).collect();
        others.retain(|code| !told.contains(code.as_str()));
        assert_eq!(others.len(), CODES - TOLD);
        day_is_deleted(app).await;
        app.stop().await;
        let older = "ALTER TABLE log_head DROP COLUMN label_secret; \
            DELETE FROM seaql_migrations WHERE version = 'm0027_label_secret'";
        let database = app.database().await;
        database.execute_unprepared(older).await.unwrap();
        database.close().await.unwrap();
        app.start_again().await;
        app.settle().await;
        for code in &others {
            let found = count(app, "till-1", &[code], DAY).await;
            assert_eq!(found.to_bits(), 1.0_f64.to_bits(), "{code}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_label_that_reads_like_the_others_is_one_of_its_own() {
    on_each_database(async |app| {
        app.fleet().await;
        let names = ["(other)", "{\"other\":true}"].map(str::to_owned);
        let events = names.iter().map(|code| {
            json!({ "errorLog": { "category": "DEVICE", "severity": "ERROR", "errorMessage": "x",
                "errorCode": code, "deviceId": "till-1", "occurredAt": "2026-11-22T10:00:00Z" } })
        });
        app.record(events.collect()).await;
        let told = groups(app, ("till-1", &["ERROR_CODE"], &[], DAY)).await;
        assert_eq!(told, names.clone().map(|code| json!([code, false, 1.0])));
        for code in &names {
            assert_eq!(
                count(app, "till-1", &[code], DAY).await.to_bits(),
                1.0_f64.to_bits()
            );
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_summed_up_and_lies_within_is_not_read_again_with_what_is_cut() {
    on_each_database(async |app| {
        app.fleet().await;
        let error = |code: &str, at: &str| {
            json!({ "errorLog": { "category": "DEVICE", "severity": "ERROR", "errorMessage": "x",
                "errorCode": code, "deviceId": "till-1", "occurredAt": format!("2026-11-22T{at}:00Z") } })
        };
        // of one quarter of an hour: all of A is asked for, and a part of B
        app.record(json!([error("A", "10:08"), error("B", "10:01"), error("B", "10:12")]))
            .await;
        let range = ["2026-11-22T10:07:00Z", "2026-11-22T11:00:00Z"];
        let told = groups(app, ("till-1", &["ERROR_CODE"], &[], range)).await;
        assert_eq!(told, [json!(["A", false, 1.0]), json!(["B", false, 1.0])]);
    })
    .await;
}
