//! The public API as a client sees it: GraphQL over HTTP, and streams over a WebSocket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::program::DEADLINE;

/// Records events and asks for every outcome.
pub(super) const RECORD: &str = "mutation Record($input: RecordEventsInput!) { \
    recordEvents(input: $input) { outcomes { index status position cursor code field message } } }";

/// A client for the servers of a test.
#[derive(Clone)]
pub(super) struct Api {
    http: reqwest::Client,
}

impl Api {
    pub(super) fn new() -> Self {
        // an error says that a provider is installed already
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .timeout(DEADLINE)
            .build()
            .unwrap();
        Self { http }
    }

    /// The whole answer, or why there was none.
    pub(super) async fn call(
        &self,
        server: &str,
        query: &str,
        variables: Value,
    ) -> Result<Value, reqwest::Error> {
        let body = json!({ "query": query, "variables": variables });
        let post = self.http.post(format!("{server}/graphql")).json(&body);
        post.send().await?.json().await
    }

    /// The data of an answer that must come and must have no error.
    pub(super) async fn data(&self, server: &str, query: &str, variables: Value) -> Value {
        let mut answer = self.call(server, query, variables).await.unwrap();
        assert!(answer.get("errors").is_none(), "{answer}");
        answer["data"].take()
    }

    /// The data of an answer to one who knows of a position.
    pub(super) async fn data_knowing(&self, server: &str, query: &str, position: &str) -> Value {
        let post = self.http.post(format!("{server}/graphql"));
        let post = post.header("homepot-position", position);
        let answer = post.json(&json!({ "query": query })).send().await.unwrap();
        let mut answer: Value = answer.json().await.unwrap();
        assert!(answer.get("errors").is_none(), "{answer}");
        answer["data"].take()
    }

    /// Records events, which must be answered; the outcomes.
    pub(super) async fn record(&self, server: &str, events: Value) -> Vec<Value> {
        let variables = json!({ "input": { "events": events } });
        let mut data = self.data(server, RECORD, variables).await;
        let Value::Array(outcomes) = data["recordEvents"]["outcomes"].take() else {
            panic!("there are no outcomes: {data}");
        };
        outcomes
    }

    /// Records events that nobody has recorded before.
    pub(super) async fn record_new(&self, server: &str, events: Value) {
        let outcomes = self.record(server, events).await;
        let is_new = |outcome: &Value| outcome["status"] == "RECORDED";
        assert!(outcomes.iter().all(is_new), "{outcomes:?}");
    }

    /// The status of an answer to a body of JSON.
    pub(super) async fn post(&self, url: &str, body: &Value) -> u16 {
        let post = self.http.post(url).json(body);
        post.send().await.unwrap().status().as_u16()
    }

    /// Status and body of a request with a Host header of its own.
    pub(super) async fn get(&self, url: &str, host: Option<&str>) -> (u16, String) {
        let mut get = self.http.get(url);
        if let Some(host) = host {
            get = get.header("host", host);
        }
        let answer = get.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// All events after a place, in the order of positions, with these further fields.
    pub(super) async fn log(
        &self,
        server: &str,
        mut after: Option<String>,
        fields: &str,
    ) -> Vec<Value> {
        let query = format!(
            "query Log($after: String) {{ events(order: FIRST_RECORDED_FIRST, first: 1000, \
             after: $after) {{ nodes {{ position cursor kind recordedAt occurredAt extra {fields} }} \
             pageInfo {{ hasNextPage endCursor }} }} }}"
        );
        let mut all = Vec::new();
        loop {
            let mut data = self.data(server, &query, json!({ "after": after })).await;
            let Value::Array(nodes) = data["events"]["nodes"].take() else {
                panic!("there are no events: {data}");
            };
            all.extend(nodes);
            let page = &data["events"]["pageInfo"];
            if page["hasNextPage"] != true {
                return all;
            }
            after = page["endCursor"].as_str().map(str::to_owned);
        }
    }

    /// Asks until an answer is as it should be.
    pub(super) async fn until(
        &self,
        server: &str,
        query: &str,
        good: impl Fn(&Value) -> bool + Send,
    ) -> Value {
        let asking = async {
            loop {
                let data = self.data(server, query, json!({})).await;
                if good(&data) {
                    return data;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let answered = tokio::time::timeout(DEADLINE, asking).await;
        answered.expect("the answer is in time as it should be")
    }

    /// Waits until all is folded that is recorded by now, however long that takes while it goes on. Whoever asks for
    /// the lag is recorded as well, so that there may be some as long as somebody asks.
    pub(super) async fn folded(&self, server: &str) {
        let query = "{ storeHealth { head projectionLagEvents } }";
        let head = |data: &Value| long(&data["storeHealth"]["head"]);
        let folded = |data: &Value| head(data) - long(&data["storeHealth"]["projectionLagEvents"]);
        let mut told = self.data(server, query, json!({})).await;
        let recorded = head(&told);
        while folded(&told) < recorded {
            let before = folded(&told);
            let goes_on = |data: &Value| folded(data) > before;
            told = self.until(server, query, goes_on).await;
        }
    }
}

/// The number in a `Long`.
pub(super) fn long(value: &Value) -> i64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap()
}

type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// One subscription over a socket of its own (the protocol graphql-transport-ws).
pub(super) struct Subscription {
    socket: Socket,
}

impl Subscription {
    /// Subscribes; nothing when the server cannot be reached or goes away meanwhile.
    pub(super) async fn open(server: &str, query: &str, variables: Value) -> Option<Self> {
        let url = format!("{}/graphql", server.replacen("http", "ws", 1));
        let mut request = url.into_client_request().unwrap();
        let protocol = "graphql-transport-ws".parse().unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await.ok()?;
        let init = json!({ "type": "connection_init" }).to_string();
        socket.send(Message::text(init)).await.ok()?;
        let mut subscription = Self { socket };
        let acknowledged = subscription.message().await?;
        assert_eq!(acknowledged["type"], "connection_ack");
        let payload = json!({ "query": query, "variables": variables });
        let subscribe = json!({ "type": "subscribe", "id": "1", "payload": payload }).to_string();
        subscription
            .socket
            .send(Message::text(subscribe))
            .await
            .ok()?;
        Some(subscription)
    }

    async fn message(&mut self) -> Option<Value> {
        loop {
            match self.socket.next().await?.ok()? {
                Message::Text(text) => return Some(serde_json::from_str(&text).unwrap()),
                Message::Close(_) => return None,
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// The data of the next item; nothing when the stream or the server has ended.
    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            let mut message = self.message().await?;
            match message["type"].as_str() {
                Some("next") => {
                    let payload = &mut message["payload"];
                    assert!(payload.get("errors").is_none(), "{payload}");
                    return Some(payload["data"].take());
                }
                Some("ping") => {
                    let pong = json!({ "type": "pong" }).to_string();
                    self.socket.send(Message::text(pong)).await.ok()?;
                }
                Some("complete") => return None,
                _ => panic!("{message}"),
            }
        }
    }
}
