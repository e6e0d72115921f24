//! The course of a socket: the greeting, its operations side by side, pings, and its end.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use super::super::Web;
use super::super::answer::error;
use super::super::operation::{self, Item, Operation};
use super::super::prepared::prepared;
use super::super::room::{Refusal, Share};
use super::super::sign_in;
use super::message::{self, Closing, Said, Saying};
use super::{By, Held};
use crate::clock::Clock;
use crate::graphql::ErrorCode;
use crate::graphql::bulk::Body;
use crate::identity::{Caller, SignInError, Source};

/// How long a client may take to greet.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a client is asked whether it lives; one that says nothing until the next time is gone.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long a client may take to hear that the socket is closed. What it has sent meanwhile is read and
/// dropped: were it left, the system would break the connection off before the client has read why.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// Operations at most that live on a socket.
const OPERATIONS_MAX: usize = 100;
/// Queries and mutations of a socket that are executed at once: fewer than there are connections for
/// readers, so that one client leaves some to the others.
const EXECUTED_MAX: usize = 4;

/// Serves a socket until its client or the server ends it. What is needed at its beginning alone is not in the
/// future, of which each socket has one.
pub(super) fn serve(
    web: Web,
    (by, held): (By, Held),
    socket: WebSocket,
) -> impl Future<Output = ()> + use<> {
    let is_spoken = socket.protocol().is_some();
    let (sink, messages) = socket.split();
    let session = Session::new(Arc::new(web), by, held);
    run(session, is_spoken, (sink, messages))
}

async fn run(
    mut session: Session,
    is_spoken: bool,
    (mut sink, mut messages): (SplitSink<WebSocket, Message>, SplitStream<WebSocket>),
) {
    let closing = if is_spoken {
        session.run(&mut sink, &mut messages).await
    } else {
        Some(Closing::UnknownProtocol)
    };
    let Some(closing) = closing else { return };
    if sink.send(closing.frame()).await.is_ok() {
        let heard = async {
            while let Some(Ok(_)) = messages.next().await {}
            if matches!(closing, Closing::Unreadable(_)) {
                // what is left of it cannot be dropped
                std::future::pending::<()>().await;
            }
        };
        let _ = timeout(CLOSE_WITHIN, heard).await;
    }
}

/// Who has greeted.
struct Greeted {
    caller: Caller,
    /// What a device takes beside the place of its socket.
    _of_device: Option<OwnedSemaphorePermit>,
}

struct Session {
    web: Arc<Web>,
    by: By,
    greeted: Option<Greeted>,
    /// Whether the server stops: nothing more is begun, and what is executed is let end.
    is_stopping: bool,
    share: Share,
    operations: HashMap<Arc<str>, Operation>,
    /// Operations that were begun so far.
    begun: u64,
    execution: Arc<Semaphore>,
    items: mpsc::Sender<Box<Item>>,
    handed: mpsc::Receiver<Box<Item>>,
    _held: Held,
}

impl Session {
    fn new(web: Arc<Web>, by: By, held: Held) -> Self {
        // operations wait for their turns in the order in which they come, so none starves another
        let (items, handed) = mpsc::channel(1);
        Self {
            share: web.places.room.share(),
            web,
            by,
            greeted: None,
            is_stopping: false,
            operations: HashMap::new(),
            begun: 0,
            execution: Arc::new(Semaphore::new(EXECUTED_MAX)),
            items,
            handed,
            _held: held,
        }
    }

    /// Runs until the socket is to be closed; `None` when the client has gone.
    async fn run(
        &mut self,
        sink: &mut SplitSink<WebSocket, Message>,
        messages: &mut SplitStream<WebSocket>,
    ) -> Option<Closing> {
        let (drain, cut) = (self.web.drain.clone(), self.web.cut.clone());
        let clock = self.web.api.ingest.clock().clone();
        let mut greeting = pin!(sleep(INIT_TIMEOUT));
        let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_heard = true;
        loop {
            if self.is_stopping && self.operations.is_empty() {
                return Some(Closing::Restart);
            }
            // what an item holds is held until it has been sent
            let mut sent = None;
            let message = tokio::select! {
                () = cut.cancelled() => return Some(Closing::Restart),
                () = drain.cancelled(), if !self.is_stopping => {
                    self.is_stopping = true;
                    self.operations.retain(|_, operation| !operation.is_following);
                    None
                }
                () = ended(self.greeted.as_ref(), &clock) => {
                    return Some(Closing::Forbidden(SignInError::Ended.to_string()));
                }
                () = &mut greeting, if self.greeted.is_none() => return Some(Closing::InitTimeout),
                _ = pings.tick() => {
                    if !std::mem::take(&mut is_heard) {
                        return Some(Closing::Silent);
                    }
                    Some(Message::Ping(Bytes::new()))
                }
                Some(mut item) = self.handed.recv() => {
                    let text = item.text.take().filter(|_| self.is_alive(&item));
                    sent = Some(item);
                    text.map(Message::text)
                }
                message = messages.next() => {
                    is_heard = true;
                    let message = match message {
                        None => return None,
                        Some(Ok(message)) => message,
                        Some(Err(error)) => return Some(Closing::Unreadable(error.to_string())),
                    };
                    match self.take(&message) {
                        Ok(answer) => answer,
                        Err(closing) => return Some(closing),
                    }
                }
            };
            let began = Instant::now();
            if let Some(message) = message
                && sink.send(message).await.is_err()
            {
                return None;
            }
            drop(sent);
            // whoever has taken it lives, and had no time to be heard if that took long
            is_heard |= began.elapsed() >= PING_EVERY / 4;
        }
    }

