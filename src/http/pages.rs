//! The pages, served from the binary: they work without any other network.

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

/// The files under `web/`.
#[derive(RustEmbed)]
#[folder = "web/"]
struct Files;

/// Scripts only from here; styles may stand in elements, since GraphiQL puts them there.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    font-src 'self' data:; connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'; \
    form-action 'self'";

/// The start page.
pub(super) async fn home() -> Response {
    file("index.html")
}

/// The style of the start page.
pub(super) async fn home_style() -> Response {
    file("home.css")
}

/// GraphiQL.
pub(super) async fn graphiql() -> Response {
    file("graphiql/index.html")
}

/// What GraphiQL is made of.
pub(super) async fn graphiql_file(Path(name): Path<String>) -> Response {
    file(&format!("graphiql/{name}"))
}

fn file(path: &str) -> Response {
    let Some(file) = Files::get(path) else {
        return (StatusCode::NOT_FOUND, "there is no such page").into_response();
    };
    let ty = match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(ty)),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(POLICY),
        ),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, file.data.into_owned()).into_response()
}
