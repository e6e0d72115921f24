//! Puts the events of a kind of some time together in one table, that one connection alone sees, for what
//! only SQL says well. The table has the name of the kind's own and stands before it.

use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, QueryResult};

use super::{Ask, Catalog};
use crate::event::{Event, Instant};
use crate::kinds::{Envelope, Filter, Kind, Operand, Operator};
use crate::store::Store;
use crate::store::allowance::Allowance;
use crate::store::error::{Doing, StoreError};
use crate::store::insert;
use crate::store::joined::TRIES;
use crate::store::read::{Order, PageQuery, Place, Tables};
use crate::store::rows::{Columns, Reading};
use crate::store::scratch::text;
use crate::store::script::Script;
use crate::store::sql::Sql;
use crate::store::transactions;

/// Bytes at most of archived events that are put into such a table.
const BYTES_MAX: usize = 512 * 1024 * 1024;
/// Archived events that are read and put in at once.
const PAGE: usize = 10_000;

impl Store {
    /// The rows of a statement over the table of a kind, of events that happened within some time, wherever
    /// they are kept.
    ///
    /// # Errors
    /// When the tables or segments cannot be read, or very many of the events are archived.
    pub(crate) async fn query_within(
        &self,
        within: (Kind, Instant, Instant),
        statement: impl Fn() -> Sql + Send + Sync,
        doing: &'static str,
    ) -> Result<Vec<QueryResult>, StoreError> {
        let read = self.try_query_within(within, &statement, doing).await;
        if self.is_behind(&read) {
            let primary = self.of_primary();
            return primary.try_query_within(within, &statement, doing).await;
        }
        read
    }

    async fn try_query_within(
        &self,
        (kind, from, to): (Kind, Instant, Instant),
        statement: &(impl Fn() -> Sql + Send + Sync),
        doing: &'static str,
    ) -> Result<Vec<QueryResult>, StoreError> {
        for _ in 0..TRIES {
            let catalog = self.segments().renew(self.readers()).await?;
            let is_archived = catalog
                .of(kind)
                .iter()
                .any(|segment| segment.times.0 < to.0 && segment.times.1 >= from.0);
            if is_archived {
                let gathered = self.gathered((kind, from, to), statement(), doing).await;
                let settled = self
                    .segments()
                    .settled(self.readers(), (&catalog, gathered));
                if let Some(rows) = settled.await? {
                    return Ok(rows);
                }
                continue;
            }
            let sql = statement().statement(self.backend());
            let rows = self.readers().query_all_raw(sql).await.doing(doing)?;
            if self.tables().is_of(Some(catalog.generation)).await? {
                return Ok(rows);
            }
        }
        Err(StoreError::SegmentsMoved)
    }

    async fn gathered(
        &self,
        (kind, from, to): (Kind, Instant, Instant),
        statement: Sql,
        doing: &'static str,
    ) -> Result<Vec<QueryResult>, StoreError> {
        let db = self.shared.connections.alone().await.doing(doing)?;
        let rows = gather_and_ask(
            &self.shared.tables,
            &db,
            (kind, from, to),
            (statement, doing),
        );
        let rows = rows.await;
        // the table is gone with the connection, which is gone also when it cannot be closed
        let _ = db.close().await;
        rows
    }
}

async fn gather_and_ask(
    tables: &Tables,
    db: &DatabaseConnection,
    (kind, from, to): (Kind, Instant, Instant),
    (statement, doing): (Sql, &'static str),
) -> Result<Vec<QueryResult>, StoreError> {
    let backend = db.get_database_backend();
    let schema = if backend == DbBackend::Postgres {
        text(db, Sql::new("SELECT quote_ident(current_schema())")).await?
    } else {
        "main".to_owned()
    };
    let tx = transactions::snapshot(db, None).await.doing(doing)?;
    let catalog = Catalog::read(&tx).await?;
    let table = kind.spec().table;
    let (from_at, to_at) = (from.0, to.0);
    let sql = format!(
        "CREATE TEMPORARY TABLE {table} AS SELECT * FROM {schema}.{table} \
         WHERE occurred_at >= {from_at} AND occurred_at < {to_at}"
    );
    tx.execute_unprepared(&sql).await.doing(doing)?;
    let at = |operator| Filter::Is(Operand::Envelope(Envelope::OccurredAt), operator);
    let query = PageQuery {
        filter: Filter::And(vec![
            at(Operator::AtLeast(from.0.into())),
            at(Operator::Less(to.0.into())),
        ]),
        order: Order::OldestFirst,
        limit: PAGE,
        ..PageQuery::all_of(kind, Columns::ALL)
    };
    put_in(tables, (&tx, &catalog), query).await?;
    let rows = tx
        .query_all_raw(statement.statement(backend))
        .await
        .doing(doing)?;
    tx.rollback().await.doing(doing)?;
    Ok(rows)
}

async fn put_in(
    tables: &Tables,
    (tx, catalog): (&DatabaseTransaction, &Catalog),
    mut query: PageQuery,
) -> Result<(), StoreError> {
    let allowance = Allowance::of(BYTES_MAX);
    loop {
        let page = tables
            .archived(
                (catalog, Ask::page(&query)),
                (Reading::Reported, &allowance),
            )
            .await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        query.after = Some(Place::of(last));
        let events: Vec<&Event> = page.iter().collect();
        let mut script = Script::new(tx, false);
        insert::events(&mut script, query.kind.spec(), &events).await?;
        script.run().await?;
    }
}
