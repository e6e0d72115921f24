//! A server that is told to stop does so, whatever its database does.

use std::time::Duration;

use homepot_analytics::config::LimitArgs;
use homepot_analytics::event::Provenance;
use homepot_analytics::ingest::Patience;
use homepot_analytics::kinds::{Draft, Kind};
use sea_orm::{ConnectionTrait, DatabaseTransaction, TransactionTrait};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::app::{RECORD, TestApp, on_each_database, start, start_with};
use super::inputs::error;
use super::socket::Socket;

/// How long the stop may take on a busy machine; unbounded it would take for ever.
const PATIENCE: Duration = Duration::from_mins(2);

/// Stands before a PostgreSQL server and passes everything on until it is frozen. Then it keeps the
/// connections open and is silent, as a server is that was stopped or lost its network.
struct Proxy {
    url: String,
    freeze: CancellationToken,
}

impl Proxy {
    async fn before(url: &str) -> Option<Self> {
        let (user, rest) = url.strip_prefix("postgres://")?.split_once('@')?;
        let (server, database) = rest.split_once('/')?;
        let server = server.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let freeze = CancellationToken::new();
        let frozen = freeze.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server.clone(), frozen.clone()));
            }
        });
        let url = format!("postgres://{user}@{address}/{database}");
        Some(Self { url, freeze })
    }
}

async fn pass(mut client: TcpStream, server: String, frozen: CancellationToken) {
    let mut server = TcpStream::connect(server).await.unwrap();
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        () = frozen.cancelled() => std::future::pending().await,
    }
}

#[tokio::test]
async fn a_database_that_does_not_answer_does_not_hold_up_the_stop() {
    on_each_database(async |app| {
        // SQLite is in this process and always answers
        let Some(proxy) = Proxy::before(app.url()).await else {
            return;
        };
        let server = start(&proxy.url, app.clock.clone()).await;
        proxy.freeze.cancel();
        let ingest = server.ingest.clone();
        let event = Draft::new(Kind::UserActivity, app.clock.now(), Provenance::Real)
            .set(entity::user_activity::Column::ActivityType, "PAGE_VIEW")
            .finish();
        let given = vec![(Some(Kind::UserActivity), event)];
        let append =
            tokio::spawn(async move { ingest.record(given, None, Patience::Unlimited).await });
        let stopped = tokio::time::timeout(PATIENCE, server.stop()).await;
        stopped.expect("it stops");
        append.abort();
    })
    .await;
}

/// Keeps everybody from appending until it ends.
async fn lock(app: &TestApp) -> DatabaseTransaction {
    let locked = app.database().await.begin().await.unwrap();
    let sql = "UPDATE log_head SET position = position";
    locked.execute_unprepared(sql).await.unwrap();
    locked
}

#[tokio::test]
async fn what_is_executed_on_a_socket_ends_before_the_socket_does() {
    on_each_database(async |app| {
        app.fleet().await;
        app.stop().await;
        let server = start_with(app.url(), app.clock.clone(), LimitArgs::default()).await;
        let address = server.address;
        let mut socket = Socket::open(address).await;
        let locked = lock(app).await;
        let follow = "subscription { errorLogs { cursor } }";
        socket.subscribe(follow, json!({})).await;
        let events = json!({ "input": { "events": [error("last", "INFO")] } });
        let id = socket.subscribe(RECORD, events).await;
        // it is begun when what is asked after it is answered
        let asked = socket.subscribe("{ __typename }", json!({})).await;
        socket.data(&asked).await;
        let stopping = async {
            let began = std::time::Instant::now();
            server.stop().await;
            began.elapsed()
        };
        let (took, ()) = tokio::join!(stopping, async {
            // it stops when it takes no connections any more
            while TcpStream::connect(address).await.is_ok() {}
            locked.rollback().await.unwrap();
            let data = socket.data(&id).await;
            let outcome = &data["recordEvents"]["outcomes"][0];
            assert_eq!(outcome["status"], "RECORDED");
            assert_eq!(socket.next(&id).await, None);
            assert_eq!(socket.closed().await, 1012);
        });
        let drain = u64::from(LimitArgs::default().drain_seconds);
        assert!(took < Duration::from_secs(drain), "{took:?}");
    })
    .await;
}

#[tokio::test]
async fn what_does_not_end_in_its_time_is_cut_and_told_to_come_back() {
    on_each_database(async |app| {
        app.fleet().await;
        app.stop().await;
        let server = start(app.url(), app.clock.clone()).await;
        let mut socket = Socket::open(server.address).await;
        let locked = lock(app).await;
        let events = json!({ "input": { "events": [error("last", "INFO")] } });
        socket.subscribe(RECORD, events).await;
        let asked = socket.subscribe("{ __typename }", json!({})).await;
        socket.data(&asked).await;
        let ((), ()) = tokio::join!(server.stop(), async {
            assert_eq!(socket.closed().await, 1012);
            locked.rollback().await.unwrap();
        });
    })
    .await;
}

#[tokio::test]
async fn a_head_that_does_not_come_does_not_hold_up_the_stop() {
    on_each_database(async |app| {
        app.stop().await;
        let server = start_with(app.url(), app.clock.clone(), LimitArgs::default()).await;
        let mut begun = TcpStream::connect(server.address).await.unwrap();
        begun
            .write_all(b"GET /healthz HTTP/1.1\r\nHo")
            .await
            .unwrap();
        let began = std::time::Instant::now();
        server.stop().await;
        let drain = u64::from(LimitArgs::default().drain_seconds);
        assert!(began.elapsed() < Duration::from_secs(drain));
        drop(begun);
    })
    .await;
}
