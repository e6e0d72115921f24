//! Which part of the log an answer has to know, where a replica may answer.
//!
//! A caller sees what it has written, whatever server it goes to, and never less than it has seen: each
//! answer tells a position (`homepot-position`), and a caller that goes to another server gives it back
//! with its next query. What the database has when a query comes is in its answer without that; the position
//! counts where the database cannot be asked.

use std::borrow::Cow;

use async_graphql::parser::types::OperationType;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;

use super::Web;
use crate::event::Position;
use crate::graphql::Api;

const POSITION: HeaderName = HeaderName::from_static("homepot-position");

/// What an operation works with: a query reads from the replica, if that is there.
pub(super) async fn api_for<'w>(
    web: &'w Web,
    headers: &HeaderMap,
    ty: Option<OperationType>,
) -> Cow<'w, Api> {
    let store = web.api.store();
    if ty != Some(OperationType::Query) || !store.has_replica() {
        return Cow::Borrowed(&web.api);
    }
    let position = store.known_head().max(given(headers));
    Cow::Owned(web.api.reading(position).await)
}

/// The position that a caller gives; what is none is as if it were not given.
fn given(headers: &HeaderMap) -> Position {
    let text = headers.get(POSITION).and_then(|value| value.to_str().ok());
    Position(text.and_then(|text| text.parse().ok()).unwrap_or_default())
}

/// An answer that tells up to where this server knows the log.
pub(super) fn told(web: &Web, mut response: Response) -> Response {
    let known = web.api.store().known_head();
    response
        .headers_mut()
        .insert(POSITION, HeaderValue::from(known.0));
    response
}
