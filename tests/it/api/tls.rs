//! Encrypted connections: asked and followed with the certificate of a test's own, and what does not
//! speak TLS keeps nobody waiting.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use homepot_analytics::app::{Access, App, Start};
use homepot_analytics::client::{Client, ClientConfig, ClientError, Status};
use homepot_analytics::clock::Clock;
use homepot_analytics::config::LimitArgs;
use homepot_analytics::event::Instant;
use homepot_analytics::http::{Documents, Tls};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig as TlsConfig, RootCertStore};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::app::{NOON, location};

/// How long anything that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// An event that needs no other.
fn event() -> Value {
    json!({ "errorLog": { "category": "SYSTEM", "severity": "INFO", "errorMessage": "over TLS",
        "occurredAt": NOON } })
}

/// A server that encrypts, on a database of its own.
struct Encrypted {
    app: App,
    certificate: String,
    _folder: TempDir,
}

impl Encrypted {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("certificate"), cert.pem()).unwrap();
        std::fs::write(path("key"), signing_key.serialize_pem()).unwrap();
        let start = Start {
            location: location(&format!("sqlite://{}", path("log.db").display())),
            listen: "127.0.0.1:0".parse().unwrap(),
            name: "test".to_owned(),
            access: Access::Open,
            documents: Documents::default(),
            preferred: homepot_analytics::analytics::provenance::Preferred::Real,
            keyring: homepot_analytics::configuration::Keyring::default(),
            tls: Some(Tls::read(path("certificate"), path("key")).unwrap()),
            tokens: homepot_analytics::identity::TokenArgs::default(),
            edge: homepot_analytics::http::EdgeArgs::default(),
            webhooks: homepot_analytics::webhooks::WebhookArgs::default(),
            mailer: None,
            exports: homepot_analytics::exports::ExportsArgs::default(),
            lake: None,
            allowed_hosts: Vec::new(),
            limits: LimitArgs::default(),
            clock: Clock::by_hand(Instant::parse(NOON).unwrap()),
        };
        Self {
            app: App::start(start).await.unwrap(),
            certificate: cert.pem(),
            _folder: folder,
        }
    }

    fn address(&self, path: &str) -> String {
        format!("https://{}{path}", self.app.address)
    }

    fn client(&self) -> reqwest::Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root = reqwest::Certificate::from_pem(self.certificate.as_bytes()).unwrap();
        reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([root])
            .build()
            .unwrap()
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = TlsConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.app.address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let name = "localhost".try_into().unwrap();
        connector.connect(name, stream).await.unwrap()
    }

    /// Opens a socket as a page of an origin does.
    async fn socket(
        &self,
        origin: &str,
    ) -> Result<WebSocketStream<TlsStream<TcpStream>>, Box<tokio_tungstenite::tungstenite::Error>>
    {
        let url = format!("wss://localhost:{}/graphql", self.app.address.port());
        let mut request = url.into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("Origin", origin.parse().unwrap());
        let protocol = "graphql-transport-ws".parse().unwrap();
        headers.insert("Sec-WebSocket-Protocol", protocol);
        let opened = client_async(request, self.connect().await).await;
        Ok(opened.map_err(Box::new)?.0)
    }
}

