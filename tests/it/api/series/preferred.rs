//! Of which provenance an answer is when none was asked for.

use homepot_analytics::analytics::provenance::Preferred;
use homepot_analytics::app::Access;
use serde_json::{Value, json};

use super::super::app::{TestApp, at, on_each_database};

/// Of what each answer is, of the whole fleet, and of the device of which all is real.
async fn told(app: &TestApp) -> Value {
    let document = "query($from: DateTime!) { \
        availability(from: $from) { provenance } \
        errors: series(measures: [ERRORS], from: $from) { provenance total: groups { total { count } } } \
        ranked: breakdown(measures: [ERRORS], by: ERROR_CODE, from: $from) { provenance } \
        counted: errorStats(from: $from) { provenance } \
        topPages(from: $from) { provenance } \
        timeline: stateTimeline(deviceId: \"till-2\", from: $from) { provenance } \
        real: series(measures: [ERRORS], from: $from, filter: { deviceIds: [\"till-1\"] }) { provenance } }";
    app.data_with(document, json!({ "from": at(-60) })).await
}

async fn record(app: &TestApp) {
    app.fleet().await;
    let mut events = Vec::new();
    for (device, provenance) in [("till-1", "REAL"), ("till-2", "SIMULATED")] {
        let of = json!({ "occurredAt": at(-5), "provenance": provenance });
        let with = |more: Value| {
            let mut event = of.clone();
            let more = more.as_object().unwrap().clone();
            event.as_object_mut().unwrap().extend(more);
            event
        };
        events.push(json!({ "deviceStateChange": with(json!({ "deviceId": device, "newState": "ONLINE" })) }));
        events.push(
            json!({ "errorLog": with(json!({ "deviceId": device, "category": "DEVICE",
            "severity": "ERROR", "errorMessage": "no paper" })) }),
        );
        events.push(json!({ "userActivity": with(json!({ "activityType": "PAGE_VIEW", "pageUrl": "/tills" })) }));
    }
    app.record(Value::Array(events)).await;
}

#[tokio::test]
async fn what_is_preferred_is_told_alone_where_there_is_any() {
    on_each_database(async |app| {
        record(app).await;
        for (preferred, first) in [
            (Preferred::Real, "REAL"),
            (Preferred::Simulated, "SIMULATED"),
        ] {
            app.restart_as(|start| {
                start.access = Access::Open;
                start.preferred = preferred;
            })
            .await;
            let one = json!({ "provenance": [first] });
            let expected = json!({
                "availability": one,
                "errors": { "provenance": [first], "total": [{ "total": { "count": 1.0 } }] },
                "ranked": one,
                "counted": one,
                "topPages": { "provenance": first },
                // of each of these devices there is but one
                "timeline": { "provenance": ["SIMULATED"] },
                "real": { "provenance": ["REAL"] },
            });
            assert_eq!(told(app).await, expected, "{preferred:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_has_other_labels_than_are_asked_for_is_not_preferred_to_what_has_them() {
    on_each_database(async |app| {
        app.fleet().await;
        let error = |provenance: &str, severity: &str| {
            json!({ "errorLog": { "deviceId": "till-1", "category": "DEVICE", "severity": severity,
                "errorMessage": "no paper", "errorCode": severity, "provenance": provenance,
                "occurredAt": at(-5) } })
        };
        app.record(json!([
            error("REAL", "ERROR"),
            error("SIMULATED", "CRITICAL")
        ]))
        .await;
        // an hour, some days, and less than a quarter of an hour
        let ranges = [-60, -4 * 24 * 60, -7].map(at);
        let labels = [
            ("CRITICAL", Some("SIMULATED")),
            ("ERROR", Some("REAL")),
            ("WARNING", None),
        ];
        for settled in [false, true] {
            if settled {
                app.settle().await;
            }
            for (from, (label, provenance)) in ranges
                .iter()
                .flat_map(|from| labels.iter().map(move |of| (from, of)))
            {
                let dimension = |dimension: &str| {
                    format!(
                        "series(measures: [ERRORS], from: \"{from}\", filter: {{ labels: [{{ \
                         dimension: {dimension}, in: [\"{label}\"] }}] }}) {{ \
                         provenance groups {{ total {{ count }} }} }}"
                    )
                };
                let document = format!(
                    "{{ bySeverity: {} byCode: {} }}",
                    dimension("ERROR_SEVERITY"),
                    dimension("ERROR_CODE")
                );
                let provenance: Vec<&str> = provenance.iter().copied().collect();
                let groups = provenance
                    .iter()
                    .map(|_| json!({ "total": { "count": 1.0 } }));
                let expected =
                    json!({ "provenance": provenance, "groups": groups.collect::<Vec<_>>() });
                assert_eq!(
                    app.data(&document).await,
                    json!({ "bySeverity": expected, "byCode": expected }),
                    "{label} since {from}, folded: {settled}"
                );
            }
        }
    })
    .await;
}
