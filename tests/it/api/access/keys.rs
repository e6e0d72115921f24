//! Access keys are made, listed, revoked, and told to nobody.

use homepot_analytics::identity::Role;
use homepot_analytics::store::Location;
use serde_json::{Value, json};

use super::super::app::{TestApp, on_each_database, texts};
use super::{ask, data, grant, key, recorded};

const CREATE: &str = "mutation($input: CreateAccessKeyInput!) { createAccessKey(input: $input) {
    secret accessKey { id prefix name role siteIds deviceId createdBy expiresAt revokedAt lastUsedAt version }
    userErrors { field code message } } }";

async fn create(app: &TestApp, admin: &str, input: Value) -> Value {
    let request = json!({ "query": CREATE, "variables": { "input": input } });
    let (_, mut answer) = ask(app, admin, request).await;
    assert!(answer.get("errors").is_none(), "{answer:#}");
    answer["data"]["createAccessKey"].take()
}

async fn revoke(app: &TestApp, admin: &str, input: Value) -> Value {
    let document = "mutation($input: RevokeAccessKeyInput!) { revokeAccessKey(input: $input) {
        accessKey { revokedAt version } userErrors { field code } } }";
    let request = json!({ "query": document, "variables": { "input": input } });
    let (_, mut answer) = ask(app, admin, request).await;
    answer["data"]["revokeAccessKey"].take()
}

#[tokio::test]
async fn a_key_is_made_with_what_it_is_granted_and_holds_at_once() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let input = json!({ "name": "till agent", "role": "DEVICE", "deviceId": "till-1",
            "expiresAt": "2027-01-01T00:00:00Z" });
        let made = create(app, &admin, input).await;
        let secret = made["secret"].as_str().unwrap();
        let metrics = json!([{ "deviceMetrics": { "deviceId": "till-1", "cpuPercent": 5,
            "occurredAt": "2026-11-23T11:00:00Z" } }]);
        assert_eq!(recorded(app, secret, metrics).await, ["RECORDED"]);
        let shown = &made["accessKey"];
        assert_eq!(shown["prefix"], secret[..9]);
        assert_eq!(shown["createdBy"], format!("admin ({}…)", &admin[..9]));
        for (field, value) in [
            ("name", json!("till agent")),
            ("role", json!("DEVICE")),
            ("siteIds", json!(null)),
            ("deviceId", json!("till-1")),
            ("expiresAt", json!("2027-01-01T00:00:00Z")),
            ("revokedAt", json!(null)),
            ("lastUsedAt", json!(null)),
        ] {
            assert_eq!(shown[field], value, "{field}");
        }
        let listed = data(
            app,
            &admin,
            "{ accessKeys { nodes { name lastUsedAt } totalCount } }",
        )
        .await;
        assert_eq!(listed["accessKeys"]["totalCount"], "2");
        let used = texts(&listed["accessKeys"]["nodes"], "lastUsedAt");
        assert_eq!(used, ["2026-11-23T12:00:00Z", "2026-11-23T12:00:00Z"]);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_granted_is_told_as_a_user_error() {
    on_each_database(async |app| {
        app.fleet().await;
        for (input, field, code) in [
            (json!({ "name": "", "role": "VIEWER" }), "name", "INVALID"),
            (
                json!({ "name": "a", "role": "DEVICE" }),
                "deviceId",
                "INVALID",
            ),
            (
                json!({ "name": "a", "role": "DEVICE", "deviceId": "nobody" }),
                "deviceId",
                "NOT_FOUND",
            ),
            (
                json!({ "name": "a", "role": "VIEWER", "siteIds": ["nowhere"] }),
                "siteIds",
                "NOT_FOUND",
            ),
            (
                json!({ "name": "a", "role": "OPERATOR", "siteIds": [] }),
                "siteIds",
                "INVALID",
            ),
            (
                json!({ "name": "a", "role": "ADMIN", "siteIds": ["harbour"] }),
                "siteIds",
                "INVALID",
            ),
            (
                json!({ "name": "a", "role": "VIEWER", "expiresAt": "2026-11-23T12:00:00Z" }),
                "expiresAt",
                "INVALID",
            ),
        ] {
            let refused = create(app, "", input.clone()).await;
            let error = &refused["userErrors"][0];
            assert_eq!(
                (&error["field"], &error["code"]),
                (&json!(field), &json!(code)),
                "{input}"
            );
            assert_eq!(refused["secret"], json!(null));
        }
    })
    .await;
}

