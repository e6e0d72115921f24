//! An operation that may answer more than once: it runs apart from the connection, and hands over one
//! item at a time.
//!
//! What it holds while it reads, such as a connection to the database, does not wait for a client; and
//! what it has rendered is counted until the client has it.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Request, Response as Answer};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Web;
use super::answer::{coded, is_unexecuted, timed_out};
use super::live::{News, Written};
use super::room::Taken;
use crate::event::Position;
use crate::graphql::{self, Following, Obeying, Turned};
use crate::identity::Caller;
use crate::ingest::{OnSocket, record_on_socket};
use crate::store::Allowance;

/// An operation that lives; when it is dropped it ends.
#[derive(Debug)]
pub(super) struct Operation {
    /// Its number on the connection: another may have its name when it has ended.
    pub(super) number: u64,
    /// Whether it follows something, and so ends when the server stops; what is executed is let end.
    pub(super) is_following: bool,
    _stop: DropGuard,
    _room: Taken,
}

/// What an operation hands over.
pub(super) struct Item {
    /// The name of the operation.
    pub(super) id: Arc<str>,
    /// Its number.
    pub(super) number: u64,
    /// How it is told, until it is.
    pub(super) text: Option<String>,
    /// Whether the operation has ended with it.
    pub(super) is_last: bool,
    /// What it holds until it has been sent: its turn, and its part of the room of readers.
    _held: (Option<OwnedSemaphorePermit>, Arc<Allowance>),
}

