//! Looks for repeats of what was archived, outside of the transactions that append.
//!
//! A transaction that appends reads no file. A request with keys that may be in segments is kept out of it and
//! comes back to whoever asked, who looks into these segments, while others are appended, and sends the request
//! again with what was found. That holds for the segments that were looked into, which never change. If there is
//! another by then in which a key may be, the request is kept out once more: whatever an archiver moves
//! meanwhile, a key is in its table, in a segment that was looked into, or in one that is looked into next.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::Semaphore;
use uuid::Uuid;

use super::allowance::Allowance;
use super::append::{AppendError, Appended, Request};
use super::duplicates::{Key, STORED_BYTES_MAX, keyed, news_of};
use super::error::StoreError;
use super::names::EntityType;
use super::read::{PageQuery, Tables};
use super::rows::Columns;
use super::segments::{Ask, Catalog, Found, Segment};
use crate::event::{Event, Fact, NewEvent};
use crate::kinds::{Identity, Kind};

/// Segments that are looked into at once, for whomever: each takes turns with the others at every segment.
const TURNS: usize = 2;

/// The room for requests that wait until it was looked for what they may repeat.
#[derive(Debug)]
pub(crate) struct Looks {
    /// Bytes of these requests.
    pub(crate) bytes: Arc<Semaphore>,
    turns: Semaphore,
}

impl Looks {
    /// Room for so many bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes: Arc::new(Semaphore::new(bytes_max)),
            turns: Semaphore::new(TURNS),
        }
    }
}

/// What becomes of a request of a batch.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It was decided on.
    Given(Result<Appended, AppendError>),
    /// It was kept out: this is to be looked for before it comes again.
    Look(Sought),
}

/// What is to be looked for in segments.
#[derive(Debug)]
pub(crate) struct Sought {
    keys: HashSet<Key>,
    /// Where they may be, kind by kind.
    asks: Vec<Arc<Ask>>,
}

/// What was found in segments for a request.
#[derive(Debug, Default)]
pub(crate) struct Recall {
    /// The keys that were looked for.
    asked: HashSet<Key>,
    /// The segments that were looked into for them, by their ids.
    looked: HashSet<i64>,
    /// What was found, each with the id of its segment.
    found: HashMap<Key, (i64, Event)>,
}

/// What the tables lack of a batch and segments may have.
#[derive(Debug)]
pub(crate) struct Lacking {
    /// The segments.
    pub(crate) catalog: Arc<Catalog>,
    /// The ids that are known and whose events are in no table, with their kinds and positions.
    pub(crate) ids: HashMap<Uuid, (Kind, i64)>,
}

impl Lacking {
    /// Whether an event with the key of this one may have been archived, if the tables lack it.
    pub(crate) fn may_have(&self, fact: &Fact) -> bool {
        match fact.spec().identity {
            Identity::EventId => fact.event_id.is_some_and(|id| self.ids.contains_key(&id)),
            Identity::DeviceAndTime => self.catalog.spans(fact.kind, fact.occurred_at),
        }
    }

    /// What is to be looked for of some keys that the tables lack; `None` when all was looked for.
    pub(crate) fn sought(&self, keys: HashSet<Key>, recall: &Recall) -> Option<Sought> {
        let mut positions: BTreeMap<Kind, Vec<i64>> = BTreeMap::new();
        let mut parts: BTreeMap<Kind, Vec<[i64; 3]>> = BTreeMap::new();
        for key in &keys {
            match key {
                Key::Id(id) => {
                    if let Some((kind, position)) = self.ids.get(id) {
                        positions.entry(*kind).or_default().push(*position);
                    }
                }
                Key::Natural(kind, part) => parts.entry(*kind).or_default().push(*part),
            }
        }
        let any = |kind| PageQuery::all_of(kind, Columns::ALL);
        let positions = positions.into_iter();
        let by_position = positions.map(|(kind, of)| Arc::new(Ask::at(&any(kind), of)));
        let parts = parts.into_iter();
        let by_key = parts.map(|(kind, of)| Arc::new(Ask::parts(&any(kind), of)));
        let sought = Sought {
            asks: by_position.chain(by_key).collect(),
            keys,
        };
        let is_known = recall.covers(&sought);
        let lacks = |segment: &Segment| !is_known || !recall.looked.contains(&segment.id);
        let is_lacking = sought
            .segments(&self.catalog)
            .any(|(_, segment)| lacks(segment));
        is_lacking.then_some(sought)
    }
}

