//! Finds out who makes a request, before anything else of it is read.
//!
//! A credential comes in the header `Authorization`; never in an address, which is written down in too
//! many places. A socket may also give one in its greeting, since the pages of browsers can set no
//! headers there. What a caller has open ends when the proof does.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::sleep;

use super::answer::refused;
use super::{TRACKER, USER_ACTIVITY, Web};
use crate::clock::Clock;
use crate::graphql::ErrorCode;
use crate::identity::{Caller, Permission, Reach, SignInError, Source};
use crate::ingest::{AnsweredTo, AskedFrom};

/// Who made a request.
#[derive(Clone, Debug)]
pub(super) struct Asker(pub(super) Caller);

/// From where a request comes, as it is told of it.
pub(super) fn network(extensions: &Extensions) -> Option<Arc<str>> {
    let from = extensions.get::<AskedFrom>();
    from.map(|AskedFrom(from)| Arc::clone(from))
}

/// The credential of a request.
pub(super) fn credential(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()
}

/// The origin of the page that makes a request.
fn origin(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ORIGIN)?.to_str().ok()
}

/// What a route asks of whoever asks for it.
enum Asks {
    /// Nothing: it says nothing of anybody.
    Nothing,
    /// That the caller is known; what they may do is for the schema.
    Caller,
    /// That the caller may do something of a sort.
    Permission(Permission),
}

fn asked_of(route: Option<&str>) -> Asks {
    match route {
        Some("/" | "/home.css" | "/graphiql" | "/graphiql/{file}") => Asks::Nothing,
        Some("/healthz" | "/readyz" | TRACKER) => Asks::Nothing,
        // it finds out itself, since a page may have to give its key with what it sends
        Some(USER_ACTIVITY) => Asks::Nothing,
        Some("/graphql") => Asks::Caller,
        Some("/v1/ingest" | "/v1/metrics" | "/v1/logs") => Asks::Permission(Permission::Record),
        // whose it is is found out with the export
        Some("/exports/{id}") => Asks::Permission(Permission::Read),
        Some("/metrics") => Asks::Permission(Permission::ReadWhole),
        // closed unless stated
        Some(_) => Asks::Permission(Permission::Administer),
        None => Asks::Nothing,
    }
}

/// Lets a request pass if its route is open, or if its caller may ask for it.
pub(super) async fn layer(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let asks = asked_of(route.map(MatchedPath::as_str));
    if matches!(asks, Asks::Nothing) {
        return next.run(request).await;
    }
    let network = network(request.extensions());
    let now = web.api.ingest.clock().now();
    let given = credential(request.headers());
    let greets = matches!(asks, Asks::Caller) && is_socket(&request);
    let from = Source {
        network: network.as_ref(),
        origin: origin(request.headers()),
    };
    let caller = match web.authority.caller(given, from, now) {
        Ok(caller) => caller,
        // it may say who it is when it greets
        Err(SignInError::Missing) if greets => return next.run(request).await,
        // it may be a device that enrols, and does nothing else
        Err(SignInError::Missing) if posts(&request, &asks) => {
            let nobody = Asker(Caller::nobody(network.as_ref()));
            request.extensions_mut().insert(nobody);
            return next.run(request).await;
        }
        Err(why) => return unauthenticated(&why),
    };
    if let Asks::Permission(permission) = asks
        && !caller.may(permission)
    {
        return forbidden(&caller, permission);
    }
    request.extensions_mut().insert(Asker(caller.clone()));
    let mut response = next.run(request).await;
    response.extensions_mut().insert(AnsweredTo(caller.name));
    response
}

/// What a caller is told who may not do something. To what it is bound is told where that is why.
fn forbidden(caller: &Caller, permission: Permission) -> Response {
    let unbound = Caller {
        reach: Reach::Whole,
        ..caller.clone()
    };
    let bound = if unbound.may(permission) {
        " that is bound to sites or to a device"
    } else {
        ""
    };
    let (role, deed) = (caller.role.word(), deed(permission));
    let message = format!("a caller of the role {role}{bound} may not {deed}");
    refused(StatusCode::FORBIDDEN, ErrorCode::Forbidden, &message)
}

/// What it is that routes ask for.
const fn deed(permission: Permission) -> &'static str {
    match permission {
        Permission::Record => "record events",
        Permission::Read => "read what is recorded",
        Permission::ReadWhole => "read what is of the whole fleet",
        Permission::BeKnown
        | Permission::Command
        | Permission::Obey
        | Permission::Enrol
        | Permission::RotateOwn
        | Permission::Administer => "ask for this",
    }
}

/// Who records by a request of which the body may have a key, which counts when no header has one.
pub(super) fn recording(
    web: &Web,
    parts: &Parts,
    key: Option<&str>,
) -> Result<Caller, Box<Response>> {
    let network = network(&parts.extensions);
    let of_body = key.map(|key| format!("Bearer {key}"));
    let given = credential(&parts.headers).or(of_body.as_deref());
    let from = Source {
        network: network.as_ref(),
        origin: origin(&parts.headers),
    };
    let now = web.api.ingest.clock().now();
    let caller = web.authority.caller(given, from, now);
    let caller = caller.map_err(|why| Box::new(unauthenticated(&why)))?;
    if !caller.may(Permission::Record) {
        return Err(Box::new(forbidden(&caller, Permission::Record)));
    }
    Ok(caller)
}

/// Whether a request is one of GraphQL that may be to have a device enrol.
fn posts(request: &Request, asks: &Asks) -> bool {
    matches!(asks, Asks::Caller) && request.method() == Method::POST
}

/// Whether a request asks for a socket, and for nothing else.
fn is_socket(request: &Request) -> bool {
    let upgrade = request.headers().get(header::UPGRADE);
    let is_socket = upgrade.is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    is_socket && request.method() == Method::GET
}

pub(super) fn unauthenticated(why: &SignInError) -> Response {
    let message = why.to_string();
    let status = StatusCode::UNAUTHORIZED;
    let mut response = refused(status, ErrorCode::Unauthenticated, &message);
    let challenge = HeaderValue::from_static("Bearer realm=\"homepot\"");
    let headers = response.headers_mut();
    headers.insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// Who made a request, if that is still proved: a body may take minutes.
pub(super) fn asker(web: &Web, extensions: &Extensions) -> Result<Caller, Box<Response>> {
    let refused = |why| Err(Box::new(unauthenticated(&why)));
    match extensions.get::<Asker>() {
        Some(Asker(caller)) if caller.is_valid(web.api.ingest.clock().now()) => Ok(caller.clone()),
        Some(_) => refused(SignInError::Ended),
        None => refused(SignInError::Missing),
    }
}

/// How often it is looked whether a proof has expired, by the clock of the server.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Waits until a caller's proof holds no more: until it expires, or is taken back.
pub(super) async fn ended(caller: &Caller, clock: &Clock) {
    loop {
        let until = caller.expires_at.map(|end| {
            let left = end.0.saturating_sub(clock.now().0).max(0);
            Duration::from_micros(left.unsigned_abs())
        });
        if until.is_some_and(|left| left.is_zero()) {
            return;
        }
        let look = async {
            match until {
                // a clock may be set, so it is looked at again
                Some(left) => sleep(left.min(LOOK_EVERY)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = caller.revoked.cancelled() => return,
            () = look => {}
        }
    }
}
