//! Versions of what is set: what is expected, repeats, and rolling back.

use homepot_analytics::app::Access;
use homepot_analytics::configuration::Keyring;
use serde_json::{Value, json};

use super::super::app::{TestApp, on_each_database, texts};
use super::{done, parameters, roll_back, set, setting, told};

fn to(version: i64) -> Value {
    json!({ "entityType": "SITE", "entityId": "harbour", "toVersion": version.to_string() })
}

#[tokio::test]
async fn of_two_who_expect_the_same_version_one_wins() {
    on_each_database(async |app| {
        app.fleet().await;
        parameters(app, &["a"]).await;
        done(app, "harbour", &[("a", json!(0))]).await;
        let of = |value: i64| {
            let mut input = setting("harbour", &[("a", json!(value))]);
            input["expectedVersion"] = json!("1");
            input
        };
        let (one, other) = tokio::join!(set(app, of(1)), set(app, of(2)));
        let codes: Vec<Vec<String>> = [&one, &other]
            .map(|answer| texts(&answer["userErrors"], "code"))
            .to_vec();
        let mut sorted = codes.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [vec![], vec!["CONFLICT".to_owned()]], "{codes:?}");
        let again = set(app, of(3)).await;
        assert_eq!(texts(&again["userErrors"], "code"), ["CONFLICT"]);
    })
    .await;
}

#[tokio::test]
async fn of_many_commands_at_once_each_makes_a_version_of_its_own() {
    on_each_database(async |app| {
        app.fleet().await;
        parameters(app, &["a"]).await;
        let of = |entity: &'static str, value: i64| set(app, setting(entity, &[("a", json!(value))]));
        let answers = tokio::join!(of("harbour", 1), of("till-1", 2), of("harbour", 3), of("system", 4));
        let answers: [Value; 4] = answers.into();
        for answer in &answers {
            assert_eq!(answer["userErrors"], json!([]));
        }
        let data = app.data("{ configuration(entityType: SITE, entityId: \"harbour\") { version versions { version changedBy
            changes { value } } } }").await;
        assert_eq!(texts(&data["configuration"]["versions"], "version"), ["2", "1"]);
        // what the last to be told is told is what holds
        let made = app.data("{ jobTransitions(order: FIRST_RECORDED_FIRST) { nodes { jobId payload } } }").await;
        let mut last = Value::Null;
        let made = made["jobTransitions"]["nodes"].as_array().unwrap().iter();
        for job in made.filter(|step| !step["payload"].is_null()) {
            if told(app, std::slice::from_ref(job)).await.iter().any(|told| told.starts_with("till-1 ")) {
                last = job["payload"]["parameters"]["a"].clone();
            }
        }
        assert_eq!(last, 2, "of its own it has a value from then on");
    })
    .await;
}

#[tokio::test]
async fn a_parameter_is_set_on_what_the_caller_has_read_of_it() {
    on_each_database(async |app| {
        app.fleet().await;
        parameters(app, &["a", "b"]).await;
        done(app, "till-1", &[("a", json!(1))]).await;
        done(app, "till-1", &[("b", json!(2))]).await;
        for (expected, field, is_taken) in [
            (json!({ "expectedValue": 2 }), "expectedValue", false),
            (json!({ "expectedValue": null }), "expectedValue", false),
            (json!({ "expectedVersion": "2" }), "expectedVersion", false),
            (
                json!({ "expectedValue": 1, "expectedVersion": "1" }),
                "",
                true,
            ),
        ] {
            let mut input = setting("till-1", &[("b", json!(3)), ("a", json!(7))]);
            for (name, value) in expected.as_object().unwrap() {
                input["changes"][1][name] = value.clone();
            }
            let answer = set(app, input).await;
            let fields = texts(&answer["userErrors"], "field");
            if is_taken {
                assert_eq!(answer["version"], "3", "{answer:#}");
            } else {
                assert_eq!(fields, [format!("changes.1.{field}")]);
                assert_eq!(texts(&answer["userErrors"], "code"), ["CONFLICT"]);
            }
        }
        let mut none = setting("till-2", &[("a", json!(1))]);
        none["changes"][0]["expectedValue"] = Value::Null;
        none["expectedVersion"] = json!("0");
        assert_eq!(set(app, none).await["version"], "1");
    })
    .await;
}

#[tokio::test]
async fn a_command_with_a_key_is_done_once_and_answered_alike() {
    on_each_database(async |app| {
        app.fleet().await;
        parameters(app, &["a", "b", "c"]).await;
        let mut input = setting("harbour", &[("a", json!(1)), ("b", json!(1))]);
        input["idempotencyKey"] = json!("k-1");
        input["expectedVersion"] = json!("0");
        let first = set(app, input.clone()).await;
        assert_eq!(first["userErrors"], json!([]));
        let again = set(app, input.clone()).await;
        assert_eq!(again, first);
        done(app, "harbour", &[("a", json!(2))]).await;
        let later = set(app, input.clone()).await;
        assert_eq!(
            (&later["version"], &later["jobs"]),
            (&first["version"], &first["jobs"])
        );
        input["changes"][0]["value"] = json!(5);
        let other = set(app, input).await;
        assert_eq!(texts(&other["userErrors"], "field"), ["idempotencyKey"]);
        // half of it is no repeat, and is not half done
        let mut mixed = setting("harbour", &[("c", json!(1)), ("a", json!(1))]);
        mixed["idempotencyKey"] = json!("k-1");
        let mixed = set(app, mixed).await;
        assert_eq!(texts(&mixed["userErrors"], "field"), ["idempotencyKey"]);
        let mut back = to(1);
        back["idempotencyKey"] = json!("k-1");
        let first = roll_back(app, back.clone()).await;
        assert_eq!(first["version"], "3");
        assert_eq!(roll_back(app, back).await, first);
        let data = app.data("{ configurationSettings { totalCount } }").await;
        assert_eq!(data["configurationSettings"]["totalCount"], "4");
    })
    .await;
}

