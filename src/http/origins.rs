//! The other origins whose pages may use the API (CORS, as the Fetch standard has it): none unless
//! stated, each exactly, and never with what a browser adds by itself, since no cookies are used.

use std::str::FromStr;
use std::sync::Arc;

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use reqwest::Url;
use thiserror::Error;

/// What pages may do.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST");
/// What they may send beside what every page may.
const HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, accept, last-event-id, x-request-id, traceparent",
);
/// What they are shown of an answer beside what every page is.
const EXPOSED: HeaderValue = HeaderValue::from_static("x-request-id, retry-after");
/// Seconds for which a browser need not ask again; none takes more.
const MAX_AGE_SECONDS: HeaderValue = HeaderValue::from_static("7200");
/// Where the API is. Nothing else is for pages of other origins.
const API: &str = "/graphql";

/// What is no origin.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OriginError {
    /// It stands for many.
    #[error("each origin is named; * is none")]
    Any,
    /// It is something else.
    #[error("it is not of the form of https://shop.example or http://localhost:3000")]
    Form,
    /// A browser names it otherwise.
    #[error("it is not as browsers name it, which is {0}")]
    Otherwise(String),
}

/// An origin, as browsers name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(Arc<str>);

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.contains('*') {
            return Err(OriginError::Any);
        }
        let url = Url::parse(text).map_err(|_| OriginError::Form)?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(OriginError::Form);
        }
        let named = url.origin().ascii_serialization();
        if named != text {
            return Err(OriginError::Otherwise(named));
        }
        Ok(Self(named.into()))
    }
}

/// The origins whose pages may use the API.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(Arc<[Origin]>);

impl Origins {
    pub(super) fn new(origins: &[Origin]) -> Self {
        Self(origins.into())
    }

    /// Whether pages of an origin may use what is at a path.
    pub(super) fn allow(&self, origin: &HeaderValue, path: &str) -> bool {
        path == API && self.0.iter().any(|allowed| origin == &*allowed.0)
    }

    /// What is answered where answers depend on the origin, though this one does not.
    pub(super) fn told(&self, mut response: Response) -> Response {
        if !self.0.is_empty() {
            response.headers_mut().append(header::VARY, ORIGIN);
        }
        response
    }

    /// What is answered to the pages of an origin that is allowed.
    pub(super) fn shown(&self, response: Response, origin: HeaderValue) -> Response {
        let mut response = self.told(response);
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        response
    }

    /// What a browser is answered that asks what the pages of an origin that is allowed may do.
    pub(super) fn preflight(&self, origin: HeaderValue) -> Response {
        let mut response = self.told(StatusCode::NO_CONTENT.into_response());
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS);
        response
    }
}

const ORIGIN: HeaderValue = HeaderValue::from_static("origin");

/// Whether a browser asks what a page may do.
pub(super) fn is_preflight(request: &axum::extract::Request) -> bool {
    let asked = header::ACCESS_CONTROL_REQUEST_METHOD;
    request.method() == Method::OPTIONS && request.headers().contains_key(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_given_as_browsers_name_it() {
        for origin in [
            "https://shop.example",
            "http://localhost:3000",
            "http://[::1]:3000",
        ] {
            assert!(origin.parse::<Origin>().is_ok(), "{origin}");
        }
        let otherwise = |named: &str| OriginError::Otherwise(named.to_owned());
        for (origin, error) in [
            ("*", OriginError::Any),
            ("https://*.example", OriginError::Any),
            ("", OriginError::Form),
            ("null", OriginError::Form),
            ("shop.example", OriginError::Form),
            ("file:///tmp", OriginError::Form),
            ("https://shop.example/", otherwise("https://shop.example")),
            (
                "https://shop.example:443",
                otherwise("https://shop.example"),
            ),
            ("https://Shop.example/a", otherwise("https://shop.example")),
        ] {
            assert_eq!(origin.parse::<Origin>(), Err(error), "{origin}");
        }
    }
}
