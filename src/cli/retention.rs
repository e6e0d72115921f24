//! `retention`: what is archived, archiving it now, and giving up what is lost of it.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::{location, print};
use crate::app;
use crate::clock::Clock;
use crate::config::{DatabaseArgs, LimitArgs};
use crate::identity::Deed;
use crate::ingest::Ingest;
use crate::retention::{self, GiveUpError, PlaceIs, RetentionError, Unfolded};
use crate::store::{Store, Tasks};

/// How long a part of a run takes, after which it is told how far it has come.
const PART: Duration = Duration::from_secs(30);
const NOWHERE: &str =
    "it is not said where segments lie: give --segments, the same place as the servers have";

/// Arguments of `retention`.
#[derive(Clone, Debug, Args)]
pub struct RetentionArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: RetentionAction,
}

/// What `retention` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum RetentionAction {
    /// Say how long events are kept, what is archived, and what waits.
    Status(DatabaseArgs),
    /// Archive and delete what is old enough now.
    Run(DatabaseArgs),
    /// Give up a segment whose file is lost for good, so that nothing waits for it any more: its events are deleted,
    /// what they were summed up as stays. It is refused while the file can be read, and cannot be taken back.
    GiveUp(GiveUpArgs),
}

/// Arguments of `retention give-up`.
#[derive(Clone, Debug, Args)]
pub struct GiveUpArgs {
    /// The name of its file, as `verify` tells it.
    pub name: String,
    /// Go on although many others are not found either, which is refused else: they are lost too, and the place of
    /// --segments is the right one.
    #[arg(long)]
    pub place_is_right: bool,
    /// Why, for the audit.
    #[arg(long)]
    pub reason: Option<String>,
    /// Which database.
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// Runs `retention`.
pub(super) async fn retention(arguments: RetentionArgs) -> anyhow::Result<()> {
    let database = match &arguments.action {
        RetentionAction::Status(database) | RetentionAction::Run(database) => database,
        RetentionAction::GiveUp(arguments) => &arguments.database,
    };
    let location = location(database, false)?;
    let (store, tasks): (Store, Tasks) =
        app::open(location, &LimitArgs::default(), Clock::system()).await?;
    let done = match &arguments.action {
        RetentionAction::Status(_) => tell(&store).await,
        RetentionAction::Run(_) => archive(&store).await,
        RetentionAction::GiveUp(arguments) => give_up(&store, arguments).await,
    };
    tasks.stop().await;
    done
}

async fn give_up(store: &Store, arguments: &GiveUpArgs) -> anyhow::Result<()> {
    let place = if arguments.place_is_right {
        PlaceIs::Right
    } else {
        PlaceIs::Doubted
    };
    let name = arguments.name.as_str();
    let given_up = match retention::give_up(store, name, place).await {
        Err(GiveUpError::Retention(RetentionError::Nowhere)) => bail!(NOWHERE),
        Err(GiveUpError::Retention(RetentionError::Absent(absent))) if absent.lacks_files() => {
            bail!("{absent}; if they are lost, and this is their place, give --place-is-right")
        }
        given_up => given_up?,
    };
    let entry = Deed::of_program("retention give-up", store.clock().now())
        .to(name)
        .because(arguments.reason.as_deref())
        .entry();
    let ingest = Ingest::new(store.clone());
    let told = ingest.tell(entry.into_iter().collect());
    told.await
        .context("it is given up, and cannot be told in the audit")?;
    let (kind, events) = (given_up.kind.spec().wire, given_up.events);
    print(&format!(
        "{kind}: {events} events are given up; erasures, putting together and `verify` go on without them"
    ));
    Ok(())
}

async fn archive(store: &Store) -> anyhow::Result<()> {
    loop {
        let run = match retention::run(store, PART).await {
            Err(RetentionError::Nowhere) => bail!(NOWHERE),
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
            if !tell_unfolded(&run.unfolded(store).await?) {
                print("nothing else is old enough");
            }
            return Ok(());
        }
    }
}

/// Tells what is old enough and waits for projections; whether something does.
fn tell_unfolded(unfolded: &[Unfolded]) -> bool {
    for waiting in unfolded {
        let (kind, events) = (waiting.kind.spec().wire, waiting.events);
        let projection = waiting.projection;
        print(&format!(
            "{kind}: {events} events are old enough and are not archived until the projection {projection} has \
             them, which a server that runs sees to"
        ));
    }
    !unfolded.is_empty()
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
    tell_unfolded(&retention::unfolded(store).await?);
    Ok(())
}
