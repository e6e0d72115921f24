//! `setSiteSchedules`: the hours of many days of many sites in one command.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use async_graphql::registry::Registry;
use async_graphql::{
    Context, ContextSelectionSet, Error, InputType, InputValueError, InputValueResult, Name,
    Object, OutputType, Positioned, ServerResult, SimpleObject, Value, parser::types::Field,
};
use entity::site_operating_schedules::Column;

use super::command::{UserError, door, keyed_id, reaches_site, tell_refused};
use super::commands::{EventOf, SITE_SCHEDULE, of_schedule};
use super::error::ErrorCode;
use super::meta::{Entries, input, input_object};
use super::order::InOrder;
use super::rows::{Stand, render};
use super::schedule_input::{Given, all_known, key_input, key_of};
use super::types::inputs_of_fields;
use super::{Api, access, api, loaders, of_failed};
use crate::event::{Event, NewEvent, Position};
use crate::kinds::{self, Kind, Refusal};
use crate::schedule::{self, ManyError};
use crate::store::{Columns, EVENTS_MAX, Outcome};

const NAME: &str = "SetSiteSchedulesInput";
const ROW: &str = "SiteScheduleRowInput";
const SITE: &str = "siteId";
const ROWS: &str = "rows";

/// The hours of days of sites.
#[derive(Debug)]
pub(super) struct SetSiteSchedulesInput {
    /// The hours, in the shape of their kind.
    rows: Vec<Value>,
    /// Key under which a repeat is known.
    key: Option<String>,
}

impl InputType for SetSiteSchedulesInput {
    type RawValueType = Self;

    fn type_name() -> Cow<'static, str> {
        NAME.into()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        let mut fields = inputs_of_fields(Kind::SiteSchedule.spec());
        let description = "The site; that of the whole input when it is left out.";
        for field in fields.iter_mut().filter(|field| field.name == SITE) {
            *field = input(SITE, "ID", description);
        }
        let description = "The hours of a site on a day of the week, or on one date.";
        input_object(registry, ROW, description, fields, Entries::Any);
        let fields = vec![
            input(SITE, "ID", "The site of all rows that name none."),
            input(ROWS, &format!("[{ROW}!]!"), "The rows: 1 to 1,000."),
            key_input(),
        ];
        let description =
            "The hours of sites on many days: a week of one site, or a table of many.";
        input_object(registry, NAME, description, fields, Entries::Any);
        Self::qualified_type_name()
    }

    fn parse(value: Option<Value>) -> InputValueResult<Self> {
        let Some(Value::Object(mut given)) = value else {
            return Err(InputValueError::expected_type(value.unwrap_or_default()));
        };
        let key = key_of(&mut given).map_err(InputValueError::custom)?;
        let site = given.shift_remove(SITE).filter(|site| *site != Value::Null);
        let rows = match given.shift_remove(ROWS) {
            Some(Value::List(rows)) => rows,
            // the language takes one for a list of one
            Some(row @ Value::Object(_)) => vec![row],
            other => return Err(InputValueError::expected_type(other.unwrap_or_default())),
        };
        if let Some(name) = given.keys().next() {
            return Err(InputValueError::custom(format!("there is no field {name}")));
        }
        let wrong = || {
            let message = format!("rows has {} rows, it takes 1 to {EVENTS_MAX}", rows.len());
            InputValueError::<Self>::custom(message)
        };
        if rows.is_empty() {
            return Err(wrong());
        }
        if rows.len() > EVENTS_MAX {
            let code = ErrorCode::LimitExceeded;
            let wrong = wrong().with_extension("code", code.word());
            return Err(wrong.with_extension("retryable", code.is_retryable()));
        }
        let rows = rows.into_iter().map(|row| of_site(row, site.as_ref()));
        let rows = rows.collect::<Result<_, _>>();
        let rows = rows.map_err(InputValueError::custom)?;
        Ok(Self { rows, key })
    }

    fn to_value(&self) -> Value {
        let rows = Value::List(self.rows.clone());
        Value::Object(Given::from_iter([(Name::new(ROWS), rows)]))
    }

    fn as_raw_value(&self) -> Option<&Self::RawValueType> {
        Some(self)
    }
}

/// A row with its site.
fn of_site(row: Value, site: Option<&Value>) -> Result<Value, String> {
    let Value::Object(mut row) = row else {
        return Err("a row is an object".to_owned());
    };
    all_known(&row)?;
    let names_none = row.get(SITE).is_none_or(|site| *site == Value::Null);
    if let Some(site) = site.filter(|_| names_none) {
        row.insert(Name::new(SITE), site.clone());
    }
    Ok(Value::Object(row))
}

/// Rows of schedules as a list.
#[derive(Debug)]
struct Rows(Vec<Arc<Event>>);

impl OutputType for Rows {
    fn type_name() -> Cow<'static, str> {
        format!("[{}]", Self::row()).into()
    }

    fn qualified_type_name() -> String {
        format!("[{}]!", Self::row())
    }

    fn create_type_info(registry: &mut Registry) -> String {
        EventOf::<SITE_SCHEDULE>::create_type_info(registry);
        Self::qualified_type_name()
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        _field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        let rows = render(ctx, Stand::Listed, &self.0).await?;
        Ok(Value::List(rows))
    }
}

