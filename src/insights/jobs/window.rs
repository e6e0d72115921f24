//! The grid of quarter hours in the site's time, and which of them the limits allow.

use crate::event::Instant;
use crate::insights::input::{HOUR, MINUTE};

use crate::insights::jobs::rates::{ANY_CLOSED, ANY_OPEN};
use crate::insights::jobs::schedule::{CellPlan, Local, Opening, Schedule};

/// A quarter of an hour.
pub const QUARTER: i64 = HOUR / 4;
const QUARTER_MINUTES: u16 = 15;
const WEEK_QUARTERS: usize = 7 * 24 * 4;
/// A job takes at most a day.
pub const DURATION_MINUTES_MAX: u32 = 24 * 60;

/// Whether a job needs the site to be open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hours {
    /// It may run at any hour.
    #[default]
    Any,
    /// The device is off when the site is closed.
    OpenOnly,
    /// Nobody may be disturbed.
    ClosedOnly,
}

/// What maintenance windows mean for a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Maintenance {
    /// They do not matter.
    #[default]
    Ignore,
    /// It must run inside of them.
    Inside,
    /// They are for others.
    Avoid,
}

/// A stretch of time, its end not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its first instant.
    pub from: Instant,
    /// The first instant after it.
    pub to: Instant,
}

/// What a job may not break.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Opening hours.
    pub hours: Hours,
    /// Maintenance windows.
    pub maintenance: Maintenance,
    /// When no job may run.
    pub blackouts: Vec<Stretch>,
    /// Other jobs on the same device.
    pub busy: Vec<Stretch>,
    /// The job must not start earlier.
    pub not_before: Option<Instant>,
    /// The job must have ended by then.
    pub deadline: Option<Instant>,
}

impl Limits {
    /// Each of them alone that may take a start, with its name.
    #[must_use]
    pub fn apart(&self) -> Vec<(&'static str, Self)> {
        let none = Self::default;
        let hours = Self {
            hours: self.hours,
            ..none()
        };
        let maintenance = Self {
            maintenance: self.maintenance,
            ..none()
        };
        let blackouts = Self {
            blackouts: self.blackouts.clone(),
            ..none()
        };
        let busy = Self {
            busy: self.busy.clone(),
            ..none()
        };
        let not_before = Self {
            not_before: self.not_before,
            ..none()
        };
        let deadline = Self {
            deadline: self.deadline,
            ..none()
        };
        let mut apart = vec![
            ("the opening hours (hours)", hours),
            ("the maintenance windows (maintenance)", maintenance),
            ("the blackouts (blackouts)", blackouts),
            ("other jobs on its devices", busy),
            ("the earliest start (notBefore)", not_before),
            ("the deadline (deadline)", deadline),
        ];
        apart.retain(|(_, alone)| *alone != none());
        apart
    }
}

/// A quarter of an hour and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quarter {
    /// When it begins.
    pub at: Instant,
    /// The same by the site's clock.
    pub local: Local,
    /// Whether the site is open.
    pub opening: Opening,
    /// So many of its first minutes the limits allow, up to the first that they do not.
    pub allowed_minutes: i64,
    /// Which rate holds, as [`crate::insights::jobs::rates::rates`] orders them.
    pub rate: usize,
    /// The part of an hour's transactions that falls into it.
    pub share: f64,
}

impl Quarter {
    /// Whether the limits allow a job in all of it.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        self.allowed_minutes * MINUTE == QUARTER
    }
}

/// The quarters of the next seven days of the site, and as many more as a job takes that starts in the last.
#[must_use]
pub fn grid(
    schedule: &Schedule,
    limits: &Limits,
    as_of: Instant,
    quarters_of_job: usize,
) -> Vec<Quarter> {
    let week = schedule.week();
    let first = quarter_from(as_of);
    let starts = starts(schedule, Instant(first));
    (0..)
        .zip(0..starts + quarters_of_job.saturating_sub(1))
        .map(|(step, _): (i64, usize)| {
            quarter(schedule, limits, &week, Instant(first + step * QUARTER))
        })
        .collect()
}

/// The first quarter of an hour that begins at an instant or after it.
#[must_use]
pub const fn quarter_from(at: Instant) -> i64 {
    let before = at.0.div_euclid(QUARTER) * QUARTER;
    if before == at.0 {
        before
    } else {
        before + QUARTER
    }
}

