//! Reads of folded state for the API: sites, devices, schedules, counts, jobs; and what people
//! do, counted from the log.

use futures_util::{Stream, TryStreamExt};
use sea_orm::sea_query::{Alias, Expr, Query};
use sea_orm::{
    DbErr, EntityTrait, ExprTrait, FromQueryResult, IdenStatic, Iterable, Order, QueryResult,
    QuerySelect, QueryTrait, Select, StreamTrait,
};

use crate::store::{Allowance, Doing, Store, StoreError};

pub mod activity;
pub mod alerts;
pub mod changes;
pub mod collection;
pub mod configuration;
pub mod device_keys;
pub mod error_groups;
pub mod exports;
pub mod faults;
pub mod fleet;
pub mod jobs;
pub mod keys;
pub mod measures;
mod pages;
pub mod parameters;
mod part;
pub mod readings;
pub mod schedules;
pub mod states;
pub mod webhooks;
mod within;

pub use part::{Part, Place};
pub use within::Within;

/// Of the rows of a query those that are among the first of each part, as `number` numbers them in it: a
/// limit would hold for all parts together.
async fn first_of_each<E>(
    store: &Store,
    (query, number, limit): (Select<E>, &str, i64),
    order: &[(&'static str, Order)],
    (allowance, weight_bytes): (&Allowance, impl Fn(&E::Model) -> usize),
    doing: &'static str,
) -> Result<Vec<E::Model>, StoreError>
where
    E: EntityTrait,
    E::Model: FromQueryResult,
{
    let query = query.expr_as(Expr::cust(number.to_owned()), "number");
    let columns = E::Column::iter().map(|column| Expr::col(Alias::new(column.as_str())));
    let mut numbered = Query::select();
    numbered
        .exprs(columns)
        .from_subquery(query.into_query(), "numbered")
        .and_where(Expr::col("number").lte(limit));
    for (column, order) in order {
        numbered.order_by(*column, order.clone());
    }
    let rows = store.readers().stream(&numbered).await.doing(doing)?;
    let row = |row: QueryResult| E::Model::from_query_result(&row, "");
    let rows = rows.and_then(|found| std::future::ready(row(found)));
    gathered(rows, (allowance, weight_bytes), doing).await
}

/// The rows of a query as they arrive, as long as the allowance lasts.
async fn gathered<R>(
    rows: impl Stream<Item = Result<R, DbErr>>,
    (allowance, weight_bytes): (&Allowance, impl Fn(&R) -> usize),
    doing: &'static str,
) -> Result<Vec<R>, StoreError> {
    let mut rows = std::pin::pin!(rows);
    let mut gathered = Vec::new();
    while let Some(row) = rows.try_next().await.doing(doing)? {
        allowance.take(weight_bytes(&row))?;
        gathered.push(row);
    }
    Ok(gathered)
}
