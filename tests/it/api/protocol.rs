//! `graphql-transport-ws` to the letter: what is said when, and with which code a socket is closed.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::app::{TestApp, on_each_database};

/// A socket on which anything may be said.
struct Raw(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Raw {
    async fn open(app: &TestApp, protocols: Option<&str>) -> Self {
        let url = format!("ws://{}/graphql", app.app().address);
        let mut request = url.into_client_request().unwrap();
        if let Some(protocols) = protocols {
            let headers = request.headers_mut();
            headers.insert("Sec-WebSocket-Protocol", protocols.parse().unwrap());
        }
        Self(connect_async(request).await.unwrap().0)
    }

    async fn greeted(app: &TestApp) -> Self {
        let mut raw = Self::open(app, Some("graphql-transport-ws")).await;
        raw.say(r#"{"type":"connection_init"}"#).await;
        assert_eq!(raw.hear().await, Ok(json!({ "type": "connection_ack" })));
        raw
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next message, or the code and the reason with which the socket is closed.
    async fn hear(&mut self) -> Result<Value, (u16, String)> {
        loop {
            match self.0.next().await.expect("something comes").unwrap() {
                Message::Text(text) => return Ok(serde_json::from_str(&text).unwrap()),
                Message::Close(Some(frame)) => {
                    return Err((frame.code.into(), frame.reason.to_string()));
                }
                _ => {}
            }
        }
    }

    async fn is_closed_with(&mut self, code: u16) {
        let heard = self.hear().await;
        assert!(
            matches!(&heard, Err((closed, _)) if *closed == code),
            "{heard:?}"
        );
    }
}

#[tokio::test]
async fn a_socket_is_closed_with_the_code_that_says_why() {
    on_each_database(async |app| {
        let begin = r#"{"type":"subscribe","id":"1","payload":{"query":"{ __typename }"}}"#;
        let long = format!(r#"{{"type":"{}"}}"#, "ü".repeat(200));
        for (said, code) in [
            (&["{"][..], 4400),
            (&["[]"], 4400),
            (&[r#"{"type":"nothing"}"#], 4400),
            (
                &[r#"{"type":"start","id":"1","payload":{"query":"{ __typename }"}}"#],
                4400,
            ),
            (&[&long], 4400),
            (&[begin], 4401),
            (&[r#"{"type":"connection_init"}"#; 2], 4429),
        ] {
            let mut raw = Raw::open(app, Some("graphql-transport-ws")).await;
            for text in said {
                raw.say(text).await;
            }
            let closed = loop {
                if let Err(closed) = raw.hear().await {
                    break closed;
                }
            };
            assert_eq!(closed.0, code, "{said:?}");
            assert!(closed.1.len() <= 123, "{}", closed.1);
        }
        for wrong in [
            r#"{"type":"subscribe","payload":{"query":"{ __typename }"}}"#,
            r#"{"type":"subscribe","id":"","payload":{"query":"{ __typename }"}}"#,
            r#"{"type":"subscribe","id":1,"payload":{"query":"{ __typename }"}}"#,
            r#"{"type":"subscribe","id":"1"}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":1}}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":"{ __typename }","extensions":1}}"#,
            r#"{"type":"complete"}"#,
        ] {
            let mut raw = Raw::greeted(app).await;
            raw.say(wrong).await;
            raw.is_closed_with(4400).await;
        }
    })
    .await;
}

#[tokio::test]
async fn only_the_one_protocol_is_spoken() {
    on_each_database(async |app| {
        // as browsers offer them; the old one bears the name of the package that speaks the new one
        let mut both = Raw::open(app, Some("graphql-ws, graphql-transport-ws")).await;
        both.say(r#"{"type":"connection_init"}"#).await;
        assert_eq!(both.hear().await, Ok(json!({ "type": "connection_ack" })));
        let mut none = Raw::open(app, None).await;
        none.is_closed_with(4406).await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_greet_is_let_go() {
    on_each_database(async |app| {
        let mut raw = Raw::open(app, Some("graphql-transport-ws")).await;
        let closed = tokio::time::timeout(Duration::from_mins(1), raw.is_closed_with(4408));
        closed.await.expect("within its time");
    })
    .await;
}

#[tokio::test]
async fn a_ping_is_answered_with_its_payload_also_before_the_greeting() {
    on_each_database(async |app| {
        let mut raw = Raw::open(app, Some("graphql-transport-ws")).await;
        raw.say(r#"{"type":"ping","payload":{"n":[1]}}"#).await;
        let pong = json!({ "type": "pong", "payload": { "n": [1] } });
        assert_eq!(raw.hear().await, Ok(pong));
        raw.say(r#"{"type":"pong"}"#).await;
        raw.say(r#"{"type":"ping"}"#).await;
        assert_eq!(raw.hear().await, Ok(json!({ "type": "pong" })));
    })
    .await;
}

#[tokio::test]
async fn a_name_is_that_of_one_operation_until_it_has_ended() {
    on_each_database(async |app| {
        let mut raw = Raw::greeted(app).await;
        let query = r#"{"type":"subscribe","id":"q","payload":{"query":"{ __typename }"}}"#;
        for _ in 0..2 {
            raw.say(query).await;
            let next = json!({ "type": "next", "id": "q", "payload": { "data": { "__typename": "Query" } } });
            assert_eq!(raw.hear().await, Ok(next));
            assert_eq!(raw.hear().await, Ok(json!({ "type": "complete", "id": "q" })));
        }
        let follow = r#"{"type":"subscribe","id":"s","payload":{"query":"subscription { errorLogs { cursor } }"}}"#;
        raw.say(follow).await;
        raw.say(r#"{"type":"complete","id":"s"}"#).await;
        raw.say(r#"{"type":"complete","id":"of nothing"}"#).await;
        raw.say(follow).await;
        raw.say(follow).await;
        let closed = raw.hear().await;
        assert_eq!(closed, Err((4409, "Subscriber for s already exists".to_owned())));
    })
    .await;
}

#[tokio::test]
async fn a_request_that_fails_is_an_error_and_a_field_that_fails_is_in_an_item() {
    on_each_database(async |app| {
        let mut raw = Raw::greeted(app).await;
        for (query, code) in [
            ("{ nothing }", "VALIDATION_FAILED"),
            ("{", "PARSE_FAILED"),
            ("subscription { nothing { cursor } }", "VALIDATION_FAILED"),
        ] {
            let begin = json!({ "type": "subscribe", "id": "1", "payload": { "query": query } });
            raw.say(&begin.to_string()).await;
            let heard = raw.hear().await.unwrap();
            assert_eq!(heard["type"], "error", "{heard}");
            assert_eq!(heard["payload"][0]["extensions"]["code"], code, "{heard}");
        }
        let query = "{ deviceMetrics(first: -1) { nodes { id } } }";
        let begin = json!({ "type": "subscribe", "id": "1", "payload": { "query": query } });
        raw.say(&begin.to_string()).await;
        let heard = raw.hear().await.unwrap();
        assert_eq!(heard["type"], "next", "{heard}");
        assert_eq!(
            heard["payload"]["errors"][0]["path"],
            json!(["deviceMetrics"])
        );
        assert_eq!(raw.hear().await.unwrap()["type"], "complete");
    })
    .await;
}
