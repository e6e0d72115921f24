//! Subscriptions that live for long. Many make alike those to events, apart from where they begin; those to
//! commands of devices sleep while none comes.
//!
//! Whoever asks the same and may see the same is answered the same, so that it is executed once for all
//! of them. What a subscription is, for that, follows from its document, its variables and what its caller
//! may see; its place in the log does not count.

use std::sync::Arc;

use async_graphql::futures_util::stream::BoxStream;
use async_graphql::parser::types::{ExecutableDocument, Field, OperationDefinition, Selection};
use async_graphql::{Error, Name, Request, Response, Value, Variables};
use async_graphql_value::Value as Given;
use futures_util::StreamExt;
use sha2::{Digest, Sha256};

use super::obeying::Obeying;
use super::root::Keys;
use super::{Api, ApiSchema, ResumeAfter, Until, cursor, document, run_stream, spending};
use crate::event::{Instant, Position};
use crate::identity::{Caller, Permission};
use crate::kinds::Kind;
use crate::store::{Allowance, Place};

/// What a subscription to events is, whoever makes it and wherever it begins.
pub type Sameness = [u8; 32];

/// The stream of events of all kinds.
const EVENTS: &str = "events";
/// The stream of commands.
const OBEYING: &str = "deviceCommands";
/// Name of the argument that says where a stream begins.
const AFTER: &str = "after";

/// A subscription that was checked, as it is executed again and again.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    document: Arc<ExecutableDocument>,
    variables: Variables,
    operation: Option<String>,
    keys: Arc<Keys>,
    caller: Caller,
}

/// A subscription to events that may be executed for several callers at once.
#[derive(Clone, Debug)]
pub struct Following {
    asked: Asked,
    /// The cursor after which it begins; none for what comes from now on.
    after: Option<String>,
    /// Points that an item of it costs.
    cost: i64,
    /// What it is.
    pub same: Sameness,
}

/// What a request of a caller turns out to be.
#[derive(Debug)]
pub enum Turned {
    /// A subscription to events.
    Following(Box<Following>),
    /// A subscription to the commands of devices.
    Obeying(Box<Obeying>),
    /// Something that is executed for its caller alone.
    Alone(Box<Request>),
    /// Nothing that is executed.
    Refused(Box<Response>),
}

/// Looks whether a request makes a subscription to events, and if so spends what it costs. `last` is the
/// cursor that its client has kept, if that is not in the document.
#[must_use]
pub fn turn(
    schema: &ApiSchema,
    api: &Api,
    (mut request, last): (Request, Option<&str>),
    caller: &Caller,
) -> Turned {
    let alone = |request: Request| {
        let request = match last {
            Some(last) => request.data(ResumeAfter(last.to_owned())),
            None => request,
        };
        Turned::Alone(Box::new(request))
    };
    if !document::is_subscription(&mut request) {
        return alone(request);
    }
    let checked = document::check(&mut request, api, (caller, &schema.types))
        .and_then(|checked| document::open_root(&mut request).map(|()| checked));
    let refused = |error| Turned::Refused(Box::new(Response::from_errors(vec![error])));
    let checked = match checked {
        Ok(checked) => checked,
        Err(error) => return refused(error),
    };
    let name = request.operation_name.clone();
    let Ok(document) = request.parsed_query().cloned() else {
        return alone(request);
    };
    let chosen = document::chosen(&document, name.as_deref());
    let Some((operation, root)) = chosen.and_then(|of| Some((&of.node, root_of(&of.node)?))) else {
        return alone(request);
    };
    let cost = i64::try_from(checked.cost).unwrap_or(i64::MAX);
    let keys = match spending::spend(api, caller, checked) {
        Ok((keys, _)) => Arc::new(keys),
        Err(error) => return refused(error),
    };
    let variables = std::mem::take(&mut request.variables);
    let given = after_of(operation, root, &variables);
    let after = last.map(str::to_owned).or(given);
    let asked = |document: &ExecutableDocument, variables| Asked {
        document: Arc::new(document.clone()),
        variables,
        operation: name.clone(),
        keys,
        caller: caller.clone(),
    };
    if root.name.node == OBEYING {
        let asked = asked(&document, variables);
        return Turned::Obeying(Box::new(Obeying::new(asked, after)));
    }
    let same = sameness(
        (&request.query, name.as_deref()),
        &document,
        root,
        &variables,
    );
    let same = seen_by(same, caller);
    Turned::Following(Box::new(Following {
        asked: asked(&document, variables),
        after,
        cost,
        same,
    }))
}

/// The field at the root, if it is a stream of events or of commands.
fn root_of(operation: &OperationDefinition) -> Option<&Field> {
    let [selection] = operation.selection_set.node.items.as_slice() else {
        return None;
    };
    let Selection::Field(field) = &selection.node else {
        return None;
    };
    let name = field.node.name.node.as_str();
    let is_stream =
        [EVENTS, OBEYING].contains(&name) || Kind::all().any(|kind| kind.spec().stream == name);
    // what its directives say is for the library
    (is_stream && field.node.directives.is_empty()).then_some(&field.node)
}

/// The variable that says where a stream begins.
fn variable_of(root: &Field) -> Option<&Name> {
    match &root.get_argument(AFTER)?.node {
        Given::Variable(name) => Some(name),
        Given::Null | Given::Number(_) | Given::String(_) | Given::Boolean(_) => None,
        Given::Binary(_) | Given::Enum(_) | Given::List(_) | Given::Object(_) => None,
    }
}

