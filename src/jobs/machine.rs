//! The machine of a job: what its devices have brought it to, and what is to be done next. Pure: it
//! knows neither the log nor the clock.
//!
//! ```text
//!                      ┌────────────── PAUSED ─────────────┐
//!                      │ (resumed)      ▲ (paused)         │
//!                      ▼                │                  │ (all devices ended)
//!  SCHEDULED ──► QUEUED or SCHEDULED ──► RUNNING ──► COMPLETED, FAILED or CANCELLED
//!      │                 │                │
//!      └─────────────────┴────────────────┴──► CANCELLED (from PAUSED too)
//!
//!  of a device:  WAITING ──► ISSUED ──► ACKNOWLEDGED ──► ended
//!                   ▲           │             │            ▲
//!                   └───────────┴─────────────┴────────────┘
//!                     (failed or no answer, and tried again)
//! ```
//!
//! A command that a device has not taken by the end of its site's maintenance window, of a job that is done
//! in them alone, is taken back, and given anew in the next window, unless the job is older by then than a
//! command may wait. It is no failure of the device.
//!
//! A job that is cancelled, or stopped since too many devices failed, ends as CANCELLED on every device
//! that had not ended it. It ends so, too, on a device that it is not given for good; that is no failure,
//! and when it was so with all of them, or with all canaries, the job is CANCELLED.

pub use super::target::{Moved, Step, Target};
use crate::event::{Instant, Position};
use crate::jobs::{Plan, Start};

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

/// A job with its devices.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its state.
    pub state: JobState,
    /// When it was made.
    pub created_at: Instant,
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
    /// Devices whose command is taken back until their next maintenance window, by their place.
    pub withdraw: Vec<usize>,
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
    /// All canaries have ended, and none has done it.
    NoCanary,
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
    /// It may until an instant.
    Until(Instant),
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
        self.time_out(now, openings, &mut decision);
        if !decision.time_out.is_empty() || !decision.withdraw.is_empty() {
            // what they come to is seen when it is recorded
            return decision;
        }
        let failures = failed(&self.targets);
        let all_ended = self.left() == 0;
        let has_ended = |end: Ended| self.targets.iter().any(|one| one.ended == Some(end));
        let canary = self.canary();
        let is_tried = canary
            .iter()
            .any(|one| one.ended.is_none_or(|end| end == Ended::Completed));
        decision.becomes = if failed(canary) > 0 {
            Some((JobState::Failed, Reason::CanaryFailed))
        } else if !canary.is_empty() && !is_tried && !all_ended {
            Some((JobState::Cancelled, Reason::NoCanary))
        } else if self.plan.is_stopped_by(failures, self.targets.len()) && !all_ended {
            Some((JobState::Failed, Reason::TooManyFailed))
        } else if all_ended
            && failures == 0
            && has_ended(Ended::Cancelled)
            && !has_ended(Ended::Completed)
        {
            Some((JobState::Cancelled, Reason::Ended))
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

    fn time_out(&self, now: Instant, openings: &impl Openings, decision: &mut Decision) {
        for (place, target) in self.targets.iter().enumerate() {
            match target.deadline(&self.plan) {
                Some(deadline) if deadline <= now => decision.time_out.push(place),
                Some(_) if self.is_window_over(target, (now, openings), decision) => {
                    if self.expires_at() <= now {
                        decision.time_out.push(place);
                    } else {
                        decision.withdraw.push(place);
                    }
                }
                Some(deadline) => decision.look(deadline),
                None if target.was_taken_back() && self.expires_at() <= now => {
                    decision.time_out.push(place);
                }
                None if target.was_taken_back() => decision.look(self.expires_at()),
                None => {}
            }
        }
    }

    /// Whether a device has not taken its command, and its site has no maintenance window any more, of a
    /// job that is done in them alone.
    fn is_window_over(
        &self,
        target: &Target,
        (now, openings): (Instant, &impl Openings),
        decision: &mut Decision,
    ) -> bool {
        if target.step != Step::Issued || self.plan.start != Start::InMaintenanceWindow {
            return false;
        }
        match openings.opens(target.device_key, now) {
            Opening::Open => false,
            Opening::Until(end) => {
                decision.look(end);
                false
            }
            Opening::From(_) | Opening::Never => true,
        }
    }

    /// From when on a command that was not taken in one window is not given in the next.
    fn expires_at(&self) -> Instant {
        let waits_ms = i64::from(self.plan.time_to_live_seconds) * 1_000;
        self.created_at.plus_ms(waits_ms)
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
                Opening::Open | Opening::Until(_) if decision.issue.len() < size => {
                    decision.issue.push(place);
                }
                Opening::Open | Opening::Until(_) => break,
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

/// Devices that have failed it; one on which it was stopped has not.
fn failed(targets: &[Target]) -> usize {
    let is_meant = [None, Some(Ended::Completed), Some(Ended::Cancelled)];
    let is_failed = |target: &&Target| !is_meant.contains(&target.ended);
    targets.iter().filter(is_failed).count()
}
