//! A client over a socket that costs little: it reads frames as they lie in its buffer, and answers pings.

use std::net::SocketAddr;
use std::ops::Range;

use anyhow::{Context, bail};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::server::Server;

/// Bytes of the buffer of a socket, at the beginning.
const BUFFER_BYTES: usize = 2 * 1024;
/// Bytes that the system holds for a client that never reads.
const UNREAD_BYTES: u32 = 4 * 1024;

/// Opcodes of frames (RFC 6455, 5.2).
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// An open socket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Up to where it is read.
    read: usize,
}

impl Socket {
    /// Follows the yardstick.
    pub(crate) async fn bare(server: &Server) -> anyhow::Result<Self> {
        Self::open(server.address, "/follow", false).await
    }

    /// Begins a subscription.
    pub(crate) async fn follow(
        server: &Server,
        (document, variables): (&str, serde_json::Value),
    ) -> anyhow::Result<Self> {
        Self::begin(server, (document, variables), false).await
    }

    /// Begins a subscription whose items will lie where they are.
    pub(crate) async fn neglect(
        server: &Server,
        (document, variables): (&str, serde_json::Value),
    ) -> anyhow::Result<Self> {
        Self::begin(server, (document, variables), true).await
    }

    async fn begin(
        server: &Server,
        (document, variables): (&str, serde_json::Value),
        is_neglected: bool,
    ) -> anyhow::Result<Self> {
        let mut socket = Self::open(server.address, "/graphql", is_neglected).await?;
        let bearer = server.key.as_ref().map(|key| format!("Bearer {key}"));
        let greeting = json!({ "type": "connection_init", "payload": { "authorization": bearer } });
        socket.send(TEXT, greeting.to_string().as_bytes()).await?;
        let acknowledged = socket.text().await?;
        anyhow::ensure!(acknowledged.contains("connection_ack"), "{acknowledged}");
        let payload = json!({ "query": document, "variables": variables });
        let subscribe = json!({ "type": "subscribe", "id": "1", "payload": payload });
        socket.send(TEXT, subscribe.to_string().as_bytes()).await?;
        Ok(socket)
    }

    async fn open(address: SocketAddr, path: &str, is_neglected: bool) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if is_neglected {
            socket.set_recv_buffer_size(UNREAD_BYTES)?;
        }
        let mut stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: graphql-transport-ws\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let mut socket = Self {
            stream,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            read: 0,
        };
        let end = loop {
            socket.more().await?;
            let four = socket
                .buffer
                .windows(4)
                .position(|four| four == b"\r\n\r\n");
            if let Some(end) = four {
                break end + 4;
            }
        };
        let switched = socket.buffer.starts_with(b"HTTP/1.1 101");
        anyhow::ensure!(switched, "{}", String::from_utf8_lossy(&socket.buffer));
        socket.read = end;
        Ok(socket)
    }

    /// The next message.
    pub(crate) async fn text(&mut self) -> anyhow::Result<&str> {
        let range = loop {
            let Some((opcode, range)) = self.frame() else {
                self.more().await?;
                continue;
            };
            let payload = self.buffer.get(range.clone()).unwrap_or_default();
            match opcode {
                TEXT => break range,
                PING => {
                    let payload = payload.to_vec();
                    self.send(PONG, &payload).await?;
                }
                CLOSE => bail!("closed: {}", String::from_utf8_lossy(payload)),
                _ => {}
            }
        };
        Ok(std::str::from_utf8(
            self.buffer.get(range).unwrap_or_default(),
        )?)
    }

    /// Asks for something beside what is followed.
    pub(crate) async fn ask(
        &mut self,
        id: &str,
        (document, variables): (&str, serde_json::Value),
    ) -> anyhow::Result<()> {
        let payload = json!({ "query": document, "variables": variables });
        let message = json!({ "type": "subscribe", "id": id, "payload": payload });
        self.send(TEXT, message.to_string().as_bytes()).await
    }

    /// Says that it lives, and reads nothing.
    pub(crate) async fn pong(&mut self) -> anyhow::Result<()> {
        self.send(PONG, b"").await
    }

    /// The next frame of the buffer, if it is whole. Those of a server are not masked.
    fn frame(&mut self) -> Option<(u8, Range<usize>)> {
        let unread = self.buffer.get(self.read..)?;
        let (opcode, short) = (unread.first()? & 0x0f, unread.get(1)? & 0x7f);
        let (head, length) = match short {
            126 => (
                4,
                u64::from(u16::from_be_bytes(unread.get(2..4)?.try_into().ok()?)),
            ),
            127 => (10, u64::from_be_bytes(unread.get(2..10)?.try_into().ok()?)),
            length => (2, u64::from(length)),
        };
        let length = usize::try_from(length).ok()?;
        unread.get(head..head + length)?;
        let begin = self.read + head;
        self.read = begin + length;
        Some((opcode, begin..self.read))
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        self.buffer.drain(..self.read);
        self.read = 0;
        let read = self.stream.read_buf(&mut self.buffer).await?;
        anyhow::ensure!(read > 0, "the server has closed the socket");
        Ok(())
    }

    /// Sends a frame, masked with zeros.
    async fn send(&mut self, opcode: u8, payload: &[u8]) -> anyhow::Result<()> {
        let mut frame = vec![0x80 | opcode];
        match u8::try_from(payload.len()) {
            Ok(length) if length < 126 => frame.push(0x80 | length),
            _ => {
                frame.push(0xfe);
                let length = u16::try_from(payload.len()).context("a long message")?;
                frame.extend_from_slice(&length.to_be_bytes());
            }
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        Ok(self.stream.write_all(&frame).await?)
    }
}
