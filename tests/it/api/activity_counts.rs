//! What is counted of what people do on pages.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::app::{at, on_each_database, texts};

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
        let day = "2026-01-01T00:00:00Z";
        for (refused, code) in [
            ("first: 1001".to_owned(), "BAD_INPUT"),
            ("first: -1".to_owned(), "BAD_INPUT"),
            (format!("from: \"{day}\", to: \"{day}\""), "BAD_INPUT"),
            (
                format!("from: \"2024-01-01T00:00:00Z\", to: \"{day}\""),
                "LIMIT_EXCEEDED",
            ),
        ] {
            let document = format!("{{ topPages({refused}) {{ nodes {{ views }} }} }}");
            assert_eq!(app.code(&document).await, code, "{refused}");
        }
    })
    .await;
}