/// How many quarters pass until the clock on the wall is where it was a week before.
#[must_use]
pub fn starts(schedule: &Schedule, first: Instant) -> usize {
    let begin = schedule.local(first);
    let end = schedule.local(Instant(first.0 + 7 * 24 * HOUR));
    let day = 24 * 60;
    let ahead =
        (i32::from(end.minute) - i32::from(begin.minute) + day / 2).rem_euclid(day) - day / 2;
    let quarters = i64::try_from(WEEK_QUARTERS).unwrap_or(0) - i64::from(ahead / 15);
    usize::try_from(quarters).unwrap_or(WEEK_QUARTERS)
}

fn quarter(schedule: &Schedule, limits: &Limits, week: &[CellPlan], at: Instant) -> Quarter {
    let local = schedule.local(at);
    let opening = schedule.opening(local);
    let cell = local.hour_of_week();
    let open_quarters = week.get(cell).map_or(4, |cell| cell.open_quarters);
    let is_closed = opening == Opening::Closed;
    let (rate, share) = match (is_closed, open_quarters) {
        (true, 0) => (cell, 0.25),
        (true, _) => (ANY_CLOSED, 0.25),
        (false, 0) => (ANY_OPEN, 0.25),
        (false, open) => (cell, 1.0 / f64::from(open)),
    };
    let allowed_minutes = match free_minutes(limits, at) {
        0 => 0,
        free => free.min(filed_minutes(schedule, limits, local)),
    };
    Quarter {
        at,
        local,
        opening,
        allowed_minutes,
        rate,
        share,
    }
}

/// The minutes of a quarter by the clock on the wall, which is set otherwise between two quarters alone.
fn minutes(quarter: Local) -> impl Iterator<Item = (u16, Local)> {
    let minutes = 0..QUARTER_MINUTES;
    minutes.map(move |after| {
        let minute = quarter.minute + after;
        (after, Local { minute, ..quarter })
    })
}

/// Whether a maintenance window is filed for any minute of the seven days from an instant on.
#[must_use]
pub fn has_maintenance(schedule: &Schedule, as_of: Instant) -> bool {
    let first = as_of.0.div_euclid(QUARTER) * QUARTER;
    let quarters = (0..7 * 24 * HOUR / QUARTER).map(|step| Instant(first + step * QUARTER));
    let mut minutes = quarters.flat_map(|at| minutes(schedule.local(at)));
    minutes.any(|(_, minute)| schedule.is_maintenance(minute))
}

/// How many minutes of a quarter pass until the first that the filed hours do not allow: these are filed to the minute.
fn filed_minutes(schedule: &Schedule, limits: &Limits, quarter: Local) -> i64 {
    let is_any = limits.hours == Hours::Any && limits.maintenance == Maintenance::Ignore;
    let mut minutes = minutes(quarter).filter(|_| !is_any);
    let first = minutes.find(|(_, minute)| !is_filed(schedule, limits, *minute));
    i64::from(first.map_or(QUARTER_MINUTES, |(after, _)| after))
}

fn is_filed(schedule: &Schedule, limits: &Limits, local: Local) -> bool {
    let hours = match limits.hours {
        Hours::Any => true,
        Hours::OpenOnly => schedule.opening(local) == Opening::Open,
        Hours::ClosedOnly => schedule.opening(local) == Opening::Closed,
    };
    let maintenance = match limits.maintenance {
        Maintenance::Ignore => true,
        Maintenance::Inside => schedule.is_maintenance(local),
        Maintenance::Avoid => !schedule.is_maintenance(local),
    };
    hours && maintenance
}

/// How many minutes of a quarter pass until the first that is not free.
fn free_minutes(limits: &Limits, at: Instant) -> i64 {
    if limits.not_before.is_some_and(|from| at < from) {
        return 0;
    }
    let end = Instant(at.0 + QUARTER);
    let taken = limits.blackouts.iter().chain(&limits.busy);
    let taken = taken.filter(|taken| taken.from < end && at < taken.to);
    let taken = taken.map(|taken| taken.from);
    let first = taken.chain(limits.deadline).min().unwrap_or(end);
    let free = first.0.saturating_sub(at.0).div_euclid(MINUTE);
    free.clamp(0, i64::from(QUARTER_MINUTES))
}

/// Whether the limits allow every minute of a job that takes some quarters, the last one maybe in part.
#[must_use]
pub fn allows(taken: &[Quarter], duration_minutes: u32) -> bool {
    let Some((last, whole)) = taken.split_last() else {
        return false;
    };
    let before: i64 = whole.iter().map(|quarter| quarter.allowed_minutes).sum();
    let left = i64::from(duration_minutes) - before;
    whole.iter().all(Quarter::is_allowed) && left <= last.allowed_minutes
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
