//! A server that stands in for faults only: it fails in every way it can, then records.
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use homepot_analytics::client::{Backoff, SenderConfig};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What the server does with one request; when none is left, it records.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    Status(u16),
    RetryAfter(u16, &'static str),
    Code(&'static str),
    /// Records everything and loses the answer.
    DropsConnection,
    /// Answers for the first events only.
    AnswersFirst(usize),
    /// Refuses requests in which an event has this number.
    BadInputIf(u64),
    /// Rejects every event with a code.
    Rejects(&'static str),
    LoginPage,
}

pub(super) struct Server {
    pub(super) url: String,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    /// Requests in order, each with its events.
    requests: mpsc::UnboundedReceiver<Request>,
    pub(super) stop: CancellationToken,
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) events: Vec<Value>,
    pub(super) key: Option<String>,
}

#[derive(Clone)]
struct Desk {
    faults: Arc<Mutex<VecDeque<Fault>>>,
    requests: mpsc::UnboundedSender<Request>,
}

impl Server {
    pub(super) async fn start(faults: impl IntoIterator<Item = Fault>) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), faults)
    }

    pub(super) fn on(listener: TcpListener, faults: impl IntoIterator<Item = Fault>) -> Self {
        let faults = Arc::new(Mutex::new(faults.into_iter().collect()));
        let (sender, requests) = mpsc::unbounded_channel();
        let desk = Desk {
            faults: Arc::clone(&faults),
            requests: sender,
        };
        let router = Router::new()
            .route("/graphql", post(graphql))
            .route("/healthz", get(|| async { "ok" }))
            .with_state(desk);
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(
            axum::serve(listener, router)
                .with_graceful_shutdown(stopped)
                .into_future(),
        );
        Self {
            url,
            faults,
            requests,
            stop,
        }
    }

    pub(super) async fn request(&mut self) -> Request {
        let request = tokio::time::timeout(Duration::from_secs(20), self.requests.recv());
        request.await.expect("a request comes").unwrap()
    }

    pub(super) fn faults_left(&self) -> usize {
        self.faults.lock().unwrap().len()
    }
}

async fn graphql(State(desk): State<Desk>, headers: HeaderMap, body: String) -> Response {
    let body: Value = serde_json::from_str(&body).unwrap();
    let Some(events) = body["variables"]["input"]["events"].as_array().cloned() else {
        // an agent that asks for commands
        return axum::Json(json!({ "data": { "pendingCommands": [] } })).into_response();
    };
    let key = headers
        .get("authorization")
        .map(|key| key.to_str().unwrap().to_owned());
    let count = events.len();
    let numbers: Vec<u64> = events.iter().filter_map(number).collect();
    let fault = desk.faults.lock().unwrap().pop_front();
    desk.requests.send(Request { events, key }).unwrap();
    match fault {
        None => recorded(count),
        Some(Fault::Status(status)) => StatusCode::from_u16(status).unwrap().into_response(),
        Some(Fault::RetryAfter(status, wait)) => (
            StatusCode::from_u16(status).unwrap(),
            [("retry-after", wait)],
        )
            .into_response(),
        Some(Fault::Code(code)) => refused(code),
        Some(Fault::DropsConnection) => {
            let broken =
                futures_util::stream::once(async { Err::<&str, _>(std::io::Error::other("gone")) });
            axum::body::Body::from_stream(broken).into_response()
        }
        Some(Fault::AnswersFirst(some)) => recorded(some),
        Some(Fault::BadInputIf(bad)) if numbers.contains(&bad) => {
            desk.faults
                .lock()
                .unwrap()
                .push_front(Fault::BadInputIf(bad));
            refused("BAD_INPUT")
        }
        Some(Fault::BadInputIf(bad)) => {
            desk.faults
                .lock()
                .unwrap()
                .push_front(Fault::BadInputIf(bad));
            recorded(count)
        }
        Some(Fault::Rejects(code)) => outcomes(count, "REJECTED", Some(code)),
        Some(Fault::LoginPage) => "<html>Welcome to the café</html>".into_response(),
    }
}

/// Number of an event of these tests.
pub(super) fn number(event: &Value) -> Option<u64> {
    event["errorLog"]["number"].as_u64()
}

fn recorded(count: usize) -> Response {
    outcomes(count, "RECORDED", None)
}

fn outcomes(count: usize, status: &str, code: Option<&str>) -> Response {
    let outcomes: Vec<Value> = (0..count)
        .map(|index| json!({ "index": index, "status": status, "code": code, "field": null }))
        .collect();
    axum::Json(json!({ "data": { "recordEvents": { "outcomes": outcomes } } })).into_response()
}

fn refused(code: &str) -> Response {
    let extensions = json!({ "code": code, "retryAfterMs": 1 });
    axum::Json(json!({ "data": null, "errors": [{ "message": "no", "extensions": extensions }] }))
        .into_response()
}

/// Limits of a sender that waits next to nothing.
pub(super) fn quick() -> SenderConfig {
    SenderConfig {
        backoff: Backoff {
            first: Duration::from_millis(1),
            most: Duration::from_millis(5),
            asked_most: Duration::from_millis(5),
        },
        ..SenderConfig::default()
    }
}
