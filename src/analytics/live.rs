//! Series that are followed: what many follow alike is asked once for all of them.
//!
//! Nothing runs by itself: of those who wait for a moment of a series the first asks for it, and the others wait
//! for the same answer. It is held only as long as somebody is telling of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::ask::{Answered, AskError, Asked, ask};
use crate::event::{Event, Instant, Position};
use crate::kinds::Kind;
use crate::store::{Allowance, Store};

/// Longer than any day is: so far ahead a reading may change what a counter grew by.
const DAY: i64 = 26 * 3_600_000_000;

/// Buckets at most, of all groups together, of a series that is followed.
pub const FOLLOWED_BUCKETS_MAX: usize = 20_000;
/// Buckets at most that are held of what has been told to all who follow: 64 MiB of digests.
const HELD_BUCKETS_MAX: usize = 1_000_000;

/// Series that are being followed.
#[derive(Clone, Debug)]
pub struct Lives {
    open: Arc<Mutex<Vec<Weak<Live>>>>,
    /// The room of what is held of all that has been told.
    room: Arc<Semaphore>,
}

impl Default for Lives {
    fn default() -> Self {
        Self {
            open: Arc::default(),
            room: Arc::new(Semaphore::new(HELD_BUCKETS_MAX)),
        }
    }
}

/// A series that is followed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Followed {
    pub(crate) asked: Asked,
    /// Whether it goes on to this moment, whenever that is.
    pub(crate) is_open: bool,
}

/// A series that is being followed, as long as somebody does.
#[derive(Debug)]
pub(crate) struct Live {
    store: Store,
    settled: watch::Receiver<Position>,
    followed: Followed,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    latest: Weak<Moment>,
    /// Ends, and gives its connection back, when nobody waits for it any more.
    asking: Option<WeakShared<Answering>>,
}

type Answering = BoxFuture<'static, Result<Arc<Moment>, Arc<AskError>>>;
type Asking = Shared<Answering>;

impl State {
    fn asking(&self) -> Option<Asking> {
        self.asking.as_ref().and_then(WeakShared::upgrade)
    }
}

/// A series as it is at a moment.
#[derive(Debug)]
pub(crate) struct Moment {
    pub(crate) answered: Answered,
    /// How far the log was summed up at least when it was asked, with all that was put off.
    folded: Position,
    /// What it takes of the room of all readers.
    _room: Allowance,
}

/// What a moment has to have at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Need {
    /// All events up to this position.
    pub(crate) position: Position,
    /// And those up to this one summed up, with all that was put off: where a device stood is known only then.
    pub(crate) folded: Position,
}

impl Need {
    /// The greater of both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            position: self.position.max(other.position),
            folded: self.folded.max(other.folded),
        }
    }
}

impl Lives {
    /// Room for what is held of so many more buckets that have been told; none if there is none.
    pub(crate) fn room(&self, buckets: usize) -> Option<OwnedSemaphorePermit> {
        let buckets = u32::try_from(buckets).ok()?;
        Arc::clone(&self.room).try_acquire_many_owned(buckets).ok()
    }

    /// The series as all follow it who follow the same.
    pub(crate) fn join(
        &self,
        store: &Store,
        settled: &watch::Receiver<Position>,
        followed: Followed,
    ) -> Arc<Live> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|live| live.strong_count() > 0);
        let mut lives = open.iter().filter_map(Weak::upgrade);
        if let Some(live) = lives.find(|live| live.followed == followed) {
            return live;
        }
        let live = Arc::new(Live {
            store: store.clone(),
            settled: settled.clone(),
            followed,
            state: Mutex::default(),
        });
        open.push(Arc::downgrade(&live));
        live
    }
}

impl Live {
    /// A moment that has what is needed, if there is one: what is not summed up for too long is not in it yet.
    pub(crate) async fn moment(&self, need: Need) -> Result<Arc<Moment>, Arc<AskError>> {
        // who joins one that was begun before what is needed asks once more
        let (asking, is_own) = match self.begin(need) {
            Ok(moment) => return Ok(moment),
            Err(asking) => asking,
        };
        let moment = self.end(&asking, asking.clone().await)?;
        if is_own || moment.has(need) {
            return Ok(moment);
        }
        let (asking, _) = match self.begin(need) {
            Ok(moment) => return Ok(moment),
            Err(asking) => asking,
        };
        self.end(&asking, asking.clone().await)
    }

