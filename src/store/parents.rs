//! The same page for each of many devices or sites, in one statement whose text is the same for any
//! number of them.
//!
//! Each page is read from the index of its device, and ends when it is full. A site has no index of
//! its devices' events: its page is the newest of the pages of its devices while they stood there, and of
//! the events that name the site themselves; of a site of very many devices it is found by time. The places of the rows
//! are found first, and the rows by these.

use sea_orm::DbBackend;

use super::lists::List;
use super::read::{Asked, PageQuery, conditions, ordered};
use super::rows;
use super::sql::{DURING_STAY, Sql, device_of, site_of, stay_of};
use crate::event::Cell;
use crate::kinds::{Filter, Operand, Operator, Spec};

/// Rows at most that are read to find the pages of several devices or sites. Beyond, the pages are
/// found by time: of a large part of the fleet the newest events are soon met.
const FOUND_ROWS_MAX: usize = 50_000;

/// How a page of a device or site is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// From the index of each device.
    Devices,
    /// From that of time, with the devices as a condition.
    Time,
}

impl Reach {
    /// The cheaper one for pages of so many devices.
    pub(super) fn of(devices: usize, query: &Asked) -> Self {
        if devices.saturating_mul(query.limit) <= FOUND_ROWS_MAX {
            Self::Devices
        } else {
            Self::Time
        }
    }
}

/// What a filter names: the query without that condition, and the keys. Otherwise all events of
/// several devices would be sorted for the newest few.
pub(super) fn narrowed(asked: &Asked) -> Option<(Asked, Operand, Vec<i64>)> {
    let query = &asked.query;
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
    let filter = Filter::And(rest);
    let query = Asked {
        query: PageQuery {
            filter,
            ..query.clone()
        },
        generation: asked.generation,
    };
    // of one device the index gives the page as it is
    (operand == Operand::Site || keys.len() > 1).then_some((query, operand, keys))
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

/// What a page carries until it is known which rows are in it.
const PLACE: &str = "t.position, t.occurred_at";

/// Pages of devices or sites on a database.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parents<'a> {
    pub(super) query: &'a Asked,
    pub(super) parent: Operand,
    pub(super) reach: Reach,
    pub(super) backend: DbBackend,
}

