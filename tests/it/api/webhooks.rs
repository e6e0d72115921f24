//! Webhooks: signed, tried again, given up and shown, and sent to public addresses alone.

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use homepot_analytics::app::Access;
use homepot_analytics::configuration::Keyring;
use sea_orm::EntityTrait;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::alerts::opened;
use super::app::{TestApp, on_each_database};

const SECRET: &str = "a secret of sixteen or more";

/// What came to the other side.
struct Came {
    headers: HeaderMap,
    body: Bytes,
}

/// The other side: it answers with one status after the other, and with the last for ever.
async fn other_side(statuses: &'static [u16]) -> (String, mpsc::UnboundedReceiver<Came>) {
    let (told, came) = mpsc::unbounded_channel();
    let answers = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let answer = move |headers: HeaderMap, body: Bytes| {
        let nth = answers.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let status = statuses[nth.min(statuses.len() - 1)];
        told.send(Came { headers, body }).unwrap();
        async move {
            let status = StatusCode::from_u16(status).unwrap();
            (status, [("location", "http://127.0.0.1:1/elsewhere")]).into_response()
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/in", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, came)
}

/// Restarts so that private addresses may be sent to, or not.
async fn restart(app: &mut TestApp, allow_private: bool) {
    app.restart_as(|start| {
        start.access = Access::Open;
        start.webhooks.allow_private = allow_private;
    })
    .await;
}

/// Gives a command on webhooks, and answers with what it was answered with.
async fn give(app: &TestApp, command: &str, input: Value) -> Value {
    let (first, rest) = command.split_at(1);
    let ty = format!("{}{rest}Input", first.to_uppercase());
    let document = format!(
        "mutation($input: {ty}!) {{ {command}(input: $input) {{ webhook {{ webhookId version }}
        userErrors {{ field code }} }} }}"
    );
    let variables = json!({ "input": input });
    app.data_with(&document, variables).await[command].take()
}

/// Waits until there is as much of a list as there must be.
async fn until(app: &TestApp, list: &str, count: usize) -> Vec<Value> {
    loop {
        let data = app.data(&format!("{{ found: {list} }}")).await;
        let found = &data["found"];
        let found = found.as_array().or(found["nodes"].as_array()).unwrap();
        if found.len() >= count {
            return found.clone();
        }
        tokio::task::yield_now().await;
    }
}

async fn in_state(app: &TestApp, device: &str, state: &str) {
    app.record(json!([{ "deviceStateChange": { "deviceId": device, "newState": state } }]))
        .await;
}

async fn create(app: &TestApp, url: &str) -> Value {
    let document = "mutation($url: String!, $secret: String!) { createWebhook(input: { url: $url, secret: $secret,
        states: [OPEN] }) { webhook { webhookId url version isEnabled states } userErrors { field code message } } }";
    let variables = json!({ "url": url, "secret": SECRET });
    app.data_with(document, variables).await["createWebhook"].take()
}

pub(super) async fn deliveries(app: &TestApp) -> Value {
    app.data("{ webhookDeliveries { deliveryId state attempts statusCode error body } }")
        .await["webhookDeliveries"]
        .take()
}

