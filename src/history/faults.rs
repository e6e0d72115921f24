//! Errors that were recorded, for the rules that count them.

use entity::ColumnName as _;
use entity::error_logs::Column;

use super::pages::{each, happened};
use crate::event::{Cell, Instant, Position, Provenance};
use crate::kinds::{Filter, Kind, Operand, Operator};
use crate::store::{Columns, Order, PageQuery, Store, StoreError};

/// An error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRow {
    /// When it was.
    pub at: Instant,
    /// Its position.
    pub position: Position,
    /// How severe it is.
    pub severity: String,
    /// Key of its device, if it names one.
    pub device_key: Option<i64>,
    /// Where it comes from.
    pub provenance: Provenance,
}

/// Errors of some severities since an instant, at most so many: the newest, and of these the newest first.
///
/// # Errors
/// When the log cannot be read.
pub async fn errors_since(
    store: &Store,
    severities: &[String],
    since: Instant,
    limit: usize,
) -> Result<Vec<FaultRow>, StoreError> {
    let spec = Kind::ErrorLog.spec();
    let Some(index) = spec.index_of_column(Column::Severity.name()) else {
        return Ok(Vec::new());
    };
    let columns = Columns::NONE.with_source().with_subject(spec).with(index);
    let words = severities.iter().map(|word| Cell::from(word.as_str()));
    let among = Operator::In(words.collect());
    let query = PageQuery {
        filter: Filter::And(vec![
            happened(Operator::Greater(since.0.into())),
            Filter::Is(Operand::Field(index), among),
        ]),
        limit,
        order: Order::NewestFirst,
        ..PageQuery::all_of(Kind::ErrorLog, columns)
    };
    let mut rows = Vec::new();
    each(store, query, |event| {
        let severity = event.fact.cell(Column::Severity).text();
        rows.push(FaultRow {
            at: event.fact.occurred_at,
            position: event.position,
            severity: severity.unwrap_or_default().to_owned(),
            device_key: event.fact.cell(Column::DeviceKey).int(),
            provenance: event.fact.provenance,
        });
    })
    .await?;
    Ok(rows)
}
