//! Has devices that this process itself plays (the simulated fleet) do their commands, as a device
//! would: each is acknowledged, worked on for its time, and answered.
//!
//! It begins with the commands that were open when it started, so that a device that is played outlives
//! a restart; one that was at work by then begins anew.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::deliveries::{COMMANDS_MAX, Deliveries, Happening, pending};
use super::{Answer, Command, CommandError, CommandId, acknowledge, complete};
use crate::event::{Instant, Position, Provenance};
use crate::history::Within;
use crate::ingest::Ingest;
use crate::store::{Store, StoreError};
use crate::telemetry::chain;
use crate::ticks;

/// How often the devices that are at work are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a device whose answer was not taken waits, and one that is away.
const RETRY_AFTER_MS: i64 = 1_000;
/// From the beginning, as many as are read at once.
const ALL: (Position, usize) = (Position(0), COMMANDS_MAX);
/// Who answers.
const BY: &str = "device";

/// What a device that is played does with a command.
#[derive(Clone, Debug)]
pub enum Played {
    /// It takes it, and will have ended so after a number of milliseconds.
    Takes(Answer, i64),
    /// It takes it, and is never heard of it again.
    Hangs(Provenance),
    /// It is away, and hears of it when it returns.
    IsAway,
    /// It is none that is played.
    NotPlayed,
}

/// Plays the devices.
pub trait Run: Send {
    /// What a device does with a command. How it will have ended is known at once, and is told when its
    /// time is over.
    fn run(&mut self, device_id: &str, job_type: &str, job_id: &str) -> Played;
}

/// What a device is about to do.
enum Doing {
    /// To look for a command.
    Hears(Command),
    /// To tell how one ended.
    Answers(CommandId, Answer),
}

/// What devices are about to do, by when that is due and by its ordinal.
#[derive(Default)]
struct Agenda(BTreeMap<(Instant, u64), Doing>);

impl Agenda {
    fn put(&mut self, due_at: Instant, doing: Doing) {
        let after = self.0.range((due_at, 0)..=(due_at, u64::MAX));
        let ordinal = after.last().map_or(0, |((_, ordinal), _)| ordinal + 1);
        self.0.insert((due_at, ordinal), doing);
    }

    fn take_due(&mut self, now: Instant) -> Option<Doing> {
        let first = self.0.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

/// Follows the commands and has them done.
#[derive(Debug)]
pub struct Executor {
    ingest: Ingest,
    deliveries: Deliveries,
}

impl Executor {
    /// An executor that records through a door.
    #[must_use]
    pub const fn new(ingest: Ingest, deliveries: Deliveries) -> Self {
        Self { ingest, deliveries }
    }

    /// Has commands done until it is told to stop.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn run(
        self,
        mut devices: impl Run,
        stop: CancellationToken,
    ) -> Result<(), StoreError> {
        let followed = self.deliveries.follow(None);
        let mut agenda = self.open().await?;
        let mut looks = ticks::every(LOOK_EVERY);
        loop {
            self.do_due(&mut devices, &mut agenda).await;
            let happened = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                happened = followed.next() => happened,
                _ = looks.tick(), if !agenda.0.is_empty() => continue,
            };
            let Some(happened) = happened else {
                agenda = self.open().await?;
                continue;
            };
            let now = self.ingest.clock().now();
            for happening in happened {
                if let Happening::Issued(command) = happening {
                    agenda.put(now, Doing::Hears(command));
                }
            }
        }
    }

    /// What was not answered yet.
    async fn open(&self) -> Result<Agenda, StoreError> {
        let store = self.ingest.store();
        let (now, mut agenda) = (self.ingest.clock().now(), Agenda::default());
        let allowance = Store::own_allowance();
        for command in pending(store, (&Within::Whole, None), ALL, &allowance).await? {
            agenda.put(now, Doing::Hears(command));
        }
        Ok(agenda)
    }

    async fn do_due(&self, devices: &mut impl Run, agenda: &mut Agenda) {
        let now = self.ingest.clock().now();
        while let Some(doing) = agenda.take_due(now) {
            let (id, answer) = match doing {
                Doing::Answers(id, answer) => (id, answer),
                Doing::Hears(command) => {
                    self.hear(devices, agenda, command).await;
                    continue;
                }
            };
            let told = complete(&self.ingest, (&id, None), (&answer, BY)).await;
            if is_to_be_tried_again(told) {
                agenda.put(now.plus_ms(RETRY_AFTER_MS), Doing::Answers(id, answer));
            }
        }
    }

    async fn hear(&self, devices: &mut impl Run, agenda: &mut Agenda, command: Command) {
        let (id, now) = (&command.id, self.ingest.clock().now());
        let played = devices.run(&id.device_id, &command.job.job_type, &id.job_id);
        let (provenance, answer) = match played {
            Played::Takes(answer, takes_ms) => (answer.provenance, Some((answer, takes_ms))),
            Played::Hangs(provenance) => (provenance, None),
            Played::NotPlayed => return,
            Played::IsAway => {
                if self.is_open(&command).await {
                    agenda.put(now.plus_ms(RETRY_AFTER_MS), Doing::Hears(command));
                }
                return;
            }
        };
        let told = acknowledge(&self.ingest, id, (BY, provenance)).await;
        let is_taken = told.is_ok();
        if is_to_be_tried_again(told) {
            agenda.put(now.plus_ms(RETRY_AFTER_MS), Doing::Hears(command));
        } else if let Some((answer, takes_ms)) = answer.filter(|_| is_taken) {
            let ends_at = now.plus_ms(takes_ms);
            agenda.put(ends_at, Doing::Answers(command.id, answer));
        }
    }

    /// Whether a command waits for its device still: it may have run out of time meanwhile.
    async fn is_open(&self, command: &Command) -> bool {
        let (store, key) = (self.ingest.store(), Some(command.device_key));
        let allowance = Store::own_allowance();
        let open = pending(store, (&Within::Whole, key), ALL, &allowance).await;
        open.is_ok_and(|open| open.iter().any(|one| one.id == command.id))
    }
}

/// Whether an answer of a device is given once more.
fn is_to_be_tried_again(told: Result<(), CommandError>) -> bool {
    let Err(error) = told else { return false };
    let passes = matches!(error, CommandError::Append(_) | CommandError::Store(_));
    // one that is over was taken back while the device was at work
    if !matches!(error, CommandError::Over { .. }) {
        tracing::warn!(error = %chain(&error), retried = passes, "a played device could not answer");
    }
    passes
}
