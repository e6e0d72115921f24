//! Pages of events as connections, one mechanism for all kinds, at the root and under a device or
//! site.

use std::sync::Arc;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{Field, OperationType};
use async_graphql::{Context, ContextSelectionSet, Error, Name, Positioned, ServerResult, Value};

use super::error::bad_input;
use super::filters;
use super::listed::at_most;
use super::order::or_null;
use super::page_keys::{CountKey, PageKey, PageShape};
use super::rows::{self, Stand, render, selected};
use super::types::{PAGE_DEFAULT, PAGE_MAX};
use super::written::put;
use super::{Api, api, cursor, loaders, of_failed};
use crate::event::{Event, Position};
use crate::kinds::{Filter, Kind, Operand};
use crate::store::{Columns, Order, PageQuery, Place, Scope, Store, StoreError};

/// The device or site under which a connection stands.
pub(super) type Parent = Option<(Operand, i64)>;

/// What a page was asked for.
struct Arguments {
    order: Order,
    after: Option<Place>,
    before: Option<Place>,
    rows: usize,
    from_end: bool,
    scope: Scope,
}

/// What a connection is asked for: the same under each parent under which it stands.
pub(super) struct Asked {
    arguments: Arguments,
    pages: Vec<PageShape>,
    /// Up to where it is read.
    head: Position,
}

/// Resolves a connection of one kind, or of all when there is no kind.
pub(super) async fn resolve(
    ctx: &Context<'_>,
    kind: Option<Kind>,
    parent: Parent,
) -> ServerResult<Option<Value>> {
    // each field of a mutation sees what the one before it has changed
    let is_query = ctx.query_env.operation.node.ty == OperationType::Query;
    let is_shared = parent.is_some() && is_query;
    let known = is_shared.then(|| loaders(ctx).asked(ctx.item.pos));
    let asked = if let Some(asked) = known.flatten() {
        asked
    } else {
        let asked = asked(ctx, kind).await;
        let at = |error: Error| ctx.set_error_path(error.into_server_error(ctx.item.pos));
        let asked = Arc::new(asked.map_err(at)?);
        if is_shared {
            loaders(ctx).keep_asked(ctx.item.pos, &asked);
        }
        asked
    };
    let connection = Connection {
        ctx,
        type_name: type_name(kind),
        asked,
        parent,
    };
    connection.render().await.map(Some)
}

fn type_name(kind: Option<Kind>) -> &'static str {
    kind.map_or("Event", |kind| kind.spec().type_name)
}

/// What the connection of a field is asked for.
async fn asked(ctx: &Context<'_>, kind: Option<Kind>) -> Result<Asked, Error> {
    let api = api(ctx);
    let given = ctx.field().arguments().map_err(|e| bad_input(e.message))?;
    let given: IndexMap<Name, Value> = given.into_iter().collect();
    let arguments = arguments(api, &given)?;
    let kinds: Vec<Kind> = kind.map_or_else(|| Kind::all().collect(), |kind| vec![kind]);
    let filters = filters::read(ctx, &kinds, given.get("filter")).await?;
    let mut queries = queries(kind, &arguments, filters);
    let head = head(api.store(), queries.len()).await;
    let head = head.map_err(|error| of_failed(api, &error))?;
    let set = ctx.with_selection_set(&ctx.item.node.selection_set);
    let fields = fields(&set, type_name(kind));
    let is_live = fields
        .iter()
        .any(|field| field.node.name.node == "liveCursor");
    let upto = (is_live || queries.len() > 1).then_some(head);
    for query in &mut queries {
        query.upto = upto;
        query.columns = columns(&set, &fields, query.kind);
    }
    Ok(Asked {
        arguments,
        pages: queries.into_iter().map(PageShape::new).collect(),
        head,
    })
}

/// Up to where it is read. Several kinds are read one after the other while others append; without
/// a common end a page would pass over what its first kinds did not have yet.
async fn head(store: &Store, kinds: usize) -> Result<Position, StoreError> {
    if kinds > 1 {
        store.committed_head().await
    } else {
        Ok(store.head())
    }
}

/// What is selected of a connection.
fn fields<'a>(ctx: &ContextSelectionSet<'a>, type_name: &str) -> Vec<&'a Positioned<Field>> {
    let name = format!("{type_name}Connection");
    selected(ctx, &ctx.item.node, &|ty| ty == name)
}

