//! A client of the API that costs little, so that on one machine the server is measured and not
//! the client: one connection, kept alive, one request at a time.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    address: SocketAddr,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            address,
            buffer: Vec::new(),
        })
    }

    /// Posts a body to `/graphql`; gives the body of the answer.
    pub(crate) async fn post(&mut self, body: &str) -> anyhow::Result<&[u8]> {
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.buffer.clear();
        self.buffer.extend_from_slice(head.as_bytes());
        self.buffer.extend_from_slice(body.as_bytes());
        self.stream.write_all(&self.buffer).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> anyhow::Result<&[u8]> {
        self.buffer.clear();
        let begin = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await?;
        };
        let head = self.buffer.get(..begin).unwrap_or_default();
        let head = std::str::from_utf8(head)?.to_ascii_lowercase();
        anyhow::ensure!(head.starts_with("http/1.1 200"), "the server said {head}");
        let length = head.split("content-length:").nth(1);
        let length = length.and_then(|rest| rest.lines().next()).map(str::trim);
        let length: usize = length.context("the answer has no length")?.parse()?;
        while self.buffer.len() < begin + length {
            self.more().await?;
        }
        let answer = self.buffer.get(begin..).unwrap_or_default();
        let refused = answer.windows(9).any(|nine| nine == b"\"errors\":");
        anyhow::ensure!(!refused, "{}", String::from_utf8_lossy(answer));
        Ok(answer)
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        let read = self.stream.read_buf(&mut self.buffer).await?;
        anyhow::ensure!(read > 0, "the server has closed the connection");
        Ok(())
    }
}