impl Parents<'_> {
    /// The rows of the pages of some parents, with the key of the parent behind the columns.
    pub(super) fn pages(&self, keys: &[i64]) -> Sql {
        let (table, columns) = (self.table(), self.columns());
        if let (DbBackend::Postgres, Some(condition)) = (self.backend, self.alone()) {
            // its index has them as they are
            let mut sql = Sql::new("SELECT page.*, k.value FROM ");
            sql.each(keys)
                .push(" CROSS JOIN LATERAL (")
                .add(self.part(&columns, &condition))
                .push(") AS page");
            return sql;
        }
        if self.backend == DbBackend::Postgres {
            let mut sql = Sql::new(format!("SELECT {columns}, page.k FROM ("));
            sql.add(self.places(keys));
            self.rows_of(&mut sql);
            return sql;
        }
        let mut sql = Sql::new(format!("SELECT {columns}, k.value FROM "));
        sql.each(keys)
            .push(&format!(" CROSS JOIN {table} t WHERE t.position IN ("))
            .push("SELECT found.position FROM (")
            .add(self.page())
            .push(") AS found)");
        sql
    }

    /// The rows of one page over some parents.
    pub(super) fn merged(&self, keys: &[i64]) -> Sql {
        let columns = self.columns();
        let mut sql = Sql::new(format!(
            "SELECT {columns} FROM (SELECT every.position, every.occurred_at FROM ("
        ));
        sql.add(self.places(keys)).push(") AS every");
        ordered(&mut sql, self.query, "every");
        self.rows_of(&mut sql);
        ordered(&mut sql, self.query, "t");
        sql
    }

    fn table(&self) -> &'static str {
        self.query.kind.spec().table
    }

    fn columns(&self) -> String {
        let spec = self.query.kind.spec();
        rows::columns(spec, self.query.reading(), self.query.columns)
    }

    /// Ends a selection from places with the rows at these.
    fn rows_of(&self, sql: &mut Sql) {
        let table = self.table();
        sql.push(&format!(
            ") AS page CROSS JOIN {table} t WHERE t.position = page.position \
             AND t.occurred_at = page.occurred_at"
        ));
    }

    /// The places of the pages of some parents, each with the key of its parent as `k`.
    fn places(&self, keys: &[i64]) -> Sql {
        let mut sql = Sql::new("SELECT found.position, found.occurred_at, k.value AS k FROM ");
        sql.each(keys);
        self.each_of(&mut sql, self.page());
        sql
    }

    /// Joins what stands before with a page that depends on it, as `found`.
    fn each_of(&self, sql: &mut Sql, page: Sql) {
        if self.backend == DbBackend::Postgres {
            sql.push(" CROSS JOIN LATERAL (")
                .add(page)
                .push(") AS found");
            return;
        }
        let table = self.table();
        sql.push(&format!(" CROSS JOIN {table} found ON found.position IN ("))
            .push("SELECT one.position FROM (")
            .add(page)
            .push(") AS one)");
    }

    /// The condition that an event is of the parent `k.value`, where one column says so.
    fn alone(&self) -> Option<String> {
        let spec = self.query.kind.spec();
        match (self.parent, device_of(spec), site_of(spec)) {
            (Operand::Site, None, Some(column)) | (Operand::Device, Some(column), _) => {
                Some(format!("{column} = k.value"))
            }
            _ => None,
        }
    }

    /// The places of the page of the parent `k.value`.
    fn page(&self) -> Sql {
        if let Some(condition) = self.alone() {
            return self.part(PLACE, &condition);
        }
        let spec = self.query.kind.spec();
        match (self.parent, device_of(spec), site_of(spec)) {
            (Operand::Site, Some(device), site) if self.reach == Reach::Devices => {
                self.of_devices(&device, site.as_deref())
            }
            (Operand::Site, Some(device), site) => {
                let stay = stay_of(&format!("+{device}"));
                let at_site = format!(
                    "EXISTS (SELECT 1 FROM device_stays d WHERE {stay} AND d.site_key = k.value)"
                );
                let named = match site {
                    Some(site) => {
                        format!("(+{site} = k.value OR +{site} IS NULL AND {at_site})")
                    }
                    None => at_site,
                };
                self.part(PLACE, &named)
            }
            _ => self.part(PLACE, "FALSE"),
        }
    }

    /// The newest of the pages of all devices of the site `k.value` while they were there, and of what names
    /// it itself.
    fn of_devices(&self, device: &str, site: Option<&str>) -> Sql {
        let of_device = format!("{} AND {DURING_STAY}", of_device(device, site));
        let mut sql = Sql::new("SELECT every.* FROM (SELECT found.position, found.occurred_at");
        sql.push(
            " FROM (SELECT device_key, from_at, until_at FROM device_stays \
             WHERE site_key = k.value) AS d",
        );
        self.each_of(&mut sql, self.part(PLACE, &of_device));
        if let Some(site) = site {
            sql.push(" UNION ALL SELECT * FROM (")
                .add(self.part(PLACE, &format!("{site} = k.value")))
                .push(") AS own");
        }
        sql.push(") AS every");
        ordered(&mut sql, self.query, "every");
        sql
    }

    /// The page of what fits a condition.
    fn part(&self, columns: &str, condition: &str) -> Sql {
        let table = self.table();
        let mut sql = Sql::new(format!(
            "SELECT {columns} FROM {table} t WHERE {condition} AND "
        ));
        conditions(&mut sql, self.query);
        ordered(&mut sql, self.query, "t");
        sql
    }
}

/// The condition that an event names the device `d` and no site of its own.
fn of_device(device: &str, site: Option<&str>) -> String {
    match site {
        Some(site) => format!("{device} = d.device_key AND {site} IS NULL"),
        None => format!("{device} = d.device_key"),
    }
}