/// Waits until a delivery is as it must be: it is kept after the other side has answered.
pub(super) async fn delivery(app: &TestApp, is_it: impl Fn(&Value) -> bool) -> Value {
    loop {
        let mut found = deliveries(app).await;
        if is_it(&found[0]) {
            return found[0].take();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_opens_is_sent_signed_and_tried_again_after_a_failure_under_the_same_id() {
    on_each_database(async |app| {
        app.fleet().await;
        restart(app, true).await;
        let (url, mut came) = other_side(&[500, 200]).await;
        let made = create(app, &url).await;
        assert_eq!(made["webhook"]["url"], json!(url), "{made:#}");
        let alert = opened(app, &["till-1"]).await.remove(0);
        let first = came.recv().await.unwrap();
        let text = |came: &Came, name: &str| came.headers[name].to_str().unwrap().to_owned();
        let (id, time) = (
            text(&first, "webhook-id"),
            text(&first, "webhook-timestamp"),
        );
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(format!("{id}.{time}.").as_bytes());
        mac.update(&first.body);
        let signed = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(text(&first, "webhook-signature"), signed);
        let body: Value = serde_json::from_slice(&first.body).unwrap();
        assert_eq!(body["event"]["alertTransition"]["alertId"], json!(alert));
        delivery(app, |row| row["error"].is_string()).await;
        app.clock.advance_ms(40_000);
        let second = came.recv().await.unwrap();
        assert_eq!(text(&second, "webhook-id"), id);
        let row = delivery(app, |row| row["state"] == "DELIVERED").await;
        assert_eq!(
            (&row["attempts"], &row["statusCode"]),
            (&json!(2), &json!(200))
        );
    })
    .await;
}

#[tokio::test]
async fn what_fails_again_and_again_is_dead_and_shown_and_can_be_sent_once_more() {
    on_each_database(async |app| {
        app.fleet().await;
        restart(app, true).await;
        let (url, mut came) = other_side(&[503, 503, 503, 503, 503, 503, 503, 503, 204]).await;
        create(app, &url).await;
        opened(app, &["till-1"]).await;
        for attempt in 1..=8 {
            came.recv().await.unwrap();
            delivery(app, |row| {
                row["attempts"] == json!(attempt) && row["error"].is_string()
            })
            .await;
            app.clock.advance_ms(2 * 3_600_000);
        }
        let dead = delivery(app, |row| row["state"] == "DEAD").await;
        assert_eq!(dead["statusCode"], 503);
        let again = json!({ "id": dead["deliveryId"] });
        let document = "mutation($id: ID!) { redeliverWebhook(input: { deliveryId: $id }) {
            delivery { state } userErrors { code } } }";
        let answer = app.data_with(document, again).await;
        assert_eq!(answer["redeliverWebhook"]["userErrors"], json!([]));
        came.recv().await.unwrap();
        delivery(app, |row| row["state"] == "DELIVERED").await;
    })
    .await;
}

#[tokio::test]
async fn private_addresses_are_refused_when_they_are_given_and_when_they_are_connected_to() {
    on_each_database(async |app| {
        app.fleet().await;
        let refused = create(app, "http://127.0.0.1:9/in").await;
        assert_eq!(refused["userErrors"][0]["field"], "url", "{refused:#}");
        // a name is not known until it is looked up
        let made = create(app, "http://localhost:9/in").await;
        assert_eq!(made["userErrors"], json!([]));
        opened(app, &["till-1"]).await;
        let row = delivery(app, |row| row["error"].is_string()).await;
        let error = row["error"].as_str().unwrap();
        assert!(error.contains("of a private network"), "{error}");
        assert_eq!(row["statusCode"], Value::Null);
    })
    .await;
}

#[tokio::test]
async fn of_two_changes_of_one_version_one_is_told_that_it_lost() {
    on_each_database(async |app| {
        let made = create(app, "https://alerts.example/in").await;
        let id = &made["webhook"]["webhookId"];
        let change = |severity: &str, version: Option<&str>| {
            let mut input = json!({ "webhookId": id, "severity": severity });
            if let Some(version) = version {
                input["expectedVersion"] = json!(version);
            }
            give(app, "updateWebhook", input)
        };
        let (one, other) =
            tokio::join!(change("WARNING", Some("1")), change("CRITICAL", Some("1")));
        let errors = [&one["userErrors"], &other["userErrors"]];
        let stale = json!([{ "field": "expectedVersion", "code": "CONFLICT" }]);
        assert_eq!(
            errors.iter().filter(|it| ***it == stale).count(),
            1,
            "{errors:?}"
        );
        assert_eq!(
            errors.iter().filter(|it| ***it == json!([])).count(),
            1,
            "{errors:?}"
        );
        // who expects no version changes what is there
        let (one, other) = tokio::join!(change("WARNING", None), change("CRITICAL", None));
        assert_eq!(
            [&one["userErrors"], &other["userErrors"]],
            [&json!([]), &json!([])]
        );
        let all = app.data("{ webhooks { version } }").await;
        assert_eq!(all["webhooks"], json!([{ "version": "4" }]));
    })
    .await;
}

#[tokio::test]
async fn a_webhook_that_is_deleted_while_it_is_changed_stays_deleted() {
    on_each_database(async |app| {
        let made = create(app, "https://alerts.example/in").await;
        let id = &made["webhook"]["webhookId"];
        tokio::join!(
            give(
                app,
                "updateWebhook",
                json!({ "webhookId": id, "severity": "WARNING" })
            ),
            give(app, "deleteWebhook", json!({ "webhookId": id })),
        );
        let all = app.data("{ webhooks { version } }").await;
        assert_eq!(all["webhooks"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn a_repeat_of_a_key_with_another_webhook_is_a_conflict() {
    on_each_database(async |app| {
        let input =
            json!({ "url": "https://alerts.example/in", "secret": SECRET, "idempotencyKey": "k" });
        let made = give(app, "createWebhook", input.clone()).await;
        assert_eq!(give(app, "createWebhook", input.clone()).await, made);
        for (field, value) in [
            ("url", "https://alerts.example/other"),
            ("secret", "another of sixteen or more"),
        ] {
            let mut other = input.clone();
            other[field] = json!(value);
            let refused = give(app, "createWebhook", other).await;
            let conflict = json!([{ "field": "idempotencyKey", "code": "CONFLICT" }]);
            assert_eq!(refused["userErrors"], conflict, "{field}");
        }
        assert_eq!(until(app, "webhooks { webhookId }", 1).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_secret_that_only_begins_as_those_of_libraries_is_refused() {
    on_each_database(async |app| {
        let input =
            json!({ "url": "https://alerts.example/in", "secret": "whsec_sixteen or more" });
        let refused = give(app, "createWebhook", input).await;
        assert_eq!(
            refused["userErrors"],
            json!([{ "field": "secret", "code": "INVALID" }])
        );
    })
    .await;
}

/// The other side that takes what comes and never answers.
async fn hanging() -> (String, mpsc::UnboundedReceiver<()>) {
    let (told, came) = mpsc::unbounded_channel();
    let answer = move || {
        told.send(()).unwrap();
        std::future::pending::<StatusCode>()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/in", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, came)
}

#[tokio::test]
async fn one_that_does_not_answer_delays_no_other() {
    on_each_database(async |app| {
        app.fleet().await;
        restart(app, true).await;
        let (url, mut held) = hanging().await;
        create(app, &url).await;
        opened(app, &["till-1"]).await;
        held.recv().await.unwrap();
        // that is on its way now; what comes meanwhile is put in and sent
        let (url, mut came) = other_side(&[204]).await;
        create(app, &url).await;
        in_state(app, "till-3", "ERROR").await;
        came.recv().await.unwrap();
        let rows = deliveries(app).await;
        let first = rows.as_array().unwrap().last().unwrap();
        assert_eq!(
            (&first["state"], &first["attempts"], &first["error"]),
            (&json!("PENDING"), &json!(1), &Value::Null),
            "{rows:#}"
        );
    })
    .await;
}

#[tokio::test]
async fn what_waits_for_a_webhook_that_is_disabled_is_sent_when_it_is_enabled_again() {
    on_each_database(async |app| {
        app.fleet().await;
        restart(app, true).await;
        let (url, mut came) = other_side(&[500, 204]).await;
        let made = create(app, &url).await;
        let id = &made["webhook"]["webhookId"];
        opened(app, &["till-1"]).await;
        came.recv().await.unwrap();
        let waits = delivery(app, |row| row["error"].is_string()).await;
        let enable = |is: bool| {
            give(
                app,
                "updateWebhook",
                json!({ "webhookId": id, "isEnabled": is }),
            )
        };
        enable(false).await;
        let (url, mut elsewhere) = other_side(&[204]).await;
        create(app, &url).await;
        app.clock.advance_ms(40_000);
        in_state(app, "till-3", "ERROR").await;
        elsewhere.recv().await.unwrap();
        let rows = deliveries(app).await;
        let last = rows.as_array().unwrap().last().unwrap();
        assert_eq!(
            (&last["deliveryId"], &last["attempts"]),
            (&waits["deliveryId"], &json!(1))
        );
        enable(true).await;
        came.recv().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_end_of_what_began_silenced_is_not_sent() {
    on_each_database(async |app| {
        app.fleet().await;
        restart(app, true).await;
        let (url, _came) = other_side(&[204]).await;
        let made = create(app, &url).await;
        let id = &made["webhook"]["webhookId"];
        let states = json!({ "webhookId": id, "states": ["OPEN", "RESOLVED"] });
        give(app, "updateWebhook", states).await;
        let rule = "mutation { createAlertRule(input: { name: \"r\", severity: CRITICAL,
            watch: { state: { states: [ERROR] } } }) { userErrors { code } } }";
        app.data(rule).await;
        let steps = "alertTransitions(first: 20) { nodes { alertId state } }";
        in_state(app, "till-1", "ERROR").await;
        let alert = until(app, steps, 1).await.remove(0)["alertId"].take();
        let end = app.clock.now().plus_ms(3_600_000);
        let silence = "mutation($id: ID!, $until: DateTime!) {
            silenceAlert(input: { alertId: $id, until: $until }) { userErrors { code message } } }";
        let given = json!({ "id": alert, "until": end.to_string() });
        let silent = app.data_with(silence, given).await;
        assert_eq!(silent["silenceAlert"]["userErrors"], json!([]));
        // over, silenced from its beginning, and over again
        for (state, count) in [("ONLINE", 3), ("ERROR", 4), ("ONLINE", 5)] {
            app.clock.advance_ms(1_000);
            in_state(app, "till-1", state).await;
            until(app, steps, count).await;
        }
        in_state(app, "till-3", "ERROR").await;
        until(app, steps, 6).await;
        let rows = until(app, "webhookDeliveries { body }", 3).await;
        let told = rows.iter().rev().map(|row| {
            let step = &row["body"]["event"]["alertTransition"];
            (
                step["deviceId"].as_str().unwrap(),
                step["state"].as_str().unwrap(),
            )
        });
        let expected = [
            ("till-1", "OPEN"),
            ("till-1", "RESOLVED"),
            ("till-3", "OPEN"),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    })
    .await;
}

#[tokio::test]
async fn a_sealed_secret_signs_as_it_was_given() {
    on_each_database(async |app| {
        app.fleet().await;
        let keys = Keyring::new_key().unwrap();
        app.restart_as(|start| {
            start.access = Access::Open;
            start.webhooks.allow_private = true;
            start.keyring = Keyring::read(&keys).unwrap();
        })
        .await;
        let (url, mut came) = other_side(&[204]).await;
        create(app, &url).await;
        let database = app.database().await;
        let kept = entity::webhooks::Entity::find().one(&database).await;
        let kept = kept.unwrap().unwrap().secret;
        assert!(!kept.contains(SECRET), "{kept}");
        opened(app, &["till-1"]).await;
        let first = came.recv().await.unwrap();
        let text = |name: &str| first.headers[name].to_str().unwrap().to_owned();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(format!("{}.{}.", text("webhook-id"), text("webhook-timestamp")).as_bytes());
        mac.update(&first.body);
        let signed = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(text("webhook-signature"), signed);
    })
    .await;
}
