//! The devices and sites nested in the rows of a page: each is resolved once, for all rows that
//! name it.

use std::collections::HashMap;

use async_graphql::parser::types::Field;
use async_graphql::{ContextSelectionSet, OutputType, Positioned, ServerResult, Value};
use bytes::Bytes;

use super::fleet::{Device, Site};
use super::order::or_null;
use super::rows::Stand;
use super::written;

/// A field of a document and a key of a device or site.
type Place = (usize, i64);

/// What is to be resolved: the field that asks for it, the first row that does, and how many do.
struct Asked<'a> {
    field: &'a Positioned<Field>,
    is_device: bool,
    row: usize,
    rows: usize,
}

/// The devices and sites that the rows of a page name.
#[derive(Default)]
pub(super) struct Wanted<'a> {
    asked: HashMap<Place, Asked<'a>>,
}

impl<'a> Wanted<'a> {
    /// A row names a device.
    pub(super) fn device(&mut self, field: &'a Positioned<Field>, key: Option<i64>, row: usize) {
        self.add(field, key, row, true);
    }

    /// A row names a site.
    pub(super) fn site(&mut self, field: &'a Positioned<Field>, key: Option<i64>, row: usize) {
        self.add(field, key, row, false);
    }

    fn add(&mut self, field: &'a Positioned<Field>, key: Option<i64>, row: usize, is_device: bool) {
        let Some(key) = key else { return };
        let asked = self.asked.entry((address(field), key));
        let asked = asked.or_insert(Asked {
            field,
            is_device,
            row,
            rows: 0,
        });
        asked.rows += 1;
    }
}

fn address(field: &Positioned<Field>) -> usize {
    let line = field.pos.line.wrapping_mul(1_000_003);
    line.wrapping_add(field.pos.column)
}

/// The values of nested devices and sites.
#[derive(Default)]
pub(super) struct Nested {
    values: HashMap<Place, Bytes>,
}

impl Nested {
    /// Writes the value of a field for a key, or of several fields that stand under one key.
    pub(super) fn write(
        &self,
        text: &mut Vec<u8>,
        fields: &[&Positioned<Field>],
        key: Option<i64>,
    ) {
        let value = |field: &&Positioned<Field>| self.values.get(&(address(field), key?));
        let mut values = fields.iter().filter_map(value);
        let Some(first) = values.next() else {
            return written::value(text, &Value::Null);
        };
        let mut merged = Value::Binary(first.clone());
        values.for_each(|more| written::merge(&mut merged, Value::Binary(more.clone())));
        written::value(text, &merged);
    }

    /// Resolves what rows want.
    pub(super) async fn resolve(
        ctx: &ContextSelectionSet<'_>,
        stand: Stand<'_>,
        wanted: Wanted<'_>,
    ) -> ServerResult<Self> {
        let resolved = wanted.asked.into_iter().map(|(place, asked)| async move {
            let value = match stand {
                Stand::Alone => one(ctx, &asked, place.1).await,
                Stand::Listed => one(&ctx.with_index(asked.row), &asked, place.1).await,
                Stand::Edges(edges, field) => {
                    let edge = edges.with_index(asked.row);
                    let node = edge.with_field(field);
                    let row = node.with_selection_set(&field.node.selection_set);
                    one(&row, &asked, place.1).await
                }
            };
            // it is copied into each row
            let copied = objects(&value).saturating_mul(asked.rows.saturating_sub(1));
            let counted = super::loaders(ctx).count(copied);
            let at = |error: async_graphql::Error| {
                ctx.set_error_path(error.into_server_error(asked.field.pos))
            };
            counted.map_err(at)?;
            let mut text = Vec::new();
            written::value(&mut text, &value);
            ServerResult::Ok((place, Bytes::from(text)))
        });
        let values = futures_util::future::try_join_all(resolved).await?;
        Ok(Self {
            values: values.into_iter().collect(),
        })
    }
}

async fn one(row: &ContextSelectionSet<'_>, asked: &Asked<'_>, key: i64) -> Value {
    let field = asked.field;
    let ctx = row.with_field(field);
    let set = ctx.with_selection_set(&field.node.selection_set);
    let resolved = if asked.is_device {
        let device = Device::load(&ctx, key).await;
        OutputType::resolve(&device, &set, field).await
    } else {
        let site = Site::load(&ctx, key).await;
        OutputType::resolve(&site, &set, field).await
    };
    or_null(&ctx, resolved.map(Some)).unwrap_or_default()
}

/// Objects in a value besides itself.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an enum of a library, whose other values are one case"
)]
fn objects(value: &Value) -> usize {
    match value {
        Value::List(items) => items.iter().map(|item| 1 + objects(item)).sum(),
        Value::Object(fields) => fields.values().map(objects).sum(),
        _ => 0,
    }
}
