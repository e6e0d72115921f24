//! What is told of configuration has bounds in bytes, however often it is asked for.

use serde_json::{Value, json};

use super::super::app::{TestApp, on_each_database, texts};
use super::{register, set, setting};

const PARAMETERS: usize = 100;
const VERSIONS: i64 = 5;
const BYTES: usize = 8_000;

/// Registers parameters with long schemas and sets each of them several times on a site to something long.
async fn large(app: &TestApp) {
    let names: Vec<String> = (0..PARAMETERS).map(|number| format!("p{number}")).collect();
    let long = "x".repeat(BYTES);
    for name in &names {
        let schema = json!({ "type": "string", "description": long });
        let input = json!({ "parameterName": name, "schema": schema });
        assert_eq!(register(app, input).await["userErrors"], json!([]));
    }
    for version in 1..=VERSIONS {
        let value = json!(format!("{version}{long}"));
        let changes: Vec<(&str, Value)> = names
            .iter()
            .map(|name| (name.as_str(), value.clone()))
            .collect();
        let answer = set(app, setting("market", &changes)).await;
        assert_eq!(answer["version"], version.to_string(), "{answer:#}");
    }
}

/// A field under so many names.
fn aliases(field: &str, count: usize) -> String {
    let aliases = (0..count).map(|number| format!("a{number}: {field} "));
    aliases.collect()
}

#[tokio::test]
async fn values_and_schemas_are_told_as_far_as_there_is_room_for_them() {
    on_each_database(async |app| {
        app.fleet().await;
        large(app).await;
        let of = |fields: String| {
            format!("{{ configuration(entityType: SITE, entityId: \"market\") {{ {fields} }} }}")
        };
        let versions = "versions(first: 100) { version changes { parameterName value } }";
        let data = app.data(&of(versions.to_owned())).await;
        let told = &data["configuration"]["versions"];
        assert_eq!(texts(told, "version"), ["5", "4", "3", "2", "1"]);
        assert_eq!(told[4]["changes"].as_array().unwrap().len(), PARAMETERS);
        let device = |fields: String| {
            format!("{{ effectiveConfiguration(deviceId: \"till-3\") {{ {fields} }} }}")
        };
        for document in [
            of(aliases(versions, 16)),
            of(format!(
                "versions {{ changes {{ {} }} }}",
                aliases("value", 20)
            )),
            of(format!("values {{ {} }}", aliases("value", 100))),
            device(aliases("value", 100)),
            format!(
                "{{ {} }}",
                aliases("configurationParameters { schema }", 50)
            ),
            format!(
                "{{ configurationParameters {{ {} }} }}",
                aliases("schema", 100)
            ),
        ] {
            let answer = app.query(json!({ "query": document })).await;
            let errors = answer["errors"].as_array();
            let errors = errors.unwrap_or_else(|| panic!("{document} is answered"));
            assert_eq!(
                errors[0]["extensions"]["code"], "LIMIT_EXCEEDED",
                "{document}"
            );
            assert!(errors.len() <= 50, "one for each list: {}", errors.len());
        }
    })
    .await;
}
