//! A job in the memory of the orchestrator: as it was read, moved on by what is recorded since.

use std::collections::{HashMap, HashSet};

use entity::job_outcomes::Column;
use entity::{command_transitions as command, job_transitions as transition};

use super::JobError;
use super::away::Away;
use super::machine::{Decision, Ended, JobState, Moved, Opening, Openings, Reason};
use super::plan::{Plan, Start};
use super::recurrence::recur;
use super::standing::Standing;
use super::steps::{self, OfJob, commanded, moved};
use super::windows::Windows;
use crate::event::{Event, Instant, NewEvent, Position, Provenance};
use crate::history::fleet;
use crate::ingest::Ingest;
use crate::kinds::Kind;
use crate::projections::settings::CONFIGURED;
use crate::store::{EntityType, Expect, Names, Store};

/// Devices at most whose steps are recorded at once: with their outcomes they are one request.
pub(super) const DEVICES_AT_ONCE: usize = 450;
/// Who moves jobs by itself.
pub(super) const BY: &str = "server";

/// A job in memory.
#[derive(Debug)]
pub(super) struct Retold {
    pub(super) standing: Standing,
    pub(super) provenances: HashMap<i64, Provenance>,
    /// Those of its devices that are out of use for good.
    pub(super) retired: HashSet<i64>,
    windows: Option<Windows>,
    /// Whether something has moved since it was decided on last.
    has_moved: bool,
    /// When it is to be looked at though nothing has moved.
    look_at: Option<Instant>,
    /// Nothing is decided before what was recorded of it is known.
    settled_at: Position,
    /// Whether all that there is to be told of a job that has ended is told.
    is_told: bool,
}

/// Whether a device is out of use for good, as it is registered now.
pub(super) async fn is_retired(store: &Store, device_key: i64) -> Result<bool, JobError> {
    let allowance = Store::own_allowance();
    let devices = fleet::devices_by_key(store, &[device_key], &allowance).await?;
    Ok(devices.values().any(|row| row.is_retired()))
}

impl Retold {
    pub(super) async fn read(ingest: &Ingest, job_id: &str) -> Result<Self, JobError> {
        let standing = Standing::read(ingest.store(), job_id).await?;
        Self::of(ingest, standing).await
    }

    pub(super) async fn of(ingest: &Ingest, standing: Standing) -> Result<Self, JobError> {
        let targets = standing.machine.targets.iter();
        let keys: Vec<i64> = targets.map(|target| target.device_key).collect();
        let (store, allowance) = (ingest.store(), Store::own_allowance());
        let devices = fleet::devices_by_key(store, &keys, &allowance).await?;
        let retired = devices.iter();
        let retired = retired.filter(|(_, row)| row.is_retired());
        Ok(Self {
            provenances: fleet::provenances(store, devices.values(), &allowance).await?,
            retired: retired.map(|(key, _)| *key).collect(),
            standing,
            windows: None,
            has_moved: true,
            look_at: None,
            settled_at: Position(0),
            is_told: false,
        })
    }

    /// Whether nothing remains to be done.
    pub(super) fn is_over(&self) -> bool {
        !self.standing.machine.state.is_open() && self.is_told
    }

    /// Whether it has ended, and something remains to be told of that.
    pub(super) fn is_ending(&self) -> bool {
        !self.standing.machine.state.is_open() && !self.is_told
    }

    /// Looks again at an instant, and not before.
    pub(super) const fn put_off(&mut self, until: Instant) {
        (self.has_moved, self.look_at) = (false, Some(until));
    }

    /// Whether something may have to be done.
    pub(super) fn is_due(&self, known: Position, now: Instant) -> bool {
        let is_time = self.look_at.is_some_and(|at| at <= now);
        known >= self.settled_at && (self.has_moved || is_time)
    }

    /// Whether a device is one of its own.
    pub(super) fn has_device(&self, device_key: i64) -> bool {
        self.standing.places.contains_key(&device_key)
    }

    /// Moves on when a device is registered or retired.
    pub(super) fn hear_of_device(&mut self, device_key: i64, is_retired: bool) {
        if self.has_device(device_key) {
            self.has_moved = true;
            if is_retired {
                self.retired.insert(device_key);
            } else {
                self.retired.remove(&device_key);
            }
        }
    }