/// The cursor after which a stream begins.
fn after_of(operation: &OperationDefinition, root: &Field, given: &Variables) -> Option<String> {
    let argument = root.get_argument(AFTER)?.node.clone();
    let value = argument.into_const_with(|name| {
        let definitions = operation.variable_definitions.iter();
        let mut of_name = definitions.filter(|definition| definition.node.name.node == name);
        let default = of_name
            .next()
            .and_then(|of| of.node.default_value().cloned());
        given.get(&name).cloned().or(default).ok_or(())
    });
    match value {
        Ok(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// What a document with variables is, but for where it begins: that is left out if it is a variable that
/// stands nowhere else.
fn sameness(
    (text, name): (&str, Option<&str>),
    document: &ExecutableDocument,
    root: &Field,
    variables: &Variables,
) -> Sha256 {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update(bytes.len().to_be_bytes());
        hash.update(bytes);
    };
    part(text.as_bytes());
    part(name.unwrap_or_default().as_bytes());
    let own = variable_of(root).filter(|name| is_used_once(document, text, name));
    for (name, value) in variables.iter() {
        if Some(name) != own {
            part(name.as_bytes());
            part(value.to_string().as_bytes());
        }
    }
    hash
}

/// Whether a variable is defined once and used once. Where its name stands in a text it may stand for
/// something else; then it counts as used again, and no harm is done.
fn is_used_once(document: &ExecutableDocument, text: &str, name: &Name) -> bool {
    let is_end = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let used = text.split('$').skip(1).filter(|rest| {
        let after = rest.trim_start().strip_prefix(name.as_str());
        after.is_some_and(is_end)
    });
    used.count() == 2 && document.operations.iter().count() == 1
}

/// The same for whoever may see the same.
fn seen_by(mut hash: Sha256, caller: &Caller) -> Sameness {
    let may = |permission| u8::from(caller.may(permission));
    hash.update([may(Permission::Read), may(Permission::Administer)]);
    hash.update(caller.reach.own("").as_bytes());
    hash.finalize().into()
}

impl Asked {
    pub(super) fn request(&self) -> Request {
        let mut request = Request::new("").variables(self.variables.clone());
        request.operation_name.clone_from(&self.operation);
        request.set_parsed_query((*self.document).clone());
        request
    }

    pub(super) fn run(
        &self,
        schema: &ApiSchema,
        api: &Api,
        request: Request,
        room: Arc<Allowance>,
    ) -> BoxStream<'static, (Response, Option<String>)> {
        let keys = Arc::clone(&self.keys);
        run_stream(schema, api, (request, keys), (self.caller.clone(), room))
    }
}

impl Following {
    /// After which position it begins.
    ///
    /// # Errors
    /// When its cursor is none, or nothing can be read.
    pub async fn begins(&self, api: &Api) -> Result<Position, Error> {
        match &self.after {
            // what was deleted of which kinds is looked at when it is executed
            Some(after) => cursor::read_to_follow(api, after, Some(&[])).await,
            None => head(api).await,
        }
    }

    /// What comes of it for one caller alone, wherever it was to begin.
    #[must_use]
    pub fn alone(&self, schema: &ApiSchema, api: &Api, room: Arc<Allowance>) -> Items {
        let request = match &self.after {
            Some(after) => self.asked.request().data(ResumeAfter(after.clone())),
            None => self.asked.request(),
        };
        self.run(schema, api, request, room)
    }

    /// What comes of it after a position and up to another one, or without end.
    #[must_use]
    pub fn between(
        &self,
        schema: &ApiSchema,
        api: &Api,
        (after, upto): (Position, Option<Position>),
        room: Arc<Allowance>,
    ) -> Items {
        let place = Place {
            position: after,
            occurred_at: Instant::default(),
        };
        let after = cursor::write(api.store().identity(), place);
        let mut request = self.asked.request().data(ResumeAfter(after));
        if let Some(upto) = upto {
            request = request.data(Until(upto));
        }
        self.run(schema, api, request, room)
    }

    /// The same as it is made for all who follow it, with an account of its own.
    #[must_use]
    pub fn for_all(&self) -> Self {
        let caller = Caller {
            account: Arc::from(format!("topic {:?}", self.same)),
            ..self.asked.caller.clone()
        };
        let asked = Asked {
            caller,
            ..self.asked.clone()
        };
        Self {
            asked,
            ..self.clone()
        }
    }

    /// Has its caller spend what an item costs, as soon as there is room for that. What is followed is
    /// never refused for its cost, only slowed down.
    pub async fn pay(&self, api: &Api) {
        spending::pay(api, &self.asked.caller, self.cost).await;
    }

    fn run(&self, schema: &ApiSchema, api: &Api, request: Request, room: Arc<Allowance>) -> Items {
        let identity = api.store().identity();
        self.asked
            .run(schema, api, request, room)
            .map(move |(answer, cursor)| {
                let place = cursor
                    .as_deref()
                    .map(|cursor| cursor::read(identity, cursor));
                let position = place.and_then(Result::ok).map(|place| place.position);
                (answer, cursor, position)
            })
            .boxed()
    }
}

/// Items of a subscription to events, each with its cursor and position; what has failed has none.
pub type Items = BoxStream<'static, (Response, Option<String>, Option<Position>)>;

/// Where a subscription begins that is to have what comes from now on: what any node has acknowledged by
/// now is history, whether or not this one has heard of it.
///
/// # Errors
/// When the log cannot be read.
pub async fn head(api: &Api) -> Result<Position, Error> {
    let head = api.store().committed_head().await;
    head.map_err(|error| super::of_failed(api, &error))
}
