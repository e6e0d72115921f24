//! Webhooks: signed, tried again, given up and shown, and sent to public addresses alone.

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use homepot_analytics::app::Access;
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
