//! A server that is told to stop does so, whatever its database does.

use std::time::Duration;

use homepot_analytics::config::LimitArgs;
use homepot_analytics::event::Provenance;
use homepot_analytics::ingest::Patience;
use homepot_analytics::kinds::{Draft, Kind};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::app::{on_each_database, start, start_with};

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

#[tokio::test]
async fn a_head_that_does_not_come_does_not_hold_up_the_stop() {
    on_each_database(async |app| {
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
