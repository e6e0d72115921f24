//! The pages, served from the binary: they work without any other network. What people do on them is told
//! to this server, by the same program as that of any other page, where it may be.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use super::Web;
use crate::identity::Authority;

/// The files under `web/`.
#[derive(RustEmbed)]
#[folder = "web/"]
struct Files;

/// Scripts only from here; styles may stand in elements, since GraphiQL puts them there.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    font-src 'self' data:; connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'; \
    form-action 'self'";

/// Where in a page the program stands that tells what is done on it.
const TRACKER_PLACE: &str = "<!-- tracker -->";

/// The start page.
pub(super) async fn home(State(web): State<Web>) -> Response {
    page(&web, "index.html")
}

/// The style of the start page.
pub(super) async fn home_style() -> Response {
    file("home.css")
}

/// GraphiQL.
pub(super) async fn graphiql(State(web): State<Web>) -> Response {
    page(&web, "graphiql/index.html")
}

/// What GraphiQL is made of.
pub(super) async fn graphiql_file(Path(name): Path<String>) -> Response {
    file(&format!("graphiql/{name}"))
}

/// The program by which pages tell what people do on them, those of other origins too.
pub(super) async fn tracker(headers: HeaderMap) -> Response {
    let Some(file) = Files::get("tracker/tracker.js") else {
        return (StatusCode::NOT_FOUND, "there is no such program").into_response();
    };
    let hash = file.metadata.sha256_hash();
    let hash = hash.first_chunk().copied().map(uuid::Uuid::from_bytes);
    // weak, since it may be packed on its way
    let tag = format!("W/\"{}\"", hash.unwrap_or_default().simple());
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    let known = known.filter_map(|tags| tags.to_str().ok());
    let is_known = known.flat_map(|tags| tags.split(',')).any(|known| {
        let known = known.trim();
        known == "*" || known.trim_start_matches("W/") == tag.trim_start_matches("W/")
    });
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (RESOURCE_POLICY, "cross-origin"),
        (header::ETAG, &tag),
    ];
    if is_known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, uncommented(&String::from_utf8_lossy(&file.data))).into_response()
}

/// A program without the lines that are comments, and without what lines begin with: it is written to be
/// read, and sent to be small.
fn uncommented(program: &str) -> String {
    let (mut text, mut is_comment) = (String::with_capacity(program.len()), false);
    for line in program.lines().map(str::trim) {
        is_comment |= line.starts_with("/*");
        if !is_comment && !line.is_empty() && !line.starts_with("//") {
            text.push_str(line);
            text.push('\n');
        }
        is_comment &= !line.ends_with("*/");
    }
    text
}

/// Which pages may use what is served (Fetch standard, "Cross-Origin-Resource-Policy").
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// A page with the program that tells what is done on it: where everybody is let in, or by the key that is
/// for this. Without one it has none.
fn page(web: &Web, path: &str) -> Response {
    let Some(file) = Files::get(path) else {
        return (StatusCode::NOT_FOUND, "there is no such page").into_response();
    };
    let tracker = match (&web.authority, &web.tracking_key) {
        (Authority::Open, _) => {
            "<script defer src=\"/tracker.js\" data-key=\"\"></script>".to_owned()
        }
        // a key has letters, digits, - and _ alone
        (Authority::Closed { .. }, Some(key)) => {
            format!("<script defer src=\"/tracker.js\" data-key=\"{key}\"></script>")
        }
        (Authority::Closed { .. }, None) => String::new(),
    };
    let text = String::from_utf8_lossy(&file.data).replacen(TRACKER_PLACE, &tracker, 1);
    (headers(path), text).into_response()
}

fn file(path: &str) -> Response {
    let Some(file) = Files::get(path) else {
        return (StatusCode::NOT_FOUND, "there is no such page").into_response();
    };
    (headers(path), file.data.into_owned()).into_response()
}

fn headers(path: &str) -> [(HeaderName, HeaderValue); 5] {
    let ty = match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    };
    [
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
            // what is sent to this server while a page is left names the page's origin only so
            HeaderValue::from_static("same-origin"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ]
}

#[cfg(test)]
mod tests {
    use super::uncommented;

    #[test]
    fn a_program_is_sent_without_its_comments() {
        let program = "// a\n/** b */\n{\n  /*\n   * c\n   */\n  d('// e'); // f\n\n}\n";
        assert_eq!(uncommented(program), "{\nd('// e'); // f\n}\n");
    }
}
