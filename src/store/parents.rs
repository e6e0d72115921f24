//! The same page for each of many devices or sites, in one statement whose text is the same for any
//! number of them.
//!
//! Each page is read from the index of its device, and ends when it is full. A site has no index of
//! its devices' events: its page is the newest of the pages of its devices, and of the events that
//! name the site themselves. On SQLite, which knows no `LATERAL`, the positions of the pages are found
//! first, and their rows by these.

use sea_orm::DbBackend;

use super::read::{PageQuery, conditions, ordered};
use super::rows::{self, Reading};
use super::sql::{Sql, device_of, site_of};
use crate::event::Cell;
use crate::kinds::{Filter, Operand, Operator, Spec};

/// Rows at most that are read to find a page of several devices or sites.
const NARROWED_ROWS_MAX: usize = 50_000;

/// A page whose filter names some devices or sites, as the pages of these: the query without that
/// condition, and the keys. Otherwise all their events would be sorted for the newest few.
pub(super) fn narrowed(query: &PageQuery) -> Option<(PageQuery, Operand, Vec<i64>)> {
    let conditions = match &query.filter {
        Filter::And(filters) => filters.clone(),
        one @ Filter::Is(..) => vec![one.clone()],
        Filter::Or(_) | Filter::Not(_) => return None,
    };
    let named = conditions
        .iter()
        .position(|condition| named(condition, query.kind.spec()))?;
    let mut rest = conditions;
    let Filter::Is(operand, Operator::In(cells)) = rest.remove(named) else {
        return None;
    };
    let mut keys: Vec<i64> = cells.iter().filter_map(Cell::int).collect();
    keys.sort_unstable();
    keys.dedup();
    // of one device the index gives the page as it is
    let needed = operand == Operand::Site || keys.len() > 1;
    let few = keys.len().saturating_mul(query.limit) <= NARROWED_ROWS_MAX;
    let filter = Filter::And(rest);
    let query = PageQuery {
        filter,
        ..query.clone()
    };
    (needed && few).then_some((query, operand, keys))
}

fn named(condition: &Filter, spec: &Spec) -> bool {
    let Filter::Is(operand, Operator::In(cells)) = condition else {
        return false;
    };
    let has = match operand {
        Operand::Device => spec.device_index().is_some(),
        Operand::Site => spec.device_index().is_some() || spec.site_index().is_some(),
        Operand::Envelope(_) | Operand::Field(_) => false,
    };
    has && !cells.is_empty()
}

/// The rows of the pages of some parents, with the key of the parent behind the columns.
pub(super) fn pages(
    query: &PageQuery,
    parent: Operand,
    (backend, keys): (DbBackend, &[i64]),
) -> Sql {
    let spec = query.kind.spec();
    let columns = rows::columns(spec, Reading::Whole, query.columns);
    if backend == DbBackend::Postgres {
        let mut sql = Sql::new("SELECT page.*, k.value FROM ");
        sql.each(keys).push(" CROSS JOIN LATERAL (");
        sql.add(page(query, parent, &columns, backend));
        sql.push(") AS page");
        return sql;
    }
    let mut sql = Sql::new(format!("SELECT {columns}, k.value FROM "));
    sql.each(keys).push(&format!(
        " CROSS JOIN {} t WHERE t.position IN (",
        spec.table
    ));
    if parent == Operand::Site {
        sql.push("SELECT page.position FROM (")
            .add(page(query, parent, "t.position, t.occurred_at", backend))
            .push(") AS page");
    } else {
        sql.add(page(query, parent, "t.position", backend));
    }
    sql.push(")");
    sql
}

/// The page of the parent `k.value`.
fn page(query: &PageQuery, parent: Operand, columns: &str, backend: DbBackend) -> Sql {
    let spec = query.kind.spec();
    let (device, site) = (device_of(spec), site_of(spec));
    match (parent, device, site) {
        (Operand::Site, Some(device), site) => {
            let alone = site
                .as_ref()
                .map_or(String::new(), |site| format!(" AND {site} IS NULL"));
            let of_device = format!("{device} = d.device_key{alone}");
            let mut sql = of_devices(query, &of_device, columns, backend);
            if let Some(site) = site {
                sql.push(" UNION ALL SELECT * FROM (")
                    .add(part(query, &format!("{site} = k.value"), columns))
                    .push(") AS own");
            }
            let mut all = Sql::new("SELECT every.* FROM (");
            all.add(sql).push(") AS every");
            ordered(&mut all, query, "every");
            all
        }
        (Operand::Site, None, Some(column)) | (Operand::Device, Some(column), _) => {
            part(query, &format!("{column} = k.value"), columns)
        }
        _ => part(query, "FALSE", columns),
    }
}

