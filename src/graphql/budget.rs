//! How much a document may ask for at once: the sizes of its pages, multiplied along each path.
//!
//! What a page of devices has beneath it is answered for each device, so that a short document can
//! ask for more rows than any machine can hold. It is refused by what it asks for, whether or not
//! there are so many rows.

use std::collections::HashMap;

use async_graphql::parser::types::{
    ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet,
};
use async_graphql::{Error, Name, Positioned, Value, Variables};
use async_graphql_value::Value as Given;

use super::error::{ErrorCode, bad_input, error};
use super::job::TARGETS_DEFAULT;
use super::open_alerts::{OPEN_DEFAULT, OPEN_MAX};
use super::types::{PAGE_DEFAULT, PAGE_MAX};
use crate::event::Instant;
use crate::kinds::Kind;
use crate::schedule::RANGE_DAYS_MAX;

/// Rows at most of all pages together.
pub(super) const ROWS_MAX: usize = 50_000;
/// Values at most of all rows together.
const VALUES_MAX: usize = 1_000_000;

/// What sums up, at most, of all pages together.
const SUMS_MAX: usize = 10;
/// Rows as which each of that counts beside others.
const SUM_ROWS: usize = ROWS_MAX / SUMS_MAX;
/// The fields that sum up.
const SUMS: [&str; 11] = [
    "series",
    "seriesUpdates",
    "breakdown",
    "heatmap",
    "availability",
    "stateTimeline",
    "apiRequestStats",
    "errorStats",
    "jobStats",
    "activityStats",
    "configurationImpact",
];
/// Reasons that an insight has as a rule.
const REASONS: usize = 8;
/// Measures of a device, and its errors, of which it is told what a change did.
const EFFECTS: usize = 11;
/// Days of a forecast at most.
const FORECAST_DAYS: usize = 14;
/// Values as which a status of a site counts.
const STATUS_VALUES: usize = 20;
/// Hours of a site on a day, as they are counted beforehand: when it is open, two peaks, a window.
const DAY_ROWS: usize = 4;
const DAY_MICROS: i64 = 86_400_000_000;

/// What a selection comes to.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    rows: usize,
    values: usize,
    /// Fields that sum up, which are rows too.
    sums: usize,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.rows = self.rows.saturating_add(other.rows);
        self.values = self.values.saturating_add(other.values);
        self.sums = self.sums.saturating_add(other.sums);
    }

    fn of_rows(self, rows: usize) -> Self {
        Self {
            rows: self.rows.saturating_add(1).saturating_mul(rows),
            values: self.values.saturating_mul(rows).saturating_add(1),
            sums: self.sums.saturating_mul(rows),
        }
    }

    /// Refuses what is too much, and tells what to do.
    fn check(self) -> Result<(), Error> {
        let refused = |message: String| Err(error(ErrorCode::LimitExceeded, message));
        if self.sums > SUMS_MAX {
            return refused(format!(
                "the request asks for {} sums, at most {SUMS_MAX} are answered at once, of {} together; ask for the \
                 others in another request, or for several `measures` or groups in one",
                self.sums,
                SUMS.join(", ")
            ));
        }
        if self.rows > ROWS_MAX {
            let others = if self.sums == 0 {
                String::new()
            } else {
                let names = SUMS.join(", ");
                format!(", or ask in another request for what counts as {SUM_ROWS} rows: {names}")
            };
            return refused(format!(
                "the request asks for up to {} rows, at most {ROWS_MAX} are answered at once; give smaller pages by \
                 `first`{others}",
                self.rows
            ));
        }
        if self.values > VALUES_MAX {
            return refused(format!(
                "the request asks for up to {} values, at most {VALUES_MAX} are answered at once; give smaller pages \
                 by `first`",
                self.values
            ));
        }
        Ok(())
    }
}

/// Refuses an operation that asks for too much, and answers with its cost: the values that it may be
/// answered with. Each field is one, and what is in a page as many as the page may have rows.
pub(super) fn check(
    document: &ExecutableDocument,
    operation: &OperationDefinition,
    variables: &Variables,
) -> Result<usize, Error> {
    let mut reader = Reader {
        document,
        operation,
        variables,
        fragments: HashMap::new(),
        has_nul: false,
    };
    let cost = reader.set(&operation.selection_set.node, None);
    // an event with such a text has an outcome of its own
    if reader.has_nul && operation.ty != OperationType::Mutation {
        return Err(bad_input(NUL));
    }
    cost.check()?;
    Ok(cost.values)
}

/// Why a text with U+0000 is refused.
pub(super) const NUL: &str = "a text contains U+0000, which is in nothing that is recorded";

struct Reader<'a> {
    document: &'a ExecutableDocument,
    operation: &'a OperationDefinition,
    variables: &'a Variables,
    /// What each fragment comes to in a page of a size.
    fragments: HashMap<(&'a Name, Option<usize>), Cost>,
    has_nul: bool,
}

impl<'a> Reader<'a> {
    /// What is selected of an object, which is a page of a size if it is a connection.
    fn set(&mut self, set: &'a SelectionSet, page: Option<usize>) -> Cost {
        let mut cost = Cost::default();
        for selection in &set.items {
            cost.add(match &selection.node {
                Selection::Field(field) => self.field(field, page),
                Selection::InlineFragment(fragment) => {
                    self.set(&fragment.node.selection_set.node, page)
                }
                Selection::FragmentSpread(spread) => {
                    self.fragment(&spread.node.fragment_name.node, page)
                }
            });
        }
        cost
    }

