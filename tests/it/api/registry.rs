//! The registry by command: sites and devices are registered, changed, moved, retired and put into a state.

use homepot_analytics::identity::Role;
use serde_json::{Value, json};

use super::access::{ask, grant, key};
use super::app::{TestApp, at, on_each_database};

const SITE: &str =
    "site { siteId name timeZone currency address tags version } userErrors { field code }";
const DEVICE: &str = "device { deviceId name deviceType model firmware os tags lifecycle version
    site { siteId } } userErrors { field code }";

/// Gives a command, whose type of input is named after it.
async fn give(app: &TestApp, command: &str, selection: &str, input: Value) -> Value {
    let document = document(command, selection);
    let mut data = app.data_with(&document, json!({ "input": input })).await;
    data[command].take()
}

fn document(command: &str, selection: &str) -> String {
    let ty = format!("{}{}Input", command[..1].to_uppercase(), &command[1..]);
    format!("mutation($input: {ty}!) {{ {command}(input: $input) {{ {selection} }} }}")
}

async fn site(app: &TestApp, command: &str, input: Value) -> Value {
    give(app, command, SITE, input).await
}

async fn device(app: &TestApp, command: &str, input: Value) -> Value {
    give(app, command, DEVICE, input).await
}

fn errors(answer: &Value) -> Vec<(&str, &str)> {
    let errors = answer["userErrors"].as_array().unwrap().iter();
    errors
        .map(|error| {
            (
                error["field"].as_str().unwrap(),
                error["code"].as_str().unwrap(),
            )
        })
        .collect()
}

