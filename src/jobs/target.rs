//! A device of a job: how far its command is, and when it has to have moved. Pure, as the machine is that
//! it is a part of.

use super::machine::{Ended, Openings};
use crate::event::{Instant, Position};
use crate::jobs::Plan;

/// How long a device that has been given a command, and has not acknowledged it, holds up the next
/// batch, unless it is known to be away.
pub(super) const AWAY_AFTER_MS: i64 = 10_000;

/// How far the command is that a device was given last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The device is to be given the next one.
    Waiting,
    /// The device has been given it.
    Issued,
    /// The device works on it.
    Acknowledged,
}

impl Step {
    /// Its word in the tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::Issued => "ISSUED",
            Self::Acknowledged => "ACKNOWLEDGED",
        }
    }

    /// The step of a word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Waiting, Self::Issued, Self::Acknowledged];
        all.into_iter().find(|step| step.word() == word)
    }
}

/// A device of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Key of the device.
    pub device_key: i64,
    /// Which command it was given last, from 1; 0 when none yet.
    pub attempt: u32,
    /// How far that is.
    pub step: Step,
    /// Since when, or when it ended.
    pub at: Instant,
    /// Position of the event since which it is so.
    pub position: Position,
    /// How the job ended on it.
    pub ended: Option<Ended>,
    /// How many of its commands have failed; one that was taken back has not.
    pub failures: u32,
    /// When the last of these did.
    pub failed_at: Instant,
}

impl Target {
    /// A device that has been given nothing yet.
    #[must_use]
    pub const fn new(device_key: i64) -> Self {
        Self {
            device_key,
            attempt: 0,
            step: Step::Waiting,
            at: Instant(0),
            position: Position(0),
            ended: None,
            failures: 0,
            failed_at: Instant(0),
        }
    }

    /// Moves it if the diagram has the arrow: the command of an attempt was issued, acknowledged, or
    /// ended so that there may be another.
    pub fn command(&mut self, attempt: u32, moved: Moved, (at, position): (Instant, Position)) {
        let is_next = self.step == Step::Waiting && attempt == self.attempt + 1;
        let is_same = attempt == self.attempt && self.step != Step::Waiting;
        let step = match moved {
            Moved::Issued if is_next => Step::Issued,
            Moved::Acknowledged if is_same && self.step == Step::Issued => Step::Acknowledged,
            Moved::Failed | Moved::Ended if is_same => Step::Waiting,
            Moved::Issued | Moved::Acknowledged | Moved::Failed | Moved::Ended => return,
        };
        if self.ended.is_none() {
            if moved == Moved::Failed {
                (self.failures, self.failed_at) = (self.failures + 1, at);
            }
            (self.attempt, self.step) = (attempt, step);
            (self.at, self.position) = (at, position);
        }
    }

    /// Ends it, unless it has ended.
    pub fn end(&mut self, ended: Ended, (at, position): (Instant, Position)) {
        if self.ended.is_none() {
            self.ended = Some(ended);
            (self.at, self.position) = (at, position);
        }
    }

    /// By when its command must have moved.
    pub(super) fn deadline(&self, plan: &Plan) -> Option<Instant> {
        let seconds = match self.step {
            _ if self.ended.is_some() => return None,
            Step::Waiting => return None,
            Step::Issued => plan.time_to_live_seconds,
            Step::Acknowledged => plan.timeout_seconds,
        };
        Some(self.at.plus_ms(i64::from(seconds) * 1_000))
    }

    /// Whether it waits for its next command since the last one was taken back, whatever came before.
    pub(super) fn was_taken_back(&self) -> bool {
        self.ended.is_none() && self.step == Step::Waiting && self.attempt > self.failures
    }

    /// From when on it may be given its next command, as far as it is concerned.
    pub(super) fn due_at(&self, plan: &Plan) -> Instant {
        if self.failures == 0 {
            Instant(0)
        } else {
            plan.retry_at(self.failures, self.failed_at)
        }
    }

    /// Until when it holds up the next batch; `None` while that is not known.
    pub(super) fn holds_until(&self, openings: &impl Openings) -> Option<Instant> {
        match (self.ended, self.step) {
            (Some(_), _) | (None, Step::Waiting) => Some(self.at),
            (None, Step::Issued) if openings.is_away(self.device_key) => Some(self.at),
            (None, Step::Issued) => Some(self.at.plus_ms(AWAY_AFTER_MS)),
            (None, Step::Acknowledged) => None,
        }
    }
}

/// How a command was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The device was given it.
    Issued,
    /// The device works on it.
    Acknowledged,
    /// The device has failed it.
    Failed,
    /// It has ended otherwise.
    Ended,
}
