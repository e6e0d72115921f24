//! The machine of a job: what its devices have brought it to, and what is to be done next. Pure: it
//! knows neither the log nor the clock.
//!
//! ```text
//!                      ┌────────────── PAUSED ─────────────┐
//!                      │ (resumed)      ▲ (paused)         │
//!                      ▼                │                  │ (all devices ended)
//!  SCHEDULED ──► QUEUED or SCHEDULED ──► RUNNING ──► COMPLETED or FAILED
//!      │                 │                │
//!      └─────────────────┴────────────────┴──► CANCELLED (from PAUSED too)
//!
//!  of a device:  WAITING ──► ISSUED ──► ACKNOWLEDGED ──► ended
//!                   ▲           │             │            ▲
//!                   └───────────┴─────────────┴────────────┘
//!                     (failed or no answer, and tried again)
//! ```
//!
//! A job that is cancelled, or stopped since too many devices failed, ends as CANCELLED on every device
//! that had not ended it.

use crate::event::{Instant, Position};
use crate::jobs::Plan;

/// How long a device that has been given a command, and has not acknowledged it, holds up the next
/// batch, unless it is known to be away.
pub const AWAY_AFTER_MS: i64 = 10_000;

/// State of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobState {
    /// Waits for its time.
    Scheduled,
    /// Is due, and no device has been given it.
    Queued,
    /// At least one device has been given it.
    Running,
    /// No further device is given it.
    Paused,
    /// Has ended, and no device failed.
    Completed,
    /// Has ended, and devices failed.
    Failed,
    /// Was stopped.
    Cancelled,
}

impl JobState {
    /// All states.
    pub const ALL: [Self; 7] = [
        Self::Scheduled,
        Self::Queued,
        Self::Running,
        Self::Paused,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];
    /// States of a job that has not ended.
    pub const OPEN: [Self; 4] = [Self::Scheduled, Self::Queued, Self::Running, Self::Paused];

    /// Its word on the wire and in the tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Scheduled => "SCHEDULED",
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// The state of a word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Whether the job has not ended.
    #[must_use]
    pub fn is_open(self) -> bool {
        Self::OPEN.contains(&self)
    }

    /// Whether the diagram has an arrow to a state.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match next {
            Self::Scheduled | Self::Queued => self == Self::Paused,
            Self::Running => matches!(self, Self::Scheduled | Self::Queued | Self::Paused),
            Self::Paused => matches!(self, Self::Scheduled | Self::Queued | Self::Running),
            Self::Completed | Self::Failed | Self::Cancelled => self.is_open(),
        }
    }
}

/// How a job ended on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ended {
    /// It did it.
    Completed,
    /// It tried and failed.
    Failed,
    /// It cannot do it.
    Error,
    /// No answer came in time.
    Timeout,
    /// It was stopped before.
    Cancelled,
}

impl Ended {
    /// All ends.
    pub const ALL: [Self; 5] = [
        Self::Completed,
        Self::Failed,
        Self::Error,
        Self::Timeout,
        Self::Cancelled,
    ];

    /// Its word on the wire and in the tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Error => "ERROR",
            Self::Timeout => "TIMEOUT",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// The end of a word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|end| end.word() == word)
    }

    /// Whether the device is tried again, if it may be: one that cannot do it at all is not.
    #[must_use]
    pub const fn is_retried(self) -> bool {
        matches!(self, Self::Failed | Self::Timeout)
    }
}

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
            Moved::Ended if is_same => Step::Waiting,
            Moved::Issued | Moved::Acknowledged | Moved::Ended => return,
        };
        if self.ended.is_none() {
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
    fn deadline(&self, plan: &Plan) -> Option<Instant> {
        let seconds = match self.step {
            _ if self.ended.is_some() => return None,
            Step::Waiting => return None,
            Step::Issued => plan.time_to_live_seconds,
            Step::Acknowledged => plan.timeout_seconds,
        };
        Some(self.at.plus_ms(i64::from(seconds) * 1_000))
    }

    /// From when on it may be given its next command, as far as it is concerned.
    fn due_at(&self, plan: &Plan) -> Instant {
        if self.attempt == 0 {
            Instant(0)
        } else {
            plan.retry_at(self.attempt, self.at)
        }
    }

    /// Until when it holds up the next batch; `None` while that is not known.
    fn holds_until(&self, openings: &impl Openings) -> Option<Instant> {
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
    /// It has ended in any way.
    Ended,
}

/// A job with its devices.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its state.
    pub state: JobState,
    /// How it is to be carried out.
    pub plan: Plan,
    /// Its devices, in their order.
    pub targets: Vec<Target>,
}

/// What is to be done next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Devices that are to be given their next command, by their place.
    pub issue: Vec<usize>,
    /// Devices whose command ran out of time, by their place.
    pub time_out: Vec<usize>,
    /// What the job becomes by itself, when no device has to be told anything before.
    pub becomes: Option<(JobState, Reason)>,
    /// When to look again at the latest, if nothing comes before.
    pub look_at: Option<Instant>,
}

