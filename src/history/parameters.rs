//! The parameters of configuration that are registered.

use entity::configuration_parameters;
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::gathered;
use crate::store::{Allowance, Doing, List, Store, StoreError, is_among};

/// A parameter.
pub type ParameterRow = configuration_parameters::Model;

const PARAMETERS: &str = "read parameters";

/// The parameters that are registered, by their names; only some when they are named.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn registered(
    store: &Store,
    names: Option<&[String]>,
    allowance: &Allowance,
) -> Result<Vec<ParameterRow>, StoreError> {
    let column = configuration_parameters::Column::ParameterName;
    let mut query = configuration_parameters::Entity::find().order_by_asc(column);
    if let Some(names) = names {
        query = query.filter(is_among(
            column,
            List::Text(names.to_vec()),
            store.backend(),
        ));
    }
    let weight_bytes = |row: &ParameterRow| size_of_val(row) + row.schema.len();
    let rows = query.stream(store.readers()).await;
    gathered(
        rows.doing(PARAMETERS)?,
        (allowance, weight_bytes),
        PARAMETERS,
    )
    .await
}

/// The names of the parameters that are sensitive; only among some when they are named.
///
/// # Errors
/// When the tables cannot be read.
pub async fn sensitive(
    store: &Store,
    among: Option<Vec<String>>,
) -> Result<Vec<String>, StoreError> {
    let name = configuration_parameters::Column::ParameterName;
    let among = among.map(|names| is_among(name, List::Text(names), store.backend()));
    let query = configuration_parameters::Entity::find()
        .select_only()
        .column(name)
        .filter(configuration_parameters::Column::Sensitive.ne(0))
        .filter(Condition::all().add_option(among))
        .into_tuple();
    query.all(store.readers()).await.doing(PARAMETERS)
}
