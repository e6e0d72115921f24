//! Makes tables in use like those that were folded beside them, row by row: only what differs is
//! written, and a part of it at a time, so that nobody waits long for the lock.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend};

use super::error::{Doing, StoreError};
use super::scratch::{Scratch, text};
use super::sql::Sql;

/// Rows at most that are mended at once.
const ROWS_MAX: i64 = 2_000;

/// Rows of a table that differ, in parts.
#[derive(Debug)]
pub(crate) struct Differing {
    table: &'static str,
    /// Which of its rows may be mended.
    condition: String,
    keys: Vec<String>,
    parts: std::ops::Range<i64>,
}

impl Differing {
    /// Whether nothing of it is left to be mended.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

impl Scratch {
    /// Notes the keys of those rows that meet a condition and are not the same in a table in use and in the one
    /// beside it.
    pub(crate) async fn differing(
        &self,
        tx: &DatabaseTransaction,
        (table, condition): (&'static str, String),
    ) -> Result<Differing, StoreError> {
        let doing = "compare a projection";
        let keys = self.keys(tx, table).await?;
        let of = |schema: &str| format!("SELECT * FROM {schema}.{table} WHERE {condition}");
        let (used, folded) = (of(&self.schema), of(self.temporary()));
        let names = keys.join(", ");
        let temporary = self.temporary();
        let numbered = format!("(row_number() OVER (ORDER BY {names}) - 1) / {ROWS_MAX}");
        for sql in [
            format!("DROP TABLE IF EXISTS {temporary}.differing_{table}"),
            format!(
                "CREATE TEMPORARY TABLE differing_{table} AS \
                 SELECT {names}, {numbered} AS part FROM (\
                 SELECT {names} FROM ({used} EXCEPT {folded}) AS surplus UNION \
                 SELECT {names} FROM ({folded} EXCEPT {used}) AS missing) AS differing"
            ),
            format!("CREATE INDEX differing_{table}_part ON differing_{table} (part)"),
        ] {
            tx.execute_unprepared(&sql).await.doing(doing)?;
        }
        let count = format!("SELECT coalesce(max(part) + 1, 0) FROM differing_{table}");
        let row = tx.query_one_raw(Sql::new(count).statement(tx.get_database_backend()));
        let row = row.await.doing(doing)?;
        let parts = row.map(|row| row.try_get_by_index(0)).transpose();
        let parts = 0..parts.doing(doing)?.unwrap_or_default();
        Ok(Differing {
            table,
            condition,
            keys,
            parts,
        })
    }

    /// Makes the next part of those rows what the rows beside are now, as far as they still meet the condition.
    pub(crate) async fn mend(
        &self,
        tx: &DatabaseTransaction,
        differing: &mut Differing,
    ) -> Result<(), StoreError> {
        let Some(part) = differing.parts.next() else {
            return Ok(());
        };
        let Differing {
            table,
            condition,
            keys,
            ..
        } = differing;
        let (schema, temporary) = (&self.schema, self.temporary());
        let names = keys.join(", ");
        let same = keys.iter().map(|key| format!("{table}.{key} = d.{key}"));
        let same = same.collect::<Vec<_>>().join(" AND ");
        for sql in [
            format!(
                "DELETE FROM {schema}.{table} WHERE ({names}) IN \
                 (SELECT {names} FROM {temporary}.differing_{table} WHERE part = {part}) \
                 AND ({condition})"
            ),
            format!(
                "INSERT INTO {schema}.{table} SELECT {table}.* \
                 FROM {temporary}.differing_{table} d CROSS JOIN {temporary}.{table} \
                 WHERE d.part = {part} AND {same} AND ({condition})"
            ),
        ] {
            let mended = tx.execute_unprepared(&sql).await;
            mended.doing("mend a projection")?;
        }
        Ok(())
    }

    /// The columns of a table's primary key.
    async fn keys(&self, tx: &DatabaseTransaction, table: &str) -> Result<Vec<String>, StoreError> {
        let sql = if tx.get_database_backend() == DbBackend::Postgres {
            format!(
                "SELECT string_agg(a.attname, ' ') FROM pg_index i JOIN pg_attribute a \
                 ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) \
                 WHERE i.indisprimary AND i.indrelid = '{}.{table}'::regclass",
                self.schema
            )
        } else {
            format!(
                "SELECT group_concat(name, ' ') FROM pragma_table_info('{table}', 'main') \
                 WHERE pk > 0"
            )
        };
        let names = text(tx, Sql::new(sql)).await?;
        Ok(names.split(' ').map(str::to_owned).collect())
    }
}
