//! Erases what is personal in the events of a person, in tables and segments alike.
//!
//! A segment that has any is written anew; the new ones take the places of the old ones, the rows of the
//! tables are changed, and the erasure is recorded, in one transaction. The old files are removed after it.
//! An event stays where it is in the log and keeps its id: a repeat of it is a duplicate.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sea_orm::{ConnectionTrait, DatabaseTransaction, Value};

use super::archive::{Made, list, lock, raise};
use super::{Ask, Catalog, NO_PARENT, Segment, sha256_of};
use crate::columnar::{Form, Layout, Table};
use crate::event::{Cell, Event, Fact};
use crate::kinds::{Filter, Kind, Operand, Operator, Origin, Person};
use crate::store::error::{Doing, StoreError};
use crate::store::joined::anything;
use crate::store::lists::List;
use crate::store::read::PageQuery;
use crate::store::rows::Columns;
use crate::store::sql::Sql;
use crate::store::{Store, head_of};

/// What a text says that must be there and is no more.
const ERASED: &str = "erased";
/// What `extra` says of an event whose personal parts were erased. No client may say so itself.
const MARK: &str = "{\"erased\":true}";
/// Rows at most that are changed by one statement.
const ROWS_MAX: usize = 5_000;

/// What was erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Events that had something of the person.
    pub events: i64,
    /// Segments that were written anew.
    pub segments: i64,
}

/// The rows of a table that have something of a person.
type Rows = BTreeMap<Kind, Vec<i64>>;

/// Whether an event bears the mark of one whose personal parts were erased.
pub(crate) fn is_marked_erased(fact: &Fact) -> bool {
    let Cell::Json(extra) = &fact.extra else {
        return false;
    };
    fact.spec().person.is_some() && extra.to_string() == MARK
}

/// The names of the fields of an event that are not what its source said, since they were erased; then `extra`
/// is not either. The mark alone does not tell: it must be so that nothing personal is left.
pub(crate) fn erased_fields(fact: &Fact) -> &'static [&'static str] {
    let Some(of) = fact
        .spec()
        .person
        .as_ref()
        .filter(|_| is_marked_erased(fact))
    else {
        return &[];
    };
    let is_blank = |(index, text): (usize, Option<&str>)| {
        let cell = fact.cells.get(index);
        cell.is_some_and(|cell| match text {
            Some(text) => cell.text() == Some(text),
            None => cell.is_null(),
        })
    };
    if blanks(fact.kind, of).all(is_blank) {
        of.blanks
    } else {
        &[]
    }
}

impl Store {
    /// Erases what is personal in the events of a person that are recorded until now. Only one process may
    /// do so at a time ([`Store::claim`]).
    ///
    /// # Errors
    /// When tables or segments cannot be read or written. Nothing is erased then.
    pub async fn erase(&self, person: &str, by: &str) -> Result<Erased, StoreError> {
        let segments = self.segments();
        let catalog = segments.renew(self.readers()).await?;
        let (mut rows, mut erased) = (Rows::new(), Erased::default());
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for kind in Kind::all() {
            let Some(of) = &kind.spec().person else {
                continue;
            };
            let found = self.rows_of(kind, of, person).await?;
            erased.events += i64::try_from(found.len()).unwrap_or(i64::MAX);
            rows.insert(kind, found);
            for (segment, events) in self.segments_of((kind, of), person, &catalog).await? {
                let table = self.blanked(&segment, of, person).await?;
                new.push(segments.make(&catalog.home, table).await?);
                old.push(segment);
                erased.events += events;
                erased.segments += 1;
            }
        }
        let record = Record {
            person: sha256_of(format!("{}/{person}", catalog.home).as_bytes()),
            by: by.to_owned(),
            at: self.clock().now().0,
            erased,
        };
        let ids: Vec<i64> = old.iter().map(|segment| segment.id).collect();
        let generation = catalog.generation;
        self.transact_durably(move |tx| {
            Box::pin(async move {
                lock(tx).await?;
                for (kind, positions) in rows {
                    blank(tx, kind, positions).await?;
                }
                replace(tx, (ids, new), record.at).await?;
                record.write(tx).await?;
                raise(tx, generation).await
            })
        })
        .await?;
        segments.renew(self.readers()).await?;
        // who follows reads them from the tables again
        self.shared.ring.forget();
        for segment in &old {
            if let Some(files) = &segments.files {
                files.remove(&segment.path).await?;
            }
        }
        Ok(erased)
    }

    /// The rows of a table that have something of a person.
    async fn rows_of(&self, kind: Kind, of: &Person, person: &str) -> Result<Vec<i64>, StoreError> {
        let doing = "look for the events of a person";
        let spec = kind.spec();
        let head = head_of(self.readers()).await?;
        let column = spec
            .index_of(of.id)
            .and_then(|index| spec.fields.get(index));
        let column = column.map_or("", |field| field.column.name());
        let mut sql = Sql::new(format!(
            "SELECT position FROM {} WHERE {column} = ",
            spec.table
        ));
        sql.bind(person).push(" AND position <= ").bind(head.0);
        let rows = self.readers().query_all_raw(sql.statement(self.backend()));
        let rows = rows.await.doing(doing)?;
        let read = |row: &sea_orm::QueryResult| row.try_get_by_index(0).doing(doing);
        rows.iter().map(read).collect()
    }

