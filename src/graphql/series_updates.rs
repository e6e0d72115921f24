//! Series as streams: the series as it stands, and then what of it changes.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Context, Error, ID, SimpleObject, Subscription};
use futures_util::Stream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep};

use super::error::{ErrorCode, error};
use super::order::InOrder;
use super::scalars::DateTime;
use super::series::{Series, SeriesArgs, Shower, cursor_at, group_id, of_ask, selected_buckets};
use super::series_buckets::{are_percentiles, parts};
use super::series_input::{BucketInput, SeriesFilter};
use super::series_words::{AggregateWord, CompareWord, Dimension, FillWord, Measure};
use super::subscription::{SLICE_BYTES_MAX, resumed};
use super::{Api, access, api, cursor, of_failed, spending};
use crate::analytics::live::{FOLLOWED_BUCKETS_MAX, Followed, Live, Moment, Need};
use crate::analytics::told::{Change, Told};
use crate::event::{Event, Position};
use crate::identity::Caller;
use crate::store::Tail;

/// How often a series that changes without pause is told at most.
const TOLD_EVERY: Duration = Duration::from_millis(250);
/// A series that takes long is told so much more seldom that it takes a fifth of the time.
const PAUSES: u32 = 4;
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Buckets of a group that are no longer.
#[derive(Debug, SimpleObject)]
struct SeriesGone {
    /// The group.
    group_id: ID,
    /// When they began.
    starts: Vec<DateTime>,
}

/// A series that has changed.
#[derive(Debug, SimpleObject)]
struct SeriesUpdate {
    /// As `after`: goes on from here. If anything has been recorded since, all of the series comes first; so it does if
    /// this was told while what a late registration means, of whichever device, was still to be summed up anew.
    cursor: String,
    /// Whether it is all of the series: what was told before is to be forgotten.
    is_snapshot: bool,
    /// The series. Its groups are those that have changed, each with the buckets that have changed and with its total;
    /// of a snapshot all of them.
    series: InOrder<Series>,
    /// The ids of all groups, in their order, when they are others or in another order than was told before; null
    /// when they are as before. A group that is not among them is gone.
    group_ids: Option<Vec<ID>>,
    /// Buckets of these groups that are no longer.
    gone: Vec<InOrder<SeriesGone>>,
}

/// The streams of series.
#[derive(Debug)]
pub(super) struct SeriesStreams;

#[Subscription]
impl SeriesStreams {
    /// A series as it stands, and then what of it changes, at most four times a second. It is told of what is selected
    /// of buckets and totals, and only when that has changed: what is recorded of other sites, or with other labels, is
    /// no change. What `rate`, `expected`, `coverage` and, without `to`, the end of the total become with the clock
    /// alone is told when something of the source is recorded.
    ///
    /// Whoever puts what has changed in place of what was told has the series as it would be answered. Without `to` it
    /// goes on to each moment: a bucket in which nothing was said yet comes with the next change. All groups together
    /// have 20,000 buckets at most.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn series_updates(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The measures, 1 to 20, all of one source.")] measures: Vec<Measure>,
        #[graphql(desc = "The first instant of the range.")] from: DateTime,
        #[graphql(desc = "The first instant after the range; each moment when left out.")]
        to: Option<DateTime>,
        #[graphql(desc = "How time is cut.")] buckets: Option<BucketInput>,
        #[graphql(desc = "Which events.")] filter: Option<SeriesFilter>,
        #[graphql(desc = "What groups are told apart by, in this order, each once.")]
        group_by: Option<Vec<Dimension>>,
        #[graphql(
            desc = "So many groups, of money so many in each currency, and all others as one: 1 to 1,000."
        )]
        top: Option<i32>,
        #[graphql(
            desc = "By what groups are ranked; when left out by the mean of a gauge, the increase of a \
            counter, the number of events."
        )]
        rank_by: Option<AggregateWord>,
        #[graphql(desc = "What stands in buckets in which nothing was said; NULL when left out.")]
        fill: Option<FillWord>,
        #[graphql(desc = "With what it is compared.")] compare_with: Option<CompareWord>,
        #[graphql(
            desc = "Goes on after this place: if nothing has changed since, with the next change."
        )]
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<InOrder<SeriesUpdate>, Error>>, Error> {
        let is_open = to.is_none();
        // whenever it was asked, the same is followed: what has no end ends with each moment
        let until = DateTime(crate::event::Instant(from.0.0.saturating_add(1)));
        let args = SeriesArgs {
            measures,
            from,
            to: Some(to.unwrap_or(until)),
            buckets: buckets.unwrap_or_default(),
            filter: filter.unwrap_or_default(),
            group_by: group_by.unwrap_or_default(),
            top,
            rank_by,
            fill,
            compare_with,
        };
        let api = api(ctx).clone();
        let after = match resumed(ctx, after.as_deref()) {
            Some(text) => Some(cursor::read_to_follow(&api, text, Some(&[])).await?),
            None => None,
        };
        let selected = ctx.look_ahead().field("series");
        let buckets = selected_buckets(&selected);
        for buckets in &buckets {
            are_percentiles(buckets)?;
        }
        let told = Told::of(parts(&buckets));
        let (asked, shower) = args.asked(ctx, selected).await?;
        let followed = Followed { asked, is_open };
        let live = api.lives.join(api.store(), &api.settled, followed);
        let follower = Follower {
            caller: access::caller(ctx).clone(),
            api,
            live,
            shower,
            told,
            room: None,
            need: Need::default(),
            last: Need::default(),
        };
        Ok(follow(ctx, follower, after))
    }
}

