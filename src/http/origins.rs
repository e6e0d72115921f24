//! The other origins whose pages may use the API (CORS, as the Fetch standard has it): none unless
//! stated or named by an access key, each exactly, and never with what a browser adds by itself, since no cookies are used.

use std::sync::Arc;

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::USER_ACTIVITY;
use crate::identity::Origin;

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
/// Where the API is. Nothing but that, and what pages tell of themselves, is for pages of other origins.
const API: &str = "/graphql";

/// The origins whose pages may use the API.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(Arc<[Origin]>);

impl Origins {
    pub(super) fn new(origins: &[Origin]) -> Self {
        Self(origins.into())
    }

    /// Whether pages of an origin may use what is at a path.
    pub(super) fn allow(&self, origin: &HeaderValue, path: &str) -> bool {
        [API, USER_ACTIVITY].contains(&path)
            && self.0.iter().any(|allowed| origin == allowed.name())
    }

    /// What is answered where answers depend on the origin, though this one does not.
    pub(super) fn told(&self, mut response: Response, path: &str) -> Response {
        if !self.0.is_empty() || path == USER_ACTIVITY {
            response.headers_mut().append(header::VARY, ORIGIN);
        }
        response
    }

    /// What is answered to the pages of an origin that is allowed.
    pub(super) fn shown(
        &self,
        response: Response,
        (origin, path): (HeaderValue, &str),
    ) -> Response {
        let mut response = self.told(response, path);
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        response
    }

    /// What a browser is answered that asks what the pages of an origin that is allowed may do.
    pub(super) fn preflight(&self, (origin, path): (HeaderValue, &str)) -> Response {
        let mut response = self.told(StatusCode::NO_CONTENT.into_response(), path);
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
