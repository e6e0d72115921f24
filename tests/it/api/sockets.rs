//! What may be asked over sockets, and how many there may be: what is refused leaves the rest alone.

use homepot_analytics::config::LimitArgs;
use homepot_analytics::identity::Role;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::access::{grant, key};
use super::app::{TestApp, on_each_database};
use super::inputs::error;
use super::socket::Socket;

const FOLLOW: &str = "subscription($after: String) { errorLogs(after: $after) { errorMessage } }";

/// The code with which an operation is refused; it must say whether a repeat may succeed.
async fn refused(socket: &mut Socket, id: &str) -> String {
    let failed = socket.next(id).await.expect("an error comes");
    let extensions = &failed["errors"][0]["extensions"];
    assert!(extensions["retryable"].is_boolean(), "{failed:#}");
    extensions["code"].as_str().unwrap().to_owned()
}

/// A subscription must still be served.
async fn is_served(app: &TestApp, socket: &mut Socket, id: &str) {
    app.record(json!([error("still here", "INFO")])).await;
    let data = socket.data(id).await;
    assert_eq!(data["errorLogs"]["errorMessage"], "still here");
}

/// Variables with so many values that no operation asks for.
fn many(after: &str, values: usize) -> Value {
    json!({ "after": after, "unused": vec![0; values] })
}

#[tokio::test]
async fn an_operation_on_a_socket_has_as_many_values_as_one_in_a_body() {
    on_each_database(async |app| {
        app.fleet().await;
        let after = app.head().await;
        let mut socket = app.socket().await;
        let good = socket.subscribe(FOLLOW, many(&after, 49_000)).await;
        let bad = socket.subscribe(FOLLOW, many(&after, 50_000)).await;
        assert_eq!(refused(&mut socket, &bad).await, "LIMIT_EXCEEDED");
        is_served(app, &mut socket, &good).await;
    })
    .await;
}

#[tokio::test]
async fn a_socket_has_a_hundred_operations_and_one_that_ends_makes_room() {
    on_each_database(async |app| {
        app.fleet().await;
        let variables = json!({ "after": app.head().await });
        let mut socket = app.socket().await;
        let mut ids = Vec::new();
        for _ in 0..100 {
            ids.push(socket.subscribe(FOLLOW, variables.clone()).await);
        }
        let beyond = socket.subscribe(FOLLOW, variables.clone()).await;
        assert_eq!(refused(&mut socket, &beyond).await, "LIMIT_EXCEEDED");
        socket.unsubscribe(&ids[7]).await;
        let id = socket.subscribe(FOLLOW, variables).await;
        is_served(app, &mut socket, &id).await;
    })
    .await;
}

#[tokio::test]
async fn what_lives_on_sockets_takes_room_and_gives_it_back() {
    on_each_database(async |app| {
        app.fleet().await;
        let after = app.head().await;
        let mut sockets = Vec::new();
        // each operation takes more than three MiB, as values and not as text: of 32 on a socket, and
        // of 128 on all
        for _ in 0..4 {
            let mut socket = app.socket().await;
            let mut ids = Vec::new();
            for _ in 0..11 {
                ids.push(socket.subscribe(FOLLOW, many(&after, 49_000)).await);
            }
            let last = ids.pop().unwrap();
            assert_eq!(refused(&mut socket, &last).await, "LIMIT_EXCEEDED");
            sockets.push((socket, ids));
        }
        let mut other = app.socket().await;
        let mut beyond = Vec::new();
        for _ in 0..9 {
            beyond.push(other.subscribe(FOLLOW, many(&after, 49_000)).await);
        }
        let last = beyond.pop().unwrap();
        assert_eq!(refused(&mut other, &last).await, "OVERLOADED");
        // what is posted has room of its own
        app.record(json!([error("still here", "INFO")])).await;
        let (mut socket, ids) = sockets.pop().unwrap();
        for id in &ids {
            socket.unsubscribe(id).await;
        }
        let id = socket.subscribe(FOLLOW, many(&after, 49_000)).await;
        is_served(app, &mut socket, &id).await;
    })
    .await;
}

#[tokio::test]
async fn one_socket_more_than_there_may_be_is_refused_until_another_closes() {
    on_each_database(async |app| {
        app.fleet().await;
        let limits = LimitArgs {
            sockets_max: 2,
            ..LimitArgs::default()
        };
        app.restart_with(limits).await;
        let address = app.app().address;
        let (first, mut second) = (app.socket().await, app.socket().await);
        let Err(refused) = Socket::try_open(address).await else {
            panic!("there is a third socket");
        };
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.headers()["retry-after"], "1");
        let extensions = &refused.body()["errors"][0]["extensions"];
        let expected = json!({ "code": "OVERLOADED", "retryable": true, "retryAfterMs": 1_000 });
        assert_eq!(*extensions, expected);
        let variables = json!({ "after": app.head().await });
        let id = second.subscribe(FOLLOW, variables).await;
        is_served(app, &mut second, &id).await;
        drop(first);
        // the server hears of it when it is told by the system
        while Socket::try_open(address).await.is_err() {}
    })
    .await;
}

