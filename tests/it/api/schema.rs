//! The schema: in its file, described, and valid.

use homepot_analytics::graphql::sdl;
use serde_json::Value;

use super::app::on_each_database;

#[test]
fn schema_is_in_sync() {
    let file = include_str!("../../../schema.graphql");
    assert!(file == sdl(), "run: cargo run -- schema > schema.graphql");
}

#[test]
fn the_schema_parses() {
    async_graphql::parser::parse_schema(sdl()).unwrap();
}

const INTROSPECTION: &str = "{ __schema { types { name kind description
    fields(includeDeprecated: true) { name description args { name description type { ...Of } } type { ...Of } }
    inputFields { name description } enumValues(includeDeprecated: true) { name description }
    interfaces { name fields { name args { name type { ...Of } } type { ...Of } } } } } }
    fragment Of on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

#[tokio::test]
async fn every_type_field_argument_and_value_is_described() {
    on_each_database(async |app| {
        let data = app.data(INTROSPECTION).await;
        let mut bare = Vec::new();
        let mut look = |place: String, thing: &Value| {
            if thing["description"]
                .as_str()
                .unwrap_or_default()
                .trim()
                .is_empty()
            {
                bare.push(place);
            }
        };
        for ty in list(&data["__schema"], "types") {
            let name = ty["name"].as_str().unwrap();
            let built_in = ["ID", "String", "Int", "Float", "Boolean"].contains(&name);
            if built_in || name.starts_with("__") {
                continue;
            }
            look(name.to_owned(), ty);
            for part in ["fields", "inputFields", "enumValues"] {
                for field in list(ty, part) {
                    let place = format!("{name}.{}", field["name"].as_str().unwrap());
                    for argument in list(field, "args") {
                        look(format!("{place}({})", argument["name"]), argument);
                    }
                    look(place, field);
                }
            }
        }
        assert_eq!(bare, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn every_type_has_the_fields_of_its_interfaces() {
    on_each_database(async |app| {
        let data = app.data(INTROSPECTION).await;
        for ty in list(&data["__schema"], "types") {
            for interface in list(ty, "interfaces") {
                for wanted in list(interface, "fields") {
                    let place = format!("{}.{}", ty["name"], wanted["name"]);
                    let mut fields = list(ty, "fields").iter();
                    let has = fields.find(|field| field["name"] == wanted["name"]);
                    let has = has.unwrap_or_else(|| panic!("there is no {place}"));
                    assert_eq!(has["type"], wanted["type"], "{place}");
                    for argument in list(wanted, "args") {
                        let mut arguments = list(has, "args").iter();
                        let same = arguments.find(|one| one["name"] == argument["name"]);
                        assert_eq!(
                            same.map(|one| &one["type"]),
                            Some(&argument["type"]),
                            "{place}"
                        );
                    }
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn every_scalar_of_its_own_says_where_it_is_specified() {
    on_each_database(async |app| {
        let data = app
            .data("{ __schema { types { name kind specifiedByURL } } }")
            .await;
        let built_in = ["ID", "String", "Int", "Float", "Boolean"];
        for ty in list(&data["__schema"], "types") {
            let name = ty["name"].as_str().unwrap();
            if ty["kind"] == "SCALAR" && !built_in.contains(&name) {
                assert!(ty["specifiedByURL"].is_string(), "{name}");
            }
        }
    })
    .await;
}
