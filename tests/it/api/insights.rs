//! Insights of a device as they are answered: their one shape, of when they are, and what is refused.

use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};

use super::app::{TestApp, at, on_each_database, texts};

/// What all insights say.
const TOLD: &str =
    "fragment Told on Insight { value interval { low high level } status asOf provenance
    evidence { events from to coverage }
    reasons { factor contribution observed expected unit sentence }
    recommendations { action sentence mutation } }";

pub(super) fn reading(device: &str, minutes: i64, more: Value) -> Value {
    let mut body = json!({ "deviceId": device, "occurredAt": at(minutes) });
    let Value::Object(more) = more else {
        panic!("no measures: {more}");
    };
    for (name, value) in more {
        body[name] = value;
    }
    json!({ "deviceMetrics": body })
}

pub(super) fn state(device: &str, minutes: i64, to: &str) -> Value {
    json!({ "deviceStateChange": { "deviceId": device, "newState": to, "occurredAt": at(minutes) } })
}

/// Waits until all hours that are over are folded: until then lists know less of devices.
pub(super) async fn folded(app: &TestApp) {
    let database = app.database().await;
    let left = "SELECT count(*) FROM insight_due";
    let statement = Statement::from_string(database.get_database_backend(), left);
    loop {
        let row = database.query_one_raw(statement.clone()).await.unwrap();
        let count: i64 = row.unwrap().try_get_by_index(0).unwrap();
        if count == 0 {
            break;
        }
    }
    database.close().await.unwrap();
}

/// What a latency is as a rule, so many hours after noon: 80 in the hours of trade, else 20, and a little more from hour
/// to hour.
pub(super) fn usual(hours: i64) -> f64 {
    let of_day = (12 + hours).rem_euclid(24);
    let base = if (9..18).contains(&of_day) {
        80.0
    } else {
        20.0
    };
    let wave = (hours * 7).rem_euclid(5);
    base + f64::from(i32::try_from(wave).unwrap()) * 0.5
}

/// Three weeks of latencies by the hour of a device, until three hours before noon.
pub(super) fn weeks(device: &str) -> Vec<Value> {
    let hours = (3..3 + 21 * 24).rev();
    let of = |hour: i64| json!({ "networkLatencyMs": usual(-hour), "cpuPercent": 30 });
    hours
        .map(|hour| reading(device, -60 * hour, of(hour)))
        .collect()
}

/// Latencies as they are as a rule, for 19 hours after noon; in the first three often, so that what was before them is
/// over soon.
pub(super) fn afterwards(device: &str) -> Vec<Value> {
    let often = (1..36).map(|step| step * 5);
    let minutes = often.chain((3..20).map(|hour| hour * 60));
    let of = |minutes: i64| json!({ "networkLatencyMs": usual(minutes / 60), "cpuPercent": 30 });
    minutes
        .map(|minutes| reading(device, minutes, of(minutes)))
        .collect()
}

