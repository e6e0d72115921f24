//! Refuses requests for names that are not this server's, so that a page elsewhere cannot reach a
//! server on this machine by having its own name point here (DNS rebinding), and requests that a page
//! of another origin makes: a browser lets any page open a socket to anywhere.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::answer::error;
use super::args::EdgeArgs;
use super::origins::{Origins, is_preflight};
use super::{TRACKER, USER_ACTIVITY, Web};
use crate::graphql::ErrorCode;

/// Stands on a request that came encrypted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encrypted;

/// Stands on a request that came to a trusted proxy: under which name.
#[derive(Clone, Debug)]
pub(super) struct AskedHost(pub(super) Arc<str>);

/// The names under which this server may be reached.
#[derive(Clone, Debug)]
pub struct Hosts {
    names: Arc<[String]>,
    origins: Origins,
}

impl Hosts {
    /// The loopback names, the address listened on, and further names.
    #[must_use]
    pub fn new(listen: SocketAddr, further: &[String]) -> Self {
        let mut names = vec![
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            "[::1]".to_owned(),
        ];
        names.push(match listen {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        });
        let further = further.iter().map(|name| name_of(name.trim()));
        names.extend(further.filter(|name| !name.is_empty()));
        Self {
            names: names.into(),
            origins: Origins::default(),
        }
    }

    /// The same, and pages of further origins may use the API.
    #[must_use]
    pub fn with_origins(self, edge: &EdgeArgs) -> Self {
        Self {
            origins: Origins::new(&edge.cors_origins),
            ..self
        }
    }

    /// The name under which a request was made, if it is one of these: to the proxy that is trusted, or
    /// to this server. Behind a proxy it is asked of both, since some proxies hand on what clients say of
    /// the first.
    fn host_of<'a>(&self, request: &'a Request) -> Option<&'a str> {
        let is_ours = |host: &&str| self.names.contains(&name_of(host));
        let header = request.headers().get(header::HOST);
        let header = header.and_then(|host| host.to_str().ok());
        let of_address = || request.uri().authority().map(Authority::as_str);
        let host = header.or_else(of_address).filter(is_ours)?;
        match request.extensions().get() {
            Some(AskedHost(asked)) => Some(&**asked).filter(is_ours),
            None => Some(host),
        }
    }

    /// Passes requests for these names, of pages of this server or of origins that are allowed, and
    /// refuses others.
    pub async fn layer(
        State((hosts, web)): State<(Self, Web)>,
        request: Request,
        next: Next,
    ) -> Response {
        let Some(host) = hosts.host_of(&request) else {
            let message =
                "this server is not reached under that name; allow it with --allowed-host";
            return refused(StatusCode::MISDIRECTED_REQUEST, message);
        };
        let origins = &hosts.origins;
        let path = request.uri().path().to_owned();
        // it is for pages everywhere, and says nothing of anybody
        if path == TRACKER {
            return origins.told(next.run(request).await, &path);
        }
        let encrypted = request.extensions().get::<Encrypted>().copied();
        let origin = request.headers().get(header::ORIGIN);
        let other = origin.filter(|origin| !is_of(origin, host, encrypted));
        let Some(other) = other.cloned() else {
            if is_elsewhere(request.headers()) {
                return origins.told(refused(StatusCode::FORBIDDEN, ELSEWHERE), &path);
            }
            return origins.told(next.run(request).await, &path);
        };
        if !origins.allow(&other, &path) && !tells(&web, &other, &path) {
            origins.told(refused(StatusCode::FORBIDDEN, ELSEWHERE), &path)
        } else if is_preflight(&request) {
            origins.preflight((other, &path))
        } else {
            let response = next.run(request).await;
            origins.shown(response, (other, &path))
        }
    }
}

/// Whether the pages of an origin may tell what people do on them: an access key is for these pages.
fn tells(web: &Web, origin: &HeaderValue, path: &str) -> bool {
    let now = web.api.ingest.clock().now();
    let origin = origin.to_str().ok().filter(|_| path == USER_ACTIVITY);
    origin.is_some_and(|origin| web.authority.has_pages_of(origin, now))
}