fn arguments(api: &Api, arguments: &IndexMap<Name, Value>) -> Result<Arguments, Error> {
    let number = |name: &str| match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => {
            let none = || bad_input(format!("{name} is no whole number"));
            let rows = number.as_i64().ok_or_else(none);
            rows.and_then(|rows| at_most(name, rows, PAGE_MAX).map(Some))
        }
        Some(_) => Err(bad_input(format!("{name} is not a number"))),
    };
    let place = |name: &str| match arguments.get(name) {
        Some(Value::String(text)) => cursor::read(api.store().identity(), text).map(Some),
        _ => Ok(None),
    };
    let (rows, from_end) = match (number("first")?, number("last")?) {
        (Some(_), Some(_)) => {
            return Err(bad_input("first and last are both given, a page has one"));
        }
        (Some(first), None) => (first, false),
        (None, Some(last)) => (last, true),
        (None, None) => (PAGE_DEFAULT, false),
    };
    let order = match arguments.get("order") {
        Some(Value::Enum(name)) => order_of(name.as_str()),
        Some(Value::String(name)) => order_of(name),
        _ => Order::NewestFirst,
    };
    let all = matches!(arguments.get("all"), Some(Value::Boolean(true)));
    let scope = if all { Scope::All } else { Scope::Changes };
    let (after, before) = (place("after")?, place("before")?);
    // such a place is known by its position alone: nothing is recorded that happened then
    let only_followed = |place: &Place| place.occurred_at == crate::event::Instant::default();
    if order.by_time() && after.iter().chain(&before).any(only_followed) {
        let message = "this cursor is for following the log; in a list it has a place only when \
                       ordered as recorded";
        return Err(bad_input(message));
    }
    Ok(Arguments {
        order,
        after,
        before,
        rows,
        from_end,
        scope,
    })
}

fn order_of(name: &str) -> Order {
    match name {
        "OLDEST_FIRST" => Order::OldestFirst,
        "LAST_RECORDED_FIRST" => Order::LastRecordedFirst,
        "FIRST_RECORDED_FIRST" => Order::FirstRecordedFirst,
        _ => Order::NewestFirst,
    }
}

/// One query for each kind that can have rows. A page from the end is read the other way round, and
/// one row more than asked for tells whether there are more.
fn queries(kind: Option<Kind>, asked: &Arguments, filters: Vec<(Kind, Filter)>) -> Vec<PageQuery> {
    let over_all = kind.is_none();
    let mut queries = Vec::with_capacity(filters.len());
    for (kind, filter) in filters {
        let (after, before) = if asked.from_end {
            (asked.before, asked.after)
        } else {
            (asked.after, asked.before)
        };
        let order = if asked.from_end {
            asked.order.reversed()
        } else {
            asked.order
        };
        // over all kinds each report counts, as it does for those who follow them live
        let scope = if over_all { Scope::All } else { asked.scope };
        let limit = asked.rows + 1;
        if filters::can_hold(&filter) {
            queries.push(PageQuery {
                kind,
                filter,
                order,
                after,
                before,
                upto: None,
                scope,
                columns: Columns::NONE,
                limit,
            });
        }
    }
    queries
}

struct Connection<'a> {
    ctx: &'a Context<'a>,
    type_name: &'static str,
    asked: Arc<Asked>,
    parent: Parent,
}

/// Which sides of a page are asked about.
#[derive(Clone, Copy)]
struct Sides {
    next: bool,
    previous: bool,
}

struct Page {
    events: Vec<Arc<Event>>,
    has_next: bool,
    has_previous: bool,
}

/// Which sides `pageInfo` is asked about: what is on the other side of a place costs a statement.
fn sides(set: &ContextSelectionSet<'_>, fields: &[&Positioned<Field>]) -> Sides {
    let infos = fields
        .iter()
        .filter(|field| field.node.name.node == "pageInfo");
    let mut sides = Sides {
        next: false,
        previous: false,
    };
    for info in infos {
        for field in selected(set, &info.node.selection_set.node, &|ty| ty == "PageInfo") {
            sides.next |= field.node.name.node == "hasNextPage";
            sides.previous |= field.node.name.node == "hasPreviousPage";
        }
    }
    sides
}

