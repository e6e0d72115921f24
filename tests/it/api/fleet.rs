//! Sites and devices: what is known of them now, and their history beneath them.

use serde_json::{Value, json};

use super::app::{TestApp, at, on_each_database, texts};

fn metrics(device: &str, minutes: i64, cpu: f64) -> Value {
    json!({ "deviceMetrics": { "deviceId": device, "occurredAt": at(minutes), "cpuPercent": cpu } })
}

async fn till(app: &TestApp, fields: &str) -> Value {
    let document = format!("{{ device(deviceId: \"till-1\") {{ {fields} }} }}");
    app.data(&document).await["device"].take()
}

async fn devices(app: &TestApp, filter: &str) -> String {
    let document =
        format!("{{ devices(filter: {{ {filter} }}) {{ totalCount nodes {{ deviceId }} }} }}");
    let data = app.data(&document).await;
    let ids = texts(&data["devices"]["nodes"], "deviceId");
    assert_eq!(data["devices"]["totalCount"], json!(ids.len().to_string()));
    ids.join(" ")
}

#[tokio::test]
async fn a_device_is_shown_as_it_was_last_registered() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([{ "deviceRegistration": {
            "deviceId": "till-1", "siteId": "market", "deviceType": "GATEWAY", "model": "M9",
            "firmware": "2.1", "os": "Linux 7", "tags": ["front", "new"], "lifecycle": "SUSPENDED" } }]))
            .await;
        let device = till(app, "deviceId name deviceType model firmware os tags lifecycle registeredAt site { siteId }
            currentState currentStateSince lastSeenAt latestMetrics { id } deviceRegistrations { totalCount }").await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(device, @r#"{"currentState":"UNKNOWN","currentStateSince":null,"deviceId":"till-1","deviceRegistrations":{"totalCount":"2"},"deviceType":"GATEWAY","firmware":"2.1","lastSeenAt":null,"latestMetrics":null,"lifecycle":"SUSPENDED","model":"M9","name":null,"os":"Linux 7","registeredAt":"2026-11-23T12:00:00Z","site":{"siteId":"market"},"tags":["front","new"]}"#);
        }
    })
    .await;
}

#[tokio::test]
async fn an_unknown_site_or_device_is_null() {
    on_each_database(async |app| {
        let data = app
            .data("{ site(siteId: \"x\") { name } device(deviceId: \"x\") { name } }")
            .await;
        assert_eq!(data, json!({ "site": null, "device": null }));
    })
    .await;
}

#[tokio::test]
async fn the_latest_metrics_are_those_of_the_newest_instant_not_of_the_last_arrival() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([metrics("till-1", -5, 50.0)])).await;
        app.record(json!([metrics("till-1", -9, 90.0)])).await;
        let device = till(app, "lastSeenAt latestMetrics { cpuPercent }").await;
        assert_eq!(device["latestMetrics"]["cpuPercent"], 50.0);
        assert_eq!(device["lastSeenAt"], at(-5));
    })
    .await;
}

#[tokio::test]
async fn the_current_state_is_the_newest_and_since_when_it_was_entered() {
    on_each_database(async |app| {
        app.fleet().await;
        let state = |state: &str, minutes: i64| {
            json!({ "deviceStateChange": {
            "deviceId": "till-1", "newState": state, "occurredAt": at(minutes) } })
        };
        app.record(json!([
            state("ONLINE", -30),
            state("ERROR", -20),
            state("ERROR", -10)
        ]))
        .await;
        app.record(json!([state("OFFLINE", -25)])).await;
        let device = till(app, "currentState currentStateSince").await;
        assert_eq!(
            device,
            json!({ "currentState": "ERROR", "currentStateSince": at(-20) })
        );
    })
    .await;
}

#[tokio::test]
async fn history_beneath_a_device_is_its_own_with_filter_order_and_pages() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut events: Vec<Value> = (1..=6).map(|n| metrics("till-1", -n, 10.0)).collect();
        events.push(metrics("till-2", -1, 99.0));
        events.push(metrics("till-1", -50, 80.0));
        app.record(json!(events)).await;
        let device = till(app, "all: deviceMetrics(first: 3, order: OLDEST_FIRST) { totalCount nodes { cpuPercent deviceId }
                edges { cursor } pageInfo { hasNextPage endCursor } }
            high: deviceMetrics(filter: { cpuPercent: { gt: 50 } }) { totalCount nodes { cpuPercent } }
            last: deviceMetrics(last: 2) { nodes { occurredAt } pageInfo { hasPreviousPage } }").await;
        assert_eq!(device["all"]["totalCount"], "7");
        assert_eq!(texts(&device["all"]["nodes"], "cpuPercent"), ["80.0", "10.0", "10.0"]);
        assert_eq!(device["high"]["nodes"], json!([{ "cpuPercent": 80.0 }]));
        assert_eq!(device["high"]["totalCount"], "1");
        assert_eq!(texts(&device["last"]["nodes"], "occurredAt"), [at(-6), at(-50)]);
        assert_eq!(device["last"]["pageInfo"]["hasPreviousPage"], true);
        let cursor = device["all"]["pageInfo"]["endCursor"].as_str().unwrap();
        let more = format!("deviceMetrics(first: 9, after: \"{cursor}\", order: OLDEST_FIRST) {{ nodes {{ occurredAt }} }}");
        let more = till(app, &more).await;
        let times: Vec<String> = [-4, -3, -2, -1].into_iter().map(at).collect();
        assert_eq!(texts(&more["deviceMetrics"]["nodes"], "occurredAt"), times);
    })
    .await;
}