#[tokio::test]
async fn what_was_set_at_a_version_is_set_again_as_a_new_one() {
    on_each_database(async |app| {
        app.fleet().await;
        parameters(app, &["a", "b", "c"]).await;
        done(app, "harbour", &[("a", json!(1)), ("b", json!(1))]).await;
        done(app, "harbour", &[("b", Value::Null), ("c", json!(2))]).await;
        done(app, "harbour", &[("a", json!(3))]).await;
        let values = |answer: &Value| {
            let rows = answer["configuration"]["values"].as_array().unwrap();
            let told = |row: &Value| format!("{}{}", row["parameterName"].as_str().unwrap(), row["value"]);
            rows.iter().map(told).collect::<Vec<_>>()
        };
        let first = roll_back(app, to(1)).await;
        assert_eq!(values(&first), ["a1", "b1"]);
        assert_eq!(first["version"], "4");
        let both = ["till-1", "till-2"].map(|id| format!("{id} {{\"a\":1,\"b\":1,\"c\":null}}"));
        assert_eq!(told(app, first["jobs"].as_array().unwrap()).await, both);
        assert_eq!(values(&roll_back(app, to(3)).await), ["a3", "c2"]);
        let same = roll_back(app, to(5)).await;
        assert_eq!((&same["version"], &same["jobs"]), (&json!("5"), &json!([])));
        assert_eq!(values(&roll_back(app, to(0)).await), [""; 0]);
        for (version, code) in [(7, "NOT_FOUND"), (-1, "NOT_FOUND")] {
            let answer = roll_back(app, to(version)).await;
            assert_eq!(texts(&answer["userErrors"], "code"), [code]);
            assert_eq!(texts(&answer["userErrors"], "field"), ["toVersion"]);
        }
        let mut stale = to(1);
        stale["expectedVersion"] = json!("5");
        let stale = roll_back(app, stale).await;
        assert_eq!(texts(&stale["userErrors"], "field"), ["expectedVersion"]);
        let narrower = json!({ "parameterName": "a", "schema": { "type": "integer", "maximum": 2 } });
        super::register(app, narrower).await;
        let no_value = roll_back(app, to(3)).await;
        assert_eq!(texts(&no_value["userErrors"], "code"), ["INVALID"]);
        let data = app.data("{ configuration(entityType: SITE, entityId: \"harbour\") { version versions(first: 2) {
            version rolledBackTo changes { parameterName value } } } }").await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(data["configuration"], @r#"{"version":"6","versions":[{"changes":[{"parameterName":"a","value":null},{"parameterName":"c","value":null}],"rolledBackTo":"0","version":"6"},{"changes":[{"parameterName":"a","value":3},{"parameterName":"b","value":null},{"parameterName":"c","value":2}],"rolledBackTo":"3","version":"5"}]}"#);
        }
    })
    .await;
}

#[tokio::test]
async fn what_may_not_be_set_there_any_more_is_not_set_again_either() {
    on_each_database(async |app| {
        app.fleet().await;
        app.restart_as(|start| {
            start.access = Access::Open;
            start.keyring = Keyring::read(&Keyring::new_key().unwrap()).unwrap();
        })
        .await;
        let register = async |app: &TestApp, name: &str, scopes: &[&str]| {
            let input = json!({ "parameterName": name, "schema": {}, "sensitive": name == "wifi", "scopes": scopes });
            assert_eq!(super::register(app, input).await["userErrors"], json!([]));
        };
        for name in ["volume", "wifi"] {
            register(app, name, &["SITE", "DEVICE"]).await;
            done(app, "harbour", &[(name, json!(1))]).await;
            done(app, "harbour", &[(name, Value::Null)]).await;
        }
        for (name, version) in [("volume", 1), ("wifi", 3)] {
            register(app, name, &["DEVICE"]).await;
            let document = "mutation($input: RollbackConfigurationInput!) { rollbackConfiguration(input: $input) {
                userErrors { code field message } } }";
            let data = app.data_with(document, json!({ "input": to(version) })).await;
            let errors = &data["rollbackConfiguration"]["userErrors"];
            let message = format!("{name} cannot be what it was: it is set on DEVICE by now");
            assert_eq!(errors, &json!([{ "code": "INVALID", "field": "toVersion", "message": message }]));
        }
        assert_eq!(roll_back(app, to(0)).await["version"], "4", "to unset it is nothing else");
    })
    .await;
}