    /// The latest moment if it has what is needed, or else one that is being asked for, and whether by whoever
    /// calls.
    fn begin(&self, need: Need) -> Result<Arc<Moment>, (Asking, bool)> {
        let mut state = self.state();
        if let Some(moment) = state.latest.upgrade().filter(|moment| moment.has(need)) {
            return Ok(moment);
        }
        if let Some(asking) = state.asking() {
            return Err((asking, false));
        }
        let (store, mut asked) = (self.store.clone(), self.followed.asked.clone());
        if self.followed.is_open {
            let now = store.clock().now();
            asked.range.1 = Instant(now.0.saturating_add(1).max(asked.range.0.0 + 1));
        }
        let folded = *self.settled.borrow();
        let asking = async move {
            let room = store.allowance();
            let answered = ask(&store, &asked, &room).await.map_err(Arc::new)?;
            Ok(Arc::new(Moment {
                answered,
                folded,
                _room: room,
            }))
        };
        let asking = asking.boxed().shared();
        state.asking = asking.downgrade();
        Err((asking, true))
    }

    fn end(
        &self,
        asking: &Asking,
        moment: Result<Arc<Moment>, Arc<AskError>>,
    ) -> Result<Arc<Moment>, Arc<AskError>> {
        let mut state = self.state();
        if state.asking().is_some_and(|held| held.ptr_eq(asking)) {
            state.asking = None;
            if let Ok(moment) = &moment {
                state.latest = Arc::downgrade(moment);
            }
        }
        moment
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kinds of events by which it may change.
    pub(crate) fn kinds(&self) -> &'static [Kind] {
        let kind = self.followed.asked.subject.kind;
        let of = FOLLOWED.iter().find(|kinds| kinds.contains(&kind));
        of.copied().unwrap_or_default()
    }

    /// What a moment needs to have so that an event is in it; nothing if it changes nothing.
    pub(crate) fn need(&self, event: &Event) -> Need {
        let asked = &self.followed.asked;
        let position = event.position;
        if event.fact.kind != asked.subject.kind {
            // a registration may move all that was said of a device
            return Need {
                position,
                folded: position,
            };
        }
        let (at, (from, to)) = (event.fact.occurred_at.0, asked.range);
        // how often a device reports it may tell at any time
        let is_within = asked.earlier.is_some()
            || asked.coverage
            || at >= from.0.saturating_sub(DAY) && (self.followed.is_open || at < to.0);
        let device = event.fact.spec().device_index();
        let device = device.and_then(|index| event.fact.cells.get(index)?.int());
        let is_of = match (&asked.subject.scope.devices, device) {
            (Some(devices), device) => devices.contains(&device.unwrap_or_default()),
            (None, _) => true,
        };
        if is_within && is_of {
            Need {
                position,
                folded: Position::default(),
            }
        } else {
            Need::default()
        }
    }
}

/// The kinds of events by which series of each kind change: where a device stands changes all.
const FOLLOWED: [&[Kind]; 6] = [
    &[
        Kind::SiteRegistration,
        Kind::DeviceRegistration,
        Kind::DeviceMetrics,
    ],
    &[
        Kind::SiteRegistration,
        Kind::DeviceRegistration,
        Kind::JobOutcome,
    ],
    &[
        Kind::SiteRegistration,
        Kind::DeviceRegistration,
        Kind::DeviceStateChange,
    ],
    &[
        Kind::SiteRegistration,
        Kind::DeviceRegistration,
        Kind::ErrorLog,
    ],
    &[
        Kind::SiteRegistration,
        Kind::DeviceRegistration,
        Kind::UserActivity,
    ],
    &[
        Kind::SiteRegistration,
        Kind::DeviceRegistration,
        Kind::ApiRequest,
    ],
];

impl Moment {
    /// Whether it has what is needed.
    pub(crate) fn has(&self, need: Need) -> bool {
        self.answered.position >= need.position && self.folded >= need.folded
    }

    /// What it has.
    pub(crate) const fn had(&self) -> Need {
        Need {
            position: self.answered.position,
            folded: self.folded,
        }
    }

    /// Up to where nothing that was recorded will change it any more. While anything is put off, of whichever device,
    /// that is before the first registration of which it is: whoever goes on from there meets that registration among
    /// the first events, and is told all, as parts of it may have been done meanwhile.
    pub(crate) fn settled(&self) -> Position {
        self.answered.position.min(self.folded)
    }
}
