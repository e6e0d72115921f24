//! Delivers commands to the devices that wait for them.
//!
//! One task follows the log and puts what concerns a device into the queue of whoever waits for it, so
//! that ten thousand devices that wait cost nothing while nothing is for them. A queue that is full, or
//! a log that could not be read, only means that its owner reads from the tables what is open.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use entity::command_transitions::Column;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::machine::Step;
use super::{CommandId, Plan};
use crate::event::{Event, Instant, Position};
use crate::history::Within;
use crate::history::jobs::{self, JobRow, TargetRow};
use crate::kinds::Kind;
use crate::store::{Allowance, Store, StoreError};
use crate::telemetry::chain;

/// Happenings that wait for somebody at most.
const QUEUE_MAX: usize = 256;
/// Jobs at most whose payloads are remembered.
const JOBS_MAX: usize = 64;
/// How long it waits after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Commands at most that are read at once.
pub const COMMANDS_MAX: usize = 1_000;

/// A command to a device.
#[derive(Clone, Debug)]
pub struct Command {
    /// Its id.
    pub id: CommandId,
    /// Key of the device.
    pub device_key: i64,
    /// Its job.
    pub job: Arc<JobRow>,
    /// How the job is carried out.
    pub plan: Arc<Plan>,
    /// How far it is.
    pub step: Step,
    /// Since when.
    pub since: Instant,
    /// Position of the event since which it is so.
    pub position: Position,
}

/// What a device is to hear.
#[derive(Clone, Debug)]
pub enum Happening {
    /// It is to do something.
    Issued(Command),
    /// A command was taken back, or ran out of time.
    Withdrawn(Command),
}

/// Who waits for commands.
#[derive(Clone, Debug, Default)]
pub struct Deliveries {
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// For commands to one device, by its key.
    of_device: HashMap<i64, Vec<Arc<Queue>>>,
    /// For commands to any device.
    of_all: Vec<Arc<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    happenings: Mutex<VecDeque<Happening>>,
    /// Whether something was not put in.
    has_missed: AtomicBool,
    filled: Notify,
}

impl Queue {
    fn put(&self, happening: Happening) {
        let mut happenings = self
            .happenings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if happenings.len() < QUEUE_MAX {
            happenings.push_back(happening);
        } else {
            self.has_missed.store(true, Ordering::Release);
        }
        drop(happenings);
        self.filled.notify_one();
    }

    fn miss(&self) {
        self.has_missed.store(true, Ordering::Release);
        self.filled.notify_one();
    }
}

/// Waits for commands; leaves the queue when it is dropped.
#[derive(Debug)]
pub struct Followed {
    deliveries: Deliveries,
    device_key: Option<i64>,
    queue: Arc<Queue>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        let mut waiting = self.deliveries.lock();
        match self.device_key {
            None => waiting
                .of_all
                .retain(|queue| !Arc::ptr_eq(queue, &self.queue)),
            Some(key) => {
                if let Some(queues) = waiting.of_device.get_mut(&key) {
                    queues.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
                    if queues.is_empty() {
                        waiting.of_device.remove(&key);
                    }
                }
            }
        }
    }
}

impl Followed {
    /// What has happened since it was asked last; waits until something has. `None` means that some of
    /// it was missed: what is open is to be read from the tables.
    pub async fn next(&self) -> Option<Vec<Happening>> {
        self.has_happened().await;
        self.happened()
    }

    /// Waits until something has happened, or was missed.
    pub async fn has_happened(&self) {
        let happenings = &self.queue.happenings;
        loop {
            let is_empty = happenings
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_empty();
            if !is_empty || self.queue.has_missed.load(Ordering::Acquire) {
                return;
            }
            self.queue.filled.notified().await;
        }
    }

    /// What has happened since it was asked last, without waiting.
    #[must_use]
    pub fn happened(&self) -> Option<Vec<Happening>> {
        let has_missed = self.queue.has_missed.swap(false, Ordering::AcqRel);
        let happened = self.take();
        (!has_missed).then_some(happened)
    }

    fn take(&self) -> Vec<Happening> {
        let happenings = &self.queue.happenings;
        let mut happenings = happenings.lock().unwrap_or_else(PoisonError::into_inner);
        Vec::from(std::mem::take(&mut *happenings))
    }
}

