//! Insights under devices and sites: the same as at the root, read once for all that are asked for, and within limits.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::app::{TestApp, on_each_database};
use super::insights::{folded, reading, state, weeks};
use super::statements::cost;

#[tokio::test]
async fn what_is_nested_is_the_same_as_at_the_root() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record([weeks("till-1"), vec![state("till-1", -60, "ERROR")]].concat().into())
            .await;
        let health = "value status band reasons { sentence }";
        let risk = "value logOdds horizon";
        let nested = format!(
            "health {{ {health} }} healthForecast(days: 2) {{ value day }} failureRisk(horizon: HOURS_72) {{ {risk} }}
            reliability {{ value failures }} dataQuality {{ value received }}
            trend(measure: DISK_PERCENT) {{ value daysToLimit {{ value }} }} configurationImpact {{ verdict }}
            anomalies(states: [QUIET, OPEN]) {{ nodes {{ measure value }} totalCount }}"
        );
        let document = format!(
            "{{ device(deviceId: \"till-1\") {{ {nested} }}
            deviceHealth(deviceId: \"till-1\") {{ {health} }} healthForecast(deviceId: \"till-1\", days: 2) {{ value day }}
            failureRisk(deviceId: \"till-1\", horizon: HOURS_72) {{ {risk} }}
            reliability(deviceId: \"till-1\") {{ value failures }} dataQuality(deviceId: \"till-1\") {{ value received }}
            trend(deviceId: \"till-1\", measure: DISK_PERCENT) {{ value daysToLimit {{ value }} }}
            configurationImpact(deviceId: \"till-1\") {{ verdict }}
            anomalies(states: [QUIET, OPEN]) {{ nodes {{ measure value }} totalCount }}
            site(siteId: \"harbour\") {{ devicesAtRisk {{ nodes {{ value device {{ deviceId }} }} totalCount }}
                anomalies(states: [QUIET, OPEN]) {{ totalCount }} reliability {{ value failures devices }}
                dataQuality {{ value devices }} }}
            atSite: reliability(siteId: \"harbour\") {{ value failures devices }}
            dataAtSite: dataQuality(siteId: \"harbour\") {{ value devices }} }}"
        );
        let data = app.data(&document).await;
        let device = &data["device"];
        for (nested, root) in [
            ("health", "deviceHealth"),
            ("healthForecast", "healthForecast"),
            ("failureRisk", "failureRisk"),
            ("reliability", "reliability"),
            ("dataQuality", "dataQuality"),
            ("trend", "trend"),
            ("configurationImpact", "configurationImpact"),
            ("anomalies", "anomalies"),
        ] {
            assert_eq!(device[nested], data[root], "{nested}");
        }
        assert_eq!(data["deviceHealth"]["band"], "POOR");
        let site = &data["site"];
        assert_eq!(site["devicesAtRisk"]["totalCount"], "1");
        assert_eq!(site["devicesAtRisk"]["nodes"][0]["device"], json!({ "deviceId": "till-1" }));
        assert_eq!(site["anomalies"]["totalCount"], data["anomalies"]["totalCount"]);
        assert_eq!((&site["reliability"], &site["dataQuality"]), (&data["atSite"], &data["dataAtSite"]));
        assert_eq!(site["reliability"]["devices"], 2);
    })
    .await;
}

/// What is told of the health of a device in a list, and by itself.
fn healths(data: &Value) -> [(f64, Value, Value); 2] {
    let told = |health: &Value| {
        let reasons = health["reasons"].as_array().unwrap().iter();
        let mut reasons = reasons.map(|reason| reason["sentence"].clone());
        let freshness = reasons.find(|told| told.as_str().unwrap().starts_with("Metrics came in"));
        (
            health["value"].as_f64().unwrap(),
            health["status"].clone(),
            freshness.unwrap(),
        )
    };
    [
        told(&data["devices"]["nodes"][0]["health"]),
        told(&data["deviceHealth"]),
    ]
}

#[tokio::test]
async fn a_device_that_comes_back_is_told_alike_in_a_list_and_by_itself() {
    on_each_database(async |app| {
        app.fleet().await;
        let usual = || json!({ "networkLatencyMs": 20, "cpuPercent": 30 });
        let before = (75..75 + 21 * 24).rev();
        let before = before.map(|hour| reading("till-1", -60 * hour, usual()));
        let others = (3..30).rev().map(|hour| reading("till-3", -60 * hour, usual()));
        app.record(before.chain(others).collect()).await;
        folded(app).await;
        // after three days it sends one reading, in an hour that is not over
        app.record(json!([reading("till-1", 0, usual())])).await;
        folded(app).await;
        let document = "{ devices(filter: { deviceIds: [\"till-1\"] }) { nodes { health { value status reasons { sentence } } } }
            deviceHealth(deviceId: \"till-1\") { value status reasons { sentence } } }";
        let [listed, alone] = healths(&app.data(document).await);
        assert_eq!(listed, alone);
        assert_eq!(alone.1, "STALE");
        assert!(alone.2.as_str().unwrap().contains("in 0 %"), "{alone:?}");
        // that hour is over then, and not folded
        app.clock.advance_ms(3_600_000);
        let [listed, alone] = healths(&app.data(document).await);
        assert_eq!((&listed.1, &listed.2), (&alone.1, &alone.2));
        assert!(alone.2.as_str().unwrap().contains("in 4 %"), "{alone:?}");
        assert!((listed.0 - alone.0).abs() < 1.0, "{listed:?} {alone:?}");
    })
    .await;
}

#[tokio::test]
async fn what_is_made_up_does_not_freshen_what_is_real() {
    on_each_database(async |app| {
        app.fleet().await;
        let usual = || json!({ "networkLatencyMs": 20, "cpuPercent": 30 });
        let real = (75..75 + 21 * 24).rev().map(|hour| reading("till-1", -60 * hour, usual()));
        app.record(real.collect()).await;
        let made_up = json!({ "networkLatencyMs": 20, "provenance": "SIMULATED" });
        let made_up = (-70..=0).map(|minutes| reading("till-1", minutes, made_up.clone()));
        app.record(made_up.collect()).await;
        folded(app).await;
        let document = "{ devices(filter: { deviceIds: [\"till-1\"] }) { nodes { health { value status reasons { sentence } } } }
            deviceHealth(deviceId: \"till-1\") { value status reasons { sentence } } }";
        let [listed, alone] = healths(&app.data(document).await);
        assert_eq!(listed, alone);
        assert_eq!(alone.1, "STALE");
    })
    .await;
}

async fn fleet_of(app: &TestApp, devices: usize) {
    app.fleet().await;
    let mut events = Vec::new();
    for number in 0..devices {
        let (device, site) = (format!("d-{number:02}"), format!("s-{:02}", number % 5));
        events.push(json!({ "siteRegistration": { "siteId": site, "name": site } }));
        events.push(json!({ "deviceRegistration": { "deviceId": device, "siteId": site, "deviceType": "GATEWAY" } }));
        events.push(reading(&device, -200, json!({ "cpuPercent": 5 })));
        events.push(state(&device, -199, "ONLINE"));
    }
    app.record(json!(events)).await;
    folded(app).await;
}

#[tokio::test]
async fn insights_cost_as_many_statements_for_one_device_as_for_twenty() {
    on_each_database(async |app| {
        fleet_of(app, 20).await;
        for (list, nested) in [
            (
                "devices(filter: { deviceType: [GATEWAY] }, first: FIRST)",
                "health { value band } failureRisk { value }",
            ),
            (
                "devices(filter: { deviceType: [GATEWAY] }, first: FIRST)",
                "reliability { value } dataQuality { value } trend(measure: CPU_PERCENT) { value }",
            ),
            (
                "devices(filter: { deviceType: [GATEWAY] }, first: FIRST)",
                "dataQuality { refusals { count } }",
            ),
            (
                "devices(filter: { deviceType: [GATEWAY] }, first: FIRST)",
                "reliability(asOf: \"2026-11-23T11:00:00Z\") { value }",
            ),
            (
                "devices(filter: { deviceType: [GATEWAY] }, first: FIRST)",
                "a: health { value } b: health { device { name } }",
            ),
        ] {
            let mut costs = Vec::new();
            for first in [1, 20] {
                let list = list.replace("FIRST", &first.to_string());
                costs.push(cost(app, &format!("{{ {list} {{ nodes {{ {nested} }} }} }}")).await);
            }
            assert!(costs[1] <= costs[0] + 1, "{nested}: {costs:?}");
        }
    })
    .await;
}

/// What is asked for under lists within lists is refused by what it comes to, and at once.
#[tokio::test]
async fn lists_within_lists_are_refused_quickly() {
    on_each_database(async |app| {
        fleet_of(app, 40).await;
        let within = |levels: usize, inner: &str| {
            let (open, close) = ("nodes { device { site { devicesAtRisk(first: 1000) { ", " } } } }");
            format!("{{ devicesAtRisk(first: 1000) {{ {}{inner}{} }} }}", open.repeat(levels), close.repeat(levels))
        };
        for document in [
            within(2, "nodes { value }"),
            within(3, "totalCount"),
            "{ devices(first: 1000) { nodes { anomalies(first: 1000) { nodes { value } } } } }".to_owned(),
            "{ devices(first: 1000) { nodes { health { reasons { sentence } } failureRisk { reasons { sentence } }
                reliability { reasons { sentence } } dataQuality { reasons { sentence } }
                trend(measure: CPU_PERCENT) { reasons { sentence } } healthForecast { reasons { sentence } } } } }".to_owned(),
            "{ devices(first: 100) { nodes { configurationImpact { verdict } } } }".to_owned(),
            "{ sites(first: 1000) { nodes { devicesAtRisk(first: 100) { nodes { device { health { value } } } } } } }".to_owned(),
        ] {
            let begun = Instant::now();
            let answer = app.query(json!({ "query": document })).await;
            let code = &answer["errors"][0]["extensions"]["code"];
            assert_eq!(code, "LIMIT_EXCEEDED", "{document}: {answer}");
            assert!(begun.elapsed() < Duration::from_secs(5), "{document}");
        }
        // each instant is another reading
        let at = |number: usize| {
            format!("a{number}: devices {{ nodes {{ reliability(asOf: \"2026-11-23T11:{:02}:{:02}Z\") {{ value }} }} }}", 45 + number / 60, number % 60)
        };
        let many: Vec<String> = (0..80).map(at).collect();
        let answer = app.query(json!({ "query": format!("{{ {} }}", many.join(" ")) })).await;
        let codes = answer["errors"].as_array().unwrap().iter();
        let is_limit = |error: &Value| error["extensions"]["code"] == "LIMIT_EXCEEDED";
        assert!(codes.clone().all(is_limit) && codes.len() > 0, "{}", answer["errors"]);
        // what stands in itself is read once
        let deep = "{ device(deviceId: \"d-00\") { health { device { health { device { health { value } } } } } } }";
        app.data(deep).await;
    })
    .await;
}
