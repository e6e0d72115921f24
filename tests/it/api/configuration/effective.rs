//! What holds equals a fold of what was set, whatever is set, unset and rolled back at three levels.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::super::app::{TestApp, at, on_each_database};
use super::{holds, parameters, register, roll_back, set, setting};

const ENTITIES: [&str; 5] = ["system", "harbour", "market", "till-1", "till-3"];
const PARAMETERS: [&str; 3] = ["a", "b", "c"];
const COMMANDS: usize = 20;

/// The history of each thing, folded anew for each question: what its parameters were at each version.
type Histories = BTreeMap<&'static str, Vec<BTreeMap<String, i64>>>;

async fn act(app: &TestApp, random: &mut StdRng, histories: &mut Histories) {
    let entity = *ENTITIES.choose(random).unwrap();
    let history = histories.get_mut(entity).unwrap();
    let mut now = history.last().unwrap().clone();
    let answer = if random.random_bool(0.25) {
        let version = random.random_range(0..history.len());
        let mut input = setting(entity, &[]);
        let input = input.as_object_mut().unwrap();
        input.remove("changes");
        input.insert("toVersion".to_owned(), json!(version.to_string()));
        now.clone_from(&history[version]);
        roll_back(app, json!(input)).await
    } else {
        let mut changes = Vec::new();
        for name in PARAMETERS {
            if random.random_bool(0.5) {
                let value = random.random_bool(0.7).then(|| random.random_range(0..3));
                match value {
                    Some(value) => now.insert(name.to_owned(), value),
                    None => now.remove(name),
                };
                changes.push((name, json!(value)));
            }
        }
        if changes.is_empty() {
            return;
        }
        set(app, setting(entity, &changes)).await
    };
    assert_eq!(answer["userErrors"], json!([]));
    // a rollback to what is so makes no version
    let version: usize = answer["version"].as_str().unwrap().parse().unwrap();
    if version == history.len() {
        history.push(now);
    }
}

fn folded(histories: &Histories, site: &str, device: &str) -> Vec<String> {
    let levels = [(device, "DEVICE"), (site, "SITE"), ("system", "SYSTEM")];
    let told = PARAMETERS.iter().filter_map(|name| {
        let found = levels.iter().find_map(|(entity, source)| {
            let value = histories.get(entity)?.last()?.get(*name)?;
            Some(format!("{name} {value} {source} PENDING"))
        });
        // the one of them that has a default
        found.or((*name == "c").then(|| "c 9 DEFAULT -".to_owned()))
    });
    told.collect()
}

#[tokio::test]
async fn what_holds_equals_a_fold_of_its_history() {
    on_each_database(async |app| {
        app.fleet().await;
        parameters(app, &["a", "b"]).await;
        let with_default =
            json!({ "parameterName": "c", "schema": { "type": "integer", "default": 9 } });
        register(app, with_default).await;
        let mut histories: Histories = ENTITIES
            .map(|entity| (entity, vec![BTreeMap::new()]))
            .into();
        let mut random = StdRng::seed_from_u64(7);
        for step in 0..COMMANDS {
            act(app, &mut random, &mut histories).await;
            for (site, device) in [
                ("harbour", "till-1"),
                ("harbour", "till-2"),
                ("market", "till-3"),
            ] {
                assert_eq!(
                    holds(app, device).await,
                    folded(&histories, site, device),
                    "{device} after {step}"
                );
            }
        }
        let made = histories.values().map(|history| history.len() - 1);
        assert!(
            made.clone().sum::<usize>() > COMMANDS / 2,
            "it did something"
        );
        app.restart().await;
        assert_eq!(
            holds(app, "till-1").await,
            folded(&histories, "harbour", "till-1")
        );
    })
    .await;
}

#[tokio::test]
async fn what_a_source_says_of_a_device_is_shown_where_nothing_is_set() {
    on_each_database(async |app| {
        app.fleet().await;
        parameters(app, &["volume"]).await;
        app.record(json!([{ "configurationChange": { "entityType": "DEVICE", "entityId": "till-1",
            "parameterName": "volume", "newValue": 3, "changedBy": "till-1", "occurredAt": at(4) } }]))
            .await;
        assert_eq!(holds(app, "till-1").await, ["volume 3 REPORTED -"]);
        set(app, setting("harbour", &[("volume", json!(3))])).await;
        assert_eq!(holds(app, "till-1").await, ["volume 3 SITE APPLIED"]);
        set(app, setting("harbour", &[("volume", json!(5))])).await;
        let data = app.data("{ device(deviceId: \"till-1\") { configuration { value source version appliedValue appliedAt } }
            site(siteId: \"harbour\") { configuration { value source status } } systemConfiguration { value } }").await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(data, @r#"{"device":{"configuration":[{"appliedAt":"2026-11-23T12:04:00Z","appliedValue":3,"source":"SITE","value":5,"version":"2"}]},"site":{"configuration":[{"source":"SITE","status":null,"value":5}]},"systemConfiguration":[]}"#);
        }
    })
    .await;
}

#[tokio::test]
async fn of_what_is_not_there_nothing_holds() {
    on_each_database(async |app| {
        app.fleet().await;
        let data = app
            .data(
                "{ a: effectiveConfiguration(deviceId: \"none\") { value }
            c: configuration(entityType: SITE, entityId: \"none\") { version }
            d: configuration(entityType: DEVICE) { version }
            e: configuration(entityType: SYSTEM) { version values { value } } }",
            )
            .await;
        let nothing =
            json!({ "a": null, "c": null, "d": null, "e": { "version": "0", "values": [] } });
        assert_eq!(data, nothing);
        assert_eq!(
            Value::Null,
            app.data("{ changeEvidence(commandId: \"none\") { before { readings } } }")
                .await["changeEvidence"]
        );
    })
    .await;
}
