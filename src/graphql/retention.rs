//! How long events are kept, and where: the policies, the runs that follow them, and the erasure of what is
//! personal.

use std::time::Duration;

use async_graphql::{Context, Enum, Error, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use super::command::{UserError, UserErrorCode, What, tell_done, tell_refused};
use super::error::{ErrorCode, error as failed, of_absent};
use super::listed::Listed;
use super::order::InOrder;
use super::retention_runs::{RunRetentionPayload, run_or_tell};
use super::scalars::{DateTime, Long};
use super::words::{EventKinds, Shown};
use super::{access, api, of_failed};
use crate::event::Instant;
use crate::kinds::{Keeping, Kind};
use crate::retention::{self, Age, ErasureRow, Policy, RetentionError};
use crate::store::KindStatus;
use crate::telemetry::chain;

/// How long it is waited for an erasure to be done.
const DONE_WITHIN: Duration = Duration::from_secs(5);

const ERASURES: Listed = Listed {
    name: "erasure",
    rows: 50,
    rows_max: 1_000,
};

/// How long events of a kind are kept, and what was archived of them.
#[derive(Debug, SimpleObject)]
struct RetentionPolicy {
    /// The kind of event.
    kind: Shown<EventKinds>,
    /// After how many days events are archived, counted from when they happened; null when they never are.
    archive_after_days: Option<i32>,
    /// After how many days they are deleted for good, or up to a tenth of that later, since it is done by whole
    /// segments; null when they never are.
    delete_after_days: Option<i32>,
    /// After how many days they are archived unless something else is set.
    default_archive_after_days: i32,
    /// When the policy was set; null when it never was.
    changed_at: Option<DateTime>,
    /// Who set it.
    changed_by: Option<String>,
    /// Segments that there are: files of archived events.
    segments: i32,
    /// Events in them.
    archived_events: Long,
    /// Bytes of them.
    archived_bytes: Long,
    /// When the oldest of them happened.
    archived_from: Option<DateTime>,
    /// When the newest of them happened.
    archived_to: Option<DateTime>,
    /// Events that were deleted for good.
    deleted_events: Long,
}

impl RetentionPolicy {
    fn of(policy: Policy, status: KindStatus) -> Self {
        let days = |days: u32| i32::try_from(days).unwrap_or(i32::MAX);
        let default = match policy.kind.spec().keeping {
            Keeping::Archived { after_days } => after_days,
            Keeping::Here => 0,
        };
        let (changed_at, changed_by) = policy.changed.unzip();
        Self {
            kind: Shown::new(policy.kind.spec().wire),
            archive_after_days: policy.archive_after_days.map(days),
            delete_after_days: policy.delete_after_days.map(days),
            default_archive_after_days: days(default),
            changed_at: changed_at.map(DateTime),
            changed_by,
            segments: i32::try_from(status.segments).unwrap_or(i32::MAX),
            archived_events: Long(status.events),
            archived_bytes: Long(status.bytes),
            archived_from: status.first_at.map(DateTime),
            archived_to: status.last_at.map(DateTime),
            deleted_events: Long(status.deleted_events),
        }
    }

    async fn all(ctx: &Context<'_>) -> Result<Vec<Self>, Error> {
        let store = api(ctx).store();
        let failed = |error| of_failed(api(ctx), &error);
        let mut all = Vec::new();
        for policy in retention::policies(store).await.map_err(failed)? {
            let status = store.archived(policy.kind).await.map_err(failed)?;
            all.push(Self::of(policy, status));
        }
        Ok(all)
    }
}

/// How far an erasure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
enum ErasureState {
    /// It waits for its turn.
    Queued,
    /// Something is erased already.
    Running,
    /// It is done.
    Done,
}

/// An erasure of what is personal in the events of a person. Of whom it is, it does not say.
#[derive(Debug, SimpleObject)]
struct Erasure {
    /// Its id.
    #[graphql(name = "erasureId")]
    id: ID,
    /// How far it is.
    state: ErasureState,
    /// Events that had something of the person, as far as it is done.
    events: Long,
    /// Segments that were written anew.
    segments: i32,
    /// Who asked for it.
    asked_by: String,
    /// When it was asked for: what was recorded after that is not erased, but for who did something until it was
    /// done.
    asked_at: DateTime,
    /// When it changed last; of one that is done, when it was.
    changed_at: DateTime,
    /// Why it could not be gone on with the last time; null when it could. It is tried again.
    failure: Option<String>,
}

impl Erasure {
    fn of(row: ErasureRow) -> Self {
        Self {
            state: match retention::ErasureState::of(&row) {
                retention::ErasureState::Queued => ErasureState::Queued,
                retention::ErasureState::Running => ErasureState::Running,
                retention::ErasureState::Done => ErasureState::Done,
            },
            id: ID(row.erasure_id),
            events: Long(row.events),
            segments: i32::try_from(row.segments).unwrap_or(i32::MAX),
            asked_by: row.asked_by,
            asked_at: DateTime(Instant(row.asked_at)),
            changed_at: DateTime(Instant(row.changed_at)),
            failure: row.failure,
        }
    }
}

/// The queries of retention.
#[derive(Debug)]
pub(super) struct Retention;

#[Object]
impl Retention {
    /// How long events are kept before they are archived or deleted, one for each kind that ever is. What
    /// was archived is read like all else. Events of other kinds stay in their tables for ever, since what holds is
    /// made of them.
    async fn retention_policies(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<Vec<InOrder<RetentionPolicy>>>, Error> {
        let all = RetentionPolicy::all(ctx).await?;
        super::loaders(ctx).count(all.len())?;
        Ok(Some(all.into_iter().map(InOrder).collect()))
    }

    /// An erasure by its id.
    async fn erasure(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its id.")] erasure_id: ID,
    ) -> Result<Option<InOrder<Erasure>>, Error> {
        let row = retention::erasure(api(ctx).store(), &erasure_id).await;
        let row = row.map_err(|error| of_failed(api(ctx), &error))?;
        Ok(row.map(|row| InOrder(Erasure::of(row))))
    }

    /// The newest erasures, the newest first.
    async fn erasures(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Rows at most; 50 when it is not given, 1000 at most.")] first: Option<
            i32,
        >,
    ) -> Result<Option<Vec<InOrder<Erasure>>>, Error> {
        let (rows, _) = ERASURES.size(first, None)?;
        let limit = u64::try_from(rows).unwrap_or(u64::MAX);
        let rows = retention::erasures(api(ctx).store(), limit).await;
        let rows = rows.map_err(|error| of_failed(api(ctx), &error))?;
        super::loaders(ctx).count(rows.len())?;
        let rows = rows.into_iter().map(|row| InOrder(Erasure::of(row)));
        Ok(Some(rows.collect()))
    }
}

/// How long events of a kind are to be kept.
#[derive(Debug, InputObject)]
struct SetRetentionPolicyInput {
    /// The kind of event.
    kind: Shown<EventKinds>,
    /// After how many days events are archived, 1 to 36525; null when they never are. Left out, it stays as it is.
    archive_after_days: MaybeUndefined<i32>,
    /// After how many days they are deleted for good, not fewer than those after which they are archived;
    /// it may be up to a tenth of that later. Null when they never are. Left out, it stays as it is.
    delete_after_days: MaybeUndefined<i32>,
}

/// The answer to `setRetentionPolicy`.
#[derive(Debug, SimpleObject)]
struct RetentionPolicyPayload {
    /// The policy as it is now; null when the command was refused.
    policy: Option<InOrder<RetentionPolicy>>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// The answer to `erasePerson`.
#[derive(Debug, SimpleObject)]
struct ErasePersonPayload {
    /// The erasure, as far as it is; null when it was refused.
    erasure: Option<InOrder<Erasure>>,
    /// Events that had something of the person, as far as it is done.
    events: Long,
    /// Segments that were written anew.
    segments: i32,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// The commands on what is kept.
#[derive(Debug)]
pub(super) struct RetentionCommands;

#[Object]
impl RetentionCommands {
    /// Sets how long events of a kind are kept: what is left out stays as it is, and what is null is never done. It
    /// holds from the next run on, which begins within the hour.
    async fn set_retention_policy(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The kind, and how long.")] input: SetRetentionPolicyInput,
    ) -> Result<InOrder<RetentionPolicyPayload>, Error> {
        let wire = input.kind.word();
        let deed = ("setRetentionPolicy", Some(wire.clone()));
        let given = (age(input.archive_after_days), age(input.delete_after_days));
        let by = &access::caller(ctx).name;
        let set = match Kind::of_wire(&wire) {
            Some(kind) => retention::set(api(ctx).store(), kind, given, by).await,
            None => Err(RetentionError::KeptHere),
        };
        let (set, user_errors) = ended(ctx, &deed, set).await?;
        let mut policies = match set {
            Some(()) => RetentionPolicy::all(ctx).await?,
            None => Vec::new(),
        };
        policies.retain(|policy| policy.kind.word() == wire);
        Ok(InOrder(RetentionPolicyPayload {
            policy: policies.pop().map(InOrder),
            user_errors,
        }))
    }

    /// Archives and deletes what is old enough now, and puts small segments together, which the server does by
    /// itself every hour; or says what it would archive and delete. Where what was archived is not found, nothing is
    /// done, and it is answered as an error with the code `ARCHIVE_MISSING`, or `UNAVAILABLE` if that may pass.
    async fn run_retention(
        &self,
        ctx: &Context<'_>,
        #[graphql(default, desc = "Whether it is only said what would be done.")] dry_run: bool,
    ) -> Result<InOrder<RunRetentionPayload>, Error> {
        run_or_tell(ctx, dry_run).await
    }

    /// Erases what is personal from all events of a person that are recorded until now, archived or not:
    /// the id, addresses, sessions, what was searched for, and what errors said. Who did something becomes
    /// `erased`, in events and wherever else it is told, also in what is recorded until that is done. The events stay,
    /// and count as before; a repeat of one of them is a duplicate. Names of access keys, addresses to which alerts are
    /// mailed, and what was written as a name, a reason or a value stay. It cannot be taken back. Backups that were made
    /// before still have it; one that is made before it is done has the id as well, and it is gone on with once
    /// that is restored.
    ///
    /// It is recorded at once and carried out behind that, whatever happens; the answer waits for a few seconds
    /// until it is done. How far it is by then, and later, says `erasure`.
    async fn erase_person(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The `userId` of the events, which is what `changedBy` and the like say too."
        )]
        user_id: ID,
    ) -> Result<InOrder<ErasePersonPayload>, Error> {
        // the audit must not name who was to be forgotten
        let deed = ("erasePerson", None);
        let by = &access::caller(ctx).name;
        let store = api(ctx).store();
        let asked = retention::erase_person(store, &user_id, by).await;
        let (asked, user_errors) = ended(ctx, &deed, asked).await?;
        let mut erasure = None;
        if let Some(asked) = asked {
            let row = retention::erasure_within(store, asked, DONE_WITHIN).await;
            erasure = Some(Erasure::of(
                row.map_err(|error| of_failed(api(ctx), &error))?,
            ));
        }
        let (events, segments) = erasure
            .as_ref()
            .map_or((0, 0), |e| (e.events.0, e.segments));
        Ok(InOrder(ErasePersonPayload {
            erasure: erasure.map(InOrder),
            events: Long(events),
            segments,
            user_errors,
        }))
    }
}

/// An age as it is given.
fn age(given: MaybeUndefined<i32>) -> Age {
    match given {
        MaybeUndefined::Undefined => Age::AsItIs,
        MaybeUndefined::Null => Age::Never,
        // what is negative is out of its bounds, as 0 is
        MaybeUndefined::Value(days) => Age::Days(u32::try_from(days).unwrap_or(0)),
    }
}

/// Tells in the audit how a command went: what it came to, or for what it was refused.
pub(super) async fn ended<T>(
    ctx: &Context<'_>,
    deed: &What<'_>,
    done: Result<T, RetentionError>,
) -> Result<(Option<T>, Vec<InOrder<UserError>>), Error> {
    match done {
        Ok(done) => {
            tell_done(ctx, deed).await?;
            Ok((Some(done), Vec::new()))
        }
        Err(error) => {
            let error = of_retention(ctx, error)?;
            tell_refused(ctx, deed, &error).await?;
            Ok((None, vec![InOrder(error)]))
        }
    }
}

/// For what a command was refused, unless it failed: that is no fault of whoever gave it.
pub(super) fn of_retention(ctx: &Context<'_>, error: RetentionError) -> Result<UserError, Error> {
    let told = error.to_string();
    let (field, code) = match error {
        RetentionError::KeptHere => ("kind", UserErrorCode::Invalid),
        RetentionError::Days { field } | RetentionError::DeletedFirst { field, .. } => {
            (field, UserErrorCode::Invalid)
        }
        RetentionError::Person => ("userId", UserErrorCode::Invalid),
        RetentionError::TooMany => ("userId", UserErrorCode::Conflict),
        RetentionError::Oneself | RetentionError::NobodyCan => {
            ("userId", UserErrorCode::WrongState)
        }
        RetentionError::Nowhere => ("dryRun", UserErrorCode::WrongState),
        RetentionError::Absent(absent) => return Err(of_absent(&absent)),
        RetentionError::Busy => ("dryRun", UserErrorCode::Conflict),
        RetentionError::Store(error) => return Err(of_failed(api(ctx), &error)),
        error @ RetentionError::Claim(_) => {
            let told = chain(&error).to_string();
            let now: Instant = api(ctx).ingest.clock().now();
            api(ctx).store().faults().tell("the archive", now, told);
            let message = "it cannot be found out whether others archive just now; try again";
            return Err(failed(ErrorCode::Unavailable, message));
        }
    };
    Ok(UserError::new(field, code, told))
}
