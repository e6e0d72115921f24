//! Reads what is exported, page by page: of one kind or of several, in the order in which it happened.
//!
//! A page lies in a part of the log in which there are not too many events, so that no statement takes long of
//! which little or nothing is asked for. What is held of all kinds together has a bound, whatever events come.
//!
//! What is written to be imported again comes as it was recorded, so that it says the same to a log that has it, and
//! makes the same of one that is empty: nothing is derived, what has no id gets that by which this log knows it again,
//! and sites and devices are registered before others name them.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::patience::Patience;
use super::{ExportError, Format};
use crate::event::{Cell, Event, Position};
use crate::kinds::{Filter, Kind, Type, masked};
use crate::store::{Allowance, Columns, Order, PageQuery, Place, Scope, Store, StoreError};

/// Events of a kind that are read at once.
const PAGE_EVENTS: usize = 1_000;
/// Bytes of events that are held at most, of all kinds together: of each its part, or one event if that has more.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Events of a kind that are looked at at once, whether they are asked for or not.
const PART_EVENTS: usize = 20_000;

/// What is exported.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The kinds, each with which of its events.
    pub kinds: Vec<(Kind, Filter)>,
    /// Nothing after this position.
    pub upto: Position,
}

/// The events of an export.
#[derive(Debug)]
pub struct Events {
    store: Store,
    kinds: Vec<OfKind>,
}

/// Events of one kind that come next.
#[derive(Debug)]
struct OfKind {
    query: PageQuery,
    read: VecDeque<Event>,
    part: Part,
    /// Bytes that a page may have.
    bytes_max: usize,
    /// Those whose turn comes first are before all others, whenever they happened.
    turn: usize,
}

/// How far it is looked just now.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// That is to be found out.
    Unknown,
    /// Up to this place.
    Upto(Place),
    /// To the end.
    Last,
    /// There is nothing more.
    Ended,
}

impl Events {
    /// Those that are asked for.
    #[must_use]
    pub fn new(store: Store, asked: Asked) -> Self {
        let upto = asked.upto;
        let bytes_max = BYTES_MAX / asked.kinds.len().max(1);
        let kinds = asked.kinds.into_iter().map(|(kind, filter)| OfKind {
            query: PageQuery {
                kind,
                filter,
                order: Order::OldestFirst,
                after: None,
                before: None,
                upto: Some(upto),
                scope: Scope::All,
                columns: Columns::ALL,
                limit: PAGE_EVENTS,
            },
            read: VecDeque::new(),
            part: Part::Unknown,
            bytes_max,
            turn: 0,
        });
        Self {
            kinds: kinds.collect(),
            store,
        }
    }

    /// The same as they are written in a format: lines are imported again.
    pub(super) fn written_as(mut self, format: Format) -> Self {
        if format == Format::Jsonl {
            for kind in &mut self.kinds {
                kind.query.scope = Scope::AsReported;
                kind.turn = turn(kind.query.kind);
            }
        }
        self
    }

    /// How many there are in all.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn count(&self) -> Result<i64, ExportError> {
        let mut events = 0;
        for kind in &self.kinds {
            events += self.store.count(&kind.query).await?;
        }
        Ok(events)
    }

    /// Some that come next; none when there are no more.
    ///
    /// # Errors
    /// When the log cannot be read. It may be called again.
    pub async fn next(&mut self) -> Result<Vec<Event>, ExportError> {
        for kind in &mut self.kinds {
            // in a part there may be none that is asked for
            while kind.is_spent() {
                kind.fetch(&self.store).await?;
            }
        }
        let mut events = Vec::with_capacity(PAGE_EVENTS);
        // of a kind of which nothing is left here, what comes next is not known
        while !self.kinds.iter().any(OfKind::is_spent) {
            let heads = self.kinds.iter_mut().filter(|kind| !kind.read.is_empty());
            let Some(first) = heads.min_by_key(|kind| kind.place()) else {
                break;
            };
            events.extend(first.read.pop_front());
        }
        Ok(events)
    }

    /// The same, which goes on after what passes, as long as that is within patience.
    ///
    /// # Errors
    /// When the log cannot be read for longer, or for a reason that does not pass.
    pub(super) async fn next_patiently(&mut self) -> Result<Vec<Event>, ExportError> {
        let mut patience = Patience::begin();
        loop {
            match self.next().await {
                Err(error) if patience.bears(&error).await => {}
                next => return next,
            }
        }
    }
}