#[tokio::test]
async fn a_repeat_makes_no_second_key_and_does_not_show_the_first_again() {
    on_each_database(async |app| {
        let input = json!({ "name": "a", "role": "VIEWER", "idempotencyKey": "k" });
        let first = create(app, "", input.clone()).await;
        let second = create(app, "", input).await;
        assert!(first["secret"].is_string());
        assert_eq!(second["secret"], json!(null));
        assert_eq!(second["accessKey"]["id"], first["accessKey"]["id"]);
        let other = json!({ "name": "b", "role": "VIEWER", "idempotencyKey": "k" });
        let refused = create(app, "", other).await;
        assert_eq!(refused["userErrors"][0]["code"], "CONFLICT");
        let listed = app.data("{ accessKeys { totalCount } }").await;
        assert_eq!(listed["accessKeys"]["totalCount"], "1");
    })
    .await;
}

#[tokio::test]
async fn a_key_is_revoked_in_the_version_that_was_read_and_once() {
    on_each_database(async |app| {
        let made = create(app, "", json!({ "name": "a", "role": "VIEWER" })).await;
        let (id, version) = (&made["accessKey"]["id"], &made["accessKey"]["version"]);
        let stale = revoke(app, "", json!({ "id": id, "expectedVersion": "0" })).await;
        assert_eq!(
            stale["userErrors"],
            json!([{ "field": "expectedVersion", "code": "CONFLICT" }])
        );
        assert_eq!(stale["accessKey"]["revokedAt"], json!(null));
        let done = revoke(app, "", json!({ "id": id, "expectedVersion": version })).await;
        assert_eq!(done["userErrors"], json!([]));
        assert!(done["accessKey"]["revokedAt"].is_string());
        let again = revoke(app, "", json!({ "id": id })).await;
        assert_eq!(again, done);
        let unknown = revoke(app, "", json!({ "id": "no" })).await;
        assert_eq!(
            unknown["userErrors"],
            json!([{ "field": "id", "code": "NOT_FOUND" }])
        );
    })
    .await;
}

#[tokio::test]
async fn a_key_itself_is_kept_nowhere() {
    on_each_database(async |app| {
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let made = create(app, &admin, json!({ "name": "a", "role": "VIEWER" })).await;
        let secret = made["secret"].as_str().unwrap().to_owned();
        data(app, &secret, "{ viewer { name } }").await;
        let (status, _) = ask(
            app,
            &format!("{secret}x"),
            json!({ "query": "{ viewer { name } }" }),
        )
        .await;
        assert_eq!(status, 401);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("backup");
        app.settle().await;
        let location = Location {
            url: app.url().to_owned(),
            readers_max: 2,
            reads_within: None,
            create: false,
            ..Location::default()
        };
        homepot_analytics::store::backup(&location, &file, &|_| {})
            .await
            .unwrap();
        let bytes = std::fs::read(&file).unwrap();
        let mut text = String::new();
        let is_packed = bytes.starts_with(&[0x1f, 0x8b]);
        let mut plain: Box<dyn std::io::Read> = if is_packed {
            Box::new(flate2::read::MultiGzDecoder::new(bytes.as_slice()))
        } else {
            Box::new(bytes.as_slice())
        };
        std::io::Read::read_to_string(&mut plain, &mut text).unwrap();
        assert!(text.contains(&secret[..9]), "the beginning is shown");
        assert!(!text.contains(&secret[..12]), "no more of it is kept");
    })
    .await;
}