fn follow<'a>(
    ctx: &Context<'a>,
    mut follower: Follower,
    after: Option<Position>,
) -> impl Stream<Item = Result<InOrder<SeriesUpdate>, Error>> + use<'a> {
    let loaders = super::loaders(ctx);
    async_stream::stream! {
        let mut tail = match follower.begin(after).await {
            Ok((tail, update)) => {
                if let Some(update) = update {
                    yield Ok(update);
                    // it has been rendered when the next is asked for
                    loaders.begin();
                }
                tail
            }
            Err(error) => {
                yield Err(error);
                return;
            }
        };
        loop {
            let begun = match follower.wakes(&mut tail).await {
                Ok(()) => Instant::now(),
                Err(error) => {
                    yield Err(error);
                    return;
                }
            };
            match follower.look().await {
                Ok(Some(update)) => {
                    yield Ok(update);
                    loaders.begin();
                }
                Ok(None) => {}
                Err(error) => {
                    yield Err(error);
                    return;
                }
            }
            // what comes meanwhile is told together
            let pause = begun.elapsed().saturating_mul(PAUSES);
            sleep(pause.clamp(TOLD_EVERY, PAUSE_MAX)).await;
        }
    }
}

/// Follows a series for one caller.
struct Follower {
    api: Api,
    caller: Caller,
    live: Arc<Live>,
    shower: Shower,
    told: Told,
    /// Room for what is held of it.
    room: Option<OwnedSemaphorePermit>,
    /// What the next moment needs to have.
    need: Need,
    /// What the last one had.
    last: Need,
}

impl Follower {
    /// The series as it stands, unless nothing has changed since a place; and the tail that goes on from it.
    async fn begin(
        &mut self,
        after: Option<Position>,
    ) -> Result<(Tail, Option<InOrder<SeriesUpdate>>), Error> {
        // what any node has acknowledged by now is in it
        let head = super::head(&self.api).await?;
        let need = Need {
            position: head,
            ..Need::default()
        };
        let moment = self.moment(need).await?;
        let change = self.change(&moment)?;
        let position = moment.answered.position;
        let is_told = match after {
            Some(after) => !self.has_changed((after, position)).await?,
            None => false,
        };
        let update = change.filter(|_| !is_told);
        let update = update
            .map(|change| self.update(change, &moment))
            .transpose()?;
        // a registration that is not summed up yet may change all of it once more
        self.need = Need {
            position: head,
            folded: position,
        };
        Ok((self.tail(position), update))
    }

    fn tail(&self, from: Position) -> Tail {
        let tail = self.api.store().tail(from, Some(self.live.kinds()));
        tail.in_slices_of(SLICE_BYTES_MAX)
    }

