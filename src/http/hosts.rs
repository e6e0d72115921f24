//! Refuses requests for names that are not this server's, so that a page elsewhere cannot reach a
//! server on this machine by having its own name point here (DNS rebinding).

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// The names under which this server may be reached.
#[derive(Clone, Debug)]
pub struct Hosts {
    names: Arc<[String]>,
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
        }
    }

    /// Passes requests for these names and refuses others.
    pub async fn layer(State(hosts): State<Self>, request: Request, next: Next) -> Response {
        let header = request
            .headers()
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        let host = header.or_else(|| {
            request
                .uri()
                .authority()
                .map(axum::http::uri::Authority::as_str)
        });
        match host.map(name_of) {
            Some(name) if hosts.names.contains(&name) => next.run(request).await,
            _ => {
                let message =
                    "this server is not reached under that name; allow it with --allowed-host";
                let extensions = json!({ "code": "BAD_REQUEST", "retryable": false });
                let error = json!({ "message": message, "extensions": extensions });
                let body = axum::Json(json!({ "errors": [error] }));
                (StatusCode::MISDIRECTED_REQUEST, body).into_response()
            }
        }
    }
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
    use super::{Hosts, name_of};

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