#[tokio::test]
async fn history_beneath_a_site_is_that_of_its_devices() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([
            metrics("till-1", -1, 1.0), metrics("till-2", -2, 2.0), metrics("till-3", -3, 3.0),
            { "jobOutcome": { "jobId": "a", "jobType": "RESTART", "status": "ERROR", "siteId": "market", "deviceId": "till-1" } },
            { "jobOutcome": { "jobId": "b", "jobType": "RESTART", "status": "ERROR", "deviceId": "till-1" } },
            { "jobOutcome": { "jobId": "c", "jobType": "RESTART", "status": "ERROR", "siteId": "harbour" } },
        ]))
        .await;
        let data = app
            .data("{ sites { nodes { siteId deviceMetrics { totalCount nodes { deviceId } }
                jobOutcomes(order: FIRST_RECORDED_FIRST) { totalCount nodes { jobId site { siteId } } } } } }")
            .await;
        let sites = &data["sites"]["nodes"];
        assert_eq!(texts(&sites[0]["deviceMetrics"]["nodes"], "deviceId"), ["till-1", "till-2"]);
        assert_eq!(texts(&sites[1]["deviceMetrics"]["nodes"], "deviceId"), ["till-3"]);
        assert_eq!(texts(&sites[0]["jobOutcomes"]["nodes"], "jobId"), ["b", "c"]);
        assert_eq!(texts(&sites[1]["jobOutcomes"]["nodes"], "jobId"), ["a"]);
        assert_eq!(sites[0]["jobOutcomes"]["totalCount"], "2");
        assert_eq!(sites[0]["jobOutcomes"]["nodes"][0]["site"]["siteId"], "harbour");
    })
    .await;
}

#[tokio::test]
async fn devices_are_asked_for_by_site_id_state_type_lifecycle_and_text() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([
            { "deviceRegistration": { "deviceId": "hub%1", "siteId": "market", "deviceType": "GATEWAY",
                "name": "Hub", "lifecycle": "RETIRED" } },
            { "deviceStateChange": { "deviceId": "till-2", "newState": "ERROR" } },
        ]))
        .await;
        assert_eq!(devices(app, "siteId: \"market\"").await, "hub%1 till-3");
        assert_eq!(devices(app, "siteId: \"nowhere\"").await, "");
        assert_eq!(devices(app, "deviceIds: [\"till-3\", \"till-1\", \"x\"]").await, "till-1 till-3");
        assert_eq!(devices(app, "deviceIds: []").await, "");
        assert_eq!(devices(app, "currentState: [ERROR]").await, "till-2");
        assert_eq!(devices(app, "currentState: [UNKNOWN]").await, "hub%1 till-1 till-3");
        assert_eq!(devices(app, "deviceType: [GATEWAY]").await, "hub%1");
        assert_eq!(devices(app, "lifecycle: [ACTIVE, SUSPENDED]").await, "till-1 till-2 till-3");
        assert_eq!(devices(app, "search: \"hub\"").await, "hub%1");
        assert_eq!(devices(app, "search: \"%\"").await, "hub%1");
        assert_eq!(devices(app, "search: \"TILL TILL-2\"").await, "till-2");
        assert_eq!(devices(app, "siteId: \"harbour\", currentState: [ERROR]").await, "till-2");
    })
    .await;
}

