//! Jobs: what people have devices do.
//!
//! A job is made ([`create`]) for the devices of a [`Selection`] and carried out by a [`Plan`]. The
//! [`Orchestrator`] gives each device a command when its turn has come; the device acknowledges it and
//! tells how it ended ([`acknowledge`], [`complete`]), and so the [`machine`] moves on. Every step is an
//! event with a fixed id, decided on a version of the job: to do it twice, or on two nodes, is to do it
//! once, and of two people who decide at once one wins. Nothing of it is only in memory.
//!
//! When a job disturbs least ([`best_windows`]) is weighed from what is known of its devices, and of one that is to
//! start then the window of each site stands in its plan.
//!
//! On a device a job ends with the first outcome that is recorded while it is open, whoever records it.

mod away;
mod bars;
mod best;
mod commands;
mod create;
mod cron;
mod deliveries;
mod endings;
mod executor;
mod expiry;
pub mod machine;
#[cfg(test)]
mod machine_tests;
mod moves;
mod orchestrator;
mod payload;
mod plan;
mod planned;
mod recurrence;
mod retold;
mod selection;
mod standing;
mod steps;
mod target;
mod windows;

use thiserror::Error;

use crate::kinds::Refusal;
use crate::store::{AppendError, StoreError};

pub use best::{
    AtSite, BEST_DEVICES_MAX, BEST_SITES_MAX, RunHours, RunMaintenance, Wanted, best_windows,
};
pub use commands::{Answer, CommandError, CommandId, acknowledge, complete};
pub(crate) use create::first_step;
pub use create::{NewJob, create, create_in_windows, windows_given};
pub use cron::read_cron;
pub use deliveries::{
    COMMANDS_MAX, Command, Deliveries, Followed, Happening, most_urgent, pending,
};
pub use executor::{Executor, Played, Run};
pub use moves::{cancel, pause, resume, retry};
pub use orchestrator::Orchestrator;
pub(crate) use orchestrator::job_of;
pub use payload::{JobType, TYPES, UPDATE_CONFIGURATION};
pub(crate) use payload::{Shown, faults_of, validator};
pub use plan::{
    BACKOFF_SECONDS_MAX, BATCH_MAX, BestWindow, PAUSE_SECONDS_MAX, Plan, Priority, RETRIES_MAX,
    Start, TIME_TO_LIVE_SECONDS_MAX, TIMEOUT_SECONDS_MAX,
};
pub use recurrence::first_time;
pub use selection::{Conditions, NotThere, Selection};
pub use windows::first_window;

/// Devices at most of a job.
pub const TARGETS_MAX: usize = 10_000;
/// How often a decision is made anew when somebody else has decided meanwhile.
const DECISIONS_MAX: usize = 16;

/// Why a job was not made or moved.
#[derive(Debug, Error)]
pub enum JobError {
    /// There is no such job.
    #[error("there is no such job")]
    Unknown,
    /// It is also for devices that whoever commands it does not reach.
    #[error(
        "the job is for devices of other sites too, and is commanded by whoever reaches all of them"
    )]
    Shared,
    /// The diagram has no such arrow.
    #[error("the job is {state}, and cannot be {wanted} from there")]
    WrongState {
        /// Its state.
        state: &'static str,
        /// What it was to be.
        wanted: &'static str,
    },
    /// It names no device.
    #[error("the job is for no device")]
    NoTarget,
    /// It names more devices than a job may have.
    #[error("a job is for at most {TARGETS_MAX} devices: make several of it")]
    TooManyTargets,
    /// It tells a device what does not hold any more.
    #[error(
        "{parameter} is another on {device} by now: setConfiguration tells a device what holds, also the same again"
    )]
    Superseded {
        /// The parameter.
        parameter: String,
        /// The device.
        device: String,
    },
    /// None of its devices would ever be given it.
    #[error("the job would never start: {why}")]
    NeverStarts {
        /// Why not.
        why: String,
    },
    /// Others moved it each time that it was read.
    #[error("the job was moved by others at the same time; try again")]
    Contended,
    /// It is not what the caller has read.
    #[error("the job has moved: its version is {version}")]
    Stale {
        /// Position of its last step.
        version: i64,
    },
    /// Other events have the ids of its steps, also those that are taken in their place.
    #[error("other events have the ids under which its steps are recorded")]
    Taken,
    /// The key was used before for another job.
    #[error("the idempotency key was used before for another job")]
    OtherRepeat,
    /// One of its values is out of bounds.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The log cannot be read.
    #[error("cannot read the job")]
    Store(#[from] StoreError),
    /// The log cannot be written.
    #[error("cannot record the job")]
    Append(#[from] AppendError),
}

impl From<Refusal> for JobError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