impl Rows {
    fn row() -> String {
        <EventOf<SITE_SCHEDULE> as OutputType>::qualified_type_name()
    }
}

/// The answer to `setSiteSchedules`.
#[derive(Debug, SimpleObject)]
pub(super) struct SetSiteSchedulesPayload {
    /// The rows as they were recorded, in the order of the input; empty when the command was refused.
    schedules: Rows,
    /// Why the command was refused; empty when it was not. What is wrong with a row has its index in
    /// `field`, such as `rows.3.openTime`, counted from 0.
    user_errors: Vec<InOrder<UserError>>,
}

/// The commands on many rows of schedules.
#[derive(Debug)]
pub(super) struct ScheduleCommands;

#[Object]
impl ScheduleCommands {
    /// Sets the hours of sites on days of the week and on dates: all rows or, when one is refused, none. They
    /// hold from now on.
    async fn set_site_schedules(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The hours.")] input: SetSiteSchedulesInput,
    ) -> Result<InOrder<SetSiteSchedulesPayload>, Error> {
        let (api, caller) = (api(ctx), access::caller(ctx));
        let command = input.key;
        let command = command.map(|key| keyed_id(caller, Some(&key), "schedules"));
        let rows = within_reach(ctx, &input.rows).await?;
        let deed = ("setSiteSchedules", target(&input.rows));
        let user_errors = match schedule::set_many(&door(ctx, &deed), rows, command).await {
            Ok(outcomes) => {
                return Ok(InOrder(SetSiteSchedulesPayload {
                    schedules: recorded(ctx, &outcomes).await?,
                    user_errors: Vec::new(),
                }));
            }
            Err(ManyError::Rows(refused)) => {
                let error = |(index, refusal)| UserError::of_row(index, refusal);
                refused.into_iter().map(error).collect()
            }
            Err(ManyError::Whole(error)) => vec![of_whole(api, error)?],
        };
        if let Some(first) = user_errors.first() {
            tell_refused(ctx, &deed, first).await?;
        }
        Ok(InOrder(SetSiteSchedulesPayload {
            schedules: Rows(Vec::new()),
            user_errors: user_errors.into_iter().map(InOrder).collect(),
        }))
    }
}

fn of_whole(api: &Api, error: schedule::ScheduleError) -> Result<UserError, Error> {
    let mut error = of_schedule(api, error)?;
    if error.field.as_deref() == Some("dayOfWeek") {
        error.field = Some(ROWS.to_owned());
    }
    Ok(error)
}

/// The rows as events. One of a site that the caller does not reach is refused as one of none.
async fn within_reach(
    ctx: &Context<'_>,
    rows: &[Value],
) -> Result<Vec<Result<NewEvent, Refusal>>, Error> {
    let now = api(ctx).ingest.clock().now();
    let mut events = Vec::with_capacity(rows.len());
    for row in rows {
        let event = kinds::parse(Kind::SiteSchedule, row, now);
        let site = event.as_ref().ok().and_then(site_of);
        let is_reached = match site {
            Some(site) => reaches_site(ctx, site).await?,
            None => true,
        };
        events.push(match event {
            Ok(_) if !is_reached => Err(schedule::unknown_site()),
            event => event,
        });
    }
    Ok(events)
}

fn site_of(event: &NewEvent) -> Option<&str> {
    event.fact.cell(Column::SiteKey).text()
}

/// What the audit says the command was given on: the site, or how many there are.
fn target(rows: &[Value]) -> Option<String> {
    let site = |row: &'_ Value| {
        let Value::Object(row) = row else { return None };
        let site = row.get(SITE)?.clone().into_json().ok()?;
        Some(
            site.as_str()
                .map_or_else(|| site.to_string(), str::to_owned),
        )
    };
    let sites: BTreeSet<String> = rows.iter().filter_map(site).collect();
    match sites.len() {
        0 => None,
        1 => sites.into_iter().next(),
        sites => Some(format!("{sites} sites")),
    }
}

async fn recorded(ctx: &Context<'_>, outcomes: &[Outcome]) -> Result<Rows, Error> {
    let position = |outcome: &Outcome| match outcome {
        Outcome::Recorded(position) | Outcome::Duplicate(position) => Some(*position),
        Outcome::Conflict(_) | Outcome::Rejected(_) => None,
    };
    let positions: Vec<Position> = outcomes.iter().filter_map(position).collect();
    let kind = (Kind::SiteSchedule, Columns::ALL);
    let store = api(ctx).store();
    let read = store.of_positions(kind, &positions, loaders(ctx).allowance());
    let mut events = read.await.map_err(|error| of_failed(api(ctx), &error))?;
    let place = |event: &Event| positions.iter().position(|p| *p == event.position);
    events.sort_by_cached_key(place);
    Ok(Rows(events.into_iter().map(Arc::new).collect()))
}