    /// Moves on with an event of the job; one that was known when the job was read changes nothing.
    pub(super) fn hear(&mut self, event: &Event, now: Instant) {
        self.has_moved = true;
        // what a clock that was ahead has stamped counts from now on
        let when = (event.recorded_at.min(now), event.position);
        let fact = &event.fact;
        if fact.kind == Kind::JobTransition {
            if event.position.0 > self.standing.job.position {
                self.transit(event, when);
            }
            return;
        }
        let (device, is_command) = if fact.kind == Kind::CommandTransition {
            (fact.cell(command::Column::DeviceKey), true)
        } else {
            (fact.cell(Column::DeviceKey), false)
        };
        let place = device
            .int()
            .and_then(|key| self.standing.places.get(&key).copied());
        let Some(place) = place else { return };
        let Some(target) = self.standing.machine.targets.get_mut(place) else {
            return;
        };
        if is_command {
            let attempt = fact.cell(command::Column::Attempt).int();
            let attempt = attempt.and_then(|attempt| u32::try_from(attempt).ok());
            let moved = match fact.cell(command::Column::State).text() {
                Some("ISSUED") => Moved::Issued,
                Some("ACKNOWLEDGED") => Moved::Acknowledged,
                Some("FAILED" | "ERROR" | "TIMEOUT") => Moved::Failed,
                _ => Moved::Ended,
            };
            target.command(attempt.unwrap_or_default(), moved, when);
        } else if fact.cell(Column::Scope).text() == Some("DEVICE") {
            let ended = fact.cell(Column::Status).text().and_then(Ended::of_word);
            let counts = target.ended.is_none() || target.ended == Some(Ended::Cancelled);
            if let Some(ended) = ended.filter(|_| counts) {
                target.end(ended, when);
                if let Some(outcome) = self.standing.outcomes.get_mut(place)
                    && target.ended == Some(ended)
                {
                    outcome.get_or_insert(event.position.0);
                }
            }
        }
    }

    fn transit(&mut self, event: &Event, when: (Instant, Position)) {
        let state = event.fact.cell(transition::Column::State).text();
        if let Some(state) = state.and_then(JobState::of_word) {
            self.standing.machine.transit(state, when);
        }
        self.standing.job.changed_at = event.fact.occurred_at.0;
        self.standing.job.position = event.position.0;
        self.standing.version += 1;
    }

    /// Does what is due.
    ///
    /// # Errors
    /// [`JobError::Contended`] when it has moved since it was read: it is to be read anew.
    pub(super) async fn act(
        &mut self,
        (ingest, away): (&Ingest, &Away),
        now: Instant,
    ) -> Result<(), JobError> {
        (self.has_moved, self.look_at) = (false, None);
        if !self.standing.machine.state.is_open() {
            if !self.is_told {
                let unmoved = self.name_anew(ingest.store()).await?;
                self.tell_of_end(ingest, &unmoved).await?;
                self.is_told = true;
            }
            return Ok(());
        }
        if matches!(self.standing.machine.plan.start, Start::Recurring(_)) {
            if self.standing.machine.state == JobState::Scheduled {
                self.look_at = Some(recur(ingest, &self.standing, now).await?);
            }
            return Ok(());
        }
        let retired = self.retired();
        if !retired.is_empty() {
            self.pass_over(ingest, &retired, now).await?;
            self.settled_at = ingest.store().head();
            return Ok(());
        }
        let store = ingest.store();
        let plan = &self.standing.machine.plan;
        let openings = Fleet {
            not_before: match plan.start {
                Start::At(at) => at,
                Start::Now | Start::InMaintenanceWindow | Start::Recurring(_) => Instant(0),
            },
            starts: starts(plan, store),
            windows: self.windows(store, now).await?,
            names: store.names(),
            away,
        };
        let decision = self.standing.machine.decide(now, &openings);
        self.look_at = decision.look_at;
        if let Some(windows) = &self.windows {
            let again = windows.read_until();
            self.look_at = Some(self.look_at.map_or(again, |at| at.min(again)));
        }
        self.carry_out(ingest, &decision, now).await
    }

    /// For each site, whether it has a maintenance window now, if the job waits for them.
    async fn windows(
        &mut self,
        store: &Store,
        now: Instant,
    ) -> Result<Option<HashMap<i64, Opening>>, JobError> {
        let machine = &self.standing.machine;
        if machine.plan.start != Start::InMaintenanceWindow {
            return Ok(None);
        }
        let read = self.windows.take();
        let windows = if let Some(windows) = read.filter(|windows| windows.hold_at(now)) {
            windows
        } else {
            let waiting = machine
                .targets
                .iter()
                .filter(|target| target.ended.is_none());
            let keys = waiting.map(|target| target.device_key);
            Windows::read(store, keys, now).await?
        };
        let at = windows.at(now);
        self.windows = Some(windows);
        Ok(Some(at))
    }

    async fn carry_out(
        &mut self,
        ingest: &Ingest,
        decision: &Decision,
        now: Instant,
    ) -> Result<(), JobError> {
        if !decision.time_out.is_empty() {
            self.time_out(ingest, &decision.time_out, now).await?;
        } else if !decision.withdraw.is_empty() {
            self.withdraw(ingest, &decision.withdraw, now).await?;
        } else if let Some(becomes) = decision.becomes {
            self.end(ingest, becomes, now).await?;
        } else if !decision.issue.is_empty() {
            let configured = self.configured(ingest.store()).await?;
            let barred = self.barred(ingest.store(), &decision.issue).await?;
            if barred.is_empty() {
                self.issue(ingest, &decision.issue, configured, now).await?;
            } else {
                self.pass_over(ingest, &barred, now).await?;
            }
        } else {
            return Ok(());
        }
        self.settled_at = ingest.store().head();
        Ok(())
    }

