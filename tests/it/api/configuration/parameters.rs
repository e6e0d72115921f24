//! Parameters are registered by administrators, each with a schema.

use homepot_analytics::identity::Role;
use serde_json::{Value, json};

use super::super::access::{ask, grant, key};
use super::super::app::{on_each_database, texts};
use super::{done, register};

fn volume(schema: &Value) -> Value {
    json!({ "parameterName": "volume", "schema": schema })
}

#[tokio::test]
async fn a_parameter_has_versions_and_is_known_by_its_name() {
    on_each_database(async |app| {
        let mut input = volume(&json!({ "type": "integer" }));
        input["expectedVersion"] = json!("0");
        input["idempotencyKey"] = json!("k");
        let first = register(app, input.clone()).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(first["parameter"], @r#"{"parameterName":"volume","schema":{"type":"integer"},"scopes":["DEVICE","SITE","SYSTEM"],"sensitive":false,"version":"1"}"#);
        }
        assert_eq!(register(app, input.clone()).await, first, "a repeat");
        input["idempotencyKey"] = Value::Null;
        let stale = register(app, input).await;
        assert_eq!(texts(&stale["userErrors"], "code"), ["CONFLICT"]);
        let again = register(app, volume(&json!({ "maximum": 9 }))).await;
        assert_eq!(again["parameter"]["version"], "2");
        let data = app.data("{ configurationParameters { parameterName version } parameterRegistrations { totalCount } }").await;
        let known = texts(&data["configurationParameters"], "parameterName");
        assert_eq!(known, ["collectionIntervalSeconds", "volume"]);
        assert_eq!(data["parameterRegistrations"]["totalCount"], "2");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_registered_is_told_as_a_user_error() {
    on_each_database(async |app| {
        register(app, volume(&json!({}))).await;
        let secret = json!({ "parameterName": "volume", "schema": {}, "sensitive": true });
        for (input, code, field) in [
            (volume(&json!({ "type": 1 })), "INVALID", "schema"),
            (
                volume(&json!({ "$ref": "https://elsewhere.example/schema" })),
                "INVALID",
                "schema",
            ),
            (
                json!({ "parameterName": "", "schema": {} }),
                "INVALID",
                "parameterName",
            ),
            (
                json!({ "parameterName": "a\u{0}", "schema": {} }),
                "INVALID",
                "parameterName",
            ),
            (
                json!({ "parameterName": "n".repeat(256), "schema": {} }),
                "INVALID",
                "parameterName",
            ),
            (secret, "INVALID", "sensitive"),
        ] {
            let answer = register(app, input.clone()).await;
            assert_eq!(answer["parameter"], Value::Null, "{input}");
            assert_eq!(texts(&answer["userErrors"], "code"), [code], "{input}");
            assert_eq!(texts(&answer["userErrors"], "field"), [field], "{input}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_every_server_knows_is_set_without_registering_it() {
    on_each_database(async |app| {
        app.fleet().await;
        let jobs = done(app, "till-1", &[("collectionIntervalSeconds", json!(5))]).await;
        assert_eq!(jobs.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn the_system_and_parameters_are_for_administrators() {
    on_each_database(async |app| {
        app.fleet().await;
        register(app, volume(&json!({}))).await;
        app.close_to_strangers().await;
        let operator = key(app, grant(Role::Operator, &[])).await;
        let document = "mutation { setConfiguration(input: { entityType: SYSTEM, changes: [{ parameterName: \"volume\", value: 1 }] }) {
            version userErrors { code field } } }";
        let (_, answer) = ask(app, &operator, json!({ "query": document })).await;
        let refused = json!({ "version": null, "userErrors": [{ "code": "NOT_ALLOWED", "field": "entityType" }] });
        assert_eq!(answer["data"]["setConfiguration"], refused);
        let admin = key(app, grant(Role::Admin, &[])).await;
        let (_, answer) = ask(app, &admin, json!({ "query": document })).await;
        assert_eq!(answer["data"]["setConfiguration"]["version"], "1");
    })
    .await;
}