/// The rows of one page over many devices or sites, by time: what names them is a condition that is
/// no use to an index.
pub(super) fn by_time(query: &Asked, parent: Operand, keys: &[i64]) -> Sql {
    let spec = query.kind.spec();
    let columns = rows::columns(spec, query.reading(), query.columns);
    let mut sql = Sql::new(format!("SELECT {columns} FROM {} t WHERE ", spec.table));
    let keys = || List::Int(keys.to_vec());
    match (parent, device_of(spec), site_of(spec)) {
        (Operand::Site, Some(device), site) => {
            let site = site.map(|site| format!("+{site}"));
            sql.at_sites(site.as_deref(), &format!("+{device}"), &keys);
        }
        (Operand::Site, None, Some(column)) | (Operand::Device, Some(column), _) => {
            sql.among(&format!("+{column}"), keys());
        }
        _ => {
            sql.push("FALSE");
        }
    }
    sql.push(" AND ");
    conditions(&mut sql, query);
    ordered(&mut sql, query, "t");
    sql
}

/// The keys of some parents, each with the number of its events.
pub(super) fn counts(query: &Asked, parent: Operand, keys: &[i64]) -> Sql {
    let spec = query.kind.spec();
    let (device, site) = (device_of(spec), site_of(spec));
    let mut sql = Sql::new("SELECT k.value, ");
    match (parent, device, site) {
        (Operand::Site, Some(device), site) => {
            let of_device = of_device(&device, site.as_deref());
            let of_devices = format!("d.site_key = k.value AND {of_device} AND {DURING_STAY}");
            sql.add(count(query, ("device_stays d CROSS JOIN ", &of_devices)));
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

fn count(query: &Asked, (from, condition): (&str, &str)) -> Sql {
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
    use sea_orm::{ConnectionTrait, Statement};

    use super::super::read::{Order, Scope};
    use super::super::rows::Columns;
    use super::super::upkeep::in_memory;
    use super::*;
    use crate::event::Position;
    use crate::kinds::Kind;

    fn query(kind: Kind, order: Order, filter: Filter) -> Asked {
        let query = PageQuery {
            kind,
            filter,
            order,
            after: None,
            before: None,
            upto: Some(Position(9)),
            scope: Scope::Changes,
            columns: Columns::ALL,
            limit: 50,
        };
        Asked {
            query,
            generation: Some(1),
        }
    }

    #[tokio::test]
    async fn pages_of_devices_and_sites_are_read_from_indexes() {
        let db = in_memory().await;
        for kind in Kind::all() {
            let (device, site) = (kind.spec().device_index(), kind.spec().site_index());
            let of_device = device.map(|_| Operand::Device);
            let of_site = device.or(site).map(|_| Operand::Site);
            for parent in of_device.into_iter().chain(of_site) {
                let query = query(kind, Order::NewestFirst, Filter::default());
                let parents = Parents {
                    query: &query,
                    parent,
                    reach: Reach::Devices,
                    backend: DbBackend::Sqlite,
                };
                let texts = [
                    parents.pages(&[1, 2]),
                    parents.merged(&[1, 2]),
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
                        // of a scan is nothing left but those of the parents and of what was found
                        let table = step.strip_prefix("SCAN ").unwrap_or_default();
                        let table = table.split(' ').next().unwrap_or_default();
                        let reads_all =
                            !["", "k", "page", "every", "own", "one", "CONSTANT"].contains(&table);
                        assert!(!reads_all, "{kind:?} {parent:?}: {step}\n{sql}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_text_is_the_same_for_any_number_of_parents_and_values() {
        let text = |keys: &[i64], values: i64| {
            let of = (0..values).map(Cell::Int).collect();
            let filter = Filter::Is(Operand::Device, Operator::In(of));
            let query = query(Kind::ErrorLog, Order::OldestFirst, filter);
            let parents = Parents {
                query: &query,
                parent: Operand::Site,
                reach: Reach::Devices,
                backend: DbBackend::Postgres,
            };
            parents.pages(keys).statement(DbBackend::Postgres).sql
        };
        assert_eq!(text(&[1], 2), text(&[1, 2, 3], 500));
    }
}