/// What is asked for of the rows of a page.
fn columns(set: &ContextSelectionSet<'_>, fields: &[&Positioned<Field>], kind: Kind) -> Columns {
    let mut columns = Columns::NONE;
    let mut add = |node: &Positioned<Field>| {
        let rows = set.with_selection_set(&node.node.selection_set);
        columns = columns.and(rows::columns(&rows, kind));
    };
    let is_edge = |ty: &str| ty.ends_with("Edge");
    for field in fields {
        match field.node.name.node.as_str() {
            "nodes" => add(field),
            "edges" => {
                let edges = selected(set, &field.node.selection_set.node, &is_edge);
                let nodes = edges
                    .into_iter()
                    .filter(|edge| edge.node.name.node == "node");
                nodes.for_each(&mut add);
            }
            _ => {}
        }
    }
    columns
}

impl Connection<'_> {
    async fn render(self) -> ServerResult<Value> {
        let ctx = self.ctx;
        let set = ctx.with_selection_set(&ctx.item.node.selection_set);
        let fields = fields(&set, self.type_name);
        let named = |wanted: &str| fields.iter().any(|field| field.node.name.node == wanted);
        let page = if named("edges") || named("nodes") || named("pageInfo") {
            self.page(sides(&set, &fields))
                .await
                .map_err(|error| ctx.set_error_path(error.into_server_error(ctx.item.pos)))?
        } else {
            Page {
                events: Vec::new(),
                has_next: false,
                has_previous: false,
            }
        };
        let mut object = IndexMap::with_capacity(fields.len());
        for field in fields {
            let value = self.field(field, &page).await?;
            put(&mut object, field.node.response_key().node.clone(), value);
        }
        Ok(Value::Object(object))
    }

    async fn field(&self, field: &Positioned<Field>, page: &Page) -> ServerResult<Value> {
        let ctx = self.ctx;
        let failed = |error: Error| error.into_server_error(field.pos);
        let identity = api(ctx).store().identity();
        match field.node.name.node.as_str() {
            "__typename" => Ok(Value::from(format!("{}Connection", self.type_name))),
            "nodes" => {
                let ctx_field = ctx.with_field(field);
                let set = ctx_field.with_selection_set(&field.node.selection_set);
                let rows = render(&set, Stand::Listed, &page.events).await?;
                Ok(Value::List(rows))
            }
            "edges" => self.edges(field, page).await,
            "pageInfo" => Ok(self.page_info(field, page)),
            "liveCursor" => {
                let occurred_at = crate::event::Instant::default();
                let place = Place {
                    position: self.asked.head,
                    occurred_at,
                };
                Ok(Value::from(cursor::write(identity, place)))
            }
            "totalCount" => {
                let count = self.count().await;
                let count = count.map(|count| Some(Value::from(count.to_string())));
                let ctx_field = ctx.with_field(field);
                Ok(or_null(&ctx_field, count.map_err(failed)).unwrap_or_default())
            }
            _ => Ok(Value::Null),
        }
    }

    async fn edges(&self, field: &Positioned<Field>, page: &Page) -> ServerResult<Value> {
        let ctx_field = self.ctx.with_field(field);
        let set = ctx_field.with_selection_set(&field.node.selection_set);
        let name = format!("{}Edge", self.type_name);
        let fields = selected(&set, &field.node.selection_set.node, &|ty| ty == name);
        let identity = api(self.ctx).store().identity();
        let mut edges = vec![IndexMap::with_capacity(fields.len()); page.events.len()];
        for field in fields {
            let key = &field.node.response_key().node;
            let values: Vec<Value> = match field.node.name.node.as_str() {
                "node" => {
                    let ctx_node = set.with_field(field);
                    let node = ctx_node.with_selection_set(&field.node.selection_set);
                    render(&node, Stand::Edges(&set, field), &page.events).await?
                }
                "cursor" => {
                    let events = page.events.iter();
                    events
                        .map(|event| Value::from(cursor::of(identity, event)))
                        .collect()
                }
                _ => vec![Value::from(name.as_str()); page.events.len()],
            };
            for (edge, value) in edges.iter_mut().zip(values) {
                put(edge, key.clone(), value);
            }
        }
        Ok(Value::List(edges.into_iter().map(Value::Object).collect()))
    }

    fn page_info(&self, field: &Positioned<Field>, page: &Page) -> Value {
        let set = self.ctx.with_selection_set(&field.node.selection_set);
        let fields = selected(&set, &field.node.selection_set.node, &|ty| ty == "PageInfo");
        let identity = api(self.ctx).store().identity();
        let place = |event: Option<&Arc<Event>>| {
            event.map_or(Value::Null, |event| {
                Value::from(cursor::of(identity, event))
            })
        };
        let mut object = IndexMap::new();
        for field in fields {
            let value = match field.node.name.node.as_str() {
                "hasNextPage" => Value::from(page.has_next),
                "hasPreviousPage" => Value::from(page.has_previous),
                "startCursor" => place(page.events.first()),
                "endCursor" => place(page.events.last()),
                _ => Value::from("PageInfo"),
            };
            put(&mut object, field.node.response_key().node.clone(), value);
        }
        Value::Object(object)
    }

    async fn page(&self, sides: Sides) -> Result<Page, Error> {
        let asked = &self.asked.arguments;
        let reads = self.asked.pages.iter().map(|page| self.read(page));
        let mut events: Vec<Arc<Event>> = futures_util::future::try_join_all(reads)
            .await?
            .into_iter()
            .flatten()
            .collect();
        let order = if asked.from_end {
            asked.order.reversed()
        } else {
            asked.order
        };
        if self.asked.pages.len() > 1 {
            events.sort_by(|left, right| order.compare(&Place::of(left), &Place::of(right)));
        }
        let more = events.len() > asked.rows;
        events.truncate(asked.rows);
        if asked.from_end {
            events.reverse();
        }
        let order = asked.order;
        let before = asked.after.filter(|_| sides.previous);
        let after = asked.before.filter(|_| sides.next);
        let (more_next, more_previous) = (more && !asked.from_end, more && asked.from_end);
        let has_previous = more_previous || self.any_upto(before, order).await?;
        let has_next = more_next || self.any_upto(after, order.reversed()).await?;
        Ok(Page {
            events,
            has_next,
            has_previous,
        })
    }

    /// Whether the list has a row at a place or before it in an order.
    async fn any_upto(&self, place: Option<Place>, order: Order) -> Result<bool, Error> {
        let Some(place) = place else { return Ok(false) };
        // the other way round, from just behind the place
        let ascending = matches!(order, Order::OldestFirst | Order::FirstRecordedFirst);
        let behind = if ascending { 1 } else { -1 };
        let after = Place {
            position: Position(place.position.0.saturating_add(behind)),
            ..place
        };
        let query = |query: &PageQuery| PageQuery {
            order: order.reversed(),
            after: Some(after),
            before: None,
            limit: 1,
            ..query.clone()
        };
        let pages = self.asked.pages.iter();
        let pages: Vec<PageShape> = pages
            .map(|page| PageShape::new(query(page.query())))
            .collect();
        let reads = pages.iter().map(|page| self.read(page));
        let found = futures_util::future::try_join_all(reads).await?;
        Ok(found.iter().any(|events| !events.is_empty()))
    }

    async fn read(&self, page: &PageShape) -> Result<Vec<Arc<Event>>, Error> {
        let api = api(self.ctx);
        match self.parent {
            None => {
                let allowance = loaders(self.ctx).allowance();
                let events = api.store().page(page.query(), allowance).await;
                let events = events.map_err(|e| of_failed(api, &e))?;
                Ok(events.into_iter().map(Arc::new).collect())
            }
            Some((operand, key)) => {
                let key = PageKey::new(operand, key, page);
                loaders(self.ctx)
                    .pages
                    .load(key)
                    .await
                    .map_err(|e| of_failed(api, &e))
            }
        }
    }

    async fn count(&self) -> Result<i64, Error> {
        let api = api(self.ctx);
        let mut total = 0;
        for page in &self.asked.pages {
            let mut query = page.query().clone();
            (query.after, query.before) = (None, None);
            total += match self.parent {
                None => api
                    .store()
                    .count(&query)
                    .await
                    .map_err(|e| of_failed(api, &e))?,
                Some((operand, key)) => {
                    let key = CountKey(PageKey::new(operand, key, &PageShape::new(query)));
                    let loaders = loaders(self.ctx);
                    loaders
                        .counts
                        .load(key)
                        .await
                        .map_err(|e| of_failed(api, &e))?
                }
            };
        }
        Ok(total)
    }
}