#[tokio::test]
async fn every_insight_of_a_device_has_the_one_shape() {
    on_each_database(async |app| {
        app.fleet().await;
        let change = json!({ "configurationChange": { "entityType": "DEVICE", "entityId": "till-1",
            "parameterName": "volume", "newValue": 7, "changedBy": "me", "occurredAt": at(-14_400) } });
        let mut events = weeks("till-1");
        // it grows by 1.2 a day, to 60
        for (hour, event) in events.iter_mut().rev().enumerate() {
            let hours = f64::from(u32::try_from(hour).unwrap());
            event["deviceMetrics"]["diskPercent"] = json!(60.0 - 0.05 * hours);
        }
        events.extend([state("till-1", -30_000, "ONLINE"), change]);
        app.record(json!(events)).await;
        let document = format!(
            "{{ deviceHealth(deviceId: \"till-1\") {{ ...Told band device {{ deviceId }} }}
                healthForecast(deviceId: \"till-1\", days: 2) {{ ...Told day at }}
                failureRisk(deviceId: \"till-1\", horizon: HOURS_72) {{ ...Told horizon logOdds }}
                reliability(deviceId: \"till-1\") {{ ...Told }}
                dataQuality(deviceId: \"till-1\") {{ ...Told gaps {{ from }} stuckValues {{ measure }} refusals {{ code }} }}
                trend(deviceId: \"till-1\", measure: DISK_PERCENT) {{ ...Told unit daysToLimit {{ ...Told limit at }} }}
                configurationImpact(deviceId: \"till-1\") {{ ...Told verdict effects {{ ...Told name }} }}
                anomalies(states: [QUIET]) {{ nodes {{ ...Told measure state }} }} }} {TOLD}"
        );
        let data = app.data(&document).await;
        let mut told = vec![&data["deviceHealth"], &data["failureRisk"], &data["reliability"], &data["dataQuality"]];
        told.extend([&data["trend"], &data["configurationImpact"], &data["trend"]["daysToLimit"]]);
        told.extend(data["healthForecast"].as_array().unwrap());
        told.extend(data["anomalies"]["nodes"].as_array().unwrap());
        told.extend(data["configurationImpact"]["effects"].as_array().unwrap());
        for insight in told {
            let is_known = insight["status"] != "INSUFFICIENT";
            assert_eq!(insight["value"].is_number(), is_known, "{insight:#}");
            assert_eq!(insight["interval"].is_object(), is_known, "{insight:#}");
            assert!(!insight["reasons"].as_array().unwrap().is_empty(), "{insight:#}");
            assert_eq!(insight["provenance"], "REAL", "{insight:#}");
            let interval = &insight["interval"];
            if insight["measure"].is_null() && is_known {
                let number = |value: &Value| value.as_f64().unwrap();
                let (low, value) = (number(&interval["low"]), number(&insight["value"]));
                assert!(low <= value && value <= number(&interval["high"]), "{insight:#}");
            }
        }
        assert_eq!(data["deviceHealth"]["device"], json!({ "deviceId": "till-1" }));
        assert_eq!(data["deviceHealth"]["asOf"], "2026-11-23T12:00:00Z");
        assert_eq!(data["failureRisk"]["horizon"], "HOURS_72");
        assert_eq!(data["healthForecast"][1]["at"], "2026-11-25T12:00:00Z");
        let slope = data["trend"]["value"].as_f64().unwrap();
        assert!((slope - 1.2).abs() < 0.2, "{slope}");
        let days = data["trend"]["daysToLimit"]["value"].as_f64().unwrap();
        assert!((25.0..45.0).contains(&days), "{days}");
    })
    .await;
}

#[tokio::test]
async fn a_device_without_data_is_insufficient_and_never_healthy() {
    on_each_database(async |app| {
        app.fleet().await;
        let document = format!(
            "{{ deviceHealth(deviceId: \"till-2\") {{ ...Told band }} failureRisk(deviceId: \"till-2\") {{ ...Told logOdds }}
                healthForecast(deviceId: \"till-2\", days: 1) {{ ...Told }} reliability(deviceId: \"till-2\") {{ ...Told
                mtbfHours {{ value }} }} dataQuality(deviceId: \"till-2\") {{ ...Told expected }}
                trend(deviceId: \"till-2\", measure: CPU_PERCENT) {{ ...Told daysToLimit {{ value }} }}
                devicesAtRisk {{ totalCount }} anomalies(states: [QUIET, OPEN, CLOSED]) {{ totalCount }} }} {TOLD}"
        );
        let data = app.data(&document).await;
        let mut told = vec![&data["deviceHealth"], &data["failureRisk"], &data["healthForecast"][0]];
        told.extend([&data["reliability"], &data["dataQuality"], &data["trend"]]);
        for insight in told {
            assert_eq!(insight["status"], "INSUFFICIENT", "{insight:#}");
            assert_eq!((&insight["value"], &insight["interval"]), (&Value::Null, &Value::Null));
            assert_eq!(insight["provenance"], Value::Null, "{insight:#}");
            assert_eq!(insight["evidence"]["events"], "0");
            let sentence = insight["reasons"][0]["sentence"].as_str().unwrap();
            assert!(sentence.ends_with('.'), "{sentence}");
        }
        assert_eq!(data["deviceHealth"]["band"], Value::Null);
        assert_eq!(data["failureRisk"]["logOdds"], Value::Null);
        assert_eq!(data["devicesAtRisk"]["totalCount"], "0");
        assert_eq!(data["anomalies"]["totalCount"], "0");
    })
    .await;
}

#[tokio::test]
async fn nothing_that_happened_later_than_asked_for_is_read() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(weeks("till-1").into()).await;
        let document = format!(
            "query($at: DateTime) {{ deviceHealth(deviceId: \"till-1\", asOf: $at) {{ ...Told band }}
                failureRisk(deviceId: \"till-1\", asOf: $at) {{ ...Told }}
                reliability(deviceId: \"till-1\", asOf: $at) {{ ...Told failures }}
                dataQuality(deviceId: \"till-1\", asOf: $at) {{ ...Told }} }} {TOLD}"
        );
        let before = json!({ "at": at(-30) });
        let told = app.data_with(&document, before.clone()).await;
        let later = json!([
            state("till-1", -20, "ERROR"),
            reading("till-1", -10, json!({ "networkLatencyMs": 9_000 })),
            { "errorLog": { "category": "DEVICE", "severity": "CRITICAL", "errorMessage": "it is broken",
                "deviceId": "till-1", "occurredAt": at(-15) } },
        ]);
        app.record(later).await;
        assert_eq!(app.data_with(&document, before).await, told);
        let now = app.data_with(&document, json!({})).await;
        assert_eq!(now["deviceHealth"]["band"], "POOR");
        assert_eq!(now["reliability"]["failures"], "1");
        let (was, is) = (&told["deviceHealth"]["value"], &now["deviceHealth"]["value"]);
        assert!(is.as_f64() < was.as_f64(), "{was} {is}");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_asked_has_a_code() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([reading("till-1", -60, json!({ "cpuPercent": 5 }))])).await;
        for (document, code) in [
            ("{ deviceHealth(deviceId: \"none\") { value } }", "NOT_FOUND"),
            ("{ reliability(siteId: \"none\") { value } }", "NOT_FOUND"),
            ("{ configurationImpact(deviceId: \"none\") { value } }", "NOT_FOUND"),
            ("{ deviceHealth(deviceId: \"till-1\", asOf: \"2026-11-23T12:00:01Z\") { value } }", "BAD_INPUT"),
            ("{ failureRisk(deviceId: \"till-1\", asOf: \"2020-01-01T00:00:00Z\") { value } }", "BAD_INPUT"),
            ("{ devicesAtRisk(asOf: \"2027-01-01T00:00:00Z\") { totalCount } }", "BAD_INPUT"),
            ("{ devicesAtRisk(threshold: 1.5) { totalCount } }", "BAD_INPUT"),
            ("{ devicesAtRisk(first: 1001) { totalCount } }", "BAD_INPUT"),
            ("{ devicesAtRisk(after: \"none\") { totalCount } }", "BAD_INPUT"),
            ("{ anomalies(first: 1, last: 1) { totalCount } }", "BAD_INPUT"),
            ("{ healthForecast(deviceId: \"till-1\", days: 0) { value } }", "BAD_INPUT"),
            ("{ healthForecast(deviceId: \"till-1\", days: 15) { value } }", "LIMIT_EXCEEDED"),
            ("{ reliability(deviceId: \"till-1\", siteId: \"harbour\") { value } }", "BAD_INPUT"),
            ("{ configurationImpact { value } }", "BAD_INPUT"),
            ("{ configurationImpact(changeId: \"none\") { value } }", "BAD_INPUT"),
            ("{ trend(deviceId: \"till-1\", measure: UPTIME_SECONDS) { value } }", "BAD_INPUT"),
            ("{ trend(deviceId: \"till-1\", measure: CPU_PERCENT, above: 9, below: 1) { value } }", "BAD_INPUT"),
        ] {
            assert_eq!(app.code(document).await, code, "{document}");
        }
        let horizon = "{ failureRisk(deviceId: \"till-1\", horizon: HOURS_48) { value } }";
        assert_eq!(app.code(horizon).await, "BAD_INPUT");
    })
    .await;
}

#[tokio::test]
async fn a_change_is_asked_for_by_its_id_too() {
    on_each_database(async |app| {
        app.fleet().await;
        let change = |device: &str, minutes: i64, parameter: &str| {
            json!({ "configurationChange": { "entityType": "DEVICE", "entityId": device, "parameterName": parameter,
                "newValue": 7, "changedBy": "me", "occurredAt": at(minutes) } })
        };
        app.record(json!([
            reading("till-1", -60, json!({ "cpuPercent": 5 })),
            change("till-1", -50, "volume"),
            change("till-1", -40, "retry.limit"),
            change("till-3", -30, "volume"),
        ]))
        .await;
        let listed = app
            .data("{ configurationHistory(order: OLDEST_FIRST) { nodes { id parameterName } } }")
            .await;
        let ids = texts(&listed["configurationHistory"]["nodes"], "id");
        let document = "query($id: ID!) { configurationImpact(changeId: $id) { changeId parameterName device { deviceId } } }";
        let data = app.data_with(document, json!({ "id": ids[0] })).await;
        let expected = json!({ "changeId": ids[0], "parameterName": "volume", "device": { "deviceId": "till-1" } });
        assert_eq!(data["configurationImpact"], expected);
        let last = "{ any: configurationImpact(deviceId: \"till-1\") { parameterName }
            one: configurationImpact(deviceId: \"till-1\", parameterName: \"volume\") { parameterName }
            none: configurationImpact(deviceId: \"till-1\", parameterName: \"brightness\") { parameterName } }";
        let data = app.data(last).await;
        let expected = json!({ "any": { "parameterName": "retry.limit" }, "one": { "parameterName": "volume" },
            "none": null });
        assert_eq!(data, expected);
    })
    .await;
}

#[tokio::test]
async fn a_change_follows_an_incident_when_its_device_was_in_error_within_a_day_before() {
    on_each_database(async |app| {
        app.fleet().await;
        let made_up = |device: &str, minutes: i64| {
            json!({ "deviceStateChange": { "deviceId": device, "newState": "ERROR", "occurredAt": at(minutes),
                "provenance": "SIMULATED" } })
        };
        let mut events = Vec::new();
        for device in ["till-1", "till-2", "till-3"] {
            events.push(reading(device, -3_000, json!({ "cpuPercent": 5 })));
            events.push(
                json!({ "configurationChange": { "entityType": "DEVICE", "entityId": device, "parameterName": "volume",
                    "newValue": 7, "changedBy": "me", "occurredAt": at(-60) } }),
            );
            // what is said again and again, and is no error
            let again = (0..40).map(|number| state(device, -400 + number, "ONLINE"));
            events.extend(again);
        }
        events.push(state("till-1", -1_499, "ERROR"));
        // a day and a minute before, after the change, and of another provenance
        events.extend([state("till-2", -1_501, "ERROR"), state("till-2", -59, "ERROR")]);
        events.push(made_up("till-3", -100));
        app.record(json!(events)).await;
        for (device, follows) in [("till-1", true), ("till-2", false), ("till-3", false)] {
            let document =
                format!("{{ configurationImpact(deviceId: \"{device}\") {{ followsIncident }} }}");
            let data = app.data(&document).await;
            assert_eq!(data["configurationImpact"], json!({ "followsIncident": follows }), "{device}");
        }
    })
    .await;
}

/// Events of two provenances are never mixed.
#[tokio::test]
async fn the_provenance_is_that_of_what_was_read() {
    on_each_database(async |app| {
        app.fleet().await;
        let simulated = |minutes: i64| {
            reading(
                "till-1",
                minutes,
                json!({ "cpuPercent": 5, "provenance": "SIMULATED" }),
            )
        };
        app.record(json!([simulated(-30), simulated(-20)])).await;
        let document =
            "{ any: deviceHealth(deviceId: \"till-1\") { provenance evidence { events } }
            simulated: deviceHealth(deviceId: \"till-1\", provenance: SIMULATED) { provenance }
            real: deviceHealth(deviceId: \"till-1\", provenance: REAL) { provenance } }";
        let data = app.data(document).await;
        assert_eq!(data["simulated"]["provenance"], "SIMULATED");
        app.record(json!([reading("till-1", -10, json!({ "cpuPercent": 5 }))]))
            .await;
        let data = app.data(document).await;
        assert_eq!(
            (&data["any"]["provenance"], &data["real"]["provenance"]),
            (&json!("REAL"), &json!("REAL"))
        );
        assert_eq!(data["simulated"]["provenance"], "SIMULATED");
        // nor are devices of two of them summed up together
        let other = json!({ "cpuPercent": 5, "provenance": "SIMULATED", "collectionIntervalSeconds": 30 });
        app.record(json!([reading("till-2", -5, other)])).await;
        let document = "{ any: dataQuality { provenance received devices } any_time: reliability { provenance devices }
            simulated: dataQuality(provenance: SIMULATED) { provenance received } }";
        let data = app.data(document).await;
        // of the third device there is nothing
        assert_eq!(data["any"], json!({ "provenance": "REAL", "received": "0", "devices": 2 }));
        assert_eq!(data["any_time"], json!({ "provenance": "REAL", "devices": 2 }));
        assert_eq!(data["simulated"], json!({ "provenance": "SIMULATED", "received": "1" }));
    })
    .await;
}
