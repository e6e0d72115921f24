//! Archives what is old enough, then deletes what is older, then puts small segments together, in steps small enough
//! that those who record do not notice. What the data lake has not got yet, or an export that was asked for is still to
//! read, is archived and not deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant as Moment, sleep};

use super::policy::{Policy, policies};
use super::{CLAIM, RetentionError, doubt, require_archive};
use crate::event::{Instant, Position};
use crate::export::reached;
use crate::exports;
use crate::kinds::Kind;
use crate::projections::{self, checkpoint};
use crate::store::{ClaimError, Deleting, MERGE, Small, Store, StoreError, Waiting};

/// After a step, so many times what it took, so that a run has a fifth of the writer at most; at most
/// [`PAUSE_MAX`].
const PAUSE_STEPS: u32 = 4;
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long segments are put together before others may read all of them, and how long those have to begin. A
/// turn and its last step are over before they wait no more.
const TURN: Duration = Duration::from_secs(1);
const BETWEEN_TURNS: Duration = Duration::from_millis(250);
/// How long exports are waited for from when events were to be deleted, in milliseconds: 7 days.
const AWAITED_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// What was done with a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The kind.
    pub kind: Kind,
    /// Segments that were made.
    pub segments: i64,
    /// Events in them.
    pub archived_events: i64,
    /// Bytes of their files.
    pub archived_bytes: i64,
    /// Small segments that were put together; one that was made so is counted when it goes together with others.
    pub put_together: usize,
    /// Events that were deleted for good.
    pub deleted_events: i64,
    /// Whether events that are old enough to be deleted wait: what they are summed up as is just being made anew.
    pub is_held: bool,
    /// Whether some wait for an export that was asked for and is still to read them.
    pub is_awaited: bool,
    /// Events that were not, since the data lake has not got them yet.
    pub held_events: i64,
}

/// What a run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Kind by kind.
    pub kinds: Vec<Done>,
    /// Whether its time was enough: nothing is left to do but what waits.
    pub is_complete: bool,
    /// How far projections were when it began.
    folded: Folded,
}

impl Run {
    /// Whether nothing is left to do but for what projections have not folded.
    #[must_use]
    pub fn leaves_nothing(&self) -> bool {
        let waits = |done: &Done| done.is_held || done.is_awaited;
        self.is_complete && !self.kinds.iter().any(waits)
    }

    /// What it did not archive since projections were not so far when it began, whatever they have folded since.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub async fn unfolded(&self, store: &Store) -> Result<Vec<Unfolded>, RetentionError> {
        not_in(&self.folded, store).await
    }
}

/// What a run would do now, kind by kind.
///
/// # Errors
/// When the tables cannot be read.
pub async fn planned(store: &Store) -> Result<Vec<(Kind, Waiting)>, RetentionError> {
    let (now, upto) = (store.clock().now(), folded(store).await?.upto);
    let mut planned = Vec::new();
    let lake = reached(store).await?;
    for policy in policies(store).await? {
        let kind = policy.kind;
        let archives_before = archives_before(store, &policy).await?;
        let times = (archives_before, policy.deletes_before(now));
        let mut waiting = store.waiting(kind, times, upto).await?;
        if let Some((lake, before)) = lake.zip(times.1) {
            let old = (None, Some(before));
            let there = store.waiting(kind, old, upto.min(lake)).await?;
            let held = store.deletable(kind, before, Some(lake)).await?;
            let deleted = there.delete_events - held.held_events;
            waiting.held_events = waiting.delete_events - deleted;
            waiting.delete_events = deleted;
        }
        planned.push((kind, waiting));
    }
    Ok(planned)
}

/// Events of a kind that are old enough to be archived, and are not yet since a projection has not folded them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfolded {
    /// The kind.
    pub kind: Kind,
    /// The projection.
    pub projection: &'static str,
    /// How many they are.
    pub events: i64,
}

/// What waits for projections.
///
/// # Errors
/// When the tables cannot be read.
pub async fn unfolded(store: &Store) -> Result<Vec<Unfolded>, RetentionError> {
    not_in(&folded(store).await?, store).await
}

/// What is not archived as far as projections are.
async fn not_in(folded: &Folded, store: &Store) -> Result<Vec<Unfolded>, RetentionError> {
    let mut unfolded = Vec::new();
    for policy in policies(store).await? {
        let kind = policy.kind;
        let Some(before) = archives_before(store, &policy).await? else {
            continue;
        };
        // most of them are equally far
        let mut counted = BTreeMap::new();
        for &(projection, upto) in &folded.behind {
            let events = match counted.get(&upto) {
                Some(events) => *events,
                None => store.older_after(kind, before, upto).await?,
            };
            counted.insert(upto, events);
            if events > 0 {
                unfolded.push(Unfolded {
                    kind,
                    projection,
                    events,
                });
            }
        }
    }
    Ok(unfolded)
}