#[tokio::test]
async fn the_devices_of_a_site_are_paged_and_filtered() {
    on_each_database(async |app| {
        app.fleet().await;
        let data = app
            .data("{ site(siteId: \"harbour\") { all: devices { totalCount nodes { deviceId } }
                last: devices(last: 1) { nodes { deviceId } pageInfo { hasPreviousPage } }
                none: devices(filter: { siteId: \"market\" }) { totalCount } } }")
            .await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(data["site"], @r#"{"all":{"nodes":[{"deviceId":"till-1"},{"deviceId":"till-2"}],"totalCount":"2"},"last":{"nodes":[{"deviceId":"till-2"}],"pageInfo":{"hasPreviousPage":true}},"none":{"totalCount":"0"}}"#);
        }
    })
    .await;
}

#[tokio::test]
async fn a_schedule_shows_the_row_of_each_day_that_was_set_last() {
    on_each_database(async |app| {
        app.fleet().await;
        let day = |day: &str, open: &str, minutes: i64| json!({ "siteSchedule": { "siteId": "harbour",
            "dayOfWeek": day, "openTime": open, "closeTime": "18:00", "occurredAt": at(minutes),
            "peakHours": [{ "start": "12:00", "end": "13:30" }] } });
        let christmas = json!({ "siteSchedule": { "siteId": "harbour", "date": "2026-12-25", "isClosed": true } });
        app.record(json!([day("SUNDAY", "10:00", -10), christmas, day("MONDAY", "08:00", -5), day("MONDAY", "07:00", -20)]))
            .await;
        let data = app
            .data("{ site(siteId: \"harbour\") { schedule { dayOfWeek date openTime isClosed peakHours { start end } } } }")
            .await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(data["site"]["schedule"], @r#"[{"date":null,"dayOfWeek":"MONDAY","isClosed":false,"openTime":"08:00:00","peakHours":[{"end":"13:30:00","start":"12:00:00"}]},{"date":null,"dayOfWeek":"SUNDAY","isClosed":false,"openTime":"10:00:00","peakHours":[{"end":"13:30:00","start":"12:00:00"}]},{"date":"2026-12-25","dayOfWeek":null,"isClosed":true,"openTime":null,"peakHours":null}]"#);
        }
    })
    .await;
}

#[tokio::test]
async fn ids_are_in_the_order_of_their_bytes_whatever_the_locale_of_the_database() {
    on_each_database(async |app| {
        let ids = ["A", "B", "_", "a", "b", "\u{e4}"];
        let mut events = vec![json!({ "siteRegistration": { "siteId": "s", "name": "s" } })];
        events.extend(ids.iter().rev().map(|id| {
            json!({ "deviceRegistration": { "deviceId": id, "siteId": "s", "deviceType": "GATEWAY" } })
        }));
        app.record(json!(events)).await;
        for (open, close) in [("", ""), ("site(siteId: \"s\") { ", " }")] {
            let (mut seen, mut after) = (Vec::new(), String::new());
            for _ in 0..4 {
                let document = format!(
                    "{{ {open}devices(first: 2{after}) {{ nodes {{ deviceId }} pageInfo {{ endCursor }} }}{close} }}"
                );
                let data = app.data(&document).await;
                let page = data.get("devices").unwrap_or(&data["site"]["devices"]);
                seen.extend(texts(&page["nodes"], "deviceId"));
                if let Some(end) = page["pageInfo"]["endCursor"].as_str() {
                    after = format!(", after: \"{end}\"");
                }
            }
            assert_eq!(seen, ids);
        }
    })
    .await;
}

#[tokio::test]
async fn a_search_finds_a_name_with_letters_beyond_ascii_as_it_is_written() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(
            json!([{ "deviceRegistration": { "deviceId": "till-1", "siteId": "harbour",
            "deviceType": "POS_TERMINAL", "name": "CAF\u{c9} \u{39f}" } }]),
        )
        .await;
        for (search, found) in [
            ("CAF\u{c9} \u{39f}", "till-1"),
            ("caf\u{c9}", "till-1"),
            ("CAF\u{e9}", ""),
        ] {
            assert_eq!(
                devices(app, &format!("search: \"{search}\"")).await,
                found,
                "{search}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_day_with_hours_is_open_also_when_that_is_left_out() {
    on_each_database(async |app| {
        app.fleet().await;
        let hours = |day: &str| json!({ "siteSchedule": { "siteId": "market", "dayOfWeek": day,
            "openTime": "08:00", "closeTime": "20:00" } });
        let closed = json!({ "siteSchedule": { "siteId": "market", "dayOfWeek": "SUNDAY", "isClosed": true } });
        app.record(json!([hours("MONDAY"), hours("TUESDAY"), closed])).await;
        let data = app
            .data("{ siteOperatingSchedules(filter: { isClosed: { eq: false } }) { totalCount } }")
            .await;
        assert_eq!(data["siteOperatingSchedules"]["totalCount"], "2");
        let half = json!([{ "siteSchedule": { "siteId": "market", "dayOfWeek": "SUNDAY",
            "isClosed": true, "openTime": "08:00" } }]);
        assert_eq!(app.outcomes(half).await[0]["code"], "INVALID");
    })
    .await;
}
