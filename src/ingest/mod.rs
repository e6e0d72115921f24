//! The one door: whatever is recorded, by whomever, is checked, stamped and appended here.
//!
//! A refusal of one event is an outcome beside those of its neighbours. Nothing is appended by
//! anyone else, save the commands that people give, which come through here too.

mod background;
mod errors;
mod faults;
mod import;
mod refusals;
mod requests;
mod strangers;

use uuid::Uuid;

use crate::clock::Clock;
use crate::event::{Instant, NewEvent};
use crate::kinds::{Code, Identity, Kind, Refusal, check};
use crate::store::{AppendError, Appended, EntityType, Expect, Fence, Outcome, Request, Store};

pub use background::{Background, BackgroundMetrics};
pub use errors::internal_error;
pub use faults::record_faults;
pub use import::{Import, ImportError, Parsed, Progress, Tally};
pub use refusals::Refusals;
pub use requests::{
    AnsweredTo, AskedFrom, OnSocket, Operation, Peer, RequestLog, record_on_socket,
};
pub use strangers::Strangers;

/// How far ahead of our clock the clock of a source may be.
pub const FUTURE_MAX_MS: i64 = 5 * 60 * 1_000;

/// What a source gave: an event of the right form, or why it is none, and of which kind it was
/// meant to be.
pub type Given = (Option<Kind>, Result<NewEvent, Refusal>);

/// The door.
#[derive(Clone, Debug)]
pub struct Ingest {
    store: Store,
    refusals: std::sync::Arc<Refusals>,
    /// What is told in the audit with each command.
    audit: Option<Box<NewEvent>>,
}

/// Characters at most of the key of a request.
pub const REQUEST_KEY_CHARACTERS_MAX: usize = 255;

/// A key of a whole request, from which the ids of its events follow that have none.
#[derive(Clone, Copy, Debug)]
pub struct RequestKey<'a> {
    /// The key.
    pub key: &'a str,
    /// Index in the request of the first event that is recorded.
    pub first: usize,
}

impl<'a> RequestKey<'a> {
    /// The key of a request whose events are recorded at once.
    #[must_use]
    pub const fn of_all(key: &'a str) -> Self {
        Self { key, first: 0 }
    }

    /// Whether a text may be such a key.
    #[must_use]
    pub fn is_one(key: &str) -> bool {
        (1..=REQUEST_KEY_CHARACTERS_MAX).contains(&key.chars().count())
    }
}

/// Devices that are registered by what is recorded of them.
#[derive(Clone, Debug, Default)]
pub struct Registering {
    /// Their registrations.
    pub registrations: Vec<NewEvent>,
    /// That they are not registered otherwise.
    pub expect: Vec<Expect>,
}

/// How long a source is ready to wait for a place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Not at all: it is told to come back.
    None,
    /// As long as it takes: it is inside this process, or reads a file.
    Unlimited,
}