/// Archives and deletes what is old enough, and puts together what is in small segments, for some time at most.
///
/// # Errors
/// When another does so already, nobody has said where segments lie, many of them are not there, or the log or its
/// segments cannot be read or written. What was done before that stays done.
pub async fn run(store: &Store, within: Duration) -> Result<Run, RetentionError> {
    let run = archive_and_delete(store, within).await;
    run.inspect_err(|error| doubt(store, error))
}

async fn archive_and_delete(store: &Store, within: Duration) -> Result<Run, RetentionError> {
    if !store.can_archive() {
        return Err(RetentionError::Nowhere);
    }
    let _claim = store.claim_patiently(CLAIM).await?;
    require_archive(store).await?;
    let until = Moment::now() + within;
    let swept = store.sweep_segments().await?;
    if swept > 0 {
        tracing::info!(
            files = swept,
            "files of segments were removed that no list names"
        );
    }
    let mut run = Run {
        kinds: Vec::new(),
        is_complete: true,
        folded: folded(store).await?,
    };
    let lake = reached(store).await?;
    let policies = policies(store).await?;
    for policy in &policies {
        let (done, is_complete) = of_kind(store, policy, (run.folded.upto, lake, until)).await?;
        run.kinds.push(done);
        run.is_complete &= is_complete;
    }
    if run.is_complete {
        run.is_complete = put_together(store, &policies, (until, run.kinds.as_mut_slice())).await?;
    }
    Ok(run)
}

/// Puts small segments together; whether there was time for all of them. What comes of some may be small again: it is
/// looked again and again what there is, until nothing more goes together. Whoever reads the files of all segments goes
/// first: then they are for the next run.
async fn put_together(
    store: &Store,
    policies: &[Policy],
    (until, kinds): (Moment, &mut [Done]),
) -> Result<bool, RetentionError> {
    let (mut waiting, mut stuck) = (Vec::<Small>::new(), Vec::<Small>::new());
    loop {
        if waiting.is_empty() {
            waiting = small(store, policies, &stuck).await?;
        }
        if waiting.is_empty() {
            return Ok(true);
        }
        if Moment::now() >= until {
            return Ok(false);
        }
        let claim = match store.claim_patiently(MERGE).await {
            Err(ClaimError::Taken) => return Ok(true),
            claim => claim?,
        };
        let turn = until.min(Moment::now() + TURN);
        let owed = merge(store, (&mut waiting, &mut stuck), (turn, &mut *kinds)).await?;
        drop(claim);
        sleep(owed.max(BETWEEN_TURNS)).await;
    }
}

/// The small segments of all kinds that may be put together, but for those that have turned out not to go together.
async fn small(
    store: &Store,
    policies: &[Policy],
    stuck: &[Small],
) -> Result<Vec<Small>, RetentionError> {
    let mut small = Vec::new();
    for policy in policies {
        let apart_before = policy.deletes_before(store.clock().now());
        small.extend(store.small_segments(policy.kind, apart_before).await?);
    }
    small.retain(|small| !stuck.contains(small));
    Ok(small)
}

/// Puts segments together for a while; how long it is to be paused then, when others may read all of them.
async fn merge(
    store: &Store,
    (waiting, stuck): (&mut Vec<Small>, &mut Vec<Small>),
    (until, kinds): (Moment, &mut [Done]),
) -> Result<Duration, RetentionError> {
    let mut owed = Duration::ZERO;
    while Moment::now() + owed < until {
        let Some(small) = waiting.pop() else {
            break;
        };
        sleep(owed).await;
        let began = Moment::now();
        let put_together = store.put_together(&small).await?;
        for done in kinds.iter_mut().filter(|done| done.kind == small.kind) {
            done.put_together += put_together;
        }
        if put_together == 0 {
            stuck.push(small);
        }
        owed = pause_after(began);
    }
    Ok(owed)
}

