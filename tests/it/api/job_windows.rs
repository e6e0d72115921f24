//! When a job is best run: the cheapest start that the limits leave, why, and how likely the job succeeds.

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use homepot_analytics::identity::Role;

use super::access::{ask, grant, key};
use super::app::{TestApp, at, on_each_database, texts};
use super::job_patterns::{outcome, with_interval};
use super::jobs::create;

const QUERY: &str = "query($device: ID, $devices: [ID!], $site: ID, $type: String, $minutes: Int = 60,
    $from: DateTime, $to: DateTime, $priority: JobPriority = NORMAL, $hours: JobHours = WHEN_ON,
    $maintenance: JobMaintenance = WHERE_FILED, $blackouts: [BlackoutInput!] = [], $at: DateTime) {
    recommendJobWindow(deviceId: $device, deviceIds: $devices, siteId: $site, jobType: $type, durationMinutes: $minutes,
        notBefore: $from, deadline: $to, priority: $priority, hours: $hours, maintenance: $maintenance,
        blackouts: $blackouts, asOf: $at) {
        value status provenance asOf interval { low high level } reasons { factor contribution sentence }
        recommendations { action sentence } site { siteId } devicesTargeted confidence
        best { ...S } alternatives { ...S } } }
    fragment S on JobWindowStart { start end localDate localTime lost retryCost latenessCost cost success
        successInterval { low high level } sentence }";

const HOUR_MS: i64 = 3_600_000;

/// The one window of a question.
pub(super) fn window(app: &TestApp, variables: Value) -> BoxFuture<'_, Value> {
    Box::pin(async move {
        let mut data = app.data_with(QUERY, variables).await;
        let windows = data["recommendJobWindow"].as_array_mut().unwrap();
        assert_eq!(windows.len(), 1);
        windows.remove(0)
    })
}

/// Files the hours of a site for all days of the week, with something else about each.
pub(super) fn filed<'a>(
    app: &'a TestApp,
    (site, open, close): (&'a str, &'a str, &'a str),
    more: Value,
) -> BoxFuture<'a, ()> {
    Box::pin(async move {
        let days = [
            "MONDAY",
            "TUESDAY",
            "WEDNESDAY",
            "THURSDAY",
            "FRIDAY",
            "SATURDAY",
            "SUNDAY",
        ];
        let row = |day: &&str| {
            let mut row =
                json!({ "siteId": site, "dayOfWeek": day, "openTime": open, "closeTime": close });
            let more = more.as_object().unwrap().clone();
            row.as_object_mut().unwrap().extend(more);
            json!({ "siteSchedule": row })
        };
        app.record(days.iter().map(row).collect()).await;
    })
}

/// The fleet with the hours of the harbour; the test begins on a Monday at noon.
async fn shop(app: &TestApp) {
    app.fleet().await;
    let said = json!({ "occurredAt": "2026-10-01T00:00:00Z" });
    filed(app, ("harbour", "08:00", "18:00"), said).await;
}

fn instant(value: &Value) -> i64 {
    let instant = homepot_analytics::event::Instant::parse(value.as_str().unwrap());
    instant.unwrap().0
}

