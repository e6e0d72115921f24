//! Filters that are refused, or given in another form.

use serde_json::json;

use super::app::on_each_database;

#[tokio::test]
async fn a_filter_beyond_its_limits_is_refused() {
    on_each_database(async |app| {
        let document = "query($f: ErrorLogFilter) { errorLogs(filter: $f) { totalCount } }";
        let mut deep = json!({});
        for _ in 0..12 {
            deep = json!({ "not": deep });
        }
        let wide = json!({ "or": vec![json!({ "severity": { "eq": "INFO" } }); 101] });
        let long = json!({ "errorCode": { "in": vec!["x"; 501] } });
        for filter in [deep, wide, long] {
            let code = app.code_with(document, json!({ "f": filter })).await;
            assert_eq!(code, "LIMIT_EXCEEDED");
        }
        for filter in [
            json!({ "severity": { "eq": "LOUD" } }),
            json!({ "colour": { "eq": "blue" } }),
            json!({ "occurredAt": { "gte": "yesterday" } }),
            json!({ "severity": { "gt": "INFO" } }),
        ] {
            let code = app.code_with(document, json!({ "f": filter })).await;
            assert_eq!(code, "BAD_INPUT", "{filter}");
        }
    })
    .await;
}

#[tokio::test]
async fn one_value_where_a_list_may_stand_is_a_list_of_it() {
    on_each_database(async |app| {
        app.fleet().await;
        let record =
            "mutation($i: RecordEventsInput!) { recordEvents(input: $i) { outcomes { status } } }";
        let event = super::inputs::error("alone", "INFO");
        let data = app
            .data_with(record, json!({ "i": { "events": event } }))
            .await;
        assert_eq!(
            data["recordEvents"]["outcomes"],
            json!([{ "status": "RECORDED" }])
        );
        for filter in [
            "and: { severity: { eq: INFO } }",
            "or: { severity: { eq: INFO } }",
            "severity: { in: INFO }",
        ] {
            let data = app
                .data(&format!(
                    "{{ errorLogs(filter: {{ {filter} }}) {{ totalCount }} }}"
                ))
                .await;
            assert_eq!(data["errorLogs"]["totalCount"], "1", "{filter}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_condition_without_a_value_is_refused_and_does_not_let_all_pass() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([super::inputs::error("one", "INFO")]))
            .await;
        let document =
            "query($d: ID) { errorLogs(filter: { deviceId: { eq: $d } }) { totalCount } }";
        for variables in [json!({ "d": null }), json!({})] {
            let request = json!({ "query": document, "variables": variables });
            let answer = app.query(request).await;
            assert_eq!(answer["data"], json!({ "errorLogs": null }));
            let message = answer["errors"][0]["message"].as_str().unwrap();
            assert!(
                message.contains("deviceId.eq") && message.contains("isNull"),
                "{message}"
            );
        }
        let document = "query($f: ErrorLogFilter) { errorLogs(filter: $f) { totalCount } }";
        for filter in [
            json!({ "deviceId": null }),
            json!({ "deviceId": { "in": null } }),
            json!({ "deviceId": { "in": [null] } }),
            json!({ "not": null }),
            json!({ "or": null }),
            json!({ "and": [{ "severity": { "eq": null } }] }),
            json!({ "deviceId": { "isNull": null } }),
        ] {
            let code = app.code_with(document, json!({ "f": filter })).await;
            assert_eq!(code, "BAD_INPUT", "{filter}");
        }
        let document = "query($f: DeviceFilter) { devices(filter: $f) { totalCount } }";
        for name in [
            "siteId",
            "deviceIds",
            "search",
            "lifecycle",
            "currentState",
            "deviceType",
        ] {
            let code = app
                .code_with(document, json!({ "f": { name: null } }))
                .await;
            assert_eq!(code, "BAD_INPUT", "{name}");
        }
        let all = app.data_with(document, json!({ "f": null })).await;
        assert_eq!(all["devices"]["totalCount"], "3");
    })
    .await;
}
