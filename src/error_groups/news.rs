//! What is new of groups: one was seen for the first time in a part of the fleet, or came back after it was resolved.

use futures_util::future::BoxFuture;

use super::GroupId;
use super::standing::{Groups, Moment, Standing};
use crate::event::Position;
use crate::history::error_groups::{self, NewsRow};
use crate::store::{Store, StoreError};

/// News that are looked at at once.
const LOOKED_AT: i64 = 1_000;

/// What has become of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// It was seen for the first time.
    New,
    /// It came back after it was resolved.
    Regressed,
}

/// Something new of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct News {
    /// The group.
    pub(crate) id: GroupId,
    /// What has become of it.
    pub(crate) what: What,
    /// The error by which that was known.
    pub(crate) position: Position,
}

impl Groups {
    /// What is new after a position of what was seen on some devices, or anywhere; in order, with the position up to
    /// which it was looked for. It is the same however often it is asked.
    pub(crate) fn news<'a>(
        &'a self,
        store: &'a Store,
        after: Position,
        devices: Option<&'a [i64]>,
    ) -> BoxFuture<'a, Result<(Vec<News>, Position), StoreError>> {
        Box::pin(async move {
            let moment = self.moment(store, None).await?;
            let rows = error_groups::news(&moment.tx, after.0, LOOKED_AT).await?;
            let upto = rows.last().map_or(after, |row| Position(row.position));
            let is_seen = |row: &NewsRow| {
                devices.is_none_or(|devices| devices.binary_search(&row.device_key).is_ok())
            };
            let mut news = Vec::new();
            let mut standing: Option<Standing> = None;
            for row in rows.into_iter().filter(is_seen) {
                let of = standing.as_ref().map(|standing| standing.provenance);
                if of != Some(row.provenance) {
                    standing = Some(self.undecided(&moment, row.provenance).await?);
                }
                if let Some(standing) = &standing {
                    news.extend(news_of(&moment, standing, (row, devices)).await?);
                }
            }
            moment.end().await?;
            Ok((news, upto))
        })
    }
}

/// What a row tells, if it is the first of its group that does.
async fn news_of(
    moment: &Moment,
    standing: &Standing,
    (row, devices): (NewsRow, Option<&[i64]>),
) -> Result<Option<News>, StoreError> {
    let whole = standing.label(row.label);
    let Some(whole) = whole.and_then(|label| standing.state.current(label)) else {
        return Ok(None);
    };
    let written = standing.written(&whole.labels);
    let of = (row.provenance, written.as_slice());
    // what came back did so for everybody, and is told to those who reach the device on which it did
    let devices = devices.filter(|_| row.since == 0);
    let first = error_groups::first_news(&moment.tx, of, (row.since, devices)).await?;
    Ok((first == Some(row.position)).then(|| News {
        id: GroupId {
            provenance: row.provenance,
            id: whole.id(),
        },
        what: if row.since == 0 {
            What::New
        } else {
            What::Regressed
        },
        position: Position(row.position),
    }))
}