/// Why a job moves by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// All its devices have ended it.
    Ended,
    /// A canary has failed.
    CanaryFailed,
    /// More devices have failed than it goes on with.
    TooManyFailed,
}

impl Decision {
    fn look(&mut self, at: Instant) {
        let earlier = self.look_at.map_or(at, |before| before.min(at));
        self.look_at = Some(earlier);
    }
}

/// Which devices may be given a command now, and when that changes.
pub trait Openings {
    /// Whether a device may be given a command at an instant; if not, from when on.
    fn opens(&self, device_key: i64, at: Instant) -> Opening;

    /// Whether a device is known to be away: it takes its command when it returns, and nobody waits for
    /// that.
    fn is_away(&self, device_key: i64) -> bool;
}

/// Whether something may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It may.
    Open,
    /// It may from an instant on.
    From(Instant),
    /// As far as can be seen it never may.
    Never,
}

impl Machine {
    /// Moves the job if the diagram has the arrow. One that is stopped ends on all devices.
    pub fn transit(&mut self, state: JobState, (at, position): (Instant, Position)) {
        if !self.state.may_become(state) {
            return;
        }
        self.state = state;
        if !state.is_open() {
            for target in &mut self.targets {
                target.end(Ended::Cancelled, (at, position));
            }
        }
    }

    /// Devices that have not ended it.
    #[must_use]
    pub fn left(&self) -> usize {
        let open = self.targets.iter().filter(|target| target.ended.is_none());
        open.count()
    }

    /// What is to be done at an instant.
    #[must_use]
    pub fn decide(&self, now: Instant, openings: &impl Openings) -> Decision {
        let mut decision = Decision::default();
        if !self.state.is_open() {
            return decision;
        }
        self.time_out(now, &mut decision);
        if !decision.time_out.is_empty() {
            // what they come to is seen when it is recorded
            return decision;
        }
        let failures = failed(&self.targets);
        let all_ended = self.left() == 0;
        let canary = self.canary();
        decision.becomes = if failed(canary) > 0 {
            Some((JobState::Failed, Reason::CanaryFailed))
        } else if self.plan.is_stopped_by(failures, self.targets.len()) && !all_ended {
            Some((JobState::Failed, Reason::TooManyFailed))
        } else if all_ended && failures == 0 {
            Some((JobState::Completed, Reason::Ended))
        } else if all_ended {
            Some((JobState::Failed, Reason::Ended))
        } else {
            None
        };
        if decision.becomes.is_none() && self.state != JobState::Paused {
            self.issue(now, openings, &mut decision);
        }
        decision
    }

    fn time_out(&self, now: Instant, decision: &mut Decision) {
        for (place, target) in self.targets.iter().enumerate() {
            match target.deadline(&self.plan) {
                Some(deadline) if deadline <= now => decision.time_out.push(place),
                Some(deadline) => decision.look(deadline),
                None => {}
            }
        }
    }

    fn canary(&self) -> &[Target] {
        let canary = usize::try_from(self.plan.canary_devices).unwrap_or(usize::MAX);
        self.targets.get(..canary).unwrap_or(&self.targets[..])
    }

    /// The next batch, when the last one is over.
    fn issue(&self, now: Instant, openings: &impl Openings, decision: &mut Decision) {
        let canary = self.canary();
        let all_canaries_ended = canary.iter().all(|target| target.ended.is_some());
        let some = if self.plan.canary_devices > 0 && !all_canaries_ended {
            canary
        } else {
            &self.targets[..]
        };
        let size = usize::try_from(self.plan.batch_size.unwrap_or(u32::MAX)).unwrap_or(usize::MAX);
        if self.plan.batch_size.is_some() && !self.is_batch_over(now, openings, decision) {
            return;
        }
        for (place, target) in some.iter().enumerate() {
            if target.ended.is_some() || target.step != Step::Waiting {
                continue;
            }
            let due_at = target.due_at(&self.plan);
            let opening = if due_at > now {
                Opening::From(due_at)
            } else {
                openings.opens(target.device_key, now)
            };
            match opening {
                Opening::Open if decision.issue.len() < size => decision.issue.push(place),
                Opening::Open => break,
                Opening::From(at) => decision.look(at),
                Opening::Never => {}
            }
        }
    }

    /// Whether no device holds up the next batch, and the pause after the last one is over.
    fn is_batch_over(
        &self,
        now: Instant,
        openings: &impl Openings,
        decision: &mut Decision,
    ) -> bool {
        let pause_ms = i64::from(self.plan.batch_pause_seconds) * 1_000;
        let mut over_at = Instant(0);
        for target in self.targets.iter().filter(|target| target.attempt > 0) {
            match target.holds_until(openings) {
                Some(until) => over_at = over_at.max(until.plus_ms(pause_ms)),
                None => return false,
            }
        }
        if over_at > now {
            decision.look(over_at);
        }
        over_at <= now
    }
}

/// Devices that have ended it otherwise than was meant.
fn failed(targets: &[Target]) -> usize {
    let is_failed = |target: &&Target| target.ended.is_some_and(|end| end != Ended::Completed);
    targets.iter().filter(is_failed).count()
}
