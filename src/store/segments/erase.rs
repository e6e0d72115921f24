//! Erases what is personal in the events of a person, in tables and segments alike.
//!
//! A segment that has any is written anew; the new one takes the place of the old one, with its checksum, and
//! what the erasure has come to is recorded, in one transaction. The old file is removed after it. So it is done
//! segment by segment, and with the rows of tables some at a time, and can be broken off anywhere: whoever goes on
//! with it finds what is left. An event stays where it is in the log and keeps its id: a repeat of it is a
//! duplicate.

use std::sync::Arc;

use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::archive::{Made, list, lock, raise};
use super::{Ask, Segment, sha256_of};
use crate::columnar::{Form, Layout, Table};
use crate::event::{Cell, Event, Fact, Instant, Position};
use crate::kinds::{Filter, Kind, Operand, Operator, Origin, Person};
use crate::store::Store;
use crate::store::chunks::Rows;
use crate::store::error::{Doing, StoreError};
use crate::store::joined::anything;
use crate::store::lists::List;
use crate::store::read::PageQuery;
use crate::store::rows::Columns;
use crate::store::sql::Sql;

/// What a text says that must be there and is no more.
const ERASED: &str = "erased";
/// What `extra` says of an event whose personal parts were erased. No client may say so itself.
const MARK: &str = "{\"erased\":true}";
/// Rows at most that are changed at once.
const ROWS_MAX: usize = 5_000;

