//! A server that is killed while it takes lines: what it has answered is there, and what is sent again is
//! stored once.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::database::Database;

/// Events that are sent.
const EVENTS: u128 = 20_000;
/// Answers after which the server is killed.
const ANSWERS: usize = 5_000;

fn event(number: u128) -> String {
    let id = Uuid::from_u128(number + 1);
    let body = json!({ "eventId": id, "occurredAt": "2026-01-01T00:00:00Z", "category": "SYSTEM",
        "severity": "INFO", "errorMessage": number.to_string() });
    format!("{}\n", json!({ "errorLog": body }))
}

/// Begins a request, and sends the events as fast as they are taken. A client that closes its side would be
/// taken for one that has gone.
async fn send(address: &str) -> (OwnedReadHalf, JoinHandle<std::io::Result<OwnedWriteHalf>>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (answers, mut body) = stream.into_split();
    let head = "POST /v1/ingest HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n\
                Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let sent = tokio::spawn(async move {
        body.write_all(head.as_bytes()).await?;
        for number in 0..EVENTS {
            let line = event(number);
            let chunk = format!("{:x}\r\n{line}\r\n", line.len());
            body.write_all(chunk.as_bytes()).await?;
        }
        body.write_all(b"0\r\n\r\n").await?;
        Ok(body)
    });
    (answers, sent)
}

/// The answers that come, until there are so many or no more come.
async fn answers(from: OwnedReadHalf, count: usize) -> Vec<Value> {
    let (mut from, mut found) = (BufReader::new(from), Vec::new());
    while found.len() < count {
        let mut line = String::new();
        if from.read_line(&mut line).await.unwrap() == 0 {
            break;
        }
        if line.starts_with('{') {
            found.push(serde_json::from_str(&line).unwrap());
        }
    }
    found
}

async fn killed(database: Database) {
    let (mut server, address) = database.serve();
    let address = address.trim_start_matches("http://").to_owned();
    let (from, _sent) = send(&address).await;
    let acknowledged = answers(from, ANSWERS).await;
    server.kill();
    assert_eq!(acknowledged.len(), ANSWERS);
    let (server, address) = database.serve();
    let address = address.trim_start_matches("http://").to_owned();
    let (from, _sent) = send(&address).await;
    let again = answers(from, usize::MAX).await;
    assert_eq!(u128::try_from(again.len()).unwrap(), EVENTS);
    for (first, second) in acknowledged.iter().zip(&again) {
        assert_eq!(first["status"], "RECORDED");
        assert_eq!(second["status"], "DUPLICATE");
        assert_eq!(first["position"], second["position"]);
    }
    let mut statuses = again
        .iter()
        .map(|answer| answer["status"].as_str().unwrap());
    assert!(
        statuses
            .clone()
            .all(|of| ["DUPLICATE", "RECORDED"].contains(&of))
    );
    assert_eq!(statuses.next_back(), Some("RECORDED"));
    drop(server);
    database.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_while_it_takes_lines_has_what_it_answered_on_sqlite() {
    killed(Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_while_it_takes_lines_has_what_it_answered_on_postgresql() {
    if let Some(database) = Database::postgres() {
        killed(database).await;
    }
}
