//! What insights say of a fleet of which little is known yet: twelve devices in 6.2 days.

use serde_json::{Value, json};

use super::app::{TestApp, at, on_each_database, texts};
use super::insights::folded;

/// Minutes of the 6.2 days.
const SPAN: i64 = 8_928;

fn device(number: i64) -> String {
    format!("pos-{number:02}")
}

/// When something happened, so many minutes after the beginning.
fn after(minutes: i64) -> String {
    at(minutes - SPAN)
}

/// 538 readings: 45 of ten devices and 44 of two, of each the first at the beginning and the last now.
fn readings() -> Vec<Value> {
    let of = |number: i64| {
        let count = if number < 10 { 45 } else { 44 };
        (0..count).map(move |index| {
            let minutes = if index == count - 1 {
                SPAN
            } else {
                index * 202
            };
            json!({ "deviceMetrics": { "deviceId": device(number), "occurredAt": after(minutes),
                "cpuPercent": 30 + index % 5, "networkLatencyMs": 40 + index % 7,
                "collectionIntervalSeconds": 30 } })
        })
    };
    (0..12).flat_map(of).collect()
}

/// 58 outages of half an hour: six of each of three devices, five of each of eight, and none of one.
fn outages() -> Vec<Value> {
    let of = |number: i64| {
        let count = [6, 5, 0][usize::from(number >= 3) + usize::from(number >= 11)];
        (0..count).flat_map(move |index| {
            let begin = 100 + index * 1_400;
            let change = |state: &str, minutes: i64| {
                json!({ "deviceStateChange": { "deviceId": device(number), "newState": state,
                    "occurredAt": after(minutes) } })
            };
            [change("OFFLINE", begin), change("ONLINE", begin + 30)]
        })
    };
    (0..12).flat_map(of).collect()
}

/// 10 errors, 4 changes of the configuration and 4 jobs.
fn others() -> Vec<Value> {
    let errors = (0..10).map(|number| {
        json!({ "errorLog": { "category": "DEVICE", "severity": "ERROR", "errorMessage": "printer jam",
            "errorCode": "E-7", "deviceId": device(number), "occurredAt": after(SPAN - 3_000 + number) } })
    });
    let changes = (0..4).map(|number| {
        json!({ "configurationChange": { "entityType": "DEVICE", "entityId": device(number),
            "parameterName": "retry.limit", "newValue": number, "changedBy": "me", "occurredAt": at(-60) } })
    });
    let jobs = (0..4).map(|number| {
        json!({ "jobOutcome": { "jobId": format!("job-{number}"), "jobType": "RESTART", "status": "COMPLETED",
            "deviceId": device(number), "occurredAt": at(-120) } })
    });
    errors.chain(changes).chain(jobs).collect()
}

pub(super) async fn cold(app: &TestApp) {
    let site = json!({ "siteRegistration": { "siteId": "harbour", "name": "Harbour", "timeZone": "Europe/London",
        "occurredAt": at(-SPAN - 10) } });
    let devices = (0..12).map(|number| {
        json!({ "deviceRegistration": { "deviceId": device(number), "siteId": "harbour",
            "deviceType": "POS_TERMINAL", "occurredAt": at(-SPAN - 5) } })
    });
    app.record(std::iter::once(site).chain(devices).collect())
        .await;
    let (readings, outages) = (readings(), outages());
    assert_eq!((readings.len(), outages.len()), (538, 116));
    app.record([readings, outages, others()].concat().into())
        .await;
    folded(app).await;
}

/// A figure as it is shown, with so many decimals.
fn shown(value: &Value, decimals: usize) -> String {
    let number = value
        .as_f64()
        .unwrap_or_else(|| panic!("no number: {value}"));
    format!("{number:.decimals$}")
}

