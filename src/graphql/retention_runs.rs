//! What is archived and deleted when somebody asks for it, and what would be.

use std::time::Duration;

use async_graphql::{Context, Error, SimpleObject};

use super::api;
use super::command::UserError;
use super::order::InOrder;
use super::retention::{ended, of_retention};
use super::scalars::Long;
use super::words::{EventKinds, Shown};
use crate::kinds::Kind;
use crate::retention::{self, Done, RetentionError, Unfolded};
use crate::store::Waiting;
use crate::telemetry::chain;

/// How long a run that is asked for may take: what is left is done by the next.
const WITHIN: Duration = Duration::from_secs(10);
/// How long it may take to count what projections have not folded.
const COUNTED_WITHIN: Duration = Duration::from_secs(5);

/// What a run did with a kind, or would do.
#[derive(Debug, SimpleObject)]
struct RetentionOfKind {
    /// The kind of event.
    kind: Shown<EventKinds>,
    /// Events that were archived by this run; of a dry run, that would be.
    archived_events: Long,
    /// Bytes of the segments that were made; 0 of a dry run.
    archived_bytes: Long,
    /// Events that were deleted for good; of a dry run, that would be.
    deleted_events: Long,
    /// Whether events that are old enough to be deleted wait for a later run, since what they are summed up as is
    /// just being made anew, or an export that was asked for is still to read them; false of a dry run.
    is_held: bool,
    /// Events that are old enough to be deleted for good, and are not until the data lake has them.
    waiting_for_lake_events: Long,
    /// Events that are old enough to be archived, and are not until the slowest projection has folded them; null when
    /// the time was up before they were counted.
    waiting_for_projection_events: Option<Long>,
}

impl RetentionOfKind {
    /// What a run would do.
    fn planned((kind, waiting): (Kind, Waiting)) -> Self {
        Self {
            kind: Shown::new(kind.spec().wire),
            archived_events: Long(waiting.archive_events),
            archived_bytes: Long(0),
            deleted_events: Long(waiting.delete_events),
            is_held: false,
            waiting_for_lake_events: Long(waiting.held_events),
            waiting_for_projection_events: None,
        }
    }

    /// What a run did.
    fn done(done: Done) -> Self {
        Self {
            kind: Shown::new(done.kind.spec().wire),
            archived_events: Long(done.archived_events),
            archived_bytes: Long(done.archived_bytes),
            deleted_events: Long(done.deleted_events),
            is_held: done.is_held || done.is_awaited,
            waiting_for_lake_events: Long(done.held_events),
            waiting_for_projection_events: None,
        }
    }

    /// The same with what projections have not folded, if that was counted.
    fn waiting(self, unfolded: Option<&[Unfolded]>) -> Self {
        let slowest = unfolded.map(|unfolded| {
            let word = self.kind.word();
            let of_this = unfolded
                .iter()
                .filter(|waits| waits.kind.spec().wire == word);
            Long(of_this.map(|waits| waits.events).max().unwrap_or_default())
        });
        Self {
            waiting_for_projection_events: slowest,
            ..self
        }
    }
}

/// What projections have not folded, if it is counted soon.
async fn counted(
    unfolded: impl Future<Output = Result<Vec<Unfolded>, RetentionError>>,
) -> Option<Vec<Unfolded>> {
    let counted = tokio::time::timeout(COUNTED_WITHIN, unfolded).await.ok()?;
    let counted = counted.inspect_err(|error| {
        let error = chain(error).to_string();
        tracing::warn!(error, "what waits for projections could not be counted");
    });
    counted.ok()
}

/// The answer to `runRetention`.
#[derive(Debug, SimpleObject)]
pub(super) struct RunRetentionPayload {
    /// Kind by kind.
    kinds: Vec<InOrder<RetentionOfKind>>,
    /// Whether nothing is left to do: a run takes ten seconds at most, and what is held or waits for a projection is
    /// for a later one.
    /// False of a dry run that found something to archive or to delete; which small segments a run would put
    /// together it does not tell.
    is_complete: bool,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// Archives and deletes, or says what would be.
pub(super) async fn run_or_tell(
    ctx: &Context<'_>,
    dry_run: bool,
) -> Result<InOrder<RunRetentionPayload>, Error> {
    let deed = ("runRetention", None);
    let store = api(ctx).store();
    if dry_run {
        let (planned, user_errors) = match retention::planned(store).await {
            Ok(planned) => (planned, Vec::new()),
            Err(error) => (Vec::new(), vec![InOrder(of_retention(ctx, error)?)]),
        };
        let unfolded = counted(retention::unfolded(store)).await;
        let finds_nothing = |(_, waiting): &(Kind, Waiting)| {
            waiting.archive_events == 0 && waiting.delete_events == 0
        };
        let waits_nothing = unfolded.as_ref().is_some_and(Vec::is_empty);
        let finds_nothing = planned.iter().all(finds_nothing) && user_errors.is_empty();
        let kinds = planned.into_iter().map(RetentionOfKind::planned);
        let kinds = kinds.map(|kind| InOrder(kind.waiting(unfolded.as_deref())));
        return Ok(InOrder(RunRetentionPayload {
            kinds: kinds.collect(),
            is_complete: finds_nothing && waits_nothing,
            user_errors,
        }));
    }
    let (run, user_errors) = ended(ctx, &deed, retention::run(store, WITHIN).await).await?;
    let unfolded = match &run {
        Some(run) if run.is_complete => counted(run.unfolded(store)).await,
        _ => None,
    };
    let leaves_nothing = run.as_ref().is_some_and(retention::Run::leaves_nothing);
    let waits_nothing = unfolded.as_ref().is_some_and(Vec::is_empty);
    let done = run.into_iter().flat_map(|run| run.kinds);
    let kinds = done.map(RetentionOfKind::done);
    let kinds = kinds.map(|kind| InOrder(kind.waiting(unfolded.as_deref())));
    Ok(InOrder(RunRetentionPayload {
        kinds: kinds.collect(),
        is_complete: leaves_nothing && waits_nothing,
        user_errors,
    }))
}