async fn of_kind(
    store: &Store,
    policy: &Policy,
    (upto, lake, until): (Position, Option<Position>, Moment),
) -> Result<(Done, bool), RetentionError> {
    let kind = policy.kind;
    let mut done = Done {
        kind,
        segments: 0,
        archived_events: 0,
        archived_bytes: 0,
        put_together: 0,
        deleted_events: 0,
        is_held: false,
        is_awaited: false,
        held_events: 0,
    };
    let Some(before) = archives_before(store, policy).await? else {
        return Ok((done, true));
    };
    // what is to be deleted goes apart from what is not, so that it need not wait for that
    let deletes_before = policy.deletes_before(store.clock().now());
    let mut is_archived = true;
    for before in deletes_before.into_iter().chain([before]) {
        is_archived = is_archived && archive(store, (before, upto, until), &mut done).await?;
    }
    store.drop_empty_partitions(kind, before).await?;
    if !is_archived {
        return Ok((done, false));
    }
    let is_complete = delete(store, policy, (lake, until), &mut done).await?;
    Ok((done, is_complete))
}

/// Archives what happened before an instant; whether there was time for all of it.
async fn archive(
    store: &Store,
    (before, upto, until): (Instant, Position, Moment),
    done: &mut Done,
) -> Result<bool, RetentionError> {
    while Moment::now() < until {
        let began = Moment::now();
        let Some(archived) = store.archive(done.kind, before, upto).await? else {
            return Ok(true);
        };
        done.segments += 1;
        done.archived_events += archived.events;
        done.archived_bytes += archived.bytes;
        pause(began).await;
    }
    Ok(false)
}

/// Deletes what is old enough; whether there was time for all of it.
async fn delete(
    store: &Store,
    policy: &Policy,
    (lake, until): (Option<Position>, Moment),
    done: &mut Done,
) -> Result<bool, RetentionError> {
    let now = store.clock().now();
    let Some(before) = policy.deletes_before(now) else {
        return Ok(true);
    };
    // nobody else adds or deletes segments meanwhile
    let deletable = store.deletable(policy.kind, before, lake).await?;
    done.held_events = deletable.held_events;
    let folds = projections::following();
    let needed = folds.iter().flat_map(|fold| fold.needs());
    let deleting = Deleting {
        kind: policy.kind,
        before,
        ends_before: deletable.before,
        since: policy.changed.as_ref().map_or(Instant::OLDEST, |by| by.0),
        needed: needed.copied().collect(),
        awaits: Some(exports::awaits),
        overdue_before: overdue_before(policy, now),
    };
    while Moment::now() < until {
        let began = Moment::now();
        match store.drop_segment(&deleting).await {
            Ok(Some(events)) => done.deleted_events += events,
            Ok(None) => return Ok(true),
            Err(StoreError::StillNeeded) => {
                done.is_held = true;
                return Ok(true);
            }
            Err(StoreError::StillAwaited) => {
                done.is_awaited = true;
                return Ok(true);
            }
            Err(error) => return Err(error.into()),
        }
        pause(began).await;
    }
    Ok(false)
}

/// Before when what happened was to be deleted so long ago that no export is waited for.
fn overdue_before(policy: &Policy, now: Instant) -> Instant {
    let then = now.plus_ms(-AWAITED_MS);
    let is_set = policy.changed.as_ref().is_none_or(|by| by.0 <= then);
    let before = policy.deletes_before(then).filter(|_| is_set);
    before.unwrap_or(Instant::OLDEST)
}

/// Before when events of a kind are archived by now: whole chunks of TimescaleDB where these are compressed, unless
/// what is in them is to be deleted.
async fn archives_before(
    store: &Store,
    policy: &Policy,
) -> Result<Option<Instant>, RetentionError> {
    let now = store.clock().now();
    let Some(before) = policy.archives_before(now) else {
        return Ok(None);
    };
    let whole = store.whole_before(policy.kind, before).await?;
    Ok(Some(
        policy.deletes_before(now).map_or(whole, |at| whole.max(at)),
    ))
}

async fn pause(began: Moment) {
    sleep(pause_after(began)).await;
}

fn pause_after(began: Moment) -> Duration {
    (began.elapsed() * PAUSE_STEPS).min(PAUSE_MAX)
}

/// How far projections have folded the log.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Folded {
    /// Up to where all of them have.
    upto: Position,
    /// Those that have not folded all of it, and up to where each has.
    behind: Vec<(&'static str, Position)>,
}

async fn folded(store: &Store) -> Result<Folded, RetentionError> {
    let mut behind = Vec::new();
    for fold in projections::following() {
        behind.push((fold.name(), checkpoint::position(store, fold.name()).await?));
    }
    let head = store.committed_head().await?;
    behind.retain(|(_, upto)| *upto < head);
    let upto = behind.iter().map(|(_, upto)| *upto);
    Ok(Folded {
        upto: upto.fold(head, Position::min),
        behind,
    })
}