#[tokio::test]
async fn the_fleet_fails_once_in_thirty_hours_and_a_device_that_never_did_is_not_without_end() {
    on_each_database(async |app| {
        cold(app).await;
        let document = "{ fleet: reliability { value interval { low high level } status failures watchedHours devices
                devicesDown mtbfHours { value low high } evidence { events } isFlapping }
            site: reliability(siteId: \"harbour\") { value site { siteId } }
            never: reliability(deviceId: \"pos-11\") { value interval { low high } reasons { sentence } failures
                device { deviceId } mtbfHours { low high } } }";
        let data = app.data(document).await;
        let fleet = &data["fleet"];
        assert_eq!(shown(&fleet["value"], 1), "30.8");
        assert_eq!(shown(&fleet["interval"]["low"], 1), "23.8");
        assert_eq!(shown(&fleet["interval"]["high"], 1), "40.5");
        assert_eq!(fleet["failures"], "58");
        assert_eq!(shown(&fleet["watchedHours"], 1), "1785.6");
        assert_eq!((&fleet["devices"], &fleet["devicesDown"]), (&json!(12), &json!(0)));
        assert_eq!(fleet["isFlapping"], Value::Null);
        assert_eq!(data["site"]["value"], fleet["value"]);
        assert_eq!(data["site"]["site"], json!({ "siteId": "harbour" }));
        let never = &data["never"];
        let sentences = texts(&never["reasons"], "sentence");
        let bound = "over 40 h between failures";
        assert!(sentences.iter().any(|sentence| sentence.contains(bound)), "{sentences:?}");
        assert!(never["value"].as_f64().unwrap() >= 40.0, "{never}");
        assert!(never["interval"]["high"].as_f64().unwrap().is_finite(), "{never}");
        assert_eq!(never["failures"], "0");
    })
    .await;
}

#[tokio::test]
async fn a_quarter_of_a_percent_of_the_data_claims_no_rhythm() {
    on_each_database(async |app| {
        cold(app).await;
        let document = "{ dataQuality { value status received expected devices gapCount
            reasons { factor sentence } evidence { coverage } } }";
        let data = app.data(document).await;
        let quality = &data["dataQuality"];
        assert_eq!(
            (&quality["received"], &quality["expected"]),
            (&json!("538"), &json!("214272"))
        );
        let percent = json!(quality["value"].as_f64().unwrap() * 100.0);
        assert_eq!(shown(&percent, 2), "0.25");
        assert_eq!(quality["evidence"]["coverage"], quality["value"]);
        let factors = texts(&quality["reasons"], "factor");
        assert!(factors.contains(&"rhythm".to_owned()), "{factors:?}");
    })
    .await;
}

#[tokio::test]
async fn what_a_change_did_is_unclear_with_the_date_when_it_will_be_known() {
    on_each_database(async |app| {
        cold(app).await;
        let document = "{ configurationImpact(deviceId: \"pos-02\", parameterName: \"retry.limit\") {
            verdict knownAt status value interval { low } parameterName changedAt reasons { sentence }
            device { deviceId } effects { name verdict knownAt status value } } }";
        let data = app.data(document).await;
        let impact = &data["configurationImpact"];
        assert_eq!(impact["verdict"], "UNCLEAR");
        assert_eq!(impact["status"], "INSUFFICIENT");
        assert_eq!((&impact["value"], &impact["interval"]), (&Value::Null, &Value::Null));
        assert_eq!(impact["knownAt"], "2026-11-27T00:00:00Z");
        assert_eq!(impact["device"], json!({ "deviceId": "pos-02" }));
        let sentence = impact["reasons"][0]["sentence"].as_str().unwrap();
        assert!(sentence.contains("possible on 2026-11-27"), "{sentence}");
        let names = texts(&impact["effects"], "name");
        assert!(names.contains(&"networkLatencyMs".to_owned()), "{names:?}");
        // a device that was never changed has none
        let none = app
            .data("{ configurationImpact(deviceId: \"pos-11\") { verdict } }")
            .await;
        assert_eq!(none["configurationImpact"], Value::Null);
    })
    .await;
}

#[tokio::test]
async fn risks_rest_on_the_rate_of_the_fleet_and_say_so() {
    on_each_database(async |app| {
        cold(app).await;
        let document = "{ devicesAtRisk { nodes { value status logOdds reasons { factor contribution } } totalCount } }";
        let data = app.data(document).await;
        let risks = &data["devicesAtRisk"];
        assert_eq!(risks["totalCount"], "12");
        for risk in risks["nodes"].as_array().unwrap() {
            assert_eq!(risk["status"], "LEARNING", "{risk}");
            let value = risk["value"].as_f64().unwrap();
            assert!(value > 0.0 && value < 0.5, "{risk}");
            let parts = risk["reasons"].as_array().unwrap().iter();
            let sum: f64 = parts.map(|part| part["contribution"].as_f64().unwrap()).sum();
            let odds = (value / (1.0 - value)).ln();
            assert!((sum - odds).abs() < 1e-9, "{risk}");
            assert!((risk["logOdds"].as_f64().unwrap() - odds).abs() < 1e-9, "{risk}");
        }
    })
    .await;
}
