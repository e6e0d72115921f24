//! What many follow alike is executed once, and each of them is told all of it, once and in order.

use homepot_analytics::identity::Role;
use serde_json::{Value, json};

use super::access::{grant, key};
use super::app::{TestApp, on_each_database};
use super::inputs::error;
use super::socket::Socket;

const FOLLOW: &str = "subscription($after: String, $severity: ErrorSeverity) {
    errorLogs(after: $after, filter: { severity: { eq: $severity } }) { cursor position errorMessage } }";

/// Subscriptions that are executed for all who follow them.
async fn topics(app: &TestApp) -> u64 {
    let get = app.client().get(app.address("/metrics"));
    let text = get.send().await.unwrap().text().await.unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("homepot_live_topics "));
    line.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

/// Records errors with these numbers, all ERROR.
async fn record(app: &TestApp, numbers: std::ops::Range<usize>) {
    let events: Vec<Value> = numbers.map(|n| error(&format!("e{n}"), "ERROR")).collect();
    app.record(json!(events)).await;
}

async fn message(socket: &mut Socket, id: &str) -> String {
    let data = socket.data(id).await;
    data["errorLogs"]["errorMessage"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Subscribes, and waits until the subscription hears what is recorded.
async fn joined(app: &TestApp, socket: &mut Socket, severity: &str) -> String {
    let head = app.head().await;
    let variables = json!({ "after": head, "severity": severity });
    let id = socket.subscribe(FOLLOW, variables).await;
    if severity == "ERROR" {
        record(app, 0..1).await;
        assert_eq!(message(socket, &id).await, "e0");
    }
    id
}

#[tokio::test]
async fn the_same_is_executed_once_wherever_it_begins() {
    on_each_database(async |app| {
        app.fleet().await;
        let (mut one, mut two) = (app.socket().await, app.socket().await);
        let mut ids = Vec::new();
        for socket in [&mut one, &mut two] {
            for _ in 0..2 {
                ids.push(joined(app, socket, "ERROR").await);
            }
        }
        assert_eq!(topics(app).await, 1);
        // other variables are another subscription, and so is another document
        let other = app.head().await;
        let other = json!({ "after": other, "severity": "WARNING" });
        two.subscribe(FOLLOW, other).await;
        let document = FOLLOW.replace("position ", "");
        let id = two
            .subscribe(&document, json!({ "severity": "ERROR" }))
            .await;
        two.unsubscribe("none").await;
        let echo = two.subscribe("{ viewer { name } }", json!({})).await;
        two.data(&echo).await;
        while topics(app).await < 3 {}
        two.unsubscribe(&id).await;
        while topics(app).await > 2 {}
        drop(two);
        while topics(app).await > 1 {}
        drop(one);
        while topics(app).await > 0 {}
    })
    .await;
}

#[tokio::test]
async fn whoever_joins_with_a_cursor_hears_all_that_came_after_it() {
    on_each_database(async |app| {
        app.fleet().await;
        let start = app.head().await;
        let mut first = app.socket().await;
        let id = first
            .subscribe(FOLLOW, json!({ "after": start, "severity": "ERROR" }))
            .await;
        record(app, 0..40).await;
        let mut cursors = Vec::new();
        for n in 0..40 {
            let data = first.data(&id).await;
            assert_eq!(data["errorLogs"]["errorMessage"], format!("e{n}"));
            cursors.push(data["errorLogs"]["cursor"].as_str().unwrap().to_owned());
        }
        let mut late = app.socket().await;
        let mut joined = Vec::new();
        for n in [39, 0, 17, 38] {
            let variables = json!({ "after": cursors[n], "severity": "ERROR" });
            joined.push((n, late.subscribe(FOLLOW, variables).await));
        }
        record(app, 40..80).await;
        for (n, id) in joined {
            for expected in n + 1..80 {
                assert_eq!(
                    message(&mut late, &id).await,
                    format!("e{expected}"),
                    "after e{n}"
                );
            }
        }
        for expected in 40..80 {
            assert_eq!(message(&mut first, &id).await, format!("e{expected}"));
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_does_not_read_misses_nothing_and_holds_up_nobody() {
    on_each_database(async |app| {
        app.fleet().await;
        let (mut slow, mut fast) = (app.socket().await, app.socket().await);
        let of_slow = joined(app, &mut slow, "ERROR").await;
        let of_fast = joined(app, &mut fast, "ERROR").await;
        // what the other has recorded to join
        assert_eq!(message(&mut slow, &of_slow).await, "e0");
        let large = "x".repeat(9_000);
        // soon done, since whoever answers no ping for long is taken for gone
        for first in (0..400).step_by(20) {
            let numbers = first..first + 20;
            let errors = numbers
                .clone()
                .map(|n| error(&format!("{n} {large}"), "ERROR"));
            app.record(errors.collect()).await;
            for n in numbers {
                let heard = message(&mut fast, &of_fast).await;
                assert!(heard.starts_with(&format!("{n} ")));
            }
        }
        for n in 0..400 {
            let heard = message(&mut slow, &of_slow).await;
            assert!(heard.starts_with(&format!("{n} ")), "{n}: {}", &heard[..20]);
        }
    })
    .await;
}

#[tokio::test]
async fn an_item_that_is_too_large_to_be_held_is_told_to_everybody() {
    on_each_database(async |app| {
        let mut socket = app.socket().await;
        let head = app.head().await;
        let document =
            "subscription($after: String) { errorLogs(after: $after) { errorMessage stackTrace } }";
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(socket.subscribe(document, json!({ "after": head })).await);
        }
        let event = |name: &str, bytes: usize| {
            json!({ "errorLog": { "category": "API", "severity": "ERROR", "errorMessage": name,
                "stackTrace": "y".repeat(bytes) } })
        };
        for (name, bytes) in [("a", 1), ("b", 40_000), ("c", 60_000), ("d", 1)] {
            app.record(json!([event(name, bytes)])).await;
        }
        for id in ids {
            for (name, bytes) in [("a", 1), ("b", 40_000), ("c", 60_000), ("d", 1)] {
                let told = &socket.data(&id).await["errorLogs"];
                assert_eq!(told["errorMessage"], name);
                assert_eq!(told["stackTrace"].as_str().unwrap().len(), bytes);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn those_who_see_something_else_are_told_something_else() {
    on_each_database(async |app| {
        app.fleet().await;
        let head = app.head().await;
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let holders = [
            grant(Role::Viewer, &["harbour"]),
            grant(Role::Operator, &["harbour"]),
            grant(Role::Viewer, &["market"]),
            grant(Role::Viewer, &[]),
            grant(Role::Device, &[]),
        ];
        let mut followers = Vec::new();
        for holder in holders {
            let holder = key(app, holder).await;
            let mut socket = Socket::open_as(app.app().address, &holder).await;
            let document = "subscription($after: String) { errorLogs(after: $after) { deviceId } }";
            let id = socket.subscribe(document, json!({ "after": head })).await;
            followers.push((socket, id));
        }
        let of = |device: &str| {
            json!({ "errorLog": { "category": "DEVICE", "severity": "ERROR",
            "errorMessage": "e", "deviceId": device } })
        };
        let events = json!([of("till-3"), of("till-2"), of("till-1"), of("till-3")]);
        super::access::recorded(app, &admin, events).await;
        let told = [
            &["till-2", "till-1"][..],
            &["till-2", "till-1"],
            &["till-3", "till-3"],
            &["till-3", "till-2", "till-1", "till-3"],
            &["till-1"],
        ];
        for ((socket, id), told) in followers.iter_mut().zip(told) {
            for device in told {
                assert_eq!(socket.data(id).await["errorLogs"]["deviceId"], *device);
            }
        }
        let get = app
            .client()
            .get(app.address("/metrics"))
            .bearer_auth(&admin);
        let text = get.send().await.unwrap().text().await.unwrap();
        // a viewer and an operator of one site see the same
        assert!(text.contains("homepot_live_topics 4\n"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_executed_is_said_to_each_who_asks() {
    on_each_database(async |app| {
        let mut socket = app.socket().await;
        for _ in 0..3 {
            let id = socket
                .subscribe("subscription { errorLogs { nothing } }", json!({}))
                .await;
            let refused = socket.next(&id).await.unwrap();
            assert_eq!(
                refused["errors"][0]["extensions"]["code"],
                "VALIDATION_FAILED"
            );
        }
        for after in ["none", ""] {
            let id = socket
                .subscribe(FOLLOW, json!({ "after": after, "severity": "ERROR" }))
                .await;
            let refused = socket.next(&id).await.unwrap();
            assert_eq!(refused["errors"][0]["extensions"]["code"], "BAD_INPUT");
        }
        while topics(app).await > 0 {}
    })
    .await;
}

#[tokio::test]
async fn sites_whose_ids_are_written_alike_are_told_apart() {
    on_each_database(async |app| {
        let site = |id: &str| json!({ "siteRegistration": { "siteId": id, "name": id } });
        let device = |id: &str, site: &str| {
            json!({ "deviceRegistration": {
            "deviceId": id, "siteId": site, "deviceType": "GATEWAY" } })
        };
        app.record(json!([
            site("a"),
            site("b"),
            site("a/b"),
            device("da", "a"),
            device("dab", "a/b")
        ]))
        .await;
        let head = app.head().await;
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let document = "subscription($after: String) { errorLogs(after: $after) { deviceId } }";
        let mut followers = Vec::new();
        for sites in [&["a/b"][..], &["a", "b"]] {
            let holder = key(app, grant(Role::Viewer, sites)).await;
            let mut socket = Socket::open_as(app.app().address, &holder).await;
            let id = socket.subscribe(document, json!({ "after": head })).await;
            followers.push((socket, id));
        }
        let of = |device: &str| {
            json!({ "errorLog": { "category": "DEVICE", "severity": "ERROR",
            "errorMessage": "e", "deviceId": device } })
        };
        super::access::recorded(app, &admin, json!([of("da"), of("dab")])).await;
        for ((socket, id), device) in followers.iter_mut().zip(["dab", "da"]) {
            assert_eq!(socket.data(id).await["errorLogs"]["deviceId"], device);
        }
    })
    .await;
}