#[tokio::test]
async fn a_new_fleet_is_answered_by_its_filed_hours_and_told_so() {
    on_each_database(async |app| {
        shop(app).await;
        for (job, day) in [("a", 4), ("b", 3), ("c", 2), ("d", 1)] {
            let ended = outcome((job, "RESTART"), ("till-1", "COMPLETED"), -day * 1_440);
            app.record(json!([ended])).await;
        }
        let asked = json!({ "device": "till-1", "type": "RESTART" });
        let told = window(app, asked.clone()).await;
        assert_eq!(
            (
                &told["status"],
                &told["site"]["siteId"],
                &told["devicesTargeted"]
            ),
            (&json!("LEARNING"), &json!("harbour"), &json!(1))
        );
        let best = &told["best"];
        // while the shop is closed, on a quarter of an hour
        let time = best["localTime"].as_str().unwrap();
        assert!(!("08:00:00".."18:00:00").contains(&time), "{best:#}");
        assert!(["00", "15", "30", "45"].contains(&&time[3..5]), "{time}");
        let sentence = best["sentence"].as_str().unwrap();
        assert!(
            sentence.contains("by the filed hours only, as no sale was counted yet"),
            "{sentence}"
        );
        assert!(sentence.contains("the shop is closed until"), "{sentence}");
        assert!(sentence.contains(&time[..5]), "{sentence}");
        assert_eq!(
            with_interval(&best["success"], &best["successInterval"]),
            "0.90 (0.56–1.00)"
        );
        let evidence = told["reasons"].as_array().unwrap().iter();
        let mut evidence = evidence.filter(|reason| reason["factor"] == "evidence");
        let says = "No sale has been counted yet: this rests on the filed hours only.";
        assert_eq!(evidence.next().unwrap()["sentence"], says);
        // the parts of the cost are its reasons
        let parts: f64 = told["reasons"]
            .as_array()
            .unwrap()
            .iter()
            .map(|reason| reason["contribution"].as_f64().unwrap())
            .sum();
        assert!((parts - best["cost"].as_f64().unwrap()).abs() < 1e-9);
        assert_eq!(told["value"], best["lost"]);
        assert_eq!(told["recommendations"][0]["sentence"], best["sentence"]);
        // what happened later than is asked for is not read
        app.clock.advance_ms(HOUR_MS);
        app.record(json!([outcome(("e", "RESTART"), ("till-2", "FAILED"), 60)]))
            .await;
        let before = json!({ "device": "till-1", "type": "RESTART", "at": at(30) });
        let before = window(app, before).await;
        assert_eq!(
            with_interval(
                &before["best"]["success"],
                &before["best"]["successInterval"]
            ),
            "0.90 (0.56–1.00)"
        );
        let told = window(app, asked).await;
        assert!(told["best"]["success"].as_f64().unwrap() < 0.9);
    })
    .await;
}

#[tokio::test]
async fn three_of_four_jobs_are_told_with_how_little_that_is() {
    on_each_database(async |app| {
        shop(app).await;
        for (job, status) in [
            ("a", "COMPLETED"),
            ("b", "FAILED"),
            ("c", "COMPLETED"),
            ("d", "COMPLETED"),
        ] {
            let ended = outcome((job, "RESTART"), ("till-2", status), -60);
            app.record(json!([ended])).await;
        }
        let told = window(app, json!({ "device": "till-1", "type": "RESTART" })).await;
        assert_eq!(
            with_interval(&told["best"]["success"], &told["best"]["successInterval"]),
            "0.70 (0.28–0.97)"
        );
    })
    .await;
}

#[tokio::test]
async fn three_others_are_told_two_hours_apart_and_none_is_cheaper() {
    on_each_database(async |app| {
        shop(app).await;
        let told = window(app, json!({ "site": "harbour", "minutes": 45 })).await;
        assert_eq!(told["devicesTargeted"], 2);
        let best = &told["best"];
        assert_eq!(
            instant(&best["end"]) - instant(&best["start"]),
            45 * 60_000_000
        );
        let others = told["alternatives"].as_array().unwrap();
        assert_eq!(others.len(), 3);
        let mut starts = vec![instant(&best["start"])];
        for other in others {
            assert!(other["cost"].as_f64().unwrap() >= best["cost"].as_f64().unwrap());
            starts.push(instant(&other["start"]));
        }
        starts.sort_unstable();
        assert!(
            starts
                .windows(2)
                .all(|pair| pair[1] - pair[0] >= 2 * HOUR_MS * 1_000)
        );
        assert!((0.0..=1.0).contains(&told["confidence"].as_f64().unwrap()));
        // nothing is known of whether jobs succeed
        assert_eq!(
            (&best["success"], &best["retryCost"]),
            (&Value::Null, &json!(0.0))
        );
    })
    .await;
}

#[tokio::test]
async fn limits_hold() {
    on_each_database(async |app| {
        shop(app).await;
        let open = window(app, json!({ "device": "till-1", "hours": "OPEN_ONLY" })).await;
        let time = open["best"]["localTime"].as_str().unwrap().to_owned();
        assert!(("08:00:00".."17:15:00").contains(&&*time), "{time}");
        // not before Thursday at nine, over by noon, and not from half past nine to eleven
        let narrow = json!({ "device": "till-1", "from": "2026-11-26T09:00:00Z", "to": "2026-11-26T12:00:00Z",
            "blackouts": [{ "from": "2026-11-26T09:30:00Z", "to": "2026-11-26T11:00:00Z" }] });
        let told = window(app, narrow.clone()).await;
        assert_eq!(told["best"]["start"], "2026-11-26T11:00:00Z");
        assert_eq!(told["alternatives"], json!([]));
        // no hour is left
        let mut none = narrow;
        none["minutes"] = json!(90);
        let told = window(app, none).await;
        assert_eq!((&told["status"], &told["best"], &told["value"]), (&json!("INSUFFICIENT"), &Value::Null, &Value::Null));
        let why = told["reasons"][0]["sentence"].as_str().unwrap();
        assert!(why.starts_with("No start within 7 days is allowed for a job of 90 minutes"), "{why}");
        // what is urgent does not wait for the night
        let urgent = window(app, json!({ "device": "till-1", "priority": "URGENT" })).await;
        let usual = window(app, json!({ "device": "till-1" })).await;
        assert!(instant(&urgent["best"]["start"]) < instant(&usual["best"]["start"]));
    })
    .await;
}

