//! Archives what is old enough, then deletes what is older, in steps small enough that those who record do
//! not notice.

use std::time::Duration;

use tokio::time::{Instant as Moment, sleep};

use super::policy::{Policy, policies};
use super::{CLAIM, RetentionError};
use crate::event::{Instant, Position};
use crate::kinds::Kind;
use crate::projections;
use crate::store::{Store, Waiting};

/// After a step, so many times what it took, so that a run has a fifth of the writer at most; at most
/// [`PAUSE_MAX`].
const PAUSE_STEPS: u32 = 4;
const PAUSE_MAX: Duration = Duration::from_secs(2);

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
    /// Events that were deleted for good.
    pub deleted_events: i64,
}

/// What a run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Kind by kind.
    pub kinds: Vec<Done>,
    /// Whether nothing is left to do; else its time was over.
    pub is_complete: bool,
}

/// What a run would do now, kind by kind.
///
/// # Errors
/// When the tables cannot be read.
pub async fn planned(store: &Store) -> Result<Vec<(Kind, Waiting)>, RetentionError> {
    let (now, upto) = (store.clock().now(), folded(store).await?);
    let mut planned = Vec::new();
    for policy in policies(store).await? {
        let archives_before = archives_before(store, &policy).await?;
        let times = (archives_before, policy.deletes_before(now));
        planned.push((policy.kind, store.waiting(policy.kind, times, upto).await?));
    }
    Ok(planned)
}

/// Archives and deletes what is old enough, for some time at most.
///
/// # Errors
/// When another does so already, nobody has said where segments lie, or the log or its segments cannot be
/// read or written. What was done before that stays done.
pub async fn run(store: &Store, within: Duration) -> Result<Run, RetentionError> {
    if !store.can_archive() {
        return Err(RetentionError::Nowhere);
    }
    let _claim = store.claim_patiently(CLAIM).await?;
    let until = Moment::now() + within;
    let swept = store.sweep_segments().await?;
    if swept > 0 {
        tracing::info!(
            files = swept,
            "files of segments were removed that no list names"
        );
    }
    let upto = folded(store).await?;
    let mut run = Run {
        kinds: Vec::new(),
        is_complete: true,
    };
    for policy in policies(store).await? {
        let (done, is_complete) = of_kind(store, &policy, (upto, until)).await?;
        run.kinds.push(done);
        run.is_complete &= is_complete;
    }
    Ok(run)
}

async fn of_kind(
    store: &Store,
    policy: &Policy,
    (upto, until): (Position, Moment),
) -> Result<(Done, bool), RetentionError> {
    let (kind, now) = (policy.kind, store.clock().now());
    let mut done = Done {
        kind,
        segments: 0,
        archived_events: 0,
        archived_bytes: 0,
        deleted_events: 0,
    };
    let Some(before) = archives_before(store, policy).await? else {
        return Ok((done, true));
    };
    let mut is_archived = false;
    while !is_archived && Moment::now() < until {
        let began = Moment::now();
        let Some(archived) = store.archive(kind, before, upto).await? else {
            is_archived = true;
            continue;
        };
        done.segments += 1;
        done.archived_events += archived.events;
        done.archived_bytes += archived.bytes;
        pause(began).await;
    }
    store.drop_empty_partitions(kind, before).await?;
    if !is_archived {
        return Ok((done, false));
    }
    while let Some(before) = policy.deletes_before(now) {
        if Moment::now() >= until {
            return Ok((done, false));
        }
        let began = Moment::now();
        let Some(events) = store.drop_segment(kind, before).await? else {
            break;
        };
        done.deleted_events += events;
        pause(began).await;
    }
    Ok((done, true))
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
    sleep((began.elapsed() * PAUSE_STEPS).min(PAUSE_MAX)).await;
}

/// Up to where all projections have folded the log.
async fn folded(store: &Store) -> Result<Position, RetentionError> {
    let folds = projections::following();
    let names: Vec<&'static str> = folds.iter().map(|fold| fold.name()).collect();
    Ok(store.archivable_upto(&names).await?)
}
