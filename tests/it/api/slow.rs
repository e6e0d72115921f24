//! Clients that send slowly keep nobody waiting, and are let go.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::app::{TestApp, on_each_database};

/// How long a client that sends slowly may hold a connection.
const LET_GO_WITHIN: Duration = Duration::from_secs(30);

/// A client that begins a request and never ends it.
async fn begun(app: &TestApp, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(app.app().address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// What the server says until it closes the connection.
async fn closed(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    // a connection that is broken off is closed as well
    let _ = stream.read_to_end(&mut said).await;
    String::from_utf8(said).unwrap()
}

#[tokio::test]
async fn slow_heads_and_slow_bodies_keep_nobody_waiting_and_are_let_go() {
    on_each_database(async |app| {
        let began = Instant::now();
        let head =
            "POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
        let with_body = format!("{head}Content-Length: 100\r\n\r\n{{");
        let (mut heads, mut bodies) = (Vec::new(), Vec::new());
        for _ in 0..100 {
            heads.push(begun(app, head).await);
            bodies.push(begun(app, &with_body).await);
        }
        let silent = begun(app, "").await;
        for _ in 0..100 {
            app.data("{ __typename }").await;
        }
        let answered = began.elapsed();
        for stream in bodies {
            assert!(closed(stream).await.starts_with("HTTP/1.1 408 "));
        }
        for stream in heads {
            let said = closed(stream).await;
            assert!(
                said.is_empty() || said.starts_with("HTTP/1.1 408 "),
                "{said}"
            );
        }
        assert_eq!(closed(silent).await, "");
        let took = began.elapsed();
        assert!(
            took < LET_GO_WITHIN,
            "{took:?}, of which {answered:?} for the others"
        );
    })
    .await;
}

#[tokio::test]
async fn a_connection_is_used_again_and_a_head_that_is_too_large_is_refused() {
    on_each_database(async |app| {
        let get = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n";
        let mut stream = begun(app, &format!("{get}\r\n")).await;
        let mut said = [0; 12];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"HTTP/1.1 200");
        let last = format!("{get}Connection: close\r\n\r\n");
        stream.write_all(last.as_bytes()).await.unwrap();
        assert!(closed(stream).await.contains("HTTP/1.1 200"));
        let many = "X-Many: 1\r\n".repeat(200);
        let large = format!("X-Large: {}\r\n", "x".repeat(100_000));
        for headers in [many, large] {
            let said = closed(begun(app, &format!("{get}{headers}\r\n")).await).await;
            assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
        }
    })
    .await;
}

/// A client that has the answer sends its next request on the same connection, unless it is told not to.
#[tokio::test]
async fn a_body_that_is_refused_unread_ends_no_connection_in_silence() {
    on_each_database(async |app| {
        let refused = "POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n";
        let last = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        // more than lies in the buffers on the way: the server has not got it when it refuses it
        let body = "x".repeat(8 << 20);
        let head = format!("{refused}Content-Length: {}\r\n\r\n", body.len());
        let mut stream = begun(app, &head).await;
        stream.write_all(body.as_bytes()).await.unwrap();
        stream.write_all(last.as_bytes()).await.unwrap();
        let said = closed(stream).await;
        assert!(said.starts_with("HTTP/1.1 415 "), "{said}");
        assert!(said.contains("HTTP/1.1 200 "), "{said}");
        // of one that is not to be sent before it is wanted, and of one that does not come, it is told
        let held_back = format!("{refused}Content-Length: 9\r\nExpect: 100-continue\r\n\r\n");
        let missing = format!("{refused}Content-Length: 9\r\n\r\n12345678");
        for text in [held_back, missing] {
            let said = closed(begun(app, &text).await).await;
            assert!(said.starts_with("HTTP/1.1 415 "), "{said}");
            assert!(said.contains("\r\nconnection: close\r\n"), "{said}");
        }
    })
    .await;
}
