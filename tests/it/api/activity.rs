//! What people do on pages: how it is sent, and who may.

use homepot_analytics::identity::{Grant, More, Role};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::access::{ask, grant, key, recorded};
use super::app::{TestApp, at, on_each_database, texts};

const PATH: &str = "/api/v1/analytics/user-activity";
const SHOP: &str = "https://shop.example";

/// A key for the pages of the shop.
fn of_pages() -> Grant {
    Grant {
        more: More {
            origins: vec![SHOP.to_owned()],
            kinds: vec!["userActivity".to_owned()],
            ..More::default()
        },
        ..grant(Role::Ingest, &[])
    }
}

fn seen(page: &str, minute: i64) -> Value {
    json!({ "userActivity": { "eventId": uuid::Uuid::now_v7(), "activityType": "PAGE_VIEW",
        "sessionId": "s", "pageUrl": page, "occurredAt": at(minute) } })
}

fn post(app: &TestApp, origin: Option<&str>, body: impl Into<reqwest::Body>) -> RequestBuilder {
    let post = app.client().post(app.address(PATH)).body(body);
    let post = post.header("content-type", "application/json");
    match origin {
        Some(origin) => post.header("origin", origin),
        None => post,
    }
}

fn body(events: &Value) -> String {
    json!({ "events": events }).to_string()
}

/// The status of each event, with its code when it has one.
async fn outcomes(request: RequestBuilder) -> Vec<String> {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert_eq!(status, 200, "{text}");
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let status = line["status"].as_str().unwrap();
        let code = line["code"].as_str();
        code.map_or(status.to_owned(), |code| format!("{status} {code}"))
    };
    text.lines().map(line).collect()
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    let value = answer.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_page_sends_what_was_done_on_it_and_a_repeat_is_known() {
    on_each_database(async |app| {
        app.close_to_strangers().await;
        let key = key(app, of_pages()).await;
        let events = json!([
            seen("https://shop.example/", 0),
            seen("https://shop.example/cart", 1)
        ]);
        let sent = || post(app, Some(SHOP), body(&events)).bearer_auth(&key);
        assert_eq!(outcomes(sent()).await, ["RECORDED", "RECORDED"]);
        assert_eq!(outcomes(sent()).await, ["DUPLICATE", "DUPLICATE"]);
        // as a browser sends it of a page that is being left
        let beacon = json!({ "key": key, "events": events }).to_string();
        let beacon = app.client().post(app.address(PATH)).body(beacon);
        let beacon = beacon
            .header("content-type", "text/plain;charset=UTF-8")
            .header("origin", SHOP)
            .header("sec-fetch-site", "cross-site")
            .header("sec-fetch-mode", "no-cors");
        assert_eq!(outcomes(beacon).await, ["DUPLICATE", "DUPLICATE"]);
    })
    .await;
}

#[tokio::test]
async fn a_key_of_pages_is_taken_of_their_origin_alone() {
    on_each_database(async |app| {
        app.close_to_strangers().await;
        let key = key(app, of_pages()).await;
        let events = body(&json!([seen("/", 0)]));
        let of = |origin: Option<&str>| post(app, origin, events.clone()).bearer_auth(&key);
        assert_eq!(status(of(Some("https://evil.example"))).await, 403);
        assert_eq!(status(of(Some("null"))).await, 403);
        assert_eq!(status(of(None)).await, 401);
        assert_eq!(status(of(Some(&app.address("")))).await, 401);
        assert_eq!(status(post(app, Some(SHOP), events.clone())).await, 401);
        let unkeyed = json!({ "key": "none", "events": [] }).to_string();
        assert_eq!(status(post(app, Some(SHOP), unkeyed)).await, 401);
        let (asked, _) = ask(app, &key, json!({ "query": "{ viewer { name } }" })).await;
        assert_eq!(asked, 401);
        let preflight = |origin: &str, path: &str| {
            let ask = app.client().request(Method::OPTIONS, app.address(path));
            ask.header("origin", origin)
                .header("access-control-request-method", "POST")
                .header(
                    "access-control-request-headers",
                    "authorization,content-type",
                )
        };
        let answer = preflight(SHOP, PATH).send().await.unwrap();
        assert_eq!(answer.status(), 204);
        assert_eq!(header(&answer, "access-control-allow-origin"), SHOP);
        assert!(header(&answer, "access-control-allow-headers").contains("authorization"));
        assert_eq!(header(&answer, "access-control-allow-credentials"), "");
        assert_eq!(header(&answer, "vary"), "origin");
        assert_eq!(status(preflight("https://evil.example", PATH)).await, 403);
        assert_eq!(status(preflight(SHOP, "/v1/ingest")).await, 403);
        let answer = of(Some(SHOP)).send().await.unwrap();
        assert_eq!(header(&answer, "access-control-allow-origin"), SHOP);
        assert!(header(&answer, "access-control-expose-headers").contains("retry-after"));
    })
    .await;
}

