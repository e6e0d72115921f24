//! The public API over HTTP: one call that records events, one that measures the way to the server.
//!
//! Each call is one try; waiting and trying again is for the sender.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant as Moment};

use reqwest::header::{ACCEPT, AUTHORIZATION, DATE, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, RequestBuilder, Response, Url};
use serde::Serialize;
use serde_json::value::RawValue;
use thiserror::Error;

use super::answer::{self, CallError, EnrolError, Enrolled, Outcome, Received};
use crate::clock::Clock;
use crate::event::Instant;

/// The mutation that records.
const RECORD: &str = "mutation Record($input: RecordEventsInput!) { recordEvents(input: $input) { \
    outcomes { index status position code field message } } }";

/// The mutation by which a device enrols.
const ENROL: &str = "mutation Enrol($input: EnrolDeviceInput!) { enrolDevice(input: $input) { \
    deviceId siteId secret userErrors { field message code } } }";

/// Bytes of an answer that are read at most: a thousand outcomes with long messages fit.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Connections at most that are kept for the next request: there are many clients, and a server has places for so
/// many connections.
const IDLE_MAX: usize = 1;

/// Bytes of a request apart from its events.
const ENVELOPE_BYTES: usize = 1 << 10;

/// An event in the wire shape, as one line of JSON.
pub type Line = Box<RawValue>;

/// Where the server is and how long to wait for it.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Address such as `http://127.0.0.1:8080`; a path in it is kept.
    pub server: String,
    /// Certificates of the authorities that alone may vouch for the server, in PEM; without them those
    /// that the machine trusts.
    pub ca: Option<Vec<u8>>,
    /// Access key, if the server asks for one.
    pub key: Option<String>,
    /// Longest time to reach the server.
    pub connect_timeout: Duration,
    /// Longest time for a request with its answer.
    pub timeout: Duration,
}

/// A client that cannot be made.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The address is no address.
    #[error(
        "cannot read the server's address {server:?}: it should look like http://127.0.0.1:8080"
    )]
    Address {
        /// The address.
        server: String,
    },
    /// The key has signs that no key has.
    #[error("the access key has characters that a header cannot carry")]
    Key,
    /// What should be certificates of authorities is none.
    #[error("the file with the certificates of authorities holds none in PEM")]
    Authority,
    /// The library did not start.
    #[error("cannot start the HTTP client")]
    Start(#[source] reqwest::Error),
}

/// A client of one server.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    graphql: Url,
    health: Url,
    key: Option<HeaderValue>,
    clock: Clock,
    /// How far our clock was ahead of the server's at its last answer, in microseconds.
    ahead: Arc<AtomicI64>,
}

#[derive(Serialize)]
struct Request<'a> {
    query: &'static str,
    variables: Variables<'a>,
}

#[derive(Serialize)]
struct Variables<'a> {
    input: Input<'a>,
}

#[derive(Serialize)]
struct Input<'a> {
    events: &'a [Line],
}

impl Client {
    /// A client of the server at an address. Nothing is sent yet.
    ///
    /// # Errors
    /// When the address or the key cannot be used.
    pub fn new(config: &ClientConfig, clock: Clock) -> Result<Self, ClientError> {
        let base = base(&config.server)?;
        let join = |path| {
            base.join(path).map_err(|_| ClientError::Address {
                server: config.server.clone(),
            })
        };
        let key = config.key.as_deref().map(bearer).transpose()?;
        Ok(Self {
            http: http(&base, config)?,
            graphql: join("graphql")?,
            health: join("healthz")?,
            key,
            clock,
            ahead: Arc::default(),
        })
    }

    /// Address of the server, for logs.
    #[must_use]
    pub fn server(&self) -> String {
        self.graphql.origin().ascii_serialization()
    }

    /// Whether a key would cross a network unencrypted.
    #[must_use]
    pub fn shows_key(&self) -> bool {
        self.key.is_some() && self.is_plain()
    }

