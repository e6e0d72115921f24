//! Where a set of public keys is read: in a file, or at an address.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};
use thiserror::Error;
use tokio::io::AsyncReadExt;

/// Bytes of a set at most.
const BYTES_MAX: usize = 1024 * 1024;
/// Longest time to reach its address.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longest time until all of it has come.
const FETCH_WITHIN: Duration = Duration::from_secs(10);

/// Why a set is not read.
#[derive(Debug, Error)]
pub enum SetError {
    /// The file is not read.
    #[error("cannot read the file")]
    File(#[source] io::Error),
    /// The address is none.
    #[error("it is no address such as https://issuer.example/keys")]
    Address,
    /// The library did not start.
    #[error("cannot start the HTTP client")]
    Start(#[source] reqwest::Error),
    /// Nothing comes from the address.
    #[error("cannot fetch it")]
    Fetch(#[source] reqwest::Error),
    /// Something else comes.
    #[error("the answer has the status {0}")]
    Status(StatusCode),
    /// It is too long.
    #[error("it has more than {BYTES_MAX} bytes")]
    TooLong,
    /// It is something else.
    #[error("it is no JSON Web Key Set")]
    Form(#[source] serde_json::Error),
    /// No token can be proved by it.
    #[error(
        "no key in it proves tokens: that takes RSA of 2048 to 4096 bits, P-256 or Ed25519, for signatures"
    )]
    NoKey,
}

/// Where a set is read.
#[derive(Debug)]
pub(super) enum Source {
    /// In a file.
    File(PathBuf),
    /// At an address.
    Address(Url, reqwest::Client),
}

impl Source {
    /// What a command line names.
    ///
    /// # Errors
    /// When it is an address that cannot be asked.
    pub(super) fn of(named: &str) -> Result<Self, SetError> {
        let scheme = named.split_once("://").map(|(scheme, _)| scheme);
        if !scheme.is_some_and(|s| {
            ["http", "https"]
                .iter()
                .any(|of| s.eq_ignore_ascii_case(of))
        }) {
            return Ok(Self::File(PathBuf::from(named)));
        }
        let url = Url::parse(named).map_err(|_| SetError::Address)?;
        if url.scheme() == "http" && !is_loopback(&url) {
            tracing::warn!(
                "the keys of tokens are fetched unencrypted: whoever is on the way can give others"
            );
        }
        let client = client(&url)?;
        Ok(Self::Address(url, client))
    }

    /// How often it is looked whether the set has changed.
    pub(super) const fn every(&self) -> Duration {
        match self {
            Self::File(_) => Duration::from_secs(5),
            Self::Address(..) => Duration::from_mins(10),
        }
    }

    /// How long after a look it is looked again when a token names a key that is not known, or when the
    /// look failed.
    pub(super) const fn again(&self) -> Duration {
        match self {
            Self::File(_) => Duration::from_secs(1),
            Self::Address(..) => Duration::from_mins(1),
        }
    }

    /// The set as it is now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn read(&self) -> Result<Vec<u8>, SetError> {
        match self {
            Self::File(path) => {
                let file = tokio::fs::File::open(path).await.map_err(SetError::File)?;
                let mut text = Vec::new();
                let most = u64::try_from(BYTES_MAX + 1).unwrap_or(u64::MAX);
                let read = file.take(most).read_to_end(&mut text).await;
                read.map_err(SetError::File)?;
                (text.len() <= BYTES_MAX)
                    .then_some(text)
                    .ok_or(SetError::TooLong)
            }
            Self::Address(url, client) => fetch(client, url).await,
        }
    }
}

async fn fetch(client: &reqwest::Client, url: &Url) -> Result<Vec<u8>, SetError> {
    let asked = client.get(url.clone()).header("accept", "application/json");
    let mut answer = asked.send().await.map_err(SetError::Fetch)?;
    if answer.status() != StatusCode::OK {
        return Err(SetError::Status(answer.status()));
    }
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(SetError::Fetch)? {
        if text.len() + chunk.len() > BYTES_MAX {
            return Err(SetError::TooLong);
        }
        text.extend_from_slice(&chunk);
    }
    Ok(text)
}

fn client(url: &Url) -> Result<reqwest::Client, SetError> {
    // an error says that a provider is installed already; it is the same one
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut client = reqwest::Client::builder()
        .user_agent(concat!("homepot-analytics/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .connect_timeout(CONNECT_WITHIN)
        .timeout(FETCH_WITHIN)
        .pool_max_idle_per_host(0);
    if url.scheme() == "http" {
        // so that a machine without certificates of authorities can speak plain HTTP
        client = client.tls_certs_only([]);
    }
    if is_loopback(url) {
        client = client.no_proxy();
    }
    client.build().map_err(SetError::Start)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
