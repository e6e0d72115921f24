//! What was to be sent when the server was killed is sent by the one that comes in its place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::any;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::api::Api;
use super::database::Database;
use super::program::{DEADLINE, Program};

const CREATE: &str = "mutation($url: String!) { createWebhook(input: { url: $url, \
    secret: \"sixteen letters or more\" }) { userErrors { message } } }";
const DELIVERIES: &str = "{ webhookDeliveries { deliveryId state attempts statusCode } }";

/// What came: to which path, and under which id.
type Came = (String, String);

/// The other side. What comes first to `/held` is never answered and to `/failing` with 503, and all that
/// comes later is taken.
async fn other_side() -> (String, mpsc::UnboundedReceiver<Came>) {
    let (told, came) = mpsc::unbounded_channel();
    let times: Arc<[AtomicUsize; 2]> = Arc::default();
    let answer = move |Path(path): Path<String>, headers: HeaderMap| {
        let id = headers["webhook-id"].to_str().unwrap().to_owned();
        let is_held = path == "held";
        let is_first = times[usize::from(is_held)].fetch_add(1, Ordering::SeqCst) == 0;
        told.send((path, id)).unwrap();
        async move {
            match (is_first, is_held) {
                (true, true) => std::future::pending().await,
                (true, false) => StatusCode::SERVICE_UNAVAILABLE,
                (false, _) => StatusCode::NO_CONTENT,
            }
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/{path}", any(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, came)
}

fn serve(database: &Database) -> (Program, String) {
    let listen = ["--webhooks-allow-private", "--listen", "127.0.0.1:0"];
    let mut server =
        database.start(&[["serve", "--no-authentication"].as_slice(), &listen].concat());
    let address = server.address();
    (server, address.expect("it serves"))
}

async fn came(of: &mut mpsc::UnboundedReceiver<Came>) -> BTreeMap<String, String> {
    let mut both = BTreeMap::new();
    while both.len() < 2 {
        let next = tokio::time::timeout(DEADLINE, of.recv()).await;
        both.extend(next.expect("it is sent in time"));
    }
    both
}

fn states(data: &Value) -> Vec<&str> {
    let rows = data["webhookDeliveries"].as_array().unwrap();
    rows.iter()
        .map(|row| row["state"].as_str().unwrap())
        .collect()
}

async fn killed_while_sending(database: Database) {
    let (url, mut arriving) = other_side().await;
    let (mut server, address) = serve(&database);
    let api = Api::new();
    for path in ["held", "failing"] {
        let made = api
            .data(&address, CREATE, json!({ "url": format!("{url}/{path}") }))
            .await;
        assert_eq!(made["createWebhook"]["userErrors"], json!([]));
    }
    let failed = json!([{ "jobOutcome": { "jobId": "night", "jobType": "RESTART", "scope": "JOB",
        "status": "FAILED" } }]);
    api.record(&address, failed).await;
    let first = came(&mut arriving).await;
    // one has failed and waits, the other is claimed and on its way
    let is_so = |data: &Value| {
        let rows = data["webhookDeliveries"].as_array().unwrap();
        rows.len() == 2 && rows.iter().any(|row| row["statusCode"] == 503)
    };
    let data = api.until(&address, DELIVERIES, is_so).await;
    assert_eq!(states(&data), ["PENDING", "PENDING"], "{data}");
    server.kill();
    // an hour later the claim has run out, and what waits is due
    database.execute(
        "UPDATE webhook_deliveries SET due_at = due_at - 3600000000, \
         claimed_until = claimed_until - 3600000000",
    );
    let (_server, address) = serve(&database);
    let again = came(&mut arriving).await;
    assert_eq!(again, first, "under the same ids");
    let is_over = |data: &Value| states(data).iter().all(|state| *state == "DELIVERED");
    let data = api.until(&address, DELIVERIES, is_over).await;
    let rows = data["webhookDeliveries"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["attempts"] == 2), "{data}");
    let mut ids: Vec<&str> = rows
        .iter()
        .filter_map(|row| row["deliveryId"].as_str())
        .collect();
    let mut sent: Vec<&str> = first.values().map(String::as_str).collect();
    ids.sort_unstable();
    sent.sort_unstable();
    assert_eq!(ids, sent);
}

#[tokio::test]
async fn what_waited_or_was_on_its_way_when_the_server_was_killed_is_sent_again_on_sqlite() {
    killed_while_sending(Database::sqlite()).await;
}

#[tokio::test]
async fn what_waited_or_was_on_its_way_when_the_server_was_killed_is_sent_again_on_postgresql() {
    if let Some(database) = Database::postgres() {
        killed_while_sending(database).await;
    }
}
