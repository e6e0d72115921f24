//! Hears of commands as they are given: follows them as server-sent events.
//!
//! Only that there are some is heard: which they are is asked for. What is not heard of, since the server is
//! away or something between keeps the stream back, is found by whoever asks now and then.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde_json::json;
use tokio::time::timeout;

use super::answer::{CallError, Received};
use super::api::Client;

const FOLLOW: &str =
    "subscription Follow($device: ID) { deviceCommands(deviceId: $device) { cursor } }";

/// How long a stream is followed at most: then it is opened anew.
const FOLLOWED_FOR: Duration = Duration::from_mins(10);
/// After this time without anything nobody is there any more: the server sends something every 12 s.
const SILENT_FOR: Duration = Duration::from_secs(40);
/// Bytes at most of a line, which says where a command stands and nothing else.
const LINE_BYTES_MAX: usize = 16 << 10;

/// A stream by which commands are heard of.
#[derive(Debug)]
pub struct Heard {
    response: Response,
    /// What has come and is not read yet.
    text: Vec<u8>,
}

impl Client {
    /// Follows the commands to a device, or to all within reach.
    ///
    /// # Errors
    /// When no answer came, or one that is no stream.
    pub async fn hear_of_commands(&self, device: Option<&str>) -> Result<Heard, CallError> {
        let request = json!({ "query": FOLLOW, "variables": { "device": device } });
        let response = self.open(&request, FOLLOWED_FOR).await?;
        let ty = response.headers().get(CONTENT_TYPE);
        let is_stream = ty.is_some_and(|ty| ty.as_bytes().starts_with(b"text/event-stream"));
        if is_stream {
            let text = Vec::new();
            return Ok(Heard { response, text });
        }
        let status = response.status().as_u16();
        self.received(response).await?.data()?;
        let what = "it is no stream of events";
        Err(CallError::NotUnderstood { status, what })
    }
}

impl Heard {
    /// Waits until there is a command, also one that is heard of again or was taken back; false when the stream
    /// has ended.
    ///
    /// # Errors
    /// When the stream breaks off, or tells of an error.
    pub async fn next(&mut self) -> Result<bool, CallError> {
        loop {
            while let Some(line) = self.line()? {
                if let Some(data) = data_of(&line) {
                    return self.read(data);
                }
            }
            let Ok(chunk) = timeout(SILENT_FOR, self.response.chunk()).await else {
                return Ok(false);
            };
            match chunk.map_err(CallError::Unreachable)? {
                Some(chunk) => self.text.extend_from_slice(&chunk),
                None => return Ok(false),
            }
        }
    }

    /// The next line that is whole.
    fn line(&mut self) -> Result<Option<Vec<u8>>, CallError> {
        let Some(end) = self.text.iter().position(|byte| *byte == b'\n') else {
            if self.text.len() > LINE_BYTES_MAX {
                let what = "a line of it is too long";
                return Err(CallError::NotUnderstood { status: 200, what });
            }
            return Ok(None);
        };
        let rest = self.text.split_off(end + 1);
        Ok(Some(std::mem::replace(&mut self.text, rest)))
    }

    /// Whether the data of an event tells of a command; the last event has none.
    fn read(&self, data: &[u8]) -> Result<bool, CallError> {
        if data.is_empty() {
            return Ok(false);
        }
        let received = Received {
            status: self.response.status().as_u16(),
            retry_after: None,
            body: data.to_vec(),
        };
        received.data().map(|_| true)
    }
}

/// The data of a line, if it has some.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"data:").map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(stream: &'static str) -> Heard {
        let answer = axum::http::Response::new(stream);
        Heard {
            response: Response::from(answer),
            text: Vec::new(),
        }
    }

    #[tokio::test]
    async fn each_command_of_a_stream_is_heard_of_until_it_ends() {
        let mut heard = heard(
            ":\n\nevent: next\nid: A\ndata: {\"data\":{\"deviceCommands\":{\"cursor\":\"A\"}}}\n\n:\n\n\
             event: next\r\ndata:{\"data\":{}}\r\n\r\nevent: complete\ndata:\n\n",
        );
        for expected in [true, true, false, false] {
            assert_eq!(heard.next().await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn what_the_stream_refuses_has_its_code() {
        let mut heard = heard(
            "event: next\ndata: {\"errors\":[{\"message\":\"no\",\"extensions\":{\"code\":\"NOT_FOUND\"}}]}\n\n",
        );
        let refused = heard.next().await.unwrap_err();
        assert_eq!(refused.code(), Some("NOT_FOUND"));
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_not_kept() {
        let mut heard = heard(" ".repeat(LINE_BYTES_MAX + 1).leak());
        let refused = heard.next().await.unwrap_err();
        assert!(matches!(refused, CallError::NotUnderstood { .. }));
    }
}
