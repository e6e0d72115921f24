//! A client of `graphql-transport-ws`, as browsers speak it.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::Response;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// What is not there after this long will not come.
const PATIENCE: Duration = Duration::from_secs(20);

/// An open socket.
pub(super) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// What has come for each subscription; `None` is its end.
    held: HashMap<String, VecDeque<Option<Value>>>,
    made: usize,
}

impl Socket {
    /// Opens a socket and greets.
    pub(super) async fn open(address: SocketAddr) -> Self {
        Self::try_open(address).await.unwrap()
    }

    /// Opens a socket and greets, or gives back how the server refuses.
    pub(super) async fn try_open(address: SocketAddr) -> Result<Self, Box<Response<Value>>> {
        let mut socket = Self::try_connect(address).await?;
        socket.send(json!({ "type": "connection_init" })).await;
        assert_eq!(socket.receive().await["type"], "connection_ack");
        Ok(socket)
    }

    /// Opens a socket and greets with a credential.
    pub(super) async fn open_as(address: SocketAddr, key: &str) -> Self {
        let mut socket = Self::try_connect(address).await.unwrap();
        socket
            .greet(json!({ "authorization": format!("Bearer {key}") }))
            .await;
        assert_eq!(socket.receive().await["type"], "connection_ack");
        socket
    }

    /// Greets with a payload.
    pub(super) async fn greet(&mut self, payload: Value) {
        let message = json!({ "type": "connection_init", "payload": payload });
        self.send(message).await;
    }

    /// Opens a socket, or gives back how the server refuses.
    pub(super) async fn try_connect(address: SocketAddr) -> Result<Self, Box<Response<Value>>> {
        let url = format!("ws://{address}/graphql");
        let mut request = url.into_client_request().unwrap();
        let protocol = "graphql-transport-ws".parse().unwrap();
        let headers = request.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", protocol);
        let stream = match connect_async(request).await {
            Ok((stream, _)) => stream,
            Err(Error::Http(refused)) => {
                let read = |body: Option<Vec<u8>>| serde_json::from_slice(&body.unwrap()).unwrap();
                return Err(Box::new(refused.map(read)));
            }
            Err(error) => panic!("{error}"),
        };
        Ok(Self {
            stream,
            held: HashMap::new(),
            made: 0,
        })
    }

    /// Subscribes, and answers with the name of the subscription.
    pub(super) async fn subscribe(&mut self, document: &str, variables: Value) -> String {
        self.made += 1;
        let id = self.made.to_string();
        let payload = json!({ "query": document, "variables": variables });
        let message = json!({ "type": "subscribe", "id": id, "payload": payload });
        self.send(message).await;
        id
    }

    /// Asks by an operation with a name.
    pub(super) async fn ask(&mut self, name: &str, document: &str) -> String {
        self.made += 1;
        let id = self.made.to_string();
        let payload = json!({ "query": document, "operationName": name });
        let message = json!({ "type": "subscribe", "id": id, "payload": payload });
        self.send(message).await;
        id
    }

    /// Ends a subscription.
    pub(super) async fn unsubscribe(&mut self, id: &str) {
        self.send(json!({ "type": "complete", "id": id })).await;
    }

    /// The next payload of a subscription; `None` when it has ended.
    pub(super) async fn next(&mut self, id: &str) -> Option<Value> {
        let next = tokio::time::timeout(PATIENCE, self.await_next(id)).await;
        next.unwrap_or_else(|_| panic!("nothing came for subscription {id}"))
    }

    /// The next payload of a subscription, if one comes within a time.
    pub(super) async fn next_within(&mut self, id: &str, limit: Duration) -> Option<Value> {
        tokio::time::timeout(limit, self.await_next(id))
            .await
            .ok()
            .flatten()
    }

    /// The data of the next payload of a subscription, which must not fail.
    pub(super) async fn data(&mut self, id: &str) -> Value {
        let mut payload = self.next(id).await.expect("the subscription has ended");
        assert!(payload.get("errors").is_none(), "{payload:#}");
        payload["data"].take()
    }

    /// The code with which the server closes the socket.
    pub(super) async fn closed(&mut self) -> u16 {
        loop {
            let message = self.stream.next().await.expect("a closing frame comes");
            if let Message::Close(Some(frame)) = message.unwrap() {
                return frame.code.into();
            }
        }
    }

    async fn await_next(&mut self, id: &str) -> Option<Value> {
        loop {
            let held = self.held.get_mut(id).and_then(VecDeque::pop_front);
            if let Some(next) = held {
                return next;
            }
            let mut message = self.receive().await;
            let of = message["id"].as_str().unwrap_or_default().to_owned();
            let payload = message["payload"].take();
            let next = match message["type"].as_str() {
                Some("next") => Some(payload),
                Some("error") => Some(json!({ "errors": payload })),
                Some("complete") => None,
                _ => continue,
            };
            self.held.entry(of).or_default().push_back(next);
        }
    }

    async fn send(&mut self, message: Value) {
        let message = Message::text(message.to_string());
        self.stream.send(message).await.unwrap();
    }

    async fn receive(&mut self) -> Value {
        loop {
            let message = self.stream.next().await.expect("the socket is closed");
            if let Message::Text(text) = message.unwrap() {
                let mut message: Value = serde_json::from_str(&text).unwrap();
                message.sort_all_objects();
                return message;
            }
        }
    }
}