/// The pages of all devices of the site `k.value`.
fn of_devices(query: &PageQuery, of_device: &str, columns: &str, backend: DbBackend) -> Sql {
    let mut sql = Sql::new("");
    if backend == DbBackend::Postgres {
        sql.push("SELECT one.* FROM devices d CROSS JOIN LATERAL (")
            .add(part(query, of_device, columns))
            .push(") AS one WHERE d.site_key = k.value");
        return sql;
    }
    let table = query.kind.spec().table;
    sql.push(&format!(
        "SELECT s.position, s.occurred_at FROM devices d CROSS JOIN {table} s \
         WHERE d.site_key = k.value AND s.position IN ("
    ));
    sql.add(part(query, of_device, "t.position")).push(")");
    sql
}

/// The page of what fits a condition.
fn part(query: &PageQuery, condition: &str, columns: &str) -> Sql {
    let table = query.kind.spec().table;
    let mut sql = Sql::new(format!(
        "SELECT {columns} FROM {table} t WHERE {condition} AND "
    ));
    conditions(&mut sql, query);
    ordered(&mut sql, query, "t");
    sql
}

/// The keys of some parents, each with the number of its events.
pub(super) fn counts(query: &PageQuery, parent: Operand, keys: &[i64]) -> Sql {
    let spec = query.kind.spec();
    let (device, site) = (device_of(spec), site_of(spec));
    let mut sql = Sql::new("SELECT k.value, ");
    match (parent, device, site) {
        (Operand::Site, Some(device), site) => {
            let alone = site
                .as_ref()
                .map_or(String::new(), |site| format!(" AND {site} IS NULL"));
            let of_devices = format!("d.site_key = k.value AND {device} = d.device_key{alone}");
            sql.add(count(query, ("devices d CROSS JOIN ", &of_devices)));
            if let Some(site) = site {
                sql.push(" + ")
                    .add(count(query, ("", &format!("{site} = k.value"))));
            }
        }
        (Operand::Site, None, Some(column)) | (Operand::Device, Some(column), _) => {
            sql.add(count(query, ("", &format!("{column} = k.value"))));
        }
        _ => {
            sql.push("CAST(0 AS BIGINT)");
        }
    }
    sql.push(" FROM ").each(keys);
    sql
}

fn count(query: &PageQuery, (from, condition): (&str, &str)) -> Sql {
    let table = query.kind.spec().table;
    let mut sql = Sql::new(format!(
        "(SELECT count(*) FROM {from}{table} t WHERE {condition} AND "
    ));
    conditions(&mut sql, query);
    sql.push(")");
    sql
}

#[cfg(test)]
mod tests {
    use migration::{Migrator, MigratorTrait};
    use sea_orm::{ConnectionTrait, Database, Statement};

    use super::super::read::{Order, Scope};
    use super::super::rows::Columns;
    use super::*;
    use crate::event::Position;
    use crate::kinds::Kind;

    fn query(kind: Kind, order: Order) -> PageQuery {
        PageQuery {
            kind,
            filter: Filter::default(),
            order,
            after: None,
            before: None,
            upto: Some(Position(9)),
            scope: Scope::Changes,
            columns: Columns::ALL,
            limit: 50,
        }
    }

    #[tokio::test]
    async fn pages_of_devices_and_sites_are_read_from_indexes() {
        let db = Database::connect("sqlite::memory:").await.unwrap();
        Migrator::up(&db, None).await.unwrap();
        for kind in Kind::all() {
            for parent in [Operand::Device, Operand::Site] {
                let query = query(kind, Order::NewestFirst);
                let texts = [
                    pages(&query, parent, (DbBackend::Sqlite, &[1, 2])),
                    counts(&query, parent, &[1, 2]),
                ];
                for sql in texts {
                    let Statement { sql, values, .. } = sql.statement(DbBackend::Sqlite);
                    let explain = format!("EXPLAIN QUERY PLAN {sql}");
                    let values = values.map(|values| values.0).unwrap_or_default();
                    let explain =
                        Statement::from_sql_and_values(DbBackend::Sqlite, explain, values);
                    for row in db.query_all_raw(explain).await.unwrap() {
                        let step: String = row.try_get_by_index(3).unwrap();
                        let named = kind.spec().device_index().or(kind.spec().site_index());
                        let reads_all = ["SCAN t", "SCAN s", "SCAN d", "SCAN p"].contains(&&*step);
                        assert!(
                            !reads_all || named.is_none(),
                            "{kind:?} {parent:?}: {step}\n{sql}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_text_is_the_same_for_any_number_of_parents_and_values() {
        let text = |keys: &[i64], values: i64| {
            let of = (0..values).map(Cell::Int).collect();
            let query = PageQuery {
                filter: Filter::Is(Operand::Device, Operator::In(of)),
                ..query(Kind::ErrorLog, Order::OldestFirst)
            };
            let sql = pages(&query, Operand::Site, (DbBackend::Postgres, keys));
            sql.statement(DbBackend::Postgres).sql
        };
        assert_eq!(text(&[1], 2), text(&[1, 2, 3], 500));
    }
}
