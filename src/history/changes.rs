//! Changes of the configuration of devices, as they are in the log.

use entity::ColumnName as _;
use entity::configuration_history::Column;

use super::pages::happened;
use crate::event::{Cell, Event, Instant};
use crate::kinds::{Filter, Kind, Operand, Operator};
use crate::store::{Allowance, Columns, Order, PageQuery, Store, StoreError};

/// The last change of the configuration of a device until an instant, of one parameter or of any, without its values.
///
/// # Errors
/// When the log cannot be read, or the allowance does not suffice.
pub async fn last_change(
    store: &Store,
    (device_key, parameter): (i64, Option<&str>),
    until: Instant,
    allowance: &Allowance,
) -> Result<Option<Event>, StoreError> {
    let spec = Kind::ConfigurationChange.spec();
    let named = spec.index_of_column(Column::ParameterName.name());
    let of_parameter = named.zip(parameter).map(|(index, name)| {
        let name = Operator::In(vec![Cell::from(name)]);
        Filter::Is(Operand::Field(index), name)
    });
    let of_device = Operator::In(vec![Cell::Int(device_key)]);
    let mut conditions = vec![
        Filter::Is(Operand::Device, of_device),
        happened(Operator::AtMost(until.0.into())),
    ];
    conditions.extend(of_parameter);
    let query = PageQuery {
        filter: Filter::And(conditions),
        order: Order::NewestFirst,
        limit: 1,
        ..PageQuery::all_of(Kind::ConfigurationChange, Columns::SMALL)
    };
    Ok(store.page(&query, allowance).await?.pop())
}
