//! What an export is asked for: its sources, each with the filter of its list, and which events these are.

use std::borrow::Cow;

use async_graphql::registry::Registry;
use async_graphql::{Error, ID, InputObject, InputType, InputValueError, InputValueResult, Value};
use futures_util::future::BoxFuture;

use super::access;
use super::error::ErrorCode;
use super::exports::ExportFormat;
use super::filters::read_known;
use super::meta::{Entries, input, input_object};
use super::scalars::DateTime;
use super::types::filter_name;
use crate::exports::{Ask, AskError, Events, Source};
use crate::identity::Reach;
use crate::kinds::{Audience, Kind};
use crate::store::Store;

const NAME: &str = "ExportSourceInput";

/// A source of an export, with which of its events.
#[derive(Debug)]
pub(super) struct ExportSourceInput {
    name: String,
    filter: Value,
}

impl InputType for ExportSourceInput {
    type RawValueType = Self;

    fn type_name() -> Cow<'static, str> {
        NAME.into()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        let fields = Kind::all().map(|kind| {
            let spec = kind.spec();
            let description = format!("Events of `{}`: all of them for `{{}}`.", spec.list);
            input(spec.list, &filter_name(spec), &description)
        });
        let description =
            "A source of an export, by the name of its list, with the filter of that.";
        input_object(registry, NAME, description, fields.collect(), Entries::One);
        Self::qualified_type_name()
    }

    fn parse(value: Option<Value>) -> InputValueResult<Self> {
        let Some(Value::Object(given)) = value else {
            return Err(InputValueError::expected_type(value.unwrap_or_default()));
        };
        let mut given = given.into_iter();
        match (given.next(), given.next()) {
            (Some((name, filter @ Value::Object(_))), None) => Ok(Self {
                name: name.to_string(),
                filter,
            }),
            _ => Err(InputValueError::custom("it names one source")),
        }
    }

    fn to_value(&self) -> Value {
        Value::Null
    }

    fn as_raw_value(&self) -> Option<&Self::RawValueType> {
        Some(self)
    }
}

/// An export that is asked for.
#[derive(Debug, InputObject)]
pub(super) struct CreateExportInput {
    /// As what it is written.
    format: ExportFormat,
    /// The sources, at least one and each once, with which of their events: one for CSV and Parquet, which have its
    /// columns. All that are recorded by sources when it is left out.
    sources: Option<Vec<ExportSourceInput>>,
    /// The first instant, by when it happened.
    from: Option<DateTime>,
    /// The first instant after the last.
    to: Option<DateTime>,
    /// Whether the file is compressed with gzip; Parquet is compressed as it is.
    #[graphql(default)]
    gzip: bool,
    /// Whether CSV is for spreadsheets: a text that begins as a formula does (`=`, `+`, `-`, `@`, a tab, a line break)
    /// gets `'` before it. Without that a spreadsheet runs it, and some texts come from anybody, such as what was
    /// searched for on a page. Programs want texts as they are.
    #[graphql(default)]
    spreadsheet: bool,
    /// A repeat with the same key is the same export, and with another one is refused as CONFLICT; 1 to 255
    /// characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    pub(super) idempotency_key: Option<String>,
}

impl CreateExportInput {
    /// What it asks for.
    pub(super) fn ask(self) -> Ask {
        let sources = match self.sources {
            Some(sources) => sources.into_iter().map(source).collect(),
            None => all_sources(),
        };
        let time = |at: Option<DateTime>| at.map(|at| at.0.to_string());
        Ask {
            sources,
            from: time(self.from),
            to: time(self.to),
            format: self.format.ending().to_owned(),
            gzip: self.gzip,
            spreadsheet: self.spreadsheet,
        }
    }
}

fn source(given: ExportSourceInput) -> Source {
    // the schema has numbers, texts, truths, lists and objects in filters, which are JSON
    let filter = given.filter.into_json().unwrap_or_default();
    let is_empty = filter.as_object().is_some_and(serde_json::Map::is_empty);
    Source {
        name: given.name,
        filter: if is_empty {
            serde_json::Value::Null
        } else {
            filter
        },
    }
}

/// Whatever is recorded by sources.
fn all_sources() -> Vec<Source> {
    let is_one = |kind: &Kind| {
        let spec = kind.spec();
        spec.recordable && spec.audience == Audience::Readers
    };
    let all = Kind::all().filter(is_one);
    all.map(|kind| Source {
        name: kind.spec().list.to_owned(),
        filter: serde_json::Value::Null,
    })
    .collect()
}

/// Which events are asked for, of those that somebody reaches. What a filter names and this process has not
/// met may have been registered through another just now, so that is looked up.
pub(crate) fn events_of(
    store: Store,
    ask: Ask,
    reach: Reach,
) -> BoxFuture<'static, Result<Events, AskError>> {
    Box::pin(async move {
        let within = access::of_reach(&store, &reach).await?;
        let mut events = Events::with_capacity(ask.sources.len());
        for source in ask.sources {
            let unknown = || AskError::NotUnderstood(format!("there is no source {}", source.name));
            let kind = [source.kind().ok_or_else(unknown)?];
            let filter = Value::from_json(source.filter.clone());
            let filter = filter.map_err(|error| AskError::NotUnderstood(error.to_string()))?;
            let read = || read_known(store.names(), &kind, Some(&filter)).map_err(unread);
            let (mut read_first, names) = read()?;
            for (ty, id) in &names {
                store.key(*ty, id).await?;
            }
            if !names.is_empty() {
                read_first = read()?.0;
            }
            let seen = |(kind, filter)| (kind, access::placed(&within, kind).and(filter));
            events.extend(read_first.into_iter().map(seen));
        }
        Ok(events)
    })
}

/// Why a filter is not read.
fn unread(error: Error) -> AskError {
    if ErrorCode::LimitExceeded.is_that_of(&error) {
        AskError::TooMuch(error.message)
    } else {
        AskError::NotUnderstood(error.message)
    }
}

/// An export to be cancelled.
#[derive(Debug, InputObject)]
pub(super) struct CancelExportInput {
    /// Its id.
    pub(super) export_id: ID,
}

/// An export whose file is to be removed.
#[derive(Debug, InputObject)]
pub(super) struct DeleteExportInput {
    /// Its id.
    pub(super) export_id: ID,
}
