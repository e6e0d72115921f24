//! The groups of each provenance in memory: read whole once, and from then on led along by what is recorded, so that an
//! error costs what one error costs.
//!
//! What is in memory is used only where it is of the same events as what the tables have: that is known by the last of
//! them that is folded, and by what tells all of them from others. Where it is not, as after groups were folded anew, it
//! is let go. What is not folded is compared each time with what is recorded now.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::event::{Event, Position, Provenance};
use crate::insights::errors::state::State;
use crate::projections::groups::rows::Kept;
use crate::projections::groups::told::{self, Taken};
use crate::projections::groups::{Changed, KINDS};
use crate::store::{Store, StoreError};

/// Events that are read at once of those that are not taken yet, and such reads at most: what is not folded then is told
/// when it is.
const PAGE_EVENTS: usize = 2_000;
const PAGES_MAX: usize = 4;
/// What events have done that are folded is known of so many of them at most, for those who read an older moment.
const BEHIND_MAX: usize = 2_000;

/// The last event that groups were told, and what tells all of those from others.
pub(super) type Last = (Position, u64);

/// What has a part in groups and was recorded lately.
#[derive(Debug)]
pub(super) struct Recent {
    /// How far groups are folded, at least.
    folded: Position,
    /// After which position it is all there is, and up to which.
    from: Position,
    upto: Position,
    events: Vec<Arc<Event>>,
}

impl Recent {
    /// What was recorded after a position up to which all is in memory, or after what is folded, where that is less or
    /// too much was recorded meanwhile.
    pub(super) async fn read(
        store: &Store,
        (held, folded): (Option<Position>, Position),
    ) -> Result<Self, StoreError> {
        let mut recent = Self::after(held.map_or(folded, |held| held.min(folded)), folded);
        for _ in 0..PAGES_MAX {
            let slice = store.after_of(recent.upto, PAGE_EVENTS, KINDS).await?;
            if slice.upto < folded {
                // what is folded is sooner read than made of so many events
                recent = Self::after(folded, folded);
                continue;
            }
            recent.events.extend(slice.events);
            if slice.upto == recent.upto {
                break;
            }
            recent.upto = slice.upto;
        }
        Ok(recent)
    }

    const fn after(from: Position, folded: Position) -> Self {
        Self {
            folded,
            from,
            upto: from,
            events: Vec::new(),
        }
    }

    /// What was recorded of a provenance after a position.
    fn of(&self, provenance: Provenance, after: Position) -> impl Iterator<Item = &Event> {
        let events = self.events.iter().map(|event| &**event);
        events.filter(move |event| event.fact.provenance == provenance && event.position > after)
    }
}

/// The groups of a provenance as they stand, and what was done to them since they were folded.
pub(super) type Stand = (Arc<State>, Changed);

/// What is in memory.
#[derive(Debug, Default)]
pub(super) struct Held {
    kept: BTreeMap<Provenance, Following>,
}

impl Held {
    /// Up to which position all is taken; `None` where nothing is held.
    pub(super) fn upto(&self) -> Option<Position> {
        self.kept.values().map(|following| following.upto).min()
    }

    /// Takes what was recorded, and gives the groups of a provenance of which the tables have what was folded until an
    /// event; `None` where what is in memory is not of that.
    pub(super) fn stand(
        &mut self,
        recent: &Recent,
        (provenance, head): (Provenance, Last),
    ) -> Option<Stand> {
        // what is half led when something panics is gone
        let kept = std::mem::take(&mut self.kept);
        for (provenance, mut following) in kept {
            if following.lead(recent, provenance) {
                self.kept.insert(provenance, following);
            }
        }
        let following = self.kept.get_mut(&provenance)?;
        following.stand(head, recent.folded)
    }

    /// Takes groups as they were read, and what was recorded since.
    pub(super) fn begin(
        &mut self,
        recent: &Recent,
        (provenance, kept): (Provenance, Kept),
    ) -> Stand {
        let mut following = Following::of(kept, recent.folded);
        for event in recent.of(provenance, following.upto) {
            following.take(event);
        }
        following.upto = following.upto.max(recent.upto);
        let stand = (
            Arc::clone(&following.state),
            following.fresh(following.begins.0),
        );
        self.kept.insert(provenance, following);
        stand
    }
}

/// Groups that are led along.
#[derive(Debug)]
struct Following {
    /// The last event of which it is not known any more what it has done.
    begins: Last,
    /// What the events after it have done, in order.
    taken: VecDeque<Taken>,
    /// Up to which position all is taken.
    upto: Position,
    state: Arc<State>,
}

impl Following {
    /// Groups as they are kept, of which the tables have all up to a position at least.
    fn of(kept: Kept, folded: Position) -> Self {
        Self {
            begins: (kept.position, kept.chain),
            taken: VecDeque::new(),
            upto: folded.max(kept.position),
            state: Arc::new(kept.state),
        }
    }

    /// The last event that was taken up to a position.
    fn last(&self, upto: Position) -> Last {
        let after = self.taken.partition_point(|taken| taken.position <= upto);
        let last = after.checked_sub(1).and_then(|last| self.taken.get(last));
        last.map_or(self.begins, |taken| (taken.position, taken.chain))
    }

    fn take(&mut self, event: &Event) {
        let (_, before) = self.last(Position(i64::MAX));
        let state = Arc::make_mut(&mut self.state);
        self.taken.push_back(told::take(state, (before, event)));
    }

    /// Takes what was recorded and is not taken yet; false where it cannot, or where what was taken is not what is
    /// recorded.
    fn lead(&mut self, recent: &Recent, provenance: Provenance) -> bool {
        if self.upto < recent.from {
            return false;
        }
        for event in recent.of(provenance, self.begins.0) {
            if event.position > self.upto {
                self.take(event);
                continue;
            }
            let (_, before) = self.last(Position(event.position.0 - 1));
            if self.last(event.position) != (event.position, told::chain(before, event)) {
                return false;
            }
        }
        self.upto = self.upto.max(recent.upto);
        true
    }

    /// The groups, if they are of the same events as what is folded.
    fn stand(&mut self, head: Last, folded: Position) -> Option<Stand> {
        if self.last(folded.max(head.0)) != head {
            return None;
        }
        while self.taken.len() > BEHIND_MAX {
            let first = self.taken.front().filter(|first| first.position <= head.0);
            let Some(first) = first else { break };
            self.begins = (first.position, first.chain);
            self.taken.pop_front();
        }
        Some((Arc::clone(&self.state), self.fresh(head.0)))
    }

    /// What events after one have done.
    fn fresh(&self, after: Position) -> Changed {
        let mut fresh = Changed::default();
        let folded = self.taken.partition_point(|taken| taken.position <= after);
        for taken in self.taken.iter().skip(folded) {
            fresh.take(taken);
        }
        fresh
    }
}

#[cfg(test)]
#[path = "following_tests.rs"]
mod tests;
