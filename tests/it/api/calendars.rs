//! Sites with rows for many dates: neither their own alerts and jobs nor those of others suffer.

use homepot_analytics::event::Instant;
use homepot_analytics::ingest::{Ingest, Patience};
use homepot_analytics::kinds::{Kind, parse_any};
use homepot_analytics::store::Outcome;
use serde_json::{Value, json};

use super::alerts::{follow, heard, step};
use super::app::{TestApp, on_each_database};
use super::device_commands::{Followed, made};

const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// A row for a date so many days after today.
fn row(app: &TestApp, site: &str, days: i64, more: &Value) -> Value {
    let date = app.clock.now().plus_ms(days * DAY_MS).to_string();
    let mut row =
        json!({ "siteId": site, "date": date[..10], "openTime": "08:00", "closeTime": "20:00" });
    let more = more.as_object().unwrap().clone();
    row.as_object_mut().unwrap().extend(more);
    json!({ "siteSchedule": row })
}

/// Records what need not go through a request.
async fn recorded(ingest: &Ingest, events: &[Value], now: Instant) {
    for events in events.chunks(1_000) {
        let parsed = events.iter().map(|event| parse_any(event, now));
        let given = parsed.map(|event| (Some(Kind::SiteSchedule), event));
        let appended = ingest.record(given.collect(), None, Patience::Unlimited);
        let outcomes = appended.await.unwrap().outcomes;
        let all = outcomes.iter().all(|o| matches!(o, Outcome::Recorded(_)));
        assert!(all, "{:?}", outcomes.first());
    }
}

/// Has a till fall silent, and awaits the alert of it.
async fn till_is_missed(app: &TestApp) {
    let mut steps = follow(app).await;
    heard(app, &["till-1", "till-2", "till-3"]).await;
    let since = app.clock.now();
    for _ in 0..10 {
        app.clock.advance_ms(30_000);
        heard(app, &["till-2", "till-3"]).await;
    }
    let opened = step(&mut steps.0, &steps.1).await;
    assert_eq!(opened["cause"], "device/till-1");
    assert_eq!(opened["occurredAt"], since.plus_ms(300_000).to_string());
}

fn weekly(site: &str) -> Value {
    json!({ "siteSchedule": { "siteId": site, "dayOfWeek": "MONDAY", "openTime": "08:00",
        "closeTime": "20:00", "maintenanceWindows": [{ "start": "13:00", "end": "14:00" }] } })
}

#[tokio::test]
async fn a_fleet_may_keep_the_exceptions_of_years() {
    on_each_database(async |app| {
        app.fleet().await;
        let sites: Vec<String> = (0..100).map(|n| format!("shop-{n}")).collect();
        let registered = sites.iter().map(|site| {
            json!({ "siteRegistration": { "siteId": site, "name": site, "timeZone": "Europe/London",
                "currency": "GBP" } })
        });
        app.record(registered.collect()).await;
        let device = sites.iter().map(|site| {
            json!({ "deviceRegistration": { "deviceId": format!("till-of-{site}"), "siteId": site,
                "deviceType": "POS_TERMINAL" } })
        });
        app.record(device.collect()).await;
        app.record(sites.iter().map(|site| weekly(site)).collect()).await;
        let now = app.clock.now();
        let none = json!({});
        let of_site = |site: &String| {
            let rows = (-400..0).chain(10..60).map(|day| row(app, site, day, &none));
            rows.collect::<Vec<_>>()
        };
        let rows: Vec<Value> = sites.iter().flat_map(of_site).collect();
        app.restart_after(async |ingest| recorded(&ingest, &rows, now).await).await;
        till_is_missed(app).await;
        let mut devices = Followed::new(app, None).await;
        made(app, json!({ "jobType": "RESTART", "siteIds": sites,
            "start": { "inMaintenanceWindow": true } })).await;
        app.clock.advance_ms(3_600_000);
        for _ in &sites {
            assert_eq!(devices.next().await["state"], "ISSUED");
        }
        let open = app.data("{ sites(first: 102) { nodes { status { isKnown isOpen schedule { dayOfWeek } } } } }").await;
        let nodes = open["sites"]["nodes"].as_array().unwrap();
        let is_open = |site: &&Value| site["status"]["schedule"]["dayOfWeek"] == "MONDAY" && site["status"]["isOpen"] == true;
        assert_eq!(nodes.iter().filter(is_open).count(), 100);
    })
    .await;
}

#[tokio::test]
async fn rows_of_one_site_however_heavy_hold_up_neither_alerts_nor_jobs() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([weekly("harbour"), weekly("market")])).await;
        let note = json!({ "notes": "\u{1F600}".repeat(1_000), "extra": { "more": "x".repeat(60_000) } });
        let now = app.clock.now();
        let rows: Vec<Value> = (1..1_031).map(|day| row(app, "market", day, &note)).collect();
        app.restart_after(async |ingest| {
            for rows in rows.chunks(50) {
                recorded(&ingest, rows, now).await;
            }
        }).await;
        till_is_missed(app).await;
        let mut devices = Followed::new(app, None).await;
        made(app, json!({ "jobType": "RESTART", "deviceIds": ["till-2", "till-3"],
            "start": { "inMaintenanceWindow": true } })).await;
        app.clock.advance_ms(3_600_000);
        devices.told("till-2 1 ISSUED").await;
        devices.told("till-3 1 ISSUED").await;
        let day = app.data("{ siteStatus(siteId: \"market\", at: \"2026-12-24T12:00:00Z\") { isOpen schedule { date } } }").await;
        assert_eq!(day["siteStatus"], json!({ "isOpen": true, "schedule": { "date": "2026-12-24" } }));
    })
    .await;
}

#[tokio::test]
async fn a_window_that_only_a_far_date_has_is_found() {
    on_each_database(async |app| {
        app.fleet().await;
        let window = |start: &str, end: &str| json!({ "maintenanceWindows": [{ "start": start, "end": end }] });
        app.record(json!([row(app, "harbour", 390, &window("03:00", "04:00")),
            row(app, "market", 3, &window("22:00", "02:00"))])).await;
        let input = json!({ "jobType": "RESTART", "deviceIds": ["till-1", "till-3"],
            "start": { "inMaintenanceWindow": true } });
        let document = "query($i: CreateJobInput!) { previewJob(input: $i) { startsAt userErrors { code } } }";
        let preview = app.data_with(document, json!({ "i": input.clone() })).await;
        assert_eq!(preview["previewJob"], json!({ "startsAt": "2026-11-26T22:00:00Z", "userErrors": [] }));
        let harbour = json!({ "jobType": "RESTART", "deviceIds": ["till-1"],
            "start": { "inMaintenanceWindow": true } });
        let preview = app.data_with(document, json!({ "i": harbour })).await;
        assert_eq!(preview["previewJob"]["startsAt"], "2027-12-18T03:00:00Z");
    })
    .await;
}