impl Sought {
    /// The segments in which it may be, each with what is asked of it.
    fn segments<'a>(
        &'a self,
        catalog: &'a Catalog,
    ) -> impl Iterator<Item = (&'a Arc<Ask>, &'a Arc<Segment>)> {
        self.asks.iter().flat_map(|ask| {
            let of_kind = catalog.of(ask.kind()).iter();
            let may_have = of_kind.filter(|segment| ask.meets(&segment.range()));
            may_have.map(move |segment| (ask, segment))
        })
    }
}

impl Recall {
    /// What was found under a key, if it is in a segment of a list.
    pub(crate) fn event(&self, key: &Key, catalog: &Catalog) -> Option<&Event> {
        let (segment, event) = self.found.get(key)?;
        catalog.has(event.fact.kind, *segment).then_some(event)
    }

    /// Whether it was looked for all that is sought, in the segments that were looked into.
    fn covers(&self, sought: &Sought) -> bool {
        sought.keys.is_subset(&self.asked)
    }

    /// Looks for what is sought in the segments of the list that is held, as far as that was not done. One that
    /// was replaced or deleted meanwhile is passed over: what is to be looked for by then is found out when the
    /// request comes again.
    ///
    /// # Errors
    /// When a segment cannot be read.
    pub(crate) async fn look(
        &mut self,
        (tables, looks): (&Tables, &Looks),
        (sought, request): (&Sought, &Request),
    ) -> Result<(), StoreError> {
        if !self.covers(sought) {
            self.looked.clear();
            self.asked.clone_from(&sought.keys);
        }
        let key = |id: &Arc<str>| tables.names.key(EntityType::Device, id);
        let news = news_of(request.all(), key);
        let catalog = tables.segments.catalog();
        for (ask, segment) in sought.segments(&catalog) {
            if self.looked.contains(&segment.id) {
                continue;
            }
            // the turns are never closed
            let _turn = looks.turns.acquire().await;
            let found = found_in(tables, (&catalog, segment), (ask, &news)).await;
            if let Some(found) = tables.settled(&catalog, found).await? {
                let found = found.into_iter();
                self.found
                    .extend(found.map(|(key, event)| (key, (segment.id, event))));
                self.looked.insert(segment.id);
            }
        }
        Ok(())
    }
}

/// What a segment has of what is asked for, under the keys of new events.
async fn found_in(
    tables: &Tables,
    (catalog, segment): (&Catalog, &Segment),
    (ask, news): (&Arc<Ask>, &HashMap<Key, Vec<&NewEvent>>),
) -> Result<Vec<(Key, Event)>, StoreError> {
    let Tables {
        db,
        names,
        segments,
    } = tables;
    let found = segments.find_in(segment, ask, tables).await?;
    let of = ((ask.kind(), ask.columns()), catalog);
    let mut events = Vec::with_capacity(found.len());
    let mut parts: Vec<&[Found]> = vec![&found];
    while let Some(part) = parts.pop() {
        let bytes_max = if part.len() > 1 {
            STORED_BYTES_MAX
        } else {
            usize::MAX
        };
        let allowance = Allowance::of(bytes_max);
        match segments.rows(db, names, of, (part, &allowance)).await {
            Err(StoreError::TooLarge { .. }) => {
                let (left, right) = part.split_at(part.len() / 2);
                parts.extend([left, right]);
            }
            read => {
                let known = (catalog.log_id, news);
                events.extend(read?.into_iter().filter_map(|event| keyed(event, known)));
            }
        }
    }
    Ok(events)
}