/// A stream of somebody, or how it is refused.
async fn stream(app: &TestApp, key: &str, document: &str) -> Response {
    let post = app.client().post(app.address("/graphql"));
    let post = post.header("accept", "text/event-stream").bearer_auth(key);
    let request = post.json(&json!({ "query": document }));
    request.send().await.unwrap()
}

#[tokio::test]
async fn devices_leave_a_tenth_of_the_places_to_others() {
    on_each_database(async |app| {
        app.fleet().await;
        let limits = LimitArgs {
            sockets_max: 20,
            ..LimitArgs::default()
        };
        app.close_with(limits).await;
        let device = key(app, grant(Role::Device, &[])).await;
        let viewer = key(app, grant(Role::Viewer, &[])).await;
        let commands = "subscription { deviceCommands { cursor } }";
        let address = app.app().address;
        let socket = Socket::open_as(address, &device).await;
        let mut streams = Vec::new();
        for _ in 0..17 {
            let stream = stream(app, &device, commands).await;
            assert_eq!(stream.status(), 200);
            streams.push(stream);
        }
        let refused = stream(app, &device, commands).await;
        assert_eq!(refused.status(), 503);
        let told: Value = refused.json().await.unwrap();
        let extensions = &told["errors"][0]["extensions"];
        let expected = json!({ "code": "OVERLOADED", "retryable": true, "retryAfterMs": 1_000 });
        assert_eq!(*extensions, expected);
        // it says only when it greets that it is one
        let mut late = Socket::try_connect(address).await.unwrap();
        let greeting = json!({ "authorization": format!("Bearer {device}") });
        late.greet(greeting).await;
        assert_eq!(late.closed().await, 1013);
        let errors = stream(app, &viewer, FOLLOW).await;
        assert_eq!(errors.status(), 200);
        drop(socket);
        // the server hears of it when it is told by the system
        while stream(app, &device, commands).await.status() != 200 {}
    })
    .await;
}

#[tokio::test]
async fn a_message_has_a_hundred_and_twenty_eight_kibibytes() {
    on_each_database(async |app| {
        let text = |bytes: usize| json!({ "unused": "x".repeat(bytes) });
        let mut socket = app.socket().await;
        let id = socket.subscribe("{ __typename }", text(127 * 1024)).await;
        assert_eq!(socket.data(&id).await["__typename"], "Query");
        // a client hears why also of one that is not read to its end
        for bytes in [129 * 1024, 1024 * 1024] {
            let mut socket = app.socket().await;
            socket.subscribe("{ __typename }", text(bytes)).await;
            assert_eq!(socket.closed().await, 4400);
        }
    })
    .await;
}

#[tokio::test]
async fn a_socket_keeps_the_place_of_its_connection_until_it_closes() {
    on_each_database(async |app| {
        let limits = LimitArgs {
            connections_max: 2,
            ..LimitArgs::default()
        };
        app.restart_with(limits).await;
        let address = app.app().address;
        let (first, _second) = (app.socket().await, app.socket().await);
        let health = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let ask = async || {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut said = Vec::new();
            // it may be closed before anything is asked
            let _ = stream.write_all(health).await;
            let _ = stream.read_to_end(&mut said).await;
            said
        };
        assert_eq!(ask().await, b"");
        drop(first);
        // the server hears of it when it is told by the system
        while ask().await.is_empty() {}
    })
    .await;
}

#[tokio::test]
async fn a_socket_that_is_not_read_keeps_nobody_from_reading() {
    on_each_database(async |app| {
        app.fleet().await;
        let large = "x".repeat(60_000);
        let error = |n: usize| {
            json!({ "errorLog": { "category": "SYSTEM", "severity": "ERROR",
                "errorMessage": n.to_string(), "stackTrace": large } })
        };
        app.record((0..100).map(error).collect()).await;
        let mut unread = app.socket().await;
        for first in 30..90 {
            let document = format!("{{ errorLogs(first: {first}) {{ nodes {{ stackTrace }} }} }}");
            unread.subscribe(&document, json!({})).await;
        }
        for _ in 0..20 {
            app.data("{ sites { nodes { siteId } } errorLogs(first: 5) { nodes { severity } } }")
                .await;
        }
        drop(unread);
    })
    .await;
}

#[tokio::test]
async fn a_page_of_another_origin_opens_no_socket() {
    on_each_database(async |app| {
        let own = app.address("").trim_end_matches('/').to_owned();
        for (origin, status) in [
            (own.as_str(), 101),
            ("http://evil.example", 403),
            ("null", 403),
        ] {
            let opening = app
                .client()
                .get(app.address("/graphql"))
                .header("Connection", "Upgrade")
                .header("Upgrade", "websocket")
                .header("Sec-WebSocket-Version", "13")
                .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
                .header("Sec-WebSocket-Protocol", "graphql-transport-ws")
                .header("Origin", origin);
            assert_eq!(opening.send().await.unwrap().status(), status, "{origin}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_stops_tells_its_clients_to_come_back() {
    on_each_database(async |app| {
        app.fleet().await;
        let variables = json!({ "after": app.head().await });
        let (mut idle, mut follower) = (app.socket().await, app.socket().await);
        let id = follower.subscribe(FOLLOW, variables).await;
        is_served(app, &mut follower, &id).await;
        app.restart().await;
        assert_eq!(idle.closed().await, 1012);
        assert_eq!(follower.closed().await, 1012);
    })
    .await;
}
