//! `retention`: what is archived, and archiving it now.

use std::time::Duration;

use super::{location, print};
use crate::app;
use crate::clock::Clock;
use crate::config::{LimitArgs, RetentionAction};
use crate::retention::{self, RetentionError};
use crate::store::{Store, Tasks};

/// How long a part of a run takes, after which it is told how far it has come.
const PART: Duration = Duration::from_secs(30);
const NOWHERE: &str =
    "it is not said where segments lie: give --segments, the same place as the servers have";

/// Looks at what is archived, or archives.
pub(super) async fn retention(action: RetentionAction) -> anyhow::Result<()> {
    let (arguments, is_run) = match &action {
        RetentionAction::Status(arguments) => (arguments, false),
        RetentionAction::Run(arguments) => (arguments, true),
    };
    let location = location(arguments, false)?;
    let (store, tasks): (Store, Tasks) =
        app::open(location, &LimitArgs::default(), Clock::system()).await?;
    let done = if is_run {
        archive(&store).await
    } else {
        tell(&store).await
    };
    tasks.stop().await;
    done
}

async fn archive(store: &Store) -> anyhow::Result<()> {
    loop {
        let run = match retention::run(store, PART).await {
            Err(RetentionError::Nowhere) => anyhow::bail!(NOWHERE),
            run => run?,
        };
        for done in &run.kinds {
            let (archived, deleted) = (done.archived_events, done.deleted_events);
            if done.held_events > 0 {
                let (kind, held) = (done.kind.spec().wire, done.held_events);
                print(&format!(
                    "{kind}: {held} events are not deleted until the data lake has them"
                ));
            }
            if done.put_together > 0 {
                let (kind, segments) = (done.kind.spec().wire, done.put_together);
                print(&format!("{kind}: {segments} small segments put together"));
            }
            if archived > 0 || deleted > 0 {
                let (kind, bytes) = (done.kind.spec().wire, done.archived_bytes);
                print(&format!(
                    "{kind}: {archived} events archived ({bytes} bytes), {deleted} deleted"
                ));
            }
        }
        if run.is_complete {
            for held in run.kinds.iter().filter(|done| done.is_held) {
                let kind = held.kind.spec().wire;
                print(&format!(
                    "{kind}: what is to be deleted waits until what it is summed up as is made anew"
                ));
            }
            for awaited in run.kinds.iter().filter(|done| done.is_awaited) {
                let kind = awaited.kind.spec().wire;
                print(&format!(
                    "{kind}: what is to be deleted waits for an export that was asked for and is not made yet"
                ));
            }
            if !tell_unfolded(store).await? {
                print("nothing else is old enough");
            }
            return Ok(());
        }
    }
}

/// Tells what is old enough and waits for projections; whether something does.
async fn tell_unfolded(store: &Store) -> anyhow::Result<bool> {
    let unfolded = retention::unfolded(store).await?;
    for waiting in &unfolded {
        let (kind, events) = (waiting.kind.spec().wire, waiting.events);
        let projection = waiting.projection;
        print(&format!(
            "{kind}: {events} events are old enough and are not archived until the projection {projection} has \
             them, which a server that runs sees to"
        ));
    }
    Ok(!unfolded.is_empty())
}

async fn tell(store: &Store) -> anyhow::Result<()> {
    let planned = retention::planned(store).await?;
    let days = |days: Option<u32>| days.map_or_else(|| "never".to_owned(), |days| days.to_string());
    for (policy, (_, waiting)) in retention::policies(store).await?.iter().zip(planned) {
        let status = store.archived(policy.kind).await?;
        print(&format!(
            "{}: archived after {} days, deleted after {}; {} segments, {} events, {} bytes; \
             {} events deleted; waiting: {} to be archived, {} to be deleted, {} for the data lake",
            policy.kind.spec().wire,
            days(policy.archive_after_days),
            days(policy.delete_after_days),
            status.segments,
            status.events,
            status.bytes,
            status.deleted_events,
            waiting.archive_events,
            waiting.delete_events,
            waiting.held_events,
        ));
    }
    tell_unfolded(store).await.map(drop)
}