impl OfKind {
    async fn fetch(&mut self, store: &Store) -> Result<(), ExportError> {
        if matches!(self.part, Part::Unknown) {
            let end = store.part_end(&self.query, PART_EVENTS).await?;
            self.query.before = end.map(Place::next);
            self.part = end.map_or(Part::Last, Part::Upto);
        }
        let page = self.page(store).await?;
        let last = page.last().map(Place::of);
        match (self.part, last) {
            // there may be more in this part
            (_, Some(last)) if page.len() >= self.query.limit => self.query.after = Some(last),
            (Part::Upto(end), _) => {
                self.query.after = Some(end);
                self.part = Part::Unknown;
            }
            _ => self.part = Part::Ended,
        }
        self.grow(&page);
        let page = page.into_iter().map(mask);
        self.read = if self.is_imported() {
            page.map(|event| identified(store, event)).collect()
        } else {
            page.collect()
        };
        Ok(())
    }

    /// Whether they are imported again.
    fn is_imported(&self) -> bool {
        self.query.scope == Scope::AsReported
    }

    /// A page of so many events as there is room for; one alone is read however large it is.
    async fn page(&mut self, store: &Store) -> Result<Vec<Event>, StoreError> {
        loop {
            let is_one = self.query.limit <= 1;
            let bytes_max = if is_one { usize::MAX } else { self.bytes_max };
            match store.page(&self.query, &Allowance::of(bytes_max)).await {
                Err(StoreError::TooLarge { .. }) if !is_one => {
                    self.query.limit = self.query.limit.div_ceil(2);
                }
                page => return page,
            }
        }
    }

    /// Asks for more events the next time, if of these twice as many would have had room.
    fn grow(&mut self, page: &[Event]) {
        let bytes: usize = page.iter().map(|event| event.fact.weight_bytes()).sum();
        if bytes <= self.bytes_max / 2 {
            self.query.limit = (self.query.limit * 2).min(PAGE_EVENTS);
        }
    }

    fn is_spent(&self) -> bool {
        self.read.is_empty() && !matches!(self.part, Part::Ended)
    }

    /// Where the next event stands among those of all kinds.
    fn place(&self) -> Option<(usize, i64, i64)> {
        let first = self.read.front().map(Place::of)?;
        Some((self.turn, first.occurred_at.0, first.position.0))
    }
}

/// When events of a kind have their turn: first those that register sites, which devices name, then those that
/// register devices, then all others, whatever they name.
fn turn(kind: Kind) -> usize {
    let fields = kind.spec().fields;
    let registers_site = fields.iter().any(|field| matches!(field.ty, Type::NewSite));
    let registers_device = fields
        .iter()
        .any(|field| matches!(field.ty, Type::NewDevice));
    match (registers_site, registers_device) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    }
}

/// An event with the id by which this log knows it again.
fn identified(store: &Store, mut event: Event) -> Event {
    if event.fact.event_id.is_none() {
        event.fact.event_id = store.id_of_nameless(&event);
    }
    event
}

/// An event as others may see it: what is secret in it is masked.
pub(super) fn masked(event: &Event) -> Cow<'_, Event> {
    if event.fact.cells.iter().any(is_secret) {
        Cow::Owned(mask(event.clone()))
    } else {
        Cow::Borrowed(event)
    }
}

fn mask(mut event: Event) -> Event {
    for cell in &mut event.fact.cells {
        if let Cell::Json(json) = cell
            && let Cow::Owned(shown) = masked::masked(json)
        {
            *cell = shown.into();
        }
    }
    event
}

fn is_secret(cell: &Cell) -> bool {
    matches!(cell, Cell::Json(json) if masked::has_sealed(json))
}