#[tokio::test]
async fn a_closed_day_has_no_open_hour_and_a_window_for_maintenance_is_kept_where_it_is_filed() {
    on_each_database(async |app| {
        shop(app).await;
        // Tuesday is closed
        let closed = json!([{ "siteSchedule": { "siteId": "harbour", "date": "2026-11-24", "isClosed": true } }]);
        app.record(closed).await;
        let tuesday = json!({ "device": "till-1", "hours": "OPEN_ONLY", "from": "2026-11-24T00:00:00Z",
            "to": "2026-11-25T00:00:00Z" });
        assert_eq!(window(app, tuesday).await["status"], "INSUFFICIENT");
        filed(app, ("harbour", "08:00", "18:00"), json!({
            "maintenanceWindows": [{ "start": "23:30", "end": "01:00" }] })).await;
        let told = window(app, json!({ "device": "till-1" })).await;
        let time = told["best"]["localTime"].as_str().unwrap();
        assert!(["23:30:00", "23:45:00", "00:00:00"].contains(&time), "{time}");
        let factors = texts(&told["reasons"], "factor");
        assert!(factors.contains(&"limit.maintenance".to_owned()), "{factors:?}");
        let avoiding = window(app, json!({ "device": "till-1", "maintenance": "AVOID" })).await;
        let time = avoiding["best"]["localTime"].as_str().unwrap();
        assert!(("01:00:00".."22:45:00").contains(&time), "{time}");
    })
    .await;
}

#[tokio::test]
async fn no_start_lies_in_an_hour_that_does_not_exist_and_one_that_comes_twice_is_as_long_as_two() {
    on_each_database(async |app| {
        let said = "2026-01-01T00:00:00Z";
        app.record(json!([
            { "siteRegistration": { "siteId": "north", "name": "North", "timeZone": "Europe/London", "occurredAt": said } },
            { "deviceRegistration": { "deviceId": "till-9", "siteId": "north", "deviceType": "POS_TERMINAL",
                "occurredAt": said } },
            { "siteSchedule": { "siteId": "north", "dayOfWeek": "SUNDAY", "isClosed": true, "occurredAt": said,
                "maintenanceWindows": [{ "start": "01:00", "end": "02:00" }] } },
        ]))
        .await;
        let asked = |at: &str, minutes: i32| {
            json!({ "device": "till-9", "minutes": minutes, "maintenance": "INSIDE", "at": at })
        };
        // on a usual Sunday
        let told = window(app, asked("2026-03-18T12:00:00Z", 60)).await;
        assert_eq!(told["best"]["start"], "2026-03-22T01:00:00Z");
        // on 29 March the clocks skip from one to two
        let told = window(app, asked("2026-03-25T12:00:00Z", 15)).await;
        assert_eq!(told["status"], "INSUFFICIENT", "{told:#}");
        // on 25 October they show that hour twice
        let told = window(app, asked("2026-10-21T12:00:00Z", 120)).await;
        assert_eq!(told["best"]["start"], "2026-10-25T00:00:00Z");
        assert_eq!((&told["best"]["localDate"], &told["best"]["localTime"]), (&json!("2026-10-25"), &json!("01:00:00")));
        assert_eq!(told["best"]["end"], "2026-10-25T02:00:00Z");
        let told = window(app, asked("2026-10-21T12:00:00Z", 135)).await;
        assert_eq!(told["status"], "INSUFFICIENT");
    })
    .await;
}

