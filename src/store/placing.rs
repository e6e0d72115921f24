//! Decides what becomes of each event of a batch, in order: refused, repeated, or given its place.
//!
//! Everything that the decision needs is looked up beforehand for the whole batch. A name is
//! registered only by an event that is recorded, never by one that turns out to be a repeat, a
//! conflict, refused or part of a stale request.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::append::{AppendError, Appended, Effect, Outcome, Request};
use super::commit;
use super::duplicates::{self, Key, Look, Stored};
use super::error::{Doing, StoreError};
use super::fold::{Fold, Guard};
use super::names::{EntityType, Names};
use super::recall::{Answer, Lacking, Recall};
use super::segments::Segments;
use super::sql::Sql;
use crate::event::{Cell, Event, Fact, Instant, NewEvent, Position};
use crate::kinds::{Code, Field, Refusal, Type};

/// A batch in the making.
pub(crate) struct Placing<'a> {
    tx: &'a DatabaseTransaction,
    names: &'a Names,
    folds: &'a [Arc<dyn Fold>],
    guards: Vec<Box<dyn Guard>>,
    recorded_at: Instant,
    position: Position,
    known: HashMap<Key, Event>,
    /// What the tables lack, and what was found of it for the request that is decided on.
    lacking: Lacking,
    recall: Option<&'a Recall>,
    registered: HashMap<(EntityType, Arc<str>), i64>,
    versions: HashMap<String, i64>,
    placed: Placed,
}

/// What a batch came to.
#[derive(Default)]
pub(crate) struct Placed {
    /// The events that are to be written, in the order of their positions.
    pub(crate) events: Vec<Event>,
    /// When they are recorded: never before those that are recorded already.
    pub(crate) recorded_at: Instant,
    /// The names that they registered.
    pub(crate) registered: Vec<(EntityType, Arc<str>, i64)>,
    /// Things that have changed, with their new versions.
    pub(crate) raised: BTreeMap<String, i64>,
    /// Events that had been there before.
    pub(crate) duplicates: usize,
}

impl<'a> Placing<'a> {
    /// Locks the head and looks up what the requests speak of.
    pub(crate) async fn begin(
        tx: &'a DatabaseTransaction,
        (names, folds, segments): (&'a Arc<Names>, &'a [Arc<dyn Fold>], &Segments),
        requests: &[&Request],
        now: Instant,
    ) -> Result<Self, StoreError> {
        let mut look = Look::begin(tx).await?;
        look_up_names(tx, names, requests).await?;
        let key = |id: &Arc<str>| names.key(EntityType::Device, id);
        let news = duplicates::news_of(events_of(requests), key);
        let log = segments.catalog().log_id;
        let Stored { events, elsewhere } = look.stored((names, log), &news).await?;
        let (head, last_recorded_at) = look.head().await?;
        let catalog = segments.of_generation(tx, look.generation()).await?;
        Ok(Self {
            tx,
            names,
            folds,
            guards: guards(tx, folds, requests).await?,
            recorded_at: now.max(last_recorded_at),
            position: head,
            known: events,
            lacking: Lacking {
                catalog,
                ids: elsewhere,
            },
            recall: None,
            registered: HashMap::new(),
            versions: versions(tx, folds, requests).await?,
            placed: Placed::default(),
        })
    }

