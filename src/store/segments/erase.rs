//! Erases what is personal in the events of persons, in tables and segments alike.
//!
//! First the tables are walked, some positions at a time, then the segments that there are by then: an event only
//! ever goes from its table into a segment, so none is passed over, and a segment that is made later has nothing
//! any more. What stands beside events of persons goes with them, and by that servers know who did what they go on
//! with: what was recorded of doers until the tables are done is looked for too, since it may be of a server that had
//! read their names before. A segment that has any is written anew, once for all who are erased together; the new
//! one takes the place of the old one, with its checksum, and what the erasures have come to is recorded, in one
//! transaction. The old file is removed after it. It can be broken off anywhere: whoever goes on with it finds what
//! is left. An event stays where it is in the log and keeps its id: a repeat of it is a duplicate.

use std::collections::BTreeMap;
use std::sync::Arc;

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use tokio::time::Instant as Moment;

use super::archive::{lock, raise, replace};
use super::beside::Beside;
use super::persons::{Erasing, Looked, Pass, begin_segments, end};
use super::scan::blocking;
use super::{Segment, sha256_of};
use crate::columnar::{Form, Layout, Table};
use crate::event::{Cell, Event, Fact};
use crate::kinds::{ERASED, Kind, Origin, Person};
use crate::store::Store;
use crate::store::chunks::Rows;
use crate::store::error::{Doing, StoreError};
use crate::store::lists::List;
use crate::store::sql::Sql;

/// What `extra` says of an event whose personal parts were erased. No client may say so itself.
const MARK: &str = "{\"erased\":true}";
/// Positions that are looked at in one statement: it takes no longer however large the tables are.
const POSITIONS: i64 = 50_000;
/// Rows at most that are changed at once.
const ROWS_MAX: usize = 5_000;

/// A row that has something of one of those who are erased.
#[derive(Clone, Copy, Debug)]
struct Theirs {
    kind: Kind,
    position: i64,
    /// When it happened.
    at: i64,
    /// Which erasure it is of.
    whose: usize,
}

