//! Proxies in front of the server: one that is trusted is believed, and nobody else.

use homepot_analytics::app::Access;
use serde_json::{Value, json};

use super::app::{TestApp, on_each_database};

async fn behind(app: &mut TestApp, proxies: &[&str], keep_addresses: bool) {
    let proxies = proxies.iter().map(|text| text.parse().unwrap()).collect();
    app.restart_as(|start| {
        start.access = Access::Open;
        start.edge.trusted_proxies = proxies;
        start.edge.keep_addresses = keep_addresses;
        start.allowed_hosts = vec!["shop.example".to_owned()];
    })
    .await;
}

/// The status of a request with headers, and how the answer bids browsers ask.
async fn ask(app: &TestApp, headers: &[(&str, &str)], query: &str) -> (u16, Option<String>) {
    let mut post = app.client().post(app.address("/graphql"));
    for (name, value) in headers {
        post = post.header(*name, *value);
    }
    let answer = post.json(&json!({ "query": query })).send().await.unwrap();
    let strict = answer.headers().get("strict-transport-security");
    let strict = strict.map(|value| value.to_str().unwrap().to_owned());
    (answer.status().as_u16(), strict)
}

/// From where the log of requests and the audit say that a command was given.
async fn told(app: &TestApp, headers: &[(&str, &str)]) -> Value {
    let mut socket = app.socket().await;
    let document = "subscription($after: String) {
        apiRequests(after: $after, filter: { operationName: { eq: \"Mine\" } }) { ipAddress } }";
    let after = json!({ "after": app.head().await });
    let id = socket.subscribe(document, after).await;
    let command = "mutation Mine { cancelJob(input: { jobId: \"no\", reason: \"r\" }) {
        userErrors { code } } }";
    assert_eq!(ask(app, headers, command).await.0, 200);
    let request = socket.data(&id).await["apiRequests"]["ipAddress"].take();
    let audit = app
        .data("{ auditLog(first: 1, order: LAST_RECORDED_FIRST) { nodes { ipAddress } } }")
        .await;
    assert_eq!(audit["auditLog"]["nodes"][0]["ipAddress"], request);
    request
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_from_where_a_request_comes() {
    on_each_database(async |app| {
        let forwarded = [("x-forwarded-for", "1.1.1.1, 203.0.113.77, 10.0.0.9")];
        behind(app, &["127.0.0.0/8", "10.0.0.0/8"], false).await;
        assert_eq!(told(app, &forwarded).await, "203.0.113.0/24");
        behind(app, &["127.0.0.0/8"], true).await;
        assert_eq!(told(app, &forwarded).await, "10.0.0.9");
    })
    .await;
}

#[tokio::test]
async fn whoever_is_no_trusted_proxy_is_believed_nothing() {
    on_each_database(async |app| {
        behind(app, &["10.0.0.0/8"], true).await;
        let forged = [
            ("x-forwarded-for", "203.0.113.77"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
        ];
        assert_eq!(told(app, &forged).await, "127.0.0.1");
        let own = app.address("");
        let mut from_page = forged.to_vec();
        from_page.push(("origin", &own));
        assert_eq!(
            ask(app, &from_page, "{ viewer { name } }").await,
            (200, None)
        );
    })
    .await;
}

#[tokio::test]
async fn a_trusted_proxy_says_under_which_name_and_how_it_was_asked() {
    on_each_database(async |app| {
        behind(app, &["127.0.0.1/32"], false).await;
        let status = async |host: &str, proto: &str, origin: &str| {
            let headers = [
                ("x-forwarded-host", host),
                ("x-forwarded-proto", proto),
                ("origin", origin),
            ];
            ask(app, &headers, "{ viewer { name } }").await.0
        };
        let shop = "https://shop.example";
        assert_eq!(status("shop.example", "https", shop).await, 200);
        assert_eq!(
            status("evil.example, shop.example", "http, https", shop).await,
            200
        );
        assert_eq!(
            status("shop.example", "https", "http://shop.example").await,
            403
        );
        assert_eq!(
            status("shop.example", "http", "http://shop.example").await,
            200
        );
        assert_eq!(status("shop.example", "https", &app.address("")).await, 403);
        assert_eq!(
            status("evil.example", "https", "https://evil.example").await,
            421
        );
        // a proxy that hands both on is asked under another name
        let rebound = [
            ("host", "evil.example"),
            ("x-forwarded-host", "shop.example"),
        ];
        assert_eq!(ask(app, &rebound, "{ viewer { name } }").await.0, 421);
        let year = Some("max-age=31536000".to_owned());
        let encrypted = [("x-forwarded-proto", "https")];
        assert_eq!(
            ask(app, &encrypted, "{ viewer { name } }").await,
            (200, year)
        );
    })
    .await;
}