async fn count(app: &TestApp, list: &str) -> String {
    let data = app.data(&format!("{{ {list} {{ totalCount }} }}")).await;
    data[list]["totalCount"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_site_is_registered_and_only_what_is_given_changes() {
    on_each_database(async |app| {
        let made = site(app, "registerSite", json!({ "siteId": "quay", "name": "Quay shop",
            "timeZone": "Europe/Berlin", "currency": "EUR", "tags": ["north"] })).await;
        let mut shown = made["site"].clone();
        shown.as_object_mut().unwrap().remove("version");
        insta::allow_duplicates! {
            insta::assert_snapshot!(shown, @r#"{"address":null,"currency":"EUR","name":"Quay shop","siteId":"quay","tags":["north"],"timeZone":"Europe/Berlin"}"#);
        }
        let changed = site(app, "updateSite", json!({ "siteId": "quay", "address": "Quay 1",
            "currency": null, "expectedVersion": made["site"]["version"] })).await;
        let mut shown = changed["site"].clone();
        shown.as_object_mut().unwrap().remove("version");
        insta::allow_duplicates! {
            insta::assert_snapshot!(shown, @r#"{"address":"Quay 1","currency":null,"name":"Quay shop","siteId":"quay","tags":["north"],"timeZone":"Europe/Berlin"}"#);
        }
        let stale = site(app, "updateSite", json!({ "siteId": "quay", "name": "x",
            "expectedVersion": made["site"]["version"] })).await;
        assert_eq!(errors(&stale), [("expectedVersion", "CONFLICT")]);
        let again = site(app, "registerSite", json!({ "siteId": "quay", "name": "Another" })).await;
        assert_eq!(errors(&again), [("siteId", "CONFLICT")]);
        assert_eq!(count(app, "siteRegistrations").await, "2");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_registered_is_told_with_its_field() {
    on_each_database(async |app| {
        app.fleet().await;
        for (command, selection, input, told) in [
            ("registerSite", SITE, json!({ "siteId": "", "name": "n" }), ("siteId", "INVALID")),
            ("registerSite", SITE, json!({ "siteId": "s", "name": "" }), ("name", "INVALID")),
            ("registerSite", SITE, json!({ "siteId": "s", "name": "n", "currency": "Euro" }), ("currency", "INVALID")),
            ("updateSite", SITE, json!({ "siteId": "none", "name": "n" }), ("siteId", "NOT_FOUND")),
            ("updateSite", SITE, json!({ "siteId": "market", "name": null }), ("name", "INVALID")),
            ("registerDevice", DEVICE, json!({ "deviceId": "d", "siteId": "none", "deviceType": "GATEWAY" }), ("siteId", "NOT_FOUND")),
            ("registerDevice", DEVICE, json!({ "deviceId": "till-1", "siteId": "market", "deviceType": "GATEWAY" }), ("deviceId", "CONFLICT")),
            ("registerDevice", DEVICE, json!({ "deviceId": "d", "siteId": "market", "deviceType": "GATEWAY", "tags": vec!["t"; 65] }), ("tags", "INVALID")),
            ("updateDevice", DEVICE, json!({ "deviceId": "none", "name": "n" }), ("deviceId", "NOT_FOUND")),
            ("updateDevice", DEVICE, json!({ "deviceId": "till-1", "lifecycle": "RETIRED" }), ("lifecycle", "INVALID")),
            ("moveDevice", DEVICE, json!({ "deviceId": "none", "siteId": "market" }), ("deviceId", "NOT_FOUND")),
            ("moveDevice", DEVICE, json!({ "deviceId": "till-1", "siteId": "none" }), ("siteId", "NOT_FOUND")),
            ("retireDevice", DEVICE, json!({ "deviceId": "none" }), ("deviceId", "NOT_FOUND")),
            ("setDeviceState", "change { position } userErrors { field code }", json!({ "deviceId": "none", "state": "MAINTENANCE" }), ("deviceId", "NOT_FOUND")),
            ("setDeviceState", "change { position } userErrors { field code }", json!({ "deviceId": "till-1", "state": "MAINTENANCE", "reason": "r".repeat(1_001) }), ("reason", "INVALID")),
        ] {
            let answer = give(app, command, selection, input.clone()).await;
            assert_eq!(errors(&answer), [told], "{command} {input}");
        }
        assert_eq!(count(app, "deviceRegistrations").await, "3");
        assert_eq!(count(app, "siteRegistrations").await, "2");
    })
    .await;
}

#[tokio::test]
async fn a_device_is_registered_changed_and_moved() {
    on_each_database(async |app| {
        app.fleet().await;
        let made = device(app, "registerDevice", json!({ "deviceId": "till-9", "siteId": "harbour",
            "deviceType": "POS_TERMINAL", "name": "Ninth", "model": "M1", "tags": ["a"] })).await;
        assert_eq!(made["device"]["lifecycle"], "ACTIVE");
        let version = made["device"]["version"].clone();
        let changed = device(app, "updateDevice", json!({ "deviceId": "till-9", "firmware": "2.0",
            "tags": ["a", "b"], "lifecycle": "SUSPENDED", "expectedVersion": version })).await;
        let moved = device(app, "moveDevice", json!({ "deviceId": "till-9", "siteId": "market",
            "expectedVersion": changed["device"]["version"] })).await;
        let mut shown = moved["device"].clone();
        shown.as_object_mut().unwrap().remove("version");
        insta::allow_duplicates! {
            insta::assert_snapshot!(shown, @r#"{"deviceId":"till-9","deviceType":"POS_TERMINAL","firmware":"2.0","lifecycle":"SUSPENDED","model":"M1","name":"Ninth","os":null,"site":{"siteId":"market"},"tags":["a","b"]}"#);
        }
        let stale = device(app, "moveDevice", json!({ "deviceId": "till-9", "siteId": "harbour",
            "expectedVersion": version })).await;
        assert_eq!(errors(&stale), [("expectedVersion", "CONFLICT")]);
    })
    .await;
}

#[tokio::test]
async fn a_device_that_is_moved_leaves_its_history_where_it_was() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([
            { "deviceMetrics": { "deviceId": "till-1", "occurredAt": at(-1), "cpuPercent": 5 } },
            { "jobOutcome": { "jobId": "j", "jobType": "T", "status": "FAILED", "siteId": "harbour" } },
        ])).await;
        device(app, "moveDevice", json!({ "deviceId": "till-1", "siteId": "market" })).await;
        let data = app.data("{ harbour: site(siteId: \"harbour\") { deviceMetrics { totalCount } jobOutcomes { totalCount }
                deviceRegistrations(filter: { deviceId: { eq: \"till-1\" } }) { totalCount } }
            market: site(siteId: \"market\") { deviceMetrics { totalCount }
                deviceRegistrations(filter: { deviceId: { eq: \"till-1\" } }) { totalCount } } }").await;
        let counts = |metrics: &str| json!({ "totalCount": metrics });
        assert_eq!(data["harbour"]["deviceMetrics"], counts("1"));
        assert_eq!(data["market"]["deviceMetrics"], counts("0"));
        assert_eq!(data["harbour"]["jobOutcomes"], counts("1"));
        // where it stood when is told by its registrations
        assert_eq!(data["harbour"]["deviceRegistrations"], counts("1"));
        assert_eq!(data["market"]["deviceRegistrations"], counts("1"));
    })
    .await;
}

#[tokio::test]
async fn a_command_on_the_registry_holds_over_a_clock_that_is_ahead() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(
            json!([{ "deviceRegistration": { "deviceId": "till-1", "siteId": "harbour",
            "deviceType": "GATEWAY", "name": "ahead", "occurredAt": at(4) } }]),
        )
        .await;
        let changed = device(
            app,
            "updateDevice",
            json!({ "deviceId": "till-1", "name": "now" }),
        )
        .await;
        assert_eq!(changed["device"]["name"], "now");
        assert_eq!(changed["device"]["deviceType"], "GATEWAY");
    })
    .await;
}

#[tokio::test]
async fn a_repeat_on_the_registry_records_nothing_whatever_has_changed_since() {
    on_each_database(async |app| {
        app.fleet().await;
        let rename = json!({ "deviceId": "till-1", "name": "once", "idempotencyKey": "k" });
        let first = device(app, "updateDevice", rename.clone()).await;
        app.clock.advance_ms(1_000);
        device(
            app,
            "updateDevice",
            json!({ "deviceId": "till-1", "model": "M2" }),
        )
        .await;
        let again = device(app, "updateDevice", rename).await;
        assert_eq!(again["userErrors"], json!([]));
        assert_eq!(
            (&first["device"]["name"], &again["device"]["model"]),
            (&json!("once"), &json!("M2"))
        );
        let other = json!({ "deviceId": "till-1", "name": "twice", "idempotencyKey": "k" });
        assert_eq!(
            errors(&device(app, "updateDevice", other).await),
            [("idempotencyKey", "CONFLICT")]
        );
        for input in [
            json!({ "siteId": "quay", "name": "Quay", "idempotencyKey": "s" }),
            json!({ "siteId": "quay", "name": "Quay", "idempotencyKey": "s" }),
        ] {
            assert_eq!(
                site(app, "registerSite", input).await["userErrors"],
                json!([])
            );
        }
        let registrations = count(app, "deviceRegistrations").await;
        assert_eq!(
            (
                registrations.as_str(),
                count(app, "siteRegistrations").await.as_str()
            ),
            ("5", "3")
        );
    })
    .await;
}

#[tokio::test]
async fn of_two_who_register_or_change_at_once_neither_is_lost() {
    on_each_database(async |app| {
        app.fleet().await;
        let make = async |name: &str| {
            let input = json!({ "deviceId": "till-9", "siteId": "market", "deviceType": "GATEWAY", "name": name });
            device(app, "registerDevice", input).await
        };
        let (a, b, c) = tokio::join!(make("a"), make("b"), make("c"));
        let made = [&a, &b, &c].iter().filter(|answer| answer["userErrors"] == json!([])).count();
        assert_eq!(made, 1);
        let change = async |input: Value| device(app, "updateDevice", input).await;
        let (a, b, c) = tokio::join!(
            change(json!({ "deviceId": "till-9", "model": "M" })),
            change(json!({ "deviceId": "till-9", "os": "O" })),
            change(json!({ "deviceId": "till-9", "firmware": "F" })),
        );
        for answer in [a, b, c] {
            assert_eq!(answer["userErrors"], json!([]));
        }
        let data = app.data("{ device(deviceId: \"till-9\") { model os firmware } }").await;
        assert_eq!(data["device"], json!({ "model": "M", "os": "O", "firmware": "F" }));
    })
    .await;
}

#[tokio::test]
async fn a_device_that_is_retired_loses_its_keys_in_the_same_commit() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let (first, second) = (key(app, grant(Role::Device, &[])).await, key(app, grant(Role::Device, &[])).await);
        let retire = async || {
            let document = document("retireDevice", "device { lifecycle } revokedKeyIds userErrors { field code }");
            let variables = json!({ "input": { "deviceId": "till-1", "reason": "stolen" } });
            let (_, mut answer) = ask(app, &admin, json!({ "query": document, "variables": variables })).await;
            answer["data"]["retireDevice"].take()
        };
        let retired = retire().await;
        assert_eq!(retired["device"]["lifecycle"], "RETIRED");
        assert_eq!(retired["revokedKeyIds"].as_array().unwrap().len(), 2);
        for key in [&first, &second] {
            let (status, _) = ask(app, key, json!({ "query": "{ viewer { name } }" })).await;
            assert_eq!(status, 401);
        }
        let again = retire().await;
        assert_eq!((&again["revokedKeyIds"], &again["userErrors"]), (&json!([]), &json!([])));
        let log = "{ auditLog(first: 4, order: LAST_RECORDED_FIRST) { nodes { action reason recordedAt } } }";
        let (_, log) = ask(app, &admin, json!({ "query": log })).await;
        let nodes = &log["data"]["auditLog"]["nodes"];
        let actions: Vec<&Value> = (0..3).map(|n| &nodes[n]["action"]).collect();
        assert_eq!(actions, ["COMMAND", "KEY_REVOKED", "KEY_REVOKED"]);
        assert_eq!(nodes[1]["reason"], "stolen");
        assert_eq!(nodes[0]["recordedAt"], nodes[2]["recordedAt"]);
        // nobody is given a key of it any more
        let make = "mutation { createAccessKey(input: { name: \"k\", role: DEVICE, deviceId: \"till-1\" }) { userErrors { field code } } }";
        let (_, made) = ask(app, &admin, json!({ "query": make })).await;
        let told = &made["data"]["createAccessKey"]["userErrors"];
        assert_eq!(*told, json!([{ "field": "deviceId", "code": "WRONG_STATE" }]));
    })
    .await;
}

#[tokio::test]
async fn an_operator_of_a_site_commands_its_registry_and_no_other() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let operator = key(app, grant(Role::Operator, &["harbour"])).await;
        for (command, selection, input, told) in [
            (
                "registerSite",
                SITE,
                json!({ "siteId": "quay", "name": "n" }),
                json!([{ "field": "siteId", "code": "NOT_FOUND" }]),
            ),
            (
                "updateSite",
                SITE,
                json!({ "siteId": "harbour", "name": "n" }),
                json!([]),
            ),
            (
                "updateSite",
                SITE,
                json!({ "siteId": "market", "name": "n" }),
                json!([{ "field": "siteId", "code": "NOT_FOUND" }]),
            ),
            (
                "registerDevice",
                DEVICE,
                json!({ "deviceId": "d", "siteId": "harbour", "deviceType": "GATEWAY" }),
                json!([]),
            ),
            (
                "registerDevice",
                DEVICE,
                json!({ "deviceId": "e", "siteId": "market", "deviceType": "GATEWAY" }),
                json!([{ "field": "siteId", "code": "NOT_FOUND" }]),
            ),
            (
                "updateDevice",
                DEVICE,
                json!({ "deviceId": "till-3", "name": "n" }),
                json!([{ "field": "deviceId", "code": "NOT_FOUND" }]),
            ),
            (
                "moveDevice",
                DEVICE,
                json!({ "deviceId": "till-1", "siteId": "market" }),
                json!([{ "field": "siteId", "code": "NOT_FOUND" }]),
            ),
            (
                "moveDevice",
                DEVICE,
                json!({ "deviceId": "till-3", "siteId": "harbour" }),
                json!([{ "field": "deviceId", "code": "NOT_FOUND" }]),
            ),
            (
                "retireDevice",
                DEVICE,
                json!({ "deviceId": "till-3" }),
                json!([{ "field": "deviceId", "code": "NOT_FOUND" }]),
            ),
        ] {
            let request =
                json!({ "query": document(command, selection), "variables": { "input": input } });
            let (_, answer) = ask(app, &operator, request).await;
            assert_eq!(
                answer["data"][command]["userErrors"], told,
                "{command} {input}"
            );
        }
    })
    .await;
}

const STATES: &str =
    "{ deviceStateHistory(filter: { deviceId: { eq: \"till-1\" } }, order: FIRST_RECORDED_FIRST) {
    nodes { newState changedBy reason } } }";

