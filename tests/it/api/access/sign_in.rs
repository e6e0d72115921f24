//! Who is let in: on each route, on sockets, and for how long.

use homepot_analytics::event::Instant;
use homepot_analytics::identity::{Grant, Role};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::app::{NOON, on_each_database};
use super::super::socket::Socket;
use super::{ask, code, data, grant, key};

#[tokio::test]
async fn whoever_proves_nothing_is_let_in_nowhere_but_at_what_says_nothing() {
    on_each_database(async |app| {
        app.close_to_strangers().await;
        let status = async |path: &str| {
            let answer = app.client().get(app.address(path)).send().await.unwrap();
            (answer.status().as_u16(), answer.headers().clone())
        };
        for path in ["/", "/graphiql", "/healthz", "/readyz"] {
            assert_eq!(status(path).await.0, 200, "{path}");
        }
        for path in ["/metrics", "/graphql?query=%7Bviewer%7Bname%7D%7D"] {
            let (code, headers) = status(path).await;
            assert_eq!(code, 401, "{path}");
            assert_eq!(headers["www-authenticate"], "Bearer realm=\"homepot\"");
        }
        let post = app.client().post(app.address("/graphql"));
        let answer = post.json(&json!({ "query": "{ viewer { name } }" }));
        let answer: Value = answer.send().await.unwrap().json().await.unwrap();
        assert_eq!(code(&answer), "UNAUTHENTICATED");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_key_that_holds_lets_nobody_in() {
    on_each_database(async |app| {
        app.close_to_strangers().await;
        let key = key(app, grant(Role::Viewer, &[])).await;
        let with = async |credential: &str| {
            let post = app.client().post(app.address("/graphql"));
            let post = post.header("authorization", credential);
            let answer = post.json(&json!({ "query": "{ viewer { name } }" }));
            answer.send().await.unwrap().status().as_u16()
        };
        let other = key.replace(&key[10..14], "AAAA");
        for (credential, expected) in [
            (format!("Bearer {key}"), 200),
            (format!("bearer  {key} "), 200),
            (format!("Bearer {other}"), 401),
            (format!("Bearer {}", &key[..20]), 401),
            (format!("Basic {key}"), 401),
            (key.clone(), 401),
            ("Bearer ".to_owned(), 401),
            (format!("Bearer {}", "x".repeat(9_000)), 401),
        ] {
            assert_eq!(with(&credential).await, expected, "{credential}");
        }
        // in an address it would be written down
        let address = app.address(&format!("/graphql?query=%7Bviewer%7Bname%7D%7D&key={key}"));
        let answer = app.client().get(address).send().await.unwrap();
        assert_eq!(answer.status(), 401);
    })
    .await;
}

#[tokio::test]
async fn metrics_are_for_those_who_read_the_whole_fleet() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        for (grant, expected) in [
            (grant(Role::Viewer, &[]), 200),
            (grant(Role::Admin, &[]), 200),
            (grant(Role::Viewer, &["harbour"]), 403),
            (grant(Role::Ingest, &[]), 403),
            (grant(Role::Device, &[]), 403),
        ] {
            let key = key(app, grant).await;
            let get = app.client().get(app.address("/metrics")).bearer_auth(key);
            assert_eq!(get.send().await.unwrap().status(), expected);
        }
    })
    .await;
}

/// To what somebody is bound is no reason where nobody of the role may.
#[tokio::test]
async fn whoever_may_not_is_told_whether_the_role_or_what_it_is_bound_to_is_why() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let role = "a caller of the role VIEWER may not record events";
        let bound =
            "a caller of the role VIEWER that is bound to sites or to a device may not read";
        for (path, sites, why) in [
            ("/v1/ingest", &["harbour"][..], role),
            ("/v1/ingest", &[][..], role),
            ("/metrics", &["harbour"][..], bound),
        ] {
            let key = key(app, grant(Role::Viewer, sites)).await;
            let address = app.address(path);
            let request = if path == "/metrics" {
                app.client().get(address)
            } else {
                app.client().post(address)
            };
            let answer = request.bearer_auth(key).send().await.unwrap();
            assert_eq!(answer.status(), 403, "{path}");
            let told = answer.text().await.unwrap();
            assert!(told.contains(why), "{path}: {told}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_caller_is_told_who_they_are() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let expires_at = Some(Instant::parse(NOON).unwrap().plus_ms(60_000));
        let bound = Grant { expires_at, ..grant(Role::Operator, &["market", "harbour"]) };
        let key = key(app, bound).await;
        let data = data(app, &key, "{ viewer { name role siteIds deviceId expiresAt } }").await;
        let expected = json!({ "name": format!("operator ({}…)", &key[..9]), "role": "OPERATOR",
            "siteIds": ["harbour", "market"], "deviceId": null, "expiresAt": "2026-11-23T12:01:00Z" });
        assert_eq!(data["viewer"], expected);
    })
    .await;
}