    /// The segments that have something of a person, each with how many events.
    async fn segments_of(
        &self,
        (kind, of): (Kind, &Person),
        person: &str,
        catalog: &Catalog,
    ) -> Result<Vec<(Arc<Segment>, i64)>, StoreError> {
        let Some(index) = kind.spec().index_of(of.id) else {
            return Ok(Vec::new());
        };
        let is = Operator::In(vec![Cell::from(person)]);
        let query = PageQuery {
            filter: Filter::Is(Operand::Field(index), is),
            ..anything((kind, Columns::NONE))
        };
        let names = &self.shared.names;
        let none = HashMap::new();
        let found = self
            .segments()
            .find(catalog, Ask::page(&query), (names, &none));
        let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
        for found in found.await?.remove(&NO_PARENT).unwrap_or_default() {
            *counts.entry(found.segment()).or_default() += 1;
        }
        let of_kind = catalog.of(kind).iter();
        let counted = of_kind.filter_map(|s| Some((Arc::clone(s), *counts.get(&s.id)?)));
        Ok(counted.collect())
    }

    /// A segment without what is of a person.
    async fn blanked(
        &self,
        segment: &Segment,
        of: &Person,
        person: &str,
    ) -> Result<Table, StoreError> {
        let segments = self.segments();
        let layout = Arc::new(Layout::of(segment.kind, Form::Archive));
        let slots: Vec<usize> = (0..layout.slots.len()).collect();
        let id = segment.kind.spec().index_of(of.id);
        let mut anew = Table::new(layout);
        let file = segments.file(segment).await?;
        for group in 0..file.groups() {
            let table = segments.table((segment, group), &slots).await?;
            for row in 0..table.len() {
                let mut event = table.event(row)?;
                let cell = id.and_then(|index| event.fact.cells.get(index));
                if cell.and_then(Cell::text) == Some(person) {
                    blank_event(&mut event, of);
                }
                anew.push(&event);
            }
        }
        Ok(anew)
    }
}

/// The columns that are blanked, each with what it has then: nothing, unless there must be something.
fn blanks(kind: Kind, of: &Person) -> impl Iterator<Item = (usize, Option<&'static str>)> {
    let fields = kind.spec().fields.iter().enumerate();
    let of_person = of.blanks;
    let named = fields.filter(move |(_, field)| of_person.contains(&field.name));
    named.map(|(index, field)| {
        let must_be = field.origin == Origin::Required;
        (index, must_be.then_some(ERASED))
    })
}

fn blank_event(event: &mut Event, of: &Person) {
    for (index, text) in blanks(event.fact.kind, of) {
        if let Some(cell) = event.fact.cells.get_mut(index) {
            *cell = text.into();
        }
    }
    event.fact.extra = serde_json::from_str::<serde_json::Value>(MARK).ok().into();
}

async fn blank(
    tx: &DatabaseTransaction,
    kind: Kind,
    positions: Vec<i64>,
) -> Result<(), StoreError> {
    let spec = kind.spec();
    let Some(of) = &spec.person else {
        return Ok(());
    };
    for positions in positions.chunks(ROWS_MAX) {
        let mut sql = Sql::new(format!("UPDATE {} SET extra = ", spec.table));
        sql.bind(MARK);
        for (index, text) in blanks(kind, of) {
            let column = spec
                .fields
                .get(index)
                .map_or("", |field| field.column.name());
            sql.push(", ").push(column).push(" = ");
            match text {
                Some(text) => sql.bind(text),
                None => sql.push("NULL"),
            };
        }
        sql.push(" WHERE ");
        sql.among("position", List::Int(positions.to_vec()));
        let blanked = tx.execute_raw(sql.statement(tx.get_database_backend()));
        blanked.await.doing("erase what is of a person")?;
    }
    Ok(())
}

/// Lists segments in the place of others.
async fn replace(
    tx: &DatabaseTransaction,
    (old, new): (Vec<i64>, Vec<Made>),
    now: i64,
) -> Result<(), StoreError> {
    for made in &new {
        list(tx, made, crate::event::Instant(now)).await?;
    }
    let mut sql = Sql::new("DELETE FROM segments WHERE ");
    sql.among("id", List::Int(old));
    let replaced = tx.execute_raw(sql.statement(tx.get_database_backend()));
    replaced.await.doing("replace segments").map(drop)
}

/// That something was erased: of whom only who knows the id can tell.
struct Record {
    person: String,
    by: String,
    at: i64,
    erased: Erased,
}

impl Record {
    async fn write(self, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        let mut sql = Sql::new(
            "INSERT INTO erasures (id, person_sha256, events, segments, erased_at, erased_by) \
             SELECT coalesce(max(id), 0) + 1",
        );
        let values: [Value; 5] = [
            self.person.into(),
            self.erased.events.into(),
            self.erased.segments.into(),
            self.at.into(),
            self.by.into(),
        ];
        for value in values {
            sql.push(", ").bind(value);
        }
        sql.push(" FROM erasures");
        let written = tx.execute_raw(sql.statement(tx.get_database_backend()));
        written.await.doing("record an erasure").map(drop)
    }
}