/// Whether an event bears the mark of one whose personal parts were erased.
pub(crate) fn is_marked_erased(fact: &Fact) -> bool {
    let Cell::Json(extra) = &fact.extra else {
        return false;
    };
    let is_mark = |extra: &serde_json::Map<_, _>| {
        extra.len() == 1 && extra.get("erased") == Some(&serde_json::Value::Bool(true))
    };
    fact.spec().person.is_some() && extra.as_object().is_some_and(is_mark)
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
    /// The mark by which who knows a person can tell that an erasure was of them. It is no secret: the salt is the id
    /// of the log and its epoch, so whoever has the database can try ids.
    #[must_use]
    pub(crate) fn mark_of(&self, person: &str) -> String {
        let catalog = self.segments().catalog();
        sha256_of(format!("{}/{person}", catalog.home).as_bytes())
    }

    /// Goes on with erasures, all together, until an instant is past; whether they are done. Only one process may
    /// do so at a time, and none may archive meanwhile ([`Store::claim`]).
    ///
    /// It is done in steps, each of them one transaction with what it comes to: a segment is replaced by one
    /// without what is of the persons, or some rows of tables are changed, and what stands beside them. What was
    /// done stays done.
    ///
    /// What the tables have comes first ([`Store::erase_from_tables`]). A segment whose file is lost is passed over;
    /// the erasures are not done then, and go on from it when it is back.
    ///
    /// # Errors
    /// When tables or segments cannot be read or written, somebody has archived meanwhile, or files are lost, after
    /// all else is erased.
    pub(crate) async fn erase(
        &self,
        erasing: Vec<Erasing>,
        beside: Beside,
        (looked, until): (&mut Looked, Moment),
    ) -> Result<bool, StoreError> {
        let generation = self.segments().renew(self.readers()).await?.generation;
        let mut pass = Pass::of(erasing, beside, generation);
        let is_through = self.erase_tables(&mut pass, until).await?
            && self
                .erase_segments(&mut pass, (&mut *looked, until))
                .await?;
        if !is_through {
            return self.keep_pass(&pass).await.map(|()| false);
        }
        if let Some(lost) = looked.take_why() {
            self.keep_pass(&pass).await?;
            return Err(lost);
        }
        self.end_erasures(&pass).await.map(|()| true)
    }

    /// Goes on with erasures in tables alone, which need no segment; whether those are done.
    ///
    /// # Errors
    /// When tables cannot be read or written, or somebody has archived meanwhile.
    pub(crate) async fn erase_from_tables(
        &self,
        erasing: Vec<Erasing>,
        beside: Beside,
        until: Moment,
    ) -> Result<bool, StoreError> {
        let generation = self.segments().renew(self.readers()).await?.generation;
        let mut pass = Pass::of(erasing, beside, generation);
        let is_done = self.erase_tables(&mut pass, until).await?;
        self.keep_pass(&pass).await.map(|()| is_done)
    }

    /// Records how far erasures are.
    async fn keep_pass(&self, pass: &Pass) -> Result<(), StoreError> {
        let keeps = pass.keeps();
        self.transact_durably(move |tx| Box::pin(keeps.write(tx)))
            .await
    }

    /// Blanks what the tables have of persons; whether there was time for all of it.
    async fn erase_tables(&self, pass: &mut Pass, until: Moment) -> Result<bool, StoreError> {
        if !self.erase_rows(pass, until).await? {
            return Ok(false);
        }
        if pass.begins_segments() {
            pass.reaches(self.committed_head().await?);
            if !self.erase_rows(pass, until).await? {
                return Ok(false);
            }
            self.begin_with_segments(pass).await?;
        }
        Ok(true)
    }

    /// Blanks what the tables have of persons as far as they are to be looked through; whether there was time.
    async fn erase_rows(&self, pass: &mut Pass, until: Moment) -> Result<bool, StoreError> {
        while let Some((after, upto)) = pass.rows(POSITIONS) {
            if Moment::now() >= until {
                return Ok(false);
            }
            let mut theirs = Vec::new();
            for kind in Kind::all() {
                if let Some(of) = &kind.spec().person {
                    theirs.extend(self.rows_of((kind, of), pass, (after, upto)).await?);
                }
            }
            for rows in theirs.chunks(ROWS_MAX) {
                self.blank_rows(pass, rows).await?;
            }
            pass.rows_are_done(upto);
        }
        Ok(true)
    }

    /// Records that the tables are done, and which segments are looked into.
    async fn begin_with_segments(&self, pass: &mut Pass) -> Result<(), StoreError> {
        let catalog = self
            .segments()
            .of_generation(self.readers(), pass.generation);
        let last = catalog.await?.all().map(|s| s.id).max().unwrap_or_default();
        let (ids, generation) = (pass.ids(), pass.generation);
        self.transact_durably(move |tx| {
            Box::pin(async move {
                lock(tx).await?;
                begin_segments(tx, ids, last).await?;
                raise(tx, generation).await
            })
        })
        .await?;
        self.segments().renew(self.readers()).await?;
        pass.segments_begin(last);
        Ok(())
    }

    /// Blanks some rows of tables. Whoever is just archiving them finds another list of segments than before, and
    /// begins anew.
    async fn blank_rows(&self, pass: &mut Pass, rows: &[Theirs]) -> Result<(), StoreError> {
        let step = pass.step(rows.iter().map(|row| row.whose), 0, self.clock().now());
        let mut of_kinds: BTreeMap<Kind, Vec<(i64, i64)>> = BTreeMap::new();
        for row in rows {
            let of_kind = of_kinds.entry(row.kind).or_default();
            of_kind.push((row.position, row.at));
        }
        let mut parts: Vec<(Kind, Rows)> = Vec::new();
        for (kind, rows) in of_kinds {
            for part in self.by_chunk(kind, &rows).await? {
                if let Some(chunk) = &part.0 {
                    self.unpack(chunk).await?;
                }
                parts.push((kind, part));
            }
        }
        let persons = pass.persons_of(rows.iter().map(|row| row.whose));
        let (beside, generation) = (pass.beside, pass.generation);
        self.transact_durably(move |tx| {
            Box::pin(async move {
                lock(tx).await?;
                for (kind, rows) in parts {
                    beside.blank(tx, kind, (&rows.1, &persons)).await?;
                    blank(tx, kind, rows).await?;
                }
                step.write(tx).await?;
                raise(tx, generation).await
            })
        })
        .await?;
        pass.generation += 1;
        Ok(())
    }

    /// The rows of a table between two positions that have something of persons.
    async fn rows_of(
        &self,
        (kind, of): (Kind, &Person),
        pass: &Pass,
        (after, upto): (i64, i64),
    ) -> Result<Vec<Theirs>, StoreError> {
        let doing = "look for the events of a person";
        let spec = kind.spec();
        let column = spec
            .index_of(of.id)
            .and_then(|index| spec.fields.get(index));
        let column = column.map_or("", |field| field.column.name());
        let mut sql = Sql::new(format!(
            "SELECT position, occurred_at, {column} FROM {} WHERE ",
            spec.table
        ));
        sql.push("position > ").bind(after);
        sql.push(" AND position <= ").bind(upto).push(" AND ");
        // by no index of theirs: of somebody who did very much the positions alone are a bound
        let of_row = format!("coalesce({column}, '')");
        let mut persons = pass.persons.names();
        persons.retain(|person| of.may_be(person));
        sql.among(&of_row, List::Text(persons));
        let rows = self.readers().query_all_raw(sql.statement(self.backend()));
        let mut theirs = Vec::new();
        for row in rows.await.doing(doing)? {
            let position: i64 = row.try_get_by_index(0).doing(doing)?;
            let at: i64 = row.try_get_by_index(1).doing(doing)?;
            let person: String = row.try_get_by_index(2).doing(doing)?;
            let mut whose = pass.persons.whose(&person, position);
            if of.is_doer {
                whose = whose.or_else(|| pass.persons.last_of(&person));
            }
            theirs.extend(whose.map(|whose| Theirs {
                kind,
                position,
                at,
                whose,
            }));
        }
        Ok(theirs)
    }

    /// Replaces the segments that have something of persons, but for those whose files are lost; whether there was
    /// time for all of it.
    async fn erase_segments(
        &self,
        pass: &mut Pass,
        (looked, until): (&mut Looked, Moment),
    ) -> Result<bool, StoreError> {
        let segments = self.segments();
        let catalog = segments.of_generation(self.readers(), pass.generation);
        let catalog = catalog.await?;
        let mut left: Vec<&Arc<Segment>> = catalog.all().filter(|s| pass.looks_into(s)).collect();
        left.retain(|segment| !looked.has(segment.id));
        left.sort_unstable_by_key(|segment| segment.id);
        for segment in left {
            if Moment::now() >= until {
                return Ok(false);
            }
            if let Some(of) = &segment.kind.spec().person {
                let erased = self.erase_segment(pass, (segment, of), &catalog.home).await;
                match erased {
                    Err(error) if error.is_of_lost_segment() => {
                        segments.sight.missed(&error);
                        looked.lost(segment.id, error);
                    }
                    erased => erased?,
                }
            }
            looked.looked_into(segment.id);
            if !looked.has_lost() {
                pass.segments_are_done(segment.id);
            }
        }
        Ok(true)
    }

    /// Replaces a segment, if it has something of persons.
    async fn erase_segment(
        &self,
        pass: &mut Pass,
        (segment, of): (&Segment, &'static Person),
        home: &str,
    ) -> Result<(), StoreError> {
        if !self.has_any_of(segment, of, pass).await? {
            return Ok(());
        }
        let (table, whose) = self.blanked(segment, of, pass).await?;
        let segments = self.segments();
        let made = segments.make(home, table).await?;
        let step = pass.step(whose.into_iter(), 1, self.clock().now());
        let (old, generation) = (segment.id, pass.generation);
        self.transact_durably(move |tx| {
            Box::pin(async move {
                lock(tx).await?;
                replace(tx, old, &made, step.at).await?;
                step.write(tx).await?;
                raise(tx, generation).await
            })
        })
        .await?;
        pass.generation += 1;
        segments.renew(self.readers()).await?;
        if let Some(files) = &segments.files {
            files.remove(&segment.path).await?;
        }
        Ok(())
    }

    /// Whether a segment has something of persons.
    async fn has_any_of(
        &self,
        segment: &Segment,
        of: &Person,
        pass: &Pass,
    ) -> Result<bool, StoreError> {
        let segments = self.segments();
        let Some(index) = segment.kind.spec().index_of(of.id) else {
            return Ok(false);
        };
        let id = Layout::FIELDS + index;
        for group in 0..segments.file(segment).await?.groups() {
            let slots = [Layout::POSITION, id];
            let table = segments.table((segment, group), &slots).await?;
            let persons = Arc::clone(&pass.persons);
            let look = move || {
                let (ids, positions) = (table.column(id), table.column(Layout::POSITION));
                let is_theirs = |row| {
                    let (person, position) = (ids?.text(row)?, positions?.int(row)?);
                    persons.whose(person, position)
                };
                Ok((0..table.len()).any(|row| is_theirs(row).is_some()))
            };
            if blocking(look).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A segment without what is of persons, and of each event that had something whose it was.
    async fn blanked(
        &self,
        segment: &Segment,
        of: &'static Person,
        pass: &Pass,
    ) -> Result<(Table, Vec<usize>), StoreError> {
        let segments = self.segments();
        let layout = Arc::new(Layout::of(segment.kind, Form::Archive));
        let slots: Vec<usize> = (0..layout.slots.len()).collect();
        let id = segment.kind.spec().index_of(of.id);
        let (mut anew, mut theirs) = (Table::new(layout), Vec::new());
        for group in 0..segments.file(segment).await?.groups() {
            let table = segments.table((segment, group), &slots).await?;
            let persons = Arc::clone(&pass.persons);
            let put_in = move || {
                for row in 0..table.len() {
                    let mut event = table.event(row)?;
                    let cell = id.and_then(|index| event.fact.cells.get(index));
                    let person = cell.and_then(Cell::text);
                    let whose = person.and_then(|id| persons.whose(id, event.position.0));
                    if let Some(whose) = whose {
                        blank_event(&mut event, of);
                        theirs.push(whose);
                    }
                    anew.push(&event);
                }
                Ok((anew, theirs))
            };
            (anew, theirs) = blocking(put_in).await?;
        }
        Ok((anew, theirs))
    }

    /// Records that erasures are done.
    async fn end_erasures(&self, pass: &Pass) -> Result<(), StoreError> {
        // who follows reads them from the tables again
        self.shared.ring.forget();
        let (ids, generation, now) = (pass.ids(), pass.generation, self.clock().now());
        let (persons, beside) = (pass.persons.names(), pass.beside);
        self.transact_durably(move |tx| {
            Box::pin(async move {
                lock(tx).await?;
                (beside.aside)(tx, (&persons, now)).await?;
                end(tx, ids, now).await?;
                raise(tx, generation).await
            })
        })
        .await?;
        // what was overwritten still stands in the write-ahead log of SQLite
        self.shared.emptying.ask();
        self.segments().renew(self.readers()).await.map(drop)
    }
}

/// The columns that are blanked, each with what it has then: nothing, unless there must be something, or it is
/// told who did something.
fn blanks(kind: Kind, of: &Person) -> impl Iterator<Item = (usize, Option<&'static str>)> {
    let fields = kind.spec().fields.iter().enumerate();
    let Person {
        id,
        blanks,
        is_doer,
    } = *of;
    let named = fields.filter(move |(_, field)| blanks.contains(&field.name));
    named.map(move |(index, field)| {
        let must_be = field.origin == Origin::Required || is_doer && field.name == id;
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