#[tokio::test]
async fn a_socket_is_closed_to_whoever_greets_without_a_key_that_holds() {
    on_each_database(async |app| {
        app.close_to_strangers().await;
        let address = app.app().address;
        for payload in [
            json!({}),
            json!(null),
            json!({ "authorization": null }),
            json!({ "authorization": "Bearer hp_no" }),
        ] {
            let mut socket = Socket::try_connect(address).await.unwrap();
            socket.greet(payload).await;
            assert_eq!(socket.closed().await, 4403);
        }
        let mut socket = Socket::try_connect(address).await.unwrap();
        socket.greet(json!({ "authorization": 7 })).await;
        assert_eq!(socket.closed().await, 4400);
        let key = key(app, grant(Role::Viewer, &[])).await;
        let mut socket = Socket::open_as(address, &key).await;
        let id = socket.subscribe("{ viewer { role } }", json!({})).await;
        assert_eq!(socket.data(&id).await["viewer"]["role"], "VIEWER");
    })
    .await;
}

#[tokio::test]
async fn a_key_that_is_revoked_lets_in_no_more_and_what_is_open_is_closed() {
    on_each_database(async |app| {
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let held = key(app, grant(Role::Viewer, &[])).await;
        let mut socket = Socket::open_as(app.app().address, &held).await;
        let id = socket
            .subscribe("subscription { events { position } }", json!({}))
            .await;
        let post = app.client().post(app.address("/graphql"));
        let post = post.json(&json!({ "query": "subscription { events { position } }" }));
        let post = post
            .header("accept", "text/event-stream")
            .bearer_auth(&held);
        let mut stream = post.send().await.unwrap();
        let keys = data(app, &admin, "{ accessKeys { nodes { id role } } }").await;
        let nodes = keys["accessKeys"]["nodes"].as_array().unwrap();
        let viewer = nodes.iter().find(|node| node["role"] == "VIEWER").unwrap();
        let revoke = "mutation($input: RevokeAccessKeyInput!) { revokeAccessKey(input: $input) {
            accessKey { revokedBy } userErrors { code } } }";
        let request = json!({ "query": revoke, "variables": { "input": { "id": viewer["id"] } } });
        let (_, answer) = ask(app, &admin, request).await;
        let payload = &answer["data"]["revokeAccessKey"];
        assert_eq!(payload["userErrors"], json!([]));
        assert_eq!(
            payload["accessKey"]["revokedBy"],
            format!("admin ({}…)", &admin[..9])
        );
        let (status, answer) = ask(app, &held, json!({ "query": "{ viewer { name } }" })).await;
        assert_eq!((status.as_u16(), code(&answer)), (401, "UNAUTHENTICATED"));
        assert_eq!(socket.closed().await, 4403);
        drop(id);
        while stream.chunk().await.unwrap().is_some() {}
        app.close_to_strangers().await;
        let (status, _) = ask(app, &held, json!({ "query": "{ viewer { name } }" })).await;
        assert_eq!(status, 401);
    })
    .await;
}

#[tokio::test]
async fn a_key_that_expires_lets_in_no_more_and_what_is_open_is_closed() {
    on_each_database(async |app| {
        app.close_to_strangers().await;
        let expires_at = Some(Instant::parse(NOON).unwrap().plus_ms(60_000));
        let short = Grant {
            expires_at,
            ..grant(Role::Viewer, &[])
        };
        let key = key(app, short).await;
        let mut socket = Socket::open_as(app.app().address, &key).await;
        let id = socket.subscribe("{ viewer { role } }", json!({})).await;
        socket.data(&id).await;
        app.clock.advance_ms(60_000);
        assert_eq!(socket.closed().await, 4403);
        let (status, _) = ask(app, &key, json!({ "query": "{ viewer { name } }" })).await;
        assert_eq!(status, 401);
    })
    .await;
}

#[tokio::test]
async fn whoever_only_says_that_it_wants_a_socket_is_let_in_nowhere() {
    on_each_database(async |app| {
        app.close_to_strangers().await;
        for upgrade in ["x", "websocket"] {
            let get = app.client().get(app.address("/metrics"));
            let status = get
                .header("upgrade", upgrade)
                .send()
                .await
                .unwrap()
                .status();
            assert_eq!(status, 401, "{upgrade}");
            let post = app.client().post(app.address("/graphql"));
            let post = post.header("upgrade", upgrade);
            let answer = post.json(&json!({ "query": "{ viewer { name } }" }));
            assert_eq!(answer.send().await.unwrap().status(), 401, "{upgrade}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_key_that_ends_while_its_request_comes_does_nothing_any_more() {
    on_each_database(async |app| {
        app.close_to_strangers().await;
        let expires_at = Some(Instant::parse(NOON).unwrap().plus_ms(60_000));
        let short = Grant {
            expires_at,
            ..grant(Role::Admin, &[])
        };
        let key = key(app, short).await;
        let document =
            "mutation { createAccessKey(input: { name: \\\"a\\\", role: ADMIN }) { secret } }";
        let body = format!("{{\"query\":\"{document}\"}}");
        let address = app.app().address;
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (begin, end) = body.split_at(10);
        stream
            .write_all(format!("{head}{begin}").as_bytes())
            .await
            .unwrap();
        let (status, _) = ask(app, &key, json!({ "query": "{ viewer { name } }" })).await;
        assert_eq!(status, 200);
        app.clock.advance_ms(60_000);
        stream.write_all(end.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 401"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    })
    .await;
}