impl Ingest {
    /// A door to a log.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            refusals: std::sync::Arc::default(),
            audit: None,
        }
    }

    /// The same door, for one command: what it records is told in the audit in the same commit.
    #[must_use]
    pub fn audited(&self, entry: Option<NewEvent>) -> Self {
        Self {
            audit: entry.map(Box::new),
            ..self.clone()
        }
    }

    /// The same door, for one who does what only one server may do.
    #[must_use]
    pub fn fenced(&self, fence: Option<Fence>) -> Self {
        self.on(self.store.fenced(fence))
    }

    /// The same door to another handle on the log.
    #[must_use]
    pub fn on(&self, store: Store) -> Self {
        Self {
            store,
            ..self.clone()
        }
    }

    /// The log behind the door.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The counts of what was refused.
    #[must_use]
    pub fn refusals(&self) -> &std::sync::Arc<Refusals> {
        &self.refusals
    }

    /// The clock that stamps.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.store.clock()
    }

    /// Records events and answers each, in their order. With the key of a request, events without an
    /// id get one that follows from the key and their index in it.
    ///
    /// # Errors
    /// When nothing was recorded: the queue is full or the log failed.
    pub async fn record(
        &self,
        given: Vec<Given>,
        request_key: Option<RequestKey<'_>>,
        patience: Patience,
    ) -> Result<Appended, AppendError> {
        let registering = Registering::default();
        let given = (given, request_key);
        self.record_registering(registering, given, patience).await
    }

    /// Records events, and before them registers the devices that they name, in the same commit.
    ///
    /// # Errors
    /// When nothing was recorded: the devices have been registered otherwise meanwhile, the queue is full or
    /// the log failed.
    pub async fn record_registering(
        &self,
        registering: Registering,
        (given, request_key): (Vec<Given>, Option<RequestKey<'_>>),
        patience: Patience,
    ) -> Result<Appended, AppendError> {
        let now = self.clock().now();
        let mut verdicts = Vec::with_capacity(given.len());
        let mut events = Vec::with_capacity(given.len());
        for (index, (kind, parsed)) in given.into_iter().enumerate() {
            let device = parsed.as_ref().ok().and_then(device_of);
            let verdict = parsed.and_then(|mut event| {
                if let Some(RequestKey { key, first }) = request_key {
                    follow_key(&mut event, key, first + index);
                }
                checked(event, now)
            });
            verdicts.push((kind, device, verdict.map(|event| events.push(event))));
        }
        let request = Request {
            registrations: registering.registrations,
            events,
            expect: registering.expect,
            told: None,
        };
        let appended = match patience {
            _ if request.events.is_empty() => Appended::default(),
            Patience::None => self.store.append(request).await?,
            Patience::Unlimited => self.store.append_patiently(request).await?,
        };
        let mut of_log = appended.outcomes.into_iter();
        let mut outcomes = Vec::with_capacity(verdicts.len());
        for (kind, device, verdict) in verdicts {
            let outcome = match verdict {
                Err(refusal) => Outcome::Rejected(refusal),
                Ok(()) => of_log.next().ok_or_else(|| {
                    AppendError::Store(std::sync::Arc::new(crate::store::StoreError::Closed))
                })?,
            };
            self.count(kind, device.as_deref(), &outcome, now);
            outcomes.push(outcome);
        }
        Ok(Appended {
            outcomes,
            recorded_at: appended.recorded_at,
        })
    }

    /// Counts an outcome if it is a refusal. A device is named only when it is registered, so that
    /// names from outside do not make the counts grow.
    fn count(&self, kind: Option<Kind>, device: Option<&str>, outcome: &Outcome, now: Instant) {
        let names = self.store.names();
        let device = device.filter(|id| names.key(EntityType::Device, id).is_some());
        match outcome {
            Outcome::Rejected(refusal) => self.refusals.count(kind, device, refusal, now),
            Outcome::Conflict(_) => {
                let refusal = Refusal::of_event(Code::Conflict, "");
                self.refusals.count(kind, device, &refusal, now);
            }
            Outcome::Recorded(_) | Outcome::Duplicate(_) => {}
        }
    }

    /// Records what is told of a command that was done already: it waits while the queue is full, since it
    /// is too late to refuse the command.
    ///
    /// # Errors
    /// When the log failed.
    pub async fn tell(&self, events: Vec<NewEvent>) -> Result<Appended, AppendError> {
        let request = Request {
            registrations: Vec::new(),
            events,
            expect: Vec::new(),
            told: None,
        };
        self.store.append_patiently(request).await
    }

    /// Records what a command has decided: all of it, on the versions that it was decided on, or
    /// nothing.
    ///
    /// # Errors
    /// When a version is stale, the queue is full or the log failed.
    pub async fn command(
        &self,
        events: Vec<NewEvent>,
        expect: impl IntoIterator<Item = Expect>,
    ) -> Result<Appended, AppendError> {
        let told = self.audit.clone();
        let expect = expect.into_iter().collect();
        let request = Request {
            registrations: Vec::new(),
            events,
            expect,
            told,
        };
        self.store.append(request).await
    }
}

/// Checks bounds and times.
fn checked(mut event: NewEvent, now: Instant) -> Result<NewEvent, Refusal> {
    check(&mut event.fact)?;
    if event.fact.occurred_at > now.plus_ms(FUTURE_MAX_MS) {
        let message = "occurredAt is more than 5 minutes in the future";
        return Err(Refusal::of("occurredAt", Code::InFuture, message));
    }
    if event.fact.occurred_at < Instant::OLDEST {
        return Err(Refusal::of(
            "occurredAt",
            Code::TooOld,
            "occurredAt is before the year 2000",
        ));
    }
    Ok(event)
}

/// Namespace of the ids that follow from idempotency keys.
const KEYS: Uuid = Uuid::from_u128(0x9c1f_3f6e_6f0b_4a53_8a5e_5a0c_2f1d_7b10);

fn follow_key(event: &mut NewEvent, key: &str, index: usize) {
    if event.fact.event_id.is_none() && event.fact.spec().identity == Identity::EventId {
        event.fact.event_id = Some(Uuid::new_v5(&KEYS, format!("{index}:{key}").as_bytes()));
    }
}

fn device_of(event: &NewEvent) -> Option<String> {
    let index = event.fact.spec().device_index()?;
    event.fact.cells.get(index)?.text().map(str::to_owned)
}