async fn hear(socket: &mut WebSocketStream<TlsStream<TcpStream>>) -> Value {
    loop {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

#[tokio::test]
async fn a_query_is_answered_encrypted_and_browsers_are_told_to_keep_to_that() {
    let server = Encrypted::start().await;
    let post = server.client().post(server.address("/graphql"));
    let post = post.json(&json!({ "query": "{ __typename }" }));
    let answer = post.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let header = &answer.headers()["strict-transport-security"];
    assert_eq!(header, "max-age=31536000");
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["data"]["__typename"], "Query");
    let stranger = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    let refused = stranger.build().unwrap().get(server.address("/healthz"));
    assert!(refused.send().await.unwrap_err().is_connect());
    server.app.stop().await;
}

#[tokio::test]
async fn a_subscription_is_followed_encrypted_by_pages_of_its_own_origin() {
    let server = Encrypted::start().await;
    let port = server.app.address.port();
    let unencrypted = server.socket(&format!("http://localhost:{port}")).await;
    let refused = *unencrypted.unwrap_err();
    assert!(
        matches!(&refused, tokio_tungstenite::tungstenite::Error::Http(answer) if answer.status() == 403),
        "{refused}"
    );
    let origin = format!("https://localhost:{port}");
    let mut socket = server.socket(&origin).await.unwrap();
    let query = "subscription { errorLogs { errorMessage } }";
    for said in [
        json!({ "type": "connection_init" }),
        json!({ "type": "subscribe", "id": "1", "payload": { "query": query } }),
        // it is answered when what came before is begun
        json!({ "type": "ping" }),
    ] {
        socket.send(Message::text(said.to_string())).await.unwrap();
    }
    assert_eq!(hear(&mut socket).await["type"], "connection_ack");
    assert_eq!(hear(&mut socket).await["type"], "pong");
    let events = json!({ "events": [event()] });
    let record = json!({
        "query": super::app::RECORD, "variables": { "input": events } });
    // until the subscription has its beginning, what is recorded is before it
    let post = server
        .client()
        .post(server.address("/graphql"))
        .json(&record);
    let heard = tokio::time::timeout(PATIENCE, async {
        loop {
            post.try_clone().unwrap().send().await.unwrap();
            tokio::select! {
                heard = hear(&mut socket) => return heard,
                () = tokio::task::yield_now() => {}
            }
        }
    });
    let heard = heard.await.expect("an event comes");
    let message = &heard["payload"]["data"]["errorLogs"]["errorMessage"];
    assert_eq!(message, "over TLS", "{heard}");
    server.app.stop().await;
}

#[tokio::test]
async fn what_speaks_no_tls_is_refused_and_handshakes_that_stall_keep_nobody_waiting() {
    let server = Encrypted::start().await;
    let mut stalled = Vec::new();
    for said in [&b""[..], &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]] {
        for _ in 0..50 {
            let mut stream = TcpStream::connect(server.app.address).await.unwrap();
            stream.write_all(said).await.unwrap();
            stalled.push(stream);
        }
    }
    let client = server.client();
    for _ in 0..20 {
        let answer = client.get(server.address("/healthz")).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "ok\n");
    }
    let mut plain = TcpStream::connect(server.app.address).await.unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    plain.write_all(request).await.unwrap();
    stalled.push(plain);
    for mut stream in stalled {
        let mut said = Vec::new();
        // a connection that is broken off is closed as well
        let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said));
        let _ = closed.await.expect("it is let go");
        assert!(!said.starts_with(b"HTTP"), "{said:?}");
    }
    server.app.stop().await;
}

#[tokio::test]
async fn a_handshake_that_stalls_does_not_hold_up_the_stop() {
    let server = Encrypted::start().await;
    let stalled = TcpStream::connect(server.app.address).await.unwrap();
    let client = server.client();
    // the one before is accepted when this one is answered
    client.get(server.address("/healthz")).send().await.unwrap();
    let began = std::time::Instant::now();
    server.app.stop().await;
    let drain = Duration::from_secs(u64::from(LimitArgs::default().drain_seconds));
    assert!(began.elapsed() < drain, "{:?}", began.elapsed());
    drop(stalled);
}

#[tokio::test]
async fn events_are_reported_to_a_server_whose_authority_is_given() {
    let server = Encrypted::start().await;
    let config = |ca: Option<&str>| ClientConfig {
        server: server.address("/"),
        ca: ca.map(|ca| ca.as_bytes().to_vec()),
        key: None,
        connect_timeout: PATIENCE,
        timeout: PATIENCE,
    };
    let known = Client::new(&config(Some(&server.certificate)), Clock::system()).unwrap();
    let event = to_raw_value(&event()).unwrap();
    let outcomes = known.record(&[event]).await.unwrap();
    let [outcome] = outcomes.as_slice() else {
        panic!("one outcome");
    };
    assert_eq!(outcome.status, Status::Recorded, "{outcome:?}");
    assert!(known.latency(PATIENCE).await.is_some());
    let none = Client::new(&config(Some("nothing")), Clock::system());
    assert!(matches!(none, Err(ClientError::Authority)));
    server.app.stop().await;
}