    /// Whether what is sent crosses a network unencrypted.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.graphql.scheme() == "http" && !is_loopback(&self.graphql)
    }

    /// Records events, given as JSON lines in the wire shape, and returns the outcomes of the first
    /// of them in their order: of all, unless the answer is incomplete; never of none.
    ///
    /// # Errors
    /// When the request failed as a whole. Some of its events may be stored nevertheless.
    pub async fn record(&self, events: &[Line]) -> Result<Vec<Outcome>, CallError> {
        let request = Request {
            query: RECORD,
            variables: Variables {
                input: Input { events },
            },
        };
        self.post(&request).await?.outcomes(events.len())
    }

    /// Asks for a document with variables, and gives the data of the answer.
    ///
    /// # Errors
    /// When no answer came, or one with errors.
    pub async fn ask(
        &self,
        query: &str,
        variables: &serde_json::Value,
    ) -> Result<serde_json::Value, CallError> {
        let request = serde_json::json!({ "query": query, "variables": variables });
        self.post(&request).await?.data()
    }

    async fn post(&self, request: &(impl Serialize + Sync)) -> Result<Received, CallError> {
        let call = self.call(
            request,
            "application/graphql-response+json, application/json",
        );
        let response = call.send().await.map_err(CallError::Unreachable)?;
        self.received(response).await
    }

    /// Asks for what is answered by a stream of events, which lasts so long at most.
    pub(super) async fn open(
        &self,
        request: &(impl Serialize + Sync),
        within: Duration,
    ) -> Result<Response, CallError> {
        let call = self.call(request, "text/event-stream").timeout(within);
        call.send().await.map_err(CallError::Unreachable)
    }

    fn call(&self, request: &impl Serialize, accept: &'static str) -> RequestBuilder {
        let call = self.http.post(self.graphql.clone()).json(request);
        let call = call.header(ACCEPT, accept);
        match &self.key {
            Some(key) => call.header(AUTHORIZATION, key),
            None => call,
        }
    }

    /// An answer that is read to its end.
    pub(super) async fn received(&self, response: Response) -> Result<Received, CallError> {
        let headers = response.headers();
        self.note_date(headers.get(DATE));
        let retry_after = answer::retry_after(headers.get(RETRY_AFTER), self.clock.now());
        Ok(Received {
            status: response.status().as_u16(),
            retry_after,
            body: body(response).await?,
        })
    }

    /// Has a device enrol; `input` is that of `enrolDevice`. No access key is sent.
    ///
    /// # Errors
    /// When the request failed, or the device was refused.
    pub async fn enrol(&self, input: &serde_json::Value) -> Result<Enrolled, EnrolError> {
        let request = serde_json::json!({ "query": ENROL, "variables": { "input": input } });
        let call = self.http.post(self.graphql.clone()).json(&request);
        let response = call.send().await.map_err(CallError::Unreachable)?;
        self.received(response).await?.enrolled()
    }

    /// Which instant it is by the clock of the server, as its last answer had it, to the second; by
    /// our own while it has not told.
    #[must_use]
    pub fn server_now(&self) -> Instant {
        Instant(self.clock.now().0 - self.ahead.load(Ordering::Relaxed))
    }

    fn note_date(&self, date: Option<&HeaderValue>) {
        let date = date.and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| chrono::DateTime::parse_from_rfc2822(date).ok());
        if let Some(date) = date {
            let ahead = self.clock.now().0 - Instant::of(date.to_utc()).0;
            self.ahead.store(ahead, Ordering::Relaxed);
        }
    }

    /// Time of a small request to the server with its answer, whatever the answer is; `None` when
    /// none comes in time.
    pub async fn latency(&self, timeout: Duration) -> Option<Duration> {
        let call = self.http.get(self.health.clone()).timeout(timeout);
        let began = Moment::now();
        let response = call.send().await.ok()?;
        let latency = began.elapsed();
        // The rest of the answer is read so that the connection can be used again.
        body(response).await.ok()?;
        Some(latency)
    }
}

/// Bytes that events may take in a request of a size.
#[must_use]
pub const fn event_bytes_max(request_bytes_max: usize) -> usize {
    request_bytes_max.saturating_sub(ENVELOPE_BYTES)
}

fn base(server: &str) -> Result<Url, ClientError> {
    let wrong = || ClientError::Address {
        server: server.to_owned(),
    };
    let mut base = Url::parse(server).map_err(|_| wrong())?;
    let plain = base.username().is_empty() && base.password().is_none() && base.has_host();
    let known = matches!(base.scheme(), "http" | "https");
    if !plain || !known || base.query().is_some() || base.fragment().is_some() {
        return Err(wrong());
    }
    if !base.path().ends_with('/') {
        let path = format!("{}/", base.path());
        base.set_path(&path);
    }
    Ok(base)
}

