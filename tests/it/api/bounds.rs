//! Bad input: bounds are outcomes, what does not fit the schema fails the request.

use homepot_analytics::kinds::{Identity, Kind, Origin, Spec};
use serde_json::{Value, json};

use super::app::{RECORD, TestApp, on_each_database, texts};
use super::inputs::{given, minimal, out_of_bounds, recordable, with, wrong_types};

async fn count(app: &TestApp, spec: &Spec) -> i64 {
    let list = spec.list;
    // all reports, and not the server's own requests
    let which = match spec.kind {
        Kind::ApiRequest => "(filter: { not: { endpoint: { startsWith: \"/\" } } })",
        _ if spec.derived.is_some() => "(all: true)",
        _ => "",
    };
    let data = app
        .data(&format!("{{ {list}{which} {{ totalCount }} }}"))
        .await;
    data[list]["totalCount"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn every_bound_of_every_kind_is_refused_with_its_code_and_holds_no_neighbour_back() {
    on_each_database(async |app| {
        app.fleet().await;
        for spec in recordable() {
            let before = count(app, spec).await;
            let mut expected = vec![(Value::Null, "null".to_owned())];
            let mut events = vec![json!({ spec.wire: minimal(spec, 900) })];
            for field in given(spec) {
                for (value, code) in out_of_bounds(field) {
                    events.push(with(spec, events.len(), field.name, value));
                    expected.push((json!(field.name), code.to_owned()));
                }
            }
            events.push(with(spec, events.len(), "extra", json!("x".repeat(65_536))));
            expected.push((json!("extra"), "TOO_LONG".to_owned()));
            events.push(json!({ spec.wire: minimal(spec, 901) }));
            expected.push((Value::Null, "null".to_owned()));
            let outcomes = app.outcomes(json!(events)).await;
            let answered: Vec<(Value, String)> = outcomes
                .as_array()
                .unwrap()
                .iter()
                .map(|outcome| outcome["field"].clone())
                .zip(texts(&outcomes, "code"))
                .collect();
            assert_eq!(answered, expected, "{}", spec.wire);
            assert_eq!(count(app, spec).await, before + 2, "{}", spec.wire);
        }
    })
    .await;
}

#[tokio::test]
async fn a_wrong_type_fails_the_request_and_nothing_of_it_is_stored() {
    on_each_database(async |app| {
        app.fleet().await;
        for spec in recordable() {
            let before = count(app, spec).await;
            let mut wrong: Vec<(&str, Value)> = vec![
                ("eventId", json!("not-a-uuid")),
                ("occurredAt", json!("yesterday")),
                ("occurredAt", json!(1_700_000_000)),
                ("provenance", json!("IMAGINED")),
            ];
            for field in given(spec) {
                wrong.extend(
                    wrong_types(field)
                        .into_iter()
                        .map(|value| (field.name, value)),
                );
            }
            for (name, value) in wrong {
                let events =
                    json!([{ spec.wire: minimal(spec, 1) }, with(spec, 2, name, value.clone())]);
                let code = app
                    .code_with(RECORD, json!({ "input": { "events": events } }))
                    .await;
                assert_eq!(code, "BAD_INPUT", "{}.{name} = {value}", spec.wire);
            }
            assert_eq!(count(app, spec).await, before, "{}", spec.wire);
        }
    })
    .await;
}

#[tokio::test]
async fn a_missing_required_field_fails_the_request() {
    on_each_database(async |app| {
        app.fleet().await;
        for spec in recordable() {
            let fields = given(spec).filter(|field| field.origin == Origin::Required);
            let mut names: Vec<&str> = fields.map(|field| field.name).collect();
            if spec.identity == Identity::DeviceAndTime {
                names.push("occurredAt");
            }
            for name in names {
                for absent in [true, false] {
                    let mut body = minimal(spec, 1);
                    body.remove(name);
                    if !absent {
                        body.insert(name.to_owned(), Value::Null);
                    }
                    let events = json!([{ spec.wire: body }]);
                    let code = app
                        .code_with(RECORD, json!({ "input": { "events": events } }))
                        .await;
                    assert_eq!(code, "BAD_INPUT", "{}.{name}", spec.wire);
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_unknown_field_fails_the_request() {
    on_each_database(async |app| {
        app.fleet().await;
        for spec in recordable() {
            let events = json!([with(spec, 1, "colour", json!("blue"))]);
            let code = app
                .code_with(RECORD, json!({ "input": { "events": events } }))
                .await;
            assert_eq!(code, "BAD_INPUT", "{}", spec.wire);
        }
    })
    .await;
}

#[tokio::test]
async fn an_event_is_of_exactly_one_kind() {
    on_each_database(async |app| {
        let site = json!({ "siteId": "a", "name": "A" });
        let user = json!({ "activityType": "PAGE_VIEW" });
        for event in [
            json!({}),
            json!({ "siteRegistration": null }),
            json!({ "siteRegistration": site, "userActivity": user }),
            json!({ "weather": {} }),
            json!({ "jobTransition": { "jobId": "1", "jobType": "RESTART", "state": "QUEUED" } }),
        ] {
            let events = json!({ "input": { "events": [event] } });
            assert_eq!(app.code_with(RECORD, events).await, "BAD_INPUT", "{event}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_wrong_literal_in_the_document_is_bad_input() {
    on_each_database(async |app| {
        for event in [
            "{ userActivity: { activityType: DANCED } }",
            "{ userActivity: { activityType: PAGE_VIEW, durationMs: 1.5 } }",
            "{ userActivity: { activityType: PAGE_VIEW, mood: \"good\" } }",
            "{ userActivity: {} }",
        ] {
            let document = format!(
                "mutation {{ recordEvents(input: {{ events: [{event}] }}) {{ outcomes {{ status }} }} }}"
            );
            assert_eq!(app.code(&document).await, "BAD_INPUT", "{event}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_document_that_does_not_fit_the_schema_is_not_executed() {
    on_each_database(async |app| {
        for (document, code) in [
            ("{ weather }", "VALIDATION_FAILED"),
            ("{ errorLogs }", "VALIDATION_FAILED"),
            ("{ errorLogs { nodes { colour } } }", "VALIDATION_FAILED"),
            (
                "{ errorLogs(colour: 1) { totalCount } }",
                "VALIDATION_FAILED",
            ),
            (
                "query($f: ErrorLogFilter!) { errorLogs(filter: $f) { totalCount } }",
                "VALIDATION_FAILED",
            ),
            ("{ errorLogs { nodes { id }", "PARSE_FAILED"),
            ("", "PARSE_FAILED"),
        ] {
            assert_eq!(app.code(document).await, code, "{document}");
        }
    })
    .await;
}

#[tokio::test]
async fn rules_over_several_fields_are_refused_with_the_field_at_fault() {
    on_each_database(async |app| {
        app.fleet().await;
        let schedule = |more: Value| {
            let mut body = json!({ "siteId": "harbour" });
            body.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            json!({ "siteSchedule": body })
        };
        let outcomes = app
            .outcomes(json!([
                schedule(json!({ "isClosed": true })),
                schedule(json!({ "isClosed": true, "date": "2026-12-25", "dayOfWeek": "MONDAY" })),
                schedule(json!({ "dayOfWeek": "MONDAY", "openTime": "08:00" })),
                { "userActivity": { "activityType": "OTHER" } },
                { "configurationChange": { "entityType": "DEVICE", "entityId": "nobody",
                    "parameterName": "p", "newValue": 1, "changedBy": "me" } },
                { "configurationChange": { "entityType": "SITE", "entityId": "nowhere",
                    "parameterName": "p", "newValue": 1, "changedBy": "me" } },
            ]))
            .await;
        assert_eq!(
            texts(&outcomes, "code"),
            [
                "MISSING",
                "INVALID",
                "MISSING",
                "MISSING",
                "UNKNOWN_DEVICE",
                "UNKNOWN_SITE"
            ]
        );
        assert_eq!(
            texts(&outcomes, "field"),
            [
                "dayOfWeek",
                "date",
                "closeTime",
                "name",
                "deviceId",
                "siteId"
            ]
        );
    })
    .await;
}
