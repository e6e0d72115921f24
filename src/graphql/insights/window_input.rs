//! What is said of the window in which a job is to run.

use async_graphql::{Enum, InputObject};

use crate::graphql::job_input::JobPriority;
use crate::graphql::scalars::DateTime;
use crate::insights::jobs::window::{DURATION_MINUTES_MAX, Stretch};
use crate::jobs::{RunHours, RunMaintenance, Wanted};

/// At which hours of its site a job may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(in crate::graphql) enum JobHours {
    /// At any hour at which its devices are on: while their site is closed not if one of them was never heard of then.
    WhenOn,
    /// At any hour, also if a device was never heard of then.
    Any,
    /// While the site is open. It needs filed hours.
    OpenOnly,
    /// While the site is closed. It needs filed hours.
    ClosedOnly,
}

impl From<JobHours> for RunHours {
    fn from(hours: JobHours) -> Self {
        match hours {
            JobHours::WhenOn => Self::WhenOn,
            JobHours::Any => Self::Any,
            JobHours::OpenOnly => Self::OpenOnly,
            JobHours::ClosedOnly => Self::ClosedOnly,
        }
    }
}

/// What the maintenance windows of its site are to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(in crate::graphql) enum JobMaintenance {
    /// It runs inside of them, at a site that has filed any for the next 7 days, and elsewhere at any time.
    WhereFiled,
    /// It runs inside of them, and else not at all.
    Inside,
    /// It runs outside of them.
    Avoid,
    /// They do not matter.
    Ignore,
}

impl From<JobMaintenance> for RunMaintenance {
    fn from(maintenance: JobMaintenance) -> Self {
        match maintenance {
            JobMaintenance::WhereFiled => Self::WhereFiled,
            JobMaintenance::Inside => Self::Inside,
            JobMaintenance::Avoid => Self::Avoid,
            JobMaintenance::Ignore => Self::Ignore,
        }
    }
}

/// A time in which no job may run.
#[derive(Clone, Copy, Debug, InputObject)]
pub(in crate::graphql) struct BlackoutInput {
    /// Its first instant.
    from: DateTime,
    /// The first instant after it.
    to: DateTime,
}

/// The window in which a job is to run, within 7 days.
#[derive(Debug, InputObject)]
pub(in crate::graphql) struct BestWindowInput {
    /// Minutes for which a device cannot sell (1 to 1440); as long as its `timeoutSeconds` when it is left out.
    pub(in crate::graphql) duration_minutes: Option<i32>,
    /// It starts at this instant or later.
    pub(in crate::graphql) not_before: Option<DateTime>,
    /// It has ended by this instant.
    pub(in crate::graphql) deadline: Option<DateTime>,
    /// At which hours of its site it may run.
    #[graphql(default_with = "JobHours::WhenOn")]
    pub(in crate::graphql) hours: JobHours,
    /// What the maintenance windows of its site are to it.
    #[graphql(default_with = "JobMaintenance::WhereFiled")]
    pub(in crate::graphql) maintenance: JobMaintenance,
    /// Times in which it may not run; at most 100.
    #[graphql(default)]
    pub(in crate::graphql) blackouts: Vec<BlackoutInput>,
    /// Transactions that it is worth that it need not be tried again (0 to 1000000).
    #[graphql(default = 1.0)]
    pub(in crate::graphql) retry_cost: f64,
}

impl BestWindowInput {
    /// What is asked of a job of a type, which takes so many minutes unless it is said how many.
    pub(in crate::graphql) fn read(
        &self,
        job_type: &str,
        priority: JobPriority,
        minutes: u32,
    ) -> Wanted {
        let minutes = minutes.clamp(1, DURATION_MINUTES_MAX);
        // what is negative is out of bounds, as 0 is
        let given = |minutes: i32| u32::try_from(minutes).unwrap_or(0);
        let blackouts = self.blackouts.iter().map(|blackout| Stretch {
            from: blackout.from.0,
            to: blackout.to.0,
        });
        Wanted {
            job_type: job_type.to_owned(),
            duration_minutes: self.duration_minutes.map_or(minutes, given),
            priority: priority.into(),
            retry_cost: self.retry_cost,
            hours: self.hours.into(),
            maintenance: self.maintenance.into(),
            blackouts: blackouts.collect(),
            not_before: self.not_before.as_ref().map(|at| at.0),
            deadline: self.deadline.as_ref().map(|at| at.0),
        }
    }
}
