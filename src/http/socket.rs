//! GraphQL over a socket: how many there may be, and what may be asked on each.
//!
//! A message is looked at before the library reads it. What holds for a body holds for it: it has at
//! most so many bytes and values, and what it takes is counted as long as its operation lives. Room for
//! that is apart from the room for bodies, since a subscription may live for days. An operation that is
//! refused is answered with an error of its own; the socket and its other operations go on.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::futures_util::stream::BoxStream;
use async_graphql::{Data, Executor, Request, Response as Answer};
use async_graphql_axum::{GraphQLProtocol, GraphQLWebSocket};
use axum::extract::WebSocketUpgrade;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::{SinkExt, Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::PollSender;

use super::Web;
use super::bodies::Bodies;
use super::graphql::{coded, error, failed, refused, too_deep};
use crate::graphql::bulk::VALUES_MAX;
use crate::graphql::{self, ErrorCode, guard};
use crate::store::Allowance;

/// Bytes at most of a message on a socket.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of the buffers of a socket, which it has also while nothing comes: those of the library are
/// 128 KiB, more than a gigabyte for as many sockets as there may be.
const BUFFER_BYTES: usize = 4 * 1024;
/// Operations at most that live on a socket.
const OPERATIONS_MAX: usize = 100;
/// Bytes that a value takes at least once the library has read it.
const VALUE_BYTES: usize = size_of::<async_graphql::Value>();

/// Places for sockets, and room for the operations on all of them.
#[derive(Clone, Debug)]
pub struct Places {
    sockets: Arc<Semaphore>,
    room: Bodies,
}

impl Places {
    /// Places for so many sockets.
    #[must_use]
    pub fn new(sockets_max: usize) -> Self {
        Self {
            sockets: Arc::new(Semaphore::new(sockets_max)),
            room: Bodies::default(),
        }
    }
}

/// Opens a socket, if there is a place for it.
pub(super) fn open(web: Web, upgrade: WebSocketUpgrade, protocol: GraphQLProtocol) -> Response {
    let Ok(place) = Arc::clone(&web.places.sockets).try_acquire_owned() else {
        let message = "too many sockets are open; try again";
        return refused(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Overloaded,
            message,
        );
    };
    upgrade
        .protocols(["graphql-transport-ws"])
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .on_upgrade(move |socket| {
            web.sockets.clone().track_future(async move {
                web.monitor.sockets.inc();
                let monitor = Arc::clone(&web.monitor);
                serve(web, socket, protocol).await;
                monitor.sockets.dec();
                drop(place);
            })
        })
}

/// Serves a socket until its client or the server ends it.
async fn serve(web: Web, socket: WebSocket, protocol: GraphQLProtocol) {
    let (mut sink, stream) = socket.split();
    // of the library and of the gate; neither goes on before the client has taken what came before
    let (answers, mut answered) = mpsc::channel(1);
    let gate = Arc::new(Gate::new(web.places.room.clone()));
    let draining = web.drain.clone();
    let drained = web.drain.clone().cancelled_owned();
    // when the server drains, the stream ends and with it the socket
    let stream = admitted(Arc::clone(&gate), stream, answers.clone()).take_until(drained);
    let answers = PollSender::new(answers);
    let unsent = Arc::default();
    let executor = Prepared {
        web,
        gate,
        unsent: Arc::clone(&unsent),
    };
    let serving = GraphQLWebSocket::new_with_pair(answers, stream, executor, protocol).serve();
    let mut sending = pin!(async move {
        while let Some(message) = answered.recv().await {
            let is_item = is_item(&message);
            if sink.send(message).await.is_err() {
                return None;
            }
            if is_item {
                unsent.sent();
            }
        }
        Some(sink)
    });
    tokio::select! {
        _ = &mut sending => return,
        () = serving => {}
    }
    let sink = sending.await.filter(|_| draining.is_cancelled());
    if let Some(mut sink) = sink {
        let reason = "the server stops; go on with the last cursor when it is back".into();
        let frame = CloseFrame {
            code: close_code::RESTART,
            reason,
        };
        // the client may have gone already
        let _ = sink.send(Message::Close(Some(frame))).await;
    }
}

/// What items hold of the room of readers that wait to be sent, in their order. One who does not
/// read keeps them waiting, and that is counted.
#[derive(Debug, Default)]
struct Unsent(Mutex<VecDeque<Arc<Allowance>>>);

impl Unsent {
    fn items(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Allowance>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, room: Arc<Allowance>) {
        self.items().push_back(room);
    }

    fn sent(&self) {
        self.items().pop_front();
    }
}

/// Whether a message bears an item of an operation: all others are small.
fn is_item(message: &Message) -> bool {
    let item = |text: &str| ITEMS.iter().any(|start| text.starts_with(start));
    matches!(message, Message::Text(text) if item(text))
}

/// How the library begins the messages that bear items, in either protocol.
const ITEMS: [&str; 2] = [r#"{"type":"next""#, r#"{"type":"data""#];

/// Runs an operation apart from its socket: what it holds while it reads, such as a connection to the
/// database, must not wait for a client. It ends when nobody takes its items any more.
async fn run(mut answers: BoxStream<'static, Answer>, items: mpsc::Sender<Answer>) {
    let taken = async {
        while let Some(answer) = answers.next().await {
            if items.send(answer).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = items.closed() => {}
        () = taken => {}
    }
}

/// The messages that the library is to read. Others are answered here, or end the socket.
fn admitted<E>(
    gate: Arc<Gate>,
    messages: impl Stream<Item = Result<Message, E>> + Send,
    answers: mpsc::Sender<Message>,
) -> impl Stream<Item = Result<Message, E>> + Send
where
    E: Send,
{
    async_stream::stream! {
        let mut messages = pin!(messages);
        while let Some(message) = messages.next().await {
            let looked = match &message {
                Ok(Message::Text(text)) => gate.look(text.as_bytes()),
                Ok(Message::Binary(bytes)) => gate.look(bytes),
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_)) | Err(_) => Ok(()),
            };
            match looked {
                Ok(()) => yield message,
                Err(Refused { id: Some(id), code, message }) => {
                    let payload = [error(code, &message)];
                    let answer = json!({ "type": "error", "id": id, "payload": payload });
                    if answers.send(Message::text(answer.to_string())).await.is_err() {
                        break;
                    }
                }
                Err(Refused { id: None, .. }) => break,
            }
        }
    }
}

/// What a message says of itself.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "type")]
    ty: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

/// Why a message is not read; without an id it belongs to no operation.
struct Refused {
    id: Option<String>,
    code: ErrorCode,
    message: String,
}

/// What an operation holds while it lives: its place among those of the socket, and its room.
type Held = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// Decides which messages of a socket are read.
#[derive(Debug)]
struct Gate {
    operations: Arc<Semaphore>,
    room: Bodies,
    /// What the operation holds whose message the library is given next.
    held: Mutex<Option<Held>>,
}

impl Gate {
    fn new(room: Bodies) -> Self {
        Self {
            operations: Arc::new(Semaphore::new(OPERATIONS_MAX)),
            room,
            held: Mutex::default(),
        }
    }

    fn look(&self, message: &[u8]) -> Result<(), Refused> {
        let head = serde_json::from_slice::<Head<'_>>(message).ok();
        let begins = |ty: &str| matches!(ty, "subscribe" | "start");
        let id = head
            .filter(|head| begins(&head.ty))
            .and_then(|head| head.id);
        let refused = |code, message: String| Refused {
            id: id.as_deref().map(str::to_owned),
            code,
            message,
        };
        let values = guard::json_values(message);
        if values > VALUES_MAX {
            let message = format!("a message has at most {VALUES_MAX} values");
            return Err(refused(ErrorCode::LimitExceeded, message));
        }
        if id.is_none() {
            return Ok(());
        }
        let Ok(operation) = Arc::clone(&self.operations).try_acquire_owned() else {
            let message = format!("a socket has at most {OPERATIONS_MAX} operations at once");
            return Err(refused(ErrorCode::LimitExceeded, message));
        };
        let Some(room) = self.room.reserve(message.len() + VALUE_BYTES * values) else {
            let message = "too much is asked on sockets at once; nothing was done, try again";
            return Err(refused(ErrorCode::Overloaded, message.to_owned()));
        };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Some((operation, room));
        Ok(())
    }

    fn take(&self) -> Option<Held> {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// Executes requests of a socket, each with its own batching.
#[derive(Clone)]
struct Prepared {
    web: Web,
    gate: Arc<Gate>,
    unsent: Arc<Unsent>,
}

impl Executor for Prepared {
    async fn execute(&self, request: Request) -> Answer {
        if guard::is_too_deep(&request.query) {
            return too_deep();
        }
        let allowance = Arc::new(self.web.api.store().allowance());
        coded(graphql::execute(&self.web.schema, &self.web.api, request, allowance).await)
    }

    fn execute_stream(
        &self,
        request: Request,
        session: Option<Arc<Data>>,
    ) -> BoxStream<'static, Answer> {
        let one = |answer| stream::iter([answer]).boxed();
        let Some(held) = self.gate.take() else {
            let message = "the message is none that begins an operation".to_owned();
            return one(failed(ErrorCode::BadRequest, message));
        };
        if guard::is_too_deep(&request.query) {
            return one(too_deep());
        }
        let Web { schema, api, .. } = &self.web;
        let room = Arc::new(api.store().allowance());
        let with = (session.unwrap_or_default(), Arc::clone(&room));
        let answers = graphql::execute_stream(schema, api, request, with);
        let (items, mut taken) = mpsc::channel(1);
        let held = (self.web.monitor.operation(), held);
        self.web.sockets.spawn(run(answers, items));
        let unsent = Arc::clone(&self.unsent);
        stream::poll_fn(move |context| taken.poll_recv(context))
            .map(move |answer| {
                let _ = &held;
                unsent.add(Arc::clone(&room));
                coded(answer)
            })
            .boxed()
    }
}