    /// Whether anything by which it may have changed was recorded after a position and up to another.
    async fn has_changed(&self, (after, upto): (Position, Position)) -> Result<bool, Error> {
        let mut tail = self.tail(after);
        while tail.position() < upto {
            let events = tail.next_looked_at().await;
            let events = events.map_err(|error| of_failed(&self.api, &error))?;
            if events
                .iter()
                .any(|event| self.live.need(event) != Need::default())
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until the series may have changed.
    async fn wakes(&mut self, tail: &mut Tail) -> Result<(), Error> {
        let mut settled = self.api.settled.clone();
        loop {
            // what is summed up for too long is not in a moment yet: it is asked for again after a pause
            if self.need.position > self.last.position {
                return Ok(());
            }
            let summed_up = self.need.folded;
            let is_awaited = summed_up > self.last.folded;
            tokio::select! {
                events = tail.next() => {
                    let events = events.map_err(|error| of_failed(&self.api, &error))?;
                    self.add(&events);
                }
                () = reached(&mut settled, summed_up), if is_awaited => return Ok(()),
            }
        }
    }

    fn add(&mut self, events: &[Arc<Event>]) {
        for event in events {
            self.need = self.need.and(self.live.need(event));
        }
    }

    /// What has changed.
    async fn look(&mut self) -> Result<Option<InOrder<SeriesUpdate>>, Error> {
        let settled = *self.api.settled.borrow();
        let need = Need {
            position: self.need.position,
            // as far as it is there
            folded: self.need.folded.min(settled),
        };
        let moment = self.moment(need).await?;
        let Some(change) = self.change(&moment)? else {
            return Ok(None);
        };
        let cost = i64::try_from(change.buckets()).unwrap_or(i64::MAX);
        spending::pay(&self.api, &self.caller, cost).await;
        self.update(change, &moment).map(Some)
    }

    async fn moment(&mut self, need: Need) -> Result<Arc<Moment>, Error> {
        let moment = self.live.moment(need).await;
        let moment = moment.map_err(|failed| of_ask(&self.api, &failed))?;
        self.last = moment.had();
        Ok(moment)
    }

    /// What a moment has that was not told, and room for holding that it is.
    fn change(&mut self, moment: &Moment) -> Result<Option<Change>, Error> {
        let groups = moment.answered.groups.iter();
        let buckets: usize = groups.map(|group| group.buckets.len()).sum();
        if buckets > FOLLOWED_BUCKETS_MAX {
            let message = format!(
                "a series that is followed has at most {FOLLOWED_BUCKETS_MAX} buckets in all groups together, and \
                 this one has {buckets}: for fewer groups give `top`, or a narrower `filter`; for fewer buckets a \
                 coarser `resolution`, such as AUTO, a greater `every`, or a shorter range from `from` to `to`"
            );
            return Err(error(ErrorCode::LimitExceeded, message));
        }
        let change = self.told.change(&moment.answered);
        let held = self
            .room
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let more = self.told.held().saturating_sub(held);
        if more > 0 {
            let room = self.api.lives.room(more);
            let room = room.ok_or_else(|| super::error::overloaded(CROWDED))?;
            match &mut self.room {
                Some(held) => held.merge(room),
                None => self.room = Some(room),
            }
        }
        Ok(change)
    }

    fn update(&self, change: Change, moment: &Moment) -> Result<InOrder<SeriesUpdate>, Error> {
        let ids = |ids: Vec<_>| ids.iter().map(group_id).collect();
        let gone = change.gone.into_iter().map(|(id, starts)| {
            InOrder(SeriesGone {
                group_id: group_id(&id),
                starts: starts
                    .into_iter()
                    .map(|at| DateTime(crate::event::Instant(at)))
                    .collect(),
            })
        });
        Ok(InOrder(SeriesUpdate {
            cursor: cursor_at(&self.api, moment.settled()),
            is_snapshot: change.is_snapshot,
            gone: gone.collect(),
            group_ids: change.order.map(ids),
            series: InOrder(self.shower.series(&self.api, change.answered)?),
        }))
    }
}

/// Waits until the log is summed up to a position.
async fn reached(settled: &mut watch::Receiver<Position>, position: Position) {
    let reached = settled.wait_for(|settled| *settled >= position);
    let is_gone = reached.await.is_err();
    // when the server stops nothing is reached any more
    if is_gone {
        std::future::pending::<()>().await;
    }
}

const CROWDED: &str = "too much is being followed at once; try again";