    /// Decides on one request, with what was found for it in segments; it is kept out if there is more to look
    /// for.
    pub(crate) async fn place(
        &mut self,
        (request, recall): (&Request, &'a Recall),
    ) -> Result<Answer, StoreError> {
        self.recall = Some(recall);
        let lacking = self.lacking_keys(request);
        let sought = (!lacking.is_empty()).then(|| self.lacking.sought(lacking, recall));
        match sought.flatten() {
            Some(sought) => Ok(Answer::Look(sought)),
            None => Ok(Answer::Given(self.decide(request).await?)),
        }
    }

    /// The keys of a request of which neither the tables nor what was looked for have an event, but segments may.
    fn lacking_keys(&self, request: &Request) -> HashSet<Key> {
        let events = request.all().map(|new| &new.fact);
        let archived = events.filter(|fact| self.lacking.may_have(fact));
        let keys = archived.filter_map(|fact| self.key_with(fact));
        keys.filter(|key| self.first(key).is_none()).collect()
    }

    async fn decide(
        &mut self,
        request: &Request,
    ) -> Result<Result<Appended, AppendError>, StoreError> {
        let stale = self.stale(request);
        if let Some((entity, version)) = &stale
            && !self.repeats(request)
        {
            let (entity, version) = (entity.clone(), *version);
            return Ok(Err(AppendError::Stale { entity, version }));
        }
        let before = self.placed.events.len();
        let mut outcomes = Vec::with_capacity(request.events.len());
        // what is repeated was registered with it
        let registrations = request.registrations.iter();
        for new in registrations.filter(|_| stale.is_none()) {
            self.place_event(new).await?;
        }
        for new in &request.events {
            outcomes.push(self.place_event(new).await?);
        }
        if let Some(told) = request.told.as_deref()
            && self.placed.events.len() > before
        {
            self.place_event(told).await?;
        }
        if self.placed.events.len() > before {
            let expected = request.expect.iter();
            for expect in expected.filter(|expect| expect.effect == Effect::Changes) {
                self.raise(expect.entity.clone());
            }
        }
        Ok(Ok(Appended {
            outcomes,
            recorded_at: self.recorded_at,
        }))
    }

    /// The last position that is given: that of the head, until events are placed.
    pub(crate) const fn position(&self) -> Position {
        self.position
    }

    /// What the batch came to.
    pub(crate) fn finish(mut self) -> Placed {
        self.placed.recorded_at = self.recorded_at;
        let registered = self.registered.into_iter();
        self.placed.registered = registered
            .map(|((entity, id), key)| (entity, id, key))
            .collect();
        self.placed
    }

    /// The first thing that is not of the version that a request expects, with its version.
    fn stale(&self, request: &Request) -> Option<(String, i64)> {
        let version = |entity: &String| self.versions.get(entity).copied().unwrap_or(0);
        let mut expected = request.expect.iter();
        let stale = expected.find(|expect| version(&expect.entity) != expect.version)?;
        Some((stale.entity.clone(), version(&stale.entity)))
    }

    /// Whether a request only says what the log has already: it was appended, but its caller does
    /// not know.
    fn repeats(&self, request: &Request) -> bool {
        let repeated = |new: &NewEvent| {
            let key = self.key_with(&new.fact);
            let first = key.and_then(|key| self.first(&key));
            first.is_some_and(|first| duplicates::says_the_same(&first.fact, new))
        };
        !request.events.is_empty() && request.events.iter().all(repeated)
    }

    /// The event of the log that has a key.
    fn first(&self, key: &Key) -> Option<&Event> {
        let recalled = || self.recall?.event(key, &self.lacking.catalog);
        self.known.get(key).or_else(recalled)
    }

    fn key_with(&self, fact: &Fact) -> Option<Key> {
        duplicates::key_with(fact, |id| self.key(EntityType::Device, id))
    }

    async fn place_event(&mut self, new: &NewEvent) -> Result<Outcome, StoreError> {
        let mut fact = new.fact.clone();
        if let Some(refusal) = self.resolve(&mut fact) {
            return Ok(Outcome::Rejected(refusal));
        }
        let key = duplicates::key_of(&fact);
        if let Some(first) = key.as_ref().and_then(|key| self.first(key)) {
            if !duplicates::says_the_same(&first.fact, new) {
                return Ok(Outcome::Conflict(first.position));
            }
            let position = first.position;
            self.placed.duplicates += 1;
            return Ok(Outcome::Duplicate(position));
        }
        if let Some(refusal) = &new.refused_if_new {
            return Ok(Outcome::Rejected(Refusal::clone(refusal)));
        }
        let mut refusals = self.guards.iter().map(|guard| guard.refusal(&fact));
        if let Some(refusal) = refusals.find_map(|refusal| refusal) {
            return Ok(Outcome::Rejected(refusal));
        }
        self.register(&mut fact).await?;
        self.position = self.position.next();
        let event = Event {
            position: self.position,
            recorded_at: self.recorded_at,
            fact,
        };
        self.known.extend(key.map(|key| (key, event.clone())));
        for entity in changed(self.folds, &event.fact) {
            self.raise(entity);
        }
        for guard in &mut self.guards {
            guard.placed(&event.fact);
        }
        self.placed.events.push(event);
        Ok(Outcome::Recorded(self.position))
    }

    fn raise(&mut self, entity: String) {
        let version = self.versions.entry(entity.clone()).or_default();
        *version += 1;
        self.placed.raised.insert(entity, *version);
    }

    fn key(&self, entity: EntityType, id: &Arc<str>) -> Option<i64> {
        let known = self.names.key(entity, id);
        known.or_else(|| self.registered.get(&(entity, Arc::clone(id))).copied())
    }

    /// Turns the ids of sites and devices into keys. One that must be registered and is not refuses
    /// the event.
    fn resolve(&self, fact: &mut Fact) -> Option<Refusal> {
        for (field, cell) in fact.spec().fields.iter().zip(&mut fact.cells) {
            let Cell::Reference(reference) = cell else {
                continue;
            };
            match self.key(entity_of(field), &reference.id) {
                Some(key) => reference.key = key,
                None if registers(field) => {}
                None => return Some(unknown(field)),
            }
        }
        None
    }

    async fn register(&mut self, fact: &mut Fact) -> Result<(), StoreError> {
        for (field, cell) in fact.spec().fields.iter().zip(&mut fact.cells) {
            let Cell::Reference(reference) = cell else {
                continue;
            };
            let entity = entity_of(field);
            if registers(field) && self.key(entity, &reference.id).is_none() {
                reference.key = register(self.tx, entity, &reference.id).await?;
                let name = (entity, Arc::clone(&reference.id));
                self.registered.insert(name, reference.key);
            }
        }
        Ok(())
    }
}

/// The things whose versions an event raises.
fn changed<'f>(folds: &'f [Arc<dyn Fold>], fact: &'f Fact) -> impl Iterator<Item = String> + 'f {
    let concerned = folds
        .iter()
        .filter(|fold| fold.kinds().contains(&fact.kind));
    concerned.filter_map(|fold| fold.changes(fact))
}

fn events_of<'r>(requests: &'r [&Request]) -> impl Iterator<Item = &'r NewEvent> {
    requests.iter().flat_map(|request| request.all())
}

