//! Keys by which tokens are proved: that they must be good ones, and that they may change.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use homepot_analytics::identity::{TokenArgs, Tokens};
use serde_json::json;

use super::super::app::{TestApp, on_each_database};
use super::super::socket::Socket;
use super::ask;
use super::issuer::{Issuer, by_file, by_secret, by_set, claims, set};

/// How often something is asked that is to come about at most.
const TRIES_MAX: usize = 100_000;

async fn status(app: &TestApp, token: &str) -> u16 {
    let (status, _) = ask(app, token, json!({ "query": "{ viewer { name } }" })).await;
    status.as_u16()
}

/// Asks until a token is answered with a status.
async fn becomes(app: &TestApp, token: &str, expected: u16) {
    for _ in 0..TRIES_MAX {
        if status(app, token).await == expected {
            return;
        }
    }
    panic!("the token is not answered with {expected}");
}

/// A server of a set of keys.
struct Published {
    address: String,
    answer: Arc<Mutex<(StatusCode, String)>>,
    fetched: Arc<AtomicUsize>,
    server: tokio::task::JoinHandle<()>,
}

impl Published {
    async fn new(status: StatusCode, text: String) -> Self {
        let answer = Arc::new(Mutex::new((status, text)));
        let fetched = Arc::new(AtomicUsize::new(0));
        let (answers, counts) = (Arc::clone(&answer), Arc::clone(&fetched));
        let serve = get(async move || {
            counts.fetch_add(1, Ordering::SeqCst);
            answers.lock().unwrap().clone()
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/keys", listener.local_addr().unwrap());
        let router = Router::new().route("/keys", serve);
        let server = tokio::task::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            address,
            answer,
            fetched,
            server,
        }
    }

    fn publish(&self, text: String) {
        *self.answer.lock().unwrap() = (StatusCode::OK, text);
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[tokio::test]
async fn keys_in_a_file_are_read_again_when_it_changes() {
    on_each_database(async |app| {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (Issuer::ed("old", 7), Issuer::ec("new", 8));
        let tokens = by_file(folder.path(), &[&old]);
        app.restart_as(|start| start.tokens = tokens).await;
        let (by_old, by_new) = (old.token(&claims(json!({}))), new.token(&claims(json!({}))));
        assert_eq!(
            (status(app, &by_old).await, status(app, &by_new).await),
            (200, 401)
        );
        let mut socket = Socket::open_as(app.app().address, &by_old).await;
        let id = socket.subscribe("{ viewer { role } }", json!({})).await;
        socket.data(&id).await;
        by_file(folder.path(), &[&old, &new]);
        becomes(app, &by_new, 200).await;
        assert_eq!(status(app, &by_old).await, 200);
        // what is no set leaves the keys as they are
        std::fs::write(folder.path().join("keys.json"), "{").unwrap();
        assert_eq!(
            status(app, &Issuer::ed("no", 9).token(&claims(json!({})))).await,
            401
        );
        assert_eq!(status(app, &by_old).await, 200);
        by_file(folder.path(), &[&new]);
        becomes(app, &by_old, 401).await;
        assert_eq!(status(app, &by_new).await, 200);
        assert_eq!(
            socket.closed().await,
            4403,
            "what is open ends with its key"
        );
    })
    .await;
}

#[tokio::test]
async fn keys_at_an_address_are_fetched_once_more_for_a_key_that_is_not_known() {
    on_each_database(async |app| {
        let (old, new) = (Issuer::ed("old", 7), Issuer::ed("new", 8));
        let published = Published::new(StatusCode::OK, set(&[&old])).await;
        let tokens = by_set(&published.address);
        app.restart_as(|start| start.tokens = tokens).await;
        let (by_old, by_new) = (old.token(&claims(json!({}))), new.token(&claims(json!({}))));
        assert_eq!(status(app, &by_old).await, 200);
        assert_eq!(published.fetched.load(Ordering::SeqCst), 1);
        published.publish(set(&[&old, &new]));
        becomes(app, &by_new, 200).await;
        assert_eq!(published.fetched.load(Ordering::SeqCst), 2);
        for seed in 9..60 {
            let unknown = Issuer::ed(&format!("key-{seed}"), seed);
            assert_eq!(status(app, &unknown.token(&claims(json!({})))).await, 401);
        }
        assert_eq!(published.fetched.load(Ordering::SeqCst), 2, "once a minute");
    })
    .await;
}

#[tokio::test]
async fn an_address_without_keys_lets_in_whoever_has_an_access_key_and_no_token() {
    on_each_database(async |app| {
        let ed = Issuer::ed("ed", 7);
        let gone = Published::new(StatusCode::NOT_FOUND, set(&[&ed])).await;
        let tokens = by_set(&gone.address);
        app.restart_as(|start| start.tokens = tokens).await;
        let token = ed.token(&claims(json!({})));
        assert_eq!(status(app, &token).await, 401);
        gone.publish(set(&[&ed]));
        becomes(app, &token, 200).await;
    })
    .await;
}

#[tokio::test]
async fn keys_that_prove_nothing_are_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let refused = async |tokens: TokenArgs| {
        let error = Tokens::open(&tokens).await.unwrap_err();
        homepot_analytics::telemetry::chain(&error).to_string()
    };
    let short = by_secret(folder.path(), &"s".repeat(31));
    assert!(refused(short).await.contains("fewer than 32 bytes"));
    let good = by_secret(folder.path(), &"s".repeat(32));
    assert!(Tokens::open(&good).await.unwrap().is_some());
    std::fs::remove_file(folder.path().join("secret")).unwrap();
    assert!(refused(good).await.contains("cannot read the secret"));
    let file = folder.path().join("keys.json");
    let named = by_set(&file.display().to_string());
    assert!(
        refused(named.clone())
            .await
            .contains("cannot read the file")
    );
    std::fs::write(&file, "no set").unwrap();
    assert!(refused(named.clone()).await.contains("no JSON Web Key Set"));
    std::fs::write(&file, r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#).unwrap();
    assert!(
        refused(named.clone())
            .await
            .contains("no key in it proves tokens")
    );
    std::fs::write(&file, vec![b' '; 1024 * 1024 + 1]).unwrap();
    assert!(refused(named).await.contains("more than 1048576 bytes"));
    assert!(refused(by_set("https://")).await.contains("no address"));
    let mut nothing = by_set("");
    nothing.jwks = None;
    assert!(
        refused(nothing)
            .await
            .contains("--jwks or --jwt-secret-file")
    );
    assert!(Tokens::open(&TokenArgs::default()).await.unwrap().is_none());
}
