//! What people do on pages: how it is sent, who may, and what is counted of it.

use std::collections::{BTreeMap, BTreeSet};

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

/// What people did, made up from a seed: by whom, in which session, what, where and when.
fn made_up() -> Vec<Value> {
    let mut seed: u64 = 7;
    let mut next = |below: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut events = Vec::new();
    for _ in 0..300 {
        let session = next(12);
        let mut of = json!({
            "eventId": uuid::Uuid::now_v7(),
            "occurredAt": at(-i64::try_from(next(3_000)).unwrap()),
            "sessionId": format!("s{session}"),
            "pageUrl": format!("https://shop.example/{}", next(7)),
            "provenance": if next(5) == 0 { "SIMULATED" } else { "REAL" },
        });
        if next(3) > 0 {
            of["userId"] = json!(format!("u{}", session % 5));
        }
        of["activityType"] = match next(4) {
            0 => {
                of["searchQuery"] =
                    json!(["tea", "Tea", "milk", "ö"][usize::try_from(next(4)).unwrap()]);
                json!("SEARCH_QUERY")
            }
            1 => json!("BUTTON_CLICK"),
            _ => json!("PAGE_VIEW"),
        };
        events.push(json!({ "userActivity": of }));
    }
    events
}

type Groups<'a> = BTreeMap<String, Vec<&'a Value>>;

/// Events by one of their texts, in the order of time and then in which they were recorded.
fn by<'a>(events: &[&'a Value], field: &str) -> Groups<'a> {
    let mut groups = Groups::new();
    for event in events {
        if let Some(text) = event[field].as_str() {
            groups.entry(text.to_owned()).or_default().push(event);
        }
    }
    groups
}

fn different(events: &[&Value], field: &str) -> String {
    let all: BTreeSet<&str> = events
        .iter()
        .filter_map(|event| event[field].as_str())
        .collect();
    all.len().to_string()
}

fn count(events: &[&Value], ty: &str) -> String {
    let of = events.iter().filter(|event| event["activityType"] == ty);
    of.count().to_string()
}

/// Groups with most in them first, and then in the order of their texts.
fn most(groups: Groups<'_>) -> Vec<(String, Vec<&Value>)> {
    let mut all: Vec<_> = groups.into_iter().collect();
    all.sort_by_key(|(text, events)| (std::cmp::Reverse(events.len()), text.clone()));
    all
}

/// The median in milliseconds of how long each page was looked at.
fn stays(views: &[&Value]) -> BTreeMap<String, f64> {
    let mut stays: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let ms = |event: &Value| {
        let at = event["occurredAt"].as_str().unwrap();
        homepot_analytics::event::Instant::parse(at).unwrap().0 / 1_000
    };
    for of_session in by(views, "sessionId").values() {
        for pair in of_session.windows(2) {
            let stay = ms(pair[1]) - ms(pair[0]);
            if stay <= 30 * 60_000 {
                let page = pair[0]["pageUrl"].as_str().unwrap().to_owned();
                stays.entry(page).or_default().push(stay);
            }
        }
    }
    let median = |(page, mut all): (String, Vec<i64>)| {
        all.sort_unstable();
        let middle = [all[(all.len() - 1) / 2], all[all.len() / 2]];
        let middle: i64 = middle.iter().sum();
        (page, f64::from(i32::try_from(middle).unwrap()) / 2.0)
    };
    stays.into_iter().map(median).collect()
}

