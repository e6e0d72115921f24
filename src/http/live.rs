//! What many follow alike is executed and written once for all of them.
//!
//! A topic is a subscription to events that is being followed: it runs by itself, from the head of the log
//! at its beginning, and hands each item to whoever listens. Who joins with a cursor that lies behind runs
//! alone until it has come to where the topic is; who falls behind does so again, from the log. So nobody
//! misses or repeats an item, nobody waits for another, and what is held for the slow is bounded.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_graphql::Response as Answer;
use futures_util::{FutureExt, StreamExt};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Web;
use super::answer::{coded, is_unexecuted};
use crate::event::Position;
use crate::graphql::{self, Following, Sameness};

/// Items of a topic that are held for those who are a little slow.
const HELD_MAX: usize = 16;
/// Bytes of an item from which on each reads it alone, so that a topic holds at most a quarter of a MiB.
const ITEM_BYTES_MAX: usize = 16 * 1024;
/// Topics at most; what is followed besides is executed for each alone.
const TOPICS_MAX: usize = 1_000;

/// What is being followed.
#[derive(Clone, Debug, Default)]
pub struct Topics {
    open: Arc<Mutex<HashMap<Sameness, Weak<Topic>>>>,
    /// How many there are.
    count: Gauge,
}

/// What a topic says.
#[derive(Clone, Debug)]
pub(super) enum News {
    /// An item, as it is written; one that has failed has no place in the log.
    Item(Arc<Written>),
    /// An item at a position that is too large to be held.
    Large(Position),
    /// It cannot be executed.
    Refused(Arc<Answer>),
    /// It has ended.
    Complete,
}

/// An item as it is written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) json: String,
    pub(super) cursor: Option<String>,
    pub(super) position: Option<Position>,
}

/// A subscription that is being followed, as long as somebody does.
#[derive(Debug)]
pub(super) struct Topic {
    same: Sameness,
    course: Arc<Course>,
    topics: Topics,
    _stop: DropGuard,
}

/// How far a topic has come. What is said and how far it has come change together.
#[derive(Debug)]
struct Course {
    news: broadcast::Sender<News>,
    upto: Mutex<Position>,
}

impl Course {
    fn say(&self, news: News) {
        let mut upto = self.upto.lock().unwrap_or_else(PoisonError::into_inner);
        let position = match &news {
            News::Item(item) => item.position,
            News::Large(position) => Some(*position),
            News::Refused(_) | News::Complete => None,
        };
        *upto = position.map_or(*upto, |position| position.max(*upto));
        // nobody may listen any more
        let _ = self.news.send(news);
    }
}

impl Topic {
    /// What it says from now on, and how far it had come.
    pub(super) fn listen(&self) -> (broadcast::Receiver<News>, Position) {
        let upto = self
            .course
            .upto
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        (self.course.news.subscribe(), *upto)
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        let mut open = self
            .topics
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // another may have begun under its name meanwhile
        if open
            .get(&self.same)
            .is_some_and(|topic| topic.strong_count() == 0)
        {
            open.remove(&self.same);
        }
        self.topics.count.dec();
    }
}

impl Topics {
    /// Nothing is being followed yet; how much is, is shown.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let topics = Self::default();
        let help = "Subscriptions that are executed once for all who follow the same";
        registry.register("live_topics", help, topics.count.clone());
        topics
    }

    /// The topic of a subscription, and where a caller begins that has no place of its own; it is begun if
    /// there is none. `None` when there are too many, or the log cannot be read: then each is alone.
    pub(super) async fn join(&self, web: &Web, following: &Following) -> Option<Arc<Topic>> {
        if let Some(topic) = self.find(&following.same) {
            return Some(topic);
        }
        let head = graphql::head(&web.api).await.ok()?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = open.get(&following.same).and_then(Weak::upgrade) {
            return Some(topic);
        }
        if open.len() >= TOPICS_MAX {
            return None;
        }
        let stop = CancellationToken::new();
        let course = Arc::new(Course {
            news: broadcast::Sender::new(HELD_MAX),
            upto: Mutex::new(head),
        });
        let topic = Arc::new(Topic {
            same: following.same,
            course: Arc::clone(&course),
            topics: self.clone(),
            _stop: stop.clone().drop_guard(),
        });
        open.insert(following.same, Arc::downgrade(&topic));
        self.count.inc();
        let (topics, web, following) = (self.clone(), web.clone(), following.for_all());
        let tracked = web.sockets.clone();
        tracked.spawn(async move {
            let told = tell(&web, &following, (&course, head));
            let told = AssertUnwindSafe(told).catch_unwind();
            let last = tokio::select! {
                () = stop.cancelled() => return,
                told = told => told.unwrap_or_else(|_| {
                    News::Refused(Arc::new(graphql::panicked(&web.api)))
                }),
            };
            // whoever joins from now on begins another
            topics.forget(&following.same);
            course.say(last);
        });
        Some(topic)
    }

    fn find(&self, same: &Sameness) -> Option<Arc<Topic>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(same).and_then(Weak::upgrade)
    }

    fn forget(&self, same: &Sameness) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(same);
    }
}

/// Tells what comes of a subscription after a position, and how it ends.
async fn tell(web: &Web, following: &Following, (course, from): (&Course, Position)) -> News {
    let Web { schema, api, .. } = web;
    let room = Arc::new(api.store().allowance());
    let mut items = following.between(schema, api, (from, None), room);
    let mut is_first = true;
    while let Some((answer, cursor, position)) = items.next().await {
        let answer = coded(answer);
        if is_first && is_unexecuted(&answer) {
            return News::Refused(Arc::new(answer));
        }
        is_first = false;
        following.pay(api).await;
        let json = graphql::json(&answer);
        match position {
            Some(position) if json.len() > ITEM_BYTES_MAX => course.say(News::Large(position)),
            _ => course.say(News::Item(Arc::new(Written {
                json,
                cursor,
                position,
            }))),
        }
    }
    News::Complete
}
