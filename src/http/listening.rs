//! Connections as they are accepted: one whose client takes nothing for a while is closed.
//!
//! What waits to be sent holds memory, and room among all answers. TCP itself would wait for ever.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;

use crate::ingest::Peer;

/// How long a client may take nothing of what is there for it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// A listener whose connections end when a client does not read.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    write_timeout: Duration,
}

impl Listening {
    /// Accepts what a listener accepts.
    #[must_use]
    pub const fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            write_timeout: WRITE_TIMEOUT,
        }
    }
}

impl Listener for Listening {
    type Io = Pin<Box<TimeoutStream<TcpStream>>>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // items of streams are small, and each is to go at once
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection holds back small messages");
        }
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.write_timeout));
        (Box::pin(stream), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Listening>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Listening>) -> Self {
        Self(*stream.remote_addr())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_client_that_does_not_read_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut listening = Listening {
            listener,
            write_timeout: Duration::from_millis(50),
        };
        let address = listening.local_addr().unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut served, _) = listening.accept().await;
        let piece = vec![0; 1 << 20];
        let failed = loop {
            if let Err(failed) = served.write_all(&piece).await {
                break failed;
            }
        };
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        // what went before it is still there for it
        let mut taken = [0; 64];
        client.read_exact(&mut taken).await.unwrap();
    }
}
