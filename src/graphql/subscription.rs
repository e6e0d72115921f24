//! Live streams of events: history after a cursor, then what comes, without loss or repetition.

use std::pin::Pin;
use std::sync::Arc;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::Field;
use async_graphql::registry::Registry;
use async_graphql::{
    Context, Error, Name, Positioned, QueryPathNode, QueryPathSegment, Response, ServerError,
    SubscriptionType, Value,
};
use futures_util::{Stream, StreamExt};

use super::filters::{self, Unknown};
use super::meta::{field_with, input, object_type};
use super::types::{filter_name, scope_argument};
use super::{ResumeAfter, Until, access, api, cursor, of_failed, rows};
use crate::event::{Event, Instant};
use crate::identity::Caller;
use crate::kinds::{Filter, Kind};
use crate::store::{EntityType, Place, Store};

/// Bytes at most that a stream holds of what is not delivered yet, unless one event has more: its
/// subscriber may read slowly, or not at all.
pub(super) const SLICE_BYTES_MAX: usize = 64 * 1024;

/// The streams of all kinds.
#[derive(Debug)]
pub(super) struct Streams;

impl SubscriptionType for Streams {
    fn type_name() -> std::borrow::Cow<'static, str> {
        "EventStreams".into()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        registry.create_subscription_type::<Self, _>(|_| {
            let after = || {
                let description = "Begins after this place: what was recorded since comes first, then what is \
                    recorded from now on. Without it, or with null, only the latter.";
                input("after", "String", description)
            };
            let filter = |ty: &str| input("filter", ty, "Which events.");
            let mut fields = vec![field_with(
                "events",
                "Event!",
                "Events of all kinds, in the order in which they are recorded. All of the log is its first event, \
                 which the query `events(first: 1, order: FIRST_RECORDED_FIRST)` answers, and what comes after the \
                 cursor of that.",
                vec![filter("EventFilter"), after()],
            )];
            for spec in Kind::all().map(Kind::spec) {
                let mut arguments = vec![filter(&filter_name(spec)), after()];
                arguments.extend(scope_argument(spec));
                let ty = format!("{}!", spec.type_name);
                fields.push(field_with(spec.stream, &ty, spec.description, arguments));
            }
            object_type("EventStreams", "", fields, true)
        })
    }

    fn create_field_stream<'a>(
        &'a self,
        ctx: &'a Context<'_>,
    ) -> Option<Pin<Box<dyn Stream<Item = Response> + Send + 'a>>> {
        let name = ctx.item.node.name.node.as_str();
        let kind = Kind::all().find(|kind| kind.spec().stream == name);
        if kind.is_none() && name != "events" {
            return None;
        }
        let stream = match Wanted::read(ctx, kind) {
            Ok(wanted) => items(ctx, wanted).boxed(),
            Err(error) => {
                let error = ctx.set_error_path(error.into_server_error(ctx.item.pos));
                futures_util::stream::iter([Response::from_errors(vec![error])]).boxed()
            }
        };
        Some(stream)
    }
}

/// After which place a stream begins, of one that was asked for so.
pub(super) fn resumed<'a>(ctx: &'a Context<'_>, after: Option<&'a str>) -> Option<&'a str> {
    let kept = ctx.data_opt::<ResumeAfter>();
    kept.map(|kept| kept.0.as_str()).or(after)
}

/// Under which name an answer bears the place of its item until it is taken from it.
const CURSOR: &str = "cursor";

/// Puts the place of its item beside an answer.
pub(super) fn with_cursor(answer: Response, cursor: String) -> Response {
    answer.extension(CURSOR, Value::String(cursor))
}

/// Takes the place of its item from an answer.
pub(super) fn take_cursor(answer: &mut Response) -> Option<String> {
    let cursor = answer.extensions.remove(CURSOR)?;
    if let Value::String(cursor) = cursor {
        Some(cursor)
    } else {
        None
    }
}

/// What a subscriber wants.
struct Wanted {
    /// The cursor after which to begin; `None` at the head.
    after: Option<String>,
    kinds: Option<&'static [Kind]>,
    filter: Option<Value>,
    filters: Filters,
    all: bool,
}

/// The filter of each kind that is wanted.
struct Filters {
    of: Vec<(Kind, Filter)>,
    /// What they name and this process had not met.
    unknown: Unknown,
    /// How many names it had met.
    names: usize,
}

impl Filters {
    fn read(store: &Store, kind: Option<Kind>, filter: Option<&Value>) -> Result<Self, Error> {
        let asked: Vec<Kind> = kind.map_or_else(|| Kind::all().collect(), |kind| vec![kind]);
        // before they are read: what is met meanwhile is looked for again
        let names = store.names().count();
        let (of, unknown) = filters::read_known(store.names(), &asked, filter)?;
        Ok(Self { of, unknown, names })
    }

    /// Whether something is met by now that they name.
    fn are_outdated(&mut self, store: &Store) -> bool {
        if self.unknown.is_empty() {
            return false;
        }
        let before = std::mem::replace(&mut self.names, store.names().count());
        let is_met = |(ty, id): &(EntityType, Arc<str>)| store.names().key(*ty, id).is_some();
        before != self.names && self.unknown.iter().any(is_met)
    }
}