/// An erasure that is to be carried out.
#[derive(Clone, Debug)]
pub(crate) struct Erasing {
    /// Its id.
    pub(crate) erasure_id: String,
    /// Of whom.
    pub(crate) person: String,
    /// The last position of what is erased.
    pub(crate) upto: Position,
}

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
    /// The mark by which who knows a person can tell that an erasure was of them.
    #[must_use]
    pub(crate) fn mark_of(&self, person: &str) -> String {
        let catalog = self.segments().catalog();
        sha256_of(format!("{}/{person}", catalog.home).as_bytes())
    }

    /// Carries an erasure out, or goes on with one that was broken off, to its end. Only one process may do so
    /// at a time, and none may archive meanwhile ([`Store::claim`]).
    ///
    /// It is done in steps, each of them one transaction with what it comes to: a segment is replaced by one
    /// without what is of the person, or some rows of a table are changed. What was done stays done.
    ///
    /// # Errors
    /// When tables or segments cannot be read or written, or somebody has archived meanwhile.
    pub(crate) async fn erase(&self, erasing: &Erasing) -> Result<(), StoreError> {
        // what a server that ended had replaced and not removed
        self.sweep_segments().await?;
        let mut generation = self.segments().renew(self.readers()).await?.generation;
        for kind in Kind::all() {
            if let Some(of) = &kind.spec().person {
                generation = self.erase_segments((kind, of), erasing, generation).await?;
                self.erase_rows(kind, of, erasing).await?;
            }
        }
        // who follows reads them from the tables again
        self.shared.ring.forget();
        let (id, now) = (erasing.erasure_id.clone(), self.clock().now().0);
        self.transact_durably(move |tx| {
            Box::pin(async move {
                lock(tx).await?;
                end(tx, &id, now).await?;
                // of what was archived meanwhile it is not known whether it has any
                raise(tx, generation).await
            })
        })
        .await?;
        self.segments().renew(self.readers()).await.map(drop)
    }

    /// Replaces the segments of a kind that have something of a person, and answers of which generation the list
    /// is then.
    async fn erase_segments(
        &self,
        (kind, of): (Kind, &Person),
        erasing: &Erasing,
        mut generation: i64,
    ) -> Result<i64, StoreError> {
        let segments = self.segments();
        let Some(index) = kind.spec().index_of(of.id) else {
            return Ok(generation);
        };
        let is = Operator::In(vec![Cell::from(erasing.person.as_str())]);
        let ask = Arc::new(Ask::page(&PageQuery {
            filter: Filter::Is(Operand::Field(index), is),
            upto: Some(erasing.upto),
            ..anything((kind, Columns::NONE))
        }));
        let catalog = segments.of_generation(self.readers(), generation).await?;
        for segment in catalog.of(kind) {
            let found = segments.find_in(segment, &ask, &self.shared.names).await?;
            if found.is_empty() {
                continue;
            }
            let table = self.blanked(segment, of, erasing).await?;
            let made = segments.make(&catalog.home, table).await?;
            let step = Step::of(erasing, found.len(), 1, self.clock().now());
            let old = segment.id;
            self.transact_durably(move |tx| {
                Box::pin(async move {
                    lock(tx).await?;
                    replace(tx, old, &made, step.at).await?;
                    step.write(tx).await?;
                    raise(tx, generation).await
                })
            })
            .await?;
            generation += 1;
            segments.renew(self.readers()).await?;
            if let Some(files) = &segments.files {
                files.remove(&segment.path).await?;
            }
        }
        Ok(generation)
    }

    /// Blanks the rows of a table that have something of a person.
    async fn erase_rows(
        &self,
        kind: Kind,
        of: &Person,
        erasing: &Erasing,
    ) -> Result<(), StoreError> {
        let mut after = i64::MIN;
        loop {
            let rows = self.rows_of((kind, of), erasing, after).await?;
            let Some((last, _)) = rows.last() else {
                return Ok(());
            };
            after = *last;
            for (chunk, positions) in self.by_chunk(kind, &rows).await? {
                if let Some(chunk) = &chunk {
                    self.unpack(chunk).await?;
                }
                let step = Step::of(erasing, positions.len(), 0, self.clock().now());
                self.transact_durably(move |tx| {
                    Box::pin(async move {
                        blank(tx, kind, (chunk, positions)).await?;
                        step.write(tx).await
                    })
                })
                .await?;
            }
        }
    }

    /// The next rows of a table that have something of a person: where they are, and when they happened.
    async fn rows_of(
        &self,
        (kind, of): (Kind, &Person),
        erasing: &Erasing,
        after: i64,
    ) -> Result<Vec<(i64, i64)>, StoreError> {
        let doing = "look for the events of a person";
        let spec = kind.spec();
        let column = spec
            .index_of(of.id)
            .and_then(|index| spec.fields.get(index));
        let column = column.map_or("", |field| field.column.name());
        let mut sql = Sql::new(format!(
            "SELECT position, occurred_at FROM {} WHERE {column} = ",
            spec.table
        ));
        sql.bind(erasing.person.as_str());
        sql.push(" AND position > ").bind(after);
        sql.push(" AND position <= ").bind(erasing.upto.0);
        sql.push(&format!(" ORDER BY position LIMIT {ROWS_MAX}"));
        let rows = self.readers().query_all_raw(sql.statement(self.backend()));
        let rows = rows.await.doing(doing)?;
        let read = |row: &sea_orm::QueryResult| {
            let position = row.try_get_by_index(0)?;
            Ok((position, row.try_get_by_index(1)?))
        };
        let read: Result<_, sea_orm::DbErr> = rows.iter().map(read).collect();
        read.doing(doing)
    }

    /// A segment without what is of a person.
    async fn blanked(
        &self,
        segment: &Segment,
        of: &Person,
        erasing: &Erasing,
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
                let is_theirs = cell.and_then(Cell::text) == Some(erasing.person.as_str());
                if is_theirs && event.position <= erasing.upto {
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
    (chunk, positions): Rows,
) -> Result<(), StoreError> {
    let spec = kind.spec();
    let Some(of) = &spec.person else {
        return Ok(());
    };
    if let Some(chunk) = &chunk {
        chunk.hold(tx).await?;
    }
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
    sql.among("position", List::Int(positions));
    if let Some(chunk) = chunk {
        sql.push(" AND occurred_at >= ").bind(chunk.from);
        sql.push(" AND occurred_at < ").bind(chunk.to);
    }
    let blanked = tx.execute_raw(sql.statement(tx.get_database_backend()));
    blanked.await.doing("erase what is of a person").map(drop)
}

/// Lists a segment in the place of another.
async fn replace(
    tx: &DatabaseTransaction,
    old: i64,
    made: &Made,
    now: i64,
) -> Result<(), StoreError> {
    list(tx, made, Instant(now)).await?;
    let mut sql = Sql::new("DELETE FROM segments WHERE id = ");
    sql.bind(old);
    let replaced = tx.execute_raw(sql.statement(tx.get_database_backend()));
    replaced.await.doing("replace a segment").map(drop)
}

/// What a step of an erasure came to.
struct Step {
    erasure_id: String,
    events: i64,
    segments: i64,
    at: i64,
}

impl Step {
    fn of(erasing: &Erasing, events: usize, segments: i64, now: Instant) -> Self {
        Self {
            erasure_id: erasing.erasure_id.clone(),
            events: i64::try_from(events).unwrap_or(i64::MAX),
            segments,
            at: now.0,
        }
    }

    /// Records it.
    async fn write(self, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        let mut sql = Sql::new("UPDATE person_erasures SET state = 'RUNNING', failure = NULL, ");
        sql.push("events = events + ").bind(self.events);
        sql.push(", segments = segments + ").bind(self.segments);
        sql.push(", changed_at = ").bind(self.at);
        sql.push(" WHERE state <> 'DONE' AND erasure_id = ");
        sql.bind(self.erasure_id);
        let written = tx.execute_raw(sql.statement(tx.get_database_backend()));
        written.await.doing("record an erasure").map(drop)
    }
}

/// Records that an erasure is done: from then on only who knows the id of the person can tell of whom it was.
async fn end(tx: &DatabaseTransaction, erasure_id: &str, now: i64) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        "UPDATE person_erasures SET state = 'DONE', person = NULL, failure = NULL, changed_at = ",
    );
    sql.bind(now).push(" WHERE erasure_id = ").bind(erasure_id);
    let ended = tx.execute_raw(sql.statement(tx.get_database_backend()));
    ended.await.doing("record an erasure").map(drop)
}