/// What comes of an operation.
pub(super) enum Output<'a> {
    /// An item, and its place in the log if it has one.
    Next(&'a Answer, Option<&'a str>),
    /// The same, as it is written for many.
    Written(&'a Written),
    /// It cannot be executed, and has ended.
    Refused(&'a Answer),
    /// It has ended.
    Complete,
}

/// How the output of an operation with a name is told.
pub(super) type Write = fn(&str, &Output<'_>) -> String;

/// Begins an operation whose items go to a connection.
pub(super) fn begin(
    web: &Arc<Web>,
    (id, number): (Arc<str>, u64),
    (mut asked, room): (Asked, Taken),
    (items, write, execution): (mpsc::Sender<Box<Item>>, Write, Arc<Semaphore>),
) -> Operation {
    let is_following = asked.0.as_mut().is_ok_and(graphql::is_subscription);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let web = Arc::clone(web);
    let tracked = web.sockets.clone();
    // most of them only wait: what is not needed for that is not in the future, of which each has one
    let asked = Box::new(asked);
    tracked.spawn(async move {
        let counted = web.monitor.operation();
        let running = Running {
            id,
            number,
            items,
            write,
            execution,
            turn: Arc::new(Semaphore::new(1)),
            room: Arc::new(web.api.store().allowance()),
        };
        let ran = async { running.run(&web, *asked).await };
        let ran = AssertUnwindSafe(ran).catch_unwind();
        tokio::select! {
            () = stopped.cancelled() => {}
            ran = ran => if ran.is_err() {
                let panicked = graphql::panicked(&web.api);
                Box::pin(running.refuse(panicked)).await;
            },
        }
        drop(counted);
    });
    Operation {
        number,
        is_following,
        _stop: stop.drop_guard(),
        _room: room,
    }
}

/// What is asked, after which place of the log that its client has kept, and by whom.
pub(super) type Asked = (Result<Request, Box<Answer>>, Option<String>, Caller);

/// An answer with its cursor and position.
type Told = (Answer, Option<String>, Option<Position>);

/// How an operation has ended.
#[derive(PartialEq, Eq)]
enum Ended {
    /// By itself, which is not said yet.
    Itself,
    /// It is said how.
    Told,
}

/// Why a topic is not listened to any more.
enum Heard {
    /// It has said more than it holds.
    Behind,
    /// It has an item at a position that it does not hold.
    Large(Position),
    /// It has ended.
    End,
}

struct Running {
    id: Arc<str>,
    number: u64,
    items: mpsc::Sender<Box<Item>>,
    write: Write,
    /// Those of a connection that are executed at once, save those that follow something.
    execution: Arc<Semaphore>,
    /// One item at a time: the next is asked for when the last has been sent.
    turn: Arc<Semaphore>,
    room: Arc<Allowance>,
}

/// That something is executed, among what is on its connection and on all.
type Turns = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Running {
    fn run<'a>(&'a self, web: &'a Web, (request, last, caller): Asked) -> BoxFuture<'a, ()> {
        let request = match request {
            Ok(request) => request,
            Err(refused) => return self.refuse(*refused).boxed(),
        };
        let Web { schema, api, .. } = web;
        match graphql::turn(schema, api, (request, last.as_deref()), &caller) {
            Turned::Alone(request) => self.execute(web, (request, caller)).boxed(),
            Turned::Following(following) => self.follow(web, following).boxed(),
            Turned::Obeying(obeying) => self.obey(web, obeying).boxed(),
            Turned::Refused(refused) => self.refuse(*refused).boxed(),
        }
    }

    async fn refuse(&self, refused: Answer) {
        self.hand(&Output::Refused(&refused), None).await;
    }

    /// Executes what is answered to its caller alone.
    async fn execute(&self, web: &Web, (mut request, caller): (Box<Request>, Caller)) {
        let Web { schema, api, .. } = web;
        let mut executed = None;
        if !graphql::is_subscription(&mut request) {
            let own = Arc::clone(&self.execution).acquire_owned().await;
            // what waits costs what was said; what is executed costs many times that
            let of_all = Arc::clone(&web.executing).acquire_owned().await;
            executed = own.ok().zip(of_all.ok());
        }
        let (room, began) = (Arc::clone(&self.room), Instant::now());
        let is_told = executed.is_some() && !self.id.is_empty();
        let (by, name) = (caller.clone(), request.operation_name.clone());
        let answers = graphql::execute_stream(schema, api, *request, (caller, room));
        let mut answers = pin!(answers.map(|(answer, cursor)| (answer, cursor, None)));
        let ended = self.tell(web, &mut answers, (executed, None)).await;
        if is_told {
            let done = OnSocket {
                caller: &by.name,
                from: by.network.as_deref(),
                operation: name.as_deref(),
                took_ms: began.elapsed().as_secs_f64() * 1_000.0,
            };
            record_on_socket(&api.background, api.ingest.clock(), &done);
        }
        if ended == Ended::Itself {
            self.hand(&Output::Complete, None).await;
        }
    }

    /// Hands over what comes of an operation for its caller alone.
    async fn tell(
        &self,
        web: &Web,
        answers: &mut (impl Stream<Item = Told> + Unpin),
        (mut executed, following): (Option<Turns>, Option<&Following>),
    ) -> Ended {
        let mut is_first = true;
        loop {
            let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else {
                return Ended::Told;
            };
            let executing = executed.take();
            let within = if executing.is_some() {
                web.request_within
            } else {
                // it follows something
                Duration::MAX
            };
            let next = timeout(within, answers.next()).await;
            drop(executing);
            let turn = Some(turn);
            let Ok(next) = next else {
                self.hand(&Output::Refused(&timed_out(web)), turn).await;
                return Ended::Told;
            };
            let Some((answer, cursor, _)) = next else {
                return Ended::Itself;
            };
            let answer = coded(answer);
            if is_first && is_unexecuted(&answer) {
                self.hand(&Output::Refused(&answer), turn).await;
                return Ended::Told;
            }
            is_first = false;
            let next = Output::Next(&answer, cursor.as_deref());
            self.hand(&next, turn).await;
            if let Some(following) = following {
                following.pay(&web.api).await;
            }
        }
    }

    /// Follows commands, and sleeps while none comes.
    async fn obey(&self, web: &Web, obeying: Box<Obeying>) {
        let Web { schema, api, .. } = web;
        loop {
            let room = Arc::clone(&self.room);
            let told = Box::pin(async {
                let answers = obeying.awake(schema, api, room);
                let mut answers = answers.map(|(answer, cursor)| (answer, cursor, None));
                self.tell(web, &mut answers, (None, None)).await
            });
            if told.await == Ended::Told {
                return;
            }
            if !obeying.wakes().await {
                return self.hand(&Output::Complete, None).await;
            }
        }
    }

    /// Follows events together with whoever follows the same.
    async fn follow(&self, web: &Web, following: Box<Following>) {
        let Web { schema, api, .. } = web;
        let room = || Arc::clone(&self.room);
        let shared = match following.begins(api).await {
            Ok(begins) => web
                .topics
                .join(web, &following)
                .await
                .map(|topic| (topic, begins)),
            Err(_) => None,
        };
        let Some((topic, mut at)) = shared else {
            // also what cannot be begun is said in its own words
            let mut items = following.alone(schema, api, room());
            let told = Box::pin(self.tell(web, &mut items, (None, Some(&following))));
            if told.await == Ended::Itself {
                self.hand(&Output::Complete, None).await;
            }
            return;
        };
        let (mut news, mut upto) = topic.listen();
        loop {
            if at < upto {
                let mut items = following.between(schema, api, (at, Some(upto)), room());
                // most of its time it only listens, and then has no need of the room for this
                let told = Box::pin(self.tell(web, &mut items, (None, Some(&following))));
                if told.await == Ended::Told {
                    return;
                }
                at = upto;
            }
            match self.listen((web, &following), &mut news, &mut at).await {
                Heard::Behind => (news, upto) = topic.listen(),
                Heard::Large(position) => upto = position,
                Heard::End => return,
            }
        }
    }

    /// Hands over what a topic says of what comes after a position.
    async fn listen(
        &self,
        (web, following): (&Web, &Following),
        news: &mut broadcast::Receiver<News>,
        at: &mut Position,
    ) -> Heard {
        loop {
            let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else {
                return Heard::End;
            };
            let turn = Some(turn);
            match news.recv().await {
                Ok(News::Item(item)) => match item.position {
                    Some(position) if position <= *at => {}
                    position => {
                        self.hand(&Output::Written(&item), turn).await;
                        *at = position.unwrap_or(*at);
                        following.pay(&web.api).await;
                    }
                },
                Ok(News::Large(position)) if position > *at => return Heard::Large(position),
                Ok(News::Large(_)) => {}
                Err(RecvError::Lagged(_)) => return Heard::Behind,
                Ok(News::Refused(refused)) => {
                    self.hand(&Output::Refused(&refused), turn).await;
                    return Heard::End;
                }
                Ok(News::Complete) | Err(RecvError::Closed) => {
                    self.hand(&Output::Complete, turn).await;
                    return Heard::End;
                }
            }
        }
    }

    /// Hands over, with its turn if another item comes after it.
    async fn hand(&self, output: &Output<'_>, turn: Option<OwnedSemaphorePermit>) {
        let item = Box::new(Item {
            id: Arc::clone(&self.id),
            number: self.number,
            text: Some((self.write)(&self.id, output)),
            is_last: !matches!(output, Output::Next(..) | Output::Written(_)),
            _held: (turn, Arc::clone(&self.room)),
        });
        // a connection that is gone takes nothing any more
        let _ = self.items.send(item).await;
    }
}