fn bearer(key: &str) -> Result<HeaderValue, ClientError> {
    let text = format!("Bearer {}", key.trim());
    let mut value = HeaderValue::from_str(&text).map_err(|_| ClientError::Key)?;
    value.set_sensitive(true);
    Ok(value)
}

fn http(base: &Url, config: &ClientConfig) -> Result<reqwest::Client, ClientError> {
    // An error says that a provider is installed already; it is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut http = reqwest::Client::builder()
        .user_agent(concat!("homepot-analytics/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .connect_timeout(config.connect_timeout)
        .timeout(config.timeout)
        .pool_max_idle_per_host(IDLE_MAX);
    if let Some(ca) = &config.ca {
        http = http.tls_certs_only(authorities(ca)?);
    } else if base.scheme() == "http" {
        // So that a machine without certificates of authorities can speak plain HTTP.
        http = http.tls_certs_only([]);
    }
    if is_loopback(base) {
        http = http.no_proxy();
    }
    http.build().map_err(ClientError::Start)
}

fn authorities(pem: &[u8]) -> Result<Vec<Certificate>, ClientError> {
    let found = Certificate::from_pem_bundle(pem).map_err(|_| ClientError::Authority)?;
    if found.is_empty() {
        return Err(ClientError::Authority);
    }
    Ok(found)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

async fn body(mut response: Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(CallError::Unreachable)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(CallError::NotUnderstood {
                status: response.status().as_u16(),
                what: "it is too long",
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    fn client(server: &str, key: Option<&str>) -> Result<Client, ClientError> {
        let config = ClientConfig {
            server: server.to_owned(),
            ca: None,
            key: key.map(str::to_owned),
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        };
        Client::new(&config, Clock::system())
    }

    #[test]
    fn paths_are_appended_to_the_address() {
        let urls = |server| {
            let client = client(server, None).unwrap();
            (client.graphql.to_string(), client.health.to_string())
        };
        let (graphql, health) = urls("http://127.0.0.1:8080");
        assert_eq!(graphql, "http://127.0.0.1:8080/graphql");
        assert_eq!(health, "http://127.0.0.1:8080/healthz");
        assert_eq!(
            urls("http://shop.example/till").0,
            "http://shop.example/till/graphql"
        );
    }

    #[test]
    fn address_that_is_none_is_refused() {
        for server in [
            "",
            "127.0.0.1:8080",
            "ftp://x",
            "http://me:secret@x",
            "http://x/?a=b",
        ] {
            assert!(
                matches!(client(server, None), Err(ClientError::Address { .. })),
                "{server}"
            );
        }
    }

    #[test]
    fn key_is_never_shown_in_debug_output() {
        let client = client("http://127.0.0.1:8080", Some("abc-secret\n")).unwrap();
        assert!(!format!("{client:?}").contains("abc-secret"));
        assert!(!client.shows_key());
    }

    #[test]
    fn key_over_plain_http_to_another_machine_is_noticed() {
        let shows = |server| client(server, Some("k")).unwrap().shows_key();
        assert!(shows("http://till.example"));
        assert!(!shows("http://[::1]:8080"));
        assert!(!shows("http://localhost:8080"));
    }

    /// What does not come within this time will not.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn of_two_connections_that_were_needed_at_once_one_is_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = client(&format!("http://{address}"), None).unwrap();
        let asked = async { tokio::join!(client.latency(PATIENCE), client.latency(PATIENCE)) };
        let served = async {
            let mut streams = Vec::new();
            let mut asked = [0; 4_096];
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                assert!(stream.read(&mut asked).await.unwrap() > 0);
                streams.push(stream);
            }
            for stream in &mut streams {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
            }
            let ended = streams
                .iter_mut()
                .map(|stream| Box::pin(async move { stream.read(&mut [0]).await }));
            let (read, ..) = futures_util::future::select_all(ended).await;
            read.unwrap()
        };
        let both = async { tokio::join!(asked, served) };
        let ((one, other), read) = timeout(PATIENCE, both).await.unwrap();
        assert!(one.is_some() && other.is_some());
        assert_eq!(read, 0, "it is closed");
    }
}