#[tokio::test]
async fn what_people_did_is_counted_as_a_plain_fold_counts_it() {
    on_each_database(async |app| {
        let events = made_up();
        app.record(json!(events)).await;
        for (of, provenance) in [("", "REAL"), ("(provenance: SIMULATED)", "SIMULATED")] {
            let mut counted: Vec<&Value> = events.iter().map(|event| &event["userActivity"]).collect();
            counted.retain(|event| event["provenance"] == provenance);
            // stable, so that what was recorded first stays first
            counted.sort_by_key(|event| event["occurredAt"].as_str().unwrap().to_owned());
            let of_type = |ty: &str| -> Vec<&Value> {
                counted.iter().filter(|event| event["activityType"] == ty).copied().collect()
            };
            let data = app
                .data(&format!(
                    "{{ topPages{of} {{ provenance nodes {{ pageUrl views users sessions medianViewMs }} }}
                    topSearches{of} {{ nodes {{ query searches users sessions }} }}
                    activityByUser{of} {{ nodes {{ userId firstAt lastAt events pageViews buttonClicks
                        searchQueries formSubmits sessions }} }}
                    userSessions{of} {{ nodes {{ sessionId userId firstAt lastAt events pageViews entryPage
                        exitPage }} }} }}"
                ))
                .await;
            assert_eq!(data["topPages"]["provenance"], provenance);
            let views = of_type("PAGE_VIEW");
            let stays = stays(&views);
            let page = |(page, of): (String, Vec<&Value>)| {
                json!({ "medianViewMs": stays.get(&page), "pageUrl": page, "views": of.len().to_string(),
                    "users": different(&of, "userId"), "sessions": different(&of, "sessionId") })
            };
            let pages: Vec<Value> = most(by(&views, "pageUrl")).into_iter().map(page).collect();
            assert_eq!(data["topPages"]["nodes"], json!(pages));
            let search = |(query, of): (String, Vec<&Value>)| {
                json!({ "query": query, "searches": of.len().to_string(),
                    "users": different(&of, "userId"), "sessions": different(&of, "sessionId") })
            };
            let searches = most(by(&of_type("SEARCH_QUERY"), "searchQuery"));
            let searches: Vec<Value> = searches.into_iter().map(search).collect();
            assert_eq!(data["topSearches"]["nodes"], json!(searches));
            let user = |(user, of): (String, Vec<&Value>)| {
                json!({ "userId": user, "firstAt": of[0]["occurredAt"],
                    "lastAt": of[of.len() - 1]["occurredAt"], "events": of.len().to_string(),
                    "pageViews": count(&of, "PAGE_VIEW"), "buttonClicks": count(&of, "BUTTON_CLICK"),
                    "searchQueries": count(&of, "SEARCH_QUERY"), "formSubmits": "0",
                    "sessions": different(&of, "sessionId") })
            };
            let users: Vec<Value> = most(by(&counted, "userId")).into_iter().map(user).collect();
            assert_eq!(data["activityByUser"]["nodes"], json!(users));
            let session = |(session, of): (String, Vec<&Value>)| {
                let views: Vec<_> = of.iter().filter(|e| e["activityType"] == "PAGE_VIEW").collect();
                let user = of.iter().rev().find(|event| event["userId"].is_string());
                json!({ "sessionId": session, "userId": user.map(|event| &event["userId"]),
                    "firstAt": of[0]["occurredAt"], "lastAt": of[of.len() - 1]["occurredAt"],
                    "events": of.len().to_string(), "pageViews": views.len().to_string(),
                    "entryPage": views.first().map(|event| &event["pageUrl"]),
                    "exitPage": views.last().map(|event| &event["pageUrl"]) })
            };
            let of_sessions = by(&counted, "sessionId");
            let mut sessions: Vec<Value> = of_sessions.into_iter().map(session).collect();
            let order = |session: &Value| {
                (session["lastAt"].as_str().unwrap().to_owned(), session["sessionId"].to_string())
            };
            let mut told: Vec<Value> = data["userSessions"]["nodes"].as_array().unwrap().clone();
            assert!(told.is_sorted_by(|one, next| one["lastAt"].as_str() >= next["lastAt"].as_str()));
            sessions.sort_by_key(order);
            told.sort_by_key(order);
            assert_eq!(told, sessions);
        }
    })
    .await;
}

#[tokio::test]
async fn counts_have_bounds() {
    on_each_database(async |app| {
        app.record(json!(made_up())).await;
        let data = app
            .data(
                "{ topPages(first: 2) { nodes { pageUrl } }
            userSessions(first: 50, userId: \"u1\") { nodes { sessionId } }
            of_none: userSessions(userId: \"none\") { nodes { sessionId } }
            before: topPages(to: \"2026-01-01T00:00:00Z\") { provenance nodes { views } } }",
            )
            .await;
        assert_eq!(data["topPages"]["nodes"].as_array().unwrap().len(), 2);
        let sessions: BTreeSet<String> = texts(&data["userSessions"]["nodes"], "sessionId")
            .into_iter()
            .collect();
        assert!(
            !sessions.is_empty()
                && sessions
                    .iter()
                    .all(|id| ["s1", "s6", "s11"].contains(&id.as_str()))
        );
        assert_eq!(data["of_none"]["nodes"], json!([]));
        assert_eq!(data["before"], json!({ "nodes": [], "provenance": null }));
        for refused in [
            "topPages(first: 1001)",
            "topPages(first: -1)",
            "topPages(from: \"2026-01-01T00:00:00Z\", to: \"2026-01-01T00:00:00Z\")",
            "topPages(from: \"2024-01-01T00:00:00Z\", to: \"2026-01-01T00:00:00Z\")",
        ] {
            let document = format!("{{ {refused} {{ nodes {{ views }} }} }}");
            assert_eq!(app.code(&document).await, "BAD_INPUT", "{refused}");
        }
    })
    .await;
}