    /// That nobody sets what a job tells while it is decided whether that still holds.
    async fn configured(&self, store: &Store) -> Result<Option<Expect>, JobError> {
        if !self.standing.machine.plan.is_configuration {
            return Ok(None);
        }
        let version = store.version(CONFIGURED).await?;
        Ok(Some(Expect::reading(CONFIGURED.to_owned(), version)))
    }

    /// Gives devices their next commands. With the first, the job begins to run.
    async fn issue(
        &mut self,
        ingest: &Ingest,
        places: &[usize],
        configured: Option<Expect>,
        now: Instant,
    ) -> Result<(), JobError> {
        let begins = self.standing.machine.state != JobState::Running;
        let mut expect = self.standing.unmoved();
        for (ordinal, places) in places.chunks(DEVICES_AT_ONCE * 2 - 1).enumerate() {
            let mut events = Vec::with_capacity(places.len() + 1);
            if begins && ordinal == 0 {
                let why = (BY, None);
                events.push(moved(&self.standing.job, JobState::Running, why, now)?);
            }
            for place in places {
                let Some((device_id, attempt, how)) = self.device(ingest, *place, now).await?
                else {
                    continue;
                };
                let of = self.of_job();
                let device = (device_id.as_str(), attempt + 1);
                let draft = commanded((of.job_id, of.job_type), device, "ISSUED", how);
                events.push(draft.set(command::Column::ChangedBy, BY).finish()?);
            }
            let mut expected = vec![expect.clone()];
            expected.extend(configured.clone());
            self.record(ingest, events, expected).await?;
            if begins && ordinal == 0 {
                expect.version += 1;
            }
        }
        Ok(())
    }

    /// Ends the job.
    async fn end(
        &mut self,
        ingest: &Ingest,
        (state, reason): (JobState, Reason),
        now: Instant,
    ) -> Result<(), JobError> {
        let why = match reason {
            Reason::Ended => None,
            Reason::CanaryFailed => Some("a canary failed"),
            Reason::NoCanary => Some("it is given to no canary any more"),
            Reason::TooManyFailed => Some("too many devices failed"),
        };
        let mut events = vec![moved(&self.standing.job, state, (BY, why), now)?];
        if reason == Reason::Ended {
            let outcomes = self.outcomes(ingest).await?;
            events.push(self.ended(state, &outcomes, now)?);
        }
        self.record(ingest, events, vec![self.standing.unmoved()])
            .await?;
        // what became of its devices is told, and of the job with its last step
        self.is_told = reason == Reason::Ended;
        Ok(())
    }

    /// The id of a device, which of its commands it has, and what is said of an event of it.
    pub(super) async fn device(
        &self,
        ingest: &Ingest,
        place: usize,
        at: Instant,
    ) -> Result<Option<(String, u32, (Instant, Provenance))>, JobError> {
        let Some(target) = self.standing.machine.targets.get(place) else {
            return Ok(None);
        };
        let id = ingest.store().id(target.device_key).await?;
        let provenance = self.provenances.get(&target.device_key).copied();
        let how = (at, provenance.unwrap_or(Provenance::Real));
        Ok(id.map(|id| (id.to_string(), target.attempt, how)))
    }

    pub(super) fn of_job(&self) -> OfJob<'_> {
        OfJob::of(&self.standing.job)
    }

    /// Records events of the job, on what is expected.
    ///
    /// # Errors
    /// [`JobError::Contended`] when that has changed.
    pub(super) async fn record(
        &self,
        ingest: &Ingest,
        events: Vec<NewEvent>,
        expect: Vec<Expect>,
    ) -> Result<(), JobError> {
        let job_id = &self.standing.job.job_id;
        if steps::record(ingest, job_id, events, expect).await? {
            Ok(())
        } else {
            Err(JobError::Contended)
        }
    }
}

/// When the devices of each site are given a job that starts when that disturbs least there.
fn starts(plan: &Plan, store: &Store) -> HashMap<i64, Instant> {
    let windows = plan.best_windows.iter();
    let start = windows.filter_map(|window| {
        let site = store.names().key(EntityType::Site, &window.site_id)?;
        Some((site, window.starts_at))
    });
    start.collect()
}

/// When devices may be given commands, and which of them are away.
struct Fleet<'a> {
    not_before: Instant,
    /// By site, when each has a start of its own.
    starts: HashMap<i64, Instant>,
    /// By site, when it is to be in a maintenance window.
    windows: Option<HashMap<i64, Opening>>,
    names: &'a Names,
    away: &'a Away,
}

impl Openings for Fleet<'_> {
    fn opens(&self, device_key: i64, at: Instant) -> Opening {
        let site = self.names.site_of_device(device_key);
        let start = site.and_then(|site| self.starts.get(&site)).copied();
        let not_before = start.unwrap_or(self.not_before);
        if at < not_before {
            return Opening::From(not_before);
        }
        let Some(windows) = &self.windows else {
            return Opening::Open;
        };
        let opening = site.and_then(|site| windows.get(&site));
        opening.copied().unwrap_or(Opening::Never)
    }

    fn is_away(&self, device_key: i64) -> bool {
        self.away.has(device_key)
    }
}