impl Deliveries {
    /// Waits for the commands to a device, or to all.
    #[must_use]
    pub fn follow(&self, device_key: Option<i64>) -> Followed {
        let queue = Arc::new(Queue::default());
        let mut waiting = self.lock();
        let queues = match device_key {
            Some(key) => waiting.of_device.entry(key).or_default(),
            None => &mut waiting.of_all,
        };
        queues.push(Arc::clone(&queue));
        drop(waiting);
        Followed {
            deliveries: self.clone(),
            device_key,
            queue,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queues_of(&self, device_key: i64) -> Vec<Arc<Queue>> {
        let waiting = self.lock();
        let of_device = waiting.of_device.get(&device_key);
        let of_device = of_device.into_iter().flatten();
        of_device.chain(&waiting.of_all).cloned().collect()
    }

    /// Delivers until it is told to stop.
    pub async fn run(self, store: Store, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let Err(error) = tokio::select! {
                () = stop.cancelled() => return,
                delivered = self.deliver(&store) => delivered,
            };
            tracing::warn!(error = %chain(&error), "commands are not delivered, will go on");
            stop.run_until_cancelled(sleep(RETRY_AFTER)).await;
        }
    }

    fn all_miss(&self) {
        let waiting = self.lock();
        let of_devices = waiting.of_device.values().flatten();
        let all = of_devices.chain(&waiting.of_all);
        all.for_each(|queue| queue.miss());
    }

    async fn deliver(&self, store: &Store) -> Result<std::convert::Infallible, StoreError> {
        let mut tail = store.tail(store.head(), Some(&[Kind::CommandTransition]));
        // what was issued before the place where it begins is in the tables by now
        self.all_miss();
        let mut known: HashMap<String, (Arc<JobRow>, Arc<Plan>)> = HashMap::new();
        loop {
            for event in tail.next().await? {
                let Some((device_key, is_issued)) = concerns(&event) else {
                    continue;
                };
                let queues = self.queues_of(device_key);
                let job_id = event.fact.cell(Column::JobId).text().unwrap_or_default();
                if queues.is_empty() {
                    continue;
                }
                if !known.contains_key(job_id) {
                    if known.len() >= JOBS_MAX {
                        known.clear();
                    }
                    let Some(job) = jobs::job(store, job_id).await? else {
                        continue;
                    };
                    let plan = Plan::of_text(job.plan.as_deref());
                    known.insert(job_id.to_owned(), (Arc::new(job), Arc::new(plan)));
                }
                let Some((job, plan)) = known.get(job_id) else {
                    continue;
                };
                let Some(command) = command_of(&event, device_key, (job, plan)) else {
                    continue;
                };
                for queue in queues {
                    let command = command.clone();
                    queue.put(if is_issued {
                        Happening::Issued(command)
                    } else {
                        Happening::Withdrawn(command)
                    });
                }
            }
        }
    }
}

/// The device that is to hear of an event, and whether it is a new command.
fn concerns(event: &Event) -> Option<(i64, bool)> {
    let device_key = event.fact.cell(Column::DeviceKey).int()?;
    match event.fact.cell(Column::State).text()? {
        "ISSUED" => Some((device_key, true)),
        "TIMEOUT" | "CANCELLED" => Some((device_key, false)),
        // said by the device itself
        _ => None,
    }
}

fn command_of(
    event: &Event,
    device_key: i64,
    (job, plan): (&Arc<JobRow>, &Arc<Plan>),
) -> Option<Command> {
    let id = event.fact.cell(Column::CommandId).text()?;
    Some(Command {
        id: CommandId::read(id)?,
        device_key,
        job: Arc::clone(job),
        plan: Arc::clone(plan),
        step: Step::Issued,
        since: event.recorded_at,
        position: event.position,
    })
}

/// The commands that are open, to a device or to all within a part of the fleet, that moved last behind a
/// position; in the order in which they did, and so many at most.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn pending(
    store: &Store,
    of: (&Within, Option<i64>),
    (after, limit): (Position, usize),
    allowance: &Allowance,
) -> Result<Vec<Command>, StoreError> {
    let limit = u64::try_from(limit.min(COMMANDS_MAX)).unwrap_or(u64::MAX);
    let targets = jobs::commanded(store, of, (after, limit), allowance).await?;
    commands_of(store, targets, allowance).await
}

/// The commands that are open to a device: the most urgent, and of these the oldest; so many at most.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn most_urgent(
    store: &Store,
    (within, device_key): (&Within, i64),
    limit: usize,
    allowance: &Allowance,
) -> Result<Vec<Command>, StoreError> {
    let all = (Position(0), u64::try_from(COMMANDS_MAX).unwrap_or(u64::MAX));
    let of = (within, Some(device_key));
    let mut targets = jobs::commanded(store, of, all, allowance).await?;
    if targets.len() > limit {
        // which they are is known by their plans: what they are to do is read of those alone
        let mut priorities = HashMap::new();
        let look = |job_id, plan: Option<&str>| {
            priorities.insert(job_id, Plan::of_text(plan).priority);
        };
        jobs::each_plan(store, jobs_of(&targets), look).await?;
        targets.sort_by_key(|one| {
            let priority = priorities.get(&one.job_id).copied().unwrap_or_default();
            (Reverse(priority), one.step_position)
        });
        targets.truncate(limit);
    }
    commands_of(store, targets, allowance).await
}

/// The commands to some devices. Each job is read once, whatever the number of its devices.
async fn commands_of(
    store: &Store,
    targets: Vec<TargetRow>,
    allowance: &Allowance,
) -> Result<Vec<Command>, StoreError> {
    let known = jobs::by_ids(store, jobs_of(&targets), allowance).await?;
    let known = known.into_iter().map(|job| {
        let plan = Plan::of_text(job.plan.as_deref());
        (job.job_id.clone(), (Arc::new(job), Arc::new(plan)))
    });
    let known: HashMap<String, (Arc<JobRow>, Arc<Plan>)> = known.collect();
    let mut commands = Vec::with_capacity(targets.len());
    for target in targets {
        let Some((job, plan)) = known.get(&target.job_id) else {
            continue;
        };
        let device_id = store.id(target.device_key).await?;
        let device_id = device_id.as_deref().unwrap_or_default();
        commands.extend(open(&target, device_id, (job, plan)));
    }
    Ok(commands)
}

/// The ids of the jobs of some devices, each once.
fn jobs_of(targets: &[TargetRow]) -> Vec<String> {
    let ids: BTreeSet<&String> = targets.iter().map(|target| &target.job_id).collect();
    ids.into_iter().cloned().collect()
}

fn open(
    target: &TargetRow,
    device_id: &str,
    (job, plan): (&Arc<JobRow>, &Arc<Plan>),
) -> Option<Command> {
    let attempt = u32::try_from(target.attempt).ok()?;
    Some(Command {
        id: CommandId::of(&target.job_id, attempt, device_id),
        device_key: target.device_key,
        job: Arc::clone(job),
        plan: Arc::clone(plan),
        step: Step::of_word(&target.step)?,
        since: Instant(target.step_at),
        position: Position(target.step_position),
    })
}
