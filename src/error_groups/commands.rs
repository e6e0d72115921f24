//! What people decide about groups: each decision is an event, on a version of what was decided before.

use std::collections::BTreeSet;

use entity::error_group_changes::Column;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::about::About;
use super::standing::Groups;
use super::{GroupError, GroupId};
use crate::event::{Instant, NewEvent, own_id};
use crate::ingest::Ingest;
use crate::insights::errors::group::Status;
use crate::kinds::{Draft, Kind, Refusal};
use crate::store::{AppendError, Expect, Outcome};

/// Namespace of the ids of decisions.
const DECISIONS: Uuid = Uuid::from_u128(0x5d0e_7a94_2c61_4b8f_93d7_1f0a_6be2_84c5);
/// How often a decision is made anew when somebody else has decided meanwhile.
const TRIES_MAX: usize = 8;
/// Groups at most that are merged at once.
pub(crate) const MERGED_MAX: usize = 20;

/// What is decided about a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It was mended.
    Resolve,
    /// It is of no interest.
    Ignore,
    /// It counts again.
    Reopen,
}

impl Change {
    const fn word(self) -> &'static str {
        match self {
            Self::Resolve => "RESOLVED",
            Self::Ignore => "IGNORED",
            Self::Reopen => "REOPENED",
        }
    }

    const fn status(self) -> Status {
        match self {
            Self::Resolve => Status::Resolved,
            Self::Ignore => Status::Ignored,
            Self::Reopen => Status::Open,
        }
    }
}

/// Who decides about which group, on what version, and why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decision<'a> {
    /// The group.
    pub(crate) id: GroupId,
    /// Its version as the caller has read it.
    pub(crate) expected: Option<i64>,
    /// Who decides.
    pub(crate) by: &'a str,
    /// Why.
    pub(crate) reason: Option<&'a str>,
}

/// Whether the caller reaches a device, by its key.
pub(crate) type Reaches<'a> = &'a (dyn Fn(i64) -> bool + Sync);

/// Decides about a group. What holds already is not decided again.
///
/// # Errors
/// When there is none that the caller reaches, they reach it in part, it has changed, or that cannot be recorded.
pub(crate) fn decide<'a>(
    ingest: &'a Ingest,
    (groups, reaches): (&'a Groups, Reaches<'a>),
    of: Decision<'a>,
    change: Change,
) -> BoxFuture<'a, Result<(), GroupError>> {
    Box::pin(async move {
        for _ in 0..TRIES_MAX {
            let version = ingest.store().version(&entity(of.id)).await?;
            // read behind the version, so that a decision after it is noticed
            let about = about(ingest, (groups, reaches), of.id).await?;
            if about.group.status() == change.status() {
                return Ok(());
            }
            expected(&of, &about)?;
            let now = ingest.clock().now();
            let event = event(&about, (change.word(), None), &of, now)?;
            if record(ingest, vec![event], (of.id, version)).await? {
                return Ok(());
            }
        }
        Err(GroupError::Contended)
    })
}

/// Merges groups into one, which has the id of the one that was seen first. What was decided last about any of them
/// holds for all.
///
/// # Errors
/// When there is none of an id that the caller reaches, they reach one in part, the one has changed, or that cannot be
/// recorded.
pub(crate) fn merge<'a>(
    ingest: &'a Ingest,
    (groups, reaches): (&'a Groups, Reaches<'a>),
    into: Decision<'a>,
    merged: &'a [GroupId],
) -> BoxFuture<'a, Result<(), GroupError>> {
    Box::pin(async move {
        if !(1..=MERGED_MAX).contains(&merged.len()) {
            return Err(GroupError::TooMany);
        }
        if merged.iter().any(|id| id.provenance != into.id.provenance) {
            return Err(GroupError::OtherProvenance);
        }
        for _ in 0..TRIES_MAX {
            let version = ingest.store().version(&entity(into.id)).await?;
            let one = about(ingest, (groups, reaches), into.id).await?;
            let now = ingest.clock().now();
            let (mut events, mut met) = (Vec::<NewEvent>::new(), BTreeSet::from([one.id]));
            for id in merged {
                let other = about(ingest, (groups, reaches), *id).await?;
                // they may be one already, or be named twice
                if met.insert(other.id) {
                    events.push(event(&other, ("MERGED", Some(&one)), &into, now)?);
                }
            }
            if events.is_empty() {
                return Ok(());
            }
            expected(&into, &one)?;
            if record(ingest, events, (into.id, version)).await? {
                return Ok(());
            }
        }
        Err(GroupError::Contended)
    })
}

/// Name of the groups of a provenance, for those who expect that nobody decides about them.
fn entity(id: GroupId) -> String {
    format!("error-groups/{}", id.provenance.word())
}

/// A group of which all is within reach.
async fn about(
    ingest: &Ingest,
    (groups, reaches): (&Groups, Reaches<'_>),
    id: GroupId,
) -> Result<About, GroupError> {
    let about = groups.decided_about(ingest.store(), id).await?;
    match about.reached(reaches) {
        (true, _) => Ok(about),
        (false, true) => Err(GroupError::Partly),
        // what is out of reach is as if it were not there
        (false, false) => Err(GroupError::Unknown),
    }
}

fn expected(of: &Decision<'_>, about: &About) -> Result<(), GroupError> {
    match of.expected {
        Some(expected) if expected != about.version => Err(GroupError::Stale {
            version: about.version,
        }),
        Some(_) | None => Ok(()),
    }
}

/// The event of a decision. Two who decide the same at once have decided it once.
fn event(
    about: &About,
    (change, into): (&str, Option<&About>),
    of: &Decision<'_>,
    now: Instant,
) -> Result<NewEvent, Refusal> {
    let into = into.map(|into| into.id.to_string());
    let name = format!(
        "{}/{change}/{}/{}",
        about.id,
        into.as_deref().unwrap_or_default(),
        about.version
    );
    Draft::new(Kind::ErrorGroupChange, now, about.id.provenance)
        .event_id(own_id(&DECISIONS, name.as_bytes()))
        .set(Column::GroupId, about.id.to_string().as_str())
        .set(Column::Change, change)
        .set(Column::IntoGroupId, into.as_deref())
        .set(Column::Category, about.group.category.as_str())
        .set(Column::ErrorCode, about.group.code.as_deref())
        .set(Column::Template, about.template.as_str())
        .set(Column::ChangedBy, of.by)
        .given(Column::Reason, of.reason)
        .finish()
}

/// Records decisions; whether nobody else decided meanwhile.
async fn record(
    ingest: &Ingest,
    events: Vec<NewEvent>,
    (id, version): (GroupId, i64),
) -> Result<bool, GroupError> {
    let expect = Expect::changing(entity(id), version);
    let appended = match ingest.command(events, Some(expect)).await {
        Err(AppendError::Stale { .. }) => return Ok(false),
        appended => appended?,
    };
    let mut outcomes = appended.outcomes.into_iter();
    let refusal = outcomes.find_map(|outcome| match outcome {
        Outcome::Rejected(refusal) => Some(refusal),
        // somebody has decided so at the same instant
        Outcome::Recorded(_) | Outcome::Duplicate(_) | Outcome::Conflict(_) => None,
    });
    refusal.map_or(Ok(true), |refusal| Err(refusal.into()))
}
