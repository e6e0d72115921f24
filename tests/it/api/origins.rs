//! Pages of other origins: refused, unless theirs is allowed.

use homepot_analytics::app::Access;
use reqwest::{Method, Response};
use serde_json::json;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::app::{TestApp, on_each_database};

const SHOP: &str = "https://shop.example";

async fn allow(app: &mut TestApp, access: Access) {
    app.restart_as(|start| {
        start.access = access;
        start.edge.cors_origins = vec![SHOP.parse().unwrap()];
    })
    .await;
}

async fn preflight(app: &TestApp, origin: &str, path: &str) -> Response {
    let ask = app.client().request(Method::OPTIONS, app.address(path));
    let ask = ask.header("origin", origin);
    let ask = ask.header("access-control-request-method", "POST");
    let ask = ask.header(
        "access-control-request-headers",
        "authorization,content-type",
    );
    ask.header("sec-fetch-site", "cross-site")
        .send()
        .await
        .unwrap()
}

async fn query(app: &TestApp, origin: &str) -> Response {
    let post = app.client().post(app.address("/graphql"));
    let post = post.header("origin", origin);
    let post = post.header("sec-fetch-site", "cross-site");
    let post = post.header("sec-fetch-mode", "cors");
    post.json(&json!({ "query": "{ viewer { name } }" }))
        .send()
        .await
        .unwrap()
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

fn varies_by_origin(answer: &Response) -> bool {
    let all = answer.headers().get_all("vary").iter();
    all.filter(|vary| vary.as_bytes().eq_ignore_ascii_case(b"origin"))
        .count()
        == 1
}

#[tokio::test]
async fn the_pages_of_an_origin_that_is_allowed_use_the_api() {
    on_each_database(async |app| {
        allow(app, Access::Open).await;
        let answer = preflight(app, SHOP, "/graphql").await;
        assert_eq!(answer.status(), 204);
        assert_eq!(header(&answer, "access-control-allow-origin"), SHOP);
        assert_eq!(header(&answer, "access-control-allow-methods"), "GET, POST");
        let allowed = header(&answer, "access-control-allow-headers");
        assert_eq!(
            allowed,
            "authorization, content-type, accept, last-event-id, x-request-id, traceparent"
        );
        assert_eq!(header(&answer, "access-control-max-age"), "7200");
        assert!(varies_by_origin(&answer));
        let answer = query(app, SHOP).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(header(&answer, "access-control-allow-origin"), SHOP);
        let exposed = header(&answer, "access-control-expose-headers");
        assert_eq!(exposed, "x-request-id, retry-after");
        assert_eq!(header(&answer, "access-control-allow-credentials"), "");
        assert!(varies_by_origin(&answer));
        let mut open = format!("ws://{}/graphql", app.app().address)
            .into_client_request()
            .unwrap();
        open.headers_mut().insert("origin", SHOP.parse().unwrap());
        open.headers_mut().insert(
            "sec-websocket-protocol",
            "graphql-transport-ws".parse().unwrap(),
        );
        connect_async(open).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_page_that_is_allowed_is_shown_why_it_is_refused_and_asks_first_without_a_key() {
    on_each_database(async |app| {
        allow(app, Access::Closed).await;
        assert_eq!(preflight(app, SHOP, "/graphql").await.status(), 204);
        let answer = query(app, SHOP).await;
        assert_eq!(answer.status(), 401);
        assert_eq!(header(&answer, "access-control-allow-origin"), SHOP);
    })
    .await;
}

#[tokio::test]
async fn other_origins_are_refused_and_told_how_they_would_be_allowed() {
    on_each_database(async |app| {
        allow(app, Access::Open).await;
        for origin in [
            "https://evil.example",
            "http://shop.example",
            "https://shop.example:8443",
            "https://a.shop.example",
            "https://shop.example.evil.example",
            "null",
        ] {
            for answer in [
                preflight(app, origin, "/graphql").await,
                query(app, origin).await,
            ] {
                assert_eq!(answer.status(), 403, "{origin}");
                assert_eq!(header(&answer, "access-control-allow-origin"), "");
                assert!(varies_by_origin(&answer));
                assert!(answer.text().await.unwrap().contains("--cors-origin"));
            }
        }
        for path in ["/", "/metrics", "/graphiql"] {
            assert_eq!(preflight(app, SHOP, path).await.status(), 403, "{path}");
        }
        // a page that is not shown the answer bears no origin
        let get = app
            .client()
            .get(app.address("/graphql?query=%7Bviewer%7Bname%7D%7D"));
        let get = get
            .header("sec-fetch-site", "cross-site")
            .header("sec-fetch-mode", "no-cors");
        assert_eq!(get.send().await.unwrap().status(), 403);
        let post = app
            .client()
            .post(app.address("/graphql"))
            .header("origin", SHOP);
        let post = post.header("host", "evil.example");
        let post = post.json(&json!({ "query": "{ viewer { name } }" }));
        assert_eq!(post.send().await.unwrap().status(), 421);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_said_of_origins_where_none_is_allowed() {
    on_each_database(async |app| {
        let answer = preflight(app, SHOP, "/graphql").await;
        assert_eq!(answer.status(), 403);
        let own = app.address("");
        let answer = query(app, &own).await;
        assert_eq!(header(&answer, "access-control-allow-origin"), "");
        assert!(!varies_by_origin(&answer));
    })
    .await;
}
