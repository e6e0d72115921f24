//! The yardstick: axum, and nothing behind it.

use std::io::Write;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{any, post};
use tokio::net::TcpListener;
use tokio::sync::broadcast;

/// Bytes at most of an answer.
const BYTES_MAX: usize = 256 * 1024;

/// Messages that are held for those who are a little slow.
const HELD_MAX: usize = 1_024;

/// Serves until it is killed, and prints where.
///
/// `POST /bytes/N` is answered with so many bytes, what is posted to `/say` goes to all sockets at `/follow`.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("Listening on http://{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let body = Bytes::from(vec![b'x'; BYTES_MAX]);
    let bytes = move |Path(count): Path<usize>| {
        let body = body.slice(..count.min(BYTES_MAX));
        async move { body }
    };
    let router = Router::new()
        .route("/bytes/{count}", post(bytes))
        .route("/say", post(say))
        .route("/follow", any(follow))
        .with_state(broadcast::Sender::<Utf8Bytes>::new(HELD_MAX));
    Ok(axum::serve(listener, router).await?)
}

async fn say(State(said): State<broadcast::Sender<Utf8Bytes>>, text: String) {
    // nobody may listen
    let _ = said.send(text.into());
}

async fn follow(
    State(said): State<broadcast::Sender<Utf8Bytes>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(move |socket| tell(socket, said.subscribe()))
}

async fn tell(mut socket: WebSocket, mut said: broadcast::Receiver<Utf8Bytes>) {
    while let Ok(text) = said.recv().await {
        if socket.send(Message::Text(text)).await.is_err() {
            return;
        }
    }
}