#[tokio::test]
async fn a_revoked_key_has_no_pages() {
    on_each_database(async |app| {
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let page = key(app, of_pages()).await;
        let list = json!({ "query": "{ accessKeys { nodes { id origins kinds } } }" });
        let (_, answer) = ask(app, &admin, list).await;
        let nodes = answer["data"]["accessKeys"]["nodes"].as_array().unwrap();
        let its = nodes
            .iter()
            .find(|node| !node["origins"].is_null())
            .unwrap();
        assert_eq!(
            (&its["origins"], &its["kinds"]),
            (&json!([SHOP]), &json!(["userActivity"]))
        );
        let revoke = format!(
            "mutation {{ revokeAccessKey(input: {{ id: {} }}) {{ userErrors {{ code }} }} }}",
            its["id"]
        );
        ask(app, &admin, json!({ "query": revoke })).await;
        let sent = post(app, Some(SHOP), body(&json!([seen("/", 0)]))).bearer_auth(&page);
        assert_eq!(status(sent).await, 403);
    })
    .await;
}

#[tokio::test]
async fn a_key_is_bound_to_pages_by_command() {
    on_each_database(async |app| {
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let create = |more: &str| {
            let document = format!(
                "mutation {{ createAccessKey(input: {{ name: \"shop\", {more} }}) {{
                    secret userErrors {{ field code }} }} }}"
            );
            ask(app, &admin, json!({ "query": document }))
        };
        let (_, answer) =
            create("role: INGEST, kinds: [userActivity], origins: [\"https://shop.example\"]")
                .await;
        let secret = answer["data"]["createAccessKey"]["secret"]
            .as_str()
            .unwrap();
        let sent = post(app, Some(SHOP), body(&json!([seen("/", 0)]))).bearer_auth(secret);
        assert_eq!(outcomes(sent).await, ["RECORDED"]);
        for (more, field) in [
            (
                "role: INGEST, origins: [\"https://shop.example\"]",
                "origins",
            ),
            (
                "role: INGEST, kinds: [userActivity], origins: []",
                "origins",
            ),
            (
                "role: INGEST, kinds: [userActivity], origins: [\"https://shop.example/\"]",
                "origins",
            ),
            ("role: INGEST, kinds: [auditEntry]", "kinds"),
            ("role: ADMIN, kinds: [userActivity]", "kinds"),
        ] {
            let (_, answer) = create(more).await;
            let errors = &answer["data"]["createAccessKey"]["userErrors"];
            assert_eq!(
                errors,
                &json!([{ "code": "INVALID", "field": field }]),
                "{more}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_key_that_is_bound_to_kinds_records_no_other() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let mut bound = of_pages();
        bound.more.origins.clear();
        let bound = key(app, bound).await;
        let error = json!({ "errorLog": { "category": "DEVICE", "severity": "ERROR",
            "errorMessage": "e", "deviceId": "till-1" } });
        let events = json!([error, seen("/", 0)]);
        let told = recorded(app, &bound, events.clone()).await;
        assert_eq!(told, ["REJECTED NOT_ALLOWED", "RECORDED"]);
        // and here nobody does
        let free = key(app, grant(Role::Ingest, &[])).await;
        for key in [&bound, &free] {
            let sent = post(app, None, body(&events)).bearer_auth(key);
            let told = outcomes(sent).await;
            assert_eq!(told, ["REJECTED NOT_ALLOWED", "DUPLICATE"]);
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_sent_has_a_form_and_a_limit() {
    on_each_database(async |app| {
        let send = |body: String| status(post(app, None, body));
        assert_eq!(send("{\"events\":[]}".to_owned()).await, 200);
        for malformed in [
            "",
            "[]",
            "{}",
            "{\"events\":{}}",
            "{\"events\":[],\"more\":1}",
        ] {
            assert_eq!(send(malformed.to_owned()).await, 400, "{malformed}");
        }
        let long = format!("{{\"events\":[]{}}}", " ".repeat(64 * 1024));
        assert_eq!(send(long).await, 413);
        let many = json!([{ "userActivity": { "activityType": "PAGE_VIEW" } }]);
        let many = vec![many[0].clone(); 501];
        assert_eq!(send(body(&json!(many))).await, 413);
        let typed = app.client().post(app.address(PATH)).body("{}");
        assert_eq!(status(typed.header("content-type", "text/html")).await, 415);
        assert_eq!(status(app.client().get(app.address(PATH))).await, 405);
        // each event has an outcome of its own; one of a clock that is ahead happens now
        let events = json!([1, {}, seen("/", 60), { "userActivity": { "activityType": "OTHER" } }]);
        let told = outcomes(post(app, None, body(&events))).await;
        assert_eq!(
            told,
            [
                "REJECTED INVALID",
                "REJECTED INVALID",
                "RECORDED",
                "REJECTED MISSING"
            ]
        );
        let data = app
            .data("{ userActivity { nodes { occurredAt pageUrl } } }")
            .await;
        assert_eq!(texts(&data["userActivity"]["nodes"], "occurredAt"), [at(0)]);
    })
    .await;
}

#[tokio::test]
async fn a_page_of_a_hostile_origin_sends_nothing_to_a_server_of_ones_own() {
    on_each_database(async |app| {
        let events = body(&json!([seen("/", 0)]));
        let beacon = app.client().post(app.address(PATH)).body(events);
        let beacon = beacon
            .header("content-type", "text/plain")
            .header("origin", "https://evil.example")
            .header("sec-fetch-site", "cross-site")
            .header("sec-fetch-mode", "no-cors");
        assert_eq!(status(beacon).await, 403);
    })
    .await;
}

#[tokio::test]
async fn the_tracker_is_small_and_for_pages_everywhere() {
    on_each_database(async |app| {
        let get = || app.client().get(app.address("/tracker.js"));
        let packed = get()
            .header("accept-encoding", "gzip")
            .header("origin", SHOP)
            .header("sec-fetch-site", "cross-site")
            .header("sec-fetch-mode", "no-cors");
        let packed = packed.send().await.unwrap();
        assert_eq!(packed.status(), 200);
        assert_eq!(header(&packed, "content-encoding"), "gzip");
        assert_eq!(header(&packed, "access-control-allow-origin"), "*");
        assert_eq!(
            header(&packed, "cross-origin-resource-policy"),
            "cross-origin"
        );
        let tag = header(&packed, "etag").to_owned();
        let bytes = packed.bytes().await.unwrap().len();
        assert!(bytes <= 4_000, "{bytes} bytes");
        let again = get().header("if-none-match", tag).send().await.unwrap();
        assert_eq!(again.status(), 304);
        assert_eq!(again.bytes().await.unwrap().len(), 0);
    })
    .await;
}

#[tokio::test]
async fn the_pages_of_a_server_have_the_tracker_where_it_may_be() {
    on_each_database(async |app| {
        let page = async |app: &TestApp, path: &str| {
            let answer = app.client().get(app.address(path)).send().await.unwrap();
            answer.text().await.unwrap()
        };
        for path in ["/", "/graphiql"] {
            assert!(
                page(app, path)
                    .await
                    .contains("src=\"/tracker.js\" data-key=\"\"")
            );
        }
        app.close_to_strangers().await;
        let key = key(app, of_pages()).await;
        assert!(!page(app, "/").await.contains("tracker"));
        let given = key.clone();
        app.restart_as(|start| start.edge.tracking_key = Some(given))
            .await;
        for path in ["/", "/graphiql"] {
            assert!(
                page(app, path)
                    .await
                    .contains(&format!("data-key=\"{key}\""))
            );
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_packed_is_taken_of_those_alone_who_are_known() {
    on_each_database(async |app| {
        app.close_to_strangers().await;
        let key = key(app, of_pages()).await;
        let body = body(&json!([seen("/", 0)]));
        let packed = || {
            let post = post(app, Some(SHOP), body.clone());
            post.header("content-encoding", "zstd")
        };
        assert_eq!(status(packed()).await, 415);
        // it is none, which is seen once it is unpacked
        assert_eq!(status(packed().bearer_auth(key)).await, 400);
    })
    .await;
}