    fn fragment(&mut self, name: &'a Name, page: Option<usize>) -> Cost {
        if let Some(cost) = self.fragments.get(&(name, page)) {
            return *cost;
        }
        let Some(fragment) = self.document.fragments.get(name) else {
            return Cost::default();
        };
        // one that contains itself is refused later; here it ends
        self.fragments.insert((name, page), Cost::default());
        let cost = self.set(&fragment.node.selection_set.node, page);
        self.fragments.insert((name, page), cost);
        cost
    }

    fn field(&mut self, field: &'a Positioned<Field>, page: Option<usize>) -> Cost {
        let field = &field.node;
        let texts = field.arguments.iter().map(|(_, value)| &value.node);
        self.has_nul |= texts.into_iter().any(given_has_nul);
        let name = field.name.node.as_str();
        let of_page = is_connection(name).then(|| self.page_size(field));
        let inner = self.set(&field.selection_set.node, of_page);
        match page {
            Some(rows) if name == "nodes" || name == "edges" => inner.of_rows(rows),
            _ if name == "openAlerts" => inner.of_rows(self.size(field, (OPEN_DEFAULT, OPEN_MAX))),
            _ if SUMS.contains(&name) && is_object(field) => Cost {
                rows: inner.rows.saturating_add(SUM_ROWS),
                values: inner.values.saturating_add(1),
                sums: inner.sums.saturating_add(1),
            },
            _ if name == "operatingHours" => inner.of_rows(self.hours_rows(field)),
            _ if name == "reasons" && is_object(field) => inner.of_rows(REASONS),
            _ if name == "effects" && is_object(field) => inner.of_rows(EFFECTS),
            _ if name == "healthForecast" => inner.of_rows(FORECAST_DAYS),
            // its calendar is looked through for the next change
            _ if matches!(name, "status" | "siteStatus") && is_object(field) => Cost {
                values: inner.values.saturating_add(STATUS_VALUES),
                ..inner
            },
            // the devices of a job are a list; of an event they are one value
            _ if name == "targets" && is_object(field) => {
                inner.of_rows(self.size(field, (TARGETS_DEFAULT, PAGE_MAX)))
            }
            _ => Cost {
                values: inner.values.saturating_add(1),
                ..inner
            },
        }
    }

    fn page_size(&self, field: &Field) -> usize {
        self.size(field, (PAGE_DEFAULT, PAGE_MAX))
    }

    /// Rows of a page by what a field is given, or so many, and at most so many.
    fn size(&self, field: &Field, (default, max): (usize, usize)) -> usize {
        let size = |name: &str| match self.argument(field, name)? {
            Ok(Value::Null) => None,
            Ok(Value::Number(size)) => size.as_u64().and_then(|size| size.try_into().ok()),
            // it is refused when it is read
            _ => Some(max),
        };
        let given = size("first").or_else(|| size("last"));
        given.unwrap_or(default).min(max)
    }

    /// The hours that the range of a field has as a rule; a range that cannot be read is refused when it is.
    fn hours_rows(&self, field: &Field) -> usize {
        let instant = |name: &str| match self.argument(field, name)? {
            Ok(Value::String(text)) => Instant::parse(&text),
            _ => None,
        };
        let range = instant("from").zip(instant("to"));
        let days = range.map(|(from, to)| to.0.saturating_sub(from.0) / DAY_MICROS + 1);
        let days = days.unwrap_or(RANGE_DAYS_MAX).clamp(1, RANGE_DAYS_MAX + 1);
        usize::try_from(days).map_or(ROWS_MAX, |days| days * DAY_ROWS)
    }

    /// The value of an argument that is given, if it can be known.
    fn argument(&self, field: &Field, name: &str) -> Option<Result<Value, ()>> {
        let (_, value) = field.arguments.iter().find(|(n, _)| n.node == name)?;
        let value = value.node.clone();
        Some(value.into_const_with(|name| self.variable(&name).ok_or(())))
    }

    fn variable(&self, name: &Name) -> Option<Value> {
        let mut definitions = self.operation.variable_definitions.iter();
        let definition = definitions.find(|definition| definition.node.name.node == *name);
        let value = self.variables.get(name);
        value.or(definition?.node.default_value()).cloned()
    }
}

fn is_object(field: &Field) -> bool {
    !field.selection_set.node.items.is_empty()
}

fn is_connection(name: &str) -> bool {
    matches!(name, "sites" | "devices" | "events" | "jobs" | "alerts")
        || matches!(name, "devicesAtRisk" | "anomalies" | "errorGroups")
        || matches!(
            name,
            "userSessions" | "topPages" | "topSearches" | "activityByUser"
        )
        || Kind::all().any(|kind| kind.spec().list == name)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an enum of a library, whose other values are one case"
)]
fn given_has_nul(value: &Given) -> bool {
    match value {
        Given::String(text) => text.contains('\0'),
        Given::List(items) => items.iter().any(given_has_nul),
        Given::Object(entries) => entries.values().any(given_has_nul),
        _ => false,
    }
}

/// Whether a text of a variable contains U+0000.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an enum of a library, whose other values are one case"
)]
pub(super) fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::List(items) => items.iter().any(has_nul),
        Value::Object(entries) => entries.values().any(has_nul),
        _ => false,
    }
}
