//! Access keys are replaced: both hold for a while, and then the new one alone.

use homepot_analytics::identity::Role;
use serde_json::{Value, json};

use super::super::app::{TestApp, on_each_database};
use super::super::socket::Socket;
use super::{ask, grant, key};

async fn rotate(app: &TestApp, by: &str, input: Value) -> Value {
    let document = "mutation($input: RotateAccessKeyInput!) { rotateAccessKey(input: $input) {
        secret accessKey { id name role siteIds rotatedFrom revokedAt version } userErrors { field code } } }";
    let request = json!({ "query": document, "variables": { "input": input } });
    let (_, mut answer) = ask(app, by, request).await;
    answer["data"]["rotateAccessKey"].take()
}

async fn holds(app: &TestApp, key: &str) -> bool {
    let (status, _) = ask(app, key, json!({ "query": "{ viewer { name } }" })).await;
    status == 200
}

async fn id_of(app: &TestApp, admin: &str, key: &str) -> String {
    let request = json!({ "query": "{ accessKeys { nodes { id prefix } } }" });
    let (_, answer) = ask(app, admin, request).await;
    let nodes = answer["data"]["accessKeys"]["nodes"]
        .as_array()
        .unwrap()
        .iter();
    let mut its = nodes.filter(|node| node["prefix"] == key[..9]);
    its.next().unwrap()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn both_keys_hold_until_the_overlap_is_over() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let old = key(app, grant(Role::Viewer, &["harbour"])).await;
        let id = id_of(app, &admin, &old).await;
        let made = rotate(app, &admin, json!({ "id": id, "overlapSeconds": 60 })).await;
        let new = made["secret"].as_str().unwrap();
        let listed = &made["accessKey"];
        assert_eq!(
            (&listed["role"], &listed["siteIds"]),
            (&json!("VIEWER"), &json!(["harbour"]))
        );
        assert_eq!(
            (&listed["name"], &listed["rotatedFrom"]),
            (&json!("viewer"), &json!(id))
        );
        let mut socket = Socket::open_as(app.app().address, &old).await;
        app.clock.advance_ms(59_000);
        // it is as it was after a restart too
        assert!(holds(app, &old).await && holds(app, new).await);
        app.clock.advance_ms(1_000);
        assert!(!holds(app, &old).await && holds(app, new).await);
        assert_eq!(socket.closed().await, 4403);
        let again = rotate(app, &admin, json!({ "id": id })).await;
        assert_eq!(
            again["userErrors"],
            json!([{ "field": "id", "code": "WRONG_STATE" }])
        );
        app.close_to_strangers().await;
        assert!(!holds(app, &old).await && holds(app, new).await);
    })
    .await;
}

#[tokio::test]
async fn a_key_that_was_replaced_is_revoked_before_its_time_and_ends_after_a_restart() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let (one, other) = (
            key(app, grant(Role::Viewer, &[])).await,
            key(app, grant(Role::Viewer, &[])).await,
        );
        for old in [&one, &other] {
            let id = id_of(app, &admin, old).await;
            rotate(app, &admin, json!({ "id": id, "overlapSeconds": 600 })).await;
        }
        app.close_to_strangers().await;
        assert!(holds(app, &one).await && holds(app, &other).await);
        let id = id_of(app, &admin, &one).await;
        let revoke = format!(
            "mutation {{ revokeAccessKey(input: {{ id: \"{id}\" }}) {{ userErrors {{ code }} }} }}"
        );
        ask(app, &admin, json!({ "query": revoke })).await;
        assert!(!holds(app, &one).await && holds(app, &other).await);
        app.clock.advance_ms(600_000);
        assert!(!holds(app, &other).await);
    })
    .await;
}

#[tokio::test]
async fn a_repeat_replaces_a_key_once_and_what_cannot_be_is_told() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let old = key(app, grant(Role::Viewer, &[])).await;
        let id = id_of(app, &admin, &old).await;
        let input = json!({ "id": id, "overlapSeconds": 60, "idempotencyKey": "k" });
        let first = rotate(app, &admin, input.clone()).await;
        let again = rotate(app, &admin, input).await;
        assert!(first["secret"].is_string() && again["secret"].is_null());
        assert_eq!(first["accessKey"]["id"], again["accessKey"]["id"]);
        for (input, field, code) in [
            (
                json!({ "id": id, "overlapSeconds": -1 }),
                "overlapSeconds",
                "INVALID",
            ),
            (
                json!({ "id": id, "overlapSeconds": 604_801 }),
                "overlapSeconds",
                "INVALID",
            ),
            (json!({ "id": "none" }), "id", "NOT_FOUND"),
            (
                json!({ "id": id, "expectedVersion": "1" }),
                "expectedVersion",
                "CONFLICT",
            ),
            (
                json!({ "id": first["accessKey"]["id"], "idempotencyKey": "k" }),
                "idempotencyKey",
                "CONFLICT",
            ),
        ] {
            let refused = rotate(app, &admin, input.clone()).await;
            assert_eq!(
                refused["userErrors"],
                json!([{ "field": field, "code": code }]),
                "{input}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_device_replaces_its_own_key() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let own = "mutation { rotateOwnKey(input: { overlapSeconds: 30 }) { secret accessKeyId userErrors { code } } }";
        let old = key(app, grant(Role::Device, &[])).await;
        // its answer is lost, so it asks again
        ask(app, &old, json!({ "query": own })).await;
        let (_, answer) = ask(app, &old, json!({ "query": own })).await;
        let new = answer["data"]["rotateOwnKey"]["secret"].as_str().unwrap();
        app.clock.advance_ms(30_000);
        assert!(!holds(app, &old).await && holds(app, new).await);
        let (_, viewer) = ask(app, new, json!({ "query": "{ viewer { deviceId } }" })).await;
        assert_eq!(viewer["data"]["viewer"]["deviceId"], "till-1");
        let viewer = key(app, grant(Role::Viewer, &[])).await;
        let (_, refused) = ask(app, &viewer, json!({ "query": own })).await;
        assert_eq!(refused["errors"][0]["extensions"]["code"], "FORBIDDEN");
    })
    .await;
}