    /// Whether an item is of an operation that lives; the last one ends it.
    fn is_alive(&mut self, item: &Item) -> bool {
        let operation = self.operations.get(&item.id);
        let is_alive = operation.is_some_and(|operation| operation.number == item.number);
        if is_alive && item.is_last {
            self.operations.remove(&item.id);
        }
        is_alive
    }

    /// Takes a message; what it answers is sent at once.
    fn take(&mut self, message: &Message) -> Result<Option<Message>, Closing> {
        let text = match message {
            Message::Text(text) => text.as_str(),
            Message::Binary(_) => {
                let reason = "messages are texts".to_owned();
                return Err(Closing::BadMessage(reason));
            }
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return Ok(None),
        };
        match Said::read(text)? {
            Said::Init { .. } if self.greeted.is_some() => Err(Closing::TooManyInits),
            Said::Init { authorization } => {
                self.greet(authorization.as_deref())?;
                Ok(Saying::ConnectionAck.message())
            }
            Said::Ping(payload) => Ok(Saying::Pong { payload }.message()),
            Said::Pong => Ok(None),
            Said::Subscribe { id, payload } => {
                let greeted = self.greeted.as_ref();
                let caller = greeted.map(|greeted| greeted.caller.clone());
                self.begin(&id, payload, caller.ok_or(Closing::Unauthorized)?)
            }
            Said::Complete { id } => {
                self.operations.remove(id.as_ref());
                Ok(None)
            }
        }
    }

    /// Takes the greeting. Only by it is it known whether a socket is one of a device, which leave some to others.
    fn greet(&mut self, authorization: Option<&str>) -> Result<(), Closing> {
        let caller = self.proved(authorization)?;
        let place = self.web.places.of_device(&caller);
        let place = place.map_err(|_| Closing::Overloaded)?;
        self.greeted = Some(Greeted {
            caller,
            _of_device: place,
        });
        Ok(())
    }

    /// Who greets with a credential, or was proved before.
    fn proved(&mut self, authorization: Option<&str>) -> Result<Caller, Closing> {
        if authorization.is_none()
            && let Some(caller) = self.by.caller.take()
        {
            return Ok(caller);
        }
        let now = self.web.api.ingest.clock().now();
        // a key that stands in pages says nothing here: by it nothing is read
        let from = Source {
            network: self.by.network.as_ref(),
            origin: None,
        };
        let caller = self.web.authority.caller(authorization, from, now);
        caller.map_err(|why| {
            // a reason on a socket is short
            let missing = "give `authorization: Bearer …` in the payload of connection_init";
            let is_missing = why == SignInError::Missing;
            Closing::Forbidden(if is_missing {
                missing.to_owned()
            } else {
                why.to_string()
            })
        })
    }

    /// Begins an operation; one that is refused is answered with an error of its own.
    fn begin(
        &mut self,
        id: &str,
        payload: &RawValue,
        caller: Caller,
    ) -> Result<Option<Message>, Closing> {
        if !caller.is_valid(self.web.api.ingest.clock().now()) {
            return Err(Closing::Forbidden(SignInError::Ended.to_string()));
        }
        if self.operations.contains_key(id) {
            return Err(Closing::Exists(id.to_owned()));
        }
        let refused = |refusal: &Refusal| {
            let error = error(refusal.code, &refusal.message);
            Ok(Saying::Refused {
                id,
                payload: [error],
            }
            .message())
        };
        if self.is_stopping {
            return refused(&Refusal {
                code: ErrorCode::Unavailable,
                message: "the server stops; nothing was done, ask again".to_owned(),
            });
        }
        if self.operations.len() >= OPERATIONS_MAX {
            return refused(&Refusal {
                code: ErrorCode::LimitExceeded,
                message: format!("a socket has at most {OPERATIONS_MAX} operations at once"),
            });
        }
        let mut room = match self.share.request(payload.get().as_bytes()) {
            Ok(room) => room,
            Err(refusal) => return refused(&refusal),
        };
        if payload.get().starts_with('[') {
            return Err(Closing::BadMessage("the payload is no object".to_owned()));
        }
        let body: Body<'_> = serde_json::from_str(payload.get())
            .map_err(|error| Closing::BadMessage(format!("no GraphQL request: {error}")))?;
        self.begun += 1;
        let (id, number) = (Arc::<str>::from(id), self.begun);
        let request = prepared(&self.web, &body, (&self.share, &mut room));
        let request = ((request, None, caller), room);
        let execution = Arc::clone(&self.execution);
        let to: (_, operation::Write, _) = (self.items.clone(), message::write, execution);
        let operation = operation::begin(&self.web, (Arc::clone(&id), number), request, to);
        self.operations.insert(id, operation);
        Ok(None)
    }
}

/// Waits until the proof of whoever has greeted holds no more.
async fn ended(greeted: Option<&Greeted>, clock: &Clock) {
    match greeted {
        Some(greeted) => sign_in::ended(&greeted.caller, clock).await,
        None => std::future::pending().await,
    }
}
