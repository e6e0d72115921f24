//! A client over HTTP that costs little, so that on one machine the server is measured and not the client:
//! one connection, kept alive, one request at a time.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Door {
    stream: TcpStream,
    /// What stands before each body, but for its length.
    pub(crate) head: String,
    buffer: Vec<u8>,
}

/// What a server has answered.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Answer<'_> {
    /// Whether nothing in it has failed.
    pub(crate) fn is_good(&self) -> bool {
        self.status == 200 && !self.body.windows(9).any(|nine| nine == b"\"errors\":")
    }

    /// Its body for people.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.body)
            .chars()
            .take(300)
            .collect()
    }
}

impl Door {
    /// Connects, to post to a path with a key.
    pub(crate) async fn connect(
        address: SocketAddr,
        path: &str,
        key: Option<&str>,
    ) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let key = key.map(|key| format!("authorization: Bearer {key}\r\n"));
        let key = key.unwrap_or_default();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             accept: application/graphql-response+json\r\n{key}content-length: "
        );
        Ok(Self {
            stream,
            head,
            buffer: Vec::new(),
        })
    }

    /// Posts a body.
    pub(crate) async fn post(&mut self, body: &[u8]) -> anyhow::Result<Answer<'_>> {
        self.buffer.clear();
        self.buffer.extend_from_slice(self.head.as_bytes());
        let length = format!("{}\r\n\r\n", body.len());
        self.buffer.extend_from_slice(length.as_bytes());
        self.buffer.extend_from_slice(body);
        // whoever refuses a body may close before it is read to its end, and answers even so
        let written = self.stream.write_all(&self.buffer).await;
        self.answer()
            .await
            .or_else(|error| written.map_err(Into::into).and(Err(error)))
    }

    /// Posts a body; gives that of the answer, of which nothing has failed.
    pub(crate) async fn good(&mut self, body: &[u8]) -> anyhow::Result<&[u8]> {
        let answer = self.post(body).await?;
        anyhow::ensure!(answer.is_good(), "{}", answer.text());
        Ok(answer.body)
    }

    async fn answer(&mut self) -> anyhow::Result<Answer<'_>> {
        self.buffer.clear();
        let begin = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await?;
        };
        let head = self.buffer.get(..begin).unwrap_or_default();
        let head = std::str::from_utf8(head)?.to_ascii_lowercase();
        let status = head.split(' ').nth(1).context("the answer has no status")?;
        let status = status.parse()?;
        if head.contains("transfer-encoding: chunked") {
            while !self.buffer.ends_with(b"\r\n0\r\n\r\n") {
                self.more().await?;
            }
            let body = self.buffer.get(begin..).unwrap_or_default();
            return Ok(Answer { status, body });
        }
        let length = head.split("content-length:").nth(1);
        let length = length.and_then(|rest| rest.lines().next()).map(str::trim);
        let length: usize = length.context("the answer has no length")?.parse()?;
        while self.buffer.len() < begin + length {
            self.more().await?;
        }
        let body = self.buffer.get(begin..).unwrap_or_default();
        Ok(Answer { status, body })
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        let read = self.stream.read_buf(&mut self.buffer).await?;
        anyhow::ensure!(read > 0, "the server has closed the connection");
        Ok(())
    }
}