const ELSEWHERE: &str = "a page of another origin may not use this server; the pages of an origin may use \
    /graphql when it is allowed with --cors-origin, and /api/v1/analytics/user-activity when an access key is \
    bound to it";

/// Whether a page elsewhere asks without being shown the answer: it bears no origin then.
fn is_elsewhere(headers: &HeaderMap) -> bool {
    let site = headers.get(FETCH_SITE);
    let mode = headers.get(FETCH_MODE);
    site.is_some_and(|site| ["cross-site", "same-site"].iter().any(|of| site == of))
        && mode.is_none_or(|mode| mode != "navigate")
}

/// What browsers say of where a request comes from, and of what for (W3C Fetch Metadata).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

fn refused(status: StatusCode, message: &str) -> Response {
    let error = error(ErrorCode::BadRequest, message);
    (status, axum::Json(json!({ "errors": [error] }))).into_response()
}

/// Whether an origin is that of the pages of a host. Only browsers name one. A page that came
/// unencrypted may be anybody's, and is of another origin than a server that is asked encrypted; a
/// server that is not may stand behind one that is.
fn is_of(origin: &HeaderValue, host: &str, encrypted: Option<Encrypted>) -> bool {
    let origin = origin.to_str().unwrap_or_default();
    let Some((scheme, page)) = origin.split_once("://") else {
        return false;
    };
    let port = match scheme {
        "https" => ":443",
        "http" if encrypted.is_none() => ":80",
        _ => return false,
    };
    // browsers leave the usual port out, and others may not
    let host = host.strip_suffix(port).unwrap_or(host);
    let page = page.strip_suffix(port).unwrap_or(page);
    page.eq_ignore_ascii_case(host)
}

/// The name in a Host header, without the port.
fn name_of(host: &str) -> String {
    let name = match (host.rfind(':'), host.ends_with(']')) {
        (Some(colon), false) => host.get(..colon).unwrap_or(host),
        _ => host,
    };
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::{Encrypted, Hosts, is_of, name_of};

    #[test]
    fn a_page_of_another_host_port_or_of_none_is_of_another_origin() {
        for (origin, same) in [
            ("http://127.0.0.1:8080", true),
            ("https://127.0.0.1:8080", true),
            ("http://127.0.0.1:3000", false),
            ("http://localhost:8080", false),
            ("http://evil.example", false),
            ("null", false),
            ("", false),
        ] {
            let origin = HeaderValue::from_static(origin);
            assert_eq!(is_of(&origin, "127.0.0.1:8080", None), same, "{origin:?}");
        }
    }

    #[test]
    fn a_page_that_came_unencrypted_is_of_another_origin_than_an_encrypted_server() {
        for (origin, host, same) in [
            ("https://shop.example", "shop.example", true),
            ("https://shop.example", "Shop.example:443", true),
            ("https://shop.example:8443", "shop.example:8443", true),
            ("http://shop.example", "shop.example", false),
            ("http://shop.example:8443", "shop.example:8443", false),
            ("https://shop.example", "shop.example:8443", false),
        ] {
            let origin = HeaderValue::from_static(origin);
            let is_same = is_of(&origin, host, Some(Encrypted));
            assert_eq!(is_same, same, "{origin:?} {host}");
        }
    }

    #[test]
    fn a_further_name_may_be_given_with_a_port_and_an_empty_one_is_none() {
        let further = ["shop.example:8080".to_owned(), " ".to_owned()];
        let hosts = Hosts::new(([127, 0, 0, 1], 80).into(), &further);
        assert!(hosts.names.contains(&"shop.example".to_owned()));
        assert!(!hosts.names.contains(&String::new()));
    }

    #[test]
    fn the_port_is_no_part_of_the_name() {
        for (host, name) in [
            ("localhost:8080", "localhost"),
            ("LocalHost", "localhost"),
            ("[::1]:8080", "[::1]"),
            ("[::1]", "[::1]"),
            ("evil.example:8080", "evil.example"),
        ] {
            assert_eq!(name_of(host), name);
        }
    }
}