#[tokio::test]
async fn no_start_meets_another_job_on_the_device() {
    on_each_database(async |app| {
        shop(app).await;
        let asked = json!({ "device": "till-1" });
        let first = window(app, asked.clone()).await;
        let start = &first["best"]["start"];
        let made = create(
            app,
            json!({ "jobType": "HEALTH_CHECK", "deviceIds": ["till-1"], "timeoutSeconds": 7_200,
            "start": { "at": start } }),
        )
        .await;
        assert_eq!(made["userErrors"], json!([]));
        let (from, until) = (instant(start), instant(start) + 2 * HOUR_MS * 1_000);
        let second = window(app, asked).await;
        let starts = [&second["best"]]
            .into_iter()
            .chain(second["alternatives"].as_array().unwrap());
        for window in starts {
            let is_apart = instant(&window["end"]) <= from || instant(&window["start"]) >= until;
            assert!(is_apart, "{window:#}");
        }
        let factors = texts(&second["reasons"], "factor");
        assert!(factors.contains(&"limit.jobs".to_owned()), "{factors:?}");
        // the other device has no such job
        assert_eq!(
            &window(app, json!({ "device": "till-2" })).await["best"]["start"],
            start
        );
        // one that recurs on all devices of the site takes each of its times
        let nightly = create(
            app,
            json!({ "jobType": "LOG_COLLECTION", "siteIds": ["harbour"],
            "timeoutSeconds": 14_400, "start": { "cron": "0 16,20,0,4 * * *" } }),
        )
        .await;
        assert_eq!(nightly["userErrors"], json!([]));
        let third = window(app, json!({ "device": "till-2", "hours": "CLOSED_ONLY" })).await;
        assert_eq!(third["status"], "INSUFFICIENT", "{third:#}");
    })
    .await;
}

#[tokio::test]
async fn what_is_sold_tells_when() {
    on_each_database(async |app| {
        shop(app).await;
        // four weeks in which till-1 sells ten an hour, and one on Wednesdays from three to four
        let monday = homepot_analytics::event::Instant::parse("2026-10-26T00:00:00Z").unwrap();
        for day in 0..28_i64 {
            let mut sold = 0;
            let mut readings = Vec::new();
            for hour in 8..18_i64 {
                sold += if day % 7 == 2 && hour == 15 { 1 } else { 10 };
                let at = monday.plus_ms((day * 24 + hour) * HOUR_MS + HOUR_MS - 1_000);
                readings.push(
                    json!({ "deviceMetrics": { "deviceId": "till-1", "occurredAt": at.to_string(),
                    "transactionCount": sold, "collectionIntervalSeconds": 3_600 } }),
                );
            }
            app.record(Value::Array(readings)).await;
        }
        let told = window(app, json!({ "device": "till-1", "hours": "OPEN_ONLY" })).await;
        assert_eq!(told["best"]["localTime"], "15:00:00", "{told:#}");
        let sentence = told["best"]["sentence"].as_str().unwrap();
        assert!(sentence.starts_with("Wednesday 15:00: "), "{sentence}");
        // it is never heard of while the shop is closed
        let on = window(app, json!({ "device": "till-1" })).await;
        assert_eq!(on["best"]["start"], told["best"]["start"]);
        let factors = texts(&on["reasons"], "factor");
        assert!(factors.contains(&"limit.hours".to_owned()), "{factors:?}");
        let any = window(app, json!({ "device": "till-1", "hours": "ANY" })).await;
        assert!(
            any["best"]["sentence"]
                .as_str()
                .unwrap()
                .contains("the shop is closed"),
            "{any:#}"
        );
        // a till that is quiet beside it changes nothing
        let both = window(app, json!({ "site": "harbour", "hours": "OPEN_ONLY" })).await;
        assert_eq!(
            (&both["best"]["start"], &both["devicesTargeted"]),
            (&told["best"]["start"], &json!(2))
        );
    })
    .await;
}