async fn tell(app: &TestApp, state: &str) -> Value {
    let input = json!({ "deviceId": "till-1", "state": state, "reason": "new printer" });
    give(
        app,
        "setDeviceState",
        "change { newState reason changedBy occurredAt } userErrors { field code }",
        input,
    )
    .await
}

#[tokio::test]
async fn a_device_in_maintenance_is_turned_neither_offline_nor_online() {
    on_each_database(async |app| {
        app.fleet().await;
        let metrics = async || {
            app.record(json!([{ "deviceMetrics": { "deviceId": "till-1", "occurredAt": app.clock.now().to_string() } }])).await;
        };
        let mut socket = app.socket().await;
        let states = "subscription($a: String) { deviceStateChanges(after: $a) { newState changedBy occurredAt } }";
        let id = socket.subscribe(states, json!({ "a": app.head().await })).await;
        let mut next = async || {
            let mut item = socket.data(&id).await;
            let change = item["deviceStateChanges"].take();
            (change["newState"].as_str().unwrap().to_owned(), change["occurredAt"].as_str().unwrap().to_owned())
        };
        metrics().await;
        app.clock.advance_ms(10_000);
        assert_eq!(next().await.0, "ONLINE");
        let answer = tell(app, "MAINTENANCE").await;
        assert_eq!(answer["change"]["changedBy"], "local");
        assert_eq!(next().await.0, "MAINTENANCE");
        // silent for an hour, heard of once, and silent again
        app.clock.advance_ms(3_600_000);
        metrics().await;
        app.clock.advance_ms(3_600_000);
        tell(app, "ONLINE").await;
        let given_back = app.clock.now();
        // nothing in between, and then it has its whole time
        assert_eq!(next().await, ("ONLINE".to_owned(), given_back.to_string()));
        app.clock.advance_ms(89_000);
        app.clock.advance_ms(2_000);
        assert_eq!(next().await, ("OFFLINE".to_owned(), given_back.plus_ms(90_000).to_string()));
        metrics().await;
        assert_eq!(next().await.0, "ONLINE");
        let data = app.data(STATES).await;
        assert_eq!(data["deviceStateHistory"]["nodes"].as_array().unwrap().len(), 5);
        assert_eq!(data["deviceStateHistory"]["nodes"][1]["reason"], "new printer");
    })
    .await;
}

#[tokio::test]
async fn a_state_that_is_told_twice_under_one_key_is_one() {
    on_each_database(async |app| {
        app.fleet().await;
        let give = async |state: &str| {
            let input = json!({ "deviceId": "till-1", "state": state, "idempotencyKey": "k" });
            give(
                app,
                "setDeviceState",
                "change { position } userErrors { field code }",
                input,
            )
            .await
        };
        let first = give("MAINTENANCE").await;
        app.clock.advance_ms(1_000);
        assert_eq!(give("MAINTENANCE").await, first);
        assert_eq!(
            errors(&give("ONLINE").await),
            [("idempotencyKey", "CONFLICT")]
        );
    })
    .await;
}