impl Wanted {
    fn read(ctx: &Context<'_>, kind: Option<Kind>) -> Result<Self, Error> {
        let store = api(ctx).store();
        let arguments = ctx
            .field()
            .arguments()
            .map_err(|e| super::error::bad_input(e.message))?;
        let arguments: IndexMap<Name, Value> = arguments.into_iter().collect();
        let after = match arguments.get("after") {
            Some(Value::String(text)) => Some(text.as_str()),
            _ => None,
        };
        let after = resumed(ctx, after).map(str::to_owned);
        let kinds: Option<&'static [Kind]> = kind
            .and_then(|kind| Kind::ALL.iter().position(|k| *k == kind))
            .and_then(|i| Kind::ALL.get(i..=i));
        let filter = arguments.get("filter");
        let filters = Filters::read(store, kind, filter)?;
        let all = kind.is_none() || arguments.get("all") == Some(&Value::Boolean(true));
        Ok(Self {
            after,
            kinds,
            filter: filter.cloned(),
            filters,
            all,
        })
    }

    /// Reads the filters again when something is met that they name. Events come after the
    /// registration of what they name, and devices and their sites are met before an event of theirs
    /// is handed over.
    fn renew(&mut self, store: &Store) {
        if self.filters.are_outdated(store) {
            let kind = self.kinds.and_then(|kinds| kinds.first().copied());
            if let Ok(filters) = Filters::read(store, kind, self.filter.as_ref()) {
                self.filters = filters;
            }
        }
    }

    fn passes(&self, caller: &Caller, store: &Store, event: &Event) -> bool {
        if !access::sees(caller, store.names(), event) {
            return false;
        }
        let filter = self
            .filters
            .of
            .iter()
            .find(|(kind, _)| *kind == event.fact.kind);
        let site_of = |device: i64, at: Instant| store.names().site_of_device_at(device, at);
        filter.is_some_and(|(_, filter)| filter.passes(event, &site_of))
            && (self.all || is_change(event))
    }
}

/// Whether an event of a kind that derives states changed the state.
fn is_change(event: &Event) -> bool {
    let spec = event.fact.spec();
    let Some(derived) = &spec.derived else {
        return true;
    };
    let cell = |name: &str| {
        spec.index_of(name)
            .and_then(|index| event.fact.cells.get(index))
    };
    cell(derived.field) != cell(derived.from)
}

fn items<'a>(ctx: &'a Context<'_>, mut wanted: Wanted) -> impl Stream<Item = Response> + Send + 'a {
    let (store, caller) = (api(ctx).store().clone(), access::caller(ctx));
    let failed = |error: Error| {
        let error = error.into_server_error(ctx.item.pos);
        Response::from_errors(vec![ctx.set_error_path(error)])
    };
    async_stream::stream! {
        // what any node has acknowledged by now is history, whether or not this one has heard of it
        let from = match &wanted.after {
            Some(after) => cursor::read_to_follow(api(ctx), after, wanted.kinds).await,
            None => store.committed_head().await.map_err(|error| of_failed(api(ctx), &error)),
        };
        let mut tail = match from {
            Ok(from) => store.tail(from, wanted.kinds).in_slices_of(SLICE_BYTES_MAX),
            Err(error) => {
                yield failed(error);
                return;
            }
        };
        let until = ctx.data_opt::<Until>().map(|until| until.0);
        loop {
            // without looking further than it is to go
            let next = async {
                match until {
                    Some(_) => tail.next_looked_at().await,
                    None => tail.next().await,
                }
            };
            let events = match next.await {
                Ok(events) => events,
                Err(error) => {
                    yield failed(of_failed(api(ctx), &error));
                    break;
                }
            };
            wanted.renew(&store);
            for event in events {
                if until.is_some_and(|until| event.position > until) {
                    return;
                }
                if wanted.passes(caller, &store, &event) {
                    let (item, is_whole) = item(ctx, ctx.item, event).await;
                    yield item;
                    // the next would bear a cursor behind what was not delivered
                    if !is_whole {
                        return;
                    }
                }
            }
            if until.is_some_and(|until| tail.position() >= until) {
                return;
            }
        }
    }
}

/// An item, and whether it is one: what cannot be rendered is an error in its place.
async fn item(ctx: &Context<'_>, field: &Positioned<Field>, event: Arc<Event>) -> (Response, bool) {
    let key = &field.node.response_key().node;
    let path = QueryPathNode {
        parent: None,
        segment: QueryPathSegment::Name(key),
    };
    let set = &field.node.selection_set;
    let item = ctx
        .query_env
        .create_context(ctx.schema_env, Some(path), set, None);
    let place = Place::of(&event);
    let (mut response, is_whole) = match rows::render(&item, rows::Stand::Alone, &[event]).await {
        Ok(mut values) => {
            let value = values.pop().unwrap_or_default();
            let item = Value::Object(IndexMap::from([(key.clone(), value)]));
            let cursor = cursor::write(api(ctx).store().identity(), place);
            (with_cursor(Response::new(item), cursor), true)
        }
        Err(error) => (Response::from_errors(vec![error]), false),
    };
    response.errors.extend(taken(ctx));
    // until the next comes it holds nothing of the room of all readers
    super::loaders(ctx).begin();
    (response, is_whole)
}

/// Errors that were put aside while an item was resolved.
fn taken(ctx: &Context<'_>) -> Vec<ServerError> {
    let mut errors = ctx
        .query_env
        .errors
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    std::mem::take(&mut *errors)
}