fn registers(field: &Field) -> bool {
    matches!(field.ty, Type::NewDevice | Type::NewSite)
}

fn entity_of(field: &Field) -> EntityType {
    if field.ty.is_site() {
        EntityType::Site
    } else {
        EntityType::Device
    }
}

fn unknown(field: &Field) -> Refusal {
    let (code, what) = match entity_of(field) {
        EntityType::Site => (Code::UnknownSite, "site"),
        EntityType::Device => (Code::UnknownDevice, "device"),
    };
    let message = format!("{} names no registered {what}", field.name);
    Refusal::of(field.name, code, message)
}

async fn register(
    tx: &DatabaseTransaction,
    entity: EntityType,
    id: &str,
) -> Result<i64, StoreError> {
    let mut sql = Sql::new("INSERT INTO entity_keys (entity_type, entity_id) VALUES (");
    sql.bind(entity.word())
        .push(", ")
        .bind(id)
        .push(") RETURNING entity_key");
    let statement = sql.statement(tx.get_database_backend());
    let row = tx.query_one_raw(statement).await.doing("register a name")?;
    let row = row.ok_or(StoreError::Row {
        table: "entity_keys",
        column: "entity_key",
    })?;
    row.try_get_by_index(0).doing("register a name")
}

/// Looks the names up that this process has not met.
async fn look_up_names(
    tx: &DatabaseTransaction,
    names: &Names,
    requests: &[&Request],
) -> Result<(), StoreError> {
    let (mut sites, mut devices) = (HashSet::new(), HashSet::new());
    for new in events_of(requests) {
        for (field, cell) in new.fact.spec().fields.iter().zip(&new.fact.cells) {
            let Cell::Reference(reference) = cell else {
                continue;
            };
            let entity = entity_of(field);
            if names.key(entity, &reference.id).is_none() {
                let ids = match entity {
                    EntityType::Site => &mut sites,
                    EntityType::Device => &mut devices,
                };
                ids.insert(Arc::clone(&reference.id));
            }
        }
    }
    for (entity, ids) in [(EntityType::Site, sites), (EntityType::Device, devices)] {
        let ids: Vec<Arc<str>> = ids.into_iter().collect();
        names.look_up(tx, entity, &ids).await?;
    }
    Ok(())
}

/// What keeps events of the requests out.
async fn guards(
    tx: &DatabaseTransaction,
    folds: &[Arc<dyn Fold>],
    requests: &[&Request],
) -> Result<Vec<Box<dyn Guard>>, StoreError> {
    let facts: Vec<&Fact> = events_of(requests).map(|new| &new.fact).collect();
    let mut guards = Vec::new();
    for fold in folds {
        guards.extend(fold.guard(tx, &facts).await?);
    }
    Ok(guards)
}

/// The versions of the things that the requests change.
async fn versions(
    tx: &DatabaseTransaction,
    folds: &[Arc<dyn Fold>],
    requests: &[&Request],
) -> Result<HashMap<String, i64>, StoreError> {
    let expected = requests.iter().flat_map(|request| &request.expect);
    let mut entities: HashSet<String> = expected.map(|expect| expect.entity.clone()).collect();
    entities.extend(events_of(requests).flat_map(|new| changed(folds, &new.fact)));
    commit::versions(tx, entities.into_iter().collect()).await
}