#[tokio::test]
async fn each_site_has_a_window_of_its_own() {
    on_each_database(async |app| {
        shop(app).await;
        filed(app, ("market", "20:00", "04:00"), json!({})).await;
        let data = app.data_with(QUERY, json!({ "devices": ["till-1", "till-3"] })).await;
        let windows = data["recommendJobWindow"].as_array().unwrap();
        assert_eq!(windows.len(), 2);
        for window in windows {
            let time = window["best"]["localTime"].as_str().unwrap();
            let is_open = if window["site"]["siteId"] == "harbour" {
                ("08:00:00".."18:00:00").contains(&time)
            } else {
                !("04:00:00".."20:00:00").contains(&time)
            };
            assert!(!is_open, "{window:#}");
        }
        // nothing is filed of a site, and nothing was sold
        app.record(json!([{ "siteRegistration": { "siteId": "new", "name": "New" } },
            { "deviceRegistration": { "deviceId": "till-9", "siteId": "new", "deviceType": "POS_TERMINAL" } }])).await;
        let told = window(app, json!({ "device": "till-9" })).await;
        assert_eq!((&told["status"], &told["best"]), (&json!("INSUFFICIENT"), &Value::Null));
        let why = told["reasons"][0]["sentence"].as_str().unwrap();
        assert!(why.starts_with("Neither opening hours are filed nor transactions counted"), "{why}");
        // no device stands at a site
        app.record(json!([{ "siteRegistration": { "siteId": "empty", "name": "Empty" } }])).await;
        let data = app.data_with(QUERY, json!({ "site": "empty" })).await;
        assert_eq!(data["recommendJobWindow"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn of_a_device_that_was_moved_here_nothing_is_told_of_where_it_stood_before() {
    on_each_database(async |app| {
        shop(app).await;
        filed(app, ("market", "20:00", "04:00"), json!({})).await;
        app.clock.advance_ms(HOUR_MS);
        app.record(
            json!([{ "deviceRegistration": { "deviceId": "till-3", "siteId": "harbour",
            "deviceType": "POS_TERMINAL", "occurredAt": at(50) } }]),
        )
        .await;
        app.close_to_strangers().await;
        let here = key(app, grant(Role::Viewer, &["harbour"])).await;
        let everywhere = key(app, grant(Role::Admin, &[])).await;
        let app: &TestApp = app;
        let told = |key: String, variables: Value| async move {
            let request = json!({ "query": QUERY, "variables": variables });
            let (_, answer) = ask(app, &key, request).await;
            let windows = answer["data"]["recommendJobWindow"].as_array();
            let Some(windows) = windows else {
                return answer["errors"][0]["extensions"]["code"].to_string();
            };
            let windows = windows.iter().map(|window| {
                format!("{} {}", window["site"]["siteId"], window["devicesTargeted"])
            });
            windows.collect::<Vec<String>>().join(", ")
        };
        let till = json!({ "device": "till-3" });
        let till_before = json!({ "device": "till-3", "at": at(30) });
        let site = json!({ "site": "harbour" });
        let site_before = json!({ "site": "harbour", "at": at(30) });
        for (who, asked, answer) in [
            (&here, &till, "\"harbour\" 1"),
            (&here, &till_before, "\"NOT_FOUND\""),
            (&here, &site, "\"harbour\" 3"),
            (&here, &site_before, "\"harbour\" 2"),
            (&everywhere, &till_before, "\"market\" 1"),
        ] {
            assert_eq!(told(who.clone(), asked.clone()).await, answer, "{asked}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_asked_has_its_code() {
    on_each_database(async |app| {
        shop(app).await;
        for (variables, code) in [
            (json!({}), "BAD_INPUT"),
            (json!({ "device": "nobody" }), "NOT_FOUND"),
            (json!({ "site": "nowhere" }), "NOT_FOUND"),
            (json!({ "device": "till-1", "minutes": 0 }), "BAD_INPUT"),
            (json!({ "device": "till-1", "minutes": -5 }), "BAD_INPUT"),
            (json!({ "device": "till-1", "minutes": 1_441 }), "BAD_INPUT"),
            (
                json!({ "device": "till-1", "from": at(120), "to": at(60) }),
                "BAD_INPUT",
            ),
            (json!({ "device": "till-1", "to": at(-60) }), "BAD_INPUT"),
            (
                json!({ "device": "till-1", "from": at(7 * 1_440) }),
                "BAD_INPUT",
            ),
            (json!({ "device": "till-1", "at": at(1) }), "BAD_INPUT"),
            (
                json!({ "device": "till-1", "at": "2001-01-01T00:00:00Z" }),
                "BAD_INPUT",
            ),
            (
                json!({ "device": "till-1", "blackouts": [{ "from": at(60), "to": at(60) }] }),
                "BAD_INPUT",
            ),
            (
                json!({ "devices": vec!["till-1"; 1_001] }),
                "LIMIT_EXCEEDED",
            ),
        ] {
            assert_eq!(
                app.code_with(QUERY, variables.clone()).await,
                code,
                "{variables}"
            );
        }
    })
    .await;
}
