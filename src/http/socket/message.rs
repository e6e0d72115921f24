//! The messages of `graphql-transport-ws`, as they are read and written, and the codes with which a
//! socket is closed (github.com/enisdenjo/graphql-ws, PROTOCOL.md).

use std::borrow::Cow;

use async_graphql::ServerError;
use axum::extract::ws::{CloseFrame, Message};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::operation::Output;
use crate::graphql;

/// Name of the protocol.
pub(super) const PROTOCOL: &str = "graphql-transport-ws";

/// Bytes at most of the reason in a closing frame (RFC 6455, 5.5: 125 with the code).
const REASON_BYTES_MAX: usize = 123;

/// What a client says.
#[derive(Debug)]
pub(super) enum Said<'a> {
    /// It greets, and may say who it is.
    Init {
        /// Its credential.
        authorization: Option<String>,
    },
    /// It asks whether we live; the answer has the same payload.
    Ping(Option<&'a RawValue>),
    /// It lives.
    Pong,
    /// It begins an operation.
    Subscribe {
        /// The name that it gives it.
        id: Cow<'a, str>,
        /// The request.
        payload: &'a RawValue,
    },
    /// It ends an operation.
    Complete {
        /// The name of the operation.
        id: Cow<'a, str>,
    },
}

#[derive(Deserialize)]
struct Form<'a> {
    #[serde(borrow, rename = "type")]
    ty: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

impl<'a> Said<'a> {
    /// Reads a message.
    pub(super) fn read(text: &'a str) -> Result<Self, Closing> {
        let form: Form<'a> = serde_json::from_str(text)
            .map_err(|error| Closing::BadMessage(format!("no message of {PROTOCOL}: {error}")))?;
        let lacks = |what: &str| Closing::BadMessage(format!("the message has no {what}"));
        let id =
            |id: Option<Cow<'a, str>>| id.filter(|id| !id.is_empty()).ok_or_else(|| lacks("id"));
        match form.ty.as_ref() {
            "connection_init" => Ok(Self::Init {
                authorization: authorization(form.payload)?,
            }),
            "ping" => Ok(Self::Ping(form.payload)),
            "pong" => Ok(Self::Pong),
            "subscribe" => Ok(Self::Subscribe {
                id: id(form.id)?,
                payload: form.payload.ok_or_else(|| lacks("payload"))?,
            }),
            "complete" => Ok(Self::Complete { id: id(form.id)? }),
            ty => Err(Closing::BadMessage(format!(
                "there is no message of type {ty}"
            ))),
        }
    }
}

/// The credential in the payload of a greeting, under the name of the header in letters of either case.
fn authorization(payload: Option<&RawValue>) -> Result<Option<String>, Closing> {
    let Some(payload) = payload else {
        return Ok(None);
    };
    let payload: Option<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(payload.get())
            .map_err(|_| Closing::BadMessage("the payload is no object".to_owned()))?;
    let mut entries = payload.unwrap_or_default().into_iter();
    let found = entries.find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    match found {
        None | Some((_, serde_json::Value::Null)) => Ok(None),
        Some((_, serde_json::Value::String(text))) => Ok(Some(text)),
        Some(_) => Err(Closing::BadMessage("authorization is no text".to_owned())),
    }
}

/// What the server says.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Saying<'a> {
    /// The greeting is answered.
    ConnectionAck,
    /// The client was heard.
    Pong {
        /// What it gave with its ping.
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<&'a RawValue>,
    },
    /// An operation cannot be executed, and has ended.
    Error {
        /// Its name.
        id: &'a str,
        /// Why.
        payload: &'a [ServerError],
    },
    /// An operation is not begun.
    #[serde(rename = "error")]
    Refused {
        /// Its name.
        id: &'a str,
        /// Why.
        payload: [serde_json::Value; 1],
    },
    /// An operation has ended.
    Complete {
        /// Its name.
        id: &'a str,
    },
}

/// How the output of an operation is said.
pub(super) fn write(id: &str, output: &Output<'_>) -> String {
    let next = |json: &str| {
        let id = serde_json::Value::from(id);
        format!(r#"{{"type":"next","id":{id},"payload":{json}}}"#)
    };
    let saying = match output {
        Output::Written(item) => return next(&item.json),
        Output::Next(answer, _) => return next(&graphql::json(answer)),
        Output::Refused(refused) => Saying::Error {
            id,
            payload: &refused.errors,
        },
        Output::Complete => Saying::Complete { id },
    };
    saying.text().unwrap_or_default()
}

impl Saying<'_> {
    fn text(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    /// The message; `None` if it cannot be written.
    pub(super) fn message(&self) -> Option<Message> {
        self.text().map(Message::text)
    }
}

/// Why the server closes a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// A message is none of the protocol.
    BadMessage(String),
    /// What comes is no message, or one that is too large; the rest of it is not read.
    Unreadable(String),
    /// An operation before the greeting.
    Unauthorized,
    /// Nobody is proved by what was given, or no more.
    Forbidden(String),
    /// No protocol that is spoken here.
    UnknownProtocol,
    /// The client did not greet in time.
    InitTimeout,
    /// An operation with the name of one that lives.
    Exists(String),
    /// A second greeting.
    TooManyInits,
    /// The client is not heard of.
    Silent,
    /// There are too many sockets and streams of devices.
    Overloaded,
    /// The server stops; another may be there soon.
    Restart,
}

impl Closing {
    /// The code, and what is said with it.
    fn told(&self) -> (u16, Cow<'_, str>) {
        match self {
            Self::BadMessage(reason) | Self::Unreadable(reason) => (4400, reason.into()),
            Self::Unauthorized => (4401, "Unauthorized".into()),
            Self::Forbidden(why) => (4403, format!("Forbidden: {why}").into()),
            Self::UnknownProtocol => (4406, "Subprotocol not acceptable".into()),
            Self::InitTimeout => (4408, "Connection initialisation timeout".into()),
            Self::Exists(id) => (4409, format!("Subscriber for {id} already exists").into()),
            Self::TooManyInits => (4429, "Too many initialisation requests".into()),
            Self::Silent => (4499, "Not heard of".into()),
            Self::Overloaded => (1013, "Too many are open; try again".into()),
            Self::Restart => (1012, "Service restart".into()),
        }
    }

    /// The frame that says it.
    pub(super) fn frame(&self) -> Message {
        let (code, reason) = self.told();
        let cut = reason.floor_char_boundary(REASON_BYTES_MAX);
        Message::Close(Some(CloseFrame {
            code,
            reason: reason.get(..cut).unwrap_or_default().into(),
        }))
    }
}
